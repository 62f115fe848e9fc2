//! The whole model backwards: every weight's gradient against finite differences, adapters, and
//! the equality of what is recorded with what is served.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::*;

/// Random weights of any name; norms around 1.
struct Random;

impl Weights for Random {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let mean = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        Ok(Tensor::randn(mean, 0.3f32, shape, &Device::Cpu)?)
    }

    fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        Ok(Matrix::Dense(self.tensor(name, &[n_out, n_in])?))
    }
}

fn model(family: Family, tied_head: bool) -> Qwen {
    let config = QwenConfig {
        family,
        vocab_size: 50,
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        attention_bias: family == Family::Qwen2,
        tied_head,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        yarn: None,
        window: 64,
    };
    Qwen::load(config, &mut Random, &Device::Cpu).unwrap()
}

const TOKENS: [u32; 11] = [1, 7, 3, 9, 9, 2, 40, 41, 42, 43, 1];
const LENGTHS: [usize; 2] = [5, 6];
const TARGETS: [u32; 11] = [7, 3, 9, 9, 2, 40, 41, 42, 43, 1, 5];

/// Mean log-probability of the targets.
fn loss(model: &Qwen) -> f64 {
    let hidden = model.record(&TOKENS, &LENGTHS, false).unwrap().hidden;
    let scores = model.score(&hidden, &TARGETS, &ScoreOptions::default()).unwrap();
    scores.log_probs.iter().map(|value| f64::from(*value)).sum::<f64>() / 11.0
}

fn gradients(model: &Qwen, parameters: &[Parameter], checkpointing: bool) -> Gradients {
    let mut gradients = Gradients::of(parameters);
    let recording = model.record(&TOKENS, &LENGTHS, checkpointing).unwrap();
    let seeds = ScoreSeeds { log_probs: &[1.0 / 11.0; 11], entropies: None };
    let options = ScoreOptions::default();
    let (_, d) = model
        .score_with_gradient(&recording.hidden, &TARGETS, &options, seeds, &mut gradients)
        .unwrap();
    model.backward(recording, &d, &mut gradients).unwrap();
    gradients
}

fn sum_of_squares(x: &Tensor) -> f64 {
    x.sqr().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// Holds each weight's gradient to the loss's change along it, by moving the weight in place.
fn assert_gradients(model: &Qwen, parameters: &[Parameter]) {
    let gradients = gradients(model, parameters, false);
    for Parameter { name, tensor, .. } in parameters {
        let gradient = gradients.get(tensor).unwrap_or_else(|| panic!("{name} has no gradient"));
        let length = sum_of_squares(gradient).sqrt();
        assert!(length.is_finite() && length > 0.0, "{name}: {length}");
        let step = 1e-2;
        let moved = |by: f64| {
            let mut weight = tensor.clone();
            ops::add_in_place(&mut weight, &(gradient * (by / length)).unwrap()).unwrap();
            let loss = loss(model);
            ops::add_in_place(&mut weight, &(gradient * (-by / length)).unwrap()).unwrap();
            loss
        };
        let expected = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((expected - length).abs() < 0.02 * length + 2e-4, "{name}: {length}, {expected}");
    }
}

#[test]
fn every_weight_of_qwen2_has_its_gradient() {
    let model = model(Family::Qwen2, true);
    let parameters = model.parameters().unwrap();
    assert_eq!(parameters.len(), 1 + 2 * 12 + 1);
    assert_gradients(&model, &parameters);
}

#[test]
fn every_weight_of_qwen3_has_its_gradient() {
    let model = model(Family::Qwen3, false);
    let parameters = model.parameters().unwrap();
    assert_eq!(parameters.len(), 1 + 2 * 11 + 2);
    assert_gradients(&model, &parameters);
}

#[test]
fn what_is_recorded_is_what_is_served() {
    let model = model(Family::Qwen3, true);
    let recorded = model.record(&TOKENS, &LENGTHS, true).unwrap().hidden;
    let mut segments = LENGTHS.map(|n_tokens| Segment { n_tokens, cache: None });
    let served = model.forward(&TOKENS, &mut segments).unwrap();
    assert!(sum_of_squares(&(recorded - served).unwrap()) < 1e-9);
}

#[test]
fn laid_out_by_columns_a_model_is_the_same() {
    for (family, tied) in [(Family::Qwen2, false), (Family::Qwen3, true)] {
        let model = model(family, tied);
        let scores = |model: &Qwen| {
            let segments = &mut LENGTHS.map(|n_tokens| Segment { n_tokens, cache: None });
            let hidden = model.forward(&TOKENS, segments).unwrap();
            model.logits(&hidden).unwrap()
        };
        let before = scores(&model);
        let model = model.with_blocks_by_columns().unwrap().with_head_by_columns().unwrap();
        let Matrix::Dense(head) = &model.head else { panic!("the head is not plain") };
        assert_eq!(head.stride(), [1, 50]);
        let apart = (before - scores(&model)).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-5, "{apart}");
    }
}

#[test]
fn a_row_after_a_shared_start_is_the_row_alone_and_may_be_cut_within_the_start() {
    let model = model(Family::Qwen3, true);
    let tokens = &TOKENS[..7];
    let feed = |cache: &mut RowCache, tokens: &[u32]| {
        let segment = Segment { n_tokens: tokens.len(), cache: Some(cache) };
        model.forward(tokens, &mut [segment]).unwrap()
    };
    let whole = feed(&mut model.new_cache(7).unwrap(), tokens);
    let mut start = model.new_cache(1).unwrap();
    feed(&mut start, &tokens[..4]);
    let shared = start.into_shared().unwrap();
    let same_end = |found: Tensor| {
        let n = found.dim(0).unwrap();
        let expected = whole.narrow(0, 7 - n, n).unwrap();
        assert!(sum_of_squares(&(expected - found).unwrap()) < 1e-9);
    };
    let mut row = shared.row(1).unwrap();
    same_end(feed(&mut row, &tokens[4..]));
    // Other tokens from within the shared start on must change it for nobody else.
    row.truncate(2);
    feed(&mut row, &[1, 1, 1]);
    row.truncate(2);
    same_end(feed(&mut row, &tokens[2..]));
    let mut after = shared.row(9).unwrap();
    feed(&mut after, &tokens[4..5]);
    same_end(feed(&mut after.into_shared().unwrap().row(2).unwrap(), &tokens[5..]));
}

#[test]
fn checkpointing_changes_no_gradient() {
    let model = model(Family::Qwen3, true);
    let parameters = model.parameters().unwrap();
    let all = |checkpointing| -> BTreeMap<String, Vec<f32>> {
        let gradients = gradients(&model, &parameters, checkpointing);
        let values = |tensor| gradients.get(tensor).unwrap().flatten_all().unwrap();
        parameters.iter().map(|p| (p.name.clone(), values(&p.tensor).to_vec1().unwrap())).collect()
    };
    assert_eq!(all(false), all(true));
}

#[test]
fn frozen_weights_get_no_gradient() {
    let model = model(Family::Qwen3, true);
    let parameters = model.parameters().unwrap();
    let (trained, frozen) = parameters.split_at(3);
    let gradients = gradients(&model, trained, false);
    assert!(trained.iter().all(|parameter| gradients.get(&parameter.tensor).is_some()));
    assert!(frozen.iter().all(|parameter| gradients.get(&parameter.tensor).is_none()));
}

fn set_randomly(parameters: &[Parameter]) {
    for parameter in parameters {
        let mut tensor = parameter.tensor.clone();
        let noise = Tensor::randn(0f32, 0.3, tensor.shape(), &Device::Cpu).unwrap();
        ops::add_in_place(&mut tensor, &noise).unwrap();
    }
}

#[test]
fn adapters_start_as_nothing_learn_and_can_be_switched_off() {
    for rank_stabilised in [false, true] {
        let mut model = model(Family::Qwen3, true);
        let before = loss(&model);
        let options =
            AdapterOptions { rank: 3, alpha: 2.0, rank_stabilised, ..AdapterOptions::default() };
        let switch = model.attach_adapters(&options, 7).unwrap();
        assert_eq!(loss(&model), before);
        let parameters = model.adapter_parameters();
        assert_eq!(parameters.len(), 2 * 7 * 2);
        set_randomly(&parameters);
        assert_gradients(&model, &parameters);
        assert_ne!(loss(&model), before);
        switch.set(false);
        assert_eq!(loss(&model), before);
    }
}

#[test]
fn adapters_are_merged_and_taken_out_again_to_the_last_bit() {
    let mut model = model(Family::Qwen2, true);
    let targets = vec!["q_proj".to_owned(), "down_proj".to_owned()];
    let options = AdapterOptions { rank: 2, targets, ..AdapterOptions::default() };
    model.attach_adapters(&options, 7).unwrap();
    set_randomly(&model.adapter_parameters());
    assert_eq!(model.adapters().len(), 4);
    let adapted = loss(&model);
    model.set_merged(true).unwrap();
    model.set_merged(true).unwrap();
    assert!((loss(&model) - adapted).abs() < 1e-5);
    model.set_merged(false).unwrap();
    assert_eq!(loss(&model), adapted);
}

#[test]
fn dropout_has_one_pattern_a_number_and_none_for_zero() {
    let mut model = model(Family::Qwen3, true);
    let options = AdapterOptions { rank: 3, alpha: 2.0, dropout: 0.5, ..AdapterOptions::default() };
    let switch = model.attach_adapters(&options, 7).unwrap();
    set_randomly(&model.adapter_parameters());
    let whole = loss(&model);
    let with = |pattern| {
        switch.set_pattern(pattern);
        loss(&model)
    };
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    assert_ne!(with(1), whole);
    assert_eq!(with(0), whole);
    switch.set_pattern(3);
    assert_gradients(&model, &model.adapter_parameters());
}

#[test]
fn impossible_adapters_are_refused() {
    let mut model = model(Family::Qwen3, true);
    let targets = vec!["lm_head".to_owned()];
    for options in [
        AdapterOptions { rank: 0, ..AdapterOptions::default() },
        AdapterOptions { dropout: 1.0, ..AdapterOptions::default() },
        AdapterOptions { targets, ..AdapterOptions::default() },
    ] {
        assert_eq!(model.attach_adapters(&options, 1).unwrap_err().code, "lora_options");
    }
}
