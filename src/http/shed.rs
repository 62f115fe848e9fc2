//! Load shedding: what computes is admitted up to what the machine can do, waits a moment when
//! that is full, and is refused then. A refusal is cheap and comes at once; the admitted stay fast,
//! because the last to come is the next to be admitted.
//!
//! Two budgets hold together: requests, and the tokens they bring along (estimated from the
//! body's length, because the body is read only once it is admitted). Routes that compute nothing
//! (corpus, keys, health) pay for the memory of their bodies alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use utoipa::openapi::OpenApi;

use super::guard::{self, Access};
use super::places::{Place, Places};
use super::problem::Answer;
use crate::config::LimitsConfig;
use crate::error::{Error, Kind, Result};
use crate::store::access::Scope;

/// Bytes of JSON that bring one token along, roughly, in Chinese as in English.
const BYTES_PER_TOKEN: usize = 4;
const KIB: usize = 1_024;
/// Requests at a time for each core, when the settings leave it open.
const PER_CORE: usize = 2;
const PER_CORE_REMOTE: usize = 32;
/// For work that begins again, whose caller has waited before.
const PATIENCE_TO_GO_ON: Duration = Duration::from_secs(10);

/// The budgets of this server.
#[derive(Clone)]
pub struct Shed {
    requests: Places,
    tokens: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    max_tokens: usize,
    max_kibibytes: usize,
    max_body_bytes: usize,
    patience: Duration,
    /// Routes that compute, by method and path.
    computing: Arc<HashSet<(String, String)>>,
}

/// The right to compute, held by a request; whoever goes on after the answer's head has left
/// keeps a copy.
#[derive(Clone, Debug)]
pub struct Admitted(#[expect(dead_code, reason = "held for what its end does")] Arc<Permits>);

#[derive(Debug)]
struct Permits {
    _request: Place,
    _tokens: OwnedSemaphorePermit,
}

/// The right to compute of work that may begin more than once: the request's own first, then as
/// it can be had.
pub struct Entry {
    first: Mutex<Option<Admitted>>,
    shed: Shed,
}

impl Entry {
    pub fn new(first: Option<Admitted>, shed: Shed) -> Self {
        Self { first: Mutex::new(first), shed }
    }

    pub async fn enter(&self) -> Result<Admitted> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        match first {
            Some(admitted) => Ok(admitted),
            None => self.shed.enter().await,
        }
    }
}

impl Shed {
    /// With a rewriter elsewhere requests wait for it more than they compute, so more of them
    /// are admitted.
    pub fn new(
        limits: &LimitsConfig,
        max_body_bytes: usize,
        is_rewriter_remote: bool,
        api: &OpenApi,
    ) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let per_core = if is_rewriter_remote { PER_CORE_REMOTE } else { PER_CORE };
        let n_requests = match limits.max_concurrent {
            0 => n_cores.saturating_mul(per_core).max(4),
            n => n,
        };
        let most = |n: usize| n.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let (max_tokens, max_kibibytes) =
            (most(limits.max_tokens_in_flight), most(limits.max_body_mib_in_flight * KIB));
        Self {
            requests: Places::new(most(n_requests)),
            tokens: Arc::new(Semaphore::new(max_tokens)),
            kibibytes: Arc::new(Semaphore::new(max_kibibytes)),
            max_tokens,
            max_kibibytes,
            max_body_bytes,
            patience: Duration::from_millis(limits.queue_ms),
            computing: Arc::new(computing(api)),
        }
    }

    async fn enter(&self) -> Result<Admitted> {
        let request = self.requests.take(PATIENCE_TO_GO_ON).await.ok_or_else(overloaded)?;
        let tokens = Arc::clone(&self.tokens).acquire_many_owned(1).await.map_err(closed)?;
        Ok(Admitted(Arc::new(Permits { _request: request, _tokens: tokens })))
    }

    async fn admit(&self, n_bytes: usize) -> Result<Admitted> {
        let until = Instant::now() + self.patience;
        let request = self.requests.take(self.patience).await.ok_or_else(overloaded)?;
        let n_tokens = (n_bytes / BYTES_PER_TOKEN).clamp(1, self.max_tokens);
        let tokens = Arc::clone(&self.tokens).acquire_many_owned(narrow(n_tokens));
        let tokens =
            tokio::time::timeout_at(until, tokens).await.map_err(|_| over_tokens(n_tokens))?;
        Ok(Admitted(Arc::new(Permits { _request: request, _tokens: tokens.map_err(closed)? })))
    }

    /// Room in memory for a body.
    async fn room(&self, n_bytes: usize) -> Result<OwnedSemaphorePermit> {
        let n_kibibytes = n_bytes.div_ceil(KIB).clamp(1, self.max_kibibytes);
        let room = Arc::clone(&self.kibibytes).acquire_many_owned(narrow(n_kibibytes));
        let room = tokio::time::timeout(self.patience, room).await.map_err(|_| overloaded())?;
        room.map_err(closed)
    }
}

/// The layer: inside the guard, so that only who may ask takes part of a budget.
pub async fn admit(State(shed): State<Shed>, mut request: Request, next: Next) -> Answer<Response> {
    let n_bytes = body_bytes(&request, shed.max_body_bytes);
    // Refused by the reader of the body without being kept.
    let is_kept = n_bytes > 0 && n_bytes <= shed.max_body_bytes;
    let _room = if is_kept { Some(shed.room(n_bytes).await?) } else { None };
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let computes = route.is_some_and(|route| {
        shed.computing.contains(&(request.method().to_string(), route.to_owned()))
    });
    if !computes {
        return Ok(next.run(request).await);
    }
    let admitted = shed.admit(n_bytes).await?;
    request.extensions_mut().insert(admitted.clone());
    let response = next.run(request).await;
    drop(admitted);
    Ok(response)
}

/// The declared length of a body, the longest that is read when none is declared.
fn body_bytes(request: &Request, max_body_bytes: usize) -> usize {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match declared.and_then(|text| text.parse().ok()) {
        Some(n_bytes) => n_bytes,
        None if [Method::GET, Method::HEAD, Method::DELETE].contains(request.method()) => 0,
        None => max_body_bytes,
    }
}

/// The routes whose scope is for asking or embedding.
fn computing(api: &OpenApi) -> HashSet<(String, String)> {
    let computes = |access: &Option<Access>| match access {
        Some(Access::Key(scopes)) => {
            scopes.iter().any(|scope| matches!(scope, Scope::Query | Scope::Embed))
        }
        _ => false,
    };
    let table = guard::table(api).into_iter();
    table
        .filter(|((method, _), access)| *method == Method::POST.as_str() && computes(access))
        .map(|(route, _)| route)
        .collect()
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn overloaded() -> Error {
    let message = "The server has as much to do as it can do well; come back shortly.";
    Error::new(Kind::Unavailable, "overloaded", message)
}

fn over_tokens(n_tokens: usize) -> Error {
    let message = format!(
        "About {n_tokens} more tokens are over the budget of `[limits] max_tokens_in_flight`; \
         come back shortly, or send less at a time."
    );
    Error::new(Kind::Busy, "token_budget", message)
}

fn closed(source: tokio::sync::AcquireError) -> Error {
    Error::failed("admit a request", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shed(max_concurrent: usize, max_tokens_in_flight: usize) -> Shed {
        let limits = LimitsConfig {
            max_concurrent,
            max_tokens_in_flight,
            max_body_mib_in_flight: 1,
            queue_ms: 5,
            ..crate::config::Config::default().limits
        };
        Shed::new(&limits, 1_000_000, false, &crate::http::openapi())
    }

    #[tokio::test]
    async fn requests_over_the_limit_are_refused_after_a_moment() {
        let shed = shed(2, 1_000);
        let first = shed.admit(10).await.unwrap();
        let _second = shed.admit(10).await.unwrap();
        assert_eq!(shed.admit(10).await.unwrap_err().code, "overloaded");
        let kept = first.clone();
        drop(first);
        assert!(shed.admit(10).await.is_err(), "a copy still computes");
        drop(kept);
        assert!(shed.admit(10).await.is_ok());
    }

    #[tokio::test]
    async fn tokens_over_the_budget_are_refused_and_one_large_request_runs_alone() {
        let shed = shed(10, 100);
        let large = shed.admit(1_000_000).await.unwrap();
        let refused = shed.admit(4).await.unwrap_err();
        assert_eq!((refused.code, refused.kind), ("token_budget", Kind::Busy));
        drop(large);
        let _small = shed.admit(200).await.unwrap();
        assert!(shed.admit(200).await.is_ok());
        assert!(shed.admit(300).await.is_err());
    }

    #[tokio::test]
    async fn bodies_share_their_room() {
        let shed = shed(10, 100);
        let large = shed.room(900 * KIB).await.unwrap();
        assert_eq!(shed.room(200 * KIB).await.unwrap_err().code, "overloaded");
        drop(large);
        assert!(shed.room(usize::MAX).await.is_ok());
    }

    #[test]
    fn what_computes_is_known_by_its_scope() {
        let computing = computing(&crate::http::openapi());
        let has = |method: &str, path: &str| computing.contains(&(method.into(), path.into()));
        assert!(has("POST", "/v1/rewrite") && has("POST", "/v1/search"));
        assert!(!has("GET", "/v1/streams/{id}") && !has("GET", "/livez"));
        assert!(!has("POST", "/v1/collections/{name}/documents") && !has("POST", "/admin/keys"));
    }
}
