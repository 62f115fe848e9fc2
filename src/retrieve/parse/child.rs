//! The process that reads one document: it confines itself, reads the content from its standard
//! input, and says on its standard output what the document is, or why it cannot be read.

use std::io::{Read, Write};
use std::panic::{self, AssertUnwindSafe};

use serde::{Deserialize, Serialize};

use super::confine::{Limits, confine};
use super::{Format, ParsedDocument, parse, unreadable};
use crate::error::{Error, Result};

/// The name of the role of the command line that calls [`run`].
pub const ROLE: &str = "parse-document";
/// The flags of that role.
pub const MEMORY_FLAG: &str = "--memory-bytes";
pub const CPU_FLAG: &str = "--cpu-seconds";
/// The process could not confine itself and has read nothing.
pub(super) const UNCONFINED: &str = "parser_unavailable";

/// What goes back through the pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Document(ParsedDocument),
    Refusal { code: String, message: String },
}

/// Reads `input` and answers on `output`. The process is of no other use afterwards.
///
/// # Errors
/// When the answer cannot be written; everything else is an answer.
pub fn run(
    format: Format,
    limits: Limits,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<()> {
    // A parser's panic is an answer; its text could quote the document.
    panic::set_hook(Box::new(|_| {}));
    let reply = match confine(limits) {
        Ok(()) => read(format, &mut input),
        Err(error) => refusal(UNCONFINED, error.to_string()),
    };
    serde_json::to_writer(&mut output, &reply)?;
    Ok(output.flush()?)
}

fn read(format: Format, input: &mut impl Read) -> Reply {
    let mut content = Vec::new();
    if let Err(error) = input.read_to_end(&mut content) {
        return refusal(UNCONFINED, error.to_string());
    }
    let parsed = panic::catch_unwind(AssertUnwindSafe(|| parse(format, &content)));
    match parsed.unwrap_or_else(|_| Err(broken())) {
        Ok(document) => Reply::Document(document),
        Err(Error { code, message, .. }) => refusal(code, message),
    }
}

/// What a panic of a parser means.
pub(super) fn broken() -> Error {
    unreadable("the document is damaged: its structure cannot be read")
}

fn refusal(code: &str, message: String) -> Reply {
    Reply::Refusal { code: code.to_owned(), message }
}
