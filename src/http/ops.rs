//! Operations: is the server alive, ready, and which one is it; the API's description and pages.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::AppState;
use super::document::OPERATIONS;
use super::extract::Path;
use super::problem::{Answer, Problem};
use crate::error::{Error, Kind};
use crate::service::Services;

/// Routes of the pages, which are no part of the API's description.
pub const DOCS_PATHS: [&str; 3] = ["/docs", "/docs/", "/docs/{*rest}"];

/// The description of the API as it is served.
#[derive(Clone)]
pub struct ApiDocument(Bytes);

impl ApiDocument {
    pub fn new(api: &OpenApi) -> Self {
        // The description is built from constants, and a test reads it.
        Self(api.to_json().unwrap_or_default().into())
    }
}

/// Whether something is so.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusResponse {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Which server this is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "querent",
    "version": "0.1.0",
    "models": {"rewriter": "starter-rewriter@1", "embedder": "starter-embedder@1"}
}))]
pub struct VersionResponse {
    name: &'static str,
    version: &'static str,
    models: ModelsObject,
}

/// The models that answer, as `name@version`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelsObject {
    /// Null: queries are rewritten by rules alone.
    pub rewriter: Option<String>,
    pub embedder: String,
}

/// Tells that the process answers.
#[utoipa::path(
    get,
    path = "/livez",
    tag = OPERATIONS,
    security(()),
    responses((status = 200, description = "The process answers", body = StatusResponse))
)]
pub async fn get_liveness() -> axum::Json<StatusResponse> {
    axum::Json(StatusResponse { status: "ok" })
}

/// Tells whether requests can be served: migrations, models and the index are ready.
///
/// 503 until then.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = OPERATIONS,
    security(()),
    responses((status = 200, description = "Requests are served", body = StatusResponse))
)]
pub async fn get_readiness(
    State(services): State<Arc<Services>>,
) -> Answer<axum::Json<StatusResponse>> {
    services.ready().await.map_err(not_ready)?;
    Ok(axum::Json(StatusResponse { status: "ready" }))
}

/// Names the version and the models.
#[utoipa::path(
    get,
    path = "/version",
    tag = OPERATIONS,
    security(("key" = [])),
    responses((status = 200, description = "Version and models", body = VersionResponse))
)]
pub async fn get_version(State(services): State<Arc<Services>>) -> axum::Json<VersionResponse> {
    let models = services.models();
    axum::Json(VersionResponse {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        models: ModelsObject { rewriter: models.rewriter, embedder: models.embedder },
    })
}

/// Describes this API in OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = OPERATIONS,
    security(("key" = [])),
    responses((status = 200, description = "The description", body = serde_json::Value))
)]
pub async fn get_openapi(State(ApiDocument(document)): State<ApiDocument>) -> Response {
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}

/// Swagger UI, from files that are part of the program.
pub fn docs() -> Router<AppState> {
    let config = Arc::new(Config::from("/openapi.json"));
    let [path, slash_path, rest_path] = DOCS_PATHS;
    let index_config = Arc::clone(&config);
    Router::new()
        .route(path, get(|| async { (StatusCode::SEE_OTHER, [(LOCATION, "/docs/")]) }))
        .route(slash_path, get(|| async { get_page("", index_config) }))
        .route(rest_path, get(|Path(rest): Path<String>| async move { get_page(&rest, config) }))
}

/// 404 for whatever is not in the table.
pub async fn refuse_unknown_route() -> Problem {
    Error::not_found("unknown_route", "There is nothing at this path.").into()
}

fn get_page(path: &str, config: Arc<Config<'static>>) -> Answer<Response> {
    let file = utoipa_swagger_ui::serve(path, config)
        .map_err(|error| Error::internal(format!("failed to serve the API's pages: {error}")))?
        .ok_or_else(|| Error::not_found("unknown_page", "There is no such page."))?;
    let mut response = Body::from(file.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    if let Ok(content_type) = file.content_type.parse() {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if file.gzpipped {
        headers.insert(CONTENT_ENCODING, axum::http::HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Anybody may ask for readiness, so the answer has the code and not the text.
fn not_ready(error: Error) -> Error {
    let message = format!("The server is not ready: {}.", error.code);
    Error::new(Kind::Unavailable, "not_ready", message).caused_by(error)
}
