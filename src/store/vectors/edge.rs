//! One shard: opening, writing under one mutex, searching, and replacing it by a new build.
//!
//! Locks are taken in the order `gate`, `slot` (`considered` before them only where the gate is
//! not waited for). Writers hold the gate and read the slot, so
//! searches go on beside them; only opening, closing and swapping write the slot. qdrant-edge
//! panics where it could return an error (a full disk during `flush`, also from `Drop`), so
//! every call into it is fenced, and a shard that failed to write is closed: it reopens from
//! what is on disk.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use qdrant_edge::{
    CountRequest, CreateIndex, Distance, EdgeConfig, EdgeOptimizersConfig, EdgeShard,
    EdgeSparseVectorParams, EdgeVectorParams, FieldIndexOperations, JsonPath, Modifier, NamedQuery,
    OperationResult, PayloadFieldSchema, PayloadSchemaType, PointId, PointInsertOperations,
    PointOperations, PointStruct, QueryEnum, ScrollRequest, SearchParams, SearchRequest,
    UpdateOperation, Vector, VectorInternal, Vectors as NamedVectors, WalOptions,
    WithPayloadInterface,
};
use serde_json::json;

use super::filter::Filter;
use super::lexical::{self, DocumentEmbedder};
use super::{BM25, DENSE, GRAPH_BEAM, Hit, MAX_LIMIT, Point, check_dense, swap};
use crate::error::{Error, Kind, Result};

/// Hits looked at beyond those that are wanted, so that equal scores at the cut are told apart by
/// their ids too.
const N_LOOKED_BEYOND: usize = 32;

/// Points to one operation: it bounds the memory of an entry of the log.
const BATCH: usize = 256;
const PAGE: usize = 10_000;
/// Points from which filtering by an index of the field is worth building one.
const FIELD_INDEX_FROM: usize = 1_000;
/// Fields that get one: each costs memory, and callers choose the names.
const MAX_FIELD_INDEXES: usize = 16;
const MAX_CONSIDERED: usize = 1_000;
const WAL_SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// Kilobytes of dense vectors from which `optimize` builds a graph. Below it, comparing with
/// every vector is exact and takes less than 10 ms on one core.
const GRAPH_FROM_KB: usize = 100_000;

#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    dimension: usize,
    gate: Mutex<()>,
    slot: RwLock<Option<EdgeShard>>,
    /// Fields for which an index was considered since the shard was opened.
    considered: Mutex<HashSet<JsonPath>>,
}

impl Shard {
    pub(super) fn new(path: PathBuf, dimension: usize) -> Self {
        Self {
            path,
            dimension,
            gate: Mutex::new(()),
            slot: RwLock::new(None),
            considered: Mutex::default(),
        }
    }

    pub(super) fn apply(
        &self,
        average_terms: f64,
        upserts: &[Point],
        deletes: &[i64],
    ) -> Result<()> {
        let embedder = DocumentEmbedder::new(average_terms)?;
        let _gate = self.lock_gate();
        self.open()?;
        let outcome = self.reading(|edge| {
            for batch in deletes.chunks(BATCH) {
                delete(edge, batch)?;
            }
            for batch in upserts.chunks(BATCH) {
                upsert(edge, &embedder, self.dimension, batch)?;
            }
            fenced("flush the index", || {
                edge.flush();
                Ok(())
            })
        });
        match outcome {
            Ok(()) => swap::trim_wal(&self.path),
            Err(error) => {
                self.close();
                Err(error)
            }
        }
    }

    pub(super) fn search_dense(
        &self,
        vector: &[f32],
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        check_dense(vector, self.dimension)?;
        self.search(NamedQuery::new(VectorInternal::Dense(vector.to_vec()), DENSE), filter, limit)
    }

    pub(super) fn search_sparse(
        &self,
        text: &str,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let terms = lexical::embed_query(text)?;
        if terms.indices.is_empty() {
            return Ok(Vec::new());
        }
        self.search(NamedQuery::new(VectorInternal::Sparse(terms), BM25), filter, limit)
    }

    fn search(
        &self,
        query: NamedQuery<VectorInternal>,
        filter: Option<&Filter>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        if let Some(filter) = filter {
            self.index_fields(filter.fields())?;
        }
        let request = SearchRequest {
            query: QueryEnum::Nearest(query),
            filter: filter.map(Filter::engine),
            params: Some(SearchParams { hnsw_ef: Some(GRAPH_BEAM), ..SearchParams::default() }),
            limit: (limit.max(1) + N_LOOKED_BEYOND).min(MAX_LIMIT),
            offset: 0,
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: None,
            score_threshold: None,
        };
        let found = self.read(|edge| fenced("search the index", || edge.search(request)))?;
        let hit = |chunk_id, score| Hit { chunk_id, score };
        let mut hits: Vec<Hit> =
            found.into_iter().filter_map(|p| Some(hit(chunk_id(p.id)?, p.score))).collect();
        // The engine gives equal scores in the order of its segments, which differs between two
        // indexes of the same documents.
        hits.sort_by(|one, other| {
            other.score.total_cmp(&one.score).then(one.chunk_id.cmp(&other.chunk_id))
        });
        hits.truncate(limit.clamp(1, MAX_LIMIT));
        Ok(hits)
    }

    /// Builds indexes for fields that are filtered by for the first time. It never waits: while
    /// somebody writes, the filter reads the payloads instead, which gives the same answer.
    fn index_fields(&self, fields: &[(JsonPath, PayloadSchemaType)]) -> Result<()> {
        let mut considered = self.considered.lock().unwrap_or_else(PoisonError::into_inner);
        if fields.iter().all(|(field, _)| considered.contains(field)) {
            return Ok(());
        }
        let Ok(_gate) = self.gate.try_lock() else { return Ok(()) };
        let outcome = match self.read_slot().as_ref() {
            Some(edge) => create_indexes(edge, fields, &mut considered),
            None => return Ok(()),
        };
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    pub(super) fn ids(&self) -> Result<Vec<i64>> {
        self.read(|edge| {
            let mut ids = Vec::new();
            let mut offset = None;
            loop {
                let request = ScrollRequest {
                    offset,
                    limit: Some(PAGE),
                    with_payload: Some(WithPayloadInterface::Bool(false)),
                    ..ScrollRequest::default()
                };
                let (page, next) = fenced("list the index", || edge.scroll(request))?;
                ids.extend(page.into_iter().filter_map(|record| chunk_id(record.id)));
                offset = next;
                if offset.is_none() {
                    return Ok(ids);
                }
            }
        })
    }

    pub(super) fn count(&self) -> Result<usize> {
        self.read(|edge| {
            let request = CountRequest { filter: None, exact: true };
            fenced("count the index", || edge.count(request))
        })
    }

    pub(super) fn optimize(&self) -> Result<bool> {
        let _gate = self.lock_gate();
        self.open()?;
        let outcome = self.reading(|edge| {
            fenced("optimize the index", || {
                let changed = edge.optimize()?;
                edge.flush();
                Ok(changed)
            })
        });
        if outcome.is_err() {
            self.close();
        }
        outcome
    }

    pub(super) fn rebuild(
        &self,
        average_terms: f64,
        points: impl IntoIterator<Item = Result<Point>>,
    ) -> Result<()> {
        let embedder = DocumentEmbedder::new(average_terms)?;
        let _gate = self.lock_gate();
        let building = swap::start_build(&self.path)?;
        let built = self.build(&building, &embedder, points);
        if let Err(error) = built.and_then(|()| swap::sync_tree(&building)) {
            swap::discard_build(&building);
            return Err(error);
        }
        let mut slot = self.write_slot();
        // The old shard flushes when it is dropped, so it must go before its files do.
        release(slot.take());
        swap::exchange(&self.path, &building)?;
        *slot = Some(self.load()?);
        Ok(())
    }

    fn build(
        &self,
        building: &Path,
        embedder: &DocumentEmbedder,
        points: impl IntoIterator<Item = Result<Point>>,
    ) -> Result<()> {
        let edge = fenced("make an index", || EdgeShard::new(building, config(self.dimension)))?;
        let mut points = points.into_iter();
        let outcome = loop {
            let batch: Result<Vec<Point>> = points.by_ref().take(BATCH).collect();
            match batch.and_then(|batch| {
                upsert(&edge, embedder, self.dimension, &batch).map(|()| batch.len())
            }) {
                Ok(BATCH) => {}
                Ok(_) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let outcome = outcome.and_then(|()| {
            fenced("flush the index", || {
                edge.optimize()?;
                edge.flush();
                Ok(())
            })
        });
        release(Some(edge));
        outcome
    }

    pub(super) fn remove(&self) -> Result<()> {
        let _gate = self.lock_gate();
        let mut slot = self.write_slot();
        release(slot.take());
        swap::remove(&self.path)
    }

    /// Runs a read, opening the shard first where needed. A collection that has no directory
    /// yet is empty, and reading it does not make one.
    fn read<T: Default>(&self, work: impl FnOnce(&EdgeShard) -> Result<T>) -> Result<T> {
        if self.read_slot().is_none() {
            let _gate = self.lock_gate();
            if !self.path.exists() && !swap::is_broken(&self.path) {
                return Ok(T::default());
            }
            self.open()?;
        }
        self.reading(work)
    }

    fn reading<T>(&self, work: impl FnOnce(&EdgeShard) -> Result<T>) -> Result<T> {
        match self.read_slot().as_ref() {
            Some(edge) => work(edge),
            // Closed in between by a writer that failed.
            None => Err(Error::new(
                Kind::Unavailable,
                "index_closed",
                "The index of the collection is being reopened. Try again.",
            )),
        }
    }

    /// Opens the shard if it is closed. The caller holds the gate.
    fn open(&self) -> Result<()> {
        if self.read_slot().is_some() {
            return Ok(());
        }
        let edge = self.load()?;
        *self.write_slot() = Some(edge);
        Ok(())
    }

    fn load(&self) -> Result<EdgeShard> {
        if swap::is_broken(&self.path) {
            return Err(unreadable(&self.path));
        }
        fs_err::create_dir_all(&self.path)?;
        swap::trim_wal(&self.path)?;
        let load = || EdgeShard::load(&self.path, Some(config(self.dimension)));
        self.considered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        fenced("load the index", load).or_else(|error| {
            swap::move_aside(&self.path)?;
            Err(unreadable(&self.path).caused_by(error))
        })
    }

    fn close(&self) {
        release(self.write_slot().take());
    }

    fn lock_gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_slot(&self) -> RwLockReadGuard<'_, Option<EdgeShard>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_slot(&self) -> RwLockWriteGuard<'_, Option<EdgeShard>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config(dimension: usize) -> EdgeConfig {
    EdgeConfig::builder()
        .vector(DENSE, EdgeVectorParams::builder(dimension, Distance::Cosine).build())
        .sparse_vector(BM25, EdgeSparseVectorParams::builder().modifier(Modifier::Idf).build())
        .optimizers(EdgeOptimizersConfig {
            default_segment_number: Some(1),
            indexing_threshold: Some(GRAPH_FROM_KB),
            ..EdgeOptimizersConfig::default()
        })
        .wal_options(WalOptions { segment_capacity: WAL_SEGMENT_BYTES, ..WalOptions::default() })
        .build()
}

fn upsert(
    edge: &EdgeShard,
    embedder: &DocumentEmbedder,
    dimension: usize,
    points: &[Point],
) -> Result<()> {
    if points.is_empty() {
        return Ok(());
    }
    let mut list = Vec::with_capacity(points.len());
    for point in points {
        check_dense(&point.dense, dimension)?;
        let mut vectors = vec![(DENSE, Vector::new_dense(point.dense.clone()))];
        let terms = embedder.embed(&point.lexical_text);
        if !terms.indices.is_empty() {
            vectors.push((BM25, Vector::from(terms)));
        }
        let payload = json!({ "document_id": point.document_id, "metadata": point.metadata });
        let id = point_id(point.chunk_id)?;
        list.push(PointStruct::new(id, NamedVectors::new_named(vectors), payload).into());
    }
    let operation = PointOperations::UpsertPoints(PointInsertOperations::PointsList(list));
    fenced("update the index", || edge.update(UpdateOperation::PointOperation(operation)))
}

fn create_indexes(
    edge: &EdgeShard,
    fields: &[(JsonPath, PayloadSchemaType)],
    considered: &mut HashSet<JsonPath>,
) -> Result<()> {
    if considered.len() > MAX_CONSIDERED {
        considered.clear();
    }
    let info = edge.info();
    if info.points_count < FIELD_INDEX_FROM {
        return Ok(());
    }
    for (number, (field, field_type)) in (info.payload_schema.len()..).zip(fields) {
        let is_new = considered.insert(field.clone()) && !info.payload_schema.contains_key(field);
        if !is_new || number >= MAX_FIELD_INDEXES {
            continue;
        }
        let create =
            UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(CreateIndex {
                field_name: field.clone(),
                field_schema: Some(PayloadFieldSchema::FieldType(*field_type)),
            }));
        fenced("index a field", || edge.update(create))?;
    }
    fenced("flush the index", || {
        edge.flush();
        Ok(())
    })
}

fn delete(edge: &EdgeShard, ids: &[i64]) -> Result<()> {
    let ids = ids.iter().map(|id| point_id(*id)).collect::<Result<_>>()?;
    let operation = PointOperations::DeletePoints { ids };
    fenced("update the index", || edge.update(UpdateOperation::PointOperation(operation)))
}

fn point_id(chunk_id: i64) -> Result<PointId> {
    let id = u64::try_from(chunk_id).map_err(|error| Error::failed("name a point", error))?;
    Ok(PointId::NumId(id))
}

fn chunk_id(id: PointId) -> Option<i64> {
    match id {
        PointId::NumId(id) => i64::try_from(id).ok(),
        PointId::Uuid(_) => None,
    }
}

/// Calls into qdrant-edge; a panic there becomes an error here.
fn fenced<T>(doing: &str, call: impl FnOnce() -> OperationResult<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| Error::failed(doing, error)),
        Err(_) => Err(Error::internal(format!("failed to {doing}: qdrant-edge panicked"))),
    }
}

/// Drops a shard, whose `Drop` flushes and may panic.
fn release(edge: Option<EdgeShard>) {
    // Nothing to report: what matters was flushed before, the rest is in the outbox.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(edge)));
}

fn unreadable(path: &Path) -> Error {
    Error::new(
        Kind::Unavailable,
        "index_unreadable",
        "The index of the collection could not be read and is being rebuilt.",
    )
    .caused_by(format!("moved aside from {}", path.display()))
}
