//! The vector index: one qdrant-edge shard to a collection, in this process, derived from SQL.
//!
//! Each shard holds two named vectors per chunk: `dense` (cosine) and `bm25` (sparse, with the
//! IDF taken at query time). Everything here blocks; the caller brings the thread.
//!
//! What qdrant-edge 0.7.2 does not promise is kept by design. It never replays its write-ahead
//! log, so [`Vectors::apply`] returns only after a flush, and what was not confirmed is applied
//! again from the outbox. Its `flush` panics while an update is in flight, so every write of a
//! shard runs under one mutex. Its log is never acknowledged, so segments that no reader will
//! ask for are removed here. A shard that does not load is moved aside and rebuilt from SQL.

mod edge;
mod filter;
pub mod lexical;
mod swap;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use self::edge::Shard;
pub use self::filter::Filter;
use super::TenantId;
use super::corpus::CollectionRef;
use crate::error::{Error, Kind, Result};

pub(super) const INDEX_DIRECTORY: &str = "vectors";
pub(super) const LOCK_FILE: &str = "lock";

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

/// The indexes of all collections below one data directory. Shards open when first used.
#[derive(Debug)]
pub struct Vectors {
    directory: PathBuf,
    shards: Mutex<HashMap<i64, Arc<Shard>>>,
    /// Held open for as long as this process owns the directory.
    _lock: File,
}

impl Vectors {
    /// Takes possession of `<data_dir>/vectors` and finishes swaps that a crash cut short.
    /// `Conflict` when another process has it: two would tear the shards apart.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let directory = directory(data_dir);
        fs_err::create_dir_all(&directory)?;
        let lock = File::create(directory.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(data_dir)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        swap::recover(&directory)?;
        Ok(Self { directory, shards: Mutex::default(), _lock: lock })
    }

    /// Loads the word list that Chinese is segmented with, so that the first query need not.
    pub fn warm_up(&self) -> Result<()> {
        lexical::embed_query("预热 warm up").map(|_| ())
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
        self.shard(tenant, collection)?.apply(collection.average_terms(), upserts, deletes)
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
        self.shard(tenant, collection)?.search_dense(vector, filter, limit)
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
        self.shard(tenant, collection)?.search_sparse(text, filter, limit)
    }

    /// The ids of all points, ascending.
    pub fn ids(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<Vec<i64>> {
        self.shard(tenant, collection)?.ids()
    }

    /// The number of points.
    pub fn count(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<usize> {
        self.shard(tenant, collection)?.count()
    }

    /// Merges and indexes segments where that pays; searches go on meanwhile, writes wait.
    /// Tells whether anything changed.
    pub fn optimize(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<bool> {
        self.shard(tenant, collection)?.optimize()
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
        self.shard(tenant, collection)?.rebuild(collection.average_terms(), points)
    }

    /// Removes a collection's index from memory and disk; doing it again changes nothing.
    pub fn drop_collection(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<()> {
        self.shard(tenant, collection)?.remove()?;
        self.lock_shards().remove(&collection.id());
        Ok(())
    }

    fn shard(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<Arc<Shard>> {
        collection.check_tenant(tenant)?;
        let mut shards = self.lock_shards();
        let shard = shards.entry(collection.id()).or_insert_with(|| {
            let path = self.directory.join(collection.id().to_string());
            Arc::new(Shard::new(path, collection.dimension()))
        });
        Ok(Arc::clone(shard))
    }

    fn lock_shards(&self) -> MutexGuard<'_, HashMap<i64, Arc<Shard>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
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

fn in_use(data_dir: &Path) -> Error {
    Error::new(
        Kind::Conflict,
        "data_dir_in_use",
        format!(
            "Another process is using the data directory {}. Stop it, or set another data.dir.",
            data_dir.display()
        ),
    )
}
