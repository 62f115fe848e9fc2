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
use querent::model::threads;
use querent::telemetry;

/// The index warns of flags that only its own server sets.
const DEFAULT_LOG: &str = "querent=info,qdrant_edge=error,warn";

fn main() -> ExitCode {
    threads::settle();
    let cli = Cli::parse();
    if let Some(code) = cli::run_alone(&cli) {
        return code;
    }
    // Without its threads there is no log either, and the exit code alone tells.
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let (json, traces) = (cli.global.log_json, cli.traces());
    let telemetry = match telemetry::start(DEFAULT_LOG, json, &traces, runtime.handle()) {
        Ok(telemetry) => telemetry,
        Err(error) => return report(&error),
    };
    let code = match runtime.block_on(cli::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    };
    telemetry.stop();
    code
}

fn report(error: &querent::error::Error) -> ExitCode {
    tracing::error!(code = error.code, "{error}");
    let usage = matches!(error.kind, Kind::Invalid | Kind::Unsupported);
    ExitCode::from(if usage { 2 } else { 1 })
}
