//! From a queued document to chunks: handing it to the worker, and writing the chunks that the
//! worker made of it.
//!
//! A document's revision guards against a worker that finishes after its document was replaced
//! or deleted: its work is then refused, and the newer revision is queued anyway.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::corpus::{Collection, lock_collection};
use super::documents::{decode_metadata, encode_vector};
use super::sql::{Transaction, query, query_as};
use super::vectors::lexical;
use super::{Store, TenantId, now_ms, outbox};
use crate::error::{Error, Kind, Result};

/// A document that waits to be cut into chunks.
#[derive(Debug, Clone)]
pub struct QueuedDocument {
    pub tenant: TenantId,
    pub collection: Collection,
    pub id: String,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub media_type: String,
    pub content: Vec<u8>,
    pub metadata: Map<String, Value>,
    row_id: i64,
    revision: i64,
}

/// A piece of a document with its embedding.
#[derive(Debug, Clone)]
pub struct NewChunk {
    /// Place among the document's chunks, from 0.
    pub ordinal: i64,
    pub text: String,
    /// Start and end in the document's plain text, in Unicode scalar values.
    pub span: (usize, usize),
    /// The headings above it, for example `Billing > Refunds`.
    pub heading: Option<String>,
    /// As long as the collection's dimension.
    pub vector: Vec<f32>,
}

impl Store {
    /// The documents that wait, of all tenants, oldest first. They stay queued until
    /// [`Store::replace_chunks`] or [`Store::fail_document`], so one worker asks at a time.
    pub async fn queued_documents(&self, limit: usize) -> Result<Vec<QueuedDocument>> {
        let rows: Vec<QueuedRow> = query_as(
            "SELECT d.row_id, d.revision, d.id, d.title, d.uri, d.media_type, d.metadata,
                    d.content, c.tenant, c.name AS collection
             FROM documents d JOIN collections c ON c.id = d.collection_id
             WHERE d.state = 'queued' AND c.state = 'live'
             ORDER BY d.updated_at, d.row_id LIMIT $1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.reader)
        .await?;
        let mut documents = Vec::with_capacity(rows.len());
        for row in rows {
            let tenant = TenantId::new(row.tenant.clone())?;
            match self.get_collection(&tenant, &row.collection).await {
                Ok(collection) => documents.push(row.document(tenant, collection)?),
                // The collection was deleted since; its documents are no longer work.
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(documents)
    }

    /// Writes a document's chunks in place of the ones it had. `false` means that the document
    /// was replaced or deleted meanwhile, and nothing was written.
    pub async fn replace_chunks(
        &self,
        tenant: &TenantId,
        document: &QueuedDocument,
        chunks: Vec<NewChunk>,
    ) -> Result<bool> {
        let collection = document.collection.index();
        collection.check_tenant(tenant)?;
        let prepared = prepare_chunks(document, chunks)?;
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, document.collection.index().id()).await?;
        if !document.advance(&mut transaction, "indexing", None).await? {
            return Ok(false);
        }
        retire_chunks(&mut transaction, document.row_id).await?;
        for chunk in &prepared {
            chunk.insert(&mut transaction, collection.id(), document.row_id).await?;
        }
        set_average_terms(&mut transaction, collection.id(), &prepared).await?;
        outbox::finish_documents(&mut transaction, &[document.row_id]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Gives a document up, with the reason that its task will show. Chunks that an earlier
    /// revision left go too: nobody should find what the owner meant to replace. `false` means
    /// that the document was replaced or deleted meanwhile.
    pub async fn fail_document(
        &self,
        tenant: &TenantId,
        document: &QueuedDocument,
        reason: &str,
    ) -> Result<bool> {
        document.collection.index().check_tenant(tenant)?;
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, document.collection.index().id()).await?;
        if !document.advance(&mut transaction, "failed", Some(reason)).await? {
            return Ok(false);
        }
        hide_chunks(&mut transaction, document.row_id).await?;
        query(
            "UPDATE task_documents SET state = 'failed', error = $1
             WHERE document_row = $2 AND state = 'pending'",
        )
        .bind(reason)
        .bind(document.row_id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.last_known.forget_document(document.collection.index().id(), &document.id);
        Ok(true)
    }
}

/// Leaves the chunks that are in the index to answer until their successors are all there,
/// and drops the ones that never entered.
async fn retire_chunks(transaction: &mut Transaction, document_row: i64) -> Result<()> {
    query(
        "UPDATE chunks
         SET index_state = CASE index_state WHEN 'indexed' THEN 'retired' ELSE 'deleting' END
         WHERE document_row = $1 AND index_state IN ('pending', 'indexed')",
    )
    .bind(document_row)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Hides a document's chunks at once and sends them out of the index. Ones that never entered
/// go the same way: a delete of a point that is not there does nothing.
pub(super) async fn hide_chunks(transaction: &mut Transaction, document_row: i64) -> Result<()> {
    query("UPDATE chunks SET index_state = 'deleting' WHERE document_row = $1")
        .bind(document_row)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

impl QueuedDocument {
    /// Moves the document on from `queued`, unless it is no longer the one the worker took.
    async fn advance(
        &self,
        transaction: &mut Transaction,
        state: &str,
        error: Option<&str>,
    ) -> Result<bool> {
        let moved = query(
            "UPDATE documents SET state = $1, error = $2, updated_at = $3
             WHERE row_id = $4 AND revision = $5 AND state = 'queued'
               AND collection_id IN (SELECT id FROM collections WHERE state = 'live')",
        )
        .bind(state)
        .bind(error)
        .bind(now_ms())
        .bind(self.row_id)
        .bind(self.revision)
        .execute(&mut **transaction)
        .await?;
        Ok(moved.rows_affected() == 1)
    }
}

/// A chunk as its row, worked out before the writer is taken.
struct PreparedChunk {
    chunk: NewChunk,
    span: (i64, i64),
    hash: Vec<u8>,
    vector: Vec<u8>,
    n_terms: i64,
}

fn prepare_chunks(document: &QueuedDocument, chunks: Vec<NewChunk>) -> Result<Vec<PreparedChunk>> {
    let dimension = document.collection.dimension;
    let position = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let prepare = |chunk: NewChunk| {
        if chunk.vector.len() != dimension || chunk.vector.iter().any(|value| !value.is_finite()) {
            return Err(Error::internal(format!(
                "chunk {} of document {} needs a vector of {dimension} finite numbers",
                chunk.ordinal, document.id
            )));
        }
        let text =
            lexical::lexical_text(document.title.as_deref(), chunk.heading.as_deref(), &chunk.text);
        Ok(PreparedChunk {
            span: (position(chunk.span.0), position(chunk.span.1)),
            hash: Sha256::digest(chunk.text.as_bytes()).to_vec(),
            vector: encode_vector(&chunk.vector),
            n_terms: position(lexical::estimate_terms(&text)),
            chunk,
        })
    };
    chunks.into_iter().map(prepare).collect()
}

impl PreparedChunk {
    async fn insert(
        &self,
        transaction: &mut Transaction,
        collection_id: i64,
        document_row: i64,
    ) -> Result<()> {
        query(
            "INSERT INTO chunks (collection_id, document_row, ordinal, span_start, span_end,
                                 heading, content_hash, n_terms, index_state, text, vector)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'pending', $9, $10)",
        )
        .bind(collection_id)
        .bind(document_row)
        .bind(self.chunk.ordinal)
        .bind(self.span.0)
        .bind(self.span.1)
        .bind(&self.chunk.heading)
        .bind(&self.hash)
        .bind(self.n_terms)
        .bind(&self.chunk.text)
        .bind(&self.vector)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Takes the first document's chunks for the average until a rebuild counts them all: chunks of
/// one collection are cut by one rule, so their lengths are alike.
async fn set_average_terms(
    transaction: &mut Transaction,
    collection_id: i64,
    chunks: &[PreparedChunk],
) -> Result<()> {
    if chunks.is_empty() {
        return Ok(());
    }
    let n_terms: i64 = chunks.iter().map(|chunk| chunk.n_terms).sum();
    let average = n_terms as f64 / chunks.len() as f64;
    query("UPDATE collections SET average_terms = $1 WHERE id = $2 AND average_terms IS NULL")
        .bind(average.max(1.0))
        .bind(collection_id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct QueuedRow {
    row_id: i64,
    revision: i64,
    id: String,
    title: Option<String>,
    uri: Option<String>,
    media_type: String,
    metadata: String,
    content: Vec<u8>,
    tenant: String,
    collection: String,
}

impl QueuedRow {
    fn document(self, tenant: TenantId, collection: Collection) -> Result<QueuedDocument> {
        Ok(QueuedDocument {
            tenant,
            collection,
            metadata: decode_metadata(&self.metadata)?,
            id: self.id,
            title: self.title,
            uri: self.uri,
            media_type: self.media_type,
            content: self.content,
            row_id: self.row_id,
            revision: self.revision,
        })
    }
}
