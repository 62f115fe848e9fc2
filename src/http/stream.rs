//! Answers that come in pieces: server-sent events, recorded as they happen.
//!
//! The work behind a stream runs as long as somebody listens; when the last listener leaves, it is
//! dropped at once, and what was recorded stays for a while. Whoever comes back with
//! `Last-Event-ID` gets what was missed, and unfinished work begins again: what is told a second
//! time is left out, so that the stream goes on where it stopped.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::header::CONTENT_LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, Stream};
use moka::sync::Cache;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use utoipa::ToSchema;

use super::problem::{Answer, Problem};
use crate::error::{Error, Kind};
use crate::store::{TenantId, new_id};
use crate::telemetry::metrics::{self, Invariant};

#[cfg(test)]
mod tests;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells proxies such as nginx not to hold events back.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Streams that can be resumed, and for how long.
const MAX_RECORDINGS: u64 = 1_000;
const KEPT_FOR: Duration = Duration::from_secs(300);

type Work = Box<dyn Fn(Emitter) -> Pin<Box<dyn Future<Output = Answer<()>> + Send>> + Send + Sync>;

/// The streams of this process.
#[derive(Clone)]
pub struct Streams {
    recent: Cache<String, Arc<Recording>>,
    open: Arc<Semaphore>,
    max_open: usize,
    /// Of silence, after which a line says that the stream is still there.
    heartbeat: Duration,
}

impl Streams {
    /// At most `max_open` streams are listened to at a time.
    pub fn new(max_open: usize) -> Self {
        Self {
            recent: Cache::builder().max_capacity(MAX_RECORDINGS).time_to_live(KEPT_FOR).build(),
            open: Arc::new(Semaphore::new(max_open)),
            max_open,
            heartbeat: HEARTBEAT,
        }
    }

    /// Starts a stream, or resumes the one that `Last-Event-ID` names. Work that fails before it
    /// has said anything is answered as a plain problem.
    ///
    /// # Errors
    /// That problem, and `too_many_streams`.
    pub async fn answer<F>(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        work: impl Fn(Emitter) -> F + Send + Sync + 'static,
    ) -> Answer<Response>
    where
        F: Future<Output = Answer<()>> + Send + 'static,
    {
        let place = last_event(headers);
        if let Some((recording, place)) =
            place.and_then(|(id, at)| Some((self.find(tenant, &id)?, at)))
        {
            return self.listen(recording, place).await;
        }
        let recording = Arc::new(Recording {
            id: new_id("st"),
            tenant: tenant.clone(),
            work: Box::new(move |emitter| Box::pin(work(emitter))),
            state: Mutex::default(),
            changed: watch::channel(()).0,
        });
        self.recent.insert(recording.id.clone(), Arc::clone(&recording));
        self.listen(recording, 0).await
    }

    /// Goes on with a stream by its id.
    ///
    /// # Errors
    /// `stream_not_found` when it is another tenant's, too old or unknown.
    pub async fn resume(
        &self,
        tenant: &TenantId,
        id: &str,
        headers: &HeaderMap,
    ) -> Answer<Response> {
        let recording = self.find(tenant, id).ok_or_else(|| {
            let message = "The stream is not known here any more; ask again without it.";
            Error::not_found("stream_not_found", message)
        })?;
        let place = last_event(headers).filter(|(of, _)| of == id).map_or(0, |(_, at)| at);
        self.listen(recording, place).await
    }

    fn find(&self, tenant: &TenantId, id: &str) -> Option<Arc<Recording>> {
        self.recent.get(id).filter(|recording| recording.tenant == *tenant)
    }

    async fn listen(&self, recording: Arc<Recording>, place: usize) -> Answer<Response> {
        let permit = Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            let message = format!(
                "The server has {} open streams, as many as `[limits] max_streams` allows.",
                self.max_open
            );
            Error::new(Kind::Unavailable, "too_many_streams", message)
        })?;
        let mut listener = Listener::new(Arc::clone(&recording), place, permit);
        if let Some(problem) = listener.failed_at_once().await {
            self.recent.invalidate(&recording.id);
            return Err(problem);
        }
        let keep_alive = KeepAlive::new().interval(self.heartbeat);
        let mut response = Sse::new(listener.events()).keep_alive(keep_alive).into_response();
        let headers = response.headers_mut();
        headers.insert(BUFFERING, HeaderValue::from_static("no"));
        if let Ok(location) = HeaderValue::try_from(format!("/v1/streams/{}", recording.id)) {
            headers.insert(CONTENT_LOCATION, location);
        }
        Ok(response)
    }
}

/// One stream: what it has said so far, and the work that goes on saying.
struct Recording {
    id: String,
    tenant: TenantId,
    work: Work,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    events: Vec<Recorded>,
    /// Characters of deltas among the events.
    n_delta_chars: usize,
    ended: bool,
    /// Why it ended before it had said anything.
    problem: Option<Problem>,
    n_listeners: usize,
    run: Option<AbortHandle>,
}

#[derive(Clone)]
struct Recorded {
    name: &'static str,
    data: String,
}

impl Recording {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a listener in and sees to it that the work is going on.
    fn join(self: &Arc<Self>) {
        let mut state = self.lock();
        state.n_listeners += 1;
        if !state.ended && state.run.is_none() {
            let emitter = Emitter { recording: Arc::clone(self), n_chars: Arc::default() };
            state.run = Some(tokio::spawn(run(Arc::clone(self), emitter)).abort_handle());
        }
    }

    /// Counts a listener out; nobody's work is dropped.
    fn leave(&self) {
        let mut state = self.lock();
        state.n_listeners -= 1;
        if state.n_listeners == 0
            && let Some(run) = state.run.take()
        {
            run.abort();
        }
    }

    fn end(&self, problem: Option<Problem>) {
        let mut state = self.lock();
        state.ended = true;
        state.run = None;
        state.problem = problem;
        drop(state);
        self.changed.send_replace(());
    }
}

async fn run(recording: Arc<Recording>, emitter: Emitter) {
    let work = AssertUnwindSafe((recording.work)(emitter.clone())).catch_unwind();
    let outcome = work.await.unwrap_or_else(|_| {
        metrics::violated(Invariant::NoPanic, 1);
        Err(Error::internal("the work behind a stream panicked").into())
    });
    match outcome {
        Ok(()) => {
            emitter.send("done", &Done {});
            recording.end(None);
        }
        Err(problem) if recording.lock().events.is_empty() => recording.end(Some(problem)),
        Err(problem) => {
            if let Some(cause) = problem.cause() {
                tracing::error!(code = problem.code(), error = cause, "a stream failed");
            }
            emitter.send("error", &problem.details(&recording.id, "/v1/streams"));
            recording.end(None);
        }
    }
}

/// Nothing more follows.
#[derive(Serialize, ToSchema)]
pub struct Done {}

/// A piece of a text that is being written.
#[derive(Serialize, ToSchema)]
pub struct Delta {
    /// Where the piece begins, in Unicode scalar values.
    offset: usize,
    text: String,
}

/// Says things on a stream.
#[derive(Clone)]
pub struct Emitter {
    recording: Arc<Recording>,
    /// Characters of deltas that this run has said.
    n_chars: Arc<Mutex<usize>>,
}

impl Emitter {
    /// Says an event that comes once; when an earlier run has said it, nothing.
    pub fn send(&self, name: &'static str, value: &impl Serialize) {
        // Our own types of strings and numbers always serialise.
        let data = serde_json::to_string(value).unwrap_or_default();
        let mut state = self.recording.lock();
        if state.events.iter().all(|event| event.name != name) {
            state.events.push(Recorded { name, data });
            drop(state);
            self.recording.changed.send_replace(());
        }
    }

    /// Says more of a text; what an earlier run has said of it is left out.
    pub fn delta(&self, name: &'static str, text: &str) {
        let mut n_chars = self.n_chars.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.recording.lock();
        let n_known = state.n_delta_chars.saturating_sub(*n_chars);
        *n_chars += text.chars().count();
        let Some((start, _)) = text.char_indices().nth(n_known) else { return };
        let text = text.get(start..).unwrap_or_default().to_owned();
        let delta = Delta { offset: state.n_delta_chars, text };
        let data = serde_json::to_string(&delta).unwrap_or_default();
        state.n_delta_chars += delta.text.chars().count();
        state.events.push(Recorded { name, data });
        drop(state);
        self.recording.changed.send_replace(());
    }
}

/// Somebody who listens; leaving ends the work when nobody else does.
struct Listener {
    recording: Arc<Recording>,
    changed: watch::Receiver<()>,
    place: usize,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    fn new(recording: Arc<Recording>, place: usize, permit: OwnedSemaphorePermit) -> Self {
        let changed = recording.changed.subscribe();
        recording.join();
        Self { recording, changed, place, _permit: permit }
    }

    /// Waits for the first event; none when there is one, the problem when there never will be.
    async fn failed_at_once(&mut self) -> Option<Problem> {
        loop {
            {
                let state = self.recording.lock();
                if !state.events.is_empty() {
                    return None;
                }
                if state.ended {
                    return state.problem.clone();
                }
            }
            // The sender lives in the recording that is held here.
            let _ = self.changed.changed().await;
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, std::convert::Infallible>> + Send {
        futures::stream::unfold(self, |mut listener| async move {
            loop {
                let next = {
                    let state = listener.recording.lock();
                    match state.events.get(listener.place) {
                        Some(event) => Some(event.clone()),
                        None if state.ended => return None,
                        None => None,
                    }
                };
                let Some(Recorded { name, data }) = next else {
                    let _ = listener.changed.changed().await;
                    continue;
                };
                listener.place += 1;
                let id = format!("{}:{}", listener.recording.id, listener.place);
                return Some((Ok(Event::default().id(id).event(name).data(data)), listener));
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.recording.leave();
    }
}

/// The stream and the number of its last event that the client has seen.
fn last_event(headers: &HeaderMap) -> Option<(String, usize)> {
    let (id, place) = headers.get(LAST_EVENT_ID)?.to_str().ok()?.rsplit_once(':')?;
    Some((id.to_owned(), place.parse().ok()?))
}
