//! Several ranked lists -> one.
//!
//! Scores of different legs cannot be compared (a cosine, a BM25 sum), ranks can: reciprocal rank
//! fusion adds `weight / (k + rank)` over the lists that have a chunk (Cormack, Clarke and
//! Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods",
//! SIGIR 2009). A query variant that the rewriter trusts more has more weight.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The constant of the paper, used when the given one makes no sense.
const DEFAULT_K: f64 = 60.0;

/// What found a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leg {
    Dense,
    Sparse,
    Rerank,
}

/// The hits of one query in one leg.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedList {
    /// Index of the search query.
    pub query: usize,
    pub leg: Leg,
    /// A weight that is not a positive number counts as 0: the matches are kept, without score.
    pub weight: f32,
    /// Chunk ids with the leg's own scores, best first. Of an id given twice the first counts.
    pub hits: Vec<(i64, f32)>,
}

/// One appearance of a chunk in a list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    pub query: usize,
    pub leg: Leg,
    /// From 1.
    pub rank: usize,
    /// As the leg gave it.
    pub score: f32,
}

/// A chunk with its fused score and all its appearances, by query, then leg.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    pub chunk_id: i64,
    pub score: f32,
    pub matched_by: Vec<Match>,
}

/// Fuses the lists, best first. `k` (60 in the paper) says how little the first ranks stand out;
/// a negative or infinite one is replaced by 60. Equal scores are ordered by the best rank in any
/// list, then by id, so the order of `lists` does not matter.
pub fn reciprocal_rank_fusion(lists: &[RankedList], k: f32) -> Vec<Fused> {
    let k = if k.is_finite() && k >= 0.0 { f64::from(k) } else { DEFAULT_K };
    let mut matches: HashMap<i64, Vec<(Match, f64)>> = HashMap::new();
    for list in lists {
        let weight = if list.weight.is_finite() { f64::from(list.weight.max(0.0)) } else { 0.0 };
        let mut seen = HashSet::new();
        let hits = list.hits.iter().filter(|(id, _)| seen.insert(*id));
        for (position, (id, score)) in hits.enumerate() {
            let rank = position + 1;
            let found = Match { query: list.query, leg: list.leg, rank, score: *score };
            matches.entry(*id).or_default().push((found, weight / (k + rank as f64)));
        }
    }
    let mut fused: Vec<(f64, Fused)> =
        matches.into_iter().map(|(id, matches)| fuse_one(id, matches)).collect();
    fused.sort_by(|(left_score, left), (right_score, right)| {
        let by_score = right_score.total_cmp(left_score);
        by_score.then_with(|| tie_key(left).cmp(&tie_key(right)))
    });
    fused.into_iter().map(|(_, fused)| fused).collect()
}

/// Keeps identical texts once: the better placed one stays, with its own score, and takes the
/// matches of the others. A chunk without a hash is never a duplicate.
pub fn collapse_duplicates(
    fused: Vec<Fused>,
    content_hash: &dyn Fn(i64) -> Option<String>,
) -> Vec<Fused> {
    let mut kept: Vec<Fused> = Vec::with_capacity(fused.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for candidate in fused {
        let Some(hash) = content_hash(candidate.chunk_id) else {
            kept.push(candidate);
            continue;
        };
        match places.entry(hash) {
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(candidate);
            }
            Entry::Occupied(place) => {
                if let Some(better) = kept.get_mut(*place.get()) {
                    better.matched_by.extend(candidate.matched_by);
                    better.matched_by.sort_by_key(match_key);
                }
            }
        }
    }
    kept
}

/// Moves what a document has beyond its best `cap` passages behind all others. It moves them and
/// does not drop them: when only one document is about the question, its passages still fill the
/// list. The scores are left alone, so after this the order of the list counts, not the score.
/// A cap of 0 is taken for 1.
pub fn per_document_cap<D: Eq + Hash>(
    fused: Vec<Fused>,
    document_of: impl Fn(i64) -> D,
    cap: usize,
) -> Vec<Fused> {
    let mut passages: HashMap<D, usize> = HashMap::new();
    let (mut first, surplus): (Vec<Fused>, Vec<Fused>) = fused.into_iter().partition(|fused| {
        let count = passages.entry(document_of(fused.chunk_id)).or_default();
        *count += 1;
        *count <= cap.max(1)
    });
    first.extend(surplus);
    first
}

fn fuse_one(chunk_id: i64, mut matches: Vec<(Match, f64)>) -> (f64, Fused) {
    // Addition of floats depends on the order, so the order is fixed first.
    matches.sort_by(|(left, left_part), (right, right_part)| {
        let by_match = match_key(left).cmp(&match_key(right));
        by_match.then_with(|| left_part.total_cmp(right_part))
    });
    let score: f64 = matches.iter().map(|(_, part)| part).sum();
    let matched_by = matches.into_iter().map(|(found, _)| found).collect();
    (score, Fused { chunk_id, score: score as f32, matched_by })
}

fn match_key(found: &Match) -> (usize, Leg, usize) {
    (found.query, found.leg, found.rank)
}

fn tie_key(fused: &Fused) -> (usize, i64) {
    let best = fused.matched_by.iter().map(|found| found.rank).min();
    (best.unwrap_or(usize::MAX), fused.chunk_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: usize, leg: Leg, weight: f32, ids: &[i64]) -> RankedList {
        let hits = ids.iter().enumerate().map(|(at, id)| (*id, 1.0 - at as f32 / 10.0)).collect();
        RankedList { query, leg, weight, hits }
    }

    fn ids(fused: &[Fused]) -> Vec<i64> {
        fused.iter().map(|fused| fused.chunk_id).collect()
    }

    #[test]
    fn adds_weighted_reciprocal_ranks() {
        let lists = [list(0, Leg::Dense, 1.0, &[7, 8]), list(1, Leg::Sparse, 2.0, &[8, 9])];
        let fused = reciprocal_rank_fusion(&lists, 60.0);
        assert_eq!(ids(&fused), [8, 9, 7]);
        let expected = [1.0 / 62.0 + 2.0 / 61.0, 2.0 / 62.0, 1.0 / 61.0];
        for (fused, expected) in fused.iter().zip(expected) {
            assert!((fused.score - expected).abs() < 1e-7, "{fused:?} {expected}");
        }
        let ranks: Vec<(usize, Leg, usize)> = fused[0].matched_by.iter().map(match_key).collect();
        assert_eq!(ranks, [(0, Leg::Dense, 2), (1, Leg::Sparse, 1)]);
        assert_eq!(fused[0].matched_by[0].score, 0.9);
    }

    #[test]
    fn ties_go_by_best_rank_then_id() {
        // With k = 0: chunk 5 has 1/2 + 1/2, chunk 6 has 1/1; equal sums, better rank for 6.
        let lists = [list(0, Leg::Dense, 1.0, &[6, 5]), list(0, Leg::Sparse, 1.0, &[9, 5])];
        assert_eq!(ids(&reciprocal_rank_fusion(&lists, 0.0)), [6, 9, 5]);
        let same = [list(0, Leg::Dense, 1.0, &[4]), list(1, Leg::Dense, 1.0, &[3])];
        assert_eq!(ids(&reciprocal_rank_fusion(&same, 60.0)), [3, 4]);
    }

    #[test]
    fn order_of_lists_does_not_matter() {
        let mut seed = 7_u64;
        for _ in 0..50 {
            let mut lists: Vec<RankedList> = (0..6)
                .map(|query| {
                    let ids: Vec<i64> = (0..20).map(|_| (next(&mut seed) % 30) as i64).collect();
                    list(query, Leg::Dense, 0.1 + query as f32, &ids)
                })
                .collect();
            let forward = reciprocal_rank_fusion(&lists, 60.0);
            lists.reverse();
            assert_eq!(forward, reciprocal_rank_fusion(&lists, 60.0));
            assert!(forward.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }

    #[test]
    fn survives_senseless_numbers() {
        let mut lists = [list(0, Leg::Dense, f32::NAN, &[1, 2]), list(0, Leg::Sparse, -3.0, &[2])];
        lists[0].hits.push((3, f32::NAN));
        for k in [f32::NAN, -1.0, f32::INFINITY, 0.0] {
            let fused = reciprocal_rank_fusion(&lists, k);
            assert_eq!(ids(&fused), [1, 2, 3]);
            assert!(fused.iter().all(|fused| fused.score == 0.0));
        }
        assert!(reciprocal_rank_fusion(&[], 60.0).is_empty());
    }

    #[test]
    fn an_id_given_twice_counts_once() {
        let fused = reciprocal_rank_fusion(&[list(0, Leg::Dense, 1.0, &[1, 1, 2])], 60.0);
        assert_eq!(fused[0].matched_by.len(), 1);
        assert_eq!(fused[1].matched_by[0].rank, 2, "the repeated hit takes no rank");
    }

    #[test]
    fn duplicates_keep_the_better_one_and_all_matches() {
        let lists = [list(0, Leg::Dense, 1.0, &[1, 2, 3, 4]), list(1, Leg::Sparse, 1.0, &[3])];
        let fused = reciprocal_rank_fusion(&lists, 60.0);
        assert_eq!(ids(&fused), [3, 1, 2, 4]);
        let score = fused[0].score;
        let hash = |id: i64| [None, Some("a"), Some("b"), Some("a"), None][id as usize];
        let kept = collapse_duplicates(fused, &|id| hash(id).map(str::to_owned));
        assert_eq!(ids(&kept), [3, 2, 4]);
        assert_eq!(kept[0].score, score);
        let ranks: Vec<usize> = kept[0].matched_by.iter().map(|found| found.rank).collect();
        assert_eq!(ranks, [1, 3, 1]);
    }

    #[test]
    fn one_document_does_not_fill_the_list() {
        let fused =
            reciprocal_rank_fusion(&[list(0, Leg::Dense, 1.0, &[10, 11, 12, 20, 13])], 60.0);
        let document = |id: i64| id / 10;
        assert_eq!(ids(&per_document_cap(fused.clone(), document, 2)), [10, 11, 20, 12, 13]);
        assert_eq!(ids(&per_document_cap(fused.clone(), document, 0)), [10, 20, 11, 12, 13]);
        assert_eq!(ids(&per_document_cap(fused, |_| 1, 9)), [10, 11, 12, 20, 13]);
    }

    fn next(seed: &mut u64) -> u64 {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }
}
