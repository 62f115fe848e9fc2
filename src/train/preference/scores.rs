//! What the models say of a batch of pairs.

use candle_core::{Result, Tensor};

/// Log-probabilities of a batch of pairs, summed over the tokens of each answer (the prompt not
/// among them). All tensors are `[pairs]`, f64 on the CPU.
///
/// For LD-DPO sum with the weights of [`length_desensitised_weights`], for policy and reference
/// alike, and give the plain sums of the chosen answers in `plain_chosen` if `sft` or `orpo` is in
/// the mix.
#[derive(Debug, Clone)]
pub struct PairScores {
    pub policy_chosen: Tensor,
    pub policy_rejected: Tensor,
    /// Not looked at by `orpo`, `simpo` and `sft`; zeros will do.
    pub reference_chosen: Tensor,
    pub reference_rejected: Tensor,
    /// How many tokens each answer has, as f64.
    pub chosen_tokens: Tensor,
    pub rejected_tokens: Tensor,
    /// WPO's weight of each pair (Zhou et al. 2024, arXiv 2406.11827, Eq. 2): the product over both
    /// answers of exp(mean over tokens of log π − log Σ_v π_v²), detached. None: every pair weighs
    /// 1.
    pub weights: Option<Tensor>,
    /// The plain sums of the chosen answers for the token mean of `sft` and `orpo`, where
    /// `policy_chosen` is weighted by token.
    pub plain_chosen: Option<Tensor>,
}

impl PairScores {
    /// log π(y_w) − log π_ref(y_w).
    pub(super) fn chosen_ratio(&self) -> Result<Tensor> {
        &self.policy_chosen - &self.reference_chosen
    }

    /// log π(y_l) − log π_ref(y_l).
    pub(super) fn rejected_ratio(&self) -> Result<Tensor> {
        &self.policy_rejected - &self.reference_rejected
    }

    /// The policy's mean log-probability of a token, of the chosen and of the rejected answers.
    pub(super) fn policy_means(&self) -> Result<(Tensor, Tensor)> {
        Ok((
            per_token(&self.policy_chosen, &self.chosen_tokens)?,
            per_token(&self.policy_rejected, &self.rejected_tokens)?,
        ))
    }

    /// −log π of the chosen answers, mean over all their tokens in the batch: a scalar.
    pub(super) fn chosen_token_mean(&self) -> Result<Tensor> {
        let sums = self.plain_chosen.as_ref().unwrap_or(&self.policy_chosen);
        let n_tokens = self.chosen_tokens.sum_all()?.maximum(1.0)?;
        sums.sum_all()?.neg()? / n_tokens
    }
}

/// `sums` over the number of tokens; an empty answer counts as one token, as in TRL.
pub(super) fn per_token(sums: &Tensor, n_tokens: &Tensor) -> Result<Tensor> {
    sums / n_tokens.maximum(1.0)?
}

/// The weight of each of an answer's `n_tokens` tokens in LD-DPO (Liu et al. 2024, arXiv
/// 2409.06411): 1 up to the length of the pair's shorter answer, `alpha` beyond it.
pub fn length_desensitised_weights(n_tokens: usize, n_other_tokens: usize, alpha: f64) -> Vec<f64> {
    (0..n_tokens).map(|index| if index < n_other_tokens { 1.0 } else { alpha }).collect()
}
