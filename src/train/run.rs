//! The loop that every method runs in: batches, gradients, the guard, steps, figures, checkpoints.
//! A run that was killed goes on from its newest whole checkpoint, on the CPU to the last bit.

mod resume;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::batches::Batches;
use super::checkpoint::{BestBy, BestMetric, CheckpointFolder, Keep, TrainingState};
use super::eventlog::{EventLog, EventLogOptions};
use super::guard::{Guard, Observation, Point, Row, RunFacts, Verdict, all_finite};
use super::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use super::optimizer::{AdamW, AdamWSettings, Norm, global_norm};
use super::options::{Method, TrainOptions};
use super::policy::Policy;
use super::remember::Remember;
use super::schedule::Schedule;
use crate::error::{Error, Kind, Result};
use crate::model::qwen::Gradients;
use resume::{WEIGHTS, check_same, config_sha256};

pub use resume::restore_weights;

/// A file of a checkpoint, beside the weights.
const OPTIMIZER: &str = "optimizer.safetensors";
/// One line for each batch that the guard refused.
const BAD_BATCHES: &str = "bad_batches.jsonl";
/// What a run is given besides its model and its objective.
pub struct RunSettings<'a> {
    pub method: Method,
    pub options: &'a TrainOptions,
    /// The run's folder.
    pub dir: &'a Path,
    /// Go on from the newest checkpoint, where there is one.
    pub resume: bool,
    /// Whether a bar is drawn when stderr is a terminal.
    pub bar: bool,
    /// Of everything that goes in beside the settings: model, rows, Fisher file.
    pub inputs_sha256: &'a str,
    /// How many of the objective's rows are new; those behind them are replayed.
    pub n_new: usize,
    /// The figure that decides which checkpoint is the best.
    pub best_by: BestBy,
    /// Set from outside to end the run after the step under way.
    pub cancel: &'a AtomicBool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    pub n_steps: u64,
    pub n_tokens: u64,
    pub seconds: f64,
    pub cancelled: bool,
    /// Why the method ended the run before the model was spoilt further; nothing after the newest
    /// checkpoint is kept then.
    pub tripped: Option<String>,
    /// Evaluated before the first step, or where the run was gone on with, and after the last.
    pub before: Metrics,
    pub after: Metrics,
    pub best: Option<BestMetric>,
}

/// Trains until the planned end, or until it is cancelled.
///
/// # Errors
/// `train_diverged` with a diagnosis when the guard gives up, `train_resume` for a checkpoint of
/// other settings or data, and those of files.
pub fn run(
    policy: &Policy,
    objective: &mut dyn Objective,
    remember: Option<&Remember>,
    settings: &RunSettings<'_>,
) -> Result<RunReport> {
    let mut run = Run::start(policy, objective, remember, settings)?;
    let before = run.evaluate_first()?;
    let started = std::time::Instant::now();
    let first_tokens = run.state.seen_tokens;
    let (mut cancelled, mut tripped) = (false, None);
    while run.state.step < run.n_steps {
        if settings.cancel.load(Ordering::Relaxed) {
            cancelled = true;
            break;
        }
        match run.advance()? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(Ended::Diverged(diagnosis)) => {
                run.log.event("failed", json!({ "diagnosis": diagnosis }))?;
                return Err(Error::new(Kind::Conflict, "train_diverged", diagnosis));
            }
            ControlFlow::Break(Ended::Tripped(reason)) => {
                tripped = Some(reason);
                break;
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = match &tripped {
        Some(reason) => {
            let step = run.state.step;
            run.log.event("tripped", json!({ "step": step, "reason": reason }))?;
            Metrics::new()
        }
        None => run.finish(cancelled)?,
    };
    let Run { state, log, .. } = run;
    log.finish()?;
    Ok(RunReport {
        n_steps: state.step,
        n_tokens: state.seen_tokens.saturating_sub(first_tokens),
        seconds,
        cancelled,
        tripped,
        before,
        after,
        best: state.best_metric,
    })
}

/// What ends a run before its planned steps.
enum Ended {
    Diverged(String),
    Tripped(String),
}

struct Run<'a, 'b> {
    policy: &'a Policy,
    objective: &'a mut dyn Objective,
    remember: Option<&'a Remember>,
    settings: &'a RunSettings<'b>,
    batches: Batches,
    schedule: Schedule,
    optimizer: AdamW,
    gradients: Gradients,
    guard: Guard,
    checkpoints: CheckpointFolder,
    log: EventLog,
    state: TrainingState,
    n_steps: u64,
    /// Figures since they were last logged.
    window: MeanMetrics,
    /// The step of the newest evaluation and checkpoint.
    evaluated: Option<(u64, Metrics)>,
    saved_at: Option<u64>,
    is_reached_checked: bool,
}

impl<'a, 'b> Run<'a, 'b> {
    fn start(
        policy: &'a Policy,
        objective: &'a mut dyn Objective,
        remember: Option<&'a Remember>,
        settings: &'a RunSettings<'b>,
    ) -> Result<Self> {
        let options = settings.options;
        options.check(settings.method)?;
        check_start(policy)?;
        objective.prepare(policy)?;
        let batches = Batches::plan(objective, settings.n_new, options, settings.method)?;
        let planned = batches.per_epoch().saturating_mul(options.epochs as u64);
        let n_steps = options.max_steps.map_or(planned, |max| max.min(planned));
        let rate = options.peak_rate(settings.method);
        let schedule = Schedule::new(options.decay, rate, options.warm_up, n_steps)?;
        let mut optimizer = AdamW::new(AdamWSettings {
            beta1: options.beta1,
            beta2: options.beta2,
            epsilon: options.epsilon,
            weight_decay: options.weight_decay,
        });
        let facts = RunFacts {
            method: settings.method.for_guard(),
            precision: policy.precision(),
            lora: options.lora.is_some(),
        };
        let mut guard = Guard::new(options.guard.clone(), facts, Point { step: 0, batch: 0 });
        let checkpoints = CheckpointFolder::open(settings.dir)?;
        let mut state = TrainingState {
            config_sha256: config_sha256(settings)?,
            data_sha256: settings.inputs_sha256.to_owned(),
            ..TrainingState::default()
        };
        let found = if settings.resume { checkpoints.latest()?.checkpoint } else { None };
        if let Some(checkpoint) = &found {
            let saved = checkpoint.state()?;
            check_same(&saved, &state)?;
            restore_weights(policy, checkpoint)?;
            let moments = checkpoint.tensors(OPTIMIZER)?;
            optimizer.restore(&policy.trained, &moments)?;
            guard = serde_json::from_value(saved.guard.clone())?;
            objective.restore(saved.objective.clone())?;
            state = saved;
        }
        let resumed_from = found.is_some().then_some((state.step, state.seen_tokens));
        let log = EventLog::open(EventLogOptions {
            dir: settings.dir.to_owned(),
            total_steps: n_steps,
            resumed_from,
            bar: settings.bar,
        })?;
        guard.snapshot_taken(Point { step: state.step, batch: state.data_cursor.n_batches });
        Ok(Self {
            gradients: Gradients::of(&policy.trained),
            saved_at: found.map(|checkpoint| checkpoint.step()),
            policy,
            objective,
            remember,
            settings,
            batches,
            schedule,
            optimizer,
            guard,
            checkpoints,
            log,
            state,
            n_steps,
            window: MeanMetrics::default(),
            evaluated: None,
            is_reached_checked: false,
        })
    }

    fn evaluate_first(&mut self) -> Result<Metrics> {
        let metrics = self.objective.evaluate(self.policy)?;
        self.log.event(
            "start",
            json!({
                "method": self.settings.method.name(),
                "steps": self.n_steps,
                "resumed_at": self.saved_at,
                "options": self.settings.options,
                "eval": metrics,
            }),
        )?;
        // Something to go back to from the first step on, and maybe the best there will be.
        self.note_best(&metrics);
        self.evaluated = Some((self.state.step, metrics.clone()));
        self.save()?;
        Ok(metrics)
    }

    /// One batch. Breaks when the guard gives up, or the method does.
    fn advance(&mut self) -> Result<ControlFlow<Ended>> {
        let batch = self.state.data_cursor.n_batches;
        let rows = self.batches.rows(batch);
        self.gradients.clear();
        let pattern = self.settings.options.seed.wrapping_add(batch + 1);
        let turn = Turn { batch, pattern };
        let report = self.objective.step(self.policy, &rows, turn, &mut self.gradients)?;
        if let Some(reason) = report.trip {
            return Ok(ControlFlow::Break(Ended::Tripped(reason)));
        }
        if report.is_idle {
            self.count_step(&report, Metrics::new())?;
            return Ok(ControlFlow::Continue(()));
        }
        if !self.is_reached_checked {
            self.policy.check_reached(&self.gradients)?;
            self.is_reached_checked = true;
        }
        let mut metrics = Metrics::new();
        if let Some(remember) = self.remember {
            metrics = remember.add(self.policy, &mut self.gradients, report.loss)?;
        }
        let norm = global_norm(&self.gradients, &self.policy.trained)?;
        match self.judged(&report, &norm, &rows, batch) {
            Verdict::Step => {
                self.take_step(&report, &norm, metrics)?;
                Ok(ControlFlow::Continue(()))
            }
            Verdict::Skip { .. } => {
                self.note_bad("skipped")?;
                self.state.data_cursor.n_batches = batch + 1;
                Ok(ControlFlow::Continue(()))
            }
            Verdict::RollBack { to, skip, .. } => {
                self.note_bad("rolled_back")?;
                self.roll_back(to, skip.end)?;
                Ok(ControlFlow::Continue(()))
            }
            Verdict::Fail { diagnosis } => {
                self.note_bad("failed")?;
                Ok(ControlFlow::Break(Ended::Diverged(diagnosis.message)))
            }
        }
    }

    /// Goes back to the checkpoint at `to`, and on behind `next_batch`. What came after it is
    /// removed, and the decision saved at once, so that a kill does not undo it.
    fn roll_back(&mut self, to: Point, next_batch: u64) -> Result<()> {
        self.checkpoints.remove_after(to.step)?;
        let Some(checkpoint) = self.checkpoints.latest()?.checkpoint else {
            return Err(Error::internal("the run has no checkpoint to go back to"));
        };
        restore_weights(self.policy, &checkpoint)?;
        self.optimizer.restore(&self.policy.trained, &checkpoint.tensors(OPTIMIZER)?)?;
        let saved = checkpoint.state()?;
        self.objective.restore(saved.objective)?;
        self.state.step = saved.step;
        self.state.seen_tokens = saved.seen_tokens;
        self.state.data_cursor.n_batches = next_batch;
        self.window = MeanMetrics::default();
        (self.evaluated, self.saved_at) = (None, None);
        self.save()
    }

    fn judged(&mut self, report: &StepReport, norm: &Norm, rows: &[usize], batch: u64) -> Verdict {
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| {
                let source = self.objective.source(*row);
                Row { file: source.file.clone(), line: source.line as u64, fault: None }
            })
            .collect();
        self.guard.observe(&Observation {
            step: self.state.step,
            batch,
            loss: report.loss,
            gradient_norm: norm.value,
            loss_finite: report.loss.is_finite(),
            gradients_finite: norm.finite,
            bad_gradient: norm.first_bad.as_deref(),
            learning_rate: self.schedule.learning_rate(self.state.step, self.guard.slowdown()),
            rows: &rows,
        })
    }

    fn take_step(&mut self, report: &StepReport, norm: &Norm, penalty: Metrics) -> Result<()> {
        let options = self.settings.options;
        let rate = self.schedule.learning_rate(self.state.step, self.guard.slowdown());
        let scale = norm.clip_scale(options.max_grad_norm);
        self.optimizer.step_scaled(&self.policy.trained, &self.gradients, rate, scale)?;
        self.window.add("grad_norm", norm.value, 1.0);
        self.count_step(report, penalty)
    }

    /// A step is done: its figures, and what is due after it.
    fn count_step(&mut self, report: &StepReport, penalty: Metrics) -> Result<()> {
        let options = self.settings.options;
        let rate = self.schedule.learning_rate(self.state.step, self.guard.slowdown());
        self.state.step += 1;
        self.state.seen_tokens += report.n_tokens as u64;
        self.state.data_cursor.n_batches += 1;
        self.state.epoch = self.state.data_cursor.n_batches / self.batches.per_epoch();
        self.window.add("loss", report.loss, 1.0);
        for (name, value) in report.metrics.iter().chain(&penalty) {
            self.window.add(name, *value, report.weights.get(name).copied().unwrap_or(1.0));
        }
        let step = self.state.step;
        let is_due = |every: u64| every > 0 && step.is_multiple_of(every);
        if is_due(options.log_steps) || step == self.n_steps {
            self.log_window(rate)?;
        } else {
            self.log.advance_to(step, self.state.seen_tokens, report.loss);
        }
        if is_due(options.eval_steps) && step < self.n_steps {
            self.evaluate()?;
        }
        // The last state is saved when it has been evaluated.
        if is_due(options.save_steps) && step < self.n_steps && self.guard.may_checkpoint() {
            self.save()?;
        }
        Ok(())
    }

    fn log_window(&mut self, rate: f64) -> Result<()> {
        let mut metrics = std::mem::take(&mut self.window).means();
        metrics.insert("learning_rate".into(), rate);
        metrics.insert("num_tokens".into(), self.state.seen_tokens as f64);
        let n_batches = self.state.data_cursor.n_batches as f64;
        metrics.insert("epoch".into(), n_batches / self.batches.per_epoch() as f64);
        self.log.scalars(self.state.step, &metrics)
    }

    fn evaluate(&mut self) -> Result<Metrics> {
        if let Some((step, metrics)) = &self.evaluated
            && *step == self.state.step
        {
            return Ok(metrics.clone());
        }
        let metrics = self.objective.evaluate(self.policy)?;
        if !metrics.is_empty() {
            self.log.scalars(self.state.step, &metrics)?;
        }
        let is_best = self.note_best(&metrics);
        self.evaluated = Some((self.state.step, metrics.clone()));
        if is_best && self.guard.may_checkpoint() {
            self.save()?;
        }
        Ok(metrics)
    }

    /// Whether these figures are at least as good as the best so far, which they then are.
    fn note_best(&mut self, metrics: &Metrics) -> bool {
        let best_by = &self.settings.best_by;
        let value = metrics.get(&best_by.metric).copied().filter(|value| value.is_finite());
        let Some(value) = value else { return false };
        let is_as_good = |best: &BestMetric| {
            if best_by.greater_is_better { value >= best.value } else { value <= best.value }
        };
        let is_best = self.state.best_metric.as_ref().is_none_or(is_as_good);
        if is_best {
            let name = best_by.metric.clone();
            self.state.best_metric = Some(BestMetric { name, value, step: self.state.step });
        }
        is_best
    }

    fn save(&mut self) -> Result<()> {
        if self.saved_at == Some(self.state.step) {
            return Ok(());
        }
        if let Some(name) = all_finite(&self.policy.trained)? {
            let step = self.state.step;
            let message = format!(
                "{name} holds a number that is not finite after step {step}, though losses and \
                 gradients were finite; nothing is saved of this state. Lower learning_rate, or \
                 look at beta1, beta2 and epsilon, and go on from the newest checkpoint"
            );
            self.log.event("failed", json!({ "diagnosis": message }))?;
            return Err(Error::new(Kind::Conflict, "train_non_finite", message));
        }
        let batch = self.state.data_cursor.n_batches;
        self.guard.snapshot_taken(Point { step: self.state.step, batch });
        self.state.guard = serde_json::to_value(&self.guard)?;
        self.state.objective = self.objective.save()?.unwrap_or_default();
        self.state.learning_rate_scale = self.guard.slowdown().factor();
        let trained = self.policy.trained.iter();
        let weights: Vec<_> = trained.map(|p| (p.name.clone(), p.tensor.clone())).collect();
        let metadata = Default::default();
        let mut writer = self.checkpoints.writer(self.state.step)?;
        writer.write_tensors(WEIGHTS, &weights, &metadata)?;
        writer.write_tensors(OPTIMIZER, &self.optimizer.save()?, &metadata)?;
        writer.write_state(&self.state)?;
        if let Some((step, metrics)) = &self.evaluated
            && *step == self.state.step
        {
            for (name, value) in metrics {
                writer.metric(name, *value);
            }
        }
        writer.commit()?;
        self.saved_at = Some(self.state.step);
        let best = Some(self.settings.best_by.clone());
        self.checkpoints.prune(&Keep { last: self.settings.options.keep_last, best })?;
        Ok(())
    }

    fn note_bad(&mut self, what: &str) -> Result<()> {
        let Some(bad) = self.guard.last_bad() else { return Ok(()) };
        let line = serde_json::to_string(bad)?;
        self.log.event(what, serde_json::to_value(bad)?)?;
        tracing::warn!(step = bad.step, batch = bad.batch, reason = ?bad.reason, "{what} a batch");
        append_line(&self.settings.dir.join(BAD_BATCHES), &line)
    }

    /// Evaluates and saves the last state; one that was cancelled is only saved.
    fn finish(&mut self, cancelled: bool) -> Result<Metrics> {
        let metrics = if cancelled { Metrics::new() } else { self.evaluate()? };
        if self.guard.may_checkpoint() {
            self.save()?;
        }
        let unreached = self.optimizer.take_without_gradient();
        if !unreached.is_empty() {
            self.log.event("without_gradient", json!({ "weights": unreached }))?;
        }
        let what = if cancelled { "cancelled" } else { "end" };
        self.log.event(what, json!({ "step": self.state.step, "eval": metrics }))?;
        Ok(metrics)
    }
}

/// # Errors
/// `model_weights` naming a weight that is no number from the start.
fn check_start(policy: &Policy) -> Result<()> {
    match all_finite(&policy.trained)? {
        None => Ok(()),
        Some(name) => Err(Error::invalid(
            "model_weights",
            format!("the model's {name} holds a number that is not finite; fetch the model again"),
        )),
    }
}

fn append_line(path: &PathBuf, line: &str) -> Result<()> {
    use std::io::Write;
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{line}")?;
    Ok(())
}
