//! Tasks: how far an upload has come.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::document::CORPUS;
use crate::http::extract::Path;
use crate::http::guard::Caller;
use crate::http::pages::timestamp;
use crate::http::problem::Answer;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::tasks::{Task, TaskStatus};

/// An upload on its way into a collection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "ts_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "status": "succeeded",
    "done": 3,
    "total": 3,
    "errors": [],
    "created_at": "2025-11-03T08:00:00Z"
}))]
pub struct TaskObject {
    id: String,
    status: TaskStatusName,
    /// Documents that are searchable or given up.
    done: u64,
    total: u64,
    /// The documents given up, at most 100 of them.
    errors: Vec<TaskErrorObject>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// Where a task stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatusName {
    Queued,
    Running,
    /// Every document is searchable.
    Succeeded,
    /// All is done that can be; at least one document was given up.
    Failed,
}

/// Why a document was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskErrorObject {
    document_id: String,
    message: String,
}

/// Shows how far an upload has come.
#[utoipa::path(
    get,
    path = "/v1/tasks/{id}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(("id" = String, Path, description = "The task")),
    responses((status = 200, description = "The task", body = TaskObject))
)]
pub async fn get_task(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<axum::Json<TaskObject>> {
    let task = services.store().get_task(caller.tenant(), &id).await?;
    Ok(axum::Json(task.into()))
}

impl From<Task> for TaskObject {
    fn from(task: Task) -> Self {
        let errors = task.errors.into_iter().map(|error| TaskErrorObject {
            document_id: error.document_id,
            message: error.message,
        });
        Self {
            id: task.id,
            status: task.status.into(),
            done: task.done,
            total: task.total,
            errors: errors.collect(),
            created_at: timestamp(task.created_at),
        }
    }
}

impl From<TaskStatus> for TaskStatusName {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Queued => Self::Queued,
            TaskStatus::Running => Self::Running,
            TaskStatus::Succeeded => Self::Succeeded,
            TaskStatus::Failed => Self::Failed,
        }
    }
}
