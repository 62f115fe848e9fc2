//! `ORG/NAME` from the hub into the cache: list, choose, check the room, fetch, link, note the
//! revision. Whatever ends it early, a second pull goes on where it ended.

use std::path::PathBuf;

use super::cache::{RepoCache, find};
use super::client::HubClient;
use super::digest::FileDigest;
use super::download::{Download, partial};
use super::listing::{RemoteFile, senseless};
use super::repo::ModelRef;
use super::settings::HubSettings;
use crate::error::{Error, Kind, Result};
use crate::model::qwen::QwenConfig;

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullRequest {
    pub model: ModelRef,
    /// Weights wanted, by name; empty for those that are there.
    pub files: Vec<String>,
}

/// What is heard of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Another process pulls the same repository.
    Waiting,
    Started {
        n_bytes: u64,
    },
    /// Bytes of all files that are there.
    Position(u64),
}

/// What a pull came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub commit: String,
    /// The snapshot's folder.
    pub path: PathBuf,
    pub n_files: usize,
    pub n_bytes: u64,
    /// What came over the line; the rest was there.
    pub n_fetched_bytes: u64,
}

/// A file of which everything is known.
struct File {
    path: String,
    n_bytes: u64,
    digest: FileDigest,
}

/// Pulls a model. With `HF_HUB_OFFLINE` it only looks whether the model is there.
///
/// # Errors
/// `hub_…` codes, each with what to do; `model_config` for a model that is not served.
pub async fn pull(
    settings: &HubSettings,
    request: &PullRequest,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Pulled> {
    let model = &request.model;
    if settings.offline {
        return offline(settings, model);
    }
    let cache = RepoCache::new(settings, model);
    let lock = lock(settings, model, on_progress).await?;
    let client = HubClient::new(settings)?;
    let listing = client.listing(model).await?;
    let mut files = Vec::new();
    for file in listing.choose(model, &request.files)? {
        files.push(described(&client, model, &listing.commit, file).await?);
    }
    fs_err::create_dir_all(cache.blobs())?;
    check_room(&cache, &files)?;
    let n_bytes = files.iter().map(|file| file.n_bytes).sum();
    on_progress(Progress::Started { n_bytes });
    let (mut n_done, mut n_fetched_bytes) = (0, 0);
    for file in &files {
        let blob = cache.blob(&file.digest);
        if !is_there(&cache, file) {
            let download = Download {
                client: &client,
                model,
                commit: &listing.commit,
                path: &file.path,
                n_bytes: file.n_bytes,
                digest: &file.digest,
                blob: &blob,
            };
            let mut on_position = |position| on_progress(Progress::Position(n_done + position));
            n_fetched_bytes += download.run(&mut on_position).await?;
        }
        if file.path == "config.json" {
            // Before gigabytes come that nobody can load.
            QwenConfig::from_json(&fs_err::read(&blob)?)?;
        }
        cache.link(&listing.commit, &file.path, &file.digest)?;
        n_done += file.n_bytes;
        on_progress(Progress::Position(n_done));
    }
    cache.write_ref(&model.revision, &listing.commit)?;
    drop(lock);
    let path = cache.snapshot(&listing.commit);
    Ok(Pulled { commit: listing.commit, path, n_files: files.len(), n_bytes, n_fetched_bytes })
}

fn offline(settings: &HubSettings, model: &ModelRef) -> Result<Pulled> {
    let Some(found) = find(settings, model) else {
        let message = format!(
            "{model} is not in {}, and HF_HUB_OFFLINE forbids to fetch it",
            settings.cache.display()
        );
        return Err(Error::new(Kind::Unavailable, "hub_offline", message));
    };
    let folder = found.open()?;
    let (n_files, n_bytes) = folder.extent()?;
    Ok(Pulled { commit: found.commit, path: found.path, n_files, n_bytes, n_fetched_bytes: 0 })
}

async fn lock(
    settings: &HubSettings,
    model: &ModelRef,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<fs_err::File> {
    let (told, mut waiting) = tokio::sync::mpsc::channel(1);
    let cache = RepoCache::new(settings, model);
    let locked = tokio::task::spawn_blocking(move || {
        // The receiver is there as long as this is waited for.
        cache.lock(move || {
            let _ = told.try_send(());
        })
    });
    if waiting.recv().await.is_some() {
        on_progress(Progress::Waiting);
    }
    locked.await.map_err(|source| Error::failed("lock the cache", source))?
}

async fn described(
    client: &HubClient,
    model: &ModelRef,
    commit: &str,
    mut file: RemoteFile,
) -> Result<File> {
    if file.n_bytes.is_none() || file.digest.is_none() {
        file = client.describe(model, commit, &file).await?;
    }
    let RemoteFile { path, n_bytes, digest } = file;
    match (n_bytes, digest) {
        (Some(n_bytes), Some(digest)) => Ok(File { path, n_bytes, digest }),
        _ => Err(senseless(format!("it gives no size or no digest of {path}"))),
    }
}

fn is_there(cache: &RepoCache, file: &File) -> bool {
    cache.blob(&file.digest).metadata().is_ok_and(|held| held.len() == file.n_bytes)
}

/// Whether the disk holds what is missing.
fn check_room(cache: &RepoCache, files: &[File]) -> Result<()> {
    let missing = files.iter().filter(|file| !is_there(cache, file)).map(|file| {
        let held = partial(&cache.blob(&file.digest)).metadata().map_or(0, |held| held.len());
        file.n_bytes.saturating_sub(held)
    });
    let missing: u64 = missing.sum();
    let free = fs4::available_space(cache.blobs())?;
    if missing <= free {
        return Ok(());
    }
    let message = format!(
        "{missing} bytes are to come and {} has room for {free}; make room, or set HF_HUB_CACHE",
        cache.blobs().display()
    );
    Err(Error::new(Kind::TooLarge, "hub_disk_full", message))
}
