//! The means of one run, by system, measure and slice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::run::{RunRecord, TurnRecord};
use super::significance::{self, Estimate, Observed, SignificanceSettings, percentile};
use crate::error::Result;

/// The turns of one kind: those with `value` under `key`. The key of all turns is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Slice {
    pub key: String,
    pub value: String,
}

impl Slice {
    /// Every turn.
    pub fn all() -> Self {
        Self::default()
    }

    pub fn is_all(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether the turn is of the slice. A key of several, joined by `+`, asks for all of them.
    pub fn holds(&self, turn: &TurnRecord) -> bool {
        self.is_all() || value_of(turn, &self.key).as_ref() == Some(&self.value)
    }
}

impl std::fmt::Display for Slice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_all() {
            formatter.write_str("all turns")
        } else {
            write!(formatter, "{}={}", self.key, self.value)
        }
    }
}

/// One mean: of a measure, under a system, over a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub system: String,
    pub metric: String,
    pub slice: Slice,
    pub estimate: Estimate,
}

/// Milliseconds that a stage took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    pub n: usize,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// Every mean of a run, ordered by slice (all turns first), system and measure.
///
/// # Errors
/// `significance_input` for a number that is not finite.
pub fn summarise(
    run: &RunRecord,
    slice_keys: &[String],
    settings: &SignificanceSettings,
) -> Result<Vec<Standing>> {
    let turns: Vec<&TurnRecord> = run.turns.iter().collect();
    let conversations = conversations(&turns);
    let metrics: BTreeSet<&String> = turns
        .iter()
        .flat_map(|turn| turn.values.values())
        .flat_map(|values| values.keys())
        .collect();
    let mut columns = Vec::new();
    for slice in slices(&turns, slice_keys) {
        for system in run.systems() {
            columns.extend(metrics.iter().filter_map(|metric| {
                column(&turns, &conversations, slice.clone(), system, metric)
            }));
        }
    }
    let observed: Vec<Observed<'_>> = columns.iter().map(Column::observed).collect();
    let estimates = significance::estimates(&observed, settings)?;
    let standings = columns.into_iter().zip(estimates).map(|(column, estimate)| Standing {
        system: column.system,
        metric: column.metric,
        slice: column.slice,
        estimate,
    });
    Ok(standings.collect())
}

/// The slices that the turns fall into, all turns first: by each of the keys, or, without keys, by
/// every key that tells turns apart, and by kind and language together where both do.
pub fn slices(turns: &[&TurnRecord], keys: &[String]) -> Vec<Slice> {
    let mut keys: Vec<String> = keys.to_vec();
    if keys.is_empty() {
        let own: BTreeSet<&String> = turns.iter().flat_map(|turn| turn.slices.keys()).collect();
        keys = own.into_iter().filter(|key| tells_apart(turns, key)).cloned().collect();
        let has = |name: &str| keys.iter().any(|key| key == name);
        if has("kind") && has("lang") {
            keys.push("kind+lang".to_owned());
        }
    }
    let of_key = |key: &String| {
        let values: BTreeSet<String> =
            turns.iter().filter_map(|turn| value_of(turn, key)).collect();
        let slices: Vec<Slice> =
            values.into_iter().map(|value| Slice { key: key.clone(), value }).collect();
        slices
    };
    [Slice::all()].into_iter().chain(keys.iter().flat_map(of_key)).collect()
}

/// The conversation of each turn, numbered; a turn without one has a number of its own.
pub fn conversations(turns: &[&TurnRecord]) -> Vec<usize> {
    let mut numbers: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    turns
        .iter()
        .map(|turn| {
            let of_conversation = turn.conversation.as_deref().map(|name| (name, true));
            let n = numbers.len();
            *numbers.entry(of_conversation.unwrap_or((turn.id.as_str(), false))).or_insert(n)
        })
        .collect()
}

/// A system's latencies by stage.
pub fn latencies(turns: &[&TurnRecord], system: &str) -> BTreeMap<String, Percentiles> {
    let mut by_stage: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (stage, &ms) in turns.iter().filter_map(|turn| turn.latency_ms.get(system)).flatten() {
        by_stage.entry(stage.clone()).or_default().push(ms);
    }
    by_stage.into_iter().map(|(stage, ms)| (stage, percentiles(ms))).collect()
}

fn percentiles(mut ms: Vec<f64>) -> Percentiles {
    ms.sort_unstable_by(f64::total_cmp);
    let at = |share| percentile(&ms, share);
    Percentiles { n: ms.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

/// The numbers of a mean.
struct Column {
    slice: Slice,
    system: String,
    metric: String,
    values: Vec<f64>,
    clusters: Vec<usize>,
}

impl Column {
    fn observed(&self) -> Observed<'_> {
        Observed { values: &self.values, clusters: Some(&self.clusters) }
    }
}

/// None when no turn of the slice has the measure.
fn column(
    turns: &[&TurnRecord],
    conversations: &[usize],
    slice: Slice,
    system: &str,
    metric: &str,
) -> Option<Column> {
    let of_slice = turns.iter().zip(conversations).filter(|(turn, _)| slice.holds(turn));
    let (values, clusters): (Vec<f64>, Vec<usize>) = of_slice
        .filter_map(|(turn, &cluster)| Some((turn.value(system, metric)?, cluster)))
        .unzip();
    let (system, metric) = (system.to_owned(), metric.to_owned());
    (!values.is_empty()).then_some(Column { slice, system, metric, values, clusters })
}

/// Whether the key cuts the turns: one that every turn has with the same value does not.
fn tells_apart(turns: &[&TurnRecord], key: &str) -> bool {
    let mut values = turns.iter().map(|turn| turn.slices.get(key));
    let first = values.next().flatten();
    values.any(|value| value != first)
}

/// What the turn has under the key, or under each of several, joined by `+`.
fn value_of(turn: &TurnRecord, key: &str) -> Option<String> {
    let values: Option<Vec<&str>> =
        key.split('+').map(|part| turn.slices.get(part).map(String::as_str)).collect();
    Some(values?.join("+"))
}
