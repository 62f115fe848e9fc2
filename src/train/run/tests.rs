//! The loop on a tiny model: that it learns, that a killed run goes on to the same bits, what
//! injected faults do, and that what was learnt before is kept where it is held.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::model::ModelFolder;
use crate::model::qwen::AdapterOptions;
use crate::train::data::RowSource;
use crate::train::ewc::Labels;
use crate::train::options::RememberOptions;
use crate::train::preference::{
    JudgedRow, Judgements, KtoOptions, PairRow, Pairs, PreferenceOptions,
};
use crate::train::remember;
use crate::train::schedule::{Decay, WarmUp};
use crate::train::sequence::Sequence;
use crate::train::sft::{Sft, SftRow};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/qwen3-tiny");

fn model() -> crate::model::qwen::Qwen {
    ModelFolder::open(Path::new(MODEL)).unwrap().load_qwen(&Device::Cpu).unwrap()
}

fn policy(lora: Option<&AdapterOptions>) -> Policy {
    Policy::new(model(), lora, false, 1).unwrap()
}

fn source(line: usize) -> RowSource {
    RowSource { file: "rows.jsonl".into(), line }
}

/// Rows whose answer repeats a number of the prompt, moved by `shift`: something to learn.
fn sequences(shift: u32) -> Vec<Sequence> {
    (0..48)
        .map(|row| {
            let (a, b) = (row % 8, (row / 8) % 6);
            let answer = [100 + (a + shift) % 8, 120 + (b + shift) % 6, 309];
            Sequence { tokens: [&[308, 10 + a, 20 + b][..], &answer].concat(), n_prompt: 3 }
        })
        .collect()
}

fn sft(shift: u32) -> Sft {
    let rows = |sequences: Vec<Sequence>| -> Vec<SftRow> {
        let row = |(line, sequence)| SftRow { sequence, source: source(line + 1) };
        sequences.into_iter().enumerate().map(row).collect()
    };
    Sft {
        train: rows(sequences(shift)),
        validation: rows(sequences(shift)),
        micro_batch_tokens: 24,
        n_generated: 48,
        stop_tokens: vec![309],
    }
}

fn options(max_steps: u64) -> TrainOptions {
    TrainOptions {
        epochs: 100,
        max_steps: Some(max_steps),
        learning_rate: Some(2e-2),
        decay: Decay::Constant,
        warm_up: WarmUp::Steps(0),
        batch_rows: 12,
        save_steps: 10,
        log_steps: 5,
        ..TrainOptions::default()
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

fn settings<'a>(dir: &'a Path, options: &'a TrainOptions) -> RunSettings<'a> {
    RunSettings {
        method: Method::Sft,
        options,
        dir,
        resume: true,
        bar: false,
        inputs_sha256: "data",
        n_new: usize::MAX,
        best_by: BestBy { metric: "eval_loss".into(), greater_is_better: false },
        cancel: &NEVER,
    }
}

fn weights(policy: &Policy) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    policy.trained.iter().map(|p| (p.name.clone(), bits(&p.tensor))).collect()
}

#[test]
fn a_model_learns_its_rows_by_all_its_weights_and_by_adapters() {
    for lora in [None, Some(AdapterOptions { rank: 8, alpha: 16.0, ..AdapterOptions::default() })] {
        let dir = tempfile::tempdir().unwrap();
        let policy = policy(lora.as_ref());
        let options = TrainOptions { lora, ..options(80) };
        let report = run(&policy, &mut sft(0), None, &settings(dir.path(), &options)).unwrap();
        let (before, after) = (&report.before, &report.after);
        assert!(after["eval_loss"] < 0.3 * before["eval_loss"], "{report:?}");
        assert!(before["eval_exact_match"] < 0.1, "{report:?}");
        assert!(after["eval_exact_match"] > 0.8, "{report:?}");
        assert_eq!(report.n_steps, 80);
        let log = fs_err::read_to_string(dir.path().join("trainer_log.jsonl")).unwrap();
        assert!(log.lines().count() >= 16, "{log}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bits() {
    let lora = AdapterOptions { rank: 4, dropout: 0.2, ..AdapterOptions::default() };
    for lora in [None, Some(lora)] {
        let options = TrainOptions { lora: lora.clone(), ..options(25) };
        let whole_dir = tempfile::tempdir().unwrap();
        let whole = policy(lora.as_ref());
        run(&whole, &mut sft(0), None, &settings(whole_dir.path(), &options)).unwrap();

        let dir = tempfile::tempdir().unwrap();
        let mut killed = Faulty { at: BTreeMap::from([(17, Fault::Kill)]), ..faulty(sft(0)) };
        let first = policy(lora.as_ref());
        let error = run(&first, &mut killed, None, &settings(dir.path(), &options)).unwrap_err();
        assert_eq!(error.message, "killed");
        let second = policy(lora.as_ref());
        let report = run(&second, &mut sft(0), None, &settings(dir.path(), &options)).unwrap();
        assert_eq!(report.n_steps, 25);
        assert_eq!(weights(&second), weights(&whole), "resumed at step 10 of 25");
    }
}

#[test]
fn a_checkpoint_of_other_settings_or_data_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    run(&policy(None), &mut sft(0), None, &settings(dir.path(), &options(10))).unwrap();
    let other = TrainOptions { learning_rate: Some(1e-3), ..options(20) };
    let error = run(&policy(None), &mut sft(0), None, &settings(dir.path(), &other)).unwrap_err();
    assert_eq!(error.code, "train_resume");
    let same = options(10);
    let settings = RunSettings { inputs_sha256: "other", ..settings(dir.path(), &same) };
    let error = run(&policy(None), &mut sft(0), None, &settings).unwrap_err();
    assert!(error.message.contains("other data"), "{error}");
}

#[derive(Clone, Copy)]
enum Fault {
    /// The loss is no number.
    Loss,
    /// A gradient is infinite.
    Gradient,
    /// The process ends.
    Kill,
}

/// An objective with faults at given calls.
struct Faulty {
    inner: Sft,
    at: BTreeMap<usize, Fault>,
    n_calls: usize,
}

fn faulty(inner: Sft) -> Faulty {
    Faulty { inner, at: BTreeMap::new(), n_calls: 0 }
}

impl Objective for Faulty {
    fn lengths(&self) -> Vec<usize> {
        self.inner.lengths()
    }

    fn source(&self, row: usize) -> &RowSource {
        self.inner.source(row)
    }

    fn step(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let mut report = self.inner.step(policy, rows, turn, gradients)?;
        let fault = self.at.get(&self.n_calls);
        self.n_calls += 1;
        match fault {
            None => {}
            Some(Fault::Loss) => report.loss = f64::NAN,
            Some(Fault::Gradient) => {
                let weight = &policy.trained[3].tensor;
                gradients.set(weight, (weight.ones_like()? * f64::INFINITY)?);
            }
            Some(Fault::Kill) => return Err(Error::internal("killed")),
        }
        Ok(report)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        self.inner.evaluate(policy)
    }
}

#[test]
fn a_batch_that_is_no_number_is_skipped_and_written_down() {
    for fault in [Fault::Loss, Fault::Gradient] {
        let dir = tempfile::tempdir().unwrap();
        let (policy, options) = (policy(None), options(20));
        let mut objective = Faulty { at: BTreeMap::from([(4, fault)]), ..faulty(sft(0)) };
        let report = run(&policy, &mut objective, None, &settings(dir.path(), &options)).unwrap();
        assert_eq!(report.n_steps, 20);
        assert_eq!(objective.n_calls, 21, "one more batch is read for the one left out");
        let lines = fs_err::read_to_string(dir.path().join(BAD_BATCHES)).unwrap();
        let bad: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
        assert_eq!((&bad["step"], &bad["batch"]), (&json!(4), &json!(4)));
        assert_eq!(bad["rows"].as_array().unwrap().len(), 12);
        assert_eq!(bad["rows"][0]["file"], "rows.jsonl");
        assert!(all_finite(&policy.trained).unwrap().is_none());
    }
}

#[test]
fn bad_batches_in_a_row_send_the_run_back_and_the_data_on() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, options) = (policy(None), options(30));
    let at = (10..13).map(|call| (call, Fault::Gradient)).collect();
    let mut objective = Faulty { at, ..faulty(sft(0)) };
    let report = run(&policy, &mut objective, None, &settings(dir.path(), &options)).unwrap();
    assert_eq!(report.n_steps, 30);
    // The checkpoint of step 10 is gone back to: only the three bad batches are left out.
    assert_eq!(objective.n_calls, 33);
    let events = fs_err::read_to_string(dir.path().join("events.jsonl")).unwrap();
    assert_eq!(events.lines().filter(|line| line.contains("rolled_back")).count(), 1, "{events}");
    assert!(all_finite(&policy.trained).unwrap().is_none());
}

#[test]
fn a_rollback_outlives_a_kill_and_leaves_no_abandoned_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, options) = (policy(None), TrainOptions { eval_steps: 4, ..options(30) });
    // Saved at 10 and, for the best figures, at 12; bad at 15 to 17; killed at 19.
    let at = (15..18).map(|call| (call, Fault::Loss)).chain([(19, Fault::Kill)]).collect();
    let mut objective = Faulty { at, ..faulty(sft(0)) };
    run(&policy, &mut objective, None, &settings(dir.path(), &options)).unwrap_err();
    let checkpoints = CheckpointFolder::open(dir.path()).unwrap();
    let newest = checkpoints.latest().unwrap().checkpoint.unwrap();
    let state = newest.state().unwrap();
    assert_eq!((newest.step(), state.data_cursor.n_batches), (12, 18));
    assert_eq!(state.learning_rate_scale, 0.5, "the decision is in the checkpoint");
}

#[test]
fn the_last_state_is_saved_with_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let options = TrainOptions { save_steps: 10, eval_steps: 7, ..options(20) };
    let settings = settings(dir.path(), &options);
    let report = run(&policy(None), &mut sft(0), None, &settings).unwrap();
    let checkpoints = CheckpointFolder::open(dir.path()).unwrap();
    let best = checkpoints.best(&settings.best_by).unwrap().unwrap();
    assert_eq!(best.step(), 20);
    assert_eq!(best.metric("eval_loss"), Some(report.after["eval_loss"]));
    assert_eq!(report.best.unwrap().step, 20);
}

#[test]
fn a_run_that_cannot_be_saved_ends_with_the_cause_and_leaves_good_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let (policy, options) = (policy(None), options(200));
    let at = (15..400).map(|call| (call, Fault::Loss)).collect();
    let mut objective = Faulty { at, ..faulty(sft(0)) };
    let error = run(&policy, &mut objective, None, &settings(dir.path(), &options)).unwrap_err();
    assert_eq!(error.code, "train_diverged");
    assert!(error.message.len() > 60, "{error}");
    let checkpoints = CheckpointFolder::open(dir.path()).unwrap();
    let newest = checkpoints.latest().unwrap().checkpoint.unwrap();
    assert_eq!(newest.step(), 10);
    restore_weights(&policy, &newest).unwrap();
    assert!(all_finite(&policy.trained).unwrap().is_none());
}

/// The loss on the old rows after the new ones were learnt to the same loss.
fn forgetting(remembering: RememberOptions, fisher: Option<&Path>, old: &Path) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(None);
    let checkpoints = CheckpointFolder::open(old).unwrap();
    restore_weights(&policy, &checkpoints.latest().unwrap().checkpoint.unwrap()).unwrap();
    let remember = Remember::new(&policy, &remembering, fisher).unwrap();
    let mut new = sft(3);
    // Other prompts, so that both tasks can be held at once.
    for row in new.train.iter_mut().chain(&mut new.validation) {
        row.sequence.tokens[0] = 307;
    }
    let options = TrainOptions { learning_rate: Some(5e-3), ..options(60) };
    let report =
        run(&policy, &mut new, remember.as_ref(), &settings(dir.path(), &options)).unwrap();
    let old_loss = sft(0).evaluate(&policy).unwrap()["eval_loss"];
    (report.after["eval_loss"], old_loss)
}

#[test]
fn elastic_weights_forget_less_of_an_old_task_at_the_same_new_loss() {
    let dir = tempfile::tempdir().unwrap();
    let old = policy(None);
    let report = run(&old, &mut sft(0), None, &settings(dir.path(), &options(120))).unwrap();
    let known = report.after["eval_loss"];
    let fisher_path = dir.path().join("fisher.safetensors");
    let fisher = remember::fisher(&old, &sequences(0), Labels::Sampled, 3, || {}).unwrap();
    fisher.save(&fisher_path).unwrap();

    let (free_new, free_old) = forgetting(RememberOptions::default(), None, dir.path());
    let held = |ewc_lambda| RememberOptions { ewc_lambda, ..RememberOptions::default() };
    let (held_new, held_old) = forgetting(held(0.02), Some(&fisher_path), dir.path());
    assert!(free_old > known + 0.5, "nothing was forgotten: {known} -> {free_old}");
    assert!(held_old < 0.5 * free_old, "{free_old} without, {held_old} with EWC");
    assert!(held_new < free_new + 0.1, "the new task: {free_new} without, {held_new} with EWC");
}

#[test]
fn preferences_and_judgements_raise_the_chosen_answers() {
    let lora = AdapterOptions { rank: 8, alpha: 16.0, ..AdapterOptions::default() };
    for (method, batch_rows, tokens) in
        [(Method::Dpo, 12, 10_000), (Method::Dpo, 12, 40), (Method::Kto, 12, 60)]
    {
        let dir = tempfile::tempdir().unwrap();
        let policy = policy(Some(&lora));
        let (chosen, rejected) = (sequences(0), sequences(2));
        let pairs = || -> Vec<PairRow> {
            let pairs = chosen.iter().cloned().zip(rejected.iter().cloned());
            pairs
                .map(|(chosen, rejected)| PairRow { chosen, rejected, source: source(1) })
                .collect()
        };
        let judged = || -> Vec<JudgedRow> {
            let row = |desirable| {
                move |sequence: &Sequence| JudgedRow {
                    sequence: sequence.clone(),
                    desirable,
                    source: source(1),
                }
            };
            chosen.iter().map(row(true)).chain(rejected.iter().map(row(false))).collect()
        };
        let mut objective: Box<dyn Objective> = match method {
            Method::Dpo => Box::new(
                Pairs::new(PreferenceOptions::default(), pairs(), pairs(), tokens).unwrap(),
            ),
            _ => Box::new(
                Judgements::new(KtoOptions::default(), judged(), judged(), tokens, 64).unwrap(),
            ),
        };
        let options = TrainOptions { batch_rows, learning_rate: Some(5e-3), ..options(30) };
        let settings = RunSettings { method, ..settings(dir.path(), &options) };
        let report = run(&policy, &mut *objective, None, &settings).unwrap();
        assert!(report.after["eval_loss"] < 0.8 * report.before["eval_loss"], "{report:?}");
        assert!(report.after["eval_rewards/margins"] > 0.5, "{report:?}");
        assert!(report.before["eval_rewards/margins"].abs() < 1e-6, "{report:?}");
        let log = fs_err::read_to_string(dir.path().join("events.jsonl")).unwrap();
        for name in ["rewards/chosen", "logps/rejected", "logits/chosen", "entropy"] {
            assert!(log.contains(&format!("\"{name}\"")), "{method:?} logs no {name}");
        }
    }
}

#[test]
fn a_batch_in_pieces_has_the_gradient_of_the_whole() {
    let policy = policy(None);
    let gradients = |micro_batch_tokens: usize| {
        let mut gradients = Gradients::of(&policy.trained);
        let mut objective = Sft { micro_batch_tokens, ..sft(0) };
        let rows: Vec<usize> = (0..20).collect();
        let report =
            objective.step(&policy, &rows, Turn { batch: 0, pattern: 0 }, &mut gradients).unwrap();
        (report.loss, gradients)
    };
    let ((whole_loss, whole), (loss, pieces)) = (gradients(10_000), gradients(12));
    assert!((whole_loss - loss).abs() < 1e-5);
    for parameter in &policy.trained {
        let of = |gradients: &Gradients| gradients.get(&parameter.tensor).unwrap().clone();
        let gap = (of(&whole) - of(&pieces)).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f32>().unwrap() < 1e-5, "{}", parameter.name);
    }
}

#[test]
fn a_model_in_bf16_learns_on_f32_masters() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ModelFolder::open(Path::new(MODEL)).unwrap();
    let model = folder.load_trainable(false, DType::BF16, &Device::Cpu).unwrap();
    let policy = Policy::new(model, None, true, 1).unwrap();
    // Steps far below what bf16 can hold beside a weight: only masters can add them up.
    let options = TrainOptions { learning_rate: Some(5e-4), ..options(60) };
    let report = run(&policy, &mut sft(0), None, &settings(dir.path(), &options)).unwrap();
    assert!(report.after["eval_loss"] < 0.9 * report.before["eval_loss"], "{report:?}");
    let resumed = policy_of(&folder);
    let report = run(&resumed, &mut sft(0), None, &settings(dir.path(), &options)).unwrap();
    assert_eq!(report.n_tokens, 0, "the run is at its end");
    assert_eq!(report.before, report.after);
}

fn policy_of(folder: &ModelFolder) -> Policy {
    let model = folder.load_trainable(false, DType::BF16, &Device::Cpu).unwrap();
    Policy::new(model, None, true, 1).unwrap()
}
