//! Reading documents where they harm nobody: untrusted formats each in a process of its own
//! ([`super::child`]), a few at once, with an end to its time, its memory and its answer.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::child::{self, Reply};
use super::confine::Limits;
use super::{Format, ParsedDocument, parse, too_complex, unreadable};
use crate::config::IngestConfig;
use crate::error::{Error, Kind, Result};

/// A process may wait this much longer than it may compute.
const SLACK: Duration = Duration::from_secs(10);
/// The longest answer: the text as JSON, with its headings.
const MAX_REPLY_BYTES: u64 = 64 * 1024 * 1024;
/// Of a refusal's words, which a subverted process could choose.
const MAX_REASON_CHARS: usize = 300;
/// The codes of refusals that are passed on.
const CODES: [&str; 6] = [
    "document_encoding",
    "document_encrypted",
    "document_too_complex",
    "document_unreadable",
    "document_without_text",
    child::UNCONFINED,
];

/// Reads documents, a few at once.
pub struct Parsers {
    program: PathBuf,
    limits: Limits,
    patience: Duration,
    /// The longest text that comes out of a document.
    max_text_bytes: usize,
    permits: Semaphore,
}

impl Parsers {
    /// `program` is this program, or one that knows the same role.
    pub fn new(program: PathBuf, config: &IngestConfig) -> Self {
        let limits = Limits {
            memory_bytes: config.parser_memory_bytes,
            cpu_seconds: config.parser_cpu_seconds,
        };
        Self {
            program,
            limits,
            patience: Duration::from_secs(limits.cpu_seconds).saturating_add(SLACK),
            max_text_bytes: config.max_document_bytes,
            permits: Semaphore::new(config.parsers),
        }
    }

    /// Reads a document once there is room. Dropping the future ends the process.
    ///
    /// # Errors
    /// `document_media_type`, or what is wrong with the document: `document_unreadable`,
    /// `document_encoding`, `document_encrypted`, `document_without_text`, `document_too_complex`,
    /// `document_too_slow`. `parser_unavailable` when the process cannot confine itself here, and
    /// `Kind::Unavailable` (`parser_not_started`) when it cannot be started now.
    pub async fn parse(&self, media_type: &str, content: Vec<u8>) -> Result<ParsedDocument> {
        let format = Format::of_media_type(media_type)?;
        let _permit = self.permits.acquire().await.map_err(|error| not_started(error.into()))?;
        if format.is_confined() {
            return self.parse_apart(format, &content).await;
        }
        match tokio::task::spawn_blocking(move || parse(format, &content)).await {
            Ok(parsed) => parsed,
            Err(error) if error.is_panic() => Err(child::broken()),
            Err(error) => Err(Error::failed("read a document", error)),
        }
    }

    async fn parse_apart(&self, format: Format, content: &[u8]) -> Result<ParsedDocument> {
        let mut process = self.start(format).map_err(|error| not_started(error.into()))?;
        match tokio::time::timeout(self.patience, exchange(&mut process, content)).await {
            Ok(Ok((status, reply))) => self.document(status, &reply),
            Ok(Err(error)) => Err(Error::failed("talk to a parser", error)),
            Err(_) => {
                let _ = process.kill().await;
                Err(self.too_slow())
            }
        }
    }

    fn start(&self, format: Format) -> std::io::Result<Child> {
        Command::new(&self.program)
            .arg0("querent")
            .arg(child::ROLE)
            .arg(format.media_type())
            .args([child::MEMORY_FLAG, &self.limits.memory_bytes.to_string()])
            .args([child::CPU_FLAG, &self.limits.cpu_seconds.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }

    /// What the end of a process and its last words mean.
    fn document(&self, status: ExitStatus, reply: &[u8]) -> Result<ParsedDocument> {
        if reply.len() as u64 > MAX_REPLY_BYTES {
            return Err(self.too_long());
        }
        if !status.success() {
            return Err(self.ended(status));
        }
        match serde_json::from_slice(reply) {
            Ok(Reply::Document(document)) if document.text.len() > self.max_text_bytes => {
                Err(self.too_long())
            }
            Ok(Reply::Document(document)) if is_sound(&document) => Ok(document),
            Ok(Reply::Refusal { code, message }) => Err(refused(&code, &message)),
            _ => Err(child::broken()),
        }
    }

    /// Why a process ended before it had answered.
    fn ended(&self, status: ExitStatus) -> Error {
        match status.signal() {
            Some(libc::SIGXCPU) => self.too_slow(),
            // An allocation that fails and a stack that is used up both end in `abort`; the
            // system kills when all its memory is gone.
            Some(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS | libc::SIGKILL) => {
                let mebibytes = self.limits.memory_bytes >> 20;
                too_complex(format!(
                    "the document is nested too deep, or takes more than {mebibytes} MiB to read \
                     ([ingest] parser_memory_bytes); send its text, or a simpler file"
                ))
            }
            _ => child::broken(),
        }
    }

    fn too_slow(&self) -> Error {
        let seconds = self.limits.cpu_seconds;
        let message = format!(
            "the document takes more than {seconds} s to read ([ingest] parser_cpu_seconds); send \
             its text, or a simpler file"
        );
        Error::new(Kind::Timeout, "document_too_slow", message)
    }

    fn too_long(&self) -> Error {
        too_complex(format!(
            "the document holds more than {} bytes of text ([ingest] max_document_bytes); split it",
            self.max_text_bytes
        ))
    }
}

/// Hands the content over and listens. An answer that is too long is cut off, which ends it.
async fn exchange(process: &mut Child, content: &[u8]) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
    let tell = async move {
        if let Some(mut stdin) = stdin {
            // It may have ended already; its end says why.
            let _ = stdin.write_all(content).await;
        }
    };
    let listen = async move {
        let mut reply = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_REPLY_BYTES + 1).read_to_end(&mut reply).await?;
        }
        Ok::<_, std::io::Error>(reply)
    };
    let ((), reply) = tokio::join!(tell, listen);
    Ok((process.wait().await?, reply?))
}

/// Whether every place lies within the text: the chunker relies on it.
fn is_sound(document: &ParsedDocument) -> bool {
    let n_chars = document.text.chars().count();
    let places = document.headings.iter().map(|heading| heading.at);
    places.is_sorted()
        && document.headings.iter().all(|it| it.at < n_chars && (1..=6).contains(&it.level))
        && document.kept_whole.iter().all(|it| it.start <= it.end && it.end <= n_chars)
}

fn refused(code: &str, message: &str) -> Error {
    let printable = message.chars().filter(|c| !c.is_control());
    let reason: String = printable.take(MAX_REASON_CHARS).collect();
    let Some(code) = CODES.into_iter().find(|known| *known == code) else {
        return unreadable(reason);
    };
    if code == child::UNCONFINED {
        tracing::error!(reason, "a parser cannot be confined on this system; it read nothing");
        let message = "this server cannot read files of this kind safely; its log says why";
        return Error::new(Kind::Unsupported, code, message);
    }
    let kind = if code == "document_too_complex" { Kind::TooLarge } else { Kind::Invalid };
    Error::new(kind, code, reason)
}

/// A fault of ours that passes, such as too many processes: the document waits.
fn not_started(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let message = "the process that reads documents cannot be started";
    Error::new(Kind::Unavailable, "parser_not_started", message).caused_by(cause)
}

#[cfg(test)]
mod tests;
