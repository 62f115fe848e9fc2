//! Documents: `…/collections/{name}/documents`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::AppendHeaders;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::multipart::DocumentsForm;
use super::upload::{DocumentsRequest, Upload};
use crate::http::document::CORPUS;
use crate::http::extract::{Path, Query};
use crate::http::guard::Caller;
use crate::http::pages::{List, ListParams, timestamp};
use crate::http::problem::Answer;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::corpus::{Accepted, Document, DocumentState};

/// The acknowledgement of an upload.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "task": "ts_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "document_ids": ["manual-7"]
}))]
pub struct AcceptedResponse {
    /// To be followed at `/v1/tasks/{id}`.
    task: String,
    /// In the order of the upload.
    document_ids: Vec<String>,
}

/// A document without its content.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "manual-7",
    "title": "CRM 手册",
    "uri": "https://example.com/manual",
    "media_type": "text/markdown",
    "metadata": {"lang": "zh"},
    "status": "indexed",
    "error": null,
    "task": "ts_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "content_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 48213,
    "n_chunks": 31,
    "created_at": "2025-11-03T08:00:00Z",
    "updated_at": "2025-11-03T08:00:04Z"
}))]
pub struct DocumentObject {
    id: String,
    title: Option<String>,
    uri: Option<String>,
    media_type: String,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    status: DocumentStatusName,
    /// Why it was given up, when it failed.
    error: Option<String>,
    /// The upload that brought it.
    task: String,
    /// SHA-256 over the content and what describes it, in hexadecimal.
    content_hash: String,
    size_bytes: u64,
    n_chunks: u64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

/// Where a document stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatusName {
    Queued,
    Indexing,
    /// Searchable.
    Indexed,
    Failed,
    Deleting,
}

/// Uploads documents.
///
/// The answer acknowledges them: from then on they survive a crash. They are searchable once
/// their task has succeeded. NDJSON has one document a line. Files are PDF, Word (.docx), HTML,
/// Markdown, plain text or NDJSON. A document whose id is there already replaces it.
#[utoipa::path(
    post,
    path = "/v1/collections/{name}/documents",
    tag = CORPUS,
    security(("key" = [Scope::CorpusWrite])),
    params(("name" = String, Path, description = "The collection")),
    request_body(content(
        (DocumentsRequest = "application/json"),
        (String = "application/x-ndjson"),
        (DocumentsForm = "multipart/form-data")
    )),
    responses((status = 202, description = "They are stored", body = AcceptedResponse))
)]
pub async fn create_documents(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
    Upload(documents): Upload,
) -> Answer<(
    StatusCode,
    AppendHeaders<[(axum::http::HeaderName, String); 1]>,
    axum::Json<AcceptedResponse>,
)> {
    let accepted = services.accept_documents(caller.tenant(), &name, documents).await?;
    let location = (LOCATION, format!("/v1/tasks/{}", accepted.task_id));
    Ok((StatusCode::ACCEPTED, AppendHeaders([location]), axum::Json(accepted.into())))
}

/// Lists the documents of a collection in the order of their first upload.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}/documents",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(("name" = String, Path, description = "The collection"), ListParams),
    responses((status = 200, description = "A page", body = List<DocumentObject>))
)]
pub async fn list_documents(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
    query: Query,
) -> Answer<axum::Json<List<DocumentObject>>> {
    let ListParams { limit, after } = ListParams::read(query)?;
    let store = services.store();
    let page = store.list_documents(caller.tenant(), &name, limit, after.as_deref()).await?;
    Ok(axum::Json(List::new(page, Into::into)))
}

/// Shows a document.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}/documents/{id}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(
        ("name" = String, Path, description = "The collection"),
        ("id" = String, Path, description = "The document")
    ),
    responses((status = 200, description = "The document", body = DocumentObject))
)]
pub async fn get_document(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Answer<axum::Json<DocumentObject>> {
    let document = services.store().get_document(caller.tenant(), &name, &id).await?;
    Ok(axum::Json(document.into()))
}

/// Deletes a document.
///
/// It is not found from then on.
#[utoipa::path(
    delete,
    path = "/v1/collections/{name}/documents/{id}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusWrite])),
    params(
        ("name" = String, Path, description = "The collection"),
        ("id" = String, Path, description = "The document")
    ),
    responses((status = 204, description = "It is gone"))
)]
pub async fn delete_document(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Answer<StatusCode> {
    services.delete_document(caller.tenant(), &name, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Accepted> for AcceptedResponse {
    fn from(accepted: Accepted) -> Self {
        Self { task: accepted.task_id, document_ids: accepted.document_ids }
    }
}

impl From<Document> for DocumentObject {
    fn from(document: Document) -> Self {
        Self {
            id: document.id,
            title: document.title,
            uri: document.uri,
            media_type: document.media_type,
            metadata: document.metadata,
            status: document.state.into(),
            error: document.error,
            task: document.task_id,
            content_hash: document.content_hash,
            size_bytes: document.size_bytes,
            n_chunks: document.n_chunks,
            created_at: timestamp(document.created_at),
            updated_at: timestamp(document.updated_at),
        }
    }
}

impl From<DocumentState> for DocumentStatusName {
    fn from(state: DocumentState) -> Self {
        match state {
            DocumentState::Queued => Self::Queued,
            DocumentState::Indexing => Self::Indexing,
            DocumentState::Indexed => Self::Indexed,
            DocumentState::Failed => Self::Failed,
            DocumentState::Deleting => Self::Deleting,
        }
    }
}
