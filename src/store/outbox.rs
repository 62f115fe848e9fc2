//! What the index has yet to learn, and what it has confirmed.
//!
//! The indexer asks for [`Store::pending_index`], applies it, and confirms with
//! [`Store::mark_indexed`] and [`Store::purge_deleted`]. A crash between any two steps costs a
//! repetition and nothing else.
//!
//! A `+` before a column keeps SQLite from choosing an index of it: rows named by id are best
//! found by id. `index_state <> 'indexed'` lets it choose the small index of unfinished rows.

use serde_json::{Map, Value};
use sqlx::FromRow;

use super::corpus::{CollectionRef, CollectionRow, lock_collection};
use super::documents::{decode_metadata, decode_vector, ids_json};
use super::sql::{Transaction, query, query_as, query_scalar};
use super::vectors::{Point, lexical};
use super::{Store, TenantId, count};
use crate::error::Result;

/// One batch of work for the index of a collection.
#[derive(Debug, Clone)]
pub struct PendingIndex {
    pub upserts: Vec<Point>,
    /// Ids of chunks to take out.
    pub deletes: Vec<i64>,
}

/// How an index differed from the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Chunks that the index had lost; they are pending again.
    pub missing: u64,
    /// Points that no chunk stands for; the caller deletes them from the index.
    pub orphans: Vec<i64>,
}

impl Store {
    /// The collections whose index is behind.
    pub async fn collections_with_pending_index(&self) -> Result<Vec<(TenantId, CollectionRef)>> {
        let rows: Vec<CollectionRow> = query_as(
            "SELECT * FROM collections WHERE state = 'live'
               AND id IN (SELECT collection_id FROM chunks WHERE index_state <> 'indexed')
             ORDER BY id",
        )
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(CollectionRow::reference).collect()
    }

    /// At most `limit` chunks to put in and `limit` to take out. A retired chunk is not taken
    /// out before its document's new chunks are all in.
    pub async fn pending_index(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        limit: usize,
    ) -> Result<PendingIndex> {
        collection.check_tenant(tenant)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let upserts: Vec<PointRow> = query_as(
            "SELECT c.id, c.text, c.heading, c.vector, d.id AS document_id, d.title, d.metadata
             FROM chunks c JOIN documents d ON d.row_id = c.document_row
             WHERE c.collection_id = $1 AND c.index_state = 'pending' AND c.index_state <> 'indexed'
             ORDER BY c.id LIMIT $2",
        )
        .bind(collection.id())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let deletes = query_scalar(
            "SELECT c.id FROM chunks c JOIN documents d ON d.row_id = c.document_row
             WHERE c.collection_id = $1 AND c.index_state <> 'indexed'
               AND (c.index_state = 'deleting'
                    OR c.index_state = 'retired' AND d.state <> 'indexing')
             ORDER BY c.id LIMIT $2",
        )
        .bind(collection.id())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let upserts = upserts.into_iter().map(PointRow::point).collect::<Result<_>>()?;
        Ok(PendingIndex { upserts, deletes })
    }

    /// Notes that these chunks are in the index and on disk. A document whose last chunk this
    /// was is indexed, and so is its part of its tasks.
    pub async fn mark_indexed(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        ids: &[i64],
    ) -> Result<()> {
        collection.check_tenant(tenant)?;
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, collection.id()).await?;
        let documents: Vec<i64> = query_scalar(
            "UPDATE chunks SET index_state = 'indexed'
             WHERE id IN (SELECT value FROM json_each($1))
               AND +collection_id = $2 AND index_state = 'pending'
             RETURNING document_row",
        )
        .bind(ids_json(ids))
        .bind(collection.id())
        .fetch_all(&mut *transaction)
        .await?;
        finish_documents(&mut transaction, &documents).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes chunks that have left the index, and deleted documents with their last chunk.
    pub async fn purge_deleted(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        ids: &[i64],
    ) -> Result<()> {
        collection.check_tenant(tenant)?;
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, collection.id()).await?;
        let documents: Vec<i64> = query_scalar(
            "DELETE FROM chunks
             WHERE id IN (SELECT value FROM json_each($1))
               AND +collection_id = $2 AND index_state IN ('retired', 'deleting')
             RETURNING document_row",
        )
        .bind(ids_json(ids))
        .bind(collection.id())
        .fetch_all(&mut *transaction)
        .await?;
        finish_documents(&mut transaction, &documents).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The points of a collection with ids above `after`, for a rebuild of its index.
    pub async fn index_points(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Point>> {
        collection.check_tenant(tenant)?;
        let rows: Vec<PointRow> = query_as(
            "SELECT c.id, c.text, c.heading, c.vector, d.id AS document_id, d.title, d.metadata
             FROM chunks c JOIN documents d ON d.row_id = c.document_row
             WHERE c.collection_id = $1 AND c.id > $2 AND c.index_state <> 'deleting'
             ORDER BY c.id LIMIT $3",
        )
        .bind(collection.id())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.reader)
        .await?;
        rows.into_iter().map(PointRow::point).collect()
    }

    /// Makes every chunk pending again, for an index that was lost. Returns how many.
    pub async fn requeue_index(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
    ) -> Result<u64> {
        Ok(self.reconcile(tenant, collection, &[]).await?.missing)
    }

    /// Compares the points that an index holds with the chunks that it should hold.
    pub async fn reconcile(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        index_ids: &[i64],
    ) -> Result<Reconciliation> {
        collection.check_tenant(tenant)?;
        let held = ids_json(index_ids);
        let mut transaction = self.begin().await?;
        lock_collection(&mut transaction, collection.id()).await?;
        let missing = query(
            "UPDATE chunks SET index_state = 'pending'
             WHERE collection_id = $1 AND index_state = 'indexed'
               AND id NOT IN (SELECT value FROM json_each($2))",
        )
        .bind(collection.id())
        .bind(&held)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let orphans = query_scalar(
            "SELECT value FROM json_each($1)
             WHERE value NOT IN (SELECT id FROM chunks WHERE collection_id = $2)",
        )
        .bind(&held)
        .bind(collection.id())
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Reconciliation { missing, orphans })
    }

    /// How many chunks a collection has, and their average length in terms, at least 1.
    pub async fn measure_terms(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
    ) -> Result<(u64, f64)> {
        collection.check_tenant(tenant)?;
        let (chunks, average): (i64, Option<f64>) = query_as(
            "SELECT count(*), CAST(avg(n_terms) AS DOUBLE PRECISION) FROM chunks
             WHERE collection_id = $1 AND index_state IN ('pending', 'indexed')",
        )
        .bind(collection.id())
        .fetch_one(&self.reader)
        .await?;
        Ok((count(chunks), average.unwrap_or_default().max(1.0)))
    }

    /// Works out the average chunk length anew. Points that are in the index keep the weights
    /// of the old one, so a rebuild belongs after it.
    pub async fn refresh_average_terms(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
    ) -> Result<CollectionRef> {
        collection.check_tenant(tenant)?;
        let average: Option<f64> = query_scalar(
            "UPDATE collections SET average_terms =
                 (SELECT CASE WHEN avg(n_terms) < 1 THEN 1 ELSE avg(n_terms) END FROM chunks
                   WHERE collection_id = $1 AND index_state IN ('pending', 'indexed'))
             WHERE id = $1 RETURNING average_terms",
        )
        .bind(collection.id())
        .fetch_optional(&self.writer)
        .await?
        .flatten();
        Ok(collection.with_average_terms(average.unwrap_or_else(|| collection.average_terms())))
    }

    /// How many chunks wait for the index, over all tenants.
    pub async fn count_pending_index(&self) -> Result<u64> {
        let waiting: i64 =
            query_scalar("SELECT count(*) FROM chunks WHERE index_state <> 'indexed'")
                .fetch_one(&self.reader)
                .await?;
        Ok(count(waiting))
    }
}

/// Moves on those of the documents that wait for nothing more: ones whose chunks are all in
/// become indexed and end the wait of their tasks, deleted ones without chunks go.
pub(super) async fn finish_documents(transaction: &mut Transaction, rows: &[i64]) -> Result<()> {
    let finished: Vec<i64> = query_scalar(
        "UPDATE documents SET state = 'indexed'
         WHERE row_id IN (SELECT value FROM json_each($1)) AND state = 'indexing'
           AND NOT EXISTS (SELECT 1 FROM chunks
                           WHERE document_row = row_id AND index_state = 'pending')
         RETURNING row_id",
    )
    .bind(ids_json(rows))
    .fetch_all(&mut **transaction)
    .await?;
    query(
        "UPDATE task_documents SET state = 'succeeded'
         WHERE document_row IN (SELECT value FROM json_each($1)) AND state = 'pending'",
    )
    .bind(ids_json(&finished))
    .execute(&mut **transaction)
    .await?;
    query(
        "DELETE FROM documents
         WHERE row_id IN (SELECT value FROM json_each($1)) AND state = 'deleting'
           AND NOT EXISTS (SELECT 1 FROM chunks WHERE document_row = row_id)",
    )
    .bind(ids_json(rows))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct PointRow {
    id: i64,
    text: String,
    heading: Option<String>,
    vector: Vec<u8>,
    document_id: String,
    title: Option<String>,
    metadata: String,
}

impl PointRow {
    fn point(self) -> Result<Point> {
        let metadata: Map<String, Value> = decode_metadata(&self.metadata)?;
        let (title, heading) = (self.title.as_deref(), self.heading.as_deref());
        Ok(Point {
            chunk_id: self.id,
            dense: decode_vector(&self.vector),
            lexical_text: lexical::lexical_text(title, heading, &self.text),
            document_id: self.document_id,
            metadata,
        })
    }
}
