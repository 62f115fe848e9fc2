//! Logs: where they go and in what form. Never a secret, never a query's text.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};

/// The variable that says what is logged, in `tracing`'s filter language.
const FILTER_VARIABLE: &str = "QUERENT_LOG";

/// Sends logs to stderr, as lines for people or as JSON for machines. Call it once.
pub fn start(default_filter: &str, json: bool) -> Result<()> {
    let asked = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let filter = if asked.trim().is_empty() { default_filter } else { asked.as_str() };
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        .with_writer(std::io::stderr);
    let started = if json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| Error::internal(format!("failed to start logging: {error}")))?;
    // The message of a panic may quote what a person wrote; its place never does.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "a thread panicked");
    }));
    Ok(())
}
