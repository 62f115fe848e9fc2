//! From scores of whole answers to an advantage of each token (PPO).

use std::collections::BTreeMap;
use std::ops::Range;

use super::normaliser::{check_spans, refuse};
use super::ppo_options::PpoOptions;
use crate::error::Result;

/// Added to a variance before its root is divided by.
const VARIANCE_FLOOR: f64 = 1e-8;

/// Answers as they were drawn. Slices have one number for each token, or one for each answer.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// The tokens of each answer.
    pub spans: &'a [Range<usize>],
    /// log π under the weights that drew the answers.
    pub log_probs: &'a [f64],
    pub reference_log_probs: &'a [f64],
    /// What the value head expects before each token is drawn.
    pub values: &'a [f64],
    /// Of each answer; one whose scorer failed has none and takes no part.
    pub scores: &'a [Option<f64>],
    /// Whether each answer ended by itself.
    pub has_ended: &'a [bool],
}

/// What each token is worth. Tokens that take no part have zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    /// Whether a token takes part.
    pub mask: Vec<bool>,
    pub rewards: Vec<f64>,
    pub advantages: Vec<f64>,
    /// What the value head should have said: advantage (before whitening) + value.
    pub returns: Vec<f64>,
    pub objective: Objective,
}

/// Means over the answers that take part, of sums over their tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Objective {
    pub n_answers: usize,
    /// The divergence from the reference, by the estimator of the options.
    pub kl: f64,
    /// −log π.
    pub entropy: f64,
    /// What the divergence costs.
    pub non_score_reward: f64,
    pub score: f64,
}

impl Objective {
    /// Under TRL's names.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let named = [
            ("objective/kl", self.kl),
            ("objective/entropy", self.entropy),
            ("objective/non_score_reward", self.non_score_reward),
            ("objective/rlhf_reward", self.non_score_reward + self.score),
            ("objective/scores", self.score),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Rewards, advantages and returns of a batch of rollouts. `kl_coefficient` is the present one.
///
/// TRL lets the value head look at one more token, after an answer's last one, and pays the score
/// there; here an answer ends with its last token, which is paid.
///
/// # Errors
/// `reinforce_scores` where the slices do not fit one another.
pub fn estimate(
    scored: &Scored<'_>,
    kl_coefficient: f64,
    options: &PpoOptions,
) -> Result<Estimates> {
    check(scored)?;
    let n_tokens = scored.values.len();
    let mut estimates = Estimates {
        mask: vec![false; n_tokens],
        rewards: vec![0.0; n_tokens],
        advantages: vec![0.0; n_tokens],
        returns: vec![0.0; n_tokens],
        objective: Objective::default(),
    };
    let answers = scored.spans.iter().zip(scored.scores).zip(scored.has_ended);
    for ((span, score), has_ended) in answers {
        let Some(score) = score.filter(|_| !span.is_empty()) else { continue };
        let score = if *has_ended { score } else { score - options.missing_end_penalty };
        reward_answer(&mut estimates, scored, span, score, kl_coefficient, options);
    }
    estimates.objective.divide();
    if options.whiten_rewards {
        whiten_where(&mut estimates.rewards, &estimates.mask, true);
    }
    for span in scored.spans {
        if !estimates.mask[span.clone()].iter().all(|takes_part| *takes_part) {
            continue;
        }
        let (rewards, values) = (&estimates.rewards[span.clone()], &scored.values[span.clone()]);
        let (advantages, returns) =
            advantages_and_returns(rewards, values, options.gamma, options.lambda);
        estimates.advantages[span.clone()].copy_from_slice(&advantages);
        estimates.returns[span.clone()].copy_from_slice(&returns);
    }
    if options.whiten_advantages {
        whiten_where(&mut estimates.advantages, &estimates.mask, false);
    }
    Ok(estimates)
}

/// −`coefficient` · `divergences` of each token, and the score for the last one.
pub fn token_rewards(score: f64, divergences: &[f64], coefficient: f64) -> Vec<f64> {
    let mut rewards: Vec<f64> = divergences.iter().map(|kl| -coefficient * kl).collect();
    if let Some(last) = rewards.last_mut() {
        *last += score;
    }
    rewards
}

/// The generalised advantage estimate of one answer (Schulman et al. 2016, arXiv 1506.02438), and
/// the returns: δ_t = r_t + γ V_{t+1} − V_t, A_t = δ_t + γλ A_{t+1}, R_t = A_t + V_t, with nothing
/// after the last token.
pub fn advantages_and_returns(
    rewards: &[f64],
    values: &[f64],
    gamma: f64,
    lambda: f64,
) -> (Vec<f64>, Vec<f64>) {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for (token, (reward, value)) in rewards.iter().zip(values).enumerate().rev() {
        let surprise = reward + gamma * next_value - value;
        next_advantage = surprise + gamma * lambda * next_advantage;
        next_value = *value;
        advantages[token] = next_advantage;
    }
    let returns = advantages.iter().zip(values).map(|(advantage, value)| advantage + value);
    let returns = returns.collect();
    (advantages, returns)
}

/// `values` scaled to variance 1 (with n − 1), and moved to mean 0 unless the mean is kept. Fewer
/// than two have no variance and stay as they are.
pub fn whiten(values: &mut [f64], keeps_mean: bool) {
    let n = values.len() as f64;
    if n < 2.0 {
        return;
    }
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let scale = 1.0 / (variance + VARIANCE_FLOOR).sqrt();
    let centre = if keeps_mean { mean } else { 0.0 };
    values.iter_mut().for_each(|value| *value = (*value - mean) * scale + centre);
}

impl Objective {
    fn divide(&mut self) {
        let n = self.n_answers.max(1) as f64;
        for sum in [&mut self.kl, &mut self.entropy, &mut self.non_score_reward, &mut self.score] {
            *sum /= n;
        }
    }
}

fn reward_answer(
    estimates: &mut Estimates,
    scored: &Scored<'_>,
    span: &Range<usize>,
    score: f64,
    kl_coefficient: f64,
    options: &PpoOptions,
) {
    let divergence = |token: usize| {
        options.kl_estimator.of(scored.log_probs[token], scored.reference_log_probs[token])
    };
    let divergences: Vec<f64> = span.clone().map(divergence).collect();
    let kl: f64 = divergences.iter().sum();
    let objective = &mut estimates.objective;
    objective.n_answers += 1;
    objective.kl += kl;
    objective.entropy -= scored.log_probs[span.clone()].iter().sum::<f64>();
    objective.non_score_reward -= kl_coefficient * kl;
    objective.score += score;
    estimates.mask[span.clone()].fill(true);
    let rewards = token_rewards(score, &divergences, kl_coefficient);
    estimates.rewards[span.clone()].copy_from_slice(&rewards);
}

fn whiten_where(values: &mut [f64], mask: &[bool], keeps_mean: bool) {
    let chosen = |(index, is_chosen): (usize, &bool)| is_chosen.then_some(index);
    let places: Vec<usize> = mask.iter().enumerate().filter_map(chosen).collect();
    let mut taken: Vec<f64> = places.iter().map(|place| values[*place]).collect();
    whiten(&mut taken, keeps_mean);
    places.iter().zip(taken).for_each(|(place, value)| values[*place] = value);
}

fn check(scored: &Scored<'_>) -> Result<()> {
    let (n_tokens, n_answers) = (scored.values.len(), scored.spans.len());
    check_spans(scored.spans, n_tokens)?;
    for (name, n, n_expected) in [
        ("log_probs", scored.log_probs.len(), n_tokens),
        ("reference_log_probs", scored.reference_log_probs.len(), n_tokens),
        ("scores", scored.scores.len(), n_answers),
        ("has_ended", scored.has_ended.len(), n_answers),
    ] {
        if n != n_expected {
            return refuse(format!("{name} has {n} numbers; it needs {n_expected}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPANS: [Range<usize>; 3] = [0..2, 2..3, 4..6];

    fn scored<'a>(scores: &'a [Option<f64>]) -> Scored<'a> {
        Scored {
            spans: &SPANS,
            log_probs: &[-1.0, -2.0, -0.5, -9.0, -1.5, -0.2],
            reference_log_probs: &[-1.5, -1.0, -0.5, -3.0, -1.0, -0.4],
            values: &[0.3, -0.2, 0.1, 7.0, 0.5, 0.4],
            scores,
            has_ended: &[true, true, false],
        }
    }

    fn plain() -> PpoOptions {
        PpoOptions { whiten_advantages: false, ..PpoOptions::default() }
    }

    #[test]
    fn an_answer_of_two_tokens_by_hand() {
        let options = PpoOptions { gamma: 0.9, lambda: 0.5, ..plain() };
        let scores = [Some(1.0), Some(0.0), Some(0.0)];
        let found = estimate(&scored(&scores), 0.1, &options).unwrap();
        // k1: 0.5 and −1.
        let rewards = [-0.05, 0.1 + 1.0];
        let last = rewards[1] + 0.2;
        let first = rewards[0] + 0.9 * -0.2 - 0.3 + 0.9 * 0.5 * last;
        for (found, expected) in found.rewards.iter().zip(rewards) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!((found.advantages[1] - last).abs() < 1e-12);
        assert!((found.advantages[0] - first).abs() < 1e-12);
        assert!((found.returns[0] - (first + 0.3)).abs() < 1e-12);
        assert_eq!(found.mask, [true, true, true, false, true, true]);
    }

    #[test]
    fn with_lambda_one_the_return_is_what_is_still_to_come() {
        let options = PpoOptions { lambda: 1.0, ..plain() };
        let scores = [Some(1.0), Some(0.0), Some(2.0)];
        let found = estimate(&scored(&scores), 0.1, &options).unwrap();
        assert!((found.returns[0] - (found.rewards[0] + found.rewards[1])).abs() < 1e-12);
    }

    #[test]
    fn a_failed_scorer_leaves_its_answer_out() {
        let scores = [Some(1.0), None, Some(3.0)];
        let options = PpoOptions { missing_end_penalty: 0.5, ..PpoOptions::default() };
        let found = estimate(&scored(&scores), 0.0, &options).unwrap();
        assert!(!found.mask[2] && found.advantages[2] == 0.0 && found.returns[2] == 0.0);
        assert_eq!(found.objective.n_answers, 2);
        // The third did not end by itself: 3 − 0.5.
        assert_eq!(found.objective.score, (1.0 + 2.5) / 2.0);
        assert!(found.advantages.iter().sum::<f64>().abs() < 1e-12);
        assert_eq!(found.objective.metrics()["objective/scores"], 1.75);
    }

    #[test]
    fn whitening_gives_variance_one_and_may_keep_the_mean() {
        let mut values = vec![1.0, 2.0, 6.0];
        whiten(&mut values, true);
        let mean = values.iter().sum::<f64>() / 3.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0;
        assert!((mean - 3.0).abs() < 1e-12 && (variance - 1.0).abs() < 1e-8);
        let mut single = vec![4.0];
        whiten(&mut single, false);
        assert_eq!(single, [4.0]);
        let mut equal = vec![4.0; 3];
        whiten(&mut equal, false);
        assert_eq!(equal, [0.0; 3]);
    }

    #[test]
    fn rollouts_that_do_not_fit_are_refused() {
        let scores = [Some(1.0); 3];
        let whole = scored(&scores);
        for scored in [
            Scored { scores: &scores[1..], ..whole },
            Scored { log_probs: &[], ..whole },
            Scored { values: &whole.values[..5], ..whole },
            Scored { has_ended: &[], ..whole },
        ] {
            assert_eq!(estimate(&scored, 0.1, &plain()).unwrap_err().code, "reinforce_scores");
        }
    }
}
