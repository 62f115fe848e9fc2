//! Ten optimiser steps of the tiny models against transformers and torch
//! (`tests/parity/make_training.py`): every loss, every norm, every weight.

use std::path::Path;

use candle_core::Device;
use serde::Deserialize;

use super::objective::{Objective, Turn};
use super::optimizer::{AdamW, AdamWSettings, global_norm};
use super::policy::Policy;
use super::sequence::Sequence;
use super::sft::{Sft, SftRow};
use crate::model::qwen::Gradients;
use crate::model::{ModelFolder, tensor_file};

const FIRST: Turn = Turn { batch: 0, pattern: 0 };
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures");

#[derive(Deserialize)]
struct Reference {
    learning_rate: f64,
    weight_decay: f64,
    epsilon: f64,
    max_grad_norm: f64,
    models: std::collections::BTreeMap<String, Steps>,
}

#[derive(Deserialize)]
struct Steps {
    batches: Vec<Vec<Row>>,
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
}

#[derive(Deserialize)]
struct Row {
    prompt: Vec<u32>,
    answer: Vec<u32>,
}

fn objective(rows: &[Row]) -> Sft {
    let train = rows
        .iter()
        .map(|row| SftRow {
            sequence: Sequence::joined(&row.prompt, &row.answer, 64).0,
            source: super::data::RowSource { file: "rows".into(), line: 1 },
        })
        .collect();
    // Two passes a step: the sum must be that of one padded batch.
    Sft {
        train,
        validation: Vec::new(),
        micro_batch_tokens: 30,
        n_generated: 0,
        stop_tokens: vec![],
    }
}

#[test]
fn ten_steps_equal_those_of_torch_in_every_weight() {
    let text = fs_err::read_to_string(format!("{FIXTURES}/training.json")).unwrap();
    let reference: Reference = serde_json::from_str(&text).unwrap();
    for (name, steps) in &reference.models {
        let folder = ModelFolder::open(&Path::new(FIXTURES).join(name)).unwrap();
        for checkpointing in [false, true] {
            let model = folder.load_qwen(&Device::Cpu).unwrap();
            let policy = Policy::new(model, None, checkpointing, 1).unwrap();
            let Reference { weight_decay, epsilon, .. } = reference;
            let mut optimizer =
                AdamW::new(AdamWSettings { weight_decay, epsilon, ..Default::default() });
            for (step, rows) in steps.batches.iter().enumerate() {
                let mut gradients = Gradients::of(&policy.trained);
                let rows_of_step: Vec<usize> = (0..rows.len()).collect();
                let report =
                    objective(rows).step(&policy, &rows_of_step, FIRST, &mut gradients).unwrap();
                policy.check_reached(&gradients).unwrap();
                let norm = global_norm(&gradients, &policy.trained).unwrap();
                assert!((report.loss - steps.losses[step]).abs() < 1e-4, "{name} {step}");
                let expected = steps.gradient_norms[step];
                assert!((norm.value - expected).abs() < 1e-3 * expected, "{name} {step}");
                let scale = norm.clip_scale(reference.max_grad_norm);
                optimizer
                    .step_scaled(&policy.trained, &gradients, reference.learning_rate, scale)
                    .unwrap();
            }
            let path = format!("{FIXTURES}/training-{name}.safetensors");
            let expected = tensor_file::load_cpu(Path::new(&path)).unwrap();
            assert_eq!(expected.len(), policy.trained.len());
            for parameter in &policy.trained {
                let with_prefix = format!("model.{}", parameter.name);
                let own = expected.get(&parameter.name).or(expected.get(&with_prefix)).unwrap();
                let gap = (own - &parameter.tensor).unwrap().abs().unwrap().max_all().unwrap();
                let gap = gap.to_scalar::<f32>().unwrap();
                assert!(gap < 1e-4, "{name}: {} differs by {gap}", parameter.name);
            }
        }
    }
}
