//! A real optimiser under the guard, with faults injected at each stage of a step.

use candle_core::{DType, Device, Tensor};

use super::{FACTS, start};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::guard::*;
use crate::train::numbers::to_f32;
use crate::train::optimizer::{AdamW, AdamWSettings, global_norm};

/// Learns `w → 0` in three weights, and takes note of every decision.
struct ToyRun {
    parameters: Vec<Parameter>,
    optimizer: AdamW,
    guard: Guard,
    snapshot: Snapshot<u64>,
    step: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The loss of one micro-batch.
    Loss,
    /// A gradient, with a finite loss.
    Gradient,
    /// A gradient that is finite and far too large.
    Leap,
}

impl ToyRun {
    fn new() -> Self {
        let weight = Tensor::from_slice(&[1.0f32, -2.0, 3.0], 3, &Device::Cpu).unwrap();
        let parameters = vec![Parameter { name: "w".to_owned(), tensor: weight, decays: true }];
        let optimizer = AdamW::new(AdamWSettings::default());
        let snapshot = Snapshot::take(&parameters, &optimizer, 0).unwrap();
        let guard = Guard::new(GuardSettings::default(), FACTS, start());
        Self { parameters, optimizer, guard, snapshot, step: 0 }
    }

    fn weights(&self) -> Vec<f32> {
        to_f32(&self.parameters[0].tensor).unwrap()
    }

    fn batch(&mut self, batch: u64, fault: Fault) -> Verdict {
        let weight = self.parameters[0].tensor.clone();
        let mut gradients = Gradients::of(&self.parameters);
        let wave = 1.0 + 0.1 * (batch as f64).sin();
        let factor = match fault {
            Fault::Gradient => f64::NAN,
            Fault::Leap => 1e4,
            _ => wave,
        };
        gradients.add(&weight, (&weight * factor).unwrap()).unwrap();
        let squares: f32 = self.weights().iter().map(|value| value * value).sum();
        let loss = if fault == Fault::Loss { f64::NAN } else { f64::from(squares) * wave };
        let norm = global_norm(&gradients, &self.parameters).unwrap();
        let observation = Observation {
            step: self.step,
            batch,
            loss,
            gradient_norm: norm.value,
            loss_finite: loss.is_finite(),
            gradients_finite: norm.finite,
            bad_gradient: norm.first_bad.as_deref(),
            learning_rate: 1e-3,
            rows: &[],
        };
        let verdict = self.guard.observe(&observation);
        match &verdict {
            Verdict::Step => {
                let rate = 1e-3 * self.guard.slowdown().factor();
                let scale = norm.clip_scale(1.0);
                let optimizer = &mut self.optimizer;
                optimizer.step_scaled(&self.parameters, &gradients, rate, scale).unwrap();
                self.step += 1;
            }
            Verdict::RollBack { .. } => {
                self.step = *self.snapshot.restore(&self.parameters, &mut self.optimizer).unwrap();
            }
            _ => {}
        }
        verdict
    }

    fn take_snapshot(&mut self, next_batch: u64) {
        self.snapshot = Snapshot::take(&self.parameters, &self.optimizer, self.step).unwrap();
        self.guard.snapshot_taken(Point { step: self.step, batch: next_batch });
    }

    fn state(&self) -> Vec<Vec<u32>> {
        let saved = self.optimizer.save().unwrap();
        let moments = saved.iter().map(|(_, tensor)| to_f32(tensor).unwrap());
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        moments.chain([self.weights()]).map(bits).collect()
    }
}

#[test]
fn a_fault_at_any_stage_leaves_the_run_as_if_the_batch_had_not_come() {
    for fault in [Fault::Loss, Fault::Gradient, Fault::Leap] {
        let (mut hit, mut spared) = (ToyRun::new(), ToyRun::new());
        for batch in 0..80 {
            let is_hit = batch == 70;
            let verdict = hit.batch(batch, if is_hit { fault } else { Fault::None });
            assert_eq!(verdict == Verdict::Step, !is_hit, "{batch}: {verdict:?}");
            if !is_hit {
                spared.batch(batch, Fault::None);
            }
        }
        assert_eq!(hit.state(), spared.state());
        assert!(hit.weights().iter().all(|weight| weight.is_finite()));
    }
}

#[test]
fn a_rollback_restores_weights_and_moments_bit_for_bit() {
    let mut run = ToyRun::new();
    for batch in 0..70 {
        run.batch(batch, Fault::None);
    }
    run.take_snapshot(70);
    let before = run.state();
    for batch in 70..74 {
        run.batch(batch, Fault::None);
    }
    assert_ne!(run.state(), before);
    for batch in 74..76 {
        assert!(matches!(run.batch(batch, Fault::Gradient), Verdict::Skip { .. }));
    }
    let verdict = run.batch(76, Fault::Loss);
    assert!(matches!(verdict, Verdict::RollBack { ref skip, .. } if *skip == (70..77)));
    assert_eq!((run.state(), run.step), (before, 70));
    assert_eq!(run.batch(77, Fault::None), Verdict::Step);
}

#[test]
fn a_weight_that_is_spoilt_by_other_means_is_found_before_a_snapshot() {
    let run = ToyRun::new();
    let spoilt = Tensor::from_slice(&[1.0f32, f32::NAN, 3.0], 3, &Device::Cpu).unwrap();
    run.parameters[0].tensor.slice_set(&spoilt, 0, 0).unwrap();
    let error = Snapshot::take(&run.parameters, &run.optimizer, 0u64).unwrap_err();
    assert_eq!(error.code, "weights_not_finite");
    assert_eq!(all_finite(&run.parameters).unwrap().as_deref(), Some("w"));
}

#[test]
fn a_snapshot_does_not_follow_the_weights_and_fits_its_own_only() {
    let mut run = ToyRun::new();
    let before = run.weights();
    run.batch(0, Fault::None);
    assert_ne!(run.weights(), before);
    run.snapshot.restore(&run.parameters, &mut run.optimizer).unwrap();
    assert_eq!(run.weights(), before);
    let other = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let other = [Parameter { name: "other".to_owned(), tensor: other, decays: true }];
    assert!(run.snapshot.restore(&other, &mut run.optimizer).is_err());
}
