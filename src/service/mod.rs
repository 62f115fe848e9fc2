//! What the product does, one use case a file. No axum, no SQL text: HTTP and the command line
//! call in here, and only here.

pub mod ask;
mod averages;
pub mod collections;
pub mod embeddings;
pub mod evaluation;
pub mod feedback;
pub mod housekeeping;
pub mod ingest;
pub mod journal;
mod measure;
pub mod models;
pub mod question;
mod reach;
pub mod requests;
pub mod rerank;
mod senses;
pub mod training;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc};

use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::model::{Encoder, TextKind};
use crate::retrieve::parse::parsers::Parsers;
use crate::retrieve::{Retriever, Weights};
use crate::rewrite::{Answer, Rewriter};
use crate::store::Store;
use crate::store::vectors::{INDEX_UNAVAILABLE, Vectors};
use journal::Journal;
use question::ModelPair;
use requests::{Remembered, Requests};

/// The handles that a use case may hold. Built once by `app`.
pub struct Services {
    config: Config,
    retriever: Retriever,
    rewriter: Option<Arc<Rewriter>>,
    rewrites: Cache<[u8; 32], Arc<Answer>>,
    requests: Requests,
    /// For the housekeeper to take.
    unwritten: Mutex<Option<mpsc::Receiver<Arc<Remembered>>>>,
    parsers: Arc<Parsers>,
    /// Wakes the indexer.
    work: Arc<Notify>,
    journal: Journal,
    /// Whether the index has been compared with SQL since the start: it may be searched.
    index_ready: AtomicBool,
    /// Whether it is still in step, as far as is known.
    index_in_step: AtomicBool,
    growth: averages::Growth,
    started_at: OffsetDateTime,
}

/// The parts that `app` has loaded.
pub struct Parts {
    pub config: Config,
    pub store: Store,
    pub vectors: Arc<Vectors>,
    pub encoder: Arc<Encoder>,
    pub rewriter: Option<Arc<Rewriter>>,
    pub reranker: Option<Arc<crate::model::Reranker>>,
    pub journal: Journal,
}

impl Services {
    pub fn new(parts: Parts) -> Self {
        let retrieval = &parts.config.retrieval;
        let weights = Weights {
            rrf_k: retrieval.rrf_k,
            dense: retrieval.dense_weight,
            sparse: retrieval.sparse_weight,
            candidates: retrieval.candidates,
            per_document: retrieval.per_document,
            rerank_candidates: parts.config.reranker.candidates,
        };
        let rewrites = Cache::builder()
            .max_capacity(parts.config.rewriter.cache_entries)
            .time_to_live(Duration::from_secs(parts.config.rewriter.cache_seconds))
            .build();
        let retriever = Retriever {
            store: parts.store,
            vectors: parts.vectors,
            encoder: parts.encoder,
            reranker: parts.reranker,
            weights,
        };
        let (requests, unwritten) = Requests::new(&parts.config);
        let parsers = Arc::new(Parsers::new(this_program(), &parts.config.ingest));
        Self {
            parsers,
            config: parts.config,
            retriever,
            rewriter: parts.rewriter,
            rewrites,
            requests,
            unwritten: Mutex::new(Some(unwritten)),
            work: Arc::new(Notify::new()),
            journal: parts.journal,
            index_ready: AtomicBool::new(false),
            index_in_step: AtomicBool::new(false),
            growth: averages::Growth::default(),
            started_at: OffsetDateTime::now_utc(),
        }
    }

    fn take_unwritten(&self) -> Option<mpsc::Receiver<Arc<Remembered>>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn store(&self) -> &Store {
        &self.retriever.store
    }

    fn retriever(&self) -> &Retriever {
        &self.retriever
    }

    /// Where calls are noted.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The models that answer now.
    pub fn models(&self) -> ModelPair {
        ModelPair {
            rewriter: self.rewriter.as_ref().map(|rewriter| rewriter.id().to_owned()),
            embedder: self.retriever.encoder.id().to_owned(),
        }
    }

    /// Unit-length vectors of texts.
    pub async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.retriever.encoder.embed(kind, texts).await
    }

    /// Whether requests can be served: the database answers, and the index was in step once.
    /// Migrations and models were ready before this could be called. An index server that goes
    /// away later does not count: searches say so in `degraded`, and all else works.
    pub async fn ready(&self) -> Result<()> {
        if !self.index_ready.load(Ordering::Acquire) {
            return Err(Error::new(
                Kind::Unavailable,
                INDEX_UNAVAILABLE,
                "the index has not been reached yet",
            ));
        }
        self.store().check().await.map_err(|error| {
            Error::new(Kind::Unavailable, "not_ready", "the database does not answer")
                .caused_by(error)
        })
    }
}

/// This program, to be started again for what it does in a process of its own. On Linux the link
/// leads to the very file that runs, even after another version has taken its place.
fn this_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    let named = || std::env::current_exe().unwrap_or_else(|_| "querent".into());
    if link.exists() { link } else { named() }
}
