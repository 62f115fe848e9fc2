//! Training: data in, weights out. The room knows no HTTP and no store; what it needs of serving,
//! such as the prompt of a conversation, its callers hand in as tokens.
//!
//! In reading order:
//! - [`data`]: files -> rows, every one of them used or reported.
//! - [`sequence`]: rows as tokens, packed.
//! - [`policy`]: the model, what of it is trained, and its reference.
//! - [`objective`]: what a method is to the loop; [`sft`], [`preference`], [`contrastive`],
//!   [`reinforce`] with its [`reward`]s.
//! - [`run`]: the loop. [`batches`], [`schedule`], [`optimizer`], [`guard`] serve it.
//! - [`ewc`], [`remember`]: what holds a model to what it could before.
//! - [`checkpoint`], [`eventlog`], [`export`]: what a run writes.

pub mod batches;
pub mod checkpoint;
pub mod contrastive;
pub mod data;
pub mod eventlog;
pub mod ewc;
pub mod export;
pub mod guard;
mod numbers;
pub mod objective;
pub mod optimizer;
pub mod options;
pub mod policy;
pub mod preference;
pub mod reinforce;
pub mod remember;
pub mod replay;
pub mod reward;
pub mod run;
pub mod schedule;
pub mod sequence;
pub mod sft;
mod shuffle;
#[cfg(test)]
mod tests;
