//! Settings of PPO.

use serde::{Deserialize, Serialize};

use super::demands::{at_least_zero, count, demand, positive, share, validate_sampling};
use super::kl::KlEstimator;
use crate::error::Result;

/// What PPO maximises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PpoVariant {
    /// The clipped ratio (Schulman et al. 2017, arXiv 1707.06347, Eq. 7).
    #[default]
    Clip,
    /// The ratio less the divergence from the old policy, with a coefficient that adapts (Eq. 8).
    Penalty,
}

/// How the coefficient of the KL divergence from the reference follows a target (Ziegler et al.
/// 2019, arXiv 1909.08593).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveKlOptions {
    /// The divergence of an answer, summed over its tokens, that is aimed at.
    pub target: f64,
    /// Answers in which the coefficient can change by a fifth of itself.
    pub horizon: f64,
}

impl Default for AdaptiveKlOptions {
    fn default() -> Self {
        Self { target: 6.0, horizon: 10_000.0 }
    }
}

/// The penalty of [`PpoVariant::Penalty`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PenaltyOptions {
    /// The coefficient at the start.
    pub coefficient: f64,
    /// The divergence from the old policy, mean over tokens, that is aimed at after each update.
    pub target: f64,
}

impl Default for PenaltyOptions {
    fn default() -> Self {
        Self { coefficient: 1.0, target: 0.01 }
    }
}

/// Settings of PPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PpoOptions {
    pub temperature: f64,
    pub max_new_tokens: usize,
    /// Passes over the same rollouts.
    pub n_epochs: usize,
    /// Optimiser steps in one pass.
    pub n_mini_batches: usize,
    /// γ, what a later reward counts per token.
    pub gamma: f64,
    /// λ of the generalised advantage estimate.
    pub lambda: f64,
    pub variant: PpoVariant,
    /// ε, how far from 1 a ratio may push.
    pub clip: f64,
    /// The cap of what a bad token with a large ratio costs, as a multiple of its advantage (Ye et
    /// al. 2020, arXiv 1912.09729, take 3).
    pub dual_clip: Option<f64>,
    /// How far a value may move from the old one and still gain.
    pub clip_value: f64,
    pub value_coefficient: f64,
    /// The weight of the divergence from the reference in the reward; where it adapts, its start.
    pub kl_coefficient: f64,
    pub kl_estimator: KlEstimator,
    /// Lets `kl_coefficient` follow a target.
    pub adaptive_kl: Option<AdaptiveKlOptions>,
    pub penalty: PenaltyOptions,
    /// Scales rewards to variance 1 over the batch, the mean kept.
    pub whiten_rewards: bool,
    /// Scales advantages to mean 0 and variance 1 over the batch.
    pub whiten_advantages: bool,
    /// Taken from the score of an answer that did not end by itself.
    pub missing_end_penalty: f64,
    /// Ends the passes over the rollouts once the approximate divergence from the old policy is
    /// above this.
    pub target_kl: Option<f64>,
}

impl Default for PpoOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            max_new_tokens: 64,
            n_epochs: 4,
            n_mini_batches: 1,
            gamma: 1.0,
            lambda: 0.95,
            variant: PpoVariant::Clip,
            clip: 0.2,
            dual_clip: None,
            clip_value: 0.2,
            value_coefficient: 0.1,
            kl_coefficient: 0.05,
            kl_estimator: KlEstimator::K1,
            adaptive_kl: None,
            penalty: PenaltyOptions::default(),
            whiten_rewards: false,
            whiten_advantages: true,
            missing_end_penalty: 0.0,
            target_kl: None,
        }
    }
}

impl PpoOptions {
    /// Refuses what has no meaning; call it once before a run.
    ///
    /// # Errors
    /// `reinforce_options` with the field, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        validate_sampling(self.temperature, 1.0, self.max_new_tokens)?;
        count("n_epochs", self.n_epochs)?;
        count("n_mini_batches", self.n_mini_batches)?;
        share("gamma", self.gamma)?;
        demand("lambda", self.lambda, (0.0..=1.0).contains(&self.lambda), "from 0 to 1")?;
        demand("clip", self.clip, self.clip > 0.0 && self.clip < 1.0, "between 0 and 1")?;
        positive("clip_value", self.clip_value)?;
        for (name, value) in [
            ("value_coefficient", self.value_coefficient),
            ("kl_coefficient", self.kl_coefficient),
            ("missing_end_penalty", self.missing_end_penalty),
            ("penalty.coefficient", self.penalty.coefficient),
        ] {
            at_least_zero(name, value)?;
        }
        positive("penalty.target", self.penalty.target)?;
        self.validate_optional()
    }

    fn validate_optional(&self) -> Result<()> {
        if let Some(cap) = self.dual_clip {
            demand("dual_clip", cap, cap.is_finite() && cap > 1.0, "above 1")?;
        }
        if let Some(target) = self.target_kl {
            positive("target_kl", target)?;
        }
        let Some(adaptive) = self.adaptive_kl else { return Ok(()) };
        positive("adaptive_kl.target", adaptive.target)?;
        positive("adaptive_kl.horizon", adaptive.horizon)?;
        // It changes by factors, and no factor takes it away from 0.
        positive("kl_coefficient (which adaptive_kl multiplies)", self.kl_coefficient)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ppo(value: Value) -> Result<(), String> {
        let options: PpoOptions =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        options.validate().map_err(|error| error.message)
    }

    #[test]
    fn defaults_and_published_settings_are_accepted() {
        for value in [
            json!({}),
            json!({"variant": "penalty", "adaptive_kl": {"target": 0.1}, "dual_clip": 3.0, "lambda": 0.0}),
        ] {
            assert_eq!(ppo(value.clone()), Ok(()), "{value}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_field_and_value() {
        for (value, expected) in [
            (json!({"n_epochs": 0}), "n_epochs is 0"),
            (json!({"n_mini_batches": 0}), "n_mini_batches is 0"),
            (json!({"gamma": 1.1}), "gamma is 1.1"),
            (json!({"lambda": -0.1}), "lambda is -0.1"),
            (json!({"clip": 0.0}), "clip is 0"),
            (json!({"clip_value": 0.0}), "clip_value is 0"),
            (json!({"dual_clip": 1.0}), "dual_clip is 1"),
            (json!({"target_kl": 0.0}), "target_kl is 0"),
            (json!({"adaptive_kl": {"horizon": 0.0}}), "adaptive_kl.horizon is 0"),
            (json!({"adaptive_kl": {}, "kl_coefficient": 0.0}), "kl_coefficient"),
            (json!({"penalty": {"target": 0.0}}), "penalty.target is 0"),
            (json!({"kl_estimator": "k4"}), "unknown variant"),
        ] {
            let message = ppo(value).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
