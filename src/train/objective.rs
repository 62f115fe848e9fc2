//! What a method of training is to the loop that runs it.

use std::collections::BTreeMap;

use super::data::RowSource;
use super::policy::Policy;
use crate::error::Result;
use crate::model::qwen::Gradients;

/// Figures by their names, as TRL and sentence-transformers call them.
pub type Metrics = BTreeMap<String, f64>;

/// What one optimiser step's worth of rows came to.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// The loss over all the rows.
    pub loss: f64,
    /// Tokens that went through the model.
    pub n_tokens: usize,
    pub metrics: Metrics,
    /// What a figure counts among those of other steps; 1 where it is not named.
    pub weights: Metrics,
    /// Why the run must end here, where the method sees that the model is being spoilt.
    pub trip: Option<String>,
    /// Whether there was nothing to learn: the step counts, but no weight is moved.
    pub is_idle: bool,
}

/// Which step of a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The run's number of the step's batch, the skipped ones counted.
    pub batch: u64,
    /// Chooses the dropout.
    pub pattern: u64,
}

/// A loss over rows, with its gradient.
pub trait Objective {
    /// What is computed once with the model as it is before its first step, also when a run is
    /// gone on with.
    fn prepare(&mut self, _policy: &Policy) -> Result<()> {
        Ok(())
    }

    /// Tokens of each training row: what batches are made by.
    fn lengths(&self) -> Vec<usize>;

    /// Rows with equal keys never meet in one batch; none where they may.
    fn keys(&self) -> Option<Vec<Vec<u64>>> {
        None
    }

    /// Steps in a row that are taken on the same rows.
    fn steps_per_batch(&self) -> u64 {
        1
    }

    /// What a run between two steps needs to go on besides weights; none where that is nothing.
    fn save(&self) -> Result<Option<serde_json::Value>> {
        Ok(None)
    }

    /// Takes back what [`Self::save`] gave.
    fn restore(&mut self, _state: serde_json::Value) -> Result<()> {
        Ok(())
    }

    /// Where a training row came from.
    fn source(&self, row: usize) -> &RowSource;

    /// The loss over the rows, and its gradient added to `gradients`. The loss is normalised over
    /// all the rows, however they are cut into passes.
    fn step(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport>;

    /// Figures on the rows set aside, their names beginning with `eval_`; empty without such rows.
    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics>;
}

/// Sums of figures with how much each part counts, for means over a batch's parts.
#[derive(Debug, Default)]
pub struct MeanMetrics {
    sums: BTreeMap<String, (f64, f64)>,
}

impl MeanMetrics {
    /// Adds the mean of a part that counts `weight`; a part that counts nothing is left out.
    pub fn add(&mut self, name: &str, mean: f64, weight: f64) {
        if weight > 0.0 {
            let (sum, total) = self.sums.entry(name.to_owned()).or_default();
            *sum += mean * weight;
            *total += weight;
        }
    }

    pub fn means(self) -> Metrics {
        self.sums.into_iter().map(|(name, (sum, total))| (name, sum / total)).collect()
    }
}
