//! What happens to every request: its id, its span, its deadline, its timings, and the rendering
//! of refusals.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span};

use super::compat::shape::Shape;
use super::problem::{Answer, Problem};
use crate::error::{Error, Kind};
use crate::store::new_id;
use crate::telemetry::metrics::{self, Invariant};
use crate::telemetry::traces::RequestSpan;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const MAX_REQUEST_ID_BYTES: usize = 128;
const MAX_INSTANCE_CHARS: usize = 512;

/// Milliseconds that parts of an answer took, for `Server-Timing`; a handler leaves them in the
/// response's extensions.
#[derive(Debug, Clone)]
pub struct Stages(pub Vec<(&'static str, f64)>);

/// The request's id, for the layers and handlers inside.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The outermost layer: gives the request an id, renders a refusal, and adds what every answer
/// carries. Nothing of the query string, the headers or the body is recorded.
pub async fn finish(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let instance: String = request.uri().path().chars().take(MAX_INSTANCE_CHARS).collect();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let labels = metrics::RequestLabels::new(request.method().as_str(), route);
    let trace = RequestSpan::begin(labels.method(), route, request.headers());
    let span = tracing::info_span!(
        parent: trace.span(),
        "http_request",
        request_id,
        trace_id = trace.trace_id(),
        method = request.method().as_str(),
        route
    );
    let traced = next.run(request).instrument(span.clone()).instrument(trace.span().clone());
    let response = traced.await;
    let mut response = render(response, &request_id, &instance, &span);
    let total_ms = started.elapsed().as_secs_f64() * 1e3;
    tracing::info!(
        parent: &span,
        status = response.status().as_u16(),
        duration_ms = total_ms,
        "answered a request"
    );
    trace.answered(response.status().as_u16());
    labels.answered(response.status().as_u16(), started.elapsed());
    let timing = server_timing(response.extensions().get::<Stages>(), total_ms);
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in [(REQUEST_ID, request_id), (SERVER_TIMING, timing)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Ends a request that takes too long. Work that it started is dropped with it.
pub async fn limit_time(
    State(limit): State<Duration>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        let message = format!(
            "The request took longer than {} ms, the limit set by `[http] request_timeout_ms`.",
            limit.as_millis()
        );
        Error::new(Kind::Timeout, "request_timeout", message).into()
    })
}

/// 500 for a panic. Its message is left to the panic hook: it may quote what the caller sent.
pub fn refuse_after_panic(_message: Box<dyn Any + Send>) -> Response {
    metrics::violated(Invariant::NoPanic, 1);
    Problem::from(Error::internal("a handler panicked")).into_response()
}

/// Writes a refusal in the shape of its route and logs its cause, once. A failure that came
/// without a problem, from the framework itself, gets a plain one.
fn render(mut response: Response, request_id: &str, instance: &str, span: &Span) -> Response {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if status.is_client_error() || status.is_server_error() => Problem::of_status(status),
        None => return response,
    };
    metrics::refused(status.as_u16(), problem.code());
    if let Some(cause) = problem.cause() {
        if status.is_server_error() {
            tracing::error!(parent: span, code = problem.code(), error = cause, "request failed");
        } else {
            tracing::warn!(parent: span, code = problem.code(), error = cause, "request refused");
        }
    }
    Shape::of(instance).write(problem, request_id, instance, &mut response);
    response
}

/// The caller's id when it is harmless in headers and logs, else one of ours.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_sane = |id: &&str| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
    };
    given.filter(is_sane).map_or_else(|| new_id("req"), str::to_owned)
}

/// The parts in their order, then the whole: `rewrite;dur=41.6, total;dur=42.0`.
fn server_timing(stages: Option<&Stages>, total_ms: f64) -> String {
    let mut parts = stages.map(|stages| stages.0.clone()).unwrap_or_default();
    parts.push(("total", total_ms));
    parts.iter().map(|(name, ms)| format!("{name};dur={ms:.1}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_echoed_and_others_replaced() {
        let id = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            request_id(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        let longest = "x".repeat(128);
        for good in ["a", "trace-1/2:3", longest.as_str()] {
            assert_eq!(id(good.as_bytes()), good);
        }
        let too_long = "x".repeat(129);
        for bad in ["", "a b", "编号", "a\tb", too_long.as_str()] {
            let made = id(bad.as_bytes());
            assert!(made.starts_with("req_") && made.len() == 36, "{bad:?} -> {made}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn timings_end_with_the_total() {
        let stages = Stages(vec![("rewrite", 41.64), ("search", 0.0)]);
        assert_eq!(
            server_timing(Some(&stages), 50.0),
            "rewrite;dur=41.6, search;dur=0.0, total;dur=50.0"
        );
        assert_eq!(server_timing(None, 0.04), "total;dur=0.0");
    }
}
