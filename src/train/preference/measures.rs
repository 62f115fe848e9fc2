//! What a run logs of its preference batches, under TRL's names.

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::options::{PreferenceLoss, PreferenceOptions};
use super::pair_terms::log_odds_ratio;
use super::pointwise::log_sigmoid;
use super::scores::PairScores;
use crate::error::Result;

/// Means over the batch: `rewards/{chosen,rejected,accuracies,margins}` and
/// `logps/{chosen,rejected}`; with `orpo` also `nll_loss`, `log_odds_ratio` and `log_odds_chosen`.
///
/// A reward is β(log π − log π_ref), whatever the divergence. With `orpo` or `simpo`, and no loss
/// that needs a reference, it is β times the mean log-probability of a token, and `logps` are such
/// means too, as TRL's ORPO and CPO trainers have it.
pub fn metrics(scores: &PairScores, options: &PreferenceOptions) -> Result<BTreeMap<String, f64>> {
    let by_token = options.is_reference_free()
        && options.losses.iter().any(|(loss, _)| *loss != PreferenceLoss::Sft);
    let (chosen, rejected) = if by_token {
        scores.policy_means()?
    } else {
        (scores.chosen_ratio()?, scores.rejected_ratio()?)
    };
    let (logps_chosen, logps_rejected) = if by_token {
        (chosen.clone(), rejected.clone())
    } else {
        (scores.policy_chosen.clone(), scores.policy_rejected.clone())
    };
    let wins = chosen.gt(&rejected)?.to_dtype(chosen.dtype())?;
    let margins = (&chosen - &rejected)?;
    let mut named = BTreeMap::from([
        ("rewards/chosen".to_owned(), options.beta * mean(&chosen)?),
        ("rewards/rejected".to_owned(), options.beta * mean(&rejected)?),
        ("rewards/margins".to_owned(), options.beta * mean(&margins)?),
        ("rewards/accuracies".to_owned(), mean(&wins)?),
        ("logps/chosen".to_owned(), mean(&logps_chosen)?),
        ("logps/rejected".to_owned(), mean(&logps_rejected)?),
    ]);
    if options.losses.iter().any(|(loss, _)| *loss == PreferenceLoss::Orpo) {
        let odds = log_odds_ratio(scores)?;
        named.insert("nll_loss".to_owned(), mean(&scores.chosen_token_mean()?)?);
        named.insert("log_odds_ratio".to_owned(), mean(&log_sigmoid(&odds)?)?);
        named.insert("log_odds_chosen".to_owned(), mean(&odds)?);
    }
    Ok(named)
}

fn mean(values: &Tensor) -> candle_core::Result<f64> {
    values.mean_all()?.to_scalar::<f64>()
}
