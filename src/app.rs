//! Builds every part once, in order, and takes them down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use serde_json::Value;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::hub::{self, HubSettings, ModelRef};
use crate::model::{Encoder, ModelFolder, Reranker};
use crate::rewrite::{LocalRewriter, RemoteRewriter, Rewriter};
use crate::service::housekeeping::Housekeeper;
use crate::service::ingest::Indexer;
use crate::service::journal::{Journal, JournalWriter};
use crate::service::{Parts, Services};
use crate::store::Store;
use crate::store::vectors::Vectors;

/// The starter models, so that a binary alone is enough to begin with.
static STARTERS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/models");

/// A running server without its HTTP side.
pub struct App {
    pub services: Arc<Services>,
    indexer: Indexer,
    housekeeper: Option<Housekeeper>,
    journal_writer: JournalWriter,
}

impl App {
    /// Opens the database, loads the models, brings the index in step and starts the indexer.
    ///
    /// # Errors
    /// The first part that cannot be had, with its reason.
    pub async fn start(config: Config) -> Result<Self> {
        let store = Store::open(&config.data.dir, &config.database.url).await?;
        let of_models = config.clone();
        let (encoder, rewriter, reranker, vectors) = blocking(move || {
            let vectors = Vectors::start(&of_models.vectors, &of_models.data.dir)?;
            vectors.warm_up()?;
            let embedder = find_model(&of_models, &of_models.embedder.model)?;
            let encoder = Encoder::start(&embedder, of_models.embedder.dimension)?;
            let rewriter = rewriter(&of_models)?;
            let reranker = match of_models.reranker.model.as_str() {
                "" => None,
                name => Some(Reranker::start(&find_model(&of_models, name)?)?),
            };
            Ok((encoder, rewriter, reranker, vectors))
        })
        .await?;
        if config.vectors.url.is_empty() {
            store.claim_index().await?;
        }
        let (journal, journal_writer) = Journal::start(store.clone(), config.audit.days);
        let services = Arc::new(Services::new(Parts {
            config,
            store,
            vectors: Arc::new(vectors),
            encoder: Arc::new(encoder),
            rewriter: rewriter.map(Arc::new),
            reranker: reranker.map(Arc::new),
            journal,
        }));
        services.begin_index().await?;
        let indexer = Indexer::start(Arc::clone(&services));
        let housekeeper = Housekeeper::start(Arc::clone(&services));
        Ok(Self { services, indexer, housekeeper, journal_writer })
    }

    /// Finishes the indexer's round, writes what is noted and closes the database.
    pub async fn shutdown(self) {
        self.indexer.stop().await;
        if let Some(housekeeper) = self.housekeeper {
            housekeeper.stop().await;
        }
        self.journal_writer.stop().await;
        self.services.store().close().await;
    }
}

/// The rewriter that the settings ask for; a server goes before a local model.
fn rewriter(config: &Config) -> Result<Option<Rewriter>> {
    let settings = &config.rewriter;
    if !settings.url.is_empty() {
        return Ok(Some(Rewriter::Remote(Box::new(RemoteRewriter::new(settings)?))));
    }
    if settings.model.is_empty() {
        return Ok(None);
    }
    let local = LocalRewriter::load(&find_model(config, &settings.model)?)?;
    Ok(Some(Rewriter::Local(Box::new(local))))
}

/// A model by name or path: a path, then `[models] dir`, then a starter of this binary, then the
/// cache of pulled models. Nothing is fetched.
///
/// # Errors
/// `model_not_found` with the places that were looked at.
pub fn find_model(config: &Config, name: &str) -> Result<ModelFolder> {
    let by_name = config.models.dir.join(name);
    for path in [PathBuf::from(name), by_name.clone()] {
        if path.exists() {
            return ModelFolder::open(&path);
        }
    }
    if let Some(starter) = STARTERS.get_dir(name) {
        return ModelFolder::open(&unpack(starter, &config.data.dir)?);
    }
    let mut message = format!("no model `{name}`: neither a path nor {}", by_name.display());
    if let Ok(pulled) = name.parse::<ModelRef>() {
        if let Some(found) = hub::find(&HubSettings::from_environment(), &pulled) {
            return found.open();
        }
        message = format!("{message}, nor pulled; run `querent models pull {name}`");
    }
    Err(Error::not_found("model_not_found", message))
}

/// Writes a starter below the data directory, once: a finished copy has its final name. Each version
/// has a place of its own, so that a newer program does not go on with an older starter.
fn unpack(starter: &Dir<'_>, data_dir: &Path) -> Result<PathBuf> {
    let place = data_dir.join("starters").join(version(starter).to_string());
    let target = place.join(starter.path());
    if target.is_dir() {
        return Ok(target);
    }
    let staging = place.join(".unpacking");
    if staging.exists() {
        fs_err::remove_dir_all(&staging)?;
    }
    write_tree(starter, &staging)?;
    fs_err::rename(staging.join(starter.path()), &target)?;
    Ok(target)
}

/// That of its `querent.json`, as [`crate::model::files::ModelCard`] reads it.
fn version(starter: &Dir<'_>) -> u64 {
    let card = starter.get_file(starter.path().join("querent.json"));
    let card = card.and_then(|file| serde_json::from_slice::<Value>(file.contents()).ok());
    card.and_then(|card| card["version"].as_u64()).unwrap_or(1)
}

fn write_tree(dir: &Dir<'_>, root: &Path) -> Result<()> {
    fs_err::create_dir_all(root.join(dir.path()))?;
    for file in dir.files() {
        fs_err::write(root.join(file.path()), file.contents())?;
    }
    dir.dirs().try_for_each(|dir| write_tree(dir, root))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::failed("start", source))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_starter_of_an_earlier_version_in_the_data_directory_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let starter = STARTERS.get_dir("starter-rewriter").unwrap();
        let earlier = dir.path().join("starters").join((version(starter) - 1).to_string());
        let earlier = earlier.join("starter-rewriter");
        fs_err::create_dir_all(&earlier).unwrap();
        let unpacked = unpack(starter, dir.path()).unwrap();
        assert_ne!(unpacked, earlier);
        let folder = ModelFolder::open(&unpacked).unwrap();
        assert_eq!(folder.id().unwrap(), format!("starter-rewriter@{}", version(starter)));
        assert_eq!(unpack(starter, dir.path()).unwrap(), unpacked);
    }
}
