use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::*;
use crate::train::numbers::{CHUNK, to_f32};

#[derive(Deserialize)]
struct Reference {
    adamw: Golden,
}

#[derive(Deserialize)]
struct Golden {
    shapes: HashMap<String, Vec<usize>>,
    decaying: Vec<String>,
    weight_decay: f64,
    max_norm: f64,
    initial: HashMap<String, Vec<f32>>,
    steps: Vec<GoldenStep>,
    state: HashMap<String, GoldenState>,
}

#[derive(Deserialize)]
struct GoldenStep {
    gradients: HashMap<String, Vec<f32>>,
    learning_rate: f64,
    norm: f64,
    weights: HashMap<String, Vec<f32>>,
}

#[derive(Deserialize)]
struct GoldenState {
    exp_avg: Vec<f32>,
    exp_avg_sq: Vec<f32>,
    step: i64,
}

fn golden() -> Golden {
    let text = include_str!("../../../tests/parity/fixtures/optimizer.json");
    serde_json::from_str::<Reference>(text).unwrap().adamw
}

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn parameter(name: &str, tensor: Tensor, decays: bool) -> Parameter {
    Parameter { name: name.to_owned(), tensor, decays }
}

/// Values without pattern, the same in every run.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn noisy(parameters: &[Parameter], seed: u64) -> Gradients {
    let mut gradients = Gradients::of(parameters);
    for (index, parameter) in parameters.iter().enumerate() {
        let values = noise(parameter.tensor.elem_count(), seed * 31 + index as u64);
        gradients.add(&parameter.tensor, tensor(&values, parameter.tensor.dims())).unwrap();
    }
    gradients
}

fn optimizer(composed: bool) -> AdamW {
    let settings = AdamWSettings { weight_decay: 0.1, ..AdamWSettings::default() };
    AdamW { composed, ..AdamW::new(settings) }
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

fn golden_parameters(golden: &Golden) -> Vec<Parameter> {
    let mut names: Vec<_> = golden.shapes.keys().collect();
    names.sort();
    let of = |name: &String| {
        let weight = tensor(&golden.initial[name], &golden.shapes[name]);
        parameter(name, weight, golden.decaying.contains(name))
    };
    names.into_iter().map(of).collect()
}

fn check_golden(composed: bool) {
    let golden = golden();
    let parameters = golden_parameters(&golden);
    let mut optimizer = optimizer(composed);
    assert_eq!(optimizer.settings().weight_decay, golden.weight_decay);
    for step in &golden.steps {
        let mut gradients = Gradients::of(&parameters);
        for parameter in &parameters {
            if let Some(values) = step.gradients.get(&parameter.name) {
                gradients.set(&parameter.tensor, tensor(values, parameter.tensor.dims()));
            }
        }
        let norm = global_norm(&gradients, &parameters).unwrap();
        assert!(norm.finite && (norm.value - step.norm).abs() < 1e-6 * step.norm.max(1.0));
        let scale = norm.clip_scale(golden.max_norm);
        optimizer.step_scaled(&parameters, &gradients, step.learning_rate, scale).unwrap();
        for parameter in &parameters {
            let weight = to_f32(&parameter.tensor).unwrap();
            let difference = largest_difference(&weight, &step.weights[&parameter.name]);
            assert!(difference < 1e-6, "{} differs by {difference}", parameter.name);
        }
    }
    let saved: HashMap<_, _> = optimizer.save().unwrap().into_iter().collect();
    for (name, state) in &golden.state {
        let part = |part: &str| to_f32(&saved[&format!("{part}.{name}")]).unwrap();
        assert!(largest_difference(&part("exp_avg"), &state.exp_avg) < 1e-6);
        assert!(largest_difference(&part("exp_avg_sq"), &state.exp_avg_sq) < 1e-6);
        assert_eq!(saved[&format!("step.{name}")].to_vec1::<i64>().unwrap(), [state.step]);
    }
}

#[test]
fn ten_steps_are_those_of_torch() {
    check_golden(false);
}

#[test]
fn ten_composed_steps_are_those_of_torch() {
    check_golden(true);
}

/// Weights of several chunks, in each type.
fn large(dtype: DType) -> Vec<Parameter> {
    let shapes: [&[usize]; 3] = [&[CHUNK + 5, 3], &[17], &[]];
    let of = |(index, shape): (usize, &&[usize])| {
        let n = shape.iter().product();
        let weight = tensor(&noise(n, 900 + index as u64), shape).to_dtype(dtype).unwrap();
        parameter(&format!("layers.{index}.weight"), weight, index == 0)
    };
    shapes.iter().enumerate().map(of).collect()
}

#[test]
fn the_fused_step_is_the_composed_one() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let (fused, composed) = (large(dtype), large(dtype));
        let mut optimizers = [optimizer(false), optimizer(true)];
        for seed in 0..5 {
            let (left, right) = (noisy(&fused, seed), noisy(&composed, seed));
            optimizers[0].step_scaled(&fused, &left, 1e-2, 0.5).unwrap();
            optimizers[1].step_scaled(&composed, &right, 1e-2, 0.5).unwrap();
        }
        for (left, right) in fused.iter().zip(&composed) {
            assert_eq!(left.tensor.dtype(), dtype);
            let values = [to_f32(&left.tensor).unwrap(), to_f32(&right.tensor).unwrap()];
            // One unit in the last place of f16 or bf16 where the masters straddle a boundary.
            let tolerance = if dtype == DType::F32 { 1e-6 } else { 8e-3 };
            assert!(largest_difference(&values[0], &values[1]) <= tolerance);
        }
    }
}

#[test]
fn a_step_is_seen_by_all_that_share_the_weight() {
    for composed in [false, true] {
        let weight = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]);
        let row = weight.narrow(0, 1, 2).unwrap();
        let parameters = [parameter("row", row, false)];
        let gradients = noisy(&parameters, 3);
        optimizer(composed).step(&parameters, &gradients, 0.1).unwrap();
        let after = to_f32(&weight).unwrap();
        assert_eq!(after[..2], [1.0, 2.0]);
        // The first step of AdamW moves every weight by the learning rate.
        for (after, before) in after[2..].iter().zip([3.0f32, 4.0, 5.0, 6.0]) {
            assert!(((after - before).abs() - 0.1).abs() < 1e-5, "{before} became {after}");
        }
    }
}

#[test]
fn small_steps_add_up_in_the_master_of_a_bf16_weight() {
    for composed in [false, true] {
        let weight = tensor(&[1.0], &[1]).to_dtype(DType::BF16).unwrap();
        let parameters = [parameter("w", weight.clone(), false)];
        let mut optimizer = optimizer(composed);
        for _ in 0..10 {
            let mut gradients = Gradients::of(&parameters);
            gradients.add(&weight, tensor(&[-1.0], &[1])).unwrap();
            optimizer.step(&parameters, &gradients, 1e-3).unwrap();
        }
        // bf16 has steps of 1/128 above 1: a single 0.001 would be lost each time.
        assert_eq!(to_f32(&weight).unwrap(), [1.0078125]);
    }
}

#[test]
fn a_resumed_optimiser_takes_the_same_steps() {
    for (dtype, composed) in [(DType::F32, false), (DType::BF16, false), (DType::F16, true)] {
        let (through, resumed) = (large(dtype), large(dtype));
        let run = |optimizer: &mut AdamW, parameters: &[Parameter], seeds: std::ops::Range<u64>| {
            for seed in seeds {
                optimizer.step(parameters, &noisy(parameters, seed), 1e-2).unwrap();
            }
        };
        let mut whole = optimizer(composed);
        run(&mut whole, &through, 0..7);
        let mut first = optimizer(composed);
        run(&mut first, &resumed, 0..3);
        let saved: HashMap<_, _> = first.save().unwrap().into_iter().collect();
        assert_eq!(saved.len(), if dtype == DType::F32 { 9 } else { 12 });
        // What is saved must not change with the steps that follow.
        run(&mut first, &large(dtype), 3..5);
        let mut second = optimizer(composed);
        second.restore(&resumed, &saved).unwrap();
        run(&mut second, &resumed, 3..7);
        for (left, right) in through.iter().zip(&resumed) {
            assert_eq!(to_f32(&left.tensor).unwrap(), to_f32(&right.tensor).unwrap());
        }
        let (left, right) = (whole.save().unwrap(), second.save().unwrap());
        for ((left_name, left), (right_name, right)) in left.iter().zip(&right) {
            assert_eq!(left_name, right_name);
            assert_eq!(to_f32(left).unwrap(), to_f32(right).unwrap());
        }
    }
}

#[test]
fn state_of_other_weights_is_refused() {
    let parameters = large(DType::F32);
    let mut source = optimizer(false);
    source.step(&parameters, &noisy(&parameters, 1), 1e-2).unwrap();
    let saved: HashMap<_, _> = source.save().unwrap().into_iter().collect();
    let refuse = |parameters: &[Parameter], saved: &HashMap<String, Tensor>, name: &str| {
        let error = optimizer(false).restore(parameters, saved).unwrap_err();
        assert_eq!(error.code, "optimizer_state");
        assert!(error.message.contains(name), "{error}");
    };
    refuse(&parameters[..2], &saved, "layers.2.weight");
    let mut missing = saved.clone();
    missing.remove("exp_avg_sq.layers.1.weight");
    refuse(&parameters, &missing, "exp_avg_sq.layers.1.weight");
    let mut other = parameters.clone();
    other[1].tensor = tensor(&noise(18, 1), &[18]);
    refuse(&other, &saved, "[18]");
}

#[test]
fn a_parameter_without_gradient_stays_and_is_reported_once() {
    let parameters = large(DType::F32);
    let before = to_f32(&parameters[1].tensor).unwrap();
    let mut gradients = Gradients::of(&parameters);
    gradients.add(&parameters[0].tensor, parameters[0].tensor.copy().unwrap()).unwrap();
    let mut optimizer = optimizer(false);
    optimizer.step(&parameters, &gradients, 1e-2).unwrap();
    assert_eq!(optimizer.take_without_gradient(), ["layers.1.weight", "layers.2.weight"]);
    optimizer.step(&parameters, &gradients, 1e-2).unwrap();
    assert!(optimizer.take_without_gradient().is_empty());
    assert_eq!(to_f32(&parameters[1].tensor).unwrap(), before);
    assert_eq!(optimizer.save().unwrap().len(), 3);
}

#[test]
fn a_step_that_is_not_finite_is_refused_and_changes_nothing() {
    let parameters = large(DType::F32);
    let before = to_f32(&parameters[0].tensor).unwrap();
    let gradients = noisy(&parameters, 1);
    let mut optimizer = optimizer(false);
    assert!(optimizer.step(&parameters, &gradients, f64::NAN).is_err());
    let norm = Norm { value: f64::NAN, finite: false, first_bad: None };
    assert!(optimizer.step_scaled(&parameters, &gradients, 1e-3, norm.clip_scale(1.0)).is_err());
    assert_eq!(to_f32(&parameters[0].tensor).unwrap(), before);
}

#[test]
fn the_norm_is_exact_and_names_what_is_not_finite() {
    let parameters = large(DType::F32);
    let mut gradients = noisy(&parameters, 5);
    let all: Vec<f32> = parameters
        .iter()
        .flat_map(|parameter| to_f32(gradients.get(&parameter.tensor).unwrap()).unwrap())
        .collect();
    let expected = all.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let norm = global_norm(&gradients, &parameters).unwrap();
    assert!((norm.value - expected).abs() < 1e-9 * expected);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = noise(17, 1);
        values[16] = bad;
        gradients.set(&parameters[1].tensor, tensor(&values, &[17]));
        let norm = global_norm(&gradients, &parameters).unwrap();
        assert!(!norm.finite);
        assert_eq!(norm.first_bad.as_deref(), Some("layers.1.weight"));
        assert!(clip(&mut gradients, &parameters, 1.0).is_err());
    }
}

#[test]
fn the_norm_does_not_depend_on_the_number_of_threads() {
    let parameters = large(DType::F32);
    let gradients = noisy(&parameters, 6);
    let on = |n_threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| global_norm(&gradients, &parameters).unwrap().value)
    };
    assert_eq!(on(1).to_bits(), on(3).to_bits());
}

#[test]
fn clipping_leaves_small_gradients_and_shortens_large_ones() {
    let parameters = large(DType::F32);
    let mut gradients = noisy(&parameters, 7);
    let before = clip(&mut gradients, &parameters, 1e9).unwrap();
    assert_eq!(before, global_norm(&gradients, &parameters).unwrap());
    assert_eq!(before.clip_scale(0.0), 1.0);
    clip(&mut gradients, &parameters, 2.0).unwrap();
    let after = global_norm(&gradients, &parameters).unwrap();
    assert!((after.value - 2.0).abs() < 1e-4, "{after:?}");
}
