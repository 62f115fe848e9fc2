//! `querent models`: what lies in the models directory.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Global, output};
use crate::config::Config;
use crate::error::Result;
use crate::model::ModelFolder;
use crate::model::files;

#[derive(Debug, Subcommand)]
pub enum ModelsRole {
    /// List the models of [models] dir.
    List,
    /// Copy a local Hugging Face folder or GGUF file into [models] dir, after reading it.
    Import { path: PathBuf },
}

pub fn run(config: &Config, global: &Global, role: ModelsRole) -> Result<()> {
    match role {
        ModelsRole::List => list(config, global),
        ModelsRole::Import { path } => {
            let name = files::import(&path, &config.models.dir)?;
            if global.json {
                output::line(&serde_json::json!({ "imported": name }).to_string())
            } else {
                output::line(&format!("{name} is in {}", config.models.dir.display()))
            }
        }
    }
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
            output::line(&serde_json::json!({ "id": id, "sha256": fingerprint }).to_string())?;
        } else {
            output::line(&format!("{id}  sha256:{}", &fingerprint[..16]))?;
        }
    }
    Ok(())
}
