//! GRPO and PPO in the loop on a tiny model: that they learn what a judge pays for, go on after a
//! kill in the middle of a rollout's steps, cut a step into passes as they like, and stop when a
//! judge or a model breaks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::model::ModelFolder;
use crate::model::qwen::{AdapterOptions, Gradients};
use crate::train::checkpoint::BestBy;
use crate::train::data::RowSource;
use crate::train::objective::{Metrics, Objective, StepReport, Turn};
use crate::train::options::{Method, TrainOptions};
use crate::train::policy::Policy;
use crate::train::reinforce::judge::{Asked, Judge, Judgement};
use crate::train::reinforce::{
    Aggregation, Grpo, GrpoLoss, GrpoOptions, Ppo, PpoOptions, PpoVariant, PromptRow, Prompts,
    RatioLevel, ValueHead, Watchdog, WatchdogSettings,
};
use crate::train::run::{RunReport, RunSettings, run};
use crate::train::schedule::{Decay, WarmUp};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/qwen3-tiny");
static NEVER: AtomicBool = AtomicBool::new(false);

/// Pays for even tokens.
struct EvenTokens {
    /// Judgements from here on fail.
    fails_after: usize,
    n_judged: usize,
}

impl Judge for EvenTokens {
    fn weights(&self) -> BTreeMap<&'static str, f64> {
        BTreeMap::from([("even", 1.0)])
    }

    fn evidence(&self, _row: usize) -> &str {
        "history and query"
    }

    fn judge(&mut self, answers: &[Asked<'_>]) -> Result<Vec<Judgement>> {
        let judge = |answer: &Asked<'_>| {
            self.n_judged += 1;
            let failed = self.n_judged > self.fails_after;
            let n_even = answer.tokens.iter().filter(|token| **token % 2 == 0).count();
            let share = n_even as f64 / answer.tokens.len().max(1) as f64;
            let total = (!failed).then_some(share);
            let text = format!("{:?}", answer.tokens);
            let each = BTreeMap::from([("even", total)]);
            let (written, measures) = (text.clone(), Metrics::new());
            Judgement { written, text, is_well_formed: true, total, each, failed, measures }
        };
        Ok(answers.iter().map(judge).collect())
    }
}

fn prompts(micro_batch_tokens: usize, fails_after: usize) -> Prompts {
    let row = |index: u32| PromptRow {
        prompt: vec![308, 10 + index, 40 + (index * 7) % 50],
        source: RowSource { file: "rows.jsonl".into(), line: index as usize + 1 },
    };
    Prompts {
        train: (0..16).map(row).collect(),
        validation: (16..24).map(row).collect(),
        stop_tokens: vec![309],
        n_new: 16,
        judge: Box::new(EvenTokens { fails_after, n_judged: 0 }),
        micro_batch_tokens,
        seed: 5,
    }
}

fn watchdog() -> Watchdog {
    // What is paid for here is no language: its words may well come to be few.
    let settings = WatchdogSettings {
        grace_steps: 2,
        start_steps: 2,
        window_steps: 2,
        patience_steps: 2,
        min_entropy_share: 0.0,
        min_stopped_share: 0.0,
        max_reward_fall: 0.0,
        max_top_4gram_rise: 0.0,
        max_repetition_rise: 0.0,
        max_frac_groups_without_variance: 0.0,
        max_kl: 0.0,
        ..WatchdogSettings::default()
    };
    Watchdog::new(settings).unwrap()
}

fn grpo_options() -> GrpoOptions {
    GrpoOptions { n_generations: 6, max_new_tokens: 8, ..GrpoOptions::default() }
}

fn grpo(options: GrpoOptions) -> Grpo {
    Grpo::new(options, prompts(4_096, usize::MAX), watchdog()).unwrap()
}

fn ppo_options() -> PpoOptions {
    PpoOptions { max_new_tokens: 8, n_epochs: 2, n_mini_batches: 2, ..PpoOptions::default() }
}

fn ppo(options: PpoOptions) -> Ppo {
    Ppo::new(options, prompts(4_096, usize::MAX), watchdog()).unwrap()
}

fn model() -> crate::model::qwen::Qwen {
    ModelFolder::open(Path::new(MODEL)).unwrap().load_qwen(&Device::Cpu).unwrap()
}

fn policy(method: Method, lora: Option<&AdapterOptions>) -> Policy {
    let mut policy = Policy::new(model(), lora, false, 1).unwrap();
    if lora.is_none() {
        policy.set_reference(model());
    }
    if method == Method::Ppo {
        policy.train_also(ValueHead::parameters(&policy, None).unwrap());
    }
    policy
}

fn options(max_steps: u64) -> TrainOptions {
    TrainOptions {
        epochs: 1_000,
        max_steps: Some(max_steps),
        learning_rate: Some(5e-3),
        decay: Decay::Constant,
        warm_up: WarmUp::Steps(0),
        batch_rows: 8,
        log_steps: 1,
        ..TrainOptions::default()
    }
}

fn trained(
    method: Method,
    policy: &Policy,
    objective: &mut dyn Objective,
    dir: &Path,
    options: &TrainOptions,
) -> Result<RunReport> {
    let settings = RunSettings {
        method,
        options,
        dir,
        resume: true,
        bar: false,
        inputs_sha256: "data",
        n_new: usize::MAX,
        best_by: BestBy { metric: "eval_reward".into(), greater_is_better: true },
        cancel: &NEVER,
    };
    run(policy, objective, None, &settings)
}

fn weights(policy: &Policy) -> BTreeMap<String, Vec<u32>> {
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    policy.trained.iter().map(|p| (p.name.clone(), bits(&p.tensor))).collect()
}

#[test]
fn grpo_learns_what_the_judge_pays_for_with_every_loss() {
    let base = grpo_options;
    let lora = AdapterOptions { rank: 8, alpha: 32.0, ..AdapterOptions::default() };
    let cases = [
        (base(), None),
        (GrpoOptions { loss_type: GrpoLoss::Grpo, beta: 0.01, ..base() }, Some(&lora)),
        (GrpoOptions { loss_type: GrpoLoss::Cispo, n_iterations: 2, ..base() }, None),
        (GrpoOptions { loss_type: GrpoLoss::Sapo, entropy_coefficient: 1e-3, ..base() }, None),
        (
            GrpoOptions {
                loss_type: GrpoLoss::DrGrpo,
                aggregation: Aggregation::NormalizeThenSum,
                n_resample_rounds: 1,
                top_entropy_quantile: 0.5,
                ..base()
            },
            None,
        ),
        (
            GrpoOptions {
                loss_type: GrpoLoss::Grpo,
                ratio_level: RatioLevel::Sequence,
                epsilon: 3e-2,
                n_iterations: 2,
                ..base()
            },
            None,
        ),
    ];
    for (grpo_options, lora) in cases {
        let dir = tempfile::tempdir().unwrap();
        let policy = policy(Method::Grpo, lora);
        let options = TrainOptions { lora: lora.cloned(), ..options(40) };
        let mut objective = grpo(grpo_options.clone());
        let report = trained(Method::Grpo, &policy, &mut objective, dir.path(), &options).unwrap();
        let (before, after) = (report.before["eval_reward"], report.after["eval_reward"]);
        assert!(after > before + 0.25, "{grpo_options:?}: {before} -> {after}");
        let log = fs_err::read_to_string(dir.path().join("events.jsonl")).unwrap();
        for name in ["reward_std", "frac_reward_zero_std", "rewards/even/mean", "entropy"] {
            assert!(log.contains(name), "{name} is not logged");
        }
    }
}

#[test]
fn ppo_learns_what_the_judge_pays_for_in_both_variants() {
    for variant in [PpoVariant::Clip, PpoVariant::Penalty] {
        let dir = tempfile::tempdir().unwrap();
        let policy = policy(Method::Ppo, None);
        let ppo_options = PpoOptions { variant, kl_coefficient: 0.01, ..ppo_options() };
        let report = trained(
            Method::Ppo,
            &policy,
            &mut ppo(ppo_options),
            dir.path(),
            &TrainOptions { batch_rows: 16, learning_rate: Some(2e-3), ..options(120) },
        )
        .unwrap();
        let (before, after) = (report.before["eval_reward"], report.after["eval_reward"]);
        assert!(after > before + 0.1, "{variant:?}: {before} -> {after}");
    }
}

/// Ends as if killed at a given call.
struct Killed<'a> {
    inner: &'a mut dyn Objective,
    at: usize,
    n_calls: usize,
}

impl Objective for Killed<'_> {
    fn lengths(&self) -> Vec<usize> {
        self.inner.lengths()
    }

    fn steps_per_batch(&self) -> u64 {
        self.inner.steps_per_batch()
    }

    fn save(&self) -> Result<Option<serde_json::Value>> {
        self.inner.save()
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<()> {
        self.inner.restore(state)
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
        self.n_calls += 1;
        if self.n_calls > self.at {
            return Err(Error::internal("killed"));
        }
        self.inner.step(policy, rows, turn, gradients)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        self.inner.evaluate(policy)
    }
}

#[test]
fn a_run_killed_between_two_steps_on_one_rollout_goes_on_to_the_same_bits() {
    // Checkpoints after steps 5, 10 and so on fall within the three and four steps of a cycle.
    let grpo = || -> Box<dyn Objective> {
        Box::new(grpo(GrpoOptions { n_iterations: 3, beta: 0.02, ..grpo_options() }))
    };
    let ppo = || -> Box<dyn Objective> {
        let adaptive_kl = Some(Default::default());
        Box::new(ppo(PpoOptions { adaptive_kl, variant: PpoVariant::Penalty, ..ppo_options() }))
    };
    for method in [Method::Grpo, Method::Ppo] {
        let objective = || if method == Method::Ppo { ppo() } else { grpo() };
        let options = TrainOptions { save_steps: 5, ..options(14) };
        let whole_dir = tempfile::tempdir().unwrap();
        let whole = policy(method, None);
        trained(method, &whole, &mut *objective(), whole_dir.path(), &options).unwrap();

        let dir = tempfile::tempdir().unwrap();
        let first = policy(method, None);
        let mut inner = objective();
        let mut killed = Killed { inner: &mut *inner, at: 11, n_calls: 0 };
        trained(method, &first, &mut killed, dir.path(), &options).unwrap_err();
        let second = policy(method, None);
        let report = trained(method, &second, &mut *objective(), dir.path(), &options).unwrap();
        assert_eq!(report.n_steps, 14);
        assert_eq!(weights(&second), weights(&whole), "{method:?}");
    }
}

#[test]
fn a_step_is_the_same_however_it_is_cut_into_passes() {
    let step = |method: Method, micro_batch_tokens: usize| {
        let policy = policy(method, None);
        let prompts = prompts(micro_batch_tokens, usize::MAX);
        let mut objective: Box<dyn Objective> = match method {
            Method::Ppo => Box::new(Ppo::new(ppo_options(), prompts, watchdog()).unwrap()),
            _ => Box::new(Grpo::new(grpo_options(), prompts, watchdog()).unwrap()),
        };
        let mut gradients = Gradients::of(&policy.trained);
        let turn = Turn { batch: 0, pattern: 1 };
        let rows: Vec<usize> = (0..8).collect();
        let report = objective.step(&policy, &rows, turn, &mut gradients).unwrap();
        policy.check_reached(&gradients).unwrap();
        let flat = |parameter: &crate::model::qwen::Parameter| {
            let gradient = gradients.get(&parameter.tensor).unwrap();
            gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        (report.loss, policy.trained.iter().flat_map(flat).collect::<Vec<f32>>())
    };
    for method in [Method::Grpo, Method::Ppo] {
        let (whole_loss, whole) = step(method, 4_096);
        let (cut_loss, cut) = step(method, 24);
        assert!((whole_loss - cut_loss).abs() < 1e-5, "{method:?} {whole_loss} {cut_loss}");
        let most = whole.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(most > 1e-4, "{method:?}: nothing is learnt");
        for (left, right) in whole.iter().zip(&cut) {
            assert!((left - right).abs() < 1e-3 * most, "{method:?} {left} {right}");
        }
    }
}

#[test]
fn the_sampler_and_the_training_path_agree() {
    let policy = policy(Method::Grpo, None);
    let mut gradients = Gradients::of(&policy.trained);
    let turn = Turn { batch: 0, pattern: 1 };
    let rows: Vec<usize> = (0..8).collect();
    let report = grpo(grpo_options()).step(&policy, &rows, turn, &mut gradients).unwrap();
    assert!(report.metrics["sampling/sampling_logp_difference/mean"] < 1e-5, "{report:?}");
    assert!(report.metrics["sampling/sampling_logp_difference/max"] < 1e-3, "{report:?}");
}

#[test]
fn a_judge_that_breaks_ends_the_run_and_is_never_a_zero() {
    let dir = tempfile::tempdir().unwrap();
    let policy = policy(Method::Grpo, None);
    // 8 prompts of 6 answers a step, and 8 to measure with first: the judge breaks in step 6.
    let prompts = prompts(4_096, 8 + 5 * 48);
    let mut objective = Grpo::new(grpo_options(), prompts, watchdog()).unwrap();
    let report = trained(Method::Grpo, &policy, &mut objective, dir.path(), &options(60)).unwrap();
    let tripped = report.tripped.unwrap();
    assert!(tripped.contains("frac_scorer_failures"), "{tripped}");
    assert!(report.n_steps < 20, "{report:?}", report = report.n_steps);
    let log = fs_err::read_to_string(dir.path().join("events.jsonl")).unwrap();
    let last = log.lines().rfind(|line| line.contains("tripped")).unwrap();
    assert!(last.contains("frac_scorer_failures"), "{last}");
    // Rewards of a failed judge are not in the means.
    assert!(!log.contains("\"reward\":0.0,"), "{log}");
}
