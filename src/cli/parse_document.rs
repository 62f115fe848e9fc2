//! `querent parse-document`: what the program calls itself for, to read a stranger's document in a
//! process that can do nothing else.

use std::io::{stdin, stdout};
use std::process::ExitCode;

use clap::Args;

use crate::retrieve::parse::Format;
use crate::retrieve::parse::child;
use crate::retrieve::parse::confine::Limits;

#[derive(Debug, Args)]
pub struct ParseDocumentArgs {
    media_type: String,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    cpu_seconds: u64,
}

/// The content comes on stdin; the answer goes to stdout.
pub fn run(args: &ParseDocumentArgs) -> ExitCode {
    let limits = Limits { memory_bytes: args.memory_bytes, cpu_seconds: args.cpu_seconds };
    let done = Format::of_media_type(&args.media_type)
        .and_then(|format| child::run(format, limits, stdin().lock(), stdout().lock()));
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
