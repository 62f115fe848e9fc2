//! The vector index, derived from SQL, behind one type with two engines: qdrant-edge in this
//! process ([`Vectors::open`]), or a Qdrant server ([`Vectors::connect`]). Only this folder
//! knows which.
//!
//! Each chunk has two named vectors: `dense` (cosine) and `bm25` (sparse, with the IDF taken at
//! query time). The terms of both are made here ([`lexical`]), so that the engines find the same
//! with the same scores. Everything here blocks; the caller brings the thread.
//!
//! What qdrant-edge 0.7.2 does not promise is kept by design. It never replays its write-ahead
//! log, so [`Vectors::apply`] returns only after a flush, and what was not confirmed is applied
//! again from the outbox. Its `flush` panics while an update is in flight, so every write of a
//! shard runs under one mutex. Its log is never acknowledged, so segments that no reader will
//! ask for are removed here. A shard that does not load is moved aside and rebuilt from SQL.

mod edge;
mod embedded;
mod filter;
pub mod lexical;
mod server;
mod swap;

#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::embedded::Embedded;
pub use self::filter::Filter;
use self::server::Server;
use super::TenantId;
use super::corpus::CollectionRef;
use crate::config::VectorsConfig;
use crate::error::{Error, Result};

pub(super) const INDEX_DIRECTORY: &str = "vectors";
pub(super) const LOCK_FILE: &str = "lock";
/// The code of a server that cannot be asked: not there, too slow, or refusing.
pub const INDEX_UNAVAILABLE: &str = "index_unavailable";

const DENSE: &str = "dense";
const BM25: &str = "bm25";
const MAX_LIMIT: usize = 1_000;
/// Candidates that a search in a graph keeps: wide, because the reranker forgives no misses.
const GRAPH_BEAM: usize = 256;

/// A chunk as the index takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub chunk_id: i64,
    /// As long as the collection's dimension.
    pub dense: Vec<f32>,
    /// Title, headings and text, for BM25.
    pub lexical_text: String,
    pub document_id: String,
    /// What filters look at.
    pub metadata: Map<String, Value>,
}

/// A chunk that was found. Scores of the two legs are not comparable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub chunk_id: i64,
    pub score: f32,
}

/// The indexes of all collections.
#[derive(Debug)]
pub struct Vectors {
    engine: Box<dyn Engine>,
}

type Points<'a> = &'a mut dyn Iterator<Item = Result<Point>>;

/// What an engine does; [`Vectors`] says what it means. The tenant has been checked.
trait Engine: Debug + Send + Sync {
    fn check(&self) -> Result<()>;
    fn apply(&self, collection: &CollectionRef, upserts: &[Point], deletes: &[i64]) -> Result<()>;
    fn search_dense(
        &self,
        collection: &CollectionRef,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>>;
    fn search_sparse(
        &self,
        collection: &CollectionRef,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>>;
    fn ids(&self, collection: &CollectionRef) -> Result<Vec<i64>>;
    fn count(&self, collection: &CollectionRef) -> Result<usize>;
    fn optimize(&self, collection: &CollectionRef) -> Result<bool>;
    fn rebuild(&self, collection: &CollectionRef, points: Points<'_>) -> Result<()>;
    fn drop_collection(&self, collection: &CollectionRef) -> Result<()>;
}

impl Vectors {
    /// Takes possession of `<data_dir>/vectors` and finishes swaps that a crash cut short.
    /// `Conflict` when another process has it: two would tear the shards apart.
    pub fn open(data_dir: &Path) -> Result<Self> {
        Ok(Self { engine: Box::new(Embedded::open(data_dir)?) })
    }

    /// Keeps the indexes on a Qdrant server, which need not be there yet.
    pub fn connect(config: &VectorsConfig) -> Result<Self> {
        Ok(Self { engine: Box::new(Server::new(config)?) })
    }

    /// The engine that the configuration asks for.
    pub fn start(config: &VectorsConfig, data_dir: &Path) -> Result<Self> {
        if config.url.is_empty() { Self::open(data_dir) } else { Self::connect(config) }
    }

    /// Loads the word list that Chinese is segmented with, so that the first query need not.
    pub fn warm_up(&self) -> Result<()> {
        lexical::embed_query("预热 warm up").map(|_| ())
    }

    /// Whether the engine answers and still has what was put into it. An error means that the
    /// index has to be compared with SQL once the engine is back.
    pub fn check(&self) -> Result<()> {
        self.engine.check()
    }

    /// Puts points in and takes points out, and returns when both are on disk. After an error
    /// nothing is known of the batch; apply it again.
    pub fn apply(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        upserts: &[Point],
        deletes: &[i64],
    ) -> Result<()> {
        collection.check_tenant(tenant)?;
        self.engine.apply(collection, upserts, deletes)
    }

    /// The chunks nearest to a vector by cosine, best first.
    pub fn search_dense(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        collection.check_tenant(tenant)?;
        self.engine.search_dense(collection, vector, filter, limit)
    }

    /// The chunks that share words with a text, best BM25 first; none when it has no words.
    pub fn search_sparse(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        collection.check_tenant(tenant)?;
        self.engine.search_sparse(collection, text, filter, limit)
    }

    /// The ids of all points, ascending.
    pub fn ids(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<Vec<i64>> {
        collection.check_tenant(tenant)?;
        self.engine.ids(collection)
    }

    /// The number of points.
    pub fn count(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<usize> {
        collection.check_tenant(tenant)?;
        self.engine.count(collection)
    }

    /// Merges and indexes segments where that pays; searches go on meanwhile, writes wait.
    /// Tells whether anything changed. A server does it by itself.
    pub fn optimize(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<bool> {
        collection.check_tenant(tenant)?;
        self.engine.optimize(collection)
    }

    /// Builds the index anew beside the old one, which answers until the two are swapped.
    /// Writes wait. The points must be read from SQL after this call begins, so hand in an
    /// iterator that reads lazily; an error from it leaves the old index as it was.
    pub fn rebuild(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        points: impl IntoIterator<Item = Result<Point>>,
    ) -> Result<()> {
        collection.check_tenant(tenant)?;
        self.engine.rebuild(collection, &mut points.into_iter())
    }

    /// Removes a collection's index for good; doing it again changes nothing.
    pub fn drop_collection(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<()> {
        collection.check_tenant(tenant)?;
        self.engine.drop_collection(collection)
    }
}

/// The directory of all indexes.
pub(super) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join(INDEX_DIRECTORY)
}

/// Whether a directory of indexes has any: each is a folder in it.
pub(super) fn holds_shards(directory: &Path) -> Result<bool> {
    match fs_err::read_dir(directory) {
        Ok(mut entries) => Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn check_dense(vector: &[f32], dimension: usize) -> Result<()> {
    if vector.len() == dimension && vector.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let length = vector.len();
    Err(Error::internal(format!("a vector of {length} is not {dimension} finite numbers")))
}
