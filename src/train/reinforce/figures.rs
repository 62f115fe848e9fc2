//! What is logged of the policy's loss, under TRL's names.

use std::collections::BTreeMap;

use super::options::{GrpoLoss, GrpoOptions, RatioLevel};

/// Sums over the tokens and answers of micro-batches; [`Self::merge`] those of a step, then ask for
/// [`Self::metrics`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PolicyFigures {
    /// The loss without the entropy bonus.
    pub policy_loss: f64,
    pub n_tokens: usize,
    /// Ratios: tokens, or answers where an answer has one.
    pub n_ratios: usize,
    pub n_clipped_low: usize,
    pub n_clipped_high: usize,
    /// The least share of an answer's ratios that are clipped below.
    pub clipped_low_min: Option<f64>,
    /// The largest share of an answer's ratios that are clipped above.
    pub clipped_high_max: Option<f64>,
    pub kl_sum: f64,
    pub entropy_sum: f64,
}

impl PolicyFigures {
    pub fn merge(&mut self, other: &Self) {
        self.policy_loss += other.policy_loss;
        self.n_tokens += other.n_tokens;
        self.n_ratios += other.n_ratios;
        self.n_clipped_low += other.n_clipped_low;
        self.n_clipped_high += other.n_clipped_high;
        self.kl_sum += other.kl_sum;
        self.entropy_sum += other.entropy_sum;
        self.clipped_low_min = either(self.clipped_low_min, other.clipped_low_min, f64::min);
        self.clipped_high_max = either(self.clipped_high_max, other.clipped_high_max, f64::max);
    }

    /// Means over the step, of the loss that `options` name.
    pub fn metrics(&self, options: &GrpoOptions) -> BTreeMap<String, f64> {
        let per_token = |sum: f64| sum / self.n_tokens.max(1) as f64;
        let per_ratio = |n: usize| n as f64 / self.n_ratios.max(1) as f64;
        let mut metrics =
            vec![("policy_loss", self.policy_loss), ("entropy", per_token(self.entropy_sum))];
        if options.needs_reference() {
            metrics.push(("kl", per_token(self.kl_sum)));
        }
        match options.loss_type {
            GrpoLoss::Sapo => {}
            GrpoLoss::Cispo => {
                metrics.push(("cispo_clip_ratio", per_ratio(self.n_clipped_high)));
            }
            _ => metrics.extend([
                ("clip_ratio/low_mean", per_ratio(self.n_clipped_low)),
                ("clip_ratio/low_min", self.clipped_low_min.unwrap_or(0.0)),
                ("clip_ratio/high_mean", per_ratio(self.n_clipped_high)),
                ("clip_ratio/high_max", self.clipped_high_max.unwrap_or(0.0)),
                ("clip_ratio/region_mean", per_ratio(self.n_clipped_low + self.n_clipped_high)),
            ]),
        }
        metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Counts an answer of `n_tokens` tokens that count, of which `(low, high)` have a clipped
    /// ratio. One without tokens is not counted.
    pub(super) fn count_answer(
        &mut self,
        n_tokens: usize,
        (low, high): (usize, usize),
        level: RatioLevel,
    ) {
        if n_tokens == 0 {
            return;
        }
        let (n_ratios, low, high) = match level {
            RatioLevel::Token => (n_tokens, low, high),
            RatioLevel::Sequence => (1, low.min(1), high.min(1)),
        };
        let share = |n: usize| Some(n as f64 / n_ratios as f64);
        self.merge(&Self {
            n_tokens,
            n_ratios,
            n_clipped_low: low,
            n_clipped_high: high,
            clipped_low_min: share(low),
            clipped_high_max: share(high),
            ..Self::default()
        });
    }
}

fn either(left: Option<f64>, right: Option<f64>, choose: fn(f64, f64) -> f64) -> Option<f64> {
    match (left, right) {
        (Some(left), Some(right)) => Some(choose(left, right)),
        (one, other) => one.or(other),
    }
}
