//! The figures of an evaluation, as arithmetic on plain records: nothing here reads a file, runs a
//! model or knows what a query is. `tests/parity/make_metrics.py` names the packages that each
//! figure equals to 1e-6, and how to compute them again.
//!
//! In reading order:
//! - [`tokens`]: a text as tokens, one way for each figure.
//! - [`overlap`]: n-grams in common, precision, recall and F1.
//! - [`bleu`] (sacrebleu, multi-bleu-detok.perl), [`rouge`] (rouge-score), [`restoration`] (the
//!   F-scores of the rewriting papers, and exact match): a text against the texts it should be.
//! - [`ranking`]: what was found against what should be (trec_eval, so pytrec_eval and BEIR).
//! - [`rewriting`]: what a rewriter did against what a turn needed.
//! - [`regret`]: turns that the raw query would have served better.
//! - [`latency`]: time and tokens of each stage.
//! - [`ratio`], [`slices`]: any of these over parts of the turns, with the counts behind them.
//!
//! A figure that nothing was measured for is `None` wherever 0 would read as a bad result. BLEU,
//! ROUGE and the rankings' measures follow their packages, which say 0.

pub mod tokens;

pub mod overlap;

pub mod bleu;
pub mod restoration;
pub mod rouge;

pub mod ranking;

pub mod rewriting;

pub mod regret;

pub mod latency;

pub mod ratio;
pub mod slices;

#[cfg(test)]
mod tests;
