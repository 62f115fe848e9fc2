//! The loss of a batch of preference pairs.

use candle_core::Tensor;

use super::options::PreferenceOptions;
use super::pair_terms::PairTerms;
use super::scores::PairScores;
use crate::error::{Error, Result};

/// The weighted sum over `options.losses` of each loss's mean over the pairs: a scalar.
///
/// `aot` and `aot_unpaired` rank the answers of the whole batch, and `sft` (also within `orpo`) is
/// a mean over its tokens, so a batch that is cut in pieces has another loss with these than in one
/// piece.
///
/// # Errors
/// `preference_scores` for an empty batch, tensors of other shapes than `[pairs]`, or weights
/// together with a loss that ranks the batch.
pub fn preference_loss(scores: &PairScores, options: &PreferenceOptions) -> Result<Tensor> {
    check(scores, options)?;
    let terms = PairTerms::new(scores, options)?;
    let mut total: Option<Tensor> = None;
    for &(loss, weight) in &options.losses {
        let mut per_pair = terms.of(loss)?;
        if let Some(weights) = &scores.weights {
            per_pair = per_pair.broadcast_mul(&weights.detach())?;
        }
        let mean = (per_pair.mean_all()? * weight)?;
        total = Some(match total {
            Some(sum) => (sum + mean)?,
            None => mean,
        });
    }
    total.ok_or_else(|| {
        Error::invalid("preference_options", "no preference loss is named; name at least one")
    })
}

fn check(scores: &PairScores, options: &PreferenceOptions) -> Result<()> {
    let n_pairs = scores.policy_chosen.elem_count();
    if n_pairs == 0 {
        return Err(Error::invalid(
            "preference_scores",
            "a batch of preference pairs has no pair; leave such a batch out",
        ));
    }
    let plain = [
        ("policy_chosen", &scores.policy_chosen),
        ("policy_rejected", &scores.policy_rejected),
        ("reference_chosen", &scores.reference_chosen),
        ("reference_rejected", &scores.reference_rejected),
        ("chosen_tokens", &scores.chosen_tokens),
        ("rejected_tokens", &scores.rejected_tokens),
    ];
    let optional = [("weights", &scores.weights), ("plain_chosen", &scores.plain_chosen)];
    let optional = optional.iter().filter_map(|(name, tensor)| Some((*name, tensor.as_ref()?)));
    for (name, tensor) in plain.into_iter().chain(optional) {
        if tensor.dims() != [n_pairs] {
            return Err(Error::invalid(
                "preference_scores",
                format!(
                    "{name} has the shape {:?}; it needs one number for each of {n_pairs} pairs",
                    tensor.dims()
                ),
            ));
        }
    }
    match options.losses.iter().find(|(loss, _)| loss.sorts_batch()) {
        Some((loss, _)) if scores.weights.is_some() => Err(Error::invalid(
            "preference_scores",
            format!(
                "{loss} ranks answers across the batch, so pairs cannot be weighted; turn the weighting off"
            ),
        )),
        _ => Ok(()),
    }
}
