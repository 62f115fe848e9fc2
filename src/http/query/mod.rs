//! Asking: `POST /v1/rewrite` and `POST /v1/search`, as one answer or told step by step.

mod answer;
mod events;
mod request;
mod told;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::document::ASKING;
use super::extract::{Json, Path};
use super::guard::Caller;
use super::layers::Stages;
use super::problem::Answer;
use super::shed::{Admitted, Entry, Shed};
use super::stream::Streams;
use crate::service::Services;
use crate::store::access::Scope;

pub use answer::{RewriteResponse, SearchResponse};
pub use events::{RewriteEvent, SearchEvent, describe as describe_events};
pub use request::MAX_USER_CHARS;
pub use request::{RewriteRequest, SearchRequest};

/// An answer with the milliseconds of its parts.
pub struct Timed<T>(Stages, T);

impl<T> Timed<T> {
    pub fn new(stages: Stages, answer: T) -> Self {
        Self(stages, answer)
    }
}

impl<T: Serialize> IntoResponse for Timed<T> {
    fn into_response(self) -> Response {
        let mut response = axum::Json(self.1).into_response();
        response.extensions_mut().insert(self.0);
        response
    }
}

/// Rewrites a query.
///
/// Gives a faithful standalone question and queries to search with. Past the deadline the query
/// comes back as it was asked, with the reason in `degraded`.
///
/// With `stream` the answer is server-sent events: `gate` (what the gate found), `rewrite_delta`
/// (what the model writes, unchecked and not to be shown as the result), `rewrite` (this answer)
/// and `done`; `error` is a problem. After a break, the same request or `GET /v1/streams/{id}`
/// with `Last-Event-ID` goes on where it stopped.
#[utoipa::path(
    post,
    path = "/v1/rewrite",
    tag = ASKING,
    security(("key" = [Scope::Query])),
    request_body = RewriteRequest,
    responses((
        status = 200,
        description = "The rewrite; with `stream`, as events",
        content((RewriteResponse = "application/json"), (String = "text/event-stream")),
    ))
)]
pub async fn rewrite_query(
    State(services): State<Arc<Services>>,
    State((streams, shed)): State<(Streams, Shed)>,
    caller: Caller,
    admitted: Option<Extension<Admitted>>,
    headers: HeaderMap,
    Json(request): Json<RewriteRequest>,
) -> Answer<Response> {
    let asked = request.check()?;
    if asked.stream {
        let entry = Entry::new(admitted.map(|Extension(admitted)| admitted), shed);
        return told::rewrite(services, &streams, caller.tenant(), &headers, asked, entry).await;
    }
    let rewritten = services.rewrite(caller.tenant(), asked.question).await?;
    let stages = Stages(vec![("rewrite", rewritten.timings.total_ms)]);
    Ok(Timed(stages, RewriteResponse::new(rewritten, &asked.positions)).into_response())
}

/// Rewrites a query and searches a collection with it.
///
/// The rewrite never keeps a search from answering: what could not be done as asked is named in
/// `degraded`.
///
/// With `stream` the answer is server-sent events as those of a rewrite, with `raw_results` (what
/// the query as it was asked has found) as soon as they are there and `results` (this answer)
/// before `done`.
#[utoipa::path(
    post,
    path = "/v1/search",
    tag = ASKING,
    security(("key" = [Scope::Query])),
    request_body = SearchRequest,
    responses((
        status = 200,
        description = "The passages, best first; with `stream`, as events",
        content((SearchResponse = "application/json"), (String = "text/event-stream")),
    ))
)]
pub async fn search_passages(
    State(services): State<Arc<Services>>,
    State((streams, shed)): State<(Streams, Shed)>,
    caller: Caller,
    admitted: Option<Extension<Admitted>>,
    headers: HeaderMap,
    Json(request): Json<SearchRequest>,
) -> Answer<Response> {
    let asked = request.check()?;
    if asked.stream {
        let entry = Entry::new(admitted.map(|Extension(admitted)| admitted), shed);
        return told::search(services, &streams, caller.tenant(), &headers, asked, entry).await;
    }
    let found = services.search(caller.tenant(), asked.search).await?;
    let timings = found.timings;
    let stages = Stages(vec![
        ("rewrite", timings.rewrite_ms),
        ("embed", timings.embed_ms),
        ("search", timings.search_ms),
        ("rerank", timings.rerank_ms),
    ]);
    Ok(Timed(stages, SearchResponse::new(found, &asked.positions)).into_response())
}

/// Goes on with a stream.
///
/// Gives the events after `Last-Event-ID`, or all of them. Streams are kept for five minutes.
#[utoipa::path(
    get,
    path = "/v1/streams/{id}",
    tag = ASKING,
    security(("key" = [Scope::Query])),
    params(
        ("id" = String, Path, description = "From `Content-Location` of the answer that began it"),
        ("last-event-id" = Option<String>, Header, description = "The last event that was seen"),
    ),
    responses((
        status = 200, description = "The events, those of a rewrite or of a search",
        body = String, content_type = "text/event-stream"
    ))
)]
pub async fn get_stream(
    State(streams): State<Streams>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    streams.resume(caller.tenant(), &id, &headers).await
}
