//! Parses the command line, runs the role, and turns its result into an exit code:
//! 0 done, 1 failed, 2 wrong usage.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

use std::process::ExitCode;

use clap::Parser;
use querent::cli::{self, Cli};
use querent::error::Kind;
use querent::telemetry;

/// The index warns of flags that only its own server sets.
const DEFAULT_LOG: &str = "querent=info,qdrant_edge=error,warn";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::start(DEFAULT_LOG, cli.global.log_json) {
        return report(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &querent::error::Error) -> ExitCode {
    tracing::error!(code = error.code, "{error}");
    let usage = matches!(error.kind, Kind::Invalid | Kind::Unsupported);
    ExitCode::from(if usage { 2 } else { 1 })
}
