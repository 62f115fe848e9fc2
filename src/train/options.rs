//! What a run is told. Every field has a default; unknown fields are errors.

use serde::{Deserialize, Serialize};

use super::contrastive::{ContrastiveOptions, MiningOptions};
use super::guard::{GuardSettings, Method as GuardMethod};
use super::preference::{KtoOptions, PreferenceOptions};
use super::reinforce::{GrpoOptions, PpoOptions, WatchdogSettings};
use super::reward::RewardSet;
use super::schedule::{Decay, WarmUp};
use crate::error::{Error, Result};
use crate::model::qwen::AdapterOptions;

/// How a model is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Supervised fine-tuning on answers.
    Sft,
    /// Preference pairs: DPO and its kin, ORPO, SimPO.
    Dpo,
    /// Single answers marked desirable or not.
    Kto,
    /// Contrastive training of an embedder.
    Infonce,
    /// Reward training that compares answers to one prompt.
    Grpo,
    /// Reward training with an estimate of what each token leads to.
    Ppo,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Dpo => "dpo",
            Self::Kto => "kto",
            Self::Infonce => "infonce",
            Self::Grpo => "grpo",
            Self::Ppo => "ppo",
        }
    }

    /// Whether a judge says what answers are worth.
    pub fn is_by_reward(self) -> bool {
        matches!(self, Self::Grpo | Self::Ppo)
    }

    /// The rate that the peers take for all weights; adapters take ten times as much (Schulman et
    /// al. 2025, "LoRA Without Regret").
    fn learning_rate(self) -> f64 {
        match self {
            Self::Sft | Self::Infonce => 2e-5,
            Self::Dpo | Self::Kto | Self::Grpo => 1e-6,
            Self::Ppo => 3e-6,
        }
    }

    pub(super) fn for_guard(self) -> GuardMethod {
        match self {
            Self::Sft => GuardMethod::Supervised,
            Self::Dpo | Self::Kto => GuardMethod::Preference,
            Self::Infonce => GuardMethod::Contrastive,
            Self::Grpo | Self::Ppo => GuardMethod::Reinforcement,
        }
    }
}

/// Settings of a run. The method's own stand in the section of its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    pub seed: u64,
    /// Passes over the data.
    pub epochs: usize,
    /// Optimiser steps after which the run ends whatever is left of the epochs.
    pub max_steps: Option<u64>,
    /// 0 or none: the method's own, ten times as much for adapters.
    pub learning_rate: Option<f64>,
    pub decay: Decay,
    pub warm_up: WarmUp,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Gradients are brought down to this global norm; 0 leaves them.
    pub max_grad_norm: f64,
    /// Rows of one optimiser step.
    pub batch_rows: usize,
    /// Tokens in one pass through the model; a step's rows take as many passes as they need.
    pub micro_batch_tokens: usize,
    /// Longest sequence in tokens; 0 is the model's window, at most 1,024.
    pub max_tokens: usize,
    /// Keep block inputs only, and compute the rest twice.
    pub checkpointing: bool,
    /// Compute in bf16 on f32 master weights; by default on a GPU only.
    pub bf16: Option<bool>,
    /// Train adapters on frozen weights.
    pub lora: Option<AdapterOptions>,
    /// Share of the rows that is set aside where no validation file is given.
    pub validation_share: f64,
    /// Validation rows answered greedily at each evaluation (sft).
    pub n_generated: usize,
    pub log_steps: u64,
    /// 0: only at the end of the run.
    pub eval_steps: u64,
    pub save_steps: u64,
    /// Newest checkpoints kept; the best one stays besides.
    pub keep_last: usize,
    pub dpo: PreferenceOptions,
    pub kto: KtoOptions,
    /// Whether KTO's weights are set from the counts of the two kinds.
    pub kto_automatic_weights: bool,
    pub infonce: ContrastiveOptions,
    /// Hard negatives of a row that are taken (infonce).
    pub n_negatives: usize,
    /// Hard negatives mined with the model itself before training.
    pub mining: Option<MiningOptions>,
    pub grpo: GrpoOptions,
    pub ppo: PpoOptions,
    /// What an answer is worth (grpo, ppo).
    pub rewards: RewardSet,
    /// When a run by reward is ended.
    pub watchdog: WatchdogSettings,
    pub guard: GuardSettings,
    pub remember: RememberOptions,
}

/// What holds a model to what it could before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RememberOptions {
    /// Strength of elastic weight consolidation; needs a Fisher file.
    pub ewc_lambda: f64,
    /// Strength of the pull to the weights at the start (L2-SP, Li et al. 2018).
    pub l2_sp_lambda: f64,
    /// Old rows among a step's rows, as a share; needs files of old rows.
    pub replay_share: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 42,
            epochs: 1,
            max_steps: None,
            learning_rate: None,
            decay: Decay::Cosine,
            warm_up: WarmUp::Ratio(0.05),
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            batch_rows: 32,
            micro_batch_tokens: 4_096,
            max_tokens: 0,
            checkpointing: false,
            bf16: None,
            lora: None,
            validation_share: 0.02,
            n_generated: 64,
            log_steps: 10,
            eval_steps: 0,
            save_steps: 200,
            keep_last: 2,
            dpo: PreferenceOptions::default(),
            kto: KtoOptions::default(),
            kto_automatic_weights: true,
            infonce: ContrastiveOptions::default(),
            n_negatives: 8,
            mining: None,
            grpo: GrpoOptions::default(),
            ppo: PpoOptions::default(),
            rewards: RewardSet::default(),
            watchdog: WatchdogSettings::default(),
            guard: GuardSettings::default(),
            remember: RememberOptions::default(),
        }
    }
}

impl TrainOptions {
    /// The peak of the learning rate.
    pub fn peak_rate(&self, method: Method) -> f64 {
        let by_method = method.learning_rate() * if self.lora.is_some() { 10.0 } else { 1.0 };
        self.learning_rate.filter(|rate| *rate > 0.0).unwrap_or(by_method)
    }

    /// # Errors
    /// `train_options`, or the options of the method, naming the field, its value and what it may
    /// be.
    pub fn check(&self, method: Method) -> Result<()> {
        self.check_shared()?;
        self.check_optimizer()?;
        let dropout = self.lora.as_ref().map_or(0.0, |lora| lora.dropout);
        if dropout > 0.0 && method != Method::Sft {
            return Err(Error::invalid(
                "train_options",
                format!("lora.dropout is {dropout}, but only sft trains with dropout; set it to 0"),
            ));
        }
        if method.is_by_reward() {
            self.rewards.validate()?;
            self.watchdog.validate()?;
        }
        match method {
            Method::Sft => Ok(()),
            Method::Dpo => self.dpo.validate(),
            Method::Kto => self.kto.validate(),
            Method::Infonce => self.infonce.validate(),
            Method::Grpo => self.grpo.validate(),
            Method::Ppo => self.ppo.validate(),
        }
    }

    fn check_optimizer(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::invalid("train_options", message));
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(format!("{name} is {beta}; give a number from 0 to below 1"));
            }
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return refuse(format!("epsilon is {}; give a number above 0", self.epsilon));
        }
        if let WarmUp::Ratio(ratio) = self.warm_up
            && !(0.0..=1.0).contains(&ratio)
        {
            return refuse(format!("warm_up is a ratio of {ratio}; give one from 0 to 1"));
        }
        let guard = &self.guard;
        let is_usable = guard.window > 0
            && guard.max_consecutive > 0
            && guard.n_recent > 0
            && guard.slowdown > 0.0
            && guard.slowdown <= 1.0;
        if !is_usable {
            return refuse(
                "guard needs window, max_consecutive and n_recent of at least 1 and a slowdown \
                 above 0 and at most 1"
                    .to_owned(),
            );
        }
        if self.max_steps == Some(0) {
            return refuse("max_steps is 0; leave it out, or give at least 1".to_owned());
        }
        Ok(())
    }

    fn check_shared(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::invalid("train_options", message));
        let positive = [
            ("epochs", self.epochs),
            ("batch_rows", self.batch_rows),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("keep_last", self.keep_last),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return refuse(format!("{name} is 0; give at least 1"));
        }
        let shares = [
            ("validation_share", self.validation_share),
            ("remember.replay_share", self.remember.replay_share),
        ];
        if let Some((name, value)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return refuse(format!("{name} is {value}; give a share from 0 to below 1"));
        }
        let not_negative = [
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("remember.ewc_lambda", self.remember.ewc_lambda),
            ("remember.l2_sp_lambda", self.remember.l2_sp_lambda),
            ("learning_rate", self.learning_rate.unwrap_or(0.0)),
        ];
        match not_negative.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            Some((name, value)) => refuse(format!("{name} is {value}; give 0 or more")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let defaults = TrainOptions::default;
        assert!(defaults().check(Method::Dpo).is_ok());
        for (options, name) in [
            (TrainOptions { batch_rows: 0, ..defaults() }, "batch_rows"),
            (TrainOptions { validation_share: 1.0, ..defaults() }, "validation_share"),
            (TrainOptions { learning_rate: Some(-1e-5), ..defaults() }, "learning_rate"),
            (TrainOptions { max_grad_norm: f64::NAN, ..defaults() }, "max_grad_norm"),
        ] {
            let error = options.check(Method::Sft).unwrap_err();
            assert_eq!(error.code, "train_options");
            assert!(error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn adapters_take_ten_times_the_rate() {
        let full = TrainOptions::default();
        let lora =
            TrainOptions { lora: Some(AdapterOptions::default()), ..TrainOptions::default() };
        let (full, lora) = (full.peak_rate(Method::Dpo), lora.peak_rate(Method::Dpo));
        assert!((lora / full - 10.0).abs() < 1e-9);
        let own = TrainOptions { learning_rate: Some(0.5), ..TrainOptions::default() };
        assert_eq!(own.peak_rate(Method::Sft), 0.5);
    }
}
