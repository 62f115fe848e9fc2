//! Requests to the hub. Redirects are followed here and not by the library, because the token
//! goes to the hub's own address and never to a host that it sends us on to.

use std::time::Duration;

use reqwest::header::{ETAG, HeaderMap, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};

use super::digest::FileDigest;
use super::listing::{Listing, RemoteFile, senseless};
use super::repo::ModelRef;
use super::settings::HubSettings;
use crate::config::Secret;
use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
const MAX_LISTING_BYTES: usize = 16 * 1024 * 1024;
/// Tries without any progress.
pub const MAX_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A hub that wants a longer rest gets it by the person's own hand.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// The hub, asked with a token or without one.
pub struct HubClient {
    http: Client,
    endpoint: Url,
    token: Secret,
}

/// Why a request came to nothing.
pub enum Trouble {
    /// It may pass; after so long, where the hub says so.
    Passing {
        error: Error,
        after: Option<Duration>,
    },
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

impl HubClient {
    /// # Errors
    /// `hub_endpoint` for an `HF_ENDPOINT` that is no address, and a token that cannot be read.
    pub fn new(settings: &HubSettings) -> Result<Self> {
        let unusable = |why: String| {
            Error::invalid("hub_endpoint", format!("HF_ENDPOINT cannot be used: {why}"))
        };
        let endpoint =
            Url::parse(&settings.endpoint).map_err(|error| unusable(error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() {
            return Err(unusable("it must begin with https://".to_owned()));
        }
        let http = Client::builder()
            .user_agent(concat!("querent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| Error::failed("prepare for the hub", error))?;
        Ok(Self { http, endpoint, token: settings.token()? })
    }

    /// What the model's repository holds at its revision.
    pub async fn listing(&self, model: &ModelRef) -> Result<Listing> {
        let mut url =
            self.url(&["api", "models", &model.org, &model.name, "revision", &model.revision]);
        url.set_query(Some("blobs=true"));
        with_tries(async || {
            let response = self.checked(Method::GET, &url, 0, model).await?;
            let json = read_limited(response).await?;
            Ok(Listing::parse(&json)?)
        })
        .await
    }

    /// The file with its size and digest, from the headers of its address, where the list of a
    /// mirror left them out.
    pub async fn describe(
        &self,
        model: &ModelRef,
        commit: &str,
        file: &RemoteFile,
    ) -> Result<RemoteFile> {
        let url = self.file_url(model, commit, &file.path);
        let headers = with_tries(async || {
            let response = self.request(Method::HEAD, &url, 0, true).await?;
            match response.status().is_redirection() {
                true => Ok(response.headers().clone()),
                false => Ok(check(response, model, &self.endpoint)?.headers().clone()),
            }
        })
        .await?;
        let digest =
            text_of(&headers, "x-linked-etag").or_else(|| text_of(&headers, ETAG.as_str()));
        let digest = digest.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let n_bytes = text_of(&headers, "x-linked-size")
            .or_else(|| text_of(&headers, "content-length"))
            .and_then(|length| length.parse().ok());
        Ok(RemoteFile {
            path: file.path.clone(),
            n_bytes: file.n_bytes.or(n_bytes),
            digest: file.digest.clone().or_else(|| digest.and_then(FileDigest::parse)),
        })
    }

    /// The file's content from `offset`, if the server goes along with that (206), else from its
    /// start (200); or 416, when nothing is there.
    pub async fn open(
        &self,
        model: &ModelRef,
        commit: &str,
        path: &str,
        offset: u64,
    ) -> Result<Response, Trouble> {
        self.checked(Method::GET, &self.file_url(model, commit, path), offset, model).await
    }

    fn file_url(&self, model: &ModelRef, commit: &str, path: &str) -> Url {
        let mut segments = vec![model.org.as_str(), &model.name, "resolve", commit];
        segments.extend(path.split('/'));
        self.url(&segments)
    }

    /// The endpoint with these segments behind it, each escaped as a whole.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn checked(
        &self,
        method: Method,
        url: &Url,
        offset: u64,
        model: &ModelRef,
    ) -> Result<Response, Trouble> {
        let response = self.request(method, url, offset, false).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && offset > 0 {
            return Ok(response);
        }
        check(response, model, &self.endpoint)
    }

    /// Sends and follows redirects: all of them, or those alone that stay at the hub, for the
    /// headers that only the hub has.
    async fn request(
        &self,
        method: Method,
        url: &Url,
        offset: u64,
        only_at_hub: bool,
    ) -> Result<Response, Trouble> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.http.request(method.clone(), url.clone());
            request = request.header("accept-encoding", "identity");
            if url.origin() == self.endpoint.origin() && !self.token.is_empty() {
                request = request.bearer_auth(self.token.expose());
            }
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            let response = request.send().await.map_err(unreachable)?;
            let next = match text_of(response.headers(), LOCATION.as_str()) {
                Some(place) if response.status().is_redirection() => self.follow(&url, place)?,
                _ => return Ok(response),
            };
            if only_at_hub && next.origin() != self.endpoint.origin() {
                return Ok(response);
            }
            url = next;
        }
        Err(senseless(format!("it redirects more than {MAX_REDIRECTS} times")).into())
    }

    /// Where a redirect leads; never from https to something that anybody can read or change.
    fn follow(&self, from: &Url, place: &str) -> Result<Url> {
        let next = from.join(place).map_err(|_| senseless("it redirects to no address"))?;
        let is_safe =
            next.scheme() == "https" || next.scheme() == "http" && self.endpoint.scheme() == "http";
        if is_safe { Ok(next) } else { Err(senseless("it redirects away from https")) }
    }
}

/// Tries work again while its trouble may pass.
async fn with_tries<T>(mut work: impl AsyncFnMut() -> Result<T, Trouble>) -> Result<T> {
    let mut n_tries = 0;
    loop {
        match work().await {
            Ok(done) => return Ok(done),
            Err(trouble) => pause(trouble, &mut n_tries).await?,
        }
    }
}

/// Waits before the next try.
///
/// # Errors
/// The trouble itself, when it lasts or has been tried often enough.
pub async fn pause(trouble: Trouble, n_tries: &mut u32) -> Result<()> {
    let (error, after) = match trouble {
        Trouble::Lasting(error) => return Err(error),
        Trouble::Passing { error, after } => (error, after),
    };
    *n_tries += 1;
    let pause = after.unwrap_or(FIRST_PAUSE * 2u32.pow(n_tries.saturating_sub(1).min(8)));
    if *n_tries >= MAX_TRIES || pause > MAX_PAUSE {
        return Err(error);
    }
    tracing::warn!(error = %error, "asking the hub again in {} ms", pause.as_millis());
    tokio::time::sleep(pause).await;
    Ok(())
}

/// Refusals in words that say what to do.
fn check(response: Response, model: &ModelRef, endpoint: &Url) -> Result<Response, Trouble> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let code = text_of(response.headers(), "x-error-code").unwrap_or_default();
    let page = format!("{}/{}", endpoint.as_str().trim_end_matches('/'), model.repo());
    let (kind, name, what) = match (status.as_u16(), code) {
        (401 | 403, "GatedRepo") | (403, _) => (
            Kind::Forbidden,
            "hub_gated",
            format!("{model} is gated: ask for access at {page}, then set HF_TOKEN"),
        ),
        (401, _) => (
            Kind::Unauthenticated,
            "hub_unauthorized",
            format!("{model} is private or does not exist; check the name, or set HF_TOKEN"),
        ),
        (404, "RevisionNotFound") => {
            let what = format!("{} has no revision `{}`", model.repo(), model.revision);
            (Kind::NotFound, "hub_not_found", what)
        }
        (404, _) => {
            let what = format!("{model} is not at {endpoint}; check the name and the revision");
            (Kind::NotFound, "hub_not_found", what)
        }
        (429, _) => {
            (Kind::Busy, "hub_busy", "the hub has had too many requests; try later".to_owned())
        }
        (number, _) => {
            (Kind::Unavailable, "hub_unavailable", format!("the hub answered {number}; try later"))
        }
    };
    let error = Error::new(kind, name, what);
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        let after = text_of(response.headers(), RETRY_AFTER.as_str());
        let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        return Err(Trouble::Passing { error, after });
    }
    Err(error.into())
}

/// An address can hold a signature, so that none is in the error.
pub fn unreachable(source: reqwest::Error) -> Trouble {
    let message = "the connection to the hub failed; check the network and HF_ENDPOINT";
    let error = Error::new(Kind::Unavailable, "hub_unreachable", message);
    Trouble::Passing { error: error.caused_by(source.without_url()), after: None }
}

async fn read_limited(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_LISTING_BYTES {
            return Err(senseless("its list of files is too long").into());
        }
    }
    Ok(bytes)
}

pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
