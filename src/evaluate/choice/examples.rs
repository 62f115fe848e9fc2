//! Paired outcomes: what the query retrieved, and what its rewrite did.

use crate::error::{Error, Result};
use crate::evaluate::run::{RunRecord, TurnRecord};

/// A turn, with the values of the features under the names of [`Examples`].
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub features: Vec<f64>,
    /// The measure of the query as it came.
    pub raw: f64,
    /// The measure of its rewrite.
    pub rewritten: f64,
    /// The measure under the rule that decides today, if there is one.
    pub ruled: Option<f64>,
    /// Turns of a conversation are fitted to or tested on together.
    pub conversation: String,
}

/// Turns with the same features.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    pub names: Vec<String>,
    pub rows: Vec<Example>,
    /// The measure that the outcomes are of, higher is better.
    pub metric: String,
}

/// The systems of a run that an example is made of.
#[derive(Debug, Clone, Copy)]
pub struct Systems<'a> {
    pub raw: &'a str,
    pub rewritten: &'a str,
    /// The one that decides by a rule.
    pub ruled: Option<&'a str>,
}

impl Examples {
    /// # Errors
    /// `choice_input` when a row has another number of features than there are names, or a number
    /// is not finite.
    pub fn new(names: Vec<String>, rows: Vec<Example>, metric: &str) -> Result<Self> {
        for (idx, row) in rows.iter().enumerate() {
            let (n, n_names) = (row.features.len(), names.len());
            if n != n_names {
                let text = format!("turn {idx} has {n} features; {n_names} are named");
                return Err(Error::invalid("choice_input", text));
            }
            let outcomes = [row.raw, row.rewritten, row.ruled.unwrap_or(0.0)];
            if row.features.iter().chain(&outcomes).any(|value| !value.is_finite()) {
                let text = format!("turn {idx} has a number that is not finite; leave it out");
                return Err(Error::invalid("choice_input", text));
            }
        }
        Ok(Self { names, rows, metric: metric.to_owned() })
    }

    /// The turns of a run that have the features and the measure under both systems. The names of
    /// the features are those of the first such turn.
    ///
    /// # Errors
    /// `choice_input` when there is none, or when the features of two turns have other names.
    pub fn of_run(run: &RunRecord, systems: Systems<'_>, metric: &str) -> Result<Self> {
        let measured = |turn: &&TurnRecord| {
            let has = |system| turn.value(system, metric).is_some();
            !turn.features.is_empty() && has(systems.raw) && has(systems.rewritten)
        };
        let Some(first) = run.turns.iter().find(measured) else {
            let (raw, rewritten) = (systems.raw, systems.rewritten);
            return Err(Error::invalid(
                "choice_input",
                format!("no turn has features and {metric} of `{raw}` and `{rewritten}`"),
            ));
        };
        let names: Vec<String> = first.features.keys().cloned().collect();
        let turns = run.turns.iter().filter(measured);
        let rows = turns.map(|turn| example(turn, systems, metric, &names));
        Self::new(names.clone(), rows.collect::<Result<_>>()?, metric)
    }
}

fn example(
    turn: &TurnRecord,
    systems: Systems<'_>,
    metric: &str,
    names: &[String],
) -> Result<Example> {
    if !turn.features.keys().eq(names) {
        let text = format!("turn `{}` has other features than the first", turn.id);
        return Err(Error::invalid("choice_input", text));
    }
    let value = |system| turn.value(system, metric).unwrap_or(0.0);
    Ok(Example {
        features: turn.features.values().copied().collect(),
        raw: value(systems.raw),
        rewritten: value(systems.rewritten),
        ruled: systems.ruled.and_then(|system| turn.value(system, metric)),
        conversation: turn.conversation.clone().unwrap_or_else(|| turn.id.clone()),
    })
}
