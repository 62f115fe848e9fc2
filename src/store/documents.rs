//! Documents and chunks as they are read back, and the deletion of a document.

use std::collections::HashMap;

use serde_json::{Map, Value};
use sqlx::FromRow;
use time::OffsetDateTime;

use super::corpus::{find_collection, no_collection};
use super::sql::{query, query_as, query_scalar};
use super::{Page, Store, TenantId, count, from_ms, ingest, now_ms, outbox, page_of, page_rows};
use crate::error::{Error, Result};

/// Where a document stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentState {
    /// Waits for the worker.
    Queued,
    /// Cut into chunks, some of which have yet to enter the index.
    Indexing,
    /// Searchable.
    Indexed,
    /// Given up; the error says why.
    Failed,
    /// On its way out.
    Deleting,
}

impl DocumentState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Indexing => "indexing",
            Self::Indexed => "indexed",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Queued, Self::Indexing, Self::Indexed, Self::Failed, Self::Deleting]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::internal(format!("unknown document state {text:?}")))
    }
}

/// A document without its content.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: String,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub media_type: String,
    pub metadata: Map<String, Value>,
    pub state: DocumentState,
    pub error: Option<String>,
    /// The task of the upload that brought this version.
    pub task_id: String,
    /// SHA-256 over content, title, uri, media type and metadata, in hexadecimal.
    pub content_hash: String,
    pub size_bytes: u64,
    pub n_chunks: u64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A chunk with what its document says about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkRow {
    pub id: i64,
    pub document_id: String,
    pub ordinal: i64,
    pub text: String,
    /// Start and end in the document's plain text, in Unicode scalar values.
    pub span: (usize, usize),
    pub heading: Option<String>,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub metadata: Map<String, Value>,
}

impl Store {
    /// One document, or `NotFound`.
    pub async fn get_document(
        &self,
        tenant: &TenantId,
        collection: &str,
        id: &str,
    ) -> Result<Document> {
        let collection = self.get_collection(tenant, collection).await?.index();
        query_as::<DocumentRow>(
            "SELECT row_id, id, title, uri, media_type, metadata, content_hash, state, error,
                    task_id, created_at, updated_at, CAST(length(content) AS BIGINT) AS size_bytes,
                    (SELECT count(*) FROM chunks c
                      WHERE c.document_row = d.row_id AND c.index_state IN ('pending', 'indexed')) AS n_chunks
             FROM documents d
             WHERE collection_id = $1 AND id = $2 AND state <> 'deleting'",
        )
        .bind(collection.id())
        .bind(id)
        .fetch_optional(&self.reader)
        .await?
        .ok_or_else(|| no_document(id))?
        .document()
    }

    /// The collection's documents, in the order of their first upload.
    pub async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<Document>> {
        let collection = self.get_collection(tenant, collection).await?.index();
        let rows: Vec<DocumentRow> = query_as(
            "SELECT row_id, id, title, uri, media_type, metadata, content_hash, state, error,
                    task_id, created_at, updated_at, CAST(length(content) AS BIGINT) AS size_bytes,
                    (SELECT count(*) FROM chunks c
                      WHERE c.document_row = d.row_id AND c.index_state IN ('pending', 'indexed')) AS n_chunks
             FROM documents d
             WHERE collection_id = $1 AND state <> 'deleting' AND row_id > $2
             ORDER BY row_id LIMIT $3",
        )
        .bind(collection.id())
        .bind(parse_cursor(after)?)
        .bind(page_rows(limit))
        .fetch_all(&self.reader)
        .await?;
        page_of(rows, limit, |row| format!("{:x}", row.row_id), DocumentRow::document)
    }

    /// The bytes of a document as they were uploaded.
    pub async fn document_content(
        &self,
        tenant: &TenantId,
        collection: &str,
        id: &str,
    ) -> Result<Vec<u8>> {
        let collection = self.get_collection(tenant, collection).await?.index();
        query_scalar(
            "SELECT content FROM documents
             WHERE collection_id = $1 AND id = $2 AND state <> 'deleting'",
        )
        .bind(collection.id())
        .bind(id)
        .fetch_optional(&self.reader)
        .await?
        .ok_or_else(|| no_document(id))
    }

    /// Hides a document at once; its chunks leave the index through the outbox, and its row
    /// goes with the last of them.
    pub async fn delete_document(
        &self,
        tenant: &TenantId,
        collection: &str,
        id: &str,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let collection = find_collection(&mut transaction, tenant, collection)
            .await?
            .ok_or_else(|| no_collection(collection))?
            .index();
        let row_id: i64 = query_scalar(
            "UPDATE documents SET state = 'deleting', revision = revision + 1, updated_at = $1
             WHERE collection_id = $2 AND id = $3 AND state <> 'deleting' RETURNING row_id",
        )
        .bind(now_ms())
        .bind(collection.id())
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| no_document(id))?;
        query(
            "UPDATE task_documents
             SET state = 'failed', error = 'the document was deleted before it was indexed'
             WHERE document_row = $1 AND state = 'pending'",
        )
        .bind(row_id)
        .execute(&mut *transaction)
        .await?;
        ingest::hide_chunks(&mut transaction, row_id).await?;
        outbox::finish_documents(&mut transaction, &[row_id]).await?;
        transaction.commit().await?;
        self.last_known.forget_document(collection.id(), id);
        Ok(())
    }

    /// The chunks of these ids, in the order asked. Ids that are unknown, deleted or another
    /// collection's are left out, so hits of a stale index never show what is gone. A document
    /// that is being replaced answers with its old chunks until the new ones are all indexed.
    pub async fn chunks_by_ids(
        &self,
        tenant: &TenantId,
        collection: &str,
        ids: &[i64],
    ) -> Result<Vec<ChunkRow>> {
        let collection = self.get_collection(tenant, collection).await?.index();
        let rows: Vec<StoredChunk> = query_as(
            "SELECT c.id, d.id AS document_id, c.ordinal, c.text, c.span_start, c.span_end,
                    c.heading, d.title, d.uri, d.metadata
             FROM json_each($1) wanted CROSS JOIN chunks c CROSS JOIN documents d
             WHERE c.id = wanted.value AND d.row_id = c.document_row AND +c.collection_id = $2
               AND CASE d.state WHEN 'indexing' THEN c.index_state = 'retired'
                                WHEN 'queued' THEN c.index_state IN ('pending', 'indexed')
                                WHEN 'indexed' THEN c.index_state IN ('pending', 'indexed')
                                ELSE FALSE END",
        )
        .bind(ids_json(ids))
        .bind(collection.id())
        .fetch_all(&self.reader)
        .await?;
        let mut by_id: HashMap<i64, StoredChunk> =
            rows.into_iter().map(|row| (row.id, row)).collect();
        ids.iter().filter_map(|id| by_id.remove(id)).map(StoredChunk::chunk).collect()
    }
}

/// A list of ids as one bound parameter: `IN (SELECT value FROM json_each(?))`.
pub(super) fn ids_json(ids: &[i64]) -> String {
    Value::from(ids).to_string()
}

pub(super) fn decode_metadata(text: &str) -> Result<Map<String, Value>> {
    Ok(serde_json::from_str(text)?)
}

pub(super) fn encode_vector(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub(super) fn decode_vector(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

pub(super) fn no_document(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::not_found("document_not_found", format!("The document {shown:?} does not exist."))
}

fn parse_cursor(after: Option<&str>) -> Result<i64> {
    let Some(after) = after else { return Ok(0) };
    i64::from_str_radix(after, 16).map_err(|_| {
        Error::invalid("invalid_cursor", "`after` is not a cursor that a list has returned.")
    })
}

#[derive(FromRow)]
struct DocumentRow {
    row_id: i64,
    id: String,
    title: Option<String>,
    uri: Option<String>,
    media_type: String,
    metadata: String,
    content_hash: Vec<u8>,
    state: String,
    error: Option<String>,
    task_id: String,
    created_at: i64,
    updated_at: i64,
    size_bytes: i64,
    n_chunks: i64,
}

impl DocumentRow {
    fn document(self) -> Result<Document> {
        Ok(Document {
            metadata: decode_metadata(&self.metadata)?,
            state: DocumentState::parse(&self.state)?,
            content_hash: self.content_hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            id: self.id,
            title: self.title,
            uri: self.uri,
            media_type: self.media_type,
            error: self.error,
            task_id: self.task_id,
            size_bytes: count(self.size_bytes),
            n_chunks: count(self.n_chunks),
            created_at: from_ms(self.created_at),
            updated_at: from_ms(self.updated_at),
        })
    }
}

#[derive(FromRow)]
struct StoredChunk {
    id: i64,
    document_id: String,
    ordinal: i64,
    text: String,
    span_start: i64,
    span_end: i64,
    heading: Option<String>,
    title: Option<String>,
    uri: Option<String>,
    metadata: String,
}

impl StoredChunk {
    fn chunk(self) -> Result<ChunkRow> {
        let position = |value: i64| usize::try_from(value).unwrap_or(0);
        Ok(ChunkRow {
            metadata: decode_metadata(&self.metadata)?,
            span: (position(self.span_start), position(self.span_end)),
            id: self.id,
            document_id: self.document_id,
            ordinal: self.ordinal,
            text: self.text,
            heading: self.heading,
            title: self.title,
            uri: self.uri,
        })
    }
}
