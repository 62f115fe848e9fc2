//! Settings of GRPO; the defaults are TRL's where TRL has the setting.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::demands::{at_least_zero, count, demand, positive, refuse, share, validate_sampling};
use crate::error::Result;

/// The cap of the ratio in CISPO where none is given: with the `epsilon` of the other losses every
/// token would weigh a fifth.
const CISPO_CAP: f64 = 5.0;

/// A loss of GRPO's family, under TRL's name; `policy_loss.rs` has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrpoLoss {
    /// Mean over each answer's tokens, then over the answers (Shao et al. 2024, arXiv 2402.03300).
    Grpo,
    /// Mean over all tokens of the optimiser step.
    Bnpo,
    /// Sum over tokens by the longest possible length (Liu et al. 2025, arXiv 2503.20783).
    DrGrpo,
    /// Mean over all tokens of the optimiser step (Yu et al. 2025, arXiv 2503.14476). Without
    /// processes that count apart, the same as `bnpo` but for the entropy bonus under a quantile.
    #[default]
    Dapo,
    /// The ratio, capped, as a constant weight of the log-prob (MiniMax 2025, arXiv 2506.13585).
    Cispo,
    /// A sigmoid gate in place of the clip (Gao et al. 2025, arXiv 2511.20347).
    Sapo,
}

impl fmt::Display for GrpoLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// What has one probability ratio of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioLevel {
    #[default]
    Token,
    /// The geometric mean over an answer's tokens (GSPO, Zheng et al. 2025, arXiv 2507.18071). Its
    /// `epsilon` is a thousand times smaller: 3e-4 and 4e-4 in the paper.
    Sequence,
}

/// By which standard deviation advantages are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    #[default]
    Group,
    Batch,
    None,
}

/// How several rewards become one advantage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The weighted sum is compared within the group.
    #[default]
    SumThenNormalize,
    /// Each reward is compared within the group, and the weighted sum is scaled over the batch
    /// (GDPO, Liu et al. 2026, arXiv 2601.05242), so that a reward of small spread still counts.
    NormalizeThenSum,
}

/// What becomes of an answer that some of its rewards are missing for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingReward {
    /// The answer takes no part: a scorer that failed has said nothing.
    #[default]
    LeaveAnswerOut,
    /// The sum goes over the others, as in TRL; only an answer without any takes no part.
    LeaveRewardOut,
}

/// Settings of GRPO.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoOptions {
    /// Answers to each prompt, which are compared with one another.
    pub n_generations: usize,
    pub temperature: f64,
    /// 1 is off.
    pub top_p: f64,
    /// 0 is off.
    pub top_k: usize,
    pub max_new_tokens: usize,
    pub loss_type: GrpoLoss,
    pub ratio_level: RatioLevel,
    /// How far below 1 a ratio may push, and above it if `epsilon_high` is not set.
    pub epsilon: f64,
    /// DAPO takes 0.28; in `cispo` the cap of the ratio itself, 5 if not set.
    pub epsilon_high: Option<f64>,
    /// The cap of the ratio of bad answers (two-sided clip, arXiv 2505.07291).
    pub delta: Option<f64>,
    /// How strongly the policy is held to the reference, by k3.
    pub beta: f64,
    /// μ, optimiser passes over the same rollouts.
    pub n_iterations: usize,
    pub scale_rewards: ScaleRewards,
    pub aggregation: Aggregation,
    /// Answers that were cut at `max_new_tokens` have no part in the loss.
    pub mask_truncated: bool,
    /// DAPO's soft penalty grows from 0 to −1 over this many tokens before `max_new_tokens`; 0 is
    /// off.
    pub overlong_cache_tokens: usize,
    /// How often at most groups without variance are drawn anew (DAPO's dynamic sampling); 0 is
    /// off.
    pub n_resample_rounds: usize,
    /// The bonus for the mean entropy of a token.
    pub entropy_coefficient: f64,
    /// The share of tokens, those of the highest entropy, that the policy learns from (Wang et al.
    /// 2025, arXiv 2506.01939, take 0.2).
    pub top_entropy_quantile: f64,
    /// SAPO's τ for good answers.
    pub sapo_temperature_positive: f64,
    /// SAPO's τ for bad answers.
    pub sapo_temperature_negative: f64,
    /// Weighs k3 with the ratio, which makes it unbiased off the policy (DeepSeek-V3.2, arXiv
    /// 2512.02556).
    pub use_bias_correction_kl: bool,
}

impl Default for GrpoOptions {
    fn default() -> Self {
        Self {
            n_generations: 8,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: 64,
            loss_type: GrpoLoss::default(),
            ratio_level: RatioLevel::Token,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            beta: 0.0,
            n_iterations: 1,
            scale_rewards: ScaleRewards::Group,
            aggregation: Aggregation::SumThenNormalize,
            mask_truncated: false,
            overlong_cache_tokens: 0,
            n_resample_rounds: 0,
            entropy_coefficient: 0.0,
            top_entropy_quantile: 1.0,
            sapo_temperature_positive: 1.0,
            sapo_temperature_negative: 1.05,
            use_bias_correction_kl: false,
        }
    }
}

impl GrpoOptions {
    /// Refuses what has no meaning; call it once before a run.
    ///
    /// # Errors
    /// `reinforce_options` with the field, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        demand("n_generations", self.n_generations, self.n_generations >= 2, "2 or more")?;
        validate_sampling(self.temperature, self.top_p, self.max_new_tokens)?;
        self.validate_clip()?;
        at_least_zero("beta", self.beta)?;
        count("n_iterations", self.n_iterations)?;
        demand(
            "overlong_cache_tokens",
            self.overlong_cache_tokens,
            self.overlong_cache_tokens <= self.max_new_tokens,
            &format!("at most max_new_tokens, which is {}", self.max_new_tokens),
        )?;
        demand(
            "entropy_coefficient",
            self.entropy_coefficient,
            self.entropy_coefficient.is_finite(),
            "a finite number",
        )?;
        share("top_entropy_quantile", self.top_entropy_quantile)?;
        positive("sapo_temperature_positive", self.sapo_temperature_positive)?;
        positive("sapo_temperature_negative", self.sapo_temperature_negative)
    }

    /// Where the ratio of a good answer is cut: the distance above 1, or CISPO's cap itself.
    pub fn upper_clip(&self) -> f64 {
        let default = if self.loss_type == GrpoLoss::Cispo { CISPO_CAP } else { self.epsilon };
        self.epsilon_high.unwrap_or(default)
    }

    pub fn needs_reference(&self) -> bool {
        self.beta != 0.0
    }

    fn validate_clip(&self) -> Result<()> {
        demand(
            "epsilon",
            self.epsilon,
            self.epsilon > 0.0 && self.epsilon < 1.0,
            "between 0 and 1",
        )?;
        let high = self.upper_clip();
        positive("epsilon_high", high)?;
        if self.loss_type == GrpoLoss::Cispo {
            demand(
                "epsilon_high",
                high,
                high >= 1.0,
                "1 or more with cispo, whose cap of the ratio it is",
            )?;
        }
        let Some(delta) = self.delta else { return Ok(()) };
        if matches!(self.loss_type, GrpoLoss::Cispo | GrpoLoss::Sapo) {
            return refuse(format!(
                "delta is {delta}, but {} has no two-sided clip; leave delta out",
                self.loss_type
            ));
        }
        demand(
            "delta",
            delta,
            delta.is_finite() && delta > 1.0 + high,
            &format!("above 1 + the upper epsilon, which is {}", 1.0 + high),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn grpo(value: Value) -> Result<(), String> {
        let options: GrpoOptions =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        options.validate().map_err(|error| error.message)
    }

    #[test]
    fn defaults_and_published_settings_are_accepted() {
        for value in [
            json!({}),
            json!({"loss_type": "grpo", "ratio_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}),
            json!({"loss_type": "dapo", "epsilon_high": 0.28, "overlong_cache_tokens": 16}),
            json!({"loss_type": "cispo"}),
            json!({"loss_type": "bnpo", "delta": 4.0}),
        ] {
            assert_eq!(grpo(value.clone()), Ok(()), "{value}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_field_and_value() {
        for (value, expected) in [
            (json!({"n_generations": 1}), "n_generations is 1"),
            (json!({"temperature": 0.0}), "temperature is 0"),
            (json!({"top_p": 1.5}), "top_p is 1.5"),
            (json!({"max_new_tokens": 0}), "max_new_tokens is 0"),
            (json!({"epsilon": 1.0}), "epsilon is 1"),
            (json!({"epsilon_high": -0.1}), "epsilon_high is -0.1"),
            (json!({"loss_type": "cispo", "epsilon_high": 0.2}), "epsilon_high is 0.2"),
            (json!({"loss_type": "sapo", "delta": 4.0}), "sapo has no two-sided clip"),
            (json!({"delta": 1.2}), "delta is 1.2"),
            (json!({"beta": -1.0}), "beta is -1"),
            (json!({"n_iterations": 0}), "n_iterations is 0"),
            (json!({"overlong_cache_tokens": 65}), "overlong_cache_tokens is 65"),
            (json!({"top_entropy_quantile": 0.0}), "top_entropy_quantile is 0"),
            (json!({"sapo_temperature_negative": 0.0}), "sapo_temperature_negative is 0"),
            (json!({"loss_type": "luspo"}), "unknown variant"),
            (json!({"group_size": 4}), "unknown field"),
        ] {
            let message = grpo(value).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_upper_clip_falls_back_by_loss() {
        let of = |loss_type| GrpoOptions { loss_type, ..GrpoOptions::default() }.upper_clip();
        assert_eq!((of(GrpoLoss::Grpo), of(GrpoLoss::Cispo)), (0.2, 5.0));
    }
}
