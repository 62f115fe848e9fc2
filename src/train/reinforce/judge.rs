//! What judges an answer. The room knows neither the rewriter nor the retriever: whoever starts a
//! run hands in a judge that does.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::train::objective::Metrics;

/// An answer to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Index of its prompt among those to train on, or those set aside.
    pub row: usize,
    pub is_validation: bool,
    /// New tokens, without the one that ended it.
    pub tokens: &'a [u32],
    /// Whether it ended by itself.
    pub stopped: bool,
}

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The answer as it was written.
    pub written: String,
    /// What the server takes out of it; empty where it takes nothing.
    pub text: String,
    /// Whether the server takes anything out of it.
    pub is_well_formed: bool,
    /// The weighted sum; none where it could not be found out, which leaves the answer out.
    pub total: Option<f64>,
    /// Each reward before its weight; none where it failed or says nothing of this answer.
    pub each: BTreeMap<&'static str, Option<f64>>,
    /// Whether a reward that counts could not be found out.
    pub failed: bool,
    /// Figures that are looked at and not learnt from, such as `ndcg@10`.
    pub measures: Metrics,
}

/// Judges answers, many at a time.
pub trait Judge {
    /// The rewards and what each counts.
    fn weights(&self) -> BTreeMap<&'static str, f64>;

    /// All that an answer to a training prompt may take its words from: history and query.
    fn evidence(&self, row: usize) -> &str;

    /// One judgement an answer, in their order. A failed search is a judgement; an error ends the
    /// run.
    fn judge(&mut self, answers: &[Asked<'_>]) -> Result<Vec<Judgement>>;
}
