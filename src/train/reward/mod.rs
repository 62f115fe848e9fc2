//! What a completion is worth: small pure functions over plain facts, mixed by weights.
//!
//! The room knows neither the rewriter nor the retriever: whoever runs them says what was found
//! out about a completion ([`Facts`]), and [`RewardSet::score`] turns that into a number. What
//! could not be found out is [`Reading::Failed`]; such a sample is left out and counted, it is
//! never worth 0.
//!
//! Invariants: what is said of the words alone (faithfulness, protected pieces, language, length,
//! form) is never positive, so that no reward can be had without the retriever or the query being
//! left alone; and no completion scores below a malformed one, so that breaking the form is no
//! way out of another penalty.

mod facts;
pub mod mine;
mod retrieval;
mod set;
#[cfg(test)]
mod tests;
mod words;

pub use facts::{Facts, Kept, Ranks, Reading, Share};
pub use retrieval::{gain, gold_rank, ndcg, piecewise, reciprocal_rank, reranker};
pub use set::{RewardName, RewardSet, Scored, Tally};
pub use words::{content, faithfulness, format, language, length, protected, restraint};

/// What one reward came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reward {
    Value(f64),
    /// It says nothing about this completion: no gold passage is known, or nobody asked.
    NotApplicable,
    /// It should have said something, but what it needs could not be found out.
    Failed,
}

impl Reward {
    /// The value, if there is one.
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::NotApplicable | Self::Failed => None,
        }
    }

    /// A value that is no finite number is a failure.
    fn of(value: f64) -> Self {
        if value.is_finite() { Self::Value(value) } else { Self::Failed }
    }
}
