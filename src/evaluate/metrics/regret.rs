//! Regret: how often, and by how much, a turn would have been served better by the query as it
//! came. A rewriter can raise every mean and still do harm to those who asked well; regret shows it.

use serde::{Deserialize, Serialize};

/// Differences of nDCG up to this are ties: what is left of the order of additions.
const SAME: f64 = 1e-9;

/// What a search found for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SearchOutcome {
    /// nDCG@k, from 0 to 1.
    pub ndcg: f64,
    /// The rank, from 1, of the best gold passage. `None`: none was found.
    pub gold_rank: Option<usize>,
}

/// The same turn searched by two queries, with the same gold and depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedOutcome {
    pub raw: SearchOutcome,
    pub rewritten: SearchOutcome,
}

/// Regret by both measures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regret {
    /// Differences are of nDCG@k.
    pub by_ndcg: Comparison,
    /// Differences are of places; a gold passage that was not found counts as one place beyond the
    /// search's depth.
    pub by_rank: Comparison,
}

/// The rewritten query against the raw one, over turns.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Turns where the rewritten query did better, as well, worse.
    pub n_wins: usize,
    pub n_ties: usize,
    pub n_losses: usize,
    /// What was gained over the turns won, summed, and lost over the turns lost; both 0 or more.
    pub gain: f64,
    pub loss: f64,
}

impl Regret {
    /// Compares turns that were searched to `depth` passages. A rank beyond it is not found.
    pub fn of<'a>(turns: impl IntoIterator<Item = &'a PairedOutcome>, depth: usize) -> Self {
        let place = |outcome: &SearchOutcome| {
            outcome.gold_rank.unwrap_or(usize::MAX).min(depth.saturating_add(1)) as f64
        };
        let mut regret = Self { by_ndcg: Comparison::default(), by_rank: Comparison::default() };
        for PairedOutcome { raw, rewritten } in turns {
            regret.by_ndcg.add(rewritten.ndcg - raw.ndcg);
            regret.by_rank.add(place(raw) - place(rewritten));
        }
        regret
    }
}

impl Comparison {
    /// Takes in one turn: how much better the rewritten query did. NaN counts as a tie.
    pub fn add(&mut self, difference: f64) {
        if difference > SAME {
            self.n_wins += 1;
            self.gain += difference;
        } else if difference < -SAME {
            self.n_losses += 1;
            self.loss -= difference;
        } else {
            self.n_ties += 1;
        }
    }

    pub fn n_turns(&self) -> usize {
        self.n_wins + self.n_ties + self.n_losses
    }

    /// The share of turns lost: how often there is something to regret. `None` of no turns.
    pub fn share(&self) -> Option<f64> {
        over(self.n_losses as f64, self.n_turns())
    }

    /// What is lost in a turn lost, on average. `None` when none was.
    pub fn size(&self) -> Option<f64> {
        over(self.loss, self.n_losses)
    }

    /// What is lost a turn, on average over all turns: share times size.
    pub fn mean_loss(&self) -> Option<f64> {
        over(self.loss, self.n_turns())
    }

    /// How much better the rewritten query does, on average over all turns.
    pub fn mean_difference(&self) -> Option<f64> {
        over(self.gain - self.loss, self.n_turns())
    }
}

fn over(sum: f64, n: usize) -> Option<f64> {
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(raw: (f64, Option<usize>), rewritten: (f64, Option<usize>)) -> PairedOutcome {
        let outcome = |(ndcg, gold_rank)| SearchOutcome { ndcg, gold_rank };
        PairedOutcome { raw: outcome(raw), rewritten: outcome(rewritten) }
    }

    #[test]
    fn losses_are_counted_and_sized_by_both_measures() {
        let turns = [
            pair((1.0, Some(1)), (0.5, Some(3))),
            pair((0.25, Some(9)), (0.0, None)),
            pair((0.0, None), (1.0, Some(1))),
            pair((0.5, Some(2)), (0.5 + 1e-12, Some(2))),
            // The second gold passage moved, the first did not.
            pair((0.75, Some(1)), (0.5, Some(1))),
        ];
        let Regret { by_ndcg, by_rank } = Regret::of(&turns, 10);
        assert_eq!((by_ndcg.n_wins, by_ndcg.n_ties, by_ndcg.n_losses), (1, 1, 3));
        assert_eq!((by_ndcg.share(), by_ndcg.size()), (Some(0.6), Some(1.0 / 3.0)));
        assert_eq!((by_ndcg.mean_loss(), by_ndcg.mean_difference()), (Some(0.2), Some(0.0)));
        assert_eq!((by_rank.n_wins, by_rank.n_ties, by_rank.n_losses), (1, 2, 2));
        assert_eq!((by_rank.loss, by_rank.gain), (2.0 + 2.0, 10.0));
    }

    #[test]
    fn ranks_beyond_the_depth_are_all_not_found() {
        let turns = [pair((0.0, Some(12)), (0.0, None)), pair((0.0, Some(11)), (0.0, Some(99)))];
        assert_eq!(Regret::of(&turns, 10).by_rank.n_ties, 2);
        assert_eq!(Regret::of(&turns, 11).by_rank.n_losses, 1);
    }

    #[test]
    fn nothing_compared_is_no_figure() {
        let nothing = Regret::of(&[], 10).by_ndcg;
        assert_eq!((nothing.share(), nothing.size(), nothing.mean_loss()), (None, None, None));
    }
}
