//! Every loss's value for each pair. Notation: c, r the log-ratios log π − log π_ref of the chosen
//! and the rejected answer, s(c), s(r) their scores under the divergence, Δ = s(c) − s(r), |·| the
//! tokens, ε the label smoothing. The forms are those of TRL 1.9, whose numbers the tests hold them
//! to.

use candle_core::{Result, Tensor};

use super::divergence::score;
use super::options::{PreferenceLoss, PreferenceOptions};
use super::pointwise::{log_complement, log_sigmoid, positive_part, sigmoid};
use super::scores::{PairScores, per_token};

/// What the losses of one batch share.
pub struct PairTerms<'a> {
    scores: &'a PairScores,
    options: &'a PreferenceOptions,
    chosen_ratio: Tensor,
    rejected_ratio: Tensor,
    chosen_score: Tensor,
    rejected_score: Tensor,
    /// β·Δ.
    logits: Tensor,
}

impl<'a> PairTerms<'a> {
    pub fn new(scores: &'a PairScores, options: &'a PreferenceOptions) -> Result<Self> {
        let (chosen_ratio, rejected_ratio) = (scores.chosen_ratio()?, scores.rejected_ratio()?);
        let chosen_score = score(&chosen_ratio, options)?;
        let rejected_score = score(&rejected_ratio, options)?;
        let logits = ((&chosen_score - &rejected_score)? * options.beta)?;
        Ok(Self {
            scores,
            options,
            chosen_ratio,
            rejected_ratio,
            chosen_score,
            rejected_score,
            logits,
        })
    }

    /// `[pairs]`, or for a mean over the batch's tokens a single number that stands for every pair.
    pub fn of(&self, loss: PreferenceLoss) -> Result<Tensor> {
        match loss {
            PreferenceLoss::Sigmoid => log_sigmoid(&self.logits)?.neg(),
            PreferenceLoss::Hinge => positive_part(&(1.0 - &self.logits)?),
            PreferenceLoss::Ipo => self.ipo(),
            PreferenceLoss::ExoPair => self.exo_pair(),
            PreferenceLoss::NcaPair => self.nca_pair(),
            PreferenceLoss::Robust => self.robust(),
            PreferenceLoss::BcoPair => self.bco_pair(),
            PreferenceLoss::SppoHard => self.sppo_hard(),
            PreferenceLoss::Aot => self.aot(),
            PreferenceLoss::AotUnpaired => self.aot_unpaired(),
            PreferenceLoss::ApoZero => self.apo_zero(),
            PreferenceLoss::ApoDown => self.apo_down(),
            PreferenceLoss::Discopop => self.discopop(),
            PreferenceLoss::Sft => self.scores.chosen_token_mean(),
            PreferenceLoss::SigmoidNorm => self.sigmoid_norm(),
            PreferenceLoss::Orpo => self.orpo(),
            PreferenceLoss::Simpo => self.simpo(),
        }
    }

    /// (s(c)/|c| − s(r)/|r| − 1/(2β))²: Azar et al. 2023, arXiv 2310.12036, Eq. 17, with scores per
    /// token.
    fn ipo(&self) -> Result<Tensor> {
        (self.score_margin_per_token()? - 0.5 / self.options.beta)?.sqr()
    }

    /// KL(policy ‖ smoothed preference) over the pair: Ji et al. 2024, arXiv 2402.00856, Eq. 16,
    /// for K = 2.
    fn exo_pair(&self) -> Result<Tensor> {
        let smoothing = self.options.label_smoothing;
        let towards = |logits: &Tensor, target: f64| -> Result<Tensor> {
            sigmoid(logits)? * (log_sigmoid(logits)? - target)?
        };
        towards(&self.logits, (-smoothing).ln_1p())? + towards(&self.logits.neg()?, smoothing.ln())?
    }

    /// −log σ(βs_c) − ½ log σ(−βs_c) − ½ log σ(−βs_r): Chen et al. 2024, arXiv 2402.05369.
    fn nca_pair(&self) -> Result<Tensor> {
        let (chosen, rejected) = self.rewards()?;
        let falling = (log_sigmoid(&chosen.neg()?)? + log_sigmoid(&rejected.neg()?)?)?;
        log_sigmoid(&chosen)?.neg()? - (falling * 0.5)?
    }

    /// [−(1−ε) log σ(βΔ) + ε log σ(−βΔ)] / (1−2ε): Chowdhury et al. 2024, arXiv 2403.00409.
    fn robust(&self) -> Result<Tensor> {
        let smoothing = self.options.label_smoothing;
        let clean = (log_sigmoid(&self.logits)? * (smoothing - 1.0))?;
        let flipped = (log_sigmoid(&self.logits.neg()?)? * smoothing)?;
        (clean + flipped)? / (1.0 - 2.0 * smoothing)
    }

    /// −log σ(βs_c) − log σ(−βs_r): Jung et al. 2024, arXiv 2404.04656, without its running shift.
    fn bco_pair(&self) -> Result<Tensor> {
        let (chosen, rejected) = self.rewards()?;
        (log_sigmoid(&chosen)? + log_sigmoid(&rejected.neg()?)?)?.neg()
    }

    /// (s_c − 1/(2β))² + (s_r + 1/(2β))²: Wu et al. 2024, arXiv 2405.00675, Eq. 4.7 with certain
    /// preferences.
    fn sppo_hard(&self) -> Result<Tensor> {
        let target = 0.5 / self.options.beta;
        (&self.chosen_score - target)?.sqr()? + (&self.rejected_score + target)?.sqr()?
    }

    /// Sorted margins of the policy against sorted margins of the reference: Melnyk et al. 2024,
    /// arXiv 2406.05882, the paired form.
    fn aot(&self) -> Result<Tensor> {
        let scores = self.scores;
        let policy = (&scores.policy_chosen - &scores.policy_rejected)?;
        let reference = (&scores.reference_chosen - &scores.reference_rejected)?;
        self.smoothed(&((sorted(&policy)? - sorted(&reference)?)? * self.options.beta)?)
    }

    /// Sorted log-ratios of the chosen against sorted log-ratios of the rejected: the same paper.
    fn aot_unpaired(&self) -> Result<Tensor> {
        let margin = (sorted(&self.chosen_ratio)? - sorted(&self.rejected_ratio)?)?;
        self.smoothed(&(margin * self.options.beta)?)
    }

    /// (1 − σ(βc)) + σ(βr): D'Oosterlinck et al. 2024, arXiv 2408.06266, Eq. 7. 1 − σ(x) is σ(−x).
    fn apo_zero(&self) -> Result<Tensor> {
        let beta = self.options.beta;
        sigmoid(&(&self.chosen_ratio * -beta)?)? + sigmoid(&(&self.rejected_ratio * beta)?)?
    }

    /// σ(βc) + (1 − σ(βΔ)): the same paper, Eq. 8.
    fn apo_down(&self) -> Result<Tensor> {
        sigmoid(&(&self.chosen_ratio * self.options.beta)?)? + sigmoid(&self.logits.neg()?)?
    }

    /// l = βΔ, m = σ(l/τ): −log σ(l)·(1−m) + e^−l·m: Lu et al. 2024, arXiv 2406.08414, Eq. 5.
    fn discopop(&self) -> Result<Tensor> {
        let sharp = (&self.logits / self.options.discopop_tau)?;
        let logistic = (log_sigmoid(&self.logits)?.neg()? * sigmoid(&sharp.neg()?)?)?;
        logistic + (self.logits.neg()?.exp()? * sigmoid(&sharp)?)?
    }

    /// −log σ(β(s_c/|c| − s_r/|r|)): Tülu 3 (Lambert et al. 2024, arXiv 2411.15124),
    /// length-normalised DPO.
    fn sigmoid_norm(&self) -> Result<Tensor> {
        log_sigmoid(&(self.score_margin_per_token()? * self.options.beta)?)?.neg()
    }

    /// Token mean of −log π(y_w) − β log σ(log-odds ratio of mean token probabilities): Hong et al.
    /// 2024, arXiv 2403.07691, Eqs. 6 and 7. TRL's first term runs over the prompt's tokens too;
    /// here, as in the paper, over the answer's.
    fn orpo(&self) -> Result<Tensor> {
        let odds = (log_sigmoid(&log_odds_ratio(self.scores)?)? * self.options.beta)?;
        self.scores.chosen_token_mean()?.broadcast_sub(&odds)
    }

    /// −log σ(β(c̄ − r̄) − γ) of the policy's mean token log-probabilities: Meng et al. 2024, arXiv
    /// 2405.14734.
    fn simpo(&self) -> Result<Tensor> {
        let (chosen, rejected) = self.scores.policy_means()?;
        let margin = ((chosen - rejected)? * self.options.beta)?;
        self.smoothed(&(margin - self.options.simpo_gamma)?)
    }

    /// −(1−ε) log σ(x) − ε log σ(−x).
    fn smoothed(&self, logits: &Tensor) -> Result<Tensor> {
        let smoothing = self.options.label_smoothing;
        let kept = (log_sigmoid(logits)? * (smoothing - 1.0))?;
        kept - (log_sigmoid(&logits.neg()?)? * smoothing)?
    }

    fn rewards(&self) -> Result<(Tensor, Tensor)> {
        let beta = self.options.beta;
        Ok(((&self.chosen_score * beta)?, (&self.rejected_score * beta)?))
    }

    fn score_margin_per_token(&self) -> Result<Tensor> {
        per_token(&self.chosen_score, &self.scores.chosen_tokens)?
            - per_token(&self.rejected_score, &self.scores.rejected_tokens)?
    }
}

/// log odds(y_w) − log odds(y_l), odds p/(1−p) of the geometric mean of the tokens' probabilities;
/// `[pairs]`.
pub fn log_odds_ratio(scores: &PairScores) -> Result<Tensor> {
    let (chosen, rejected) = scores.policy_means()?;
    let complements = (log_complement(&chosen)? - log_complement(&rejected)?)?;
    (chosen - rejected)? - complements
}

/// Ascending. candle's own sort has no gradient, so the order is found on the values and gathered.
fn sorted(values: &Tensor) -> Result<Tensor> {
    let numbers = values.to_vec1::<f64>()?;
    let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
    order.sort_by(|&left, &right| numbers[left as usize].total_cmp(&numbers[right as usize]));
    values.index_select(&Tensor::new(order, values.device())?, 0)
}
