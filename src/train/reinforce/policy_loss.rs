//! The losses of GRPO's family and their slopes by each token's log-probability.
//!
//! With ρ = π/π_old of a token (or of the answer, GSPO), A its answer's advantage, every loss is a
//! sum of terms over tokens, weighted by [`Normaliser`]:
//!
//! | loss | term |
//! |---|---|
//! | grpo, bnpo, dr_grpo, dapo | −min(min(ρ, δ)·A, clip(ρ, 1 − ε, 1 + ε_high)·A) |
//! | cispo | −sg(min(ρ, ε_high))·A·log π, where sg is taken for a constant |
//! | sapo | −(4/τ)·σ(τ(ρ − 1))·A, with another τ for A ≤ 0 |
//!
//! to which β·k3 (times ρ where the KL is corrected for its bias) is added; the bonus for entropy is
//! taken off. A NaN that comes in comes out.

use std::ops::Range;

use super::figures::PolicyFigures;
use super::kl::{KlEstimator, MAX_EXPONENT};
use super::normaliser::{Normaliser, check_spans, refuse};
use super::options::{GrpoLoss, GrpoOptions, RatioLevel};
use crate::error::Result;

/// Answers with their tokens, one micro-batch of an optimiser step. All slices but `advantages`
/// have one number for each token; temperatures are in them already.
#[derive(Debug, Clone, Copy)]
pub struct PolicyPart<'a> {
    /// The tokens of each answer.
    pub spans: &'a [Range<usize>],
    /// Whether a token counts.
    pub mask: &'a [bool],
    /// log π under the weights that are trained.
    pub log_probs: &'a [f64],
    /// log π under the weights that drew the answers, by the same code. In the first pass over
    /// rollouts they are the same numbers.
    pub old_log_probs: &'a [f64],
    /// log π_ref; needed with `beta`.
    pub reference_log_probs: Option<&'a [f64]>,
    /// The entropy of the distribution that each token is drawn from.
    pub entropies: &'a [f64],
    /// One for each answer.
    pub advantages: &'a [f64],
}

/// A micro-batch's share of the step's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct LossPart {
    pub loss: f64,
    /// The loss's slope by each token's log-prob.
    pub gradients: Vec<f64>,
    /// By each token's entropy; zeros without an entropy bonus.
    pub entropy_gradients: Vec<f64>,
    pub figures: PolicyFigures,
}

/// The loss of `part`, to be added to that of the step's other parts.
///
/// # Errors
/// `reinforce_scores` where the slices do not fit one another or the reference is missing.
pub fn policy_loss(
    part: &PolicyPart<'_>,
    options: &GrpoOptions,
    normaliser: &Normaliser,
) -> Result<LossPart> {
    check(part, options)?;
    let n_tokens = part.mask.len();
    let mut result = LossPart {
        loss: 0.0,
        gradients: vec![0.0; n_tokens],
        entropy_gradients: vec![0.0; n_tokens],
        figures: PolicyFigures::default(),
    };
    for (span, advantage) in part.spans.iter().zip(part.advantages) {
        add_answer(&mut result, part, span, *advantage, options, normaliser);
    }
    result.loss += result.figures.policy_loss;
    Ok(result)
}

/// exp of a log-ratio that is held within ±20.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    value: f64,
    /// The slope of the value by the log-ratio.
    slope: f64,
}

impl Ratio {
    fn of(log_ratio: f64) -> Self {
        let value = log_ratio.clamp(-MAX_EXPONENT, MAX_EXPONENT).exp();
        Self { value, slope: if log_ratio.abs() > MAX_EXPONENT { 0.0 } else { value } }
    }
}

/// A token's term and its slopes.
#[derive(Debug, Clone, Copy)]
struct Term {
    value: f64,
    by_log_ratio: f64,
    by_log_prob: f64,
}

fn add_answer(
    result: &mut LossPart,
    part: &PolicyPart<'_>,
    span: &Range<usize>,
    advantage: f64,
    options: &GrpoOptions,
    normaliser: &Normaliser,
) {
    let tokens: Vec<usize> = span.clone().filter(|token| part.mask[*token]).collect();
    let (weight, bonus) = (normaliser.token_weight(tokens.len()), normaliser.bonus_weight());
    let of_answer = Ratio::of(mean_log_ratio(part, &tokens));
    let mut shared_slope = 0.0;
    let mut n_clipped = (0, 0);
    for &token in &tokens {
        let ratio = match options.ratio_level {
            RatioLevel::Token => Ratio::of(part.log_probs[token] - part.old_log_probs[token]),
            RatioLevel::Sequence => of_answer,
        };
        let teaches = normaliser.teaches(part.entropies[token]);
        let mut term = surrogate(ratio, advantage, part.log_probs[token], options);
        term.value *= teaches;
        term.by_log_ratio *= teaches;
        term.by_log_prob *= teaches;
        result.figures.kl_sum += add_divergence(&mut term, part, token, ratio, options);
        result.figures.policy_loss += weight * term.value;
        result.gradients[token] += weight * term.by_log_prob;
        match options.ratio_level {
            RatioLevel::Token => result.gradients[token] += weight * term.by_log_ratio,
            RatioLevel::Sequence => shared_slope += weight * term.by_log_ratio,
        }
        let bonus = options.entropy_coefficient * teaches * bonus;
        result.loss -= bonus * part.entropies[token];
        result.entropy_gradients[token] = -bonus;
        result.figures.entropy_sum += part.entropies[token];
        let (is_low, is_high) = clipped(ratio.value, advantage, options);
        n_clipped = (n_clipped.0 + usize::from(is_low), n_clipped.1 + usize::from(is_high));
    }
    // The answer's log-ratio is a mean, so each token moves it by its share.
    tokens.iter().for_each(|token| result.gradients[*token] += shared_slope / tokens.len() as f64);
    result.figures.count_answer(tokens.len(), n_clipped, options.ratio_level);
}

fn mean_log_ratio(part: &PolicyPart<'_>, tokens: &[usize]) -> f64 {
    let log_ratio = |token: &usize| part.log_probs[*token] - part.old_log_probs[*token];
    tokens.iter().map(log_ratio).sum::<f64>() / tokens.len().max(1) as f64
}

fn surrogate(ratio: Ratio, advantage: f64, log_prob: f64, options: &GrpoOptions) -> Term {
    match options.loss_type {
        GrpoLoss::Cispo => {
            let weight = -ratio.value.clamp(f64::NEG_INFINITY, options.upper_clip()) * advantage;
            Term { value: weight * log_prob, by_log_ratio: 0.0, by_log_prob: weight }
        }
        GrpoLoss::Sapo => gated(ratio, advantage, options),
        GrpoLoss::Grpo | GrpoLoss::Bnpo | GrpoLoss::DrGrpo | GrpoLoss::Dapo => {
            clip(ratio, advantage, options)
        }
    }
}

fn clip(ratio: Ratio, advantage: f64, options: &GrpoOptions) -> Term {
    let (low, high) = (1.0 - options.epsilon, 1.0 + options.upper_clip());
    let cap = options.delta.unwrap_or(f64::INFINITY);
    let free = ratio.value.clamp(f64::NEG_INFINITY, cap) * advantage;
    let held = ratio.value.clamp(low, high) * advantage;
    // Within the bounds both are the same, and so are their slopes.
    let (value, has_slope) = if held < free {
        (held, (low..=high).contains(&ratio.value))
    } else {
        (free, ratio.value <= cap)
    };
    let by_log_ratio = if has_slope { -advantage * ratio.slope } else { 0.0 };
    Term { value: -value, by_log_ratio, by_log_prob: 0.0 }
}

fn gated(ratio: Ratio, advantage: f64, options: &GrpoOptions) -> Term {
    let temperature = if advantage > 0.0 {
        options.sapo_temperature_positive
    } else {
        options.sapo_temperature_negative
    };
    let gate = 1.0 / (1.0 + (-temperature * (ratio.value - 1.0)).exp());
    Term {
        value: -gate * 4.0 / temperature * advantage,
        by_log_ratio: -4.0 * gate * (1.0 - gate) * advantage * ratio.slope,
        by_log_prob: 0.0,
    }
}

/// Adds β·k3 to the term; returns the k3.
fn add_divergence(
    term: &mut Term,
    part: &PolicyPart<'_>,
    token: usize,
    ratio: Ratio,
    options: &GrpoOptions,
) -> f64 {
    let Some(reference) = part.reference_log_probs.filter(|_| options.needs_reference()) else {
        return 0.0;
    };
    let (log_prob, reference) = (part.log_probs[token], reference[token]);
    let mut divergence = KlEstimator::K3.of(log_prob, reference);
    let mut slope = KlEstimator::K3.slope(log_prob, reference);
    if options.use_bias_correction_kl {
        term.by_log_ratio += options.beta * divergence * ratio.slope;
        divergence *= ratio.value;
        slope *= ratio.value;
    }
    term.value += options.beta * divergence;
    term.by_log_prob += options.beta * slope;
    divergence
}

/// Whether the ratio is beyond the bound that its advantage pushes it to, below and above.
fn clipped(ratio: f64, advantage: f64, options: &GrpoOptions) -> (bool, bool) {
    match options.loss_type {
        GrpoLoss::Sapo => (false, false),
        GrpoLoss::Cispo => (false, ratio > options.upper_clip() && advantage > 0.0),
        _ => (
            ratio < 1.0 - options.epsilon && advantage < 0.0,
            ratio > 1.0 + options.upper_clip() && advantage > 0.0,
        ),
    }
}

fn check(part: &PolicyPart<'_>, options: &GrpoOptions) -> Result<()> {
    let n_tokens = part.mask.len();
    check_spans(part.spans, n_tokens)?;
    let reference = part.reference_log_probs;
    if options.needs_reference() && reference.is_none() {
        return refuse("beta is not 0, so the reference's log-probs are needed");
    }
    for (name, n, n_expected) in [
        ("log_probs", part.log_probs.len(), n_tokens),
        ("old_log_probs", part.old_log_probs.len(), n_tokens),
        ("reference_log_probs", reference.map_or(n_tokens, <[f64]>::len), n_tokens),
        ("entropies", part.entropies.len(), n_tokens),
        ("advantages", part.advantages.len(), part.spans.len()),
    ] {
        if n != n_expected {
            return refuse(format!("{name} has {n} numbers; it needs {n_expected}"));
        }
    }
    Ok(())
}
