//! N-grams in common: what BLEU, ROUGE and the restoration scores count.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

/// Precision, recall and their harmonic mean, all from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Overlap {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

impl Overlap {
    /// From the number of matches, of what was proposed and of what was wanted; 0 where there is
    /// nothing to divide by.
    pub fn of(n_matched: u64, n_proposed: u64, n_wanted: u64) -> Self {
        let share = |whole: u64| n_matched as f64 / whole.max(1) as f64;
        let (precision, recall) = (share(n_proposed), share(n_wanted));
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

/// How often each n-gram occurs; `n` is at least 1.
pub fn ngram_counts<T: Eq + Hash>(tokens: &[T], n: usize) -> HashMap<&[T], u64> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(n.max(1)) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// The occurrences of n-grams in both, each counted as often as where it is rarer.
pub fn n_in_common<T: Eq + Hash>(left: &HashMap<&[T], u64>, right: &HashMap<&[T], u64>) -> u64 {
    let in_right = |ngram: &&[T]| right.get(ngram).copied().unwrap_or(0);
    left.iter().map(|(ngram, count)| *count.min(&in_right(ngram))).sum()
}

/// The length of the longest common subsequence, in O(left · right) time.
pub fn common_subsequence_len<T: Eq>(left: &[T], right: &[T]) -> usize {
    // lengths[j]: with the tokens of `left` so far and the first j of `right`.
    let mut lengths = vec![0; right.len() + 1];
    for a in left {
        let mut diagonal = 0;
        for (j, b) in right.iter().enumerate() {
            let above = lengths[j + 1];
            lengths[j + 1] = if a == b { diagonal + 1 } else { above.max(lengths[j]) };
            diagonal = above;
        }
    }
    lengths[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ngrams_are_clipped() {
        let (left, right) = (["a", "a", "b", "a"], ["a", "b", "b", "a"]);
        let common = |n| n_in_common(&ngram_counts(&left, n), &ngram_counts(&right, n));
        assert_eq!([common(1), common(2), common(3), common(5)], [3, 2, 0, 0]);
    }

    #[test]
    fn a_subsequence_may_have_gaps() {
        assert_eq!(common_subsequence_len(b"abcbdab", b"bdcaba"), 4);
        assert_eq!(common_subsequence_len(b"", b"abc"), 0);
    }

    #[test]
    fn nothing_to_divide_by_is_zero() {
        assert_eq!(Overlap::of(0, 0, 0), Overlap::default());
        assert_eq!(Overlap::of(1, 2, 4), Overlap { precision: 0.5, recall: 0.25, f1: 1.0 / 3.0 });
    }
}
