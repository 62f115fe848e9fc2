//! The check that models load: the same code as at a start, one after the other.

use std::path::PathBuf;

use super::Check;
use crate::app::find_model;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::{Encoder, ModelFolder, Reranker};
use crate::rewrite::LocalRewriter;
use crate::telemetry::process;

const MEBIBYTE: f64 = 1_048_576.0;

/// Which engine a model is loaded by.
#[derive(Debug, Clone, Copy)]
enum Role {
    Rewriter,
    Embedder,
    Reranker,
}

/// Loads each model that the settings name.
///
/// # Errors
/// When loading cannot be started at all; a model that does not load is a check.
pub async fn all(config: &Config, rewriter_is_remote: bool) -> Result<Vec<Check>> {
    let mut config = config.clone();
    // A starter is unpacked below the data directory; where there is none yet, none is made.
    let scratch = (!config.data.dir.is_dir()).then(scratch);
    if let Some(scratch) = &scratch {
        config.data.dir.clone_from(scratch);
    }
    let work = move || {
        let roles = [
            (Role::Rewriter, "rewriter", config.rewriter.model.clone(), rewriter_is_remote),
            (Role::Embedder, "embedder", config.embedder.model.clone(), false),
            (Role::Reranker, "reranker", config.reranker.model.clone(), false),
        ];
        let checks = roles.map(|(role, name, model, is_remote)| match model.as_str() {
            _ if is_remote => Check::ok(name, "runs on another server"),
            "" => Check::ok(name, "none set"),
            model => check(&config, role, name, model),
        });
        Vec::from(checks)
    };
    let checks = tokio::task::spawn_blocking(work).await;
    if let Some(scratch) = scratch.filter(|scratch| scratch.exists()) {
        fs_err::remove_dir_all(scratch)?;
    }
    checks.map_err(|source| Error::failed("load the models", source))
}

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("querent-doctor-{}", std::process::id()))
}

fn check(config: &Config, role: Role, name: &str, model: &str) -> Check {
    match load(config, role, model) {
        Ok(detail) => Check::ok(name, detail),
        Err(error) => {
            let advice = format!(
                "correct [{name}] model, or put a model there: `querent models import DIR`"
            );
            Check::fail(name, error.to_string(), &advice)
        }
    }
}

/// Loads a model and lets it go; what it is, how large, and what it took.
fn load(config: &Config, role: Role, model: &str) -> Result<String> {
    let folder = find_model(config, model)?;
    let before = process::observe().resident_bytes;
    let id = match role {
        Role::Rewriter => LocalRewriter::load(&folder)?.id().to_owned(),
        Role::Embedder => Encoder::start(&folder, config.embedder.dimension)?.id().to_owned(),
        Role::Reranker => Reranker::start(&folder)?.id().to_owned(),
    };
    let after = process::observe().resident_bytes;
    let size = weights_bytes(&folder)? as f64 / MEBIBYTE;
    let memory = match (before, after) {
        (Some(before), Some(after)) => {
            format!(", {:.0} MiB of memory", (after - before).max(0.0) / MEBIBYTE)
        }
        _ => String::new(),
    };
    Ok(format!("{id} loads; {size:.0} MiB of weights{memory}"))
}

fn weights_bytes(folder: &ModelFolder) -> Result<u64> {
    let files = match folder.gguf() {
        Some(gguf) => vec![gguf.to_owned()],
        None => folder.safetensors()?,
    };
    files.iter().try_fold(0, |sum, file| Ok(sum + fs_err::metadata(file)?.len()))
}
