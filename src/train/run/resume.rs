//! What a run that is gone on with takes from its checkpoint, and whether it may.

use serde_json::json;

use super::RunSettings;
use crate::error::{Error, Kind, Result};
use crate::train::checkpoint::{Checkpoint, TrainingState};
use crate::train::numbers::write_in_place;
use crate::train::options::TrainOptions;
use crate::train::policy::Policy;

/// The file of a checkpoint with the trained weights.
pub(super) const WEIGHTS: &str = "trained.safetensors";

/// Restores the trained weights of a checkpoint in place.
///
/// # Errors
/// `train_resume` when the checkpoint is of other weights.
pub fn restore_weights(policy: &Policy, checkpoint: &Checkpoint) -> Result<()> {
    let saved = checkpoint.tensors_beside(WEIGHTS, &policy.trained[0].tensor)?;
    for parameter in &policy.trained {
        match saved.get(&parameter.name) {
            Some(weight) if weight.shape() == parameter.tensor.shape() => {
                write_in_place(&parameter.tensor, weight)?;
            }
            _ => return Err(foreign(&format!("has no `{}` of this model", parameter.name))),
        }
    }
    Ok(())
}

/// The settings that decide the numbers; how often something is logged or saved does not.
pub(super) fn config_sha256(settings: &RunSettings<'_>) -> Result<String> {
    let deciding = TrainOptions {
        log_steps: 0,
        eval_steps: 0,
        save_steps: 0,
        keep_last: 1,
        n_generated: 0,
        ..settings.options.clone()
    };
    let text = serde_json::to_vec(&json!([settings.method, deciding]))?;
    Ok(crate::model::files::sha256(&text))
}

pub(super) fn check_same(saved: &TrainingState, own: &TrainingState) -> Result<()> {
    if saved.config_sha256 != own.config_sha256 {
        return Err(foreign("was made with other settings"));
    }
    if saved.data_sha256 != own.data_sha256 {
        return Err(foreign("was made with another model or other data"));
    }
    Ok(())
}

fn foreign(what: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "train_resume",
        format!(
            "the run's newest checkpoint {what}; use the settings, data and model that it was \
             started with, or another folder"
        ),
    )
}
