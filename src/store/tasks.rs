//! Tasks: how far an upload has come. Nothing is counted twice or forgotten in a crash, because
//! a task is only what its documents say.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::sql::query_as;
use super::{Store, TenantId, count, from_ms};
use crate::error::{Error, Result};

/// Errors that one task lists; the rest are only counted.
const MAX_ERRORS: i64 = 100;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Nothing of it has begun.
    Queued,
    Running,
    /// Every document is searchable.
    Succeeded,
    /// All is done that can be, and at least one document was given up.
    Failed,
}

impl TaskStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// Why a document of a task was given up.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TaskError {
    pub document_id: String,
    pub message: String,
}

/// An upload on its way into a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: String,
    pub status: TaskStatus,
    /// Documents that are searchable or given up.
    pub done: u64,
    pub total: u64,
    /// At most 100, in the order of the upload.
    pub errors: Vec<TaskError>,
    pub created_at: OffsetDateTime,
}

impl Store {
    /// One task, or `NotFound`.
    pub async fn get_task(&self, tenant: &TenantId, id: &str) -> Result<Task> {
        let row: TaskRow = query_as(
            "SELECT t.id, t.created_at, count(e.position) AS total,
                    count(CASE WHEN e.state = 'pending' THEN 1 END) AS pending,
                    count(CASE WHEN e.state = 'failed' THEN 1 END) AS failed,
                    count(CASE WHEN e.state = 'pending' AND d.state = 'indexing' THEN 1 END)
                        AS indexing
             FROM tasks t
             LEFT JOIN task_documents e ON e.task_id = t.id
             LEFT JOIN documents d ON d.row_id = e.document_row
             WHERE t.id = $1 AND t.tenant = $2 GROUP BY t.id",
        )
        .bind(id)
        .bind(tenant.as_str())
        .fetch_optional(&self.reader)
        .await?
        .ok_or_else(|| no_task(id))?;
        let errors = query_as(
            "SELECT document_id, coalesce(error, 'unknown') AS message FROM task_documents
             WHERE task_id = $1 AND state = 'failed' ORDER BY position LIMIT $2",
        )
        .bind(id)
        .bind(MAX_ERRORS)
        .fetch_all(&self.reader)
        .await?;
        Ok(row.task(errors))
    }
}

fn no_task(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::not_found("task_not_found", format!("The task {shown:?} does not exist."))
}

#[derive(FromRow)]
struct TaskRow {
    id: String,
    created_at: i64,
    total: i64,
    pending: i64,
    failed: i64,
    indexing: i64,
}

impl TaskRow {
    fn task(self, errors: Vec<TaskError>) -> Task {
        let begun = self.pending < self.total || self.indexing > 0;
        let status = match (self.pending, self.failed) {
            (0, 0) => TaskStatus::Succeeded,
            (0, _) => TaskStatus::Failed,
            _ if begun => TaskStatus::Running,
            _ => TaskStatus::Queued,
        };
        Task {
            status,
            done: count(self.total - self.pending),
            total: count(self.total),
            errors,
            created_at: from_ms(self.created_at),
            id: self.id,
        }
    }
}
