//! A training from its request to its weights on disk.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::prepare::prepare;
use super::report::DryRun;
use super::{TrainRequest, write};
use crate::error::{Error, Kind, Result};
use crate::model::files::VALUE_HEAD;
use crate::model::{ModelFolder, device, tensor_file};
use crate::train::checkpoint::{Checkpoint, CheckpointFolder};
use crate::train::options::Method;
use crate::train::policy::Policy;
use crate::train::reinforce::ValueHead;
use crate::train::remember::Remember;
use crate::train::run::{self, RunReport, RunSettings};

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOutcome {
    pub report: RunReport,
    /// The step whose weights were written: the best that was measured.
    pub step: u64,
    /// What became of the rows.
    pub data: DryRun,
    /// Folders that others load: the model, and the adapter where one was trained.
    pub written: Vec<PathBuf>,
}

/// Trains, and writes the best weights that were seen into `<out>/model`.
///
/// # Errors
/// Those of [`prepare`] and [`run::run`]; `train_out` for a folder that holds another run.
pub fn train(request: &TrainRequest, cancel: &AtomicBool) -> Result<TrainOutcome> {
    check_out(request)?;
    let mut prepared = prepare(request)?;
    tell(&prepared.dry_run);
    let folder = ModelFolder::open(&request.model)?;
    let _held = hold(request)?;
    let (mut policy, is_embedder) = policy(request, &folder)?;
    let fisher = request.fisher.as_deref();
    let remember = Remember::new(&policy, &request.options.remember, fisher)?;
    let settings = RunSettings {
        method: request.method,
        options: &request.options,
        dir: &request.out,
        resume: request.resume,
        bar: request.bar,
        inputs_sha256: &prepared.inputs_sha256,
        best_by: prepared.best_by,
        n_new: prepared.n_new,
        cancel,
    };
    let report = run::run(&policy, &mut *prepared.objective, remember.as_ref(), &settings)?;
    let mut outcome =
        TrainOutcome { step: report.n_steps, report, written: Vec::new(), data: prepared.dry_run };
    if outcome.report.cancelled {
        return Ok(outcome);
    }
    let checkpoints = CheckpointFolder::open(&request.out)?;
    let mut best = checkpoints.best(&settings.best_by)?;
    if best.is_none() && outcome.report.tripped.is_some() {
        // What came after the newest checkpoint is what tripped.
        best = checkpoints.latest()?.checkpoint;
    }
    if let Some(best) = best {
        // Opened whole: what is restored is what was hashed.
        run::restore_weights(&policy, &Checkpoint::open(best.dir())?)?;
        outcome.step = best.step();
    }
    outcome.written = write::results(request, &folder, &mut policy, is_embedder)?;
    Ok(outcome)
}

/// A folder that holds a run is gone on with, or left alone; what is not a run's stays.
///
/// # Errors
/// `train_out`.
pub fn check_out(request: &TrainRequest) -> Result<()> {
    let out = &request.out;
    let refuse = |message: String| Err(Error::new(Kind::Conflict, "train_out", message));
    let holds_run = out.join("events.jsonl").exists();
    if holds_run && !request.resume {
        return refuse(format!(
            "{} holds a run already; go on with it by --resume, or name another folder",
            out.display()
        ));
    }
    let holds_other = |name: &&str| {
        let target = out.join(name);
        let is_source = || {
            let same = |path: &PathBuf| fs_err::canonicalize(path).ok();
            same(&target).is_some_and(|target| same(&request.model) == Some(target))
        };
        target.exists() && (!holds_run || is_source())
    };
    match [write::MODEL, write::ADAPTER].into_iter().find(holds_other) {
        Some(name) => refuse(format!(
            "{} would be written over, and is no result of this run; name another folder",
            out.join(name).display()
        )),
        None => Ok(()),
    }
}

/// Keeps other runs out of the folder until it is dropped.
fn hold(request: &TrainRequest) -> Result<fs_err::File> {
    fs_err::create_dir_all(&request.out)?;
    let path = request.out.join("run.lock");
    let file = fs_err::File::create(&path)?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::new(
            Kind::Conflict,
            "train_out",
            format!("another run is at work in {}; wait for it", request.out.display()),
        )),
    }
}

/// What was read, in the log: nothing is left out in silence.
fn tell(data: &DryRun) {
    for line in data.rejected.iter().chain(&data.notes) {
        tracing::warn!("{line}");
    }
    tracing::info!(
        train = data.n_train,
        validation = data.n_validation,
        rejected = data.n_rejected,
        duplicates = data.n_duplicates,
        cut = data.n_cut,
        max_tokens = data.max_tokens,
        "rows"
    );
}

/// The model with what of it is trained, and whether it is an embedder.
fn policy(request: &TrainRequest, folder: &ModelFolder) -> Result<(Policy, bool)> {
    let (options, device) = (&request.options, device::best()?);
    let is_embedder = request.method == Method::Infonce;
    let dtype = device::training_dtype(&device, options.bf16);
    let load = || folder.load_trainable(is_embedder, dtype, &device);
    let lora = options.lora.as_ref();
    let mut policy = Policy::new(load()?, lora, options.checkpointing, options.seed)?;
    let needs_reference = match request.method {
        Method::Sft | Method::Infonce => false,
        Method::Dpo => !options.dpo.is_reference_free(),
        Method::Kto | Method::Ppo => true,
        Method::Grpo => options.grpo.needs_reference(),
    };
    if needs_reference && lora.is_none() {
        policy.set_reference(load()?);
    }
    if request.method == Method::Ppo {
        let path = folder.path(VALUE_HEAD);
        let saved = path.exists().then(|| tensor_file::load_cpu(&path)).transpose()?;
        policy.train_also(ValueHead::parameters(&policy, saved.as_ref())?);
    }
    Ok((policy, is_embedder))
}
