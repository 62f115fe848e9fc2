//! `Idempotency-Key`: a POST that changes something and comes again, because its answer was lost,
//! is answered again and not carried out again.
//!
//! The request claims a row of the database before its handler runs, so that neither duplicates at
//! one time nor a restart carry it out twice. Once begun it is carried out to its end, whether or
//! not the caller waits. A claim that a crash left behind lapses soon after the request's deadline;
//! whether that request took effect nobody can tell, and the next attempt is carried out.
//!
//! Kept are answers below 500, refusals among them, but not 429: what the server failed to do, or
//! put off, may be tried again. A secret is never kept: its handler leaves a [`Repeated`] body
//! without it, and the body of any other answer marked `no-store` is dropped.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use sha2::{Digest, Sha256};
use tracing::Instrument;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, Required};

use super::extract::{off_thread, read_body};
use super::guard::{self, Access, Caller};
use super::layers::refuse_after_panic;
use super::limits::Permit;
use super::problem::{self, Answer, Problem};
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use crate::store::access::Scope;
use crate::store::idempotency::{Attempt, Claim, StoredAnswer};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_BYTES: usize = 255;
/// A longer answer is not kept; that the request was carried out is.
const MAX_KEPT_BYTES: u64 = 2 * 1024 * 1024;
/// For the answer to be written after the request's deadline.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
const RETRY_WHEN_RUNNING: Duration = Duration::from_secs(1);
/// Scopes that let a caller change something.
const CHANGING: [Scope; 5] = [
    Scope::CorpusWrite,
    Scope::Feedback,
    Scope::JobsWrite,
    Scope::ModelsPromote,
    Scope::KeysManage,
];

/// Left by a handler in its answer's extensions: the body that a repetition gets instead.
#[derive(Debug, Clone)]
pub struct Repeated(pub Vec<u8>);

/// The memory of answers, shared by all requests.
#[derive(Debug)]
pub struct Repeats {
    store: Store,
    /// Routes whose POST changes something.
    routes: BTreeSet<String>,
    deadline: Duration,
}

impl Repeats {
    /// `deadline` is that of a whole request.
    pub fn new(store: Store, api: &OpenApi, deadline: Duration) -> Self {
        Self { store, routes: routes(api), deadline }
    }

    /// The key of a request that is to be carried out once.
    fn key(&self, request: &Request) -> Answer<Option<String>> {
        let route = request.extensions().get::<axum::extract::MatchedPath>();
        let changes = route.is_some_and(|route| self.routes.contains(route.as_str()));
        if request.method() != Method::POST || !changes {
            return Ok(None);
        }
        read_key(request.headers())
    }

    /// Claims the attempt and carries it out, or answers as the first time.
    async fn answer(&self, attempt: &Attempt, request: Request, next: Next) -> Answer<Response> {
        let lease = self.deadline + LEASE_MARGIN;
        match self.store.claim_idempotency(attempt, lease).await? {
            Claim::Granted(token) => Ok(self.carry_out(attempt, &token, request, next).await),
            Claim::Done(answer) => replay(answer),
            Claim::Running => {
                let message = "A request with this Idempotency-Key is being carried out.";
                let error = Error::new(Kind::Conflict, "idempotency_in_progress", message);
                Err(Problem::from(error).retry_after(RETRY_WHEN_RUNNING))
            }
            Claim::Mismatch => Err(Error::invalid(
                "idempotency_mismatch",
                "The Idempotency-Key was used for another request; take a new one.",
            )
            .into()),
        }
    }

    async fn carry_out(
        &self,
        attempt: &Attempt,
        token: &str,
        request: Request,
        next: Next,
    ) -> Response {
        let running = AssertUnwindSafe(next.run(request)).catch_unwind();
        let response = match tokio::time::timeout(self.deadline, running).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => refuse_after_panic(panic),
            Err(_) => {
                let message = "The request took longer than `[http] request_timeout_ms`.";
                Problem::from(Error::new(Kind::Timeout, "request_timeout", message)).into_response()
            }
        };
        let (response, kept) = keep(response).await;
        let noted = match kept {
            Some(answer) => self.store.complete_idempotency(attempt, token, &answer).await,
            None => self.store.release_idempotency(attempt, token).await,
        };
        if let Err(error) = noted {
            // It was carried out all the same. The claim lapses by itself.
            tracing::error!(error = %error, "an answer to be repeated was not kept");
        }
        response
    }
}

/// The layer; inside the guard, around the handlers.
pub async fn repeat(
    State(repeats): State<Arc<Repeats>>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let caller = request.extensions().get::<Caller>().cloned();
    let (Some(key), Some(caller)) = (repeats.key(&request)?, caller) else {
        return Ok(next.run(request).await);
    };
    let (attempt, request) = read(request, key, &caller).await?;
    let permit = request.extensions().get::<Permit>().cloned();
    let work = async move {
        let answer = repeats.answer(&attempt, request, next).await;
        drop(permit);
        answer
    };
    tokio::spawn(work.in_current_span())
        .await
        .map_err(|error| Problem::from(Error::failed("carry out a request", error)))?
}

/// Describes the header at every operation that reads it.
pub fn describe(api: &mut OpenApi) {
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "1 to 255 visible ASCII characters. The same request with the same key is carried \
             out once; for 24 hours it gets the first answer again, with `idempotent-replayed`.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build();
    for route in routes(api) {
        let operation = api.paths.paths.get_mut(&route).and_then(|item| item.post.as_mut());
        if let Some(operation) = operation {
            operation.parameters.get_or_insert_default().push(parameter.clone().into());
        }
    }
}

/// Routes whose POST changes something, by the scope that it declares.
fn routes(api: &OpenApi) -> BTreeSet<String> {
    let changes = |access: &Option<Access>| match access {
        Some(Access::Key(scopes)) => scopes.iter().any(|scope| CHANGING.contains(scope)),
        _ => false,
    };
    let table = guard::table(api).into_iter();
    table
        .filter(|((method, _), access)| method == Method::POST.as_str() && changes(access))
        .map(|((_, route), _)| route)
        .collect()
}

fn read_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
    if !is_visible || !(1..=MAX_KEY_BYTES).contains(&value.len()) || values.next().is_some() {
        return Err(Problem::malformed(
            "invalid_idempotency_key",
            "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters.",
        ));
    }
    Ok(value.to_str().ok().map(str::to_owned))
}

/// Reads the whole body, which decides whether it is the same request, and puts it back.
async fn read(request: Request, key: String, caller: &Caller) -> Answer<(Attempt, Request)> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(Request::from_parts(parts.clone(), body)).await?;
    let mut hash = Sha256::new();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    for part in [parts.method.as_str(), path] {
        hash.update(part);
        hash.update([0]);
    }
    let body = bytes.clone();
    let request_hash =
        off_thread(bytes.len(), move || Ok(hash.chain_update(body).finalize().into())).await?;
    let attempt =
        Attempt { key_id: caller.key_id().to_owned(), idempotency_key: key, request_hash };
    Ok((attempt, Request::from_parts(parts, Body::from(bytes))))
}

/// What to keep of an answer; none when the request may be tried again.
async fn keep(response: Response) -> (Response, Option<StoredAnswer>) {
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return (response, None);
    }
    if let Some(problem) = response.extensions().get::<Problem>() {
        // It is rendered anew for each request, with its own id.
        let body = serde_json::to_vec(&problem.clone().details("", "")).ok();
        let media_type = (CONTENT_TYPE.to_string(), problem::MEDIA_TYPE.to_owned());
        return (
            response,
            Some(StoredAnswer { status: status.as_u16(), headers: vec![media_type], body }),
        );
    }
    let headers = response.headers().iter().filter(|(name, _)| **name != CONTENT_LENGTH);
    let headers = headers
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let (response, body) = copy_body(response).await;
    (response, Some(StoredAnswer { status: status.as_u16(), headers, body }))
}

/// The body to be repeated, and the response with its own body still in it.
async fn copy_body(response: Response) -> (Response, Option<Vec<u8>>) {
    if let Some(Repeated(body)) = response.extensions().get() {
        let body = body.clone();
        return (response, Some(body));
    }
    let is_secret = response.headers().get(CACHE_CONTROL).is_some_and(|value| value == "no-store");
    let is_short = response.body().size_hint().upper().is_some_and(|size| size <= MAX_KEPT_BYTES);
    if is_secret || !is_short {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => (Response::from_parts(parts, Body::from(bytes.clone())), Some(bytes.into())),
        Err(error) => {
            let error = Error::failed("read an answer", error);
            (Problem::from(error).into_response(), None)
        }
    }
}

fn replay(answer: StoredAnswer) -> Answer<Response> {
    let Some(body) = answer.body else {
        let message = "The request was carried out; its answer cannot be shown again.";
        return Err(Error::new(Kind::Conflict, "idempotency_answer_not_kept", message).into());
    };
    let is_problem = answer.headers.iter().any(|(_, value)| value == problem::MEDIA_TYPE);
    let mut response = match is_problem {
        true => problem(&body)?.into_response(),
        false => restored(answer.status, &answer.headers, body)?,
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn problem(body: &[u8]) -> Result<Problem> {
    Problem::of_details(serde_json::from_slice(body)?)
        .ok_or_else(|| Error::internal("a stored refusal has an odd status"))
}

fn restored(status: u16, headers: &[(String, String)], body: Vec<u8>) -> Result<Response> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).map_err(|error| Error::failed("repeat an answer", error))?;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii_and_given_once() {
        let read = |values: &[&str]| {
            let value = |value: &&str| (KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            read_key(&values.iter().map(value).collect())
        };
        let longest = "x".repeat(255);
        for good in ["a", "\"8e03978e-40d5\"", longest.as_str()] {
            assert_eq!(read(&[good]).unwrap().as_deref(), Some(good));
        }
        assert_eq!(read(&[]).unwrap(), None);
        let too_long = "x".repeat(256);
        for bad in [&[""][..], &["a b"], &["钥"], &["a\tb"], &[too_long.as_str()], &["a", "a"]] {
            let refused = read(bad).unwrap_err();
            assert_eq!(
                (refused.status().as_u16(), refused.code()),
                (400, "invalid_idempotency_key")
            );
        }
    }

    #[test]
    fn only_what_changes_something_is_repeated() {
        let routes = routes(&crate::http::openapi());
        for route in ["/admin/keys", "/v1/collections/{name}/documents"] {
            assert!(routes.contains(route), "{routes:?}");
        }
        for route in ["/v1/rewrite", "/v1/search", "/v1/embeddings"] {
            assert!(!routes.contains(route), "{routes:?}");
        }
    }

    #[tokio::test]
    async fn faults_and_secrets_are_not_kept() {
        let kept = async |response: Response| keep(response).await.1;
        for kind in [Kind::Busy, Kind::Internal, Kind::Unavailable, Kind::Timeout] {
            let problem = Problem::from(Error::new(kind, "some_code", "text"));
            assert_eq!(kept(problem.into_response()).await, None, "{kind:?}");
        }
        let refused = kept(Problem::malformed("some_code", "text").into_response()).await.unwrap();
        let again = replay(refused).unwrap();
        assert_eq!(again.extensions().get::<Problem>().unwrap().code(), "some_code");
        assert_eq!(again.headers()[REPLAYED], "true");

        let secret = kept(([(CACHE_CONTROL, "no-store")], "secret").into_response()).await.unwrap();
        assert_eq!((secret.status, &secret.body), (200, &None));
        assert_eq!(replay(secret).unwrap_err().code(), "idempotency_answer_not_kept");

        let mut response = "secret".into_response();
        response.extensions_mut().insert(Repeated(b"null".to_vec()));
        let (response, stored) = keep(response).await;
        assert_eq!(stored.unwrap().body.unwrap(), b"null");
        assert_eq!(to_bytes(response.into_body(), 100).await.unwrap(), "secret");
    }
}
