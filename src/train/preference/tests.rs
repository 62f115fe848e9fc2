use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use serde::Deserialize;
use serde_json::Value;

use super::pointwise::{capped_exp, log_complement, log_sigmoid, positive_part, sigmoid};
use super::*;

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Pairs {
    policy_chosen: Vec<f64>,
    policy_rejected: Vec<f64>,
    reference_chosen: Vec<f64>,
    reference_rejected: Vec<f64>,
    chosen_tokens: Vec<f64>,
    rejected_tokens: Vec<f64>,
}

#[derive(Deserialize)]
struct PairCase {
    losses: Value,
    options: Value,
    loss: f64,
    gradient_chosen: Vec<f64>,
    gradient_rejected: Vec<f64>,
    metrics: BTreeMap<String, f64>,
    weights: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct LdCase {
    alpha: f64,
    loss: f64,
    tokens: Vec<Vec<f64>>,
    gradients: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct KtoCase {
    name: KtoLoss,
    beta: f64,
    desirable_weight: f64,
    undesirable_weight: f64,
    desirable: Vec<bool>,
    policy: Vec<f64>,
    reference: Vec<f64>,
    policy_kl: Vec<f64>,
    reference_kl: Vec<f64>,
    loss: f64,
    gradient: Vec<f64>,
    metrics: BTreeMap<String, f64>,
}

fn fixture<T: serde::de::DeserializeOwned>(pointer: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/losses.json");
    let whole: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(whole.pointer(pointer).unwrap().clone()).unwrap()
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

fn leaf(values: &[f64]) -> Var {
    Var::from_tensor(&tensor(values)).unwrap()
}

/// The scores with policy log-probs as leaves, and the leaves.
fn scores(pairs: &Pairs) -> (PairScores, Var, Var) {
    let (chosen, rejected) = (leaf(&pairs.policy_chosen), leaf(&pairs.policy_rejected));
    let scores = PairScores {
        policy_chosen: chosen.as_tensor().clone(),
        policy_rejected: rejected.as_tensor().clone(),
        reference_chosen: tensor(&pairs.reference_chosen),
        reference_rejected: tensor(&pairs.reference_rejected),
        chosen_tokens: tensor(&pairs.chosen_tokens),
        rejected_tokens: tensor(&pairs.rejected_tokens),
        weights: None,
        plain_chosen: None,
    };
    (scores, chosen, rejected)
}

fn options_of(case: &PairCase) -> PreferenceOptions {
    let mut options: PreferenceOptions = serde_json::from_value(case.options.clone()).unwrap();
    options.losses = serde_json::from_value(case.losses.clone()).unwrap();
    options
}

/// The value, and the gradients with respect to `leaves` (zeros where the loss does not reach).
fn differentiate(loss: &Tensor, leaves: &[&Var]) -> (f64, Vec<Vec<f64>>) {
    let store = loss.backward().unwrap();
    let gradient = |leaf: &&Var| match store.get(leaf.as_tensor()) {
        Some(gradient) => gradient.to_vec1::<f64>().unwrap(),
        None => vec![0.0; leaf.elem_count()],
    };
    (loss.to_scalar::<f64>().unwrap(), leaves.iter().map(gradient).collect())
}

fn assert_near(found: f64, expected: f64, what: &str) {
    let limit = TOLERANCE * expected.abs().max(1.0);
    assert!((found - expected).abs() <= limit, "{what}: {found}, not {expected}");
}

fn assert_all_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    found.iter().zip(expected).for_each(|(found, expected)| assert_near(*found, *expected, what));
}

fn assert_metrics(found: &BTreeMap<String, f64>, expected: &BTreeMap<String, f64>, what: &str) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    found
        .iter()
        .for_each(|(name, value)| assert_near(*value, expected[name], &format!("{what} {name}")));
}

#[test]
fn every_pair_loss_its_gradient_and_metrics_equal_trl() {
    let (pairs, cases): (Pairs, Vec<PairCase>) =
        (fixture("/preference/pairs"), fixture("/preference/cases"));
    let mut seen = std::collections::HashSet::new();
    for case in &cases {
        let what = format!("{} {}", case.losses, case.options);
        let options = options_of(case);
        options.validate().unwrap();
        seen.extend(options.losses.iter().map(|(loss, _)| *loss));
        let (mut scores, chosen, rejected) = scores(&pairs);
        scores.weights = case.weights.as_deref().map(tensor);
        let loss = preference_loss(&scores, &options).unwrap();
        let (value, gradients) = differentiate(&loss, &[&chosen, &rejected]);
        assert_near(value, case.loss, &what);
        assert_all_near(&gradients[0], &case.gradient_chosen, &what);
        assert_all_near(&gradients[1], &case.gradient_rejected, &what);
        assert_metrics(&metrics(&scores, &options).unwrap(), &case.metrics, &what);
    }
    assert_eq!(seen.len(), 17, "every loss has a golden value");
}

/// The fixture's numbers are a few units; beyond them the slopes must still be those of the values.
#[test]
fn gradients_equal_finite_differences() {
    let pairs: Pairs = fixture("/preference/pairs");
    for case in fixture::<Vec<PairCase>>("/preference/cases") {
        let options = options_of(&case);
        let (unshifted, chosen, rejected) = scores(&pairs);
        let loss = preference_loss(&unshifted, &options).unwrap();
        let (_, gradients) = differentiate(&loss, &[&chosen, &rejected]);
        for (side, index) in [(0, 0), (0, 4), (1, 1), (1, 5)] {
            let shifted = |step: f64| {
                let (mut moved, ..) = scores(&pairs);
                let which =
                    if side == 0 { &mut moved.policy_chosen } else { &mut moved.policy_rejected };
                let mut values = which.to_vec1::<f64>().unwrap();
                values[index] += step;
                *which = tensor(&values);
                preference_loss(&moved, &options).unwrap().to_scalar::<f64>().unwrap()
            };
            let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert_near(
                gradients[side][index],
                slope,
                &format!("{} {}", case.losses, case.options),
            );
        }
    }
}

#[test]
fn token_weights_of_ld_dpo_equal_trl() {
    let (pairs, case): (Pairs, LdCase) =
        (fixture("/preference/pairs"), fixture("/preference/ld_alpha"));
    let n_pairs = pairs.policy_chosen.len();
    let weights: Vec<Vec<f64>> = (0..2 * n_pairs)
        .map(|index| {
            let other = (index + n_pairs) % (2 * n_pairs);
            length_desensitised_weights(
                case.tokens[index].len(),
                case.tokens[other].len(),
                case.alpha,
            )
        })
        .collect();
    let sums: Vec<f64> = (0..2 * n_pairs)
        .map(|index| {
            case.tokens[index]
                .iter()
                .zip(&weights[index])
                .map(|(token, weight)| token * weight)
                .sum()
        })
        .collect();
    let weighted = Pairs {
        policy_chosen: sums[..n_pairs].to_vec(),
        policy_rejected: sums[n_pairs..].to_vec(),
        ..pairs
    };
    let (scores, chosen, rejected) = scores(&weighted);
    let loss = preference_loss(&scores, &PreferenceOptions::default()).unwrap();
    let (value, gradients) = differentiate(&loss, &[&chosen, &rejected]);
    assert_near(value, case.loss, "the loss");
    for (index, expected) in case.gradients.iter().enumerate() {
        let of_sum = gradients[index / n_pairs][index % n_pairs];
        let of_tokens: Vec<f64> = weights[index].iter().map(|weight| weight * of_sum).collect();
        assert_all_near(&of_tokens, expected, "a token");
    }
}

#[test]
fn kto_its_gradient_and_metrics_equal_trl() {
    let cases: Vec<KtoCase> = fixture("/kto");
    for case in &cases {
        let what = format!("{:?} {:?} {}", case.name, case.desirable, case.beta);
        let options = KtoOptions {
            loss: case.name,
            beta: case.beta,
            desirable_weight: case.desirable_weight,
            undesirable_weight: case.undesirable_weight,
        };
        let kl = match case.name {
            KtoLoss::Kto => {
                kl_estimate(&tensor(&case.policy_kl), &tensor(&case.reference_kl)).unwrap()
            }
            KtoLoss::ApoZeroUnpaired => 0.0,
        };
        let policy = leaf(&case.policy);
        let scores = KtoScores {
            policy: policy.as_tensor().clone(),
            reference: tensor(&case.reference),
            desirable: &case.desirable,
        };
        let (value, gradients) =
            differentiate(&kto_loss(&scores, kl, &options).unwrap(), &[&policy]);
        assert_near(value, case.loss, &what);
        assert_all_near(&gradients[0], &case.gradient, &what);
        let mut totals = KtoTotals::default();
        totals.add(&scores, kl, &options).unwrap();
        assert_metrics(&totals.metrics(), &case.metrics, &what);
    }
}

#[test]
fn kto_totals_weigh_answers_and_not_batches() {
    let options = KtoOptions { beta: 1.0, ..KtoOptions::default() };
    let mut totals = KtoTotals::default();
    for (policy, desirable) in
        [(vec![3.0, 6.0, 1.0], vec![true, true, false]), (vec![9.0], vec![true])]
    {
        let n = policy.len();
        let scores = KtoScores {
            policy: tensor(&policy),
            reference: tensor(&vec![0.0; n]),
            desirable: &desirable,
        };
        totals.add(&scores, 1.0, &options).unwrap();
    }
    let metrics = totals.metrics();
    assert_eq!(metrics["rewards/chosen"], 6.0);
    assert_eq!(metrics["rewards/rejected"], 1.0);
    assert_eq!(metrics["rewards/margins"], 5.0);
    assert_eq!(metrics["kl"], 1.0);
}

#[test]
fn class_weights_bring_the_ratio_into_the_range() {
    for (n_desirable, n_undesirable) in
        [(1, 1), (4, 3), (3, 4), (100, 7), (7, 100), (5, 4), (1, 1000)]
    {
        let (desirable, undesirable) = class_weights(n_desirable, n_undesirable);
        let ratio = (n_desirable as f64 * desirable) / (n_undesirable as f64 * undesirable);
        assert!(
            (1.0 - 1e-12..=4.0 / 3.0 + 1e-12).contains(&ratio),
            "{n_desirable}, {n_undesirable}: {ratio}"
        );
        assert!(desirable >= 1.0 && undesirable >= 1.0 && (desirable == 1.0 || undesirable == 1.0));
    }
    assert_eq!(class_weights(5, 4), (1.0, 1.0));
    assert_eq!(class_weights(0, 9), (1.0, 1.0));
}

/// A function of `pointwise.rs`, values and slopes at points given with them.
type Function = fn(&Tensor) -> candle_core::Result<Tensor>;

#[test]
fn pointwise_functions_are_exact_far_out() {
    let certain = -1e-12f64;
    let points: [(Function, f64, f64, f64); 12] = [
        (log_sigmoid, -1000.0, -1000.0, 1.0),
        (log_sigmoid, 1000.0, 0.0, 0.0),
        (log_sigmoid, 40.0, -(-40f64).exp(), (-40f64).exp()),
        (sigmoid, -600.0, (-600f64).exp(), (-600f64).exp()),
        (sigmoid, 1000.0, 1.0, 0.0),
        (positive_part, 0.0, 0.0, 0.0),
        (positive_part, 3.0, 3.0, 1.0),
        (capped_exp, 81.0, 80f64.exp(), 0.0),
        (capped_exp, -2.0, (-2f64).exp(), (-2f64).exp()),
        (log_complement, -50.0, -(-50f64).exp(), -(-50f64).exp()),
        (log_complement, 0.0, (-certain).ln(), -1e12),
        (log_complement, -1e-9, 1e-9f64.ln(), -1e9),
    ];
    for (index, (function, x, value, slope)) in points.into_iter().enumerate() {
        let x = leaf(&[x]);
        let (found, gradients) =
            differentiate(&function(x.as_tensor()).unwrap().sum_all().unwrap(), &[&x]);
        let relative =
            |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs();
        assert!(relative(found, value), "value {index}: {found}, not {value}");
        assert!(
            relative(gradients[0][0], slope),
            "slope {index}: {}, not {slope}",
            gradients[0][0]
        );
    }
}

#[test]
fn nan_is_never_hidden() {
    let functions: [Function; 5] =
        [log_sigmoid, sigmoid, positive_part, capped_exp, log_complement];
    for function in functions {
        let x = leaf(&[f64::NAN]);
        let (value, gradients) =
            differentiate(&function(x.as_tensor()).unwrap().sum_all().unwrap(), &[&x]);
        assert!(value.is_nan() && gradients[0][0].is_nan());
    }
    let mut pairs: Pairs = fixture("/preference/pairs");
    pairs.policy_chosen[3] = f64::NAN;
    for case in fixture::<Vec<PairCase>>("/preference/cases") {
        let (scores, ..) = scores(&pairs);
        let loss = preference_loss(&scores, &options_of(&case)).unwrap();
        assert!(loss.to_scalar::<f64>().unwrap().is_nan(), "{}", case.losses);
    }
    assert!(kl_estimate(&tensor(&[f64::NAN]), &tensor(&[0.0])).unwrap().is_nan());
}

/// TRL's own form gives NaN gradients here.
#[test]
fn orpo_of_a_certain_answer_is_finite() {
    let mut pairs: Pairs = fixture("/preference/pairs");
    pairs.policy_chosen[0] = 0.0;
    pairs.policy_rejected[1] = 0.0;
    let options =
        PreferenceOptions { losses: vec![(PreferenceLoss::Orpo, 1.0)], ..Default::default() };
    let (scores, chosen, rejected) = scores(&pairs);
    let (value, gradients) =
        differentiate(&preference_loss(&scores, &options).unwrap(), &[&chosen, &rejected]);
    assert!(
        value.is_finite() && gradients.iter().flatten().all(|slope| slope.is_finite()),
        "{gradients:?}"
    );
}

#[test]
fn options_without_a_meaning_are_refused_by_name() {
    let with = |change: fn(&mut PreferenceOptions)| {
        let mut options = PreferenceOptions::default();
        change(&mut options);
        options.validate().unwrap_err().message
    };
    let only = |loss| vec![(loss, 1.0)];
    assert!(with(|options| options.losses.clear()).contains("name at least one"));
    assert!(with(|options| options.losses[0].1 = f64::NAN).contains("sigmoid is NaN"));
    assert!(with(|options| options.losses.push((PreferenceLoss::Sigmoid, 1.0))).contains("twice"));
    assert!(with(|options| options.beta = 0.0).contains("beta is 0"));
    assert!(with(|options| options.discopop_tau = -1.0).contains("discopop_tau is -1"));
    assert!(with(|options| options.label_smoothing = 1.0).contains("label_smoothing is 1"));
    assert!(
        with(|options| options.losses = vec![(PreferenceLoss::ExoPair, 1.0)]).contains("0.001")
    );
    let mut robust =
        PreferenceOptions { losses: only(PreferenceLoss::Robust), ..Default::default() };
    robust.label_smoothing = 0.5;
    assert!(robust.validate().unwrap_err().message.contains("below 0.5"));
    let unknown = serde_json::from_str::<PreferenceOptions>(r#"{"bta": 1.0}"#);
    assert!(unknown.unwrap_err().to_string().contains("bta"));
    assert!(KtoOptions { beta: -1.0, ..Default::default() }.validate().is_err());
}

#[test]
fn scores_that_do_not_fit_are_refused() {
    let pairs: Pairs = fixture("/preference/pairs");
    let (mut scores, ..) = scores(&pairs);
    scores.weights = Some(tensor(&[1.0; 6]));
    let aot = PreferenceOptions { losses: vec![(PreferenceLoss::Aot, 1.0)], ..Default::default() };
    assert!(preference_loss(&scores, &aot).unwrap_err().message.contains("aot ranks"));
    scores.chosen_tokens = tensor(&[1.0; 2]);
    let message = preference_loss(&scores, &PreferenceOptions::default()).unwrap_err().message;
    assert!(message.contains("chosen_tokens") && message.contains("6 pairs"), "{message}");
    let none = KtoScores { policy: tensor(&[]), reference: tensor(&[]), desirable: &[] };
    assert_eq!(kto_loss(&none, 0.0, &KtoOptions::default()).unwrap_err().code, "kto_scores");
}

#[test]
fn sft_beside_token_weights_takes_the_plain_sums() {
    let pairs: Pairs = fixture("/preference/pairs");
    let (mut scores, ..) = scores(&pairs);
    scores.plain_chosen = Some(tensor(&[-2.0; 6]));
    scores.chosen_tokens = tensor(&[4.0; 6]);
    let sft = PreferenceOptions { losses: vec![(PreferenceLoss::Sft, 1.0)], ..Default::default() };
    let loss = preference_loss(&scores, &sft).unwrap().to_scalar::<f64>().unwrap();
    assert_eq!(loss, 0.5);
}
