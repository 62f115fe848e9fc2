//! PPO's loss of the policy and of the value head, with their slopes.
//!
//! Per token, with ρ = π/π_old, advantage A, value V and return R:
//! - clip: max(−A·ρ, −A·clip(ρ, 1 − ε, 1 + ε)); with a dual clip c, for A < 0 at most −A·c;
//! - penalty: −A·ρ + coefficient · k3(π_old ‖ π), which the old policy's tokens give without bias;
//! - value: max((V − R)², (clip(V, V_old ± ε_v) − R)²) / 2, times `value_coefficient`.

use std::collections::BTreeMap;

use super::kl::{KlEstimator, MAX_EXPONENT};
use super::normaliser::refuse;
use super::ppo_options::{PpoOptions, PpoVariant};
use crate::error::Result;

/// Tokens of one micro-batch; each slice has one number for each token.
#[derive(Debug, Clone, Copy)]
pub struct PpoPart<'a> {
    /// Whether a token takes part.
    pub mask: &'a [bool],
    /// log π under the weights that are trained.
    pub log_probs: &'a [f64],
    /// log π under the weights that drew the answers.
    pub old_log_probs: &'a [f64],
    pub advantages: &'a [f64],
    /// What the value head says now.
    pub values: &'a [f64],
    /// What it said when the answers were drawn.
    pub old_values: &'a [f64],
    pub returns: &'a [f64],
}

/// What holds for all parts of an optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PpoStep {
    /// Tokens that take part in the step, over which means go.
    pub n_tokens: usize,
    /// The present coefficient of [`PpoVariant::Penalty`].
    pub penalty_coefficient: f64,
}

/// A micro-batch's share of the step's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct PpoLossPart {
    /// Policy + `value_coefficient` · value.
    pub loss: f64,
    /// The loss's slope by each token's log-prob.
    pub policy_gradients: Vec<f64>,
    /// By what the value head says of each token.
    pub value_gradients: Vec<f64>,
    pub figures: PpoFigures,
}

/// Sums over tokens; [`Self::merge`] those of a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PpoFigures {
    pub n_tokens: usize,
    pub policy_loss: f64,
    /// Without `value_coefficient`.
    pub value_loss: f64,
    /// Of (log π − log π_old)² / 2.
    pub approximate_kl_sum: f64,
    /// Of k3(π_old ‖ π).
    pub old_kl_sum: f64,
    pub ratio_sum: f64,
    pub n_policy_clipped: usize,
    pub n_dual_clipped: usize,
    pub n_value_clipped: usize,
}

impl PpoFigures {
    pub fn merge(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.approximate_kl_sum += other.approximate_kl_sum;
        self.old_kl_sum += other.old_kl_sum;
        self.ratio_sum += other.ratio_sum;
        self.n_policy_clipped += other.n_policy_clipped;
        self.n_dual_clipped += other.n_dual_clipped;
        self.n_value_clipped += other.n_value_clipped;
    }

    /// The mean over tokens that `target_kl` bounds.
    pub fn approximate_kl(&self) -> f64 {
        self.approximate_kl_sum / self.n_tokens.max(1) as f64
    }

    /// The mean over tokens that [`super::KlControl::after_update`] wants.
    pub fn old_kl(&self) -> f64 {
        self.old_kl_sum / self.n_tokens.max(1) as f64
    }

    /// Whether the policy has gone as far from the old one as it may.
    pub fn is_over(&self, options: &PpoOptions) -> bool {
        options.target_kl.is_some_and(|target| self.approximate_kl() > target)
    }

    /// Means over the step under TRL's names; the dual clip's is ours.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let share = |n: usize| n as f64 / self.n_tokens.max(1) as f64;
        let named = [
            ("loss/policy_avg", self.policy_loss),
            ("loss/value_avg", self.value_loss),
            ("policy/approxkl_avg", self.approximate_kl()),
            ("policy/clipfrac_avg", share(self.n_policy_clipped)),
            ("policy/dual_clipfrac_avg", share(self.n_dual_clipped)),
            ("val/clipfrac_avg", share(self.n_value_clipped)),
            ("val/ratio", self.ratio_sum / self.n_tokens.max(1) as f64),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The loss of `part`, to be added to that of the step's other parts.
///
/// # Errors
/// `reinforce_scores` where the slices do not fit one another.
pub fn ppo_loss(part: &PpoPart<'_>, options: &PpoOptions, step: &PpoStep) -> Result<PpoLossPart> {
    check(part)?;
    let n_tokens = part.mask.len();
    let weight = 1.0 / step.n_tokens.max(1) as f64;
    let mut policy_gradients = vec![0.0; n_tokens];
    let mut value_gradients = vec![0.0; n_tokens];
    let mut figures = PpoFigures::default();
    for token in (0..n_tokens).filter(|token| part.mask[*token]) {
        let log_ratio = part.log_probs[token] - part.old_log_probs[token];
        let of_policy = policy_term(log_ratio, part.advantages[token], options, step);
        let of_value =
            value_term(part.values[token], part.old_values[token], part.returns[token], options);
        policy_gradients[token] = weight * of_policy.slope;
        value_gradients[token] = weight * options.value_coefficient * of_value.slope;
        figures.n_tokens += 1;
        figures.policy_loss += weight * of_policy.value;
        figures.value_loss += weight * of_value.value;
        figures.approximate_kl_sum += 0.5 * log_ratio * log_ratio;
        figures.old_kl_sum += old_kl(log_ratio).value;
        figures.ratio_sum += held(log_ratio).exp();
        figures.n_policy_clipped += usize::from(of_policy.is_clipped);
        figures.n_dual_clipped += usize::from(of_policy.is_capped);
        figures.n_value_clipped += usize::from(of_value.is_clipped);
    }
    let loss = figures.policy_loss + options.value_coefficient * figures.value_loss;
    Ok(PpoLossPart { loss, policy_gradients, value_gradients, figures })
}

/// A token's share, and its slope by the log-prob or by the value.
#[derive(Debug, Clone, Copy, Default)]
struct Term {
    value: f64,
    slope: f64,
    /// The clipped form is the larger one.
    is_clipped: bool,
    /// The dual clip holds.
    is_capped: bool,
}

fn held(log_ratio: f64) -> f64 {
    log_ratio.clamp(-MAX_EXPONENT, MAX_EXPONENT)
}

fn policy_term(log_ratio: f64, advantage: f64, options: &PpoOptions, step: &PpoStep) -> Term {
    let ratio = held(log_ratio).exp();
    let slope = if log_ratio.abs() > MAX_EXPONENT { 0.0 } else { -advantage * ratio };
    let free = Term { value: -advantage * ratio, slope, ..Term::default() };
    match options.variant {
        PpoVariant::Penalty => {
            let penalty = old_kl(log_ratio);
            Term {
                value: free.value + step.penalty_coefficient * penalty.value,
                slope: free.slope + step.penalty_coefficient * penalty.slope,
                ..free
            }
        }
        PpoVariant::Clip => cap(clip(free, ratio, advantage, options.clip), advantage, options),
    }
}

fn clip(free: Term, ratio: f64, advantage: f64, clip: f64) -> Term {
    let bounds = 1.0 - clip..=1.0 + clip;
    let value = -advantage * ratio.clamp(*bounds.start(), *bounds.end());
    // Within the bounds both are the same, and so are their slopes.
    if value > free.value {
        let slope = if bounds.contains(&ratio) { free.slope } else { 0.0 };
        return Term { value, slope, is_clipped: true, is_capped: false };
    }
    free
}

fn cap(term: Term, advantage: f64, options: &PpoOptions) -> Term {
    match options.dual_clip.map(|cap| -advantage * cap) {
        Some(most) if advantage < 0.0 && term.value > most => {
            Term { value: most, slope: 0.0, is_capped: true, ..term }
        }
        _ => term,
    }
}

/// k3 of the old policy's divergence from the new one, by the new log-prob.
fn old_kl(log_ratio: f64) -> Term {
    let (value, slope) =
        (KlEstimator::K3.of(-log_ratio, 0.0), -KlEstimator::K3.slope(-log_ratio, 0.0));
    Term { value, slope, ..Term::default() }
}

fn value_term(value: f64, old: f64, expected: f64, options: &PpoOptions) -> Term {
    let (moved, most) = (value - old, options.clip_value);
    let is_near = moved.abs() <= most;
    let near = if is_near { value } else { old + moved.clamp(-most, most) };
    let (free, held) = ((value - expected).powi(2), (near - expected).powi(2));
    // Asked this way round a NaN is not the smaller one, so it comes out.
    if free >= held {
        return Term { value: 0.5 * free, slope: value - expected, ..Term::default() };
    }
    let slope = if is_near { near - expected } else { 0.0 };
    Term { value: 0.5 * held, slope, is_clipped: true, is_capped: false }
}

fn check(part: &PpoPart<'_>) -> Result<()> {
    let n_tokens = part.mask.len();
    for (name, n) in [
        ("log_probs", part.log_probs.len()),
        ("old_log_probs", part.old_log_probs.len()),
        ("advantages", part.advantages.len()),
        ("values", part.values.len()),
        ("old_values", part.old_values.len()),
        ("returns", part.returns.len()),
    ] {
        if n != n_tokens {
            return refuse(format!("{name} has {n} numbers; it needs {n_tokens}"));
        }
    }
    Ok(())
}
