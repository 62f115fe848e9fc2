//! Values and slopes against TRL's own, from `tests/parity/make_reinforce.py`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::gae::{advantages_and_returns, token_rewards, whiten};
use super::super::*;
use super::assert_near;

#[derive(Deserialize)]
struct AdvantageCase {
    aggregation: Aggregation,
    scale: ScaleRewards,
    weights: Vec<f64>,
    values: Vec<f64>,
    has_no_variance: Option<Vec<bool>>,
}

#[derive(Deserialize)]
struct Answers {
    lengths: Vec<usize>,
    advantages: Vec<f64>,
    truncated: usize,
    log_probs: Vec<f64>,
    old: Vec<f64>,
    reference: Vec<f64>,
    entropies: Vec<f64>,
}

#[derive(Deserialize)]
struct PolicyCase {
    options: Value,
    n_parts: usize,
    loss: f64,
    gradients: Vec<f64>,
    entropy_gradients: Option<Vec<f64>>,
    metrics: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Rollouts {
    lengths: Vec<usize>,
    max_tokens: usize,
    old: Vec<Vec<f64>>,
    reference: Vec<Vec<f64>>,
    /// Of one more token where there is room; so are all numbers of the value head.
    values: Vec<Vec<f64>>,
    scores: Vec<f64>,
    new_log_probs: Vec<Vec<f64>>,
    new_values: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct PpoCase {
    options: PpoOptions,
    rewards: Vec<Vec<f64>>,
    advantages: Vec<Vec<f64>>,
    returns: Vec<Vec<f64>>,
    kl: f64,
    non_score_reward: f64,
    loss: f64,
    policy_loss: f64,
    value_loss: f64,
    policy_clip_share: f64,
    value_clip_share: f64,
    policy_gradients: Vec<Vec<f64>>,
    value_gradients: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct PpoBatch {
    name: String,
    rollouts: Rollouts,
    cases: Vec<PpoCase>,
}

fn fixture<T: DeserializeOwned>(pointer: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/reinforce.json");
    let whole: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(whole.pointer(pointer).unwrap().clone()).unwrap()
}

fn assert_all_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_near(*found, *expected, &format!("{what} [{index}]"));
    }
}

fn spans(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let span = |n: &usize| {
        end += n;
        end - n..end
    };
    lengths.iter().map(span).collect()
}

#[test]
fn advantages_equal_trl() {
    let rewards: Vec<Vec<Option<f64>>> = fixture("/advantages/rewards");
    let n_generations = fixture("/advantages/n_generations");
    let cases: Vec<AdvantageCase> = fixture("/advantages/cases");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let what = format!("{:?} {:?}", case.aggregation, case.scale);
        let options = AdvantageOptions {
            n_generations,
            scale: case.scale,
            aggregation: case.aggregation,
            missing: MissingReward::LeaveRewardOut,
        };
        let found = advantages(&rewards, &case.weights, &options).unwrap();
        assert_all_near(&found.values, &case.values, &what);
        if let Some(expected) = case.has_no_variance {
            let groups = found.groups.iter().map(|group| !group.has_variance());
            assert_eq!(groups.take(expected.len()).collect::<Vec<_>>(), expected, "{what}");
        }
    }
}

#[test]
fn overlong_penalties_equal_trl() {
    let [max_tokens, cache] =
        ["max_tokens", "cache_tokens"].map(|name| fixture(&format!("/overlong/{name}")));
    let (lengths, penalties): (Vec<usize>, Vec<f64>) =
        (fixture("/overlong/lengths"), fixture("/overlong/penalties"));
    let found: Vec<_> = lengths.iter().map(|n| overlong_penalty(*n, max_tokens, cache)).collect();
    assert_eq!(found, penalties);
}

/// Every loss, ratio level, KL, two-sided clip, masking, quantile and bonus; a case of several parts
/// is TRL's accumulation over micro-batches.
#[test]
fn policy_losses_and_slopes_equal_trl() {
    let answers: Answers = fixture("/policy/answers");
    let max_new_tokens = fixture("/policy/max_new_tokens");
    let cases: Vec<PolicyCase> = fixture("/policy/cases");
    assert!(cases.len() > 100, "{}", cases.len());
    for case in cases {
        let what = format!("{} in {}", case.options, case.n_parts);
        let options: GrpoOptions = serde_json::from_value(case.options).unwrap();
        let options = GrpoOptions { max_new_tokens, ..options };
        options.validate().unwrap();
        let found = loss_of(&answers, &options);
        assert_near(found.loss, case.loss, &what);
        assert_all_near(&found.gradients, &case.gradients, &what);
        if let Some(expected) = case.entropy_gradients {
            assert_all_near(&found.entropy_gradients, &expected, &what);
        }
        let metrics = found.figures.metrics(&options);
        for (name, expected) in case.metrics.unwrap_or_default() {
            assert_near(metrics[&name], expected, &format!("{what} {name}"));
        }
    }
}

fn loss_of(answers: &Answers, options: &GrpoOptions) -> LossPart {
    let spans = spans(&answers.lengths);
    let is_truncated: Vec<_> = (0..spans.len()).map(|index| index == answers.truncated).collect();
    let mask = loss_mask(&spans, &is_truncated, answers.log_probs.len(), options);
    let normaliser = Normaliser::of(options, &spans, &mask, Some(&answers.entropies)).unwrap();
    let part = PolicyPart {
        spans: &spans,
        mask: &mask,
        log_probs: &answers.log_probs,
        old_log_probs: &answers.old,
        reference_log_probs: Some(&answers.reference),
        entropies: &answers.entropies,
        advantages: &answers.advantages,
    };
    policy_loss(&part, options, &normaliser).unwrap()
}

/// Where an answer fills its row, TRL has no further token, and its numbers are those of ours.
#[test]
fn estimates_equal_trl_on_full_rows() {
    let batches: Vec<PpoBatch> = fixture("/ppo");
    let batch = batches.iter().find(|batch| batch.name == "full").unwrap();
    let rollouts = &batch.rollouts;
    let scores: Vec<_> = rollouts.scores.iter().copied().map(Some).collect();
    for case in &batch.cases {
        let scored = Scored {
            spans: &spans(&rollouts.lengths),
            log_probs: &rollouts.old.concat(),
            reference_log_probs: &rollouts.reference.concat(),
            values: &rollouts.values.concat(),
            scores: &scores,
            has_ended: &vec![true; scores.len()],
        };
        let found = estimate(&scored, case.options.kl_coefficient, &case.options).unwrap();
        assert_all_near(&found.rewards, &case.rewards.concat(), "rewards");
        assert_all_near(&found.advantages, &case.advantages.concat(), "advantages");
        assert_all_near(&found.returns, &case.returns.concat(), "returns");
        assert_near(found.objective.kl, case.kl, "kl");
        assert_near(found.objective.non_score_reward, case.non_score_reward, "non-score reward");
    }
}

/// In ragged rows TRL pays the score one token after the answer's last, so the pieces are put
/// together as it does.
#[test]
fn rewards_returns_and_whitening_equal_trl_on_ragged_rows() {
    let batches: Vec<PpoBatch> = fixture("/ppo");
    for (batch, case) in
        batches.iter().flat_map(|batch| batch.cases.iter().map(move |case| (batch, case)))
    {
        let (rollouts, options) = (&batch.rollouts, &case.options);
        let mut rewards: Vec<Vec<f64>> = Vec::new();
        for (answer, n_tokens) in rollouts.lengths.iter().enumerate() {
            let pairs = rollouts.old[answer].iter().zip(&rollouts.reference[answer]);
            let mut divergences: Vec<_> =
                pairs.map(|(old, reference)| options.kl_estimator.of(*old, *reference)).collect();
            divergences.resize((n_tokens + 1).min(rollouts.max_tokens), 0.0);
            rewards.push(token_rewards(
                rollouts.scores[answer],
                &divergences,
                options.kl_coefficient,
            ));
        }
        if options.whiten_rewards {
            let mut all = rewards.concat();
            whiten(&mut all, true);
            let mut all = all.into_iter();
            rewards.iter_mut().flatten().for_each(|reward| *reward = all.next().unwrap());
        }
        assert_all_near(&rewards.concat(), &case.rewards.concat(), "rewards");
        let (mut advantages, mut returns) = (Vec::new(), Vec::new());
        for ((rewards, values), n_tokens) in
            rewards.iter().zip(&rollouts.values).zip(&rollouts.lengths)
        {
            let of_answer = advantages_and_returns(rewards, values, options.gamma, options.lambda);
            advantages.extend_from_slice(&of_answer.0[..*n_tokens]);
            returns.extend(of_answer.1);
        }
        whiten(&mut advantages, false);
        assert_all_near(&advantages, &case.advantages.concat(), "advantages");
        assert_all_near(&returns, &case.returns.concat(), "returns");
    }
}

#[test]
fn ppo_losses_and_slopes_equal_trl() {
    let batches: Vec<PpoBatch> = fixture("/ppo");
    for (batch, case) in
        batches.iter().flat_map(|batch| batch.cases.iter().map(move |case| (batch, case)))
    {
        let (rollouts, options, what) = (&batch.rollouts, &case.options, &batch.name);
        options.validate().unwrap();
        let (log_probs, old) = (rollouts.new_log_probs.concat(), rollouts.old.concat());
        let (zeros, mask) = (vec![0.0; old.len()], vec![true; old.len()]);
        let part = PpoPart {
            mask: &mask,
            log_probs: &log_probs,
            old_log_probs: &old,
            advantages: &case.advantages.concat(),
            values: &zeros,
            old_values: &zeros,
            returns: &zeros,
        };
        let step = |n_tokens| PpoStep { n_tokens, penalty_coefficient: 0.0 };
        let of_policy = ppo_loss(&part, options, &step(old.len())).unwrap();
        assert_near(of_policy.loss, case.policy_loss, what);
        assert_all_near(&of_policy.policy_gradients, &case.policy_gradients.concat(), what);
        let metrics = of_policy.figures.metrics();
        assert_near(metrics["policy/clipfrac_avg"], case.policy_clip_share, what);
        let values = rollouts.new_values.concat();
        let (zeros, mask) = (vec![0.0; values.len()], vec![true; values.len()]);
        let part = PpoPart {
            mask: &mask,
            log_probs: &zeros,
            old_log_probs: &zeros,
            advantages: &zeros,
            values: &values,
            old_values: &rollouts.values.concat(),
            returns: &case.returns.concat(),
        };
        let of_value = ppo_loss(&part, options, &step(values.len())).unwrap();
        assert_near(of_value.figures.value_loss, case.value_loss, what);
        assert_near(of_policy.loss + of_value.loss, case.loss, what);
        assert_all_near(&of_value.value_gradients, &case.value_gradients.concat(), what);
        assert_near(of_value.figures.metrics()["val/clipfrac_avg"], case.value_clip_share, what);
    }
}
