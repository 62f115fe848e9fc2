//! Writing to stdout: the one place, so that a closed pipe ends a role quietly.

use std::io::{ErrorKind, Write};

use crate::error::Result;

/// Writes one line.
pub fn line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // The reader has seen enough, as with `| head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
