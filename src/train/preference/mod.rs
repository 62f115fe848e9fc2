//! Learning from preferences: the losses over log-probabilities of whole answers, for pairs (DPO
//! and its kin, ORPO, SimPO) and for single rated answers (KTO), with their metrics.
//!
//! Nothing here knows a model. The caller makes leaf variables of the log-probabilities, f64 on the
//! CPU (a batch has a few dozen), takes the loss's gradient and seeds the network's backward pass
//! with it.
//!
//! A NaN or an infinity that comes in comes out in the loss: no function hides one, so that the
//! guard sees it.

mod divergence;
mod judged;
pub mod kto;
pub mod loss;
mod measures;
mod options;
mod pair_terms;
mod pairs;
mod pointwise;
mod scores;
#[cfg(test)]
mod tests;

pub use judged::{JudgedRow, Judgements};
pub use kto::{KtoLoss, KtoOptions, KtoScores, KtoTotals, class_weights, kl_estimate, kto_loss};
pub use loss::preference_loss;
pub use measures::metrics;
pub use options::{FDivergence, PreferenceLoss, PreferenceOptions};
pub use pairs::{PairRow, Pairs};
pub use scores::{PairScores, length_desensitised_weights};
