//! Elastic weight consolidation (Kirkpatrick et al. 2017): what an old task needs is held where
//! it is while a new one is learnt. How much each weight matters is the diagonal of the old
//! task's Fisher information; the penalty is `λ/2 Σ F (θ - θ*)²`, and its gradient is added to
//! the task's between accumulation and clipping.
//!
//! Invariants: the Fisher is made of the squares of single sequences' gradients (squares of a
//! batch's mean are another, much smaller thing), and has mean 1, so that a λ carries over from
//! one model and amount of data to another.

mod file;
mod fisher;
mod lora;
mod penalty;
mod quantile;
#[cfg(test)]
mod tests;

pub use file::weights_digest;
pub use fisher::{Fisher, FisherFacts, FisherSum, Labels};
pub use lora::{LoraPenalty, LoraTerm};
pub use penalty::{Penalty, Pull};
