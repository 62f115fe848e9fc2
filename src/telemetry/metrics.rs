//! What is counted and timed, in Prometheus' text form.
//!
//! Names are here and nowhere else, so that dashboards can be held to them. Labels are bounded:
//! routes are templates, methods and statuses are those of HTTP, everything else is a constant of
//! the program or a model's id; never a tenant, a collection or a word that somebody wrote.
//! Before [`install`] was called, every call here does nothing.

use std::sync::OnceLock;
use std::time::Duration;

use ::metrics::{
    counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
    set_global_recorder,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::process;
use crate::error::{Error, Result};

pub const HTTP_REQUESTS: &str = "querent_http_requests_total";
pub const HTTP_REQUEST_DURATION: &str = "querent_http_request_duration_seconds";
pub const STAGE_DURATION: &str = "querent_stage_duration_seconds";
pub const REQUESTS_SHED: &str = "querent_requests_shed_total";
pub const QUEUE_DEPTH: &str = "querent_queue_depth";
pub const BATCH_TOKENS: &str = "querent_batch_tokens";
pub const TOKENS: &str = "querent_tokens_total";
pub const REWRITE_FALLBACK: &str = "querent_rewrite_fallback_total";
pub const CACHE_REQUESTS: &str = "querent_cache_requests_total";
pub const INDEX_PENDING_DOCUMENTS: &str = "querent_index_pending_documents";
pub const INDEX_LAG: &str = "querent_index_lag_seconds";
pub const JOBS: &str = "querent_jobs";
pub const GPU_MEMORY: &str = "querent_gpu_memory_bytes";
pub const INVARIANT_VIOLATIONS: &str = "querent_invariant_violations_total";
pub const BUILD_INFO: &str = "querent_build_info";
pub const PROCESS_MEMORY: &str = "process_resident_memory_bytes";
pub const PROCESS_OPEN_FILES: &str = "process_open_fds";
pub const PROCESS_MAX_FILES: &str = "process_max_fds";
pub const PROCESS_START: &str = "process_start_time_seconds";

/// Seconds, from a rule of the gate to a request that runs into its deadline.
const DURATION_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];
const TOKEN_BUCKETS: [f64; 11] =
    [1.0, 4.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric, with what it means.
const ALL: [(&str, Form, &str); 19] = [
    (HTTP_REQUESTS, Form::Counter, "Requests answered, by method, route template and status."),
    (HTTP_REQUEST_DURATION, Form::Histogram, "Time from a request's head to its answer's head."),
    (STAGE_DURATION, Form::Histogram, "Time spent in one stage of a request or of indexing."),
    (REQUESTS_SHED, Form::Counter, "Requests refused with 429 or 503, by the problem's code."),
    (QUEUE_DEPTH, Form::Gauge, "Requests that wait for a compute thread."),
    (BATCH_TOKENS, Form::Histogram, "Tokens computed in one pass of a model."),
    (TOKENS, Form::Counter, "Tokens read (input) and written (output) by a model."),
    (REWRITE_FALLBACK, Form::Counter, "Rewrites that could not be done as asked, by reason."),
    (CACHE_REQUESTS, Form::Counter, "Look-ups in a cache, by result."),
    (INDEX_PENDING_DOCUMENTS, Form::Gauge, "Accepted documents that are not searchable yet."),
    (INDEX_LAG, Form::Gauge, "Age of the oldest document that is not searchable yet."),
    (JOBS, Form::Gauge, "Background jobs that have not ended, by state."),
    (GPU_MEMORY, Form::Gauge, "Memory in use on each GPU of this machine, by its index."),
    (INVARIANT_VIOLATIONS, Form::Counter, "What must never happen and did, by the broken rule."),
    (BUILD_INFO, Form::Gauge, "1, with the version and whether GPU support is compiled in."),
    (PROCESS_MEMORY, Form::Gauge, "Resident memory of the process."),
    (PROCESS_OPEN_FILES, Form::Gauge, "Open file descriptors of the process."),
    (PROCESS_MAX_FILES, Form::Gauge, "Most file descriptors that the process may open."),
    (PROCESS_START, Form::Gauge, "When the process started, in seconds since the Unix epoch."),
];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// A part of the work that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Gate,
    Generate,
    Check,
    Rewrite,
    Embed,
    Search,
    Rerank,
    Parse,
    Index,
}

impl Stage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Generate => "generate",
            Self::Check => "check",
            Self::Rewrite => "rewrite",
            Self::Embed => "embed",
            Self::Search => "search",
            Self::Rerank => "rerank",
            Self::Parse => "parse",
            Self::Index => "index",
        }
    }
}

/// The names of all metrics.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _, _)| *name)
}

/// Starts counting; a second call changes nothing.
///
/// # Errors
/// When something else of this process records metrics already.
pub fn install() -> Result<()> {
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let unusable = |error: BuildError| Error::failed("set up the metrics", error);
    let recorder = PrometheusBuilder::new()
        .set_buckets(&DURATION_BUCKETS)
        .map_err(unusable)?
        .set_buckets_for_metric(Matcher::Full(BATCH_TOKENS.into()), &TOKEN_BUCKETS)
        .map_err(unusable)?
        .build_recorder();
    let handle = recorder.handle();
    set_global_recorder(recorder)
        .map_err(|error| Error::internal(format!("failed to set up the metrics: {error}")))?;
    let _ = HANDLE.set(handle);
    for (name, form, meaning) in ALL {
        match form {
            Form::Counter => describe_counter!(name, meaning),
            Form::Gauge => describe_gauge!(name, meaning),
            Form::Histogram => describe_histogram!(name, meaning),
        }
    }
    let gpu = if cfg!(feature = "cuda") { "cuda" } else { "none" };
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "gpu" => gpu).set(1.0);
    // A rate needs something to have risen from.
    for invariant in Invariant::ALL {
        violated(invariant, 0);
    }
    Ok(())
}

/// All metrics in Prometheus' text form, the process's own read now. Empty before [`install`].
pub fn render() -> String {
    let process = process::observe();
    for (name, value) in [
        (PROCESS_MEMORY, process.resident_bytes),
        (PROCESS_OPEN_FILES, process.open_files),
        (PROCESS_MAX_FILES, process.max_files),
        (PROCESS_START, process.started_at_seconds),
    ] {
        if let Some(value) = value {
            gauge!(name).set(value);
        }
    }
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what histograms have collected; without it they grow for as long as nobody reads them.
pub fn tidy() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// What a request is counted under; taken from it before it is handled.
#[derive(Debug, Clone)]
pub struct RequestLabels {
    method: &'static str,
    route: String,
}

impl RequestLabels {
    /// `route` is the template that matched, or `unknown`.
    pub fn new(method: &str, route: &str) -> Self {
        const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
        let known = METHODS.into_iter().find(|known| *known == method);
        Self { method: known.unwrap_or("other"), route: route.to_owned() }
    }

    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Counts the answer.
    pub fn answered(self, status: u16, duration: Duration) {
        let (method, route) = (self.method, self.route);
        histogram!(HTTP_REQUEST_DURATION, "method" => method, "route" => route.clone())
            .record(duration);
        counter!(
            HTTP_REQUESTS, "method" => method, "route" => route, "status" => status.to_string()
        )
        .increment(1);
    }
}

/// Counts a refusal when it was one for want of room: 429 and 503.
pub fn refused(status: u16, code: &str) {
    if matches!(status, 429 | 503) {
        counter!(REQUESTS_SHED, "reason" => code.to_owned()).increment(1);
    }
}

/// Times one stage, in milliseconds as answers give them.
pub fn stage(stage: Stage, milliseconds: f64) {
    histogram!(STAGE_DURATION, "stage" => stage.as_str()).record(milliseconds / 1e3);
}

/// Says how many wait in a queue.
pub fn queue_depth(queue: &'static str, depth: usize) {
    gauge!(QUEUE_DEPTH, "queue" => queue).set(as_float(depth));
}

/// One more waits in a queue that cannot be counted.
pub fn queue_entered(queue: &'static str) {
    gauge!(QUEUE_DEPTH, "queue" => queue).increment(1.0);
}

/// One less waits in a queue that cannot be counted.
pub fn queue_left(queue: &'static str) {
    gauge!(QUEUE_DEPTH, "queue" => queue).decrement(1.0);
}

/// Tokens of one pass of a model.
pub fn batch(n_tokens: usize) {
    histogram!(BATCH_TOKENS).record(as_float(n_tokens));
}

/// Tokens that a model, named by its id, has read and written.
pub fn tokens(model: &str, n_input: usize, n_output: usize) {
    for (direction, n_tokens) in [("input", n_input), ("output", n_output)] {
        if n_tokens > 0 {
            counter!(TOKENS, "model" => model.to_owned(), "direction" => direction)
                .increment(n_tokens as u64);
        }
    }
}

/// A rewrite that was not done as asked; `reason` is one of the codes of `degraded`.
pub fn rewrite_fallback(reason: &str) {
    counter!(REWRITE_FALLBACK, "reason" => reason.to_owned()).increment(1);
}

/// A look-up in a cache.
pub fn cache(cache: &'static str, hit: bool) {
    let result = if hit { "hit" } else { "miss" };
    counter!(CACHE_REQUESTS, "cache" => cache, "result" => result).increment(1);
}

/// What waits to become searchable, and for how long the oldest of it has waited.
pub fn index_backlog(n_documents: u64, lag: Duration) {
    gauge!(INDEX_PENDING_DOCUMENTS).set(n_documents as f64);
    gauge!(INDEX_LAG).set(lag.as_secs_f64());
}

/// Jobs in a state.
pub fn jobs(state: &'static str, n_jobs: u64) {
    gauge!(JOBS, "state" => state).set(n_jobs as f64);
}

/// Memory in use on a GPU of this machine, whoever uses it.
pub fn gpu_memory(gpu: u32, bytes: f64) {
    gauge!(GPU_MEMORY, "gpu" => gpu.to_string()).set(bytes);
}

/// Something that must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// No request makes the program panic.
    NoPanic,
    /// Every administrative call is in the audit trail.
    AuditComplete,
    /// A chunk that SQL takes for indexed is in the index.
    IndexComplete,
    /// A query that is passed is passed as it was asked.
    PassIsUnchanged,
}

impl Invariant {
    pub const ALL: [Self; 4] =
        [Self::NoPanic, Self::AuditComplete, Self::IndexComplete, Self::PassIsUnchanged];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPanic => "no_panic",
            Self::AuditComplete => "audit_complete",
            Self::IndexComplete => "index_complete",
            Self::PassIsUnchanged => "pass_is_unchanged",
        }
    }
}

/// An invariant did not hold, so many times. The log has what is known of it.
pub fn violated(invariant: Invariant, n_times: u64) {
    counter!(INVARIANT_VIOLATIONS, "name" => invariant.as_str()).increment(n_times);
}

fn as_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_their_form() {
        for (name, form, meaning) in ALL {
            assert!(meaning.ends_with('.') && meaning.len() > 20, "{name}: {meaning}");
            assert!(name.starts_with("querent_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), form == Form::Counter, "{name}");
        }
    }

    #[test]
    fn methods_are_bounded() {
        assert_eq!(RequestLabels::new("POST", "/v1/search").method, "POST");
        assert_eq!(RequestLabels::new("BREW", "/v1/search").method, "other");
    }

    #[test]
    fn only_refusals_for_want_of_room_are_shed() {
        install().unwrap();
        refused(429, "test_busy");
        refused(503, "test_gone");
        refused(422, "test_wrong");
        let text = render();
        assert!(text.contains("querent_requests_shed_total{reason=\"test_busy\"} 1"), "{text}");
        assert!(text.contains("test_gone") && !text.contains("test_wrong"), "{text}");
    }
}
