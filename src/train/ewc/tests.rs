use candle_core::{DType, Device, Tensor};

use super::*;
use crate::model::qwen::{Gradients, Parameter};
use crate::train::numbers::to_f32;

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn wave(n: usize, phase: f32) -> Vec<f32> {
    (0..n).map(|index| (index as f32 * 1.7 + phase).sin()).collect()
}

fn parameter(name: &str, values: &[f32], shape: &[usize]) -> Parameter {
    Parameter { name: name.to_owned(), tensor: tensor(values, shape), decays: true }
}

fn two() -> Vec<Parameter> {
    vec![parameter("a", &wave(6, 0.1), &[2, 3]), parameter("b", &wave(4, 0.2), &[4])]
}

/// Gradients of one sequence.
fn gradients(parameters: &[Parameter], phase: f32) -> Gradients {
    let mut gradients = Gradients::of(parameters);
    for parameter in parameters {
        let values = wave(parameter.tensor.elem_count(), phase);
        gradients.set(&parameter.tensor, tensor(&values, parameter.tensor.dims()));
    }
    gradients
}

fn fisher(parameters: &[Parameter], phases: &[f32]) -> Fisher {
    let mut sum = Fisher::start(parameters, Labels::Sampled);
    for phase in phases {
        assert!(sum.add_sequence(&gradients(parameters, *phase)).unwrap());
    }
    sum.finish().unwrap()
}

fn values(fisher: &Fisher, name: &str) -> Vec<f32> {
    to_f32(fisher.get(name).unwrap()).unwrap()
}

#[test]
fn the_fisher_is_the_mean_of_squares_with_mean_one() {
    let parameters = two();
    let fisher = fisher(&parameters, &[0.0, 1.0, 2.5]);
    let raw = |n: usize| -> Vec<f32> {
        let squares = |index: usize| {
            [0.0, 1.0, 2.5].map(|phase| wave(n, phase)[index].powi(2)).iter().sum::<f32>() / 3.0
        };
        (0..n).map(squares).collect()
    };
    let all: Vec<f32> = raw(6).into_iter().chain(raw(4)).collect();
    let mean = all.iter().sum::<f32>() / 10.0;
    let found: Vec<f32> = [values(&fisher, "a"), values(&fisher, "b")].concat();
    for (found, raw) in found.iter().zip(&all) {
        assert!((found - raw / mean).abs() < 1e-5, "{found} for {}", raw / mean);
    }
    assert!((found.iter().sum::<f32>() / 10.0 - 1.0).abs() < 1e-6);
    let facts = fisher.facts();
    assert!((facts.normalisation - f64::from(mean)).abs() < 1e-6);
    assert_eq!((facts.n_sequences, facts.n_tasks, facts.labels), (3, 1, Labels::Sampled));
}

#[test]
fn the_largest_values_are_lowered_to_the_quantile() {
    let parameters = [parameter("w", &vec![0.0; 2000], &[2000])];
    let mut values_in = vec![1.0f32; 2000];
    values_in[..2].copy_from_slice(&[1e6, -1e6]);
    values_in[2] = 3.0;
    let mut gradients = Gradients::of(&parameters);
    gradients.set(&parameters[0].tensor, tensor(&values_in, &[2000]));
    let mut sum = Fisher::start(&parameters, Labels::Empirical);
    sum.add_sequence(&gradients).unwrap();
    let fisher = sum.finish().unwrap();
    let found = values(&fisher, "w");
    // 99.9 % of 2000 are 1998: the third largest.
    let mean = (3.0 * 9.0 + 1997.0) / 2000.0;
    for (index, expected) in [(0, 9.0), (1, 9.0), (2, 9.0), (3, 1.0)] {
        assert!((found[index] - expected / mean).abs() < 1e-5);
    }
    assert!((fisher.facts().largest - f64::from(9.0 / mean)).abs() < 1e-5);
}

#[test]
fn a_sequence_that_is_not_finite_is_left_out() {
    let parameters = two();
    let mut sum = Fisher::start(&parameters, Labels::Sampled);
    let mut bad = gradients(&parameters, 0.0);
    bad.set(&parameters[1].tensor, tensor(&[0.0, f32::NAN, 0.0, 0.0], &[4]));
    assert!(!sum.add_sequence(&bad).unwrap());
    assert!(sum.add_sequence(&gradients(&parameters, 1.0)).unwrap());
    let with = sum.finish().unwrap();
    assert_eq!(with.facts().n_left_out, 1);
    assert_eq!(values(&with, "a"), values(&fisher(&parameters, &[1.0]), "a"));
    let error = Fisher::start(&parameters, Labels::Sampled).finish().unwrap_err();
    assert_eq!(error.code, "fisher_empty");
}

#[test]
fn tasks_accumulate_with_decay() {
    let parameters = two();
    let (old, new) = (fisher(&parameters, &[0.0]), fisher(&parameters, &[1.0, 2.0]));
    let both = new.clone().accumulated(&old, 0.5).unwrap();
    for ((both, old), new) in
        values(&both, "a").iter().zip(values(&old, "a")).zip(values(&new, "a"))
    {
        assert!((both - (0.5 * old + new)).abs() < 1e-6);
    }
    assert_eq!((both.facts().n_tasks, both.facts().n_sequences), (2, 3));
}

/// `λ/2 Σ F (θ - θ*)²` in f64, from its definition.
fn value_of(lambda: f64, fisher: &[f32], weights: &[f32], anchors: &[f32]) -> f64 {
    let terms = fisher.iter().zip(weights).zip(anchors);
    let term =
        |((f, w), a): ((&f32, &f32), &f32)| f64::from(*f) * (f64::from(*w) - f64::from(*a)).powi(2);
    0.5 * lambda * terms.map(term).sum::<f64>()
}

#[test]
fn the_gradient_is_that_of_the_penalty() {
    for dtype in [DType::F32, DType::BF16] {
        let mut parameters = two();
        for parameter in &mut parameters {
            parameter.tensor = parameter.tensor.to_dtype(dtype).unwrap();
        }
        let fisher = fisher(&parameters, &[0.3]);
        let anchors: Vec<Vec<f32>> =
            parameters.iter().map(|parameter| to_f32(&parameter.tensor).unwrap()).collect();
        let lambda = 0.7;
        let penalty = Penalty::ewc(&fisher, &parameters, lambda).unwrap();
        let l2 = Penalty::l2_sp(&parameters, lambda).unwrap();
        for parameter in &parameters {
            let moved = wave(parameter.tensor.elem_count(), 5.0);
            let moved = tensor(&moved, parameter.tensor.dims()).to_dtype(dtype).unwrap();
            parameter.tensor.slice_set(&moved, 0, 0).unwrap();
        }
        for (penalty, ones) in [(&penalty, false), (&l2, true)] {
            check_gradient(penalty, &parameters, &anchors, lambda, |name| {
                let fisher = values(&fisher, name);
                if ones { vec![1.0; fisher.len()] } else { fisher }
            });
        }
    }
}

fn check_gradient(
    penalty: &Penalty,
    parameters: &[Parameter],
    anchors: &[Vec<f32>],
    lambda: f64,
    fisher: impl Fn(&str) -> Vec<f32>,
) {
    let mut gradients = gradients(parameters, 2.0);
    let pull = penalty.add_gradients(parameters, &mut gradients).unwrap();
    let (mut value, mut squares) = (0.0, 0.0);
    for (parameter, anchors) in parameters.iter().zip(anchors) {
        let weights = to_f32(&parameter.tensor).unwrap();
        let fisher = fisher(&parameter.name);
        value += value_of(lambda, &fisher, &weights, anchors);
        let sums = to_f32(gradients.get(&parameter.tensor).unwrap()).unwrap();
        for index in 0..weights.len() {
            let at = |step: f32| {
                let mut weights = weights.clone();
                weights[index] += step;
                value_of(lambda, &fisher, &weights, anchors)
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            let added = f64::from(sums[index]) - f64::from(wave(weights.len(), 2.0)[index]);
            assert!((added - slope).abs() < 1e-4, "{added} for {slope}");
            squares += slope.powi(2);
        }
    }
    assert!((pull.penalty - value).abs() < 1e-5 * value);
    assert!((pull.gradient_norm - squares.sqrt()).abs() < 1e-4);
    let [penalty, over_task, ratio] = pull.metrics(2.0).map(|(_, value)| value);
    assert_eq!((penalty, over_task), (pull.penalty, pull.penalty / 2.0));
    assert!((ratio - squares.sqrt() / pull.task_gradient_norm).abs() < 1e-4);
    assert_eq!(pull.metrics(0.0)[1], ("ewc/penalty_over_task", 0.0));
}

#[test]
fn a_penalty_pulls_back_and_is_nothing_at_its_anchor() {
    let parameters = two();
    let fisher = fisher(&parameters, &[0.3]);
    let penalty = Penalty::ewc(&fisher, &parameters, 1.0).unwrap();
    let mut gradients = Gradients::of(&parameters);
    let pull = penalty.add_gradients(&parameters, &mut gradients).unwrap();
    assert_eq!((pull.penalty, pull.gradient_norm), (0.0, 0.0));
    assert_eq!(Penalty::l2_sp(&parameters, -1.0).unwrap_err().code, "ewc_lambda");
    let others = [parameter("c", &[1.0], &[1])];
    assert_eq!(Penalty::ewc(&fisher, &others, 1.0).unwrap_err().code, "fisher_weights");
    let others = [parameter("a", &[1.0], &[1])];
    assert_eq!(Penalty::ewc(&fisher, &others, 1.0).unwrap_err().code, "fisher_weights");
}

const OUT: usize = 4;
const IN: usize = 5;
const RANK: usize = 2;

/// `λ/2 Σ F (s·B·A - ΔW*)²` in f64, index by index.
fn lora_value(
    lambda: f64,
    scale: f64,
    fisher: &[f32],
    a: &[f32],
    b: &[f32],
    anchor: &[f32],
) -> f64 {
    let mut sum = 0.0;
    for row in 0..OUT {
        for column in 0..IN {
            let product: f64 = (0..RANK)
                .map(|k| f64::from(b[row * RANK + k]) * f64::from(a[k * IN + column]))
                .sum();
            let cell = row * IN + column;
            let change = scale * product - f64::from(anchor[cell]);
            sum += f64::from(fisher[cell]) * change.powi(2);
        }
    }
    0.5 * lambda * sum
}

#[test]
fn the_lora_gradients_are_those_of_the_penalty_on_the_whole_change() {
    let (lambda, scale) = (0.8, 2.0);
    for anchored in [false, true] {
        let a = parameter("a", &wave(RANK * IN, 0.4), &[RANK, IN]);
        let b = parameter("b", &wave(OUT * RANK, 1.4), &[OUT, RANK]);
        let fisher: Vec<f32> = wave(OUT * IN, 2.0).iter().map(|value| value * value).collect();
        let anchor = if anchored { wave(OUT * IN, 3.0) } else { vec![0.0; OUT * IN] };
        let term = LoraTerm {
            fisher: tensor(&fisher, &[OUT, IN]),
            a: a.tensor.clone(),
            b: b.tensor.clone(),
            scale,
            anchor: anchored.then(|| tensor(&anchor, &[OUT, IN])),
        };
        let penalty = LoraPenalty::new(lambda, vec![term]).unwrap();
        let parameters = [a, b];
        let mut gradients = Gradients::of(&parameters);
        let pull = penalty.add_gradients(&parameters, &mut gradients).unwrap();
        let weights: Vec<Vec<f32>> =
            parameters.iter().map(|parameter| to_f32(&parameter.tensor).unwrap()).collect();
        let value = |weights: &[Vec<f32>]| {
            lora_value(lambda, scale, &fisher, &weights[0], &weights[1], &anchor)
        };
        assert!((pull.penalty - value(&weights)).abs() < 1e-5);
        let mut squares = 0.0;
        for (which, parameter) in parameters.iter().enumerate() {
            let found = to_f32(gradients.get(&parameter.tensor).unwrap()).unwrap();
            for (index, found) in found.iter().enumerate() {
                let at = |step: f32| {
                    let mut weights = weights.clone();
                    weights[which][index] += step;
                    value(&weights)
                };
                let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((f64::from(*found) - slope).abs() < 1e-3, "{found} for {slope}");
                squares += slope.powi(2);
            }
        }
        assert!((pull.gradient_norm - squares.sqrt()).abs() < 1e-3);
        assert_eq!(pull.task_gradient_norm, 0.0);
    }
}

#[test]
fn an_adapter_of_another_linear_is_refused() {
    let term = LoraTerm {
        fisher: tensor(&[1.0; 6], &[2, 3]),
        a: tensor(&[1.0; 4], &[2, 2]),
        b: tensor(&[1.0; 4], &[2, 2]),
        scale: 1.0,
        anchor: None,
    };
    assert_eq!(LoraPenalty::new(1.0, vec![term]).unwrap_err().code, "fisher_weights");
}

#[test]
fn a_file_gives_back_the_fisher_and_refuses_other_weights() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fisher.safetensors");
    let parameters = two();
    let saved = fisher(&parameters, &[0.3, 0.4]);
    saved.save(&path).unwrap();
    let mut more = two();
    more.push(parameter("c", &[1.0], &[1]));
    let loaded = Fisher::load(&path, &more).unwrap();
    assert_eq!(loaded.facts().weights_sha256, saved.facts().weights_sha256);
    assert_eq!(loaded.facts().n_sequences, 2);
    assert_eq!(values(&loaded, "a"), values(&saved, "a"));
    assert_eq!(values(&loaded, "b"), values(&saved, "b"));
    let refuse = |parameters: &[Parameter], why: &str| {
        let error = Fisher::load(&path, parameters).unwrap_err();
        assert_eq!(error.code, "fisher_weights");
        assert!(error.message.contains(why), "{error}");
    };
    refuse(&parameters[..1], "knows b");
    let reshaped = [parameter("a", &wave(6, 0.1), &[3, 2]), parameters[1].clone()];
    refuse(&reshaped, "shape [2, 3], not [3, 2]");
    let mut changed = two();
    changed[1] = parameter("b", &wave(4, 0.200001), &[4]);
    refuse(&changed, "sha256");
    fs_err::write(&path, b"{}").unwrap();
    assert_eq!(Fisher::load(&path, &parameters).unwrap_err().code, "fisher_file");
}

#[test]
fn a_digest_follows_names_shapes_and_values_but_not_order_or_type() {
    let digest = |parameters: &[Parameter]| weights_digest(parameters).unwrap();
    let parameters = two();
    let mut turned = two();
    turned.reverse();
    assert_eq!(digest(&parameters), digest(&turned));
    let mut renamed = two();
    renamed[0].name = "x".to_owned();
    assert_ne!(digest(&parameters), digest(&renamed));
    let half = parameters[0].tensor.to_dtype(DType::BF16).unwrap();
    let whole = half.to_dtype(DType::F32).unwrap();
    let of = |tensor| [Parameter { name: "a".to_owned(), tensor, decays: true }];
    assert_eq!(digest(&of(half)), digest(&of(whole)));
}
