//! Evaluation: how well conversations are rewritten, and what that does to what is found. The room
//! judges records that its callers hand in; it runs no rewriter and no search itself.
//!
//! - [`metrics`]: the figures, each equal to the package that people quote it by.

pub mod metrics;
