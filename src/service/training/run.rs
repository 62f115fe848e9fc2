//! A training from its request to its weights on disk.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::prepare::prepare;
use super::{TrainRequest, write};
use crate::error::{Error, Kind, Result};
use crate::model::{ModelFolder, device};
use crate::train::checkpoint::CheckpointFolder;
use crate::train::options::Method;
use crate::train::policy::Policy;
use crate::train::remember::Remember;
use crate::train::run::{self, RunReport, RunSettings};

/// What came of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOutcome {
    pub report: RunReport,
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
    let folder = ModelFolder::open(&request.model)?;
    let (mut policy, is_embedder) = policy(request, &folder)?;
    let fisher = request.fisher.as_deref();
    let remember = Remember::new(&policy, &request.options.remember, fisher)?;
    let settings = RunSettings {
        method: request.method,
        options: &request.options,
        dir: &request.out,
        resume: request.resume,
        bar: request.bar,
        data_sha256: &prepared.dry_run.data_sha256,
        best_by: prepared.best_by,
        n_new: prepared.n_new,
        cancel,
    };
    let report = run::run(&policy, &mut *prepared.objective, remember.as_ref(), &settings)?;
    if report.cancelled {
        return Ok(TrainOutcome { report, written: Vec::new() });
    }
    let checkpoints = CheckpointFolder::open(&request.out)?;
    if let Some(best) = checkpoints.best(&settings.best_by)? {
        run::restore_weights(&policy, &best)?;
    }
    let written = write::results(request, &folder, &mut policy, is_embedder)?;
    Ok(TrainOutcome { report, written })
}

/// A folder that holds a run is gone on with, or left alone.
fn check_out(request: &TrainRequest) -> Result<()> {
    let holds_run = request.out.join("events.jsonl").exists();
    if holds_run && !request.resume {
        return Err(Error::new(
            Kind::Conflict,
            "train_out",
            format!(
                "{} holds a run already; go on with it by --resume, or name another folder",
                request.out.display()
            ),
        ));
    }
    Ok(())
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
        Method::Kto => true,
    };
    if needs_reference && lora.is_none() {
        policy.set_reference(load()?);
    }
    Ok((policy, is_embedder))
}
