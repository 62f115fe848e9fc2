//! Is a model better? What was measured turn by turn, what may be concluded from it, and whether a
//! candidate may take the champion's place.
//!
//! In reading order:
//!
//! - [`run`]: the record of an evaluation: what was measured, of which models, on which data; a
//!   file that grows a line a turn and can be gone on with.
//! - [`measure`]: which way of a measure is the good one, and how it is shown.
//! - [`metrics`]: the figures, each equal to the package that people quote it by.
//! - [`significance`]: intervals and p-values of paired numbers, by the conversation.
//! - [`summary`]: the means of one run, by system, measure and slice.
//! - [`compare`]: two systems on the same turns: differences, regret, guarantees, latency.
//! - [`gate`]: the verdict on a candidate, with reasons that name the slice.
//! - [`report`]: all of it as JSON, Markdown and one HTML page that needs no network.
//! - [`choice`]: the learned choice between a query and its rewrite, from paired outcomes.
//!
//! The room knows no retriever and no rewriter: it works on plain numbers per turn. Equal inputs
//! give equal bytes: every draw is seeded, and times stand apart from what was measured.

pub mod choice;
pub mod compare;
pub mod gate;
pub mod measure;
pub mod metrics;
pub mod report;
pub mod run;
pub mod significance;
pub mod summary;
#[cfg(test)]
mod tests;
