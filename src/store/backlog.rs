//! How much waits to become searchable, over all tenants: figures for those who run the server.

use std::time::Duration;

use super::sql::query_as;
use super::{Store, count, now_ms};
use crate::error::Result;

/// What the indexer has before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Accepted documents that are not searchable yet.
    pub documents: u64,
    /// Age of the oldest of them.
    pub lag: Duration,
    /// Uploads of which nothing has begun.
    pub queued_tasks: u64,
    /// Uploads of which some document is being indexed.
    pub running_tasks: u64,
}

impl Store {
    /// Counts what waits. Only unfinished rows are looked at, which have indexes of their own.
    pub async fn backlog(&self) -> Result<Backlog> {
        let (queued, oldest_queued): (i64, Option<i64>) =
            query_as("SELECT count(*), min(updated_at) FROM documents WHERE state = 'queued'")
                .fetch_one(&self.reader)
                .await?;
        let (indexing, oldest_indexing): (i64, Option<i64>) = query_as(
            "SELECT count(*), min(updated_at) FROM documents
             WHERE state = 'indexing' AND row_id IN
               (SELECT document_row FROM chunks
                WHERE index_state = 'pending' AND index_state <> 'indexed')",
        )
        .fetch_one(&self.reader)
        .await?;
        let (unfinished, running): (i64, i64) = query_as(
            "SELECT count(*), coalesce(sum(begun), 0) FROM
               (SELECT max(CASE WHEN d.state = 'queued' THEN 0 ELSE 1 END) AS begun
                FROM task_documents e LEFT JOIN documents d ON d.row_id = e.document_row
                WHERE e.state = 'pending' GROUP BY e.task_id) AS unfinished",
        )
        .fetch_one(&self.reader)
        .await?;
        let oldest = [oldest_queued, oldest_indexing].into_iter().flatten().min();
        let lag_ms = oldest.map_or(0, |oldest| count(now_ms() - oldest));
        Ok(Backlog {
            documents: count(queued + indexing),
            lag: Duration::from_millis(lag_ms),
            queued_tasks: count(unfinished - running),
            running_tasks: count(running),
        })
    }
}
