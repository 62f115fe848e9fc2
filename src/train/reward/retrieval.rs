//! What the completion's search finds is worth.

use super::{Facts, Ranks, Reading, Reward};

/// The piecewise form of ConvSearch-R1's rank incentive (Zhu et al. 2025, arXiv 2505.15776): rank
/// 1 to 10 gives 2 to 1, rank 10 to 100 gives 1 to 0, each linearly; 0 below, and where the
/// passage was not found.
pub fn piecewise(rank: Option<usize>) -> f64 {
    match rank {
        Some(rank @ 1..=10) => (19.0 - rank as f64) / 9.0,
        Some(rank @ 11..=100) => (100.0 - rank as f64) / 90.0,
        _ => 0.0,
    }
}

/// The best gold passage's rank in [`piecewise`] form, 0 to 2.
pub fn gold_rank(facts: &Facts) -> Reward {
    facts.gold.as_ref().reward(|ranks| piecewise(ranks.best()))
}

/// nDCG of the first `k` results with binary relevance, 0 to 1 (Järvelin & Kekäläinen 2002).
pub fn ndcg(facts: &Facts, k: usize) -> Reward {
    facts.gold.as_ref().reward(|ranks| ndcg_of(ranks, k))
}

/// 1 / the best gold passage's rank, 0 to 1.
pub fn reciprocal_rank(facts: &Facts) -> Reward {
    facts.gold.as_ref().reward(|ranks| ranks.best().map_or(0.0, |rank| 1.0 / rank as f64))
}

/// Half the difference between the [`piecewise`] forms of the completion's and the raw query's
/// rank, -1 to 1; `regret_factor` times that where the raw query does better.
///
/// For one query the raw rank is a constant, which advantages within a group take out again: the
/// factor is what makes a completion that falls behind the raw query worse within its group too.
/// Where a search failed, on either side, the gain failed.
pub fn gain(facts: &Facts, regret_factor: f64) -> Reward {
    let (gold, raw) = match (&facts.gold, &facts.raw) {
        (Reading::Failed, _) | (_, Reading::Failed) => return Reward::Failed,
        (Reading::Known(gold), Reading::Known(raw)) => (gold, raw),
        _ => return Reward::NotApplicable,
    };
    let difference = (piecewise(gold.best()) - piecewise(raw.best())) / 2.0;
    Reward::of(if difference < 0.0 { regret_factor * difference } else { difference })
}

/// What the reranker thinks of the documents found, as RaFe (Mao et al. 2024, arXiv 2405.14431):
/// against the original query, so that a completion cannot grade itself.
pub fn reranker(facts: &Facts) -> Reward {
    facts.reranker.reward(|score| score)
}

fn ndcg_of(ranks: &Ranks, k: usize) -> f64 {
    let discount = |rank: usize| 1.0 / (rank as f64 + 1.0).log2();
    let gained: f64 = ranks.found().iter().filter(|rank| **rank <= k).map(|&r| discount(r)).sum();
    let ideal: f64 = (1..=ranks.n_gold().min(k)).map(discount).sum();
    if ideal > 0.0 { gained / ideal } else { 0.0 }
}
