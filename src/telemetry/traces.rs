//! Traces over OTLP: which spans, and how they leave. A collector that is slow, dead or lying costs
//! a request nothing: spans go into a queue of fixed length that one thread empties, and what does
//! not fit is lost.
//!
//! Spans are those of the target [`TARGET`], which the log does not show. Their attributes follow
//! OpenTelemetry's semantic conventions 1.41, of which those for GenAI are in development: a later
//! version may rename some. Texts are never among them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TraceId, TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::error::{Error, Result};

/// Target of the spans that are traced; `#[tracing::instrument]` needs it written out.
pub const TARGET: &str = "otel";

/// For the collector to take one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// For what is left at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// What is read of a collector's answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const TRACES_PATH: &str = "/v1/traces";

/// Where traces go.
#[derive(Clone, Default)]
pub struct TraceSettings {
    /// A collector that takes OTLP over HTTP, such as `http://localhost:4318`; empty for none.
    pub endpoint: String,
    /// `name=value`, parted by commas. May hold a key.
    pub headers: String,
    /// Share of the traces that begin here and are kept, 0 to 1. A caller's own trace is kept
    /// whenever the caller keeps it.
    pub sampling_ratio: f64,
}

/// The part that sends spans; none when no collector is set.
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts sending.
    ///
    /// # Errors
    /// `config` for an endpoint or headers that cannot be used.
    pub fn start(settings: &TraceSettings, runtime: &Handle) -> Result<Option<Self>> {
        if settings.endpoint.is_empty() {
            return Ok(None);
        }
        let client = Collector {
            client: reqwest::Client::builder()
                .timeout(EXPORT_TIMEOUT)
                .build()
                .map_err(|error| Error::failed("make a client for traces", error))?,
            runtime: runtime.clone(),
            is_failing: Arc::default(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint(&settings.endpoint)?)
            .with_headers(headers(&settings.headers)?)
            .with_http_client(client)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|_| unusable("otlp_endpoint cannot be used; write http://host:4318"))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.sampling_ratio,
            ))))
            .with_resource(Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build())
            .build();
        Ok(Some(Self { provider }))
    }

    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer(env!("CARGO_PKG_NAME"))
    }

    /// Sends what is left, within two seconds.
    pub fn stop(&self) {
        if self.provider.shutdown_with_timeout(FLUSH_TIMEOUT).is_err() {
            tracing::warn!("the last spans did not reach the collector");
        }
    }
}

/// The span of one HTTP request.
pub struct RequestSpan {
    span: Span,
    trace_id: Option<String>,
}

impl RequestSpan {
    /// Begins it, as a part of the caller's trace when the headers name one. `method` and `route`
    /// must be bounded, as they are for metrics.
    pub fn begin(method: &str, route: &str, headers: &HeaderMap) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "request",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
        );
        let caller = TraceContextPropagator::new().extract(&Headers(headers));
        let id_of_caller = caller.span().span_context().trace_id();
        // It fails only where nothing is traced.
        let _ = span.set_parent(caller);
        let id = match span.context().span().span_context().trace_id() {
            TraceId::INVALID => id_of_caller,
            own => own,
        };
        Self { span, trace_id: (id != TraceId::INVALID).then(|| id.to_string()) }
    }

    /// The span, disabled where nothing is traced.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What to look the request up by: the trace that it is a part of, here or at the caller.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Notes how it came out.
    pub fn answered(&self, status: u16) {
        self.span.record("http.response.status_code", status);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// Headers that a trace is continued from.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// The client of the exporter. It runs on the server's own runtime, because the thread that
/// exports has none, and logs when a collector begins to fail and when it is well again.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
    is_failing: Arc<AtomicBool>,
}

type Sent<'a> =
    Pin<Box<dyn Future<Output = std::result::Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Sent<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let (client, is_failing) = (self.client.clone(), Arc::clone(&self.is_failing));
        let sending = self.runtime.spawn(async move {
            let sent = send(&client, request).await;
            note(&is_failing, &sent);
            sent
        });
        Box::pin(async move { sending.await? })
    }
}

async fn send(
    client: &reqwest::Client,
    request: Request<Bytes>,
) -> std::result::Result<Response<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let request = client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
    // The address may hold a password, so no error names it.
    let sent = request.body(body).send().await;
    let mut response = sent.map_err(reqwest::Error::without_url)?;
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + part.len() > MAX_ANSWER_BYTES {
            return Err("the collector's answer is too long".into());
        }
        body.extend_from_slice(&part);
    }
    let mut answer = Response::builder().status(status).body(Bytes::from(body))?;
    *answer.headers_mut() = headers;
    Ok(answer)
}

/// Logs the first of several failures, and the end of them.
fn note(is_failing: &AtomicBool, sent: &std::result::Result<Response<Bytes>, HttpError>) {
    let problem = match sent {
        Ok(answer) if answer.status().is_success() => None,
        Ok(answer) => Some(format!("it answers with status {}", answer.status().as_u16())),
        Err(error) => Some(error.to_string()),
    };
    let was_failing = is_failing.swap(problem.is_some(), Ordering::Relaxed);
    match problem {
        Some(problem) if !was_failing => {
            tracing::warn!(problem, "spans are lost: the collector does not take them");
        }
        None if was_failing => tracing::info!("the collector takes spans again"),
        _ => {}
    }
}

/// The address that spans are sent to. One that ends in another path than OTLP's is a base.
fn endpoint(endpoint: &str) -> Result<String> {
    let base = endpoint.trim_end_matches('/');
    let is_http = ["http://", "https://"].iter().any(|scheme| base.starts_with(scheme));
    if !is_http {
        return Err(unusable("otlp_endpoint must begin with http:// or https://"));
    }
    let is_whole = base.ends_with(TRACES_PATH) || base.contains('?');
    let path = if is_whole { "" } else { TRACES_PATH };
    Ok(format!("{base}{path}"))
}

fn headers(text: &str) -> Result<HashMap<String, String>> {
    let is_name = |name: &str| hyper::header::HeaderName::try_from(name).is_ok();
    let is_value = |value: &str| hyper::header::HeaderValue::try_from(value).is_ok();
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_name(name.trim()) && is_value(value.trim()) => {
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            }
            // What stands there may be a key, so it is not quoted.
            _ => Err(unusable("otlp_headers must be name=value, parted by commas")),
        })
        .collect()
}

fn unusable(what: &str) -> Error {
    Error::invalid("config", format!("the settings cannot be used: [telemetry] {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_completed() {
        for (given, sent_to) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://otel.example/base/", "https://otel.example/base/v1/traces"),
            ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
        ] {
            assert_eq!(endpoint(given).unwrap(), sent_to);
        }
        assert!(endpoint("localhost:4317").is_err());
    }

    #[test]
    fn headers_are_read_and_never_quoted() {
        let read = headers("authorization=Basic a=b, x-scope = 1,").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read["authorization"].as_str(), read["x-scope"].as_str()), ("Basic a=b", "1"));
        for odd in ["hunter2", "a b=hunter2", "a=hunter2\nb"] {
            let error = headers(odd).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_trace_of_the_caller_is_known_without_a_collector() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let begin = |value: String| {
            let headers = HeaderMap::from_iter([(
                hyper::header::HeaderName::from_static("traceparent"),
                value.parse().unwrap(),
            )]);
            RequestSpan::begin("GET", "/livez", &headers)
        };
        let span = begin(format!("00-{id}-00f067aa0ba902b7-01"));
        assert_eq!(span.trace_id(), Some(id));
        for odd in ["", "00-x-y-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(begin(odd.to_owned()).trace_id(), None, "{odd}");
        }
    }
}
