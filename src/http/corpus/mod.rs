//! The corpus: collections here; their documents, glossaries and the tasks of uploads below.

pub mod documents;
pub mod glossary;
pub mod tasks;

mod multipart;
mod upload;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::checks::Checks;
use super::document::CORPUS;
use super::extract::{OptionalJson, Path, Query};
use super::guard::Caller;
use super::pages::{List, ListParams, timestamp};
use super::problem::Answer;
use crate::service::Services;
use crate::store::access::Scope;
use crate::store::corpus::{Collection, CollectionCounts};

const MAX_DESCRIPTION_CHARS: usize = 2_000;

/// What a collection is made with.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": "The product's manuals"}))]
pub struct CollectionRequest {
    #[schema(max_length = 2000)]
    description: Option<String>,
}

/// A collection of documents.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "docs",
    "description": "The product's manuals",
    "embedder": "starter-embedder@1",
    "dimension": 256,
    "counts": {"documents": 120, "chunks": 840, "pending_chunks": 0},
    "created_at": "2025-11-03T08:00:00Z"
}))]
pub struct CollectionObject {
    name: String,
    description: Option<String>,
    /// The model that its documents are indexed with; it stays the same for good.
    embedder: String,
    /// Length of the embedder's vectors.
    dimension: usize,
    /// Only when one collection is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<CountsObject>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// How much a collection holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsObject {
    documents: u64,
    chunks: u64,
    /// Chunks that have yet to enter or leave the index.
    pending_chunks: u64,
}

/// Makes a collection, or changes the description of one.
///
/// A name has 1 to 64 of the characters a-z A-Z 0-9 _ -.
#[utoipa::path(
    put,
    path = "/v1/collections/{name}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusWrite])),
    params(("name" = String, Path, description = "The collection")),
    request_body = Option<CollectionRequest>,
    responses(
        (status = 200, description = "The collection was there", body = CollectionObject),
        (status = 201, description = "The collection was made", body = CollectionObject)
    )
)]
pub async fn put_collection(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
    OptionalJson(request): OptionalJson<CollectionRequest>,
) -> Answer<(StatusCode, axum::Json<CollectionObject>)> {
    let mut checks = Checks::default();
    checks.text(
        "/description",
        request.description.as_deref().unwrap_or_default(),
        MAX_DESCRIPTION_CHARS,
    );
    checks.finish()?;
    let (collection, is_new) =
        services.put_collection(caller.tenant(), &name, request.description).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(collection.into())))
}

/// Shows a collection and how much it holds.
#[utoipa::path(
    get,
    path = "/v1/collections/{name}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(("name" = String, Path, description = "The collection")),
    responses((status = 200, description = "The collection", body = CollectionObject))
)]
pub async fn get_collection(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<axum::Json<CollectionObject>> {
    let collection = services.store().get_collection(caller.tenant(), &name).await?;
    let counts = services.store().count_collection(caller.tenant(), &name).await?;
    let object = CollectionObject { counts: Some(counts.into()), ..collection.into() };
    Ok(axum::Json(object))
}

/// Lists the collections by name.
#[utoipa::path(
    get,
    path = "/v1/collections",
    tag = CORPUS,
    security(("key" = [Scope::CorpusRead])),
    params(ListParams),
    responses((status = 200, description = "A page", body = List<CollectionObject>))
)]
pub async fn list_collections(
    State(services): State<Arc<Services>>,
    caller: Caller,
    query: Query,
) -> Answer<axum::Json<List<CollectionObject>>> {
    let ListParams { limit, after } = ListParams::read(query)?;
    let store = services.store();
    let page = store.list_collections(caller.tenant(), limit, after.as_deref()).await?;
    Ok(axum::Json(List::new(page, Into::into)))
}

/// Deletes a collection with everything in it, for good.
#[utoipa::path(
    delete,
    path = "/v1/collections/{name}",
    tag = CORPUS,
    security(("key" = [Scope::CorpusWrite])),
    params(("name" = String, Path, description = "The collection")),
    responses((status = 204, description = "It is gone"))
)]
pub async fn delete_collection(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    services.delete_collection(caller.tenant(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Collection> for CollectionObject {
    fn from(collection: Collection) -> Self {
        Self {
            name: collection.name,
            description: collection.description,
            embedder: collection.embedder,
            dimension: collection.dimension,
            counts: None,
            created_at: timestamp(collection.created_at),
        }
    }
}

impl From<CollectionCounts> for CountsObject {
    fn from(counts: CollectionCounts) -> Self {
        Self {
            documents: counts.documents,
            chunks: counts.chunks,
            pending_chunks: counts.pending_chunks,
        }
    }
}
