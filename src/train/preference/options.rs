//! Which preference losses, with which weights and constants.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A loss over preference pairs, under TRL's name. `pair_terms.rs` has the formulas and the papers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    Sigmoid,
    Hinge,
    Ipo,
    ExoPair,
    NcaPair,
    Robust,
    BcoPair,
    SppoHard,
    Aot,
    AotUnpaired,
    ApoZero,
    ApoDown,
    Discopop,
    Sft,
    SigmoidNorm,
    Orpo,
    Simpo,
}

impl PreferenceLoss {
    /// Whether the loss looks at the reference model's log-probabilities.
    pub fn needs_reference(self) -> bool {
        !matches!(self, Self::Sft | Self::Orpo | Self::Simpo)
    }

    /// Whether the loss pairs answers across the batch by rank, so that no pair has a loss of its
    /// own.
    pub fn sorts_batch(self) -> bool {
        matches!(self, Self::Aot | Self::AotUnpaired)
    }
}

/// TRL's name.
impl fmt::Display for PreferenceLoss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// The divergence that holds the policy to the reference (f-DPO, Wang et al. 2023, arXiv
/// 2309.16240).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FDivergence {
    /// DPO's own.
    #[default]
    ReverseKl,
    ForwardKl,
    JsDivergence,
    /// With the coefficient `alpha_divergence`.
    AlphaDivergence,
}

/// The losses of a run and their constants; the defaults are TRL's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreferenceOptions {
    /// The mix: the batch's loss is the weighted sum of these.
    pub losses: Vec<(PreferenceLoss, f64)>,
    /// How strongly the policy is held to the reference; in `orpo` the weight of the odds ratio.
    pub beta: f64,
    /// ε, the share of pairs believed to be the wrong way round: `exo_pair`, `robust`, `aot`,
    /// `aot_unpaired` and `simpo` use it.
    pub label_smoothing: f64,
    pub f_divergence: FDivergence,
    /// α of `alpha_divergence`; at 1 it is the reverse KL divergence.
    pub alpha_divergence: f64,
    /// The temperature of `discopop`'s blend.
    pub discopop_tau: f64,
    /// The margin that `simpo` asks for between the mean log-probabilities, after β.
    pub simpo_gamma: f64,
}

impl Default for PreferenceOptions {
    fn default() -> Self {
        Self {
            losses: vec![(PreferenceLoss::Sigmoid, 1.0)],
            beta: 0.1,
            label_smoothing: 0.0,
            f_divergence: FDivergence::ReverseKl,
            alpha_divergence: 0.5,
            discopop_tau: 0.05,
            simpo_gamma: 0.5,
        }
    }
}

impl PreferenceOptions {
    /// Refuses what has no meaning; call it once before a run.
    ///
    /// # Errors
    /// `preference_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        self.validate_mix()?;
        self.validate_constants()?;
        self.losses.iter().try_for_each(|&(loss, _)| self.validate_smoothing(loss))
    }

    /// Whether the run can do without a reference model.
    pub fn is_reference_free(&self) -> bool {
        self.losses.iter().all(|(loss, _)| !loss.needs_reference())
    }

    fn validate_mix(&self) -> Result<()> {
        if self.losses.is_empty() {
            return refuse("no preference loss is named; name at least one, for example `sigmoid`");
        }
        for (index, (loss, weight)) in self.losses.iter().enumerate() {
            if !(weight.is_finite() && *weight > 0.0) {
                return refuse(format!(
                    "the weight of {loss} is {weight}; give a positive number, or leave the loss out"
                ));
            }
            if self.losses[..index].iter().any(|(earlier, _)| earlier == loss) {
                return refuse(format!(
                    "{loss} is named twice; name it once with the sum of its weights"
                ));
            }
        }
        Ok(())
    }

    fn validate_constants(&self) -> Result<()> {
        for (name, value) in [("beta", self.beta), ("discopop_tau", self.discopop_tau)] {
            if !(value.is_finite() && value > 0.0) {
                return refuse(format!("{name} is {value}; give a positive number"));
            }
        }
        for (name, value) in
            [("alpha_divergence", self.alpha_divergence), ("simpo_gamma", self.simpo_gamma)]
        {
            if !value.is_finite() {
                return refuse(format!("{name} is {value}; give a finite number"));
            }
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return refuse(format!(
                "label_smoothing is {}; give a share from 0 to below 1",
                self.label_smoothing
            ));
        }
        Ok(())
    }

    fn validate_smoothing(&self, loss: PreferenceLoss) -> Result<()> {
        let smoothing = self.label_smoothing;
        match loss {
            PreferenceLoss::ExoPair if smoothing == 0.0 => refuse(
                "exo_pair takes the logarithm of label_smoothing, which is 0; set it to a small share \
                 such as 0.001",
            ),
            PreferenceLoss::Robust if smoothing >= 0.5 => refuse(format!(
                "robust divides by 1 − 2 · label_smoothing, and label_smoothing is {smoothing}; set it \
                 below 0.5"
            )),
            _ => Ok(()),
        }
    }
}

fn refuse<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::invalid("preference_options", sentence))
}
