//! Logs: where they go and in what form; metrics; traces. Never a secret, never a query's text.

pub mod gpu;
pub mod metrics;
pub mod process;
pub mod traces;

use std::io::IsTerminal;

use tokio::runtime::Handle;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::{Error, Result};
use traces::{TraceSettings, Traces};

/// The variable that says what is logged, in `tracing`'s filter language.
const FILTER_VARIABLE: &str = "QUERENT_LOG";

/// What runs until the end of the process.
pub struct Telemetry {
    traces: Option<Traces>,
}

/// Sends logs to stderr, as lines for people or as JSON for machines, and spans to a collector
/// when one is set. Call it once.
///
/// # Errors
/// `config` for settings of traces that cannot be used; logs are started then all the same.
pub fn start(
    default_filter: &str,
    json: bool,
    settings: &TraceSettings,
    runtime: &Handle,
) -> Result<Telemetry> {
    let (traces, problem) = match Traces::start(settings, runtime) {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let tracer = traces.as_ref().map(Traces::tracer);
    let of_traces = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == traces::TARGET))
    });
    let logs = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && !no_color())
        .with_writer(std::io::stderr);
    let logs = if json { logs.json().boxed() } else { logs.boxed() };
    let started = tracing_subscriber::registry()
        .with(logs.with_filter(log_filter(default_filter)))
        .with(of_traces)
        .try_init();
    started.map_err(|error| Error::internal(format!("failed to start logging: {error}")))?;
    // The message of a panic may quote what a person wrote; its place never does.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "a thread panicked");
    }));
    problem.map_or(Ok(Telemetry { traces }), Err)
}

impl Telemetry {
    /// Sends the spans that are left. Call it from a thread that may wait, at the very end.
    pub fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop();
        }
    }
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn log_filter(default: &str) -> EnvFilter {
    let asked = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    EnvFilter::new(if asked.trim().is_empty() { default } else { asked.as_str() })
}
