//! `querent models`: what lies in the models directory and in the hub's cache, and how more comes
//! into them.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Global, output, progress};
use crate::config::Config;
use crate::error::Result;
use crate::model::ModelFolder;
use crate::model::files;
use crate::model::hub::{self, CachedModel, HubSettings, ModelRef, Progress, PullRequest};

#[derive(Debug, Subcommand)]
pub enum ModelsRole {
    /// List the models of [models] dir and those that were pulled.
    List,
    /// Copy a local Hugging Face folder or GGUF file into [models] dir, after reading it.
    Import { path: PathBuf },
    /// Fetch a model from the Hugging Face hub into the cache that its own tools use. Understands
    /// HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and HF_TOKEN_PATH.
    Pull {
        /// ORG/NAME, or ORG/NAME@REVISION for a branch, a tag or a commit.
        model: ModelRef,
        /// The weights to take where there is a choice, for example of GGUF files; repeat.
        #[arg(long = "file", value_name = "NAME")]
        files: Vec<String>,
    },
}

pub async fn run(config: &Config, global: &Global, role: ModelsRole) -> Result<()> {
    match role {
        ModelsRole::List => list(config, global),
        ModelsRole::Import { path } => {
            let name = files::import(&path, &config.models.dir)?;
            if global.json {
                output::line(&json!({ "imported": name }).to_string())
            } else {
                output::line(&format!("{name} is in {}", config.models.dir.display()))
            }
        }
        ModelsRole::Pull { model, files } => pull(global, PullRequest { model, files }).await,
    }
}

async fn pull(global: &Global, request: PullRequest) -> Result<()> {
    let settings = HubSettings::from_environment();
    let model = &request.model;
    let bar = progress::byte_bar(&model.repo());
    let pulled = hub::pull(&settings, &request, &mut |progress| match progress {
        Progress::Waiting => tracing::info!(%model, "another process pulls it; waiting"),
        Progress::Started { n_bytes } => bar.set_length(n_bytes),
        Progress::Position(position) => bar.set_position(position),
    })
    .await;
    bar.finish_and_clear();
    let pulled = pulled?;
    if global.json {
        let line = json!({
            "pulled": model.repo(), "revision": model.revision, "commit": pulled.commit,
            "path": pulled.path, "files": pulled.n_files, "bytes": pulled.n_bytes,
            "fetched_bytes": pulled.n_fetched_bytes,
        });
        return output::line(&line.to_string());
    }
    let setting = if model.revision == "main" { model.repo() } else { model.to_string() };
    output::line(&format!(
        "{setting} is in {} ({} files, {} bytes, {} of them fetched); to use it: \
         [rewriter] model = \"{setting}\"",
        pulled.path.display(),
        pulled.n_files,
        pulled.n_bytes,
        pulled.n_fetched_bytes
    ))
}

fn list(config: &Config, global: &Global) -> Result<()> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if config.models.dir.is_dir() {
        for entry in fs_err::read_dir(&config.models.dir)? {
            folders.push(entry?.path());
        }
    }
    folders.sort();
    // A folder that holds no model is not in the list.
    for folder in folders.iter().filter_map(|path| ModelFolder::open(path).ok()) {
        let (id, fingerprint) = (folder.id()?, files::fingerprint(&folder)?);
        if global.json {
            output::line(&json!({ "id": id, "sha256": fingerprint }).to_string())?;
        } else {
            output::line(&format!("{id}  sha256:{}", &fingerprint[..16]))?;
        }
    }
    for (cached, folder) in hub::cached(&HubSettings::from_environment())?
        .iter()
        .filter_map(|cached| Some((cached, cached.open().ok()?)))
        .filter(|(_, folder)| folder.is_servable())
    {
        list_cached(cached, &folder, global)?;
    }
    Ok(())
}

/// One of the hub's cache, by its commit: its bytes were checked when they came.
fn list_cached(cached: &CachedModel, folder: &ModelFolder, global: &Global) -> Result<()> {
    let (_, n_bytes) = folder.extent()?;
    let model = &cached.model;
    if global.json {
        let line = json!({
            "id": folder.id()?, "pulled": model.repo(), "revision": model.revision,
            "commit": cached.commit, "bytes": n_bytes,
        });
        return output::line(&line.to_string());
    }
    output::line(&format!("{model}  commit:{}  {n_bytes} bytes", &cached.commit[..12]))
}
