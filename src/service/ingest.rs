//! The indexer: queued documents -> chunks with vectors in SQL -> the index. One loop, resumable
//! at every point: what SQL has not marked as done is done again after a crash.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Services;
use crate::error::{Error, Kind, Result};
use crate::model::TextKind;
use crate::retrieve::chunk::{Chunk, ChunkLimits, chunk};
use crate::store::TenantId;
use crate::store::corpus::{CollectionRef, NewChunk, QueuedDocument};
use crate::store::vectors::INDEX_UNAVAILABLE;
use crate::telemetry::metrics::{self, Invariant, Stage};

/// Documents read before the outbox is emptied again.
const DOCUMENTS_PER_ROUND: usize = 16;
/// Chunks put into the index in one flush.
const CHUNKS_PER_FLUSH: usize = 512;
/// A look at the queue without being woken, in case a wake-up was lost with a crash.
const IDLE_LOOK: Duration = Duration::from_secs(5);
/// Pause after a failure of ours, so that a broken disk is not hammered. It doubles with each
/// failure in a row.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);
const MAX_FAILURE_PAUSE: Duration = Duration::from_secs(8);

/// The running indexer; dropping it does not stop it, [`Indexer::stop`] does.
pub struct Indexer {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Indexer {
    /// Starts the loop.
    pub fn start(services: Arc<Services>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut failure_pause = FAILURE_PAUSE;
            while !stopped.is_cancelled() {
                let pause = match services.index_round(&stopped).await {
                    Ok(true) => {
                        failure_pause = FAILURE_PAUSE;
                        continue;
                    }
                    Ok(false) => {
                        failure_pause = FAILURE_PAUSE;
                        IDLE_LOOK
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "indexing failed and will be tried again");
                        failure_pause = (failure_pause * 2).min(MAX_FAILURE_PAUSE);
                        failure_pause / 2
                    }
                };
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = services.work.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        });
        Self { stop, task }
    }

    /// Ends the loop after the document that is under way.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the indexer ended badly");
        }
    }
}

impl Services {
    /// Brings the index in step at the start. A server that cannot be reached is left to the
    /// indexer, which goes on trying: all that needs no index works meanwhile.
    pub async fn begin_index(&self) -> Result<()> {
        match self.keep_in_step().await {
            Err(error) if error.code == INDEX_UNAVAILABLE => {
                tracing::warn!(error = %error, "starting without the index");
                Ok(())
            }
            other => other,
        }
    }

    /// Brings the index in step where that is not known of it.
    async fn keep_in_step(&self) -> Result<()> {
        if !self.index_in_step.load(Ordering::Acquire) {
            self.recover_index().await?;
        }
        let vectors = Arc::clone(&self.retriever.vectors);
        blocking(move || vectors.check()).await?;
        self.index_in_step.store(true, Ordering::Release);
        self.index_ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Brings the index in step with SQL after a start: shards that cannot be read are built
    /// anew, points that SQL does not know are removed, missing ones become pending again.
    pub async fn recover_index(&self) -> Result<()> {
        let recovery = self.store().recover().await?;
        tracing::info!(?recovery, "recovered the outbox");
        for (tenant, collection) in self.store().live_collections().await? {
            match self.reconcile(&tenant, &collection).await {
                Err(error) if error.code == "index_unreadable" => {
                    self.rebuild(&tenant, &collection).await?;
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn reconcile(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<()> {
        let (vectors, of_tenant, of_collection) =
            (Arc::clone(&self.retriever.vectors), tenant.clone(), collection.clone());
        let ids = blocking(move || vectors.ids(&of_tenant, &of_collection)).await?;
        let found = self.store().reconcile(tenant, collection, &ids).await?;
        if found.missing > 0 || !found.orphans.is_empty() {
            tracing::warn!(missing = found.missing, orphans = found.orphans.len(), "index mended");
            metrics::violated(Invariant::IndexComplete, found.missing);
        }
        let (vectors, of_tenant, of_collection) =
            (Arc::clone(&self.retriever.vectors), tenant.clone(), collection.clone());
        blocking(move || vectors.apply(&of_tenant, &of_collection, &[], &found.orphans)).await
    }

    /// Builds a collection's index anew from SQL, beside the old one.
    pub async fn rebuild(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<()> {
        tracing::warn!(collection = collection.id(), "rebuilding the index from the database");
        let collection = self.store().refresh_average_terms(tenant, collection).await?;
        let (vectors, store) = (Arc::clone(&self.retriever.vectors), self.store().clone());
        let (tenant, runtime) = (tenant.clone(), tokio::runtime::Handle::current());
        blocking(move || {
            let mut after = 0;
            let pages = std::iter::from_fn(|| {
                let page = runtime.block_on(store.index_points(
                    &tenant,
                    &collection,
                    after,
                    CHUNKS_PER_FLUSH,
                ));
                match page {
                    Ok(points) if points.is_empty() => None,
                    Ok(points) => {
                        after = points.last().map_or(after, |point| point.chunk_id);
                        Some(points.into_iter().map(Ok).collect::<Vec<_>>())
                    }
                    Err(error) => Some(vec![Err(error)]),
                }
            });
            vectors.rebuild(&tenant, &collection, pages.flatten())
        })
        .await
    }

    /// One round: some queued documents, then the outbox. True when there was work. Documents are
    /// read ahead of their turn, so that one that takes its time holds up few others.
    pub async fn index_round(&self, stop: &CancellationToken) -> Result<bool> {
        let documents = self.store().queued_documents(DOCUMENTS_PER_ROUND).await?;
        let worked = !documents.is_empty();
        let mut readings = stream::iter(documents)
            .map(|document| self.start_reading(document).finish())
            .buffered(self.config.ingest.parsers);
        loop {
            let read = tokio::select! {
                read = readings.next() => read,
                () = stop.cancelled() => return Ok(true),
            };
            let Some((document, chunks)) = read else { break };
            self.index_document(document, chunks).await?;
        }
        let emptied = self.empty_outboxes().await;
        if emptied.as_ref().is_err_and(|error| error.code == INDEX_UNAVAILABLE) {
            // Nobody knows what a server that comes back has kept.
            self.index_in_step.store(false, Ordering::Release);
        }
        Ok(emptied? || worked)
    }

    async fn empty_outboxes(&self) -> Result<bool> {
        self.keep_in_step().await?;
        let mut worked = false;
        for (tenant, collection) in self.store().collections_with_pending_index().await? {
            self.empty_outbox(&tenant, &collection).await?;
            worked = true;
        }
        for (tenant, collection) in self.store().deleted_collections().await? {
            let (vectors, of_tenant, of_collection) =
                (Arc::clone(&self.retriever.vectors), tenant.clone(), collection.clone());
            blocking(move || vectors.drop_collection(&of_tenant, &of_collection)).await?;
            self.store().purge_collection(&tenant, &collection).await?;
            worked = true;
        }
        Ok(worked)
    }

    /// Chunks with vectors for one document. A document at fault is marked failed with the
    /// reason; a failure of ours leaves it queued.
    async fn index_document(
        &self,
        document: QueuedDocument,
        chunks: Result<Vec<Chunk>>,
    ) -> Result<()> {
        match self.with_vectors(&document, chunks).await {
            Ok(chunks) => {
                self.store().replace_chunks(&document.tenant, &document, chunks).await?;
            }
            Err(error) if matches!(error.kind, Kind::Internal | Kind::Busy | Kind::Unavailable) => {
                return Err(error);
            }
            Err(error) => {
                self.store().fail_document(&document.tenant, &document, &error.message).await?;
            }
        }
        Ok(())
    }

    async fn with_vectors(
        &self,
        document: &QueuedDocument,
        chunks: Result<Vec<Chunk>>,
    ) -> Result<Vec<NewChunk>> {
        if document.collection.embedder != self.retriever.encoder.id() {
            return Err(Error::invalid(
                "collection_embedder",
                format!(
                    "the collection was indexed by `{}`, the server runs `{}`",
                    document.collection.embedder,
                    self.retriever.encoder.id()
                ),
            ));
        }
        let chunks = chunks?;
        let passages = chunks.iter().map(|chunk| format!("{}\n{}", chunk.title, chunk.text));
        let vectors = self.embed(TextKind::Passage, passages.collect()).await?;
        Ok(chunks
            .into_iter()
            .zip(vectors)
            .map(|(chunk, vector)| NewChunk {
                ordinal: chunk.ordinal as i64,
                text: chunk.text,
                span: (chunk.start, chunk.end),
                heading: Some(chunk.title).filter(|title| !title.is_empty()),
                vector,
            })
            .collect())
    }

    /// Begins to parse and cut a document, off the runtime's threads.
    fn start_reading(&self, mut document: QueuedDocument) -> Reading {
        let ingest = &self.config.ingest;
        let limits = ChunkLimits {
            max_tokens: ingest.chunk_tokens,
            min_tokens: ingest.min_chunk_tokens,
            overlap_tokens: ingest.overlap_tokens,
        };
        let (parsers, encoder) = (Arc::clone(&self.parsers), Arc::clone(&self.retriever.encoder));
        let (id, media_type) = (document.id.clone(), document.media_type.clone());
        let (title, uri) = (document.title.clone(), document.uri.clone());
        let content = std::mem::take(&mut document.content);
        let chunks = tokio::spawn(async move {
            let started = Instant::now();
            let mut parsed = parsers.parse(&media_type, content).await?;
            metrics::stage(Stage::Parse, started.elapsed().as_secs_f64() * 1e3);
            // A title that is only the name of the file gives way to the document's own.
            if parsed.title.is_none() || title != uri {
                parsed.title = title.or(parsed.title);
            }
            let cut = move || chunk(&parsed, &id, limits, &|text| encoder.count_tokens(text));
            tokio::task::spawn_blocking(cut).await.map_err(lost)
        });
        Reading { document, chunks: AbortOnDrop(chunks) }
    }

    async fn empty_outbox(&self, tenant: &TenantId, collection: &CollectionRef) -> Result<()> {
        let mut added = 0;
        loop {
            let pending = self.store().pending_index(tenant, collection, CHUNKS_PER_FLUSH).await?;
            if pending.upserts.is_empty() && pending.deletes.is_empty() {
                return self.keep_average(tenant, collection, added).await;
            }
            let ids: Vec<i64> = pending.upserts.iter().map(|point| point.chunk_id).collect();
            let deletes = pending.deletes.clone();
            let (vectors, of_tenant, of_collection) =
                (Arc::clone(&self.retriever.vectors), tenant.clone(), collection.clone());
            let started = Instant::now();
            let applied = blocking(move || {
                vectors.apply(&of_tenant, &of_collection, &pending.upserts, &pending.deletes)
            })
            .await;
            metrics::stage(Stage::Index, started.elapsed().as_secs_f64() * 1e3);
            match applied {
                Err(error) if error.code == "index_unreadable" => {
                    self.rebuild(tenant, collection).await?;
                    continue;
                }
                other => other?,
            }
            self.store().mark_indexed(tenant, collection, &ids).await?;
            added += ids.len() as u64;
            self.store().purge_deleted(tenant, collection, &deletes).await?;
        }
    }
}

/// A document that is being read and cut.
struct Reading {
    document: QueuedDocument,
    chunks: AbortOnDrop<Result<Vec<Chunk>>>,
}

impl Reading {
    async fn finish(self) -> (QueuedDocument, Result<Vec<Chunk>>) {
        let Self { document, mut chunks } = self;
        let read = (&mut chunks.0).await.unwrap_or_else(|error| Err(lost(error)));
        (document, read)
    }
}

/// A task that ends when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A panic over a document is the document's fault, not the server's.
fn lost(error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        return Error::invalid("document_unreadable", "the document cannot be cut into passages");
    }
    Error::failed("read a document", error)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::failed("index", source))?
}
