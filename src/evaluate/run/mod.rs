//! The record of an evaluation run: what was measured, of which models, on which data.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

pub use file::RunFile;

use crate::error::{Error, Result};

/// The layout of a run's file.
pub const FORMAT: u32 = 1;

/// What a run was made of. Two headers that are equal promise equal turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHeader {
    pub format: u32,
    pub suite: String,
    pub seed: u64,
    /// The models by their part: `rewriter`, `embedder`, `reranker`.
    pub models: BTreeMap<String, ModelHash>,
    /// Of the suite's turns and corpus, in hexadecimal.
    pub data_sha256: String,
    pub code: CodeVersion,
    /// Whatever else the numbers depend on.
    pub options: BTreeMap<String, Value>,
    /// How many turns the run has when it is done.
    pub n_turns: usize,
}

/// A model and the hash of its weights, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelHash {
    pub id: String,
    pub sha256: String,
}

/// The program that measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeVersion {
    pub version: String,
    /// A hash of the build, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// The numbers of one system on one turn, by measure. A measure that does not apply is left out.
pub type Values = BTreeMap<String, f64>;

/// One turn of a conversation under every system that was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnRecord {
    pub id: String,
    /// The conversation: its turns are not independent. None makes the turn one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// What the turn is, by key: `lang`, `kind`, …
    pub slices: BTreeMap<String, String>,
    /// By system: `raw`, `always`, `gated`, `gold`.
    pub values: BTreeMap<String, Values>,
    /// What is known of the turn before it is rewritten: the features of the learned choice.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: Values,
    /// What a person would want to read: `history`, `query`, and the answer of each system under
    /// the system's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, String>,
    /// Kept under a key of its own in the file, since it differs from run to run.
    #[serde(skip)]
    pub latency_ms: Latency,
}

/// Milliseconds by system and stage.
pub type Latency = BTreeMap<String, BTreeMap<String, f64>>;

/// A run as it stands in its file.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub header: RunHeader,
    pub created_at: OffsetDateTime,
    /// In the order in which they were appended.
    pub turns: Vec<TurnRecord>,
}

impl RunRecord {
    /// Reads a run, done or not.
    ///
    /// # Errors
    /// `eval_run_missing`, `eval_run_damaged` with the line.
    pub fn read(path: &Path) -> Result<Self> {
        file::read(path)
    }

    /// Whether every turn is there.
    pub fn is_done(&self) -> bool {
        self.turns.len() == self.header.n_turns
    }

    /// The hash of everything but the times, in hexadecimal: equal for equal inputs.
    ///
    /// # Errors
    /// When a number cannot be written.
    pub fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(&self.header)?);
        for turn in &self.turns {
            hash.update(b"\n");
            hash.update(serde_json::to_vec(turn)?);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The systems that were measured on some turn, in alphabetical order.
    pub fn systems(&self) -> Vec<&str> {
        let all = self.turns.iter().flat_map(|turn| turn.values.keys());
        let distinct: BTreeSet<&str> = all.map(String::as_str).collect();
        distinct.into_iter().collect()
    }
}

impl RunHeader {
    /// The first thing in which the headers differ, as `name: this one against that one`.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let (own, others) = (self.named(), other.named());
        let names: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
        names.into_iter().find_map(|name| {
            let (own, other) = (shown(own.get(name)), shown(others.get(name)));
            (own != other).then(|| format!("{name}: {own} against {other}"))
        })
    }

    fn named(&self) -> BTreeMap<String, Value> {
        let build = self.code.build.as_deref().unwrap_or("none");
        let mut named = BTreeMap::from([
            ("format".to_owned(), self.format.into()),
            ("suite".to_owned(), self.suite.as_str().into()),
            ("seed".to_owned(), self.seed.into()),
            ("data_sha256".to_owned(), self.data_sha256.as_str().into()),
            ("code.version".to_owned(), self.code.version.as_str().into()),
            ("code.build".to_owned(), build.into()),
            ("n_turns".to_owned(), self.n_turns.into()),
        ]);
        for (part, model) in &self.models {
            named.insert(format!("models.{part}.id"), model.id.as_str().into());
            named.insert(format!("models.{part}.sha256"), model.sha256.as_str().into());
        }
        for (option, value) in &self.options {
            named.insert(format!("options.{option}"), value.clone());
        }
        named
    }
}

impl TurnRecord {
    /// Whether the turn can be kept: JSON has no word for what is not finite.
    ///
    /// # Errors
    /// `eval_value` with the turn, the system and the measure.
    pub fn validate(&self) -> Result<()> {
        let features = "features".to_owned();
        let systems = self.values.iter().chain(&self.latency_ms);
        for (system, values) in systems.chain([(&features, &self.features)]) {
            if let Some((name, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
                let turn = &self.id;
                return Err(Error::invalid(
                    "eval_value",
                    format!("{name} of `{system}` in turn `{turn}` is {value}; leave it out"),
                ));
            }
        }
        Ok(())
    }

    /// A system's number, where it was measured.
    pub fn value(&self, system: &str, metric: &str) -> Option<f64> {
        self.values.get(system)?.get(metric).copied()
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
