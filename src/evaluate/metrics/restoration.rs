//! Exact match, and the restoration scores: of what a rewrite adds to the query, how much is right.
//!
//! Pan et al., "Improving Open-Domain Dialogue Systems via Multi-Turn Incomplete Utterance
//! Restoration" (EMNLP 2019), define precision, recall and F of order n over the n-grams that hold
//! at least one restored word. In detail this follows what Liu et al., "Incomplete Utterance
//! Rewriting as Semantic Segmentation" (EMNLP 2020, RUN) report by: a token is restored when the
//! query nowhere has it; an n-gram counts once a text; turns whose reference restores nothing are
//! left out, whatever the rewrite does to them; counts are summed over the turns before dividing.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::overlap::Overlap;
use super::tokens::is_space;

/// The orders of n-grams that the papers report.
const N_ORDERS: usize = 3;

/// Distinct n-grams that hold a restored token, by order from 1. Turns add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RestorationCounts {
    /// In the rewrite and in the reference.
    pub matched: [u64; N_ORDERS],
    /// In the rewrite.
    pub proposed: [u64; N_ORDERS],
    /// In the reference.
    pub wanted: [u64; N_ORDERS],
}

impl RestorationCounts {
    /// Counts one turn. `None`: the reference restores nothing. Tokens are what the caller makes
    /// them; the papers count Chinese by character ([`super::tokens::characters`]).
    pub fn of<T: Eq + Hash>(query: &[T], reference: &[T], rewrite: &[T]) -> Option<Self> {
        let said: HashSet<&T> = query.iter().collect();
        if reference.iter().all(|token| said.contains(token)) {
            return None;
        }
        let mut counts = Self::default();
        for order in 0..N_ORDERS {
            let proposed = restored_ngrams(rewrite, &said, order + 1);
            let wanted = restored_ngrams(reference, &said, order + 1);
            counts.matched[order] = proposed.intersection(&wanted).count() as u64;
            counts.proposed[order] = proposed.len() as u64;
            counts.wanted[order] = wanted.len() as u64;
        }
        Some(counts)
    }

    /// P, R and F of n-grams of length 1, 2 and 3: f1, f2 and f3 of the papers' tables.
    pub fn scores(&self) -> [Overlap; N_ORDERS] {
        std::array::from_fn(|order| {
            Overlap::of(self.matched[order], self.proposed[order], self.wanted[order])
        })
    }
}

impl AddAssign for RestorationCounts {
    fn add_assign(&mut self, other: Self) {
        for order in 0..N_ORDERS {
            self.matched[order] += other.matched[order];
            self.proposed[order] += other.proposed[order];
            self.wanted[order] += other.wanted[order];
        }
    }
}

/// Whether two texts are the same but for form, by [`normalised`]. The papers compare the texts as
/// they are, which is `==`.
pub fn is_exact_match(reference: &str, rewrite: &str) -> bool {
    normalised(reference) == normalised(rewrite)
}

/// A text without what does not change a question: lower case; full-width ASCII as ASCII; no white
/// space at the ends and beside characters beyond Latin scripts, one space elsewhere; no `.`, `?`,
/// `!` or `。` at the end.
pub fn normalised(text: &str) -> String {
    let text: String = text.chars().map(half_width).flat_map(char::to_lowercase).collect();
    let text = text.trim_end_matches(|c| is_space(c) || matches!(c, '.' | '?' | '!' | '。'));
    let mut normalised = String::with_capacity(text.len());
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let touches = [normalised.chars().last(), word.chars().next()];
        if touches.iter().all(|c| c.is_some_and(|c| c < '\u{2e80}')) {
            normalised.push(' ');
        }
        normalised.push_str(word);
    }
    normalised
}

/// The n-grams with a token that the query has not.
fn restored_ngrams<'a, T: Eq + Hash>(
    tokens: &'a [T],
    said: &HashSet<&T>,
    n: usize,
) -> HashSet<&'a [T]> {
    let is_restored = |ngram: &&[T]| ngram.iter().any(|token| !said.contains(token));
    tokens.windows(n).filter(is_restored).collect()
}

/// U+FF01 to U+FF5E are ASCII's printable characters in the same order.
fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(c) - 0xff01 + u32::from('!')).unwrap_or(c)
        }
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::characters;
    use super::*;

    #[test]
    fn only_what_the_query_lacks_is_counted() {
        let (query, reference) = (characters("多少钱"), characters("小米多少钱"));
        let counts = |rewrite| RestorationCounts::of(&query, &reference, &characters(rewrite));
        let right = counts("小米多少钱").unwrap();
        assert_eq!((right.wanted, right.matched), ([2, 2, 2], [2, 2, 2]));
        let wrong = counts("大米多少钱").unwrap();
        assert_eq!((wrong.proposed, wrong.matched), ([2, 2, 2], [1, 1, 1]));
        assert_eq!(wrong.scores()[0], Overlap { precision: 0.5, recall: 0.5, f1: 0.5 });
        assert_eq!(counts("多少钱").unwrap().scores()[0], Overlap::default());
    }

    #[test]
    fn a_turn_without_anything_to_restore_is_left_out() {
        let query = characters("小米多少钱");
        assert_eq!(RestorationCounts::of(&query, &query, &characters("大米多少钱")), None);
    }

    #[test]
    fn form_is_no_difference_and_words_are() {
        assert!(is_exact_match("iPhone 15 多少钱？", "ｉphone  15多少钱"));
        assert!(is_exact_match(" Who is he? ", "who is  he"));
        assert!(!is_exact_match("now here", "nowhere"));
        assert!(!is_exact_match("3.5折", "35折"));
        assert!(!is_exact_match("A多少钱", "B多少钱"));
    }
}
