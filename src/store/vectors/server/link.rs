//! The line to the server: one client, a deadline on each call, and errors without secrets.
//!
//! The client lives on a thread of its own, so that blocking callers may wait for it wherever
//! they come from. A call that misses its deadline leaves a connection behind that may be dead
//! without knowing, so the client is made anew; and reads are refused for a moment, so that a
//! search of many queries waits for a dead server once and not for each.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qdrant_client::config::QdrantConfig;
use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::{Builder, Runtime};

use super::super::INDEX_UNAVAILABLE;
use crate::config::{Secret, VectorsConfig};
use crate::error::{Error, Kind, Result};

/// Writes wait until they are applied.
const WRITE_DEADLINES: u32 = 6;
/// How long reads are refused after one missed its deadline.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_CAUSE_CHARS: usize = 300;
/// The code of gRPC for a collection that does not exist.
const NOT_FOUND: i32 = 5;

pub(super) struct Link {
    config: QdrantConfig,
    key: Secret,
    client: Mutex<Qdrant>,
    /// Taken out only by `drop`.
    runtime: Option<Runtime>,
    deadline: Duration,
    paused_until: Mutex<Option<Instant>>,
}

impl Link {
    /// Sets up the client; the first call connects.
    pub(super) fn new(settings: &VectorsConfig) -> Result<Self> {
        let deadline = Duration::from_millis(settings.timeout_ms);
        let mut config = QdrantConfig::from_url(&settings.url)
            .connect_timeout(deadline)
            .timeout(deadline * WRITE_DEADLINES)
            // It would print to the standard output.
            .skip_compatibility_check();
        if !settings.api_key.is_empty() {
            config.set_api_key(settings.api_key.expose());
        }
        let client = connect(&config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("qdrant")
            .enable_all()
            .build()
            .map_err(|error| Error::failed("start a thread for the index server", error))?;
        Ok(Self {
            config,
            key: settings.api_key.clone(),
            client: Mutex::new(client),
            runtime: Some(runtime),
            deadline,
            paused_until: Mutex::default(),
        })
    }

    /// Asks for something; none when the server says that it does not exist.
    pub(super) fn read<T, F>(
        &self,
        doing: &str,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let started = Instant::now();
        if lock(&self.paused_until).is_some_and(|until| started < until) {
            return Err(unavailable(doing, "an earlier call missed its deadline"));
        }
        let answer = self.call(doing, self.deadline, call);
        if answer.is_err() && started.elapsed() >= self.deadline {
            *lock(&self.paused_until) = Some(Instant::now() + PAUSE);
        }
        answer
    }

    /// Changes something; none when what is to be changed does not exist.
    pub(super) fn write<T, F>(
        &self,
        doing: &str,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        self.call(doing, self.deadline * WRITE_DEADLINES, call)
    }

    /// Starts something whose end nobody waits for; a failure is logged.
    pub(super) fn begin<F>(&self, doing: &'static str, call: impl FnOnce(Qdrant) -> F)
    where
        F: Future<Output = Result<(), QdrantError>> + Send + 'static,
    {
        let Some(runtime) = &self.runtime else { return };
        let (call, key) = (call(self.client()), self.key.clone());
        let limit = self.deadline * WRITE_DEADLINES;
        runtime.spawn(async move {
            match tokio::time::timeout(limit, call).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = describe(&error, &key), "failed to {doing}");
                }
                Err(_) => tracing::warn!("failed to {doing}: no answer in time"),
            }
        });
    }

    /// The deadline of reads in whole seconds, as the server takes it.
    pub(super) fn read_seconds(&self) -> u64 {
        self.deadline.as_secs().max(1)
    }

    fn call<T, F>(
        &self,
        doing: &str,
        limit: Duration,
        call: impl FnOnce(Qdrant) -> F,
    ) -> Result<Option<T>>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let Some(runtime) = &self.runtime else {
            return Err(unavailable(doing, "the client is closed"));
        };
        let call = call(self.client());
        match runtime.block_on(async { tokio::time::timeout(limit, call).await }) {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if is_missing(&error) => Ok(None),
            Ok(Err(error)) => Err(unavailable(doing, describe(&error, &self.key))),
            Err(_) => {
                *lock(&self.client) = connect(&self.config)?;
                Err(unavailable(doing, format!("no answer within {limit:?}")))
            }
        }
    }

    fn client(&self) -> Qdrant {
        lock(&self.client).clone()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("url", &self.config.uri).finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Waiting for its thread would panic where the caller is asynchronous.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The error of a server that cannot be asked. The cause goes to the log.
pub(super) fn unavailable(doing: &str, cause: impl fmt::Display) -> Error {
    Error::new(
        Kind::Unavailable,
        INDEX_UNAVAILABLE,
        "The index of the collections cannot be reached at present. Try again.",
    )
    .caused_by(format!("failed to {doing}: {cause}"))
}

fn connect(config: &QdrantConfig) -> Result<Qdrant> {
    // The error would repeat the address.
    config.clone().build().map_err(|_| {
        Error::invalid("config", "[vectors] url is not an address that can be connected to")
    })
}

fn is_missing(error: &QdrantError) -> bool {
    matches!(error, QdrantError::ResponseError { status } if i32::from(status.code()) == NOT_FOUND)
}

/// What went wrong, short and without the key, which a server might repeat.
fn describe(error: &QdrantError, key: &Secret) -> String {
    let text = match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => {
            format!("{:?}: {}", status.code(), status.message())
        }
        other => other.to_string(),
    };
    let text = if key.is_empty() { text } else { text.replace(key.expose(), "***") };
    text.chars().take(MAX_CAUSE_CHARS).collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
