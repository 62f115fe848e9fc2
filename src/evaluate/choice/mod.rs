//! The learned choice between a query and its rewrite: a logistic regression over cheap features,
//! fitted to which of the two retrieved better.
//!
//! A turn weighs as much as the two differ, and the threshold is the one under which the most is
//! retrieved, both out of fold: accuracy would count a turn that does not matter as much as one
//! that does.

mod examples;
mod folds;
mod logistic;
mod model;
#[cfg(test)]
mod tests;
mod threshold;
mod trial;

use serde::{Deserialize, Serialize};

pub use examples::{Example, Examples, Systems};
pub use logistic::{Logistic, LogisticRow};
pub use model::{ChoiceModel, Feature};
pub use trial::Trial;

use crate::error::{Error, Result};

/// How the choice is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChoiceSettings {
    /// Strengths of the L2 penalty, of which the one with the least out-of-fold loss is taken.
    pub l2: Vec<f64>,
    pub n_folds: usize,
    /// Of the folds.
    pub seed: u64,
    /// What a rewrite must bring to be worth its time, in the measure; a turn that gains less is
    /// counted against it.
    pub cost: f64,
}

impl Default for ChoiceSettings {
    fn default() -> Self {
        Self { l2: vec![0.1, 1.0, 10.0, 100.0], n_folds: 5, seed: 20_261_124, cost: 0.0 }
    }
}

impl ChoiceSettings {
    /// # Errors
    /// `choice_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::invalid("choice_options", text));
        if self.l2.is_empty() || self.l2.iter().any(|l2| !(l2.is_finite() && *l2 > 0.0)) {
            return refuse(format!("l2 is {:?}; give one or more positive numbers", self.l2));
        }
        if self.n_folds < 2 {
            return refuse(format!("n_folds is {}; give 2 or more", self.n_folds));
        }
        if !self.cost.is_finite() || self.cost < 0.0 {
            return refuse(format!("cost is {}; give 0 or more", self.cost));
        }
        Ok(())
    }
}

/// Fits the choice to all examples: the penalty and the threshold by cross-validation over
/// conversations, then the weights on everything.
///
/// # Errors
/// `choice_options`; `choice_input` when there are too few conversations for the folds.
pub fn fit(examples: &Examples, settings: &ChoiceSettings) -> Result<ChoiceModel> {
    settings.validate()?;
    let rows: Vec<usize> = (0..examples.rows.len()).collect();
    threshold::fit(examples, &rows, settings)
}

/// What the choice is worth on turns that it was not fitted to: each fold is decided by a model
/// that was fitted, threshold and all, to the others.
///
/// # Errors
/// As [`fit`].
pub fn cross_validate(examples: &Examples, settings: &ChoiceSettings) -> Result<Trial> {
    settings.validate()?;
    trial::cross_validate(examples, settings)
}
