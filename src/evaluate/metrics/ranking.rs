//! Measures of what was found, as trec_eval 9 computes them, and so pytrec_eval and BEIR.
//!
//! A query that found nothing scores 0, and so does one that nothing is relevant to: leave the
//! latter out of means, it says nothing of a search (`n_relevant`). pytrec_eval leaves out queries
//! that are missing in a run; for a fair mean count them with an empty list.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

/// What was found for one query, best first and each document once, and the grade of every judged
/// document. A grade of 0 or less means irrelevant, as does no grade.
#[derive(Debug, Clone, Copy)]
pub struct Ranking<'a, D> {
    pub found: &'a [D],
    pub grades: &'a HashMap<D, i32>,
}

/// The measures of one query at one depth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RankingScores {
    pub recall: f64,
    pub reciprocal_rank: f64,
    pub ndcg: f64,
    pub average_precision: f64,
}

impl<D: Eq + Hash> Ranking<'_, D> {
    /// Recall, MRR and nDCG at `k`, and average precision over all that was found.
    pub fn scores(&self, k: usize) -> RankingScores {
        RankingScores {
            recall: self.recall(k),
            reciprocal_rank: self.reciprocal_rank(k),
            ndcg: self.ndcg(k),
            average_precision: self.average_precision(),
        }
    }

    /// The share of the relevant documents that is among the first `k` (`recall_k`).
    pub fn recall(&self, k: usize) -> f64 {
        share(self.n_hits(k) as f64, self.n_relevant() as f64)
    }

    /// The share of the first `k` places that relevant documents hold; empty places count (`P_k`).
    pub fn precision(&self, k: usize) -> f64 {
        share(self.n_hits(k) as f64, k as f64)
    }

    /// 1 ÷ the rank of the first relevant document, 0 if that is beyond `k`. trec_eval's
    /// `recip_rank` knows no depth, which is `usize::MAX`. The mean over queries is MRR@k.
    pub fn reciprocal_rank(&self, k: usize) -> f64 {
        self.first_rank().filter(|rank| *rank <= k).map_or(0.0, |rank| (rank as f64).recip())
    }

    /// nDCG at `k` (`ndcg_cut_k`; `usize::MAX`: `ndcg`): the sum of grade ÷ log₂(1 + rank) over the
    /// first `k`, by the same sum for the best order of all judged documents (Järvelin and
    /// Kekäläinen, "Cumulated Gain-Based Evaluation of IR Techniques", 2002, with linear gains as
    /// trec_eval takes them, not 2^grade − 1).
    pub fn ndcg(&self, k: usize) -> f64 {
        let mut best: Vec<f64> = self.grades.values().map(|grade| gain(*grade)).collect();
        best.sort_by(|left, right| right.total_cmp(left));
        let found = self.found.iter().map(|document| gain(self.grade(document)));
        share(discounted(found.take(k)), discounted(best.into_iter().take(k)))
    }

    /// The precision at each relevant document found, summed, by the number of all relevant ones
    /// (`map`). The mean over queries is MAP.
    pub fn average_precision(&self) -> f64 {
        let precisions =
            (1..).zip(self.ranks()).map(|(n_hits, rank)| f64::from(n_hits) / rank as f64);
        share(precisions.sum(), self.n_relevant() as f64)
    }

    /// The rank, from 1, of the first relevant document.
    pub fn first_rank(&self) -> Option<usize> {
        self.ranks().next()
    }

    /// How many documents are relevant, found or not.
    pub fn n_relevant(&self) -> usize {
        self.grades.values().filter(|grade| **grade > 0).count()
    }

    fn n_hits(&self, k: usize) -> usize {
        self.ranks().take_while(|rank| *rank <= k).count()
    }

    /// The ranks of the relevant documents found.
    fn ranks(&self) -> impl Iterator<Item = usize> {
        let ranked = (1..).zip(self.found);
        ranked.filter(|(_, document)| self.grade(document) > 0).map(|(rank, _)| rank)
    }

    fn grade(&self, document: &D) -> i32 {
        self.grades.get(document).copied().unwrap_or(0)
    }
}

/// Documents with their scores in trec_eval's order: by score, rounded to f32, the highest first;
/// documents of equal scores by name, the last in the order of bytes first. The order they came in
/// plays no part, so a ranking is only right with ties when it is put in this order (or has no
/// scores but ranks). NaN comes last.
pub fn trec_order<'a>(scored: &[(&'a str, f64)]) -> Vec<&'a str> {
    let mut order: Vec<(&str, f32)> = scored.iter().map(|(name, x)| (*name, *x as f32)).collect();
    order.sort_by(|(left, a), (right, b)| {
        let by_score = b.partial_cmp(a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        if by_score == Ordering::Equal { right.cmp(left) } else { by_score }
    });
    order.into_iter().map(|(name, _)| name).collect()
}

fn gain(grade: i32) -> f64 {
    f64::from(grade.max(0))
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    (2..).zip(gains).map(|(place, gain)| gain / f64::from(place).log2()).sum()
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_broken_by_name_and_not_by_place() {
        assert_eq!(trec_order(&[("a", 1.0), ("c", 1.0), ("b", 2.0)]), ["b", "c", "a"]);
        assert_eq!(trec_order(&[("10", 0.5), ("9", 0.5)]), ["9", "10"]);
        // 1 + 1e-9 is 1 as an f32.
        assert_eq!(trec_order(&[("a", 1.0 + 1e-9), ("b", 1.0)]), ["b", "a"]);
        assert_eq!(trec_order(&[("b", f64::NAN), ("a", f64::NEG_INFINITY)]), ["a", "b"]);
    }

    #[test]
    fn a_late_gold_passage_has_no_reciprocal_rank() {
        let found: Vec<u32> = (0..20).collect();
        let ranking = Ranking { found: &found, grades: &HashMap::from([(10, 1)]) };
        assert_eq!((ranking.reciprocal_rank(10), ranking.reciprocal_rank(11)), (0.0, 1.0 / 11.0));
        assert_eq!((ranking.recall(10), ranking.recall(11)), (0.0, 1.0));
    }

    #[test]
    fn nothing_found_or_nothing_relevant_scores_zero() {
        let nothing = Ranking { found: &[], grades: &HashMap::from([("a", 2)]) };
        assert_eq!(nothing.scores(10), RankingScores::default());
        let irrelevant = Ranking { found: &["a"], grades: &HashMap::from([("a", 0), ("b", -1)]) };
        assert_eq!(irrelevant.scores(10), RankingScores::default());
        assert_eq!((nothing.n_relevant(), irrelevant.n_relevant()), (1, 0));
    }
}
