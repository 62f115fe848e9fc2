//! ROUGE-1, ROUGE-2 and ROUGE-L (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries",
//! 2004), equal to Google's rouge-score 0.1.2 without its stemmer, on its words or on characters.
//!
//! Tables of Chinese rewriting are often computed by the other Python package, `rouge`, whose 1.0
//! counts every distinct n-gram once; compare with those by rank rather than to the digit.

use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::overlap::{Overlap, common_subsequence_len, n_in_common, ngram_counts};
use super::tokens::{characters, rouge_words};

/// What ROUGE counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RougeUnit {
    /// Runs of ASCII letters and digits, lowercased: text without any scores 0.
    Words,
    /// Characters without white space, case kept: for Chinese.
    Characters,
}

/// The three of them for one text, or their means.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rouge {
    pub rouge_1: Overlap,
    pub rouge_2: Overlap,
    pub rouge_l: Overlap,
}

impl Rouge {
    /// Scores a text against its reference.
    pub fn of(reference: &str, hypothesis: &str, unit: RougeUnit) -> Self {
        let (reference, hypothesis) = (unit.tokens(reference), unit.tokens(hypothesis));
        Self {
            rouge_1: rouge_n(&reference, &hypothesis, 1),
            rouge_2: rouge_n(&reference, &hypothesis, 2),
            rouge_l: rouge_l(&reference, &hypothesis),
        }
    }

    /// Scores a text against several references: for each figure the reference that gives the best
    /// F1, the first among equals. All 0 without a reference.
    pub fn best<S: AsRef<str>>(references: &[S], hypothesis: &str, unit: RougeUnit) -> Self {
        let scores = references.iter().map(|text| Self::of(text.as_ref(), hypothesis, unit));
        scores.reduce(|left, right| left.better(&right)).unwrap_or_default()
    }

    fn better(&self, other: &Self) -> Self {
        let pick = |a: Overlap, b: Overlap| if b.f1 > a.f1 { b } else { a };
        Self {
            rouge_1: pick(self.rouge_1, other.rouge_1),
            rouge_2: pick(self.rouge_2, other.rouge_2),
            rouge_l: pick(self.rouge_l, other.rouge_l),
        }
    }
}

impl RougeUnit {
    pub fn tokens(self, text: &str) -> Vec<String> {
        match self {
            Self::Words => rouge_words(text),
            Self::Characters => characters(text),
        }
    }
}

/// ROUGE-N: n-grams in common, of the hypothesis' (precision) and of the reference's (recall).
pub fn rouge_n<T: Eq + Hash>(reference: &[T], hypothesis: &[T], n: usize) -> Overlap {
    let (wanted, proposed) = (ngram_counts(reference, n), ngram_counts(hypothesis, n));
    let common = n_in_common(&wanted, &proposed);
    Overlap::of(common, proposed.values().sum(), wanted.values().sum())
}

/// ROUGE-L of a sentence: the longest common subsequence in place of the n-grams.
pub fn rouge_l<T: Eq>(reference: &[T], hypothesis: &[T]) -> Overlap {
    let common = common_subsequence_len(reference, hypothesis);
    Overlap::of(common as u64, hypothesis.len() as u64, reference.len() as u64)
}
