//! The wire: the only room that knows axum, JSON and status codes.
//!
//! A handler reads a request, calls one use case of [`Services`] and turns the answer into a wire
//! type; no SQL and no engine logic is here. Three rules hold for every route:
//!
//! - Nobody passes without a decision: an operation declares what it needs by `security(…)` in its
//!   `#[utoipa::path]`, and [`guard`] refuses whatever declares nothing. What is documented is
//!   what is enforced.
//! - Every refusal is a problem document ([`problem`]), or on a drop-in route what its owner's
//!   clients read ([`compat::shape`]), rendered in one place ([`layers`]), which also gives each
//!   answer its request id and its timings.
//! - No text that a caller sent is logged.

pub mod guard;
pub mod problem;
pub mod query;
pub mod serve;

mod audit;
mod checks;
mod compat;
mod corpus;
mod document;
mod extract;
mod feedback;
mod generators;
mod idempotency;
mod keys;
mod layers;
mod limits;
pub mod metrics;
mod object;
mod ops;
mod outgoing;
mod pages;
mod places;
mod record;
mod shed;
mod stream;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{Config, LimitsConfig};
use crate::service::Services;
use crate::service::journal::Journal;
use crate::store::Store;

use guard::Guard;
use idempotency::Repeats;
use ops::ApiDocument;
use record::Recorder;
use shed::Shed;
use stream::Streams;

/// How long open requests may go on once the server is told to stop.
/// The indexer and the database have the rest of ten seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// What the wire needs to know of the settings.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// No key is asked for, and everybody is the tenant `default` with every scope. The caller sees
    /// to it that this is only ever served on a loopback address.
    pub dev: bool,
    pub max_body_bytes: usize,
    /// For an answer, its head left aside.
    pub max_response_bytes: usize,
    /// For a whole request, its body included.
    pub request_timeout: Duration,
    /// For the head of a request to arrive; an idle connection is closed after it as well.
    pub header_timeout: Duration,
    /// For a client to take some more of its answer.
    pub write_timeout: Duration,
    pub max_connections: usize,
    pub limits: LimitsConfig,
    /// For open requests to end at shutdown.
    pub drain_timeout: Duration,
}

impl HttpSettings {
    pub fn new(config: &Config, dev: bool) -> Self {
        let limits = config.limits.clone();
        let config = &config.http;
        Self {
            dev,
            max_body_bytes: config.max_body_bytes,
            max_response_bytes: config.max_response_bytes,
            request_timeout: Duration::from_millis(config.request_timeout_ms.max(1)),
            header_timeout: Duration::from_millis(config.header_timeout_ms.max(1)),
            write_timeout: Duration::from_millis(config.write_timeout_ms.max(1)),
            max_connections: config.max_connections,
            limits,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

/// Everything that is served, with its layers.
pub fn router(services: Arc<Services>, settings: HttpSettings) -> Router {
    let (routes, api) = operations().split_for_parts();
    let api = document::complete(api);
    let streams = Streams::new(settings.limits.max_streams);
    let is_remote = !services.config().rewriter.url.is_empty();
    let shed = Shed::new(&settings.limits, settings.max_body_bytes, is_remote, &api);
    let controls =
        Controls::new(services.store(), services.journal(), shed.clone(), &api, &settings);
    let state = AppState { services, document: ApiDocument::new(&api), streams, shed };
    layered(routes.merge(ops::docs()).with_state(state), controls, &settings)
}

/// The description of the API, the same at every call.
pub fn openapi() -> OpenApi {
    document::complete(operations().split_for_parts().1)
}

/// The table of operations.
fn operations() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(document::base())
        .routes(routes!(query::rewrite_query))
        .routes(routes!(query::search_passages))
        .routes(routes!(query::get_stream))
        .routes(routes!(
            feedback::create_feedback,
            feedback::list_feedback,
            feedback::delete_feedback
        ))
        .routes(routes!(corpus::list_collections))
        .routes(routes!(corpus::put_collection, corpus::get_collection, corpus::delete_collection))
        .routes(routes!(corpus::documents::create_documents, corpus::documents::list_documents))
        .routes(routes!(corpus::documents::get_document, corpus::documents::delete_document))
        .routes(routes!(corpus::tasks::get_task))
        .routes(routes!(corpus::glossary::put_glossary, corpus::glossary::get_glossary))
        .routes(routes!(compat::openai::create_embeddings))
        .routes(routes!(compat::openai::list_models))
        .routes(routes!(compat::openai::get_model))
        .routes(routes!(compat::rerank::rerank_documents))
        .routes(routes!(compat::rerank::rerank_documents_v2))
        .routes(routes!(compat::tei::embed_texts))
        .routes(routes!(compat::tei::rerank_texts))
        .routes(routes!(compat::tei::get_info))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::delete_key))
        .routes(routes!(audit::list_audit))
        .routes(routes!(ops::get_liveness))
        .routes(routes!(ops::get_readiness))
        .routes(routes!(ops::get_version))
        .routes(routes!(ops::get_openapi))
}

/// Puts the layers around a router, the last one outermost. The order matters: [`layers::finish`]
/// renders the problems of all the others; a panic in the guard is caught like one in a handler;
/// the deadline covers the guard's look-up; what is answered within is on record before the caller
/// hears of it; no handler runs, nor is a byte of a body read, before the guard has decided; and
/// what is to be carried out once is looked up only then.
fn layered(router: Router, controls: Controls, settings: &HttpSettings) -> Router {
    router
        .fallback(ops::refuse_unknown_route)
        .layer(from_fn_with_state(Arc::new(controls.repeats), idempotency::repeat))
        .layer(axum::Extension(extract::BodyLimit(settings.max_body_bytes)))
        .layer(from_fn_with_state(controls.shed, shed::admit))
        .layer(from_fn_with_state(Arc::new(controls.guard), guard::check))
        .layer(from_fn_with_state(settings.request_timeout, layers::limit_time))
        .layer(from_fn_with_state(settings.max_response_bytes, outgoing::limit_size))
        .layer(CatchPanicLayer::custom(layers::refuse_after_panic))
        .layer(from_fn_with_state(Arc::new(controls.recorder), record::record))
        .layer(from_fn(layers::finish))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
}

/// What decides about requests and remembers them.
struct Controls {
    guard: Guard,
    shed: Shed,
    repeats: Repeats,
    recorder: Recorder,
}

impl Controls {
    fn new(
        store: &Store,
        journal: &Journal,
        shed: Shed,
        api: &OpenApi,
        settings: &HttpSettings,
    ) -> Self {
        Self {
            shed,
            guard: Guard::new(store.clone(), journal.clone(), api, settings),
            repeats: Repeats::new(store.clone(), api, settings.request_timeout),
            recorder: Recorder::new(journal.clone(), api),
        }
    }
}

/// What handlers can ask for.
#[derive(Clone)]
struct AppState {
    services: Arc<Services>,
    document: ApiDocument,
    streams: Streams,
    shed: Shed,
}

impl FromRef<AppState> for Arc<Services> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.services)
    }
}

impl FromRef<AppState> for ApiDocument {
    fn from_ref(state: &AppState) -> Self {
        state.document.clone()
    }
}

impl FromRef<AppState> for Streams {
    fn from_ref(state: &AppState) -> Self {
        state.streams.clone()
    }
}

impl FromRef<AppState> for (Streams, Shed) {
    fn from_ref(state: &AppState) -> Self {
        (state.streams.clone(), state.shed.clone())
    }
}
