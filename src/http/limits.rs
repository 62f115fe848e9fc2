//! How much one key may ask: requests a minute and requests at one time. Decided before a byte of
//! a body is read; what is over a limit is refused at once and never waits.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use governor::clock::Clock;
use governor::{DefaultDirectRateLimiter, Quota};
use hyper::body::{Frame, SizeHint};
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::problem::{Answer, Problem};
use crate::config::LimitsConfig;
use crate::error::{Error, Kind};
use crate::store::access::Principal;

/// A minute after its last request a key has its whole quota again, so nothing is forgotten.
const IDLE: Duration = Duration::from_secs(61);
/// Keys whose rate is remembered; beyond, the one that was idle the longest starts afresh.
const MAX_KEYS: u64 = 100_000;
/// Requests of a key end at any moment.
const RETRY_WHEN_CONCURRENT: Duration = Duration::from_secs(1);

/// The limits of all keys.
#[derive(Debug)]
pub struct Limits {
    defaults: LimitsConfig,
    rates: Cache<String, Arc<DefaultDirectRateLimiter>>,
    open: Arc<OpenRequests>,
}

/// The right to one of a key's requests at one time. It ends with its last copy.
#[derive(Debug, Clone)]
pub struct Permit {
    open: Option<Arc<OpenRequest>>,
}

impl Limits {
    pub fn new(defaults: LimitsConfig) -> Self {
        let rates = Cache::builder()
            .max_capacity(MAX_KEYS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build();
        Self { defaults, rates, open: Arc::default() }
    }

    /// Counts a request of a key, or refuses it: 429 with the time to come back.
    pub async fn admit(&self, caller: &Principal) -> Answer<Permit> {
        let rate = caller.limits.rate_per_minute.unwrap_or(self.defaults.key_rate_per_minute);
        if let Some(rate) = NonZeroU32::new(rate) {
            self.check_rate(&caller.key_id, rate).await?;
        }
        let most = caller.limits.max_concurrent.unwrap_or(self.defaults.key_max_concurrent);
        let open = match most {
            0 => None,
            _ => Some(self.open.enter(&caller.key_id, most).ok_or_else(|| too_many(most))?),
        };
        Ok(Permit { open })
    }

    async fn check_rate(&self, key_id: &str, rate: NonZeroU32) -> Answer<()> {
        let fresh = async { Arc::new(DefaultDirectRateLimiter::direct(Quota::per_minute(rate))) };
        let limiter = self.rates.get_with_by_ref(key_id, fresh).await;
        limiter.check().map_err(|refused| {
            let message = format!("The key may make {rate} requests a minute; come back later.");
            let wait = refused.wait_time_from(limiter.clock().now());
            Problem::from(Error::new(Kind::Busy, "rate_limited", message)).retry_after(wait)
        })
    }
}

impl Permit {
    /// Keeps the permit until the body has ended, however long it streams.
    pub fn hold(self, response: Response) -> Response {
        match self.open {
            None => response,
            Some(open) => response.map(|body| Body::new(HeldBody { body, open: Some(open) })),
        }
    }
}

fn too_many(most: u32) -> Problem {
    let message =
        format!("The key may have {most} requests at one time; wait for one of them to end.");
    let error = Error::new(Kind::Busy, "too_many_concurrent_requests", message);
    Problem::from(error).retry_after(RETRY_WHEN_CONCURRENT)
}

/// How many requests each key has open. A key without any has no entry, so there are never more
/// entries than connections.
#[derive(Debug, Default)]
struct OpenRequests(Mutex<HashMap<String, u32>>);

#[derive(Debug)]
struct OpenRequest {
    all: Arc<OpenRequests>,
    key_id: String,
}

impl OpenRequests {
    fn enter(self: &Arc<Self>, key_id: &str, most: u32) -> Option<Arc<OpenRequest>> {
        let mut counts = self.counts();
        let n_open = counts.get(key_id).copied().unwrap_or(0);
        if n_open >= most {
            return None;
        }
        counts.insert(key_id.to_owned(), n_open + 1);
        Some(Arc::new(OpenRequest { all: Arc::clone(self), key_id: key_id.to_owned() }))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        // The counts are whole after every statement, so a panic elsewhere harms nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut counts = self.all.counts();
        match counts.get_mut(&self.key_id) {
            Some(n_open) if *n_open > 1 => *n_open -= 1,
            _ => {
                counts.remove(&self.key_id);
            }
        }
    }
}

/// A body that holds a permit until it has ended.
struct HeldBody {
    body: Body,
    open: Option<Arc<OpenRequest>>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.open = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::response::IntoResponse;

    use super::*;
    use crate::store::TenantId;
    use crate::store::access::KeyLimits;

    fn caller(key_id: &str, rate: Option<u32>, concurrent: Option<u32>) -> Principal {
        Principal {
            key_id: key_id.to_owned(),
            key_prefix: "qk_12345678".to_owned(),
            tenant: TenantId::new("red").unwrap(),
            scopes: Vec::new(),
            limits: KeyLimits { rate_per_minute: rate, max_concurrent: concurrent },
            is_use_worth_noting: false,
        }
    }

    fn limits(rate: u32, concurrent: u32) -> Limits {
        Limits::new(LimitsConfig {
            key_rate_per_minute: rate,
            key_max_concurrent: concurrent,
            ..crate::config::Config::default().limits
        })
    }

    #[tokio::test]
    async fn a_key_has_its_own_rate_or_the_default() {
        let limits = limits(3, 0);
        for (key_id, own, n_allowed) in [("a", None, 3), ("b", Some(1), 1), ("c", Some(5), 5)] {
            let caller = caller(key_id, own, None);
            for _ in 0..n_allowed {
                assert!(limits.admit(&caller).await.is_ok(), "{key_id}");
            }
            let refused = limits.admit(&caller).await.unwrap_err();
            assert_eq!(refused.code(), "rate_limited", "{key_id}");
        }
        let unlimited = caller("d", Some(0), None);
        for _ in 0..1_000 {
            assert!(limits.admit(&unlimited).await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_permit_lasts_until_the_body_has_ended() {
        let limits = limits(0, 2);
        let (one, other) = (caller("a", None, None), caller("b", None, Some(1)));
        let first = limits.admit(&one).await.unwrap();
        let second = limits.admit(&one).await.unwrap();
        let refused = limits.admit(&one).await.unwrap_err();
        assert_eq!(refused.code(), "too_many_concurrent_requests");
        assert!(limits.admit(&other).await.is_ok(), "another key's requests do not count");
        let response = first.hold("a body".into_response());
        assert!(limits.admit(&one).await.is_err(), "the body has yet to be read");
        assert_eq!(response.body().size_hint().exact(), Some(6));
        assert_eq!(to_bytes(response.into_body(), 10).await.unwrap(), "a body");
        let third = limits.admit(&one).await.unwrap();
        drop((second, third));
        assert!(limits.open.counts().is_empty(), "keys without requests are forgotten");
    }
}
