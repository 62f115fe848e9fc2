//! KTO: learning from single answers that are marked desirable or not (Ethayarajh et al. 2024,
//! arXiv 2402.01306).

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::pointwise::sigmoid;
use crate::error::{Error, Result};

/// A loss over single answers, under TRL's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KtoLoss {
    /// w_d·σ(β(z − lr)) for a desirable and w_u·σ(β(lr − z)) for an undesirable answer, with z the
    /// estimate of the divergence: Eq. 7 of the paper.
    #[default]
    Kto,
    /// The same with z = 0, which needs no estimate: D'Oosterlinck et al. 2024, arXiv 2408.06266,
    /// Eq. 7.
    ApoZeroUnpaired,
}

/// The constants of a run; the defaults are TRL's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KtoOptions {
    pub loss: KtoLoss,
    pub beta: f64,
    pub desirable_weight: f64,
    pub undesirable_weight: f64,
}

impl Default for KtoOptions {
    fn default() -> Self {
        Self { loss: KtoLoss::Kto, beta: 0.1, desirable_weight: 1.0, undesirable_weight: 1.0 }
    }
}

impl KtoOptions {
    /// # Errors
    /// `kto_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        let named = [
            ("beta", self.beta),
            ("desirable_weight", self.desirable_weight),
            ("undesirable_weight", self.undesirable_weight),
        ];
        match named.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            Some((name, value)) => Err(Error::invalid(
                "kto_options",
                format!("{name} is {value}; give a positive number"),
            )),
            None => Ok(()),
        }
    }
}

/// Summed log-probabilities of a batch of answers under both models, `[n]`, f64 on the CPU.
#[derive(Debug, Clone)]
pub struct KtoScores<'a> {
    pub policy: Tensor,
    pub reference: Tensor,
    pub desirable: &'a [bool],
}

/// max(0, mean(policy − reference)) over answers that were put to other prompts of the batch (each
/// prompt with its neighbour's answer), a plain number: no gradient flows through it.
///
/// A NaN comes out as NaN, so that the guard sees it.
///
/// # Errors
/// `kto_scores` when the tensors are empty or of different lengths.
pub fn kl_estimate(policy_kl: &Tensor, reference_kl: &Tensor) -> Result<f64> {
    same_length("policy_kl", policy_kl, "reference_kl", reference_kl.elem_count())?;
    let mean = (policy_kl - reference_kl)?.mean_all()?.to_scalar::<f64>()?;
    Ok(if mean < 0.0 { 0.0 } else { mean })
}

/// The mean over the answers of their weighted losses: a scalar. `kl` is [`kl_estimate`]'s;
/// `apo_zero_unpaired` does not look at it.
///
/// # Errors
/// `kto_scores` when the batch is empty or its parts are of different lengths.
pub fn kto_loss(scores: &KtoScores<'_>, kl: f64, options: &KtoOptions) -> Result<Tensor> {
    let n = scores.desirable.len();
    same_length("policy", &scores.policy, "desirable", n)?;
    same_length("reference", &scores.reference, "desirable", n)?;
    let log_ratios = (&scores.policy - &scores.reference)?;
    let shift = match options.loss {
        KtoLoss::Kto => kl,
        KtoLoss::ApoZeroUnpaired => 0.0,
    };
    // 1 − σ(x) is σ(−x), so both kinds are a σ with a sign and a weight.
    let (signs, weights): (Vec<f64>, Vec<f64>) = scores
        .desirable
        .iter()
        .map(|&desirable| {
            if desirable {
                (-1.0, options.desirable_weight)
            } else {
                (1.0, options.undesirable_weight)
            }
        })
        .unzip();
    let of_answers = |values: Vec<f64>| Tensor::new(values, log_ratios.device());
    let logits = (((&log_ratios - shift)? * options.beta)? * of_answers(signs)?)?;
    Ok((sigmoid(&logits)? * of_answers(weights)?)?.mean_all()?)
}

/// The weights (desirable, undesirable) that bring (n_d·w_d)/(n_u·w_u) into [1, 4/3], the range of
/// the paper's Eq. 8: (1, 1) if the counts are there by themselves, else the rarer kind is raised,
/// just to the near end of the range, and the other stays at 1. A kind with no example leaves (1,
/// 1).
pub fn class_weights(n_desirable: usize, n_undesirable: usize) -> (f64, f64) {
    const MOST: f64 = 4.0 / 3.0;
    if n_desirable == 0 || n_undesirable == 0 {
        return (1.0, 1.0);
    }
    let ratio = n_desirable as f64 / n_undesirable as f64;
    if ratio < 1.0 {
        (ratio.recip(), 1.0)
    } else if ratio > MOST {
        (1.0, ratio / MOST)
    } else {
        (1.0, 1.0)
    }
}

/// Sums and counts of the answers seen since the last report. Batches differ in how many of either
/// kind they have, so means of batch means would be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KtoTotals {
    desirable: KindTotals,
    undesirable: KindTotals,
    kl_sum: f64,
    n_batches: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct KindTotals {
    n: usize,
    reward_sum: f64,
    log_prob_sum: f64,
}

impl KtoTotals {
    /// Takes in a batch.
    ///
    /// # Errors
    /// As [`kto_loss`].
    pub fn add(&mut self, scores: &KtoScores<'_>, kl: f64, options: &KtoOptions) -> Result<()> {
        let n = scores.desirable.len();
        same_length("policy", &scores.policy, "desirable", n)?;
        same_length("reference", &scores.reference, "desirable", n)?;
        let (policy, reference) =
            (scores.policy.to_vec1::<f64>()?, scores.reference.to_vec1::<f64>()?);
        for ((policy, reference), &desirable) in
            policy.into_iter().zip(reference).zip(scores.desirable)
        {
            let kind = if desirable { &mut self.desirable } else { &mut self.undesirable };
            kind.n += 1;
            kind.reward_sum += options.beta * (policy - reference);
            kind.log_prob_sum += policy;
        }
        self.kl_sum += kl;
        self.n_batches += 1;
        Ok(())
    }

    /// `kl`, `rewards/{chosen,rejected,margins}` and `logps/{chosen,rejected}`; what no answer
    /// speaks for is left out.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut named = BTreeMap::new();
        if self.n_batches > 0 {
            named.insert("kl".to_owned(), self.kl_sum / self.n_batches as f64);
        }
        for (name, kind) in [("chosen", &self.desirable), ("rejected", &self.undesirable)] {
            if kind.n > 0 {
                named.insert(format!("rewards/{name}"), kind.reward_sum / kind.n as f64);
                named.insert(format!("logps/{name}"), kind.log_prob_sum / kind.n as f64);
            }
        }
        if let (Some(chosen), Some(rejected)) =
            (named.get("rewards/chosen"), named.get("rewards/rejected"))
        {
            named.insert("rewards/margins".to_owned(), chosen - rejected);
        }
        named
    }
}

fn same_length(name: &str, tensor: &Tensor, other: &str, n: usize) -> Result<()> {
    if n > 0 && tensor.dims() == [n] {
        return Ok(());
    }
    Err(Error::invalid(
        "kto_scores",
        format!(
            "{name} has the shape {:?} and {other} {n} entries; a batch needs one number for each answer",
            tensor.dims()
        ),
    ))
}
