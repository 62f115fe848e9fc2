//! The hashes of all that a run was made of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SessionSettings, Suite};
use crate::config::Config;
use crate::error::Result;
use crate::evaluate::run::{CodeVersion, FORMAT, ModelHash, RunHeader};
use crate::model::ModelFolder;
use crate::model::files::{fingerprint, sha256};

/// The models of a run, by their parts.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// The folder of a local rewriter; none for a server elsewhere, or without a rewriter.
    pub rewriter: Option<ModelFolder>,
    pub embedder: Option<ModelFolder>,
    pub reranker: Option<ModelFolder>,
}

/// The header of a run of `suite` as it stands now.
///
/// # Errors
/// Models that cannot be read.
pub fn header(
    suite: &Suite,
    models: &Models,
    config: &Config,
    settings: &SessionSettings,
    seed: u64,
) -> Result<RunHeader> {
    Ok(RunHeader {
        format: FORMAT,
        suite: suite.name.clone(),
        seed,
        models: hashes(models, config)?,
        data_sha256: suite.sha256.clone(),
        code: CodeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), build: build() },
        options: options(suite, config, settings)?,
        n_turns: suite.turns.len(),
    })
}

fn hashes(models: &Models, config: &Config) -> Result<BTreeMap<String, ModelHash>> {
    let mut hashes = BTreeMap::new();
    let parts = [
        ("rewriter", &models.rewriter),
        ("embedder", &models.embedder),
        ("reranker", &models.reranker),
    ];
    for (part, folder) in parts {
        if let Some(folder) = folder {
            let hash = ModelHash { id: folder.id()?, sha256: fingerprint(folder)? };
            hashes.insert(part.to_owned(), hash);
        }
    }
    if !config.rewriter.url.is_empty() {
        // What a server elsewhere runs cannot be hashed: its name and its place stand for it.
        let id = format!("remote:{}", config.rewriter.remote_model);
        let sha256 = sha256(format!("{id} {}", config.rewriter.url).as_bytes());
        hashes.insert("rewriter".to_owned(), ModelHash { id, sha256 });
    }
    Ok(hashes)
}

/// All else that the numbers depend on.
fn options(
    suite: &Suite,
    config: &Config,
    settings: &SessionSettings,
) -> Result<BTreeMap<String, Value>> {
    let systems: Vec<&str> = settings.systems.iter().map(|system| system.name()).collect();
    let turns: Vec<&str> = suite.turns.iter().map(|turn| turn.id.as_str()).collect();
    let mut options = BTreeMap::from([
        ("systems".to_owned(), json!(systems)),
        ("max_rewrite_ms".to_owned(), settings.max_rewrite_ms.into()),
        ("turns_sha256".to_owned(), sha256(turns.join("\n").as_bytes()).into()),
    ]);
    if !suite.documents.is_empty() {
        let ingest = &config.ingest;
        let chunks = [ingest.chunk_tokens, ingest.min_chunk_tokens, ingest.overlap_tokens];
        options.insert("n_passages".to_owned(), settings.n_passages.into());
        options.insert("retrieval".to_owned(), serde_json::to_value(&config.retrieval)?);
        options.insert("dimension".to_owned(), json!(config.embedder.dimension));
        options.insert("chunk_tokens".to_owned(), json!(chunks));
    }
    Ok(options)
}

/// A hash of the program itself, where it can be read.
fn build() -> Option<String> {
    let program = fs_err::read(std::env::current_exe().ok()?).ok()?;
    Some(sha256(&program))
}
