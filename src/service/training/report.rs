//! What a dry run shows of the data, before a step is taken.

use serde::Serialize;

/// Counts, lengths and samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DryRun {
    pub n_train: usize,
    pub n_validation: usize,
    pub n_rejected: usize,
    pub n_duplicates: usize,
    /// Of rows on the training side, in tokens.
    pub lengths: Lengths,
    /// Sequences that were cut to the limit.
    pub n_cut: usize,
    pub max_tokens: usize,
    pub steps_per_epoch: u64,
    pub data_sha256: String,
    /// `file:line: reason` of rows that were not taken.
    pub rejected: Vec<String>,
    pub notes: Vec<String>,
    /// The first rows as the model sees them.
    pub samples: Vec<String>,
}

/// The spread of lengths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    pub least: usize,
    pub median: usize,
    pub p95: usize,
    pub most: usize,
    pub total: usize,
}

impl Lengths {
    pub fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let at = |share: usize| {
            lengths
                .get((lengths.len() * share / 100).min(lengths.len().saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        Self {
            least: at(0),
            median: at(50),
            p95: at(95),
            most: at(100),
            total: lengths.iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_ends_and_its_middle() {
        let lengths = Lengths::of((1..=100).rev().collect());
        assert_eq!(lengths, Lengths { least: 1, median: 51, p95: 96, most: 100, total: 5_050 });
        assert_eq!(Lengths::of(Vec::new()), Lengths::default());
    }
}
