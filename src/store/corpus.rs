//! Collections: making, finding and deleting them.
//!
//! A collection belongs to one tenant and one embedder. Deleting it hides it at once and frees
//! its name; its index directory and rows follow by [`Store::deleted_collections`] and
//! [`Store::purge_collection`], however often the process dies in between.

use sqlx::FromRow;
use time::OffsetDateTime;

pub use super::accept::{Accepted, NewDocument};
pub use super::documents::{ChunkRow, Document, DocumentState};
pub use super::ingest::{NewChunk, QueuedDocument};
use super::sql::{Transaction, query, query_as, query_scalar};
use super::{Page, Store, TenantId, check_name, count, from_ms, now_ms, page_of, page_rows};
use crate::error::{Error, Kind, Result};

/// Terms to a chunk that BM25 assumes before the collection knows better.
pub const DEFAULT_AVERAGE_TERMS: f64 = 128.0;

/// What a collection is made with.
#[derive(Debug, Clone)]
pub struct NewCollection {
    pub description: Option<String>,
    /// Id of the embedder that indexes it, for example `starter-embedder@1`.
    pub embedder: String,
    /// Length of that embedder's vectors.
    pub dimension: usize,
}

/// A collection of documents.
#[derive(Debug, Clone)]
pub struct Collection {
    pub name: String,
    pub description: Option<String>,
    pub embedder: String,
    pub dimension: usize,
    pub created_at: OffsetDateTime,
    index: CollectionRef,
}

/// What the index needs to know of a collection. Only the store makes one, so holding one
/// means that the tenant owns the collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionRef {
    tenant: TenantId,
    id: i64,
    dimension: usize,
    average_terms: f64,
    /// Milliseconds since the Unix epoch.
    created_at: i64,
}

/// How much a collection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionCounts {
    pub documents: u64,
    pub chunks: u64,
    /// Chunks that have not yet entered or left the index.
    pub pending_chunks: u64,
}

impl Collection {
    /// The collection as the index knows it.
    pub fn index(&self) -> CollectionRef {
        self.index.clone()
    }
}

impl CollectionRef {
    #[cfg(test)]
    pub(crate) fn for_test(tenant: &TenantId, id: i64, dimension: usize) -> Self {
        let (tenant, average_terms) = (tenant.clone(), DEFAULT_AVERAGE_TERMS);
        Self { tenant, id, dimension, average_terms, created_at: 0 }
    }

    /// The internal id, which names the index directory.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// When it was made, in milliseconds since the Unix epoch. With the id it tells collections
    /// of different databases apart.
    pub fn created_at(&self) -> i64 {
        self.created_at
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Length of the dense vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Average length of a chunk in terms.
    pub fn average_terms(&self) -> f64 {
        self.average_terms
    }

    /// Refuses another tenant's collection as if it did not exist.
    pub(super) fn check_tenant(&self, tenant: &TenantId) -> Result<()> {
        if &self.tenant == tenant {
            return Ok(());
        }
        Err(Error::not_found("collection_not_found", "The collection does not exist."))
    }

    pub(super) fn with_average_terms(&self, average_terms: f64) -> Self {
        Self { average_terms, ..self.clone() }
    }
}

impl Store {
    /// Makes a collection, or updates the description of one that exists; the flag tells
    /// whether it is new. Another embedder or dimension than it has is a `Conflict`.
    pub async fn put_collection(
        &self,
        tenant: &TenantId,
        name: &str,
        new: NewCollection,
    ) -> Result<(Collection, bool)> {
        check_name("collection", name)?;
        let dimension = i64::try_from(new.dimension).unwrap_or(0);
        if dimension == 0 {
            return Err(Error::internal("a collection's dimension is at least 1"));
        }
        let mut transaction = self.begin().await?;
        if let Some(existing) = find_collection(&mut transaction, tenant, name).await? {
            let described = existing.describe(&mut transaction, new).await?;
            transaction.commit().await?;
            return Ok((described, false));
        }
        let made: Option<CollectionRow> = query_as(
            "INSERT INTO collections (tenant, name, description, embedder, dimension, created_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant, name) WHERE state = 'live' DO NOTHING RETURNING *",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(&new.description)
        .bind(&new.embedder)
        .bind(dimension)
        .bind(now_ms())
        .fetch_optional(&mut *transaction)
        .await?;
        let result = match made {
            Some(row) => (row.collection()?, true),
            // Another call has made it since it was looked for.
            None => {
                let existing = find_collection(&mut transaction, tenant, name).await?;
                let existing = existing.ok_or_else(|| no_collection(name))?;
                (existing.describe(&mut transaction, new).await?, false)
            }
        };
        transaction.commit().await?;
        Ok(result)
    }

    /// One collection, or `NotFound`.
    pub async fn get_collection(&self, tenant: &TenantId, name: &str) -> Result<Collection> {
        query_as::<CollectionRow>(
            "SELECT * FROM collections WHERE tenant = $1 AND name = $2 AND state = 'live'",
        )
        .bind(tenant.as_str())
        .bind(name)
        .fetch_optional(&self.reader)
        .await?
        .ok_or_else(|| no_collection(name))?
        .collection()
    }

    /// The tenant's collections by name.
    pub async fn list_collections(
        &self,
        tenant: &TenantId,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<Collection>> {
        let rows: Vec<CollectionRow> = query_as(
            "SELECT * FROM collections WHERE tenant = $1 AND state = 'live' AND name > $2
             ORDER BY name LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.unwrap_or_default())
        .bind(page_rows(limit))
        .fetch_all(&self.reader)
        .await?;
        page_of(rows, limit, |row| row.name.clone(), CollectionRow::collection)
    }

    /// Hides a collection with everything in it, for good. Its name is free at once.
    pub async fn delete_collection(&self, tenant: &TenantId, name: &str) -> Result<()> {
        let mut transaction = self.begin().await?;
        let collection = find_collection(&mut transaction, tenant, name)
            .await?
            .ok_or_else(|| no_collection(name))?;
        query("UPDATE collections SET state = 'deleting' WHERE id = $1")
            .bind(collection.index.id)
            .execute(&mut *transaction)
            .await?;
        query(
            "UPDATE task_documents SET state = 'failed', error = 'the collection was deleted'
             WHERE state = 'pending'
               AND document_row IN (SELECT row_id FROM documents WHERE collection_id = $1)",
        )
        .bind(collection.index.id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.last_known.forget_collection(tenant, name);
        Ok(())
    }

    /// The collections that can be searched, of all tenants: what a start has to look at.
    pub async fn live_collections(&self) -> Result<Vec<(TenantId, CollectionRef)>> {
        let rows: Vec<CollectionRow> =
            query_as("SELECT * FROM collections WHERE state = 'live' ORDER BY id")
                .fetch_all(&self.reader)
                .await?;
        rows.into_iter().map(CollectionRow::reference).collect()
    }

    /// Deleted collections whose index and rows are still there.
    pub async fn deleted_collections(&self) -> Result<Vec<(TenantId, CollectionRef)>> {
        let rows: Vec<CollectionRow> =
            query_as("SELECT * FROM collections WHERE state = 'deleting' ORDER BY id")
                .fetch_all(&self.reader)
                .await?;
        rows.into_iter().map(CollectionRow::reference).collect()
    }

    /// Removes the rows of a deleted collection; call it once the index directory is gone.
    pub async fn purge_collection(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
    ) -> Result<()> {
        collection.check_tenant(tenant)?;
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, collection.id).await?;
        let deleting: Option<i64> =
            query_scalar("SELECT id FROM collections WHERE id = $1 AND state = 'deleting'")
                .bind(collection.id)
                .fetch_optional(&mut *transaction)
                .await?;
        if deleting.is_none() {
            return Ok(());
        }
        for statement in [
            "DELETE FROM chunks WHERE collection_id = $1",
            "DELETE FROM documents WHERE collection_id = $1",
            "DELETE FROM glossaries WHERE collection_id = $1",
            "DELETE FROM collections WHERE id = $1",
        ] {
            query(statement).bind(collection.id).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Counts what a collection holds.
    pub async fn count_collection(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<CollectionCounts> {
        let collection = self.get_collection(tenant, name).await?;
        let (documents, chunks, pending): (i64, i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM documents
                      WHERE collection_id = $1 AND state <> 'deleting'),
                    (SELECT count(*) FROM chunks
                      WHERE collection_id = $1 AND index_state IN ('pending', 'indexed')),
                    (SELECT count(*) FROM chunks
                      WHERE collection_id = $1 AND index_state <> 'indexed')",
        )
        .bind(collection.index.id)
        .fetch_one(&self.reader)
        .await?;
        Ok(CollectionCounts {
            documents: count(documents),
            chunks: count(chunks),
            pending_chunks: count(pending),
        })
    }
}

impl Collection {
    /// The collection with another description; its embedder stays.
    async fn describe(self, transaction: &mut Transaction, new: NewCollection) -> Result<Self> {
        self.check_embedder(&new)?;
        query("UPDATE collections SET description = $1 WHERE id = $2")
            .bind(&new.description)
            .bind(self.index.id)
            .execute(&mut **transaction)
            .await?;
        Ok(Self { description: new.description, ..self })
    }

    fn check_embedder(&self, new: &NewCollection) -> Result<()> {
        if self.embedder == new.embedder && self.dimension == new.dimension {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "collection_embedder",
            format!(
                "The collection {} is indexed with {} ({} dimensions), not {} ({}). Make a new \
                 collection and ingest the documents there.",
                self.name, self.embedder, self.dimension, new.embedder, new.dimension
            ),
        ))
    }
}

#[derive(Debug, FromRow)]
pub(super) struct CollectionRow {
    id: i64,
    tenant: String,
    name: String,
    description: Option<String>,
    embedder: String,
    dimension: i64,
    average_terms: Option<f64>,
    created_at: i64,
}

impl CollectionRow {
    pub(super) fn collection(self) -> Result<Collection> {
        let index = self.index()?;
        Ok(Collection {
            dimension: index.dimension,
            name: self.name,
            description: self.description,
            embedder: self.embedder,
            created_at: from_ms(self.created_at),
            index,
        })
    }

    pub(super) fn reference(self) -> Result<(TenantId, CollectionRef)> {
        let index = self.index()?;
        Ok((index.tenant.clone(), index))
    }

    fn index(&self) -> Result<CollectionRef> {
        Ok(CollectionRef {
            tenant: TenantId::new(self.tenant.clone())?,
            id: self.id,
            dimension: usize::try_from(self.dimension)
                .map_err(|error| Error::failed("read a collection's dimension", error))?,
            average_terms: self.average_terms.unwrap_or(DEFAULT_AVERAGE_TERMS),
            created_at: self.created_at,
        })
    }
}

/// The live collection of that name, taken for a transaction that goes on to write: see
/// [`lock_collection`].
pub(super) async fn find_collection(
    transaction: &mut Transaction,
    tenant: &TenantId,
    name: &str,
) -> Result<Option<Collection>> {
    query_as::<CollectionRow>(
        "UPDATE collections SET description = description
         WHERE tenant = $1 AND name = $2 AND state = 'live' RETURNING *",
    )
    .bind(tenant.as_str())
    .bind(name)
    .fetch_optional(&mut **transaction)
    .await?
    .map(CollectionRow::collection)
    .transpose()
}

/// Takes a collection for this transaction, before anything of it is read: those who write to one
/// collection follow one another, on PostgreSQL as they do anyway on SQLite. What a transaction
/// has read stays true until it ends, ids of rows grow in the order in which they can be seen,
/// and nobody waits in a circle, as each takes one collection. An update that changes nothing
/// takes the row in both databases.
pub(super) async fn lock_collection(transaction: &mut Transaction, id: i64) -> Result<()> {
    query("UPDATE collections SET description = description WHERE id = $1")
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

pub(super) fn no_collection(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::not_found("collection_not_found", format!("The collection {shown:?} does not exist."))
}
