//! Accepting documents: the acknowledgement, after which a document survives a crash.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::corpus::{find_collection, no_collection};
use super::sql::{Transaction, query, query_as, query_scalar};
use super::{Store, TenantId, new_id, now_ms};
use crate::error::{Error, Result};

const MAX_ID_CHARS: usize = 256;

/// A document as the caller gives it.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// The caller's id, unique in the collection; `doc_…` is made up when there is none.
    pub id: Option<String>,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub media_type: String,
    /// The bytes as they were sent. They are kept: chunks can be made anew from them.
    pub content: Vec<u8>,
    pub metadata: Map<String, Value>,
}

/// The acknowledgement of an upload: from here on its documents survive a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub task_id: String,
    /// In the order of the upload.
    pub document_ids: Vec<String>,
}

impl Store {
    /// Takes documents in one transaction and returns the task that follows them. A document
    /// that is stored already in exactly this form is no work; one with the same id and other
    /// content replaces it, and the old chunks answer until the new ones are written.
    pub async fn accept_documents(
        &self,
        tenant: &TenantId,
        collection: &str,
        documents: Vec<NewDocument>,
    ) -> Result<Accepted> {
        for (position, document) in documents.iter().enumerate() {
            check_document_id(position, document.id.as_deref())?;
        }
        let mut transaction = self.begin().await?;
        let collection = find_collection(&mut transaction, tenant, collection)
            .await?
            .ok_or_else(|| no_collection(collection))?;
        let task_id = new_id("ts");
        query("INSERT INTO tasks (id, tenant, collection_id, created_at) VALUES ($1, $2, $3, $4)")
            .bind(&task_id)
            .bind(tenant.as_str())
            .bind(collection.index().id())
            .bind(now_ms())
            .execute(&mut *transaction)
            .await?;
        let mut document_ids = Vec::with_capacity(documents.len());
        for (position, document) in (0_i64..).zip(documents) {
            let id = document.id.clone().unwrap_or_else(|| new_id("doc"));
            let upload = Upload { task_id: &task_id, position, id: &id, document };
            upload.write(&mut transaction, collection.index().id()).await?;
            document_ids.push(id);
        }
        transaction.commit().await?;
        Ok(Accepted { task_id, document_ids })
    }
}

/// One document of an upload on its way into the tables.
struct Upload<'a> {
    task_id: &'a str,
    position: i64,
    id: &'a str,
    document: NewDocument,
}

impl Upload<'_> {
    async fn write(self, transaction: &mut Transaction, collection_id: i64) -> Result<()> {
        let metadata = Value::Object(self.document.metadata.clone()).to_string();
        let hash = document_hash(&self.document, &metadata);
        let stored: Option<(i64, Vec<u8>, String)> = query_as(
            "SELECT row_id, content_hash, state FROM documents
             WHERE collection_id = $1 AND id = $2",
        )
        .bind(collection_id)
        .bind(self.id)
        .fetch_optional(&mut **transaction)
        .await?;
        let (row_id, entry) = match stored {
            Some((row_id, old, state)) if old == hash && state == "indexed" => {
                (row_id, "succeeded")
            }
            Some((row_id, old, state))
                if old == hash && (state == "queued" || state == "indexing") =>
            {
                (row_id, "pending")
            }
            Some((row_id, ..)) => {
                supersede(transaction, row_id).await?;
                self.replace(transaction, row_id, &metadata, &hash).await?;
                (row_id, "pending")
            }
            None => (self.insert(transaction, collection_id, &metadata, &hash).await?, "pending"),
        };
        query(
            "INSERT INTO task_documents (task_id, position, document_row, document_id, state)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(self.task_id)
        .bind(self.position)
        .bind(row_id)
        .bind(self.id)
        .bind(entry)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    async fn insert(
        &self,
        transaction: &mut Transaction,
        collection_id: i64,
        metadata: &str,
        hash: &[u8],
    ) -> Result<i64> {
        let now = now_ms();
        Ok(query_scalar(
            "INSERT INTO documents (collection_id, id, title, uri, media_type, metadata, content,
                                    content_hash, state, task_id, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10, $11) RETURNING row_id",
        )
        .bind(collection_id)
        .bind(self.id)
        .bind(&self.document.title)
        .bind(&self.document.uri)
        .bind(&self.document.media_type)
        .bind(metadata)
        .bind(&self.document.content)
        .bind(hash)
        .bind(self.task_id)
        .bind(now)
        .bind(now)
        .fetch_one(&mut **transaction)
        .await?)
    }

    async fn replace(
        &self,
        transaction: &mut Transaction,
        row_id: i64,
        metadata: &str,
        hash: &[u8],
    ) -> Result<()> {
        query(
            "UPDATE documents
             SET title = $1, uri = $2, media_type = $3, metadata = $4, content = $5, content_hash = $6,
                 state = 'queued', error = NULL, revision = revision + 1, task_id = $7,
                 updated_at = $8
             WHERE row_id = $9",
        )
        .bind(&self.document.title)
        .bind(&self.document.uri)
        .bind(&self.document.media_type)
        .bind(metadata)
        .bind(&self.document.content)
        .bind(hash)
        .bind(self.task_id)
        .bind(now_ms())
        .bind(row_id)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

/// Ends the waiting of earlier tasks for a document that a newer upload replaces: what they
/// asked for has been overtaken by the same caller's later word.
async fn supersede(transaction: &mut Transaction, row_id: i64) -> Result<()> {
    query(
        "UPDATE task_documents SET state = 'succeeded'
         WHERE document_row = $1 AND state = 'pending'",
    )
    .bind(row_id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn check_document_id(position: usize, id: Option<&str>) -> Result<()> {
    let Some(id) = id else { return Ok(()) };
    let length = id.chars().count();
    if (1..=MAX_ID_CHARS).contains(&length) && !id.chars().any(char::is_control) {
        return Ok(());
    }
    let problem = format!(
        "A document id has 1 to {MAX_ID_CHARS} characters and no control characters; this one \
         has {length} characters."
    );
    Err(Error::invalid("invalid_document_id", problem.clone())
        .with_field(format!("/documents/{position}/id"), problem))
}

/// The hash that tells one version of a document from another. Each part is preceded by its
/// length, so that moving a character from one to the next changes the hash.
fn document_hash(document: &NewDocument, metadata: &str) -> Vec<u8> {
    let mut hasher = Sha256::new();
    let parts: [Option<&[u8]>; 5] = [
        document.title.as_deref().map(str::as_bytes),
        document.uri.as_deref().map(str::as_bytes),
        Some(document.media_type.as_bytes()),
        Some(metadata.as_bytes()),
        Some(&document.content),
    ];
    for part in parts {
        let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
        hasher.update(length.to_le_bytes());
        hasher.update(part.unwrap_or_default());
    }
    hasher.finalize().to_vec()
}
