//! The collection that training by reward searches in: one of the data directory, or one made of
//! files for the run.

use std::path::PathBuf;

use super::train::TrainArgs;
use super::{Global, ingest, with_app};
use crate::config::Config;
use crate::config::database::DatabaseUrl;
use crate::error::Result;
use crate::service::training::SearchedCollection;
use crate::store::TenantId;

/// The name of the collection that is made of files.
const CORPUS: &str = "corpus";

/// Where to search, before it is opened.
pub struct Collection {
    config: Config,
    tenant: TenantId,
    name: String,
    /// What goes in first.
    paths: Vec<PathBuf>,
    /// A folder that is gone afterwards.
    scratch: Option<PathBuf>,
}

impl Collection {
    /// As the arguments say. No rewriter is loaded: what is trained rewrites.
    ///
    /// # Errors
    /// Those of the tenant's name.
    pub fn of(args: &TrainArgs, config: Config, global: &Global) -> Result<Self> {
        let (name, paths) = (args.collection.clone(), args.corpus.clone());
        // A look at the data leaves nothing behind.
        let scratch = std::env::temp_dir().join(format!("querent-{}", std::process::id()));
        let dir = if args.dry_run { scratch.clone() } else { args.out.join(CORPUS) };
        let below = paths.first().map(|_| dir);
        let is_scratch = args.dry_run && below.is_some();
        let collection = Self::new(config, global, name, paths, below)?;
        Ok(Self { scratch: is_scratch.then_some(scratch), ..collection })
    }

    /// A collection by name, or one made of files, with its data below a folder.
    ///
    /// # Errors
    /// Those of the tenant's name.
    pub fn new(
        mut config: Config,
        global: &Global,
        name: Option<String>,
        paths: Vec<PathBuf>,
        data_dir: Option<PathBuf>,
    ) -> Result<Self> {
        config.rewriter.model.clear();
        config.rewriter.url.clear();
        // Answers are judged by what the two legs find.
        config.reranker.model.clear();
        if let Some(dir) = data_dir {
            config.data.dir = dir;
            config.database.url = DatabaseUrl::default();
            config.vectors.url.clear();
        }
        let tenant = global.tenant()?;
        Ok(Self {
            config,
            tenant,
            name: name.unwrap_or_else(|| CORPUS.to_owned()),
            paths,
            scratch: None,
        })
    }

    /// Opens it, fills it where it is made of files, and lets `work` search in it.
    pub async fn with<T>(
        self,
        work: impl AsyncFnOnce(SearchedCollection) -> Result<T>,
    ) -> Result<T> {
        let Self { config, tenant, name, paths, scratch } = self;
        let result = with_app(config, async |app| {
            if !paths.is_empty() {
                ingest::ingest(&app.services, &tenant, &name, &paths).await?;
            }
            work(SearchedCollection::open(&app.services, &tenant, &name).await?).await
        })
        .await;
        if let Some(scratch) = scratch.filter(|scratch| scratch.exists()) {
            fs_err::remove_dir_all(scratch)?;
        }
        result
    }
}
