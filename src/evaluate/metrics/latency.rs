//! Time and tokens of each stage of answering.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one call of a stage took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StageCost {
    pub time_ms: f64,
    /// Tokens read; 0 for a stage without a model.
    pub n_tokens_read: u64,
    /// Tokens written.
    pub n_tokens_written: u64,
}

/// The calls of every stage, by its name.
#[derive(Debug, Clone, Default)]
pub struct StageCosts {
    calls: BTreeMap<String, Vec<StageCost>>,
}

/// A stage's calls in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    pub time_ms: Distribution,
    pub n_tokens_read: Distribution,
    pub n_tokens_written: Distribution,
}

/// Where values lie. Percentiles lie between the two nearest values in proportion, as
/// `numpy.percentile` has them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub n: usize,
    pub mean: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl StageCosts {
    pub fn add(&mut self, stage: &str, cost: StageCost) {
        self.calls.entry(stage.to_owned()).or_default().push(cost);
    }

    /// Every stage that was called.
    pub fn summary(&self) -> BTreeMap<String, StageSummary> {
        let summaries = self.calls.iter().map(|(stage, calls)| (stage, StageSummary::of(calls)));
        summaries.filter_map(|(stage, summary)| Some((stage.clone(), summary?))).collect()
    }
}

impl StageSummary {
    /// `None` of no calls.
    pub fn of(calls: &[StageCost]) -> Option<Self> {
        let distribution = |value: fn(&StageCost) -> f64| Distribution::of(calls.iter().map(value));
        Some(Self {
            time_ms: distribution(|call| call.time_ms)?,
            n_tokens_read: distribution(|call| call.n_tokens_read as f64)?,
            n_tokens_written: distribution(|call| call.n_tokens_written as f64)?,
        })
    }
}

impl Distribution {
    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let max = *sorted.last()?;
        let percentile = |percent| percentile(&sorted, percent);
        Some(Self {
            n: sorted.len(),
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: percentile(50.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
            max,
        })
    }
}

/// Of sorted values, at least one of them.
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let place = percent / 100.0 * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_kept_apart() {
        let mut costs = StageCosts::default();
        let cost = |time_ms| StageCost { time_ms, n_tokens_read: 100, n_tokens_written: 7 };
        costs.add("rewrite", cost(30.0));
        costs.add("search", StageCost { time_ms: 2.0, ..StageCost::default() });
        costs.add("rewrite", cost(10.0));
        let summary = costs.summary();
        assert_eq!((summary["rewrite"].time_ms.mean, summary["rewrite"].time_ms.n), (20.0, 2));
        assert_eq!(summary["rewrite"].n_tokens_read.max, 100.0);
        assert_eq!(summary["rewrite"].n_tokens_written.p99, 7.0);
        assert_eq!(
            (summary["search"].time_ms.p50, summary["search"].n_tokens_read.max),
            (2.0, 0.0)
        );
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        assert_eq!(Distribution::of([]), None);
        assert!(StageCosts::default().summary().is_empty());
    }
}
