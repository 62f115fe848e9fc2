//! The engine inside this process: one qdrant-edge shard to a collection, below the data
//! directory. Shards open when first used.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::edge::Shard;
use super::{Engine, Filter, Hit, LOCK_FILE, Point, Points, swap};
use crate::error::{Error, Kind, Result};
use crate::store::corpus::CollectionRef;

#[derive(Debug)]
pub(super) struct Embedded {
    directory: PathBuf,
    shards: Mutex<HashMap<i64, Arc<Shard>>>,
    /// Held open for as long as this process owns the directory.
    _lock: File,
}

impl Embedded {
    pub(super) fn open(data_dir: &Path) -> Result<Self> {
        let directory = super::directory(data_dir);
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

    fn shard(&self, collection: &CollectionRef) -> Arc<Shard> {
        let mut shards = self.lock_shards();
        let shard = shards.entry(collection.id()).or_insert_with(|| {
            let path = self.directory.join(collection.id().to_string());
            Arc::new(Shard::new(path, collection.dimension()))
        });
        Arc::clone(shard)
    }

    fn lock_shards(&self) -> MutexGuard<'_, HashMap<i64, Arc<Shard>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Embedded {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn apply(&self, collection: &CollectionRef, upserts: &[Point], deletes: &[i64]) -> Result<()> {
        self.shard(collection).apply(collection.average_terms(), upserts, deletes)
    }

    fn search_dense(
        &self,
        collection: &CollectionRef,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        self.shard(collection).search_dense(vector, filter, limit)
    }

    fn search_sparse(
        &self,
        collection: &CollectionRef,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        self.shard(collection).search_sparse(text, filter, limit)
    }

    fn ids(&self, collection: &CollectionRef) -> Result<Vec<i64>> {
        self.shard(collection).ids()
    }

    fn count(&self, collection: &CollectionRef) -> Result<usize> {
        self.shard(collection).count()
    }

    fn optimize(&self, collection: &CollectionRef) -> Result<bool> {
        self.shard(collection).optimize()
    }

    fn rebuild(&self, collection: &CollectionRef, points: Points<'_>) -> Result<()> {
        self.shard(collection).rebuild(collection.average_terms(), points)
    }

    fn drop_collection(&self, collection: &CollectionRef) -> Result<()> {
        self.shard(collection).remove()?;
        self.lock_shards().remove(&collection.id());
        Ok(())
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
