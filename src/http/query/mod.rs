//! Asking: `POST /v1/rewrite` and `POST /v1/search`.

mod answer;
mod request;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::document::ASKING;
use super::extract::Json;
use super::guard::Caller;
use super::layers::Stages;
use super::problem::Answer;
use crate::service::Services;
use crate::store::access::Scope;

pub use answer::{RewriteResponse, SearchResponse};
pub use request::{RewriteRequest, SearchRequest};

/// An answer with the milliseconds of its parts.
pub struct Timed<T>(Stages, T);

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
#[utoipa::path(
    post,
    path = "/v1/rewrite",
    tag = ASKING,
    security(("key" = [Scope::Query])),
    request_body = RewriteRequest,
    responses((status = 200, description = "The rewrite", body = RewriteResponse))
)]
pub async fn rewrite_query(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Json(request): Json<RewriteRequest>,
) -> Answer<Timed<RewriteResponse>> {
    let asked = request.check()?;
    let rewritten = services.rewrite(caller.tenant(), asked.question).await?;
    let stages = Stages(vec![("rewrite", rewritten.timings.total_ms)]);
    Ok(Timed(stages, RewriteResponse::new(rewritten, &asked.positions)))
}

/// Rewrites a query and searches a collection with it.
///
/// The rewrite never keeps a search from answering: what could not be done as asked is named in
/// `degraded`.
#[utoipa::path(
    post,
    path = "/v1/search",
    tag = ASKING,
    security(("key" = [Scope::Query])),
    request_body = SearchRequest,
    responses((status = 200, description = "The passages, best first", body = SearchResponse))
)]
pub async fn search_passages(
    State(services): State<Arc<Services>>,
    caller: Caller,
    Json(request): Json<SearchRequest>,
) -> Answer<Timed<SearchResponse>> {
    let (search, positions) = request.check()?;
    let found = services.search(caller.tenant(), search).await?;
    let timings = found.timings;
    let stages = Stages(vec![
        ("rewrite", timings.rewrite_ms),
        ("embed", timings.embed_ms),
        ("search", timings.search_ms),
        ("rerank", timings.rerank_ms),
    ]);
    Ok(Timed(stages, SearchResponse::new(found, &positions)))
}
