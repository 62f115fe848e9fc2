//! What the sums of an optimiser step are divided by. It is known before the first of the step's
//! micro-batches, so that their losses and gradients add up to those of the step in one piece.

use std::ops::Range;

use super::options::{GrpoLoss, GrpoOptions};
use crate::error::{Error, Result};

/// The counts of an optimiser step. A step in which nothing counts divides by 1 and has loss 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    loss_type: GrpoLoss,
    /// All answers of the step, also those without a token that counts.
    n_sequences: f64,
    /// Tokens that count.
    n_tokens: f64,
    max_new_tokens: f64,
    /// Tokens with less entropy do not teach.
    entropy_threshold: Option<f64>,
    /// Tokens that count in the entropy bonus.
    n_bonus_tokens: f64,
}

impl Normaliser {
    /// The counts of all answers of an optimiser step: `spans` are the answers' places in `mask`,
    /// which says of each token whether it counts. `entropies` of the same tokens are looked at
    /// only where `top_entropy_quantile` is below 1; before the first pass those of the old policy
    /// will do.
    ///
    /// # Errors
    /// `reinforce_scores` where spans or entropies do not fit the mask, or entropies are needed and
    /// missing.
    pub fn of(
        options: &GrpoOptions,
        spans: &[Range<usize>],
        mask: &[bool],
        entropies: Option<&[f64]>,
    ) -> Result<Self> {
        check_spans(spans, mask.len())?;
        let counted = |token: &usize| mask[*token];
        let tokens: Vec<usize> = spans.iter().cloned().flatten().filter(counted).collect();
        let at_least_one = |n: usize| n.max(1) as f64;
        let mut normaliser = Self {
            loss_type: options.loss_type,
            n_sequences: at_least_one(spans.len()),
            n_tokens: at_least_one(tokens.len()),
            max_new_tokens: at_least_one(options.max_new_tokens),
            entropy_threshold: None,
            n_bonus_tokens: at_least_one(tokens.len()),
        };
        if options.top_entropy_quantile < 1.0 {
            let entropies = entropies.filter(|entropies| entropies.len() == mask.len());
            let Some(entropies) = entropies else {
                return refuse("top_entropy_quantile needs the entropy of each token of the step");
            };
            let of_tokens: Vec<f64> = tokens.iter().map(|token| entropies[*token]).collect();
            let threshold = quantile(&of_tokens, 1.0 - options.top_entropy_quantile);
            normaliser.entropy_threshold = threshold;
            let is_above =
                |entropy: &&f64| threshold.is_none_or(|threshold| **entropy >= threshold);
            normaliser.n_bonus_tokens = at_least_one(of_tokens.iter().filter(is_above).count());
        }
        Ok(normaliser)
    }

    /// The weight of a token of an answer with `n_tokens` tokens that count.
    pub(super) fn token_weight(&self, n_tokens: usize) -> f64 {
        match self.loss_type {
            GrpoLoss::Grpo | GrpoLoss::Sapo => 1.0 / (self.n_sequences * n_tokens.max(1) as f64),
            GrpoLoss::DrGrpo => 1.0 / (self.n_sequences * self.max_new_tokens),
            GrpoLoss::Bnpo | GrpoLoss::Dapo | GrpoLoss::Cispo => 1.0 / self.n_tokens,
        }
    }

    /// The weight of a token's entropy in the bonus: a mean over the tokens that teach, but in
    /// `dapo` and `cispo` by all that count, as in TRL.
    pub(super) fn bonus_weight(&self) -> f64 {
        match self.loss_type {
            GrpoLoss::Dapo | GrpoLoss::Cispo => 1.0 / self.n_tokens,
            _ => 1.0 / self.n_bonus_tokens,
        }
    }

    /// 1 for a token that the policy learns from, else 0.
    pub(super) fn teaches(&self, entropy: f64) -> f64 {
        f64::from(self.entropy_threshold.is_none_or(|threshold| entropy >= threshold))
    }
}

/// Whether each token counts: no token of an answer that was cut at the longest length does where
/// `mask_truncated` is set. Tokens outside the spans do not count.
pub fn loss_mask(
    spans: &[Range<usize>],
    is_truncated: &[bool],
    n_tokens: usize,
    options: &GrpoOptions,
) -> Vec<bool> {
    let mut mask = vec![false; n_tokens];
    for (span, is_truncated) in spans.iter().zip(is_truncated) {
        if let Some(tokens) = mask.get_mut(span.clone()) {
            tokens.fill(!(options.mask_truncated && *is_truncated));
        }
    }
    mask
}

/// DAPO's soft penalty for long answers (Eq. 13): 0 up to `max_new_tokens − cache_tokens`, falling
/// to −1 at `max_new_tokens`. Add it to the reward. Without a cache there is none.
pub fn overlong_penalty(n_tokens: usize, max_new_tokens: usize, cache_tokens: usize) -> f64 {
    let free = max_new_tokens.saturating_sub(cache_tokens);
    if cache_tokens == 0 || n_tokens <= free {
        return 0.0;
    }
    -((n_tokens - free) as f64 / cache_tokens as f64).min(1.0)
}

/// The number below which a share of `values` lies, between two of them in a straight line; none
/// without values.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

pub(super) fn check_spans(spans: &[Range<usize>], n_tokens: usize) -> Result<()> {
    let is_wrong = |span: &&Range<usize>| span.start > span.end || span.end > n_tokens;
    match spans.iter().find(is_wrong) {
        Some(span) => refuse(format!("an answer has the tokens {span:?} of {n_tokens}")),
        None => Ok(()),
    }
}

pub(super) fn refuse<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::invalid("reinforce_scores", sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_penalty_falls_over_the_cache() {
        let of = |n_tokens| overlong_penalty(n_tokens, 100, 20);
        assert_eq!([of(0), of(80), of(90), of(100), of(101)], [0.0, 0.0, -0.5, -1.0, -1.0]);
        assert_eq!(overlong_penalty(100, 100, 0), 0.0);
    }

    #[test]
    fn cut_answers_are_masked_where_asked() {
        let (spans, is_truncated) = ([0..2, 2..5], [false, true]);
        let options = GrpoOptions { mask_truncated: true, ..GrpoOptions::default() };
        assert_eq!(
            loss_mask(&spans, &is_truncated, 6, &options),
            [true, true, false, false, false, false]
        );
        let kept = loss_mask(&spans, &is_truncated, 6, &GrpoOptions::default());
        assert_eq!(kept, [true, true, true, true, true, false]);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[0.0, 10.0], 0.75), Some(7.5));
        assert_eq!((quantile(&[4.0], 0.8), quantile(&[], 0.8)), (Some(4.0), None));
    }

    #[test]
    fn a_token_on_the_threshold_teaches() {
        let loss_type = GrpoLoss::Grpo;
        let options =
            GrpoOptions { loss_type, top_entropy_quantile: 0.5, ..GrpoOptions::default() };
        let spans = [0..2, 2..3];
        let found = Normaliser::of(&options, &spans, &[true; 3], Some(&[1.0, 2.0, 3.0])).unwrap();
        assert_eq!([1.9, 2.0, 3.0].map(|entropy| found.teaches(entropy)), [0.0, 1.0, 1.0]);
        assert_eq!(found.bonus_weight(), 0.5);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let options = GrpoOptions { top_entropy_quantile: 0.2, ..GrpoOptions::default() };
        let of = |span: Range<usize>, entropies| {
            Normaliser::of(&options, &[span], &[true; 3], entropies)
        };
        assert!(of(0..3, Some(&[0.1, 0.2, 0.3])).is_ok());
        for found in [of(0..3, None), of(0..3, Some(&[0.1])), of(0..4, Some(&[0.1, 0.2, 0.3]))] {
            assert_eq!(found.unwrap_err().code, "reinforce_scores");
        }
    }
}
