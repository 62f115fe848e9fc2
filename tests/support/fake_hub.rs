//! The Hugging Face hub for tests: its list of files, its redirects to a host of large files on
//! another port, and whatever can go wrong with them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the hub does.
#[derive(Default)]
pub struct Hub {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Names that are listed beside the files.
    pub listed_too: Vec<String>,
    /// The list says nothing of sizes and digests.
    pub lists_names_only: bool,
    /// A token that every request needs.
    pub token: Option<String>,
    /// Answers that come first, one a request, with a header.
    pub first: Vec<(u16, &'static str, String)>,
    /// The host of large files breaks off after so many bytes, so many times.
    pub cuts: (usize, usize),
    /// The host of large files knows no ranges.
    pub without_ranges: bool,
    /// Another byte in large files than the list's digest is of.
    pub is_damaged: bool,
    /// Requests to the hub, and to the host of large files.
    pub hub_requests: Vec<HeaderMap>,
    pub cdn_requests: Vec<HeaderMap>,
    /// Bytes that the host of large files has handed over.
    pub n_cdn_bytes: usize,
}

/// The two servers; they end with the test's runtime.
#[derive(Clone)]
pub struct FakeHub {
    pub url: String,
    state: Shared,
}

#[derive(Clone)]
struct Shared {
    hub: Arc<Mutex<Hub>>,
    cdn_url: String,
}

impl Hub {
    /// All files below a folder, as the files of the repository.
    pub fn of_folder(dir: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
        Self { files, ..Self::default() }
    }
}

impl FakeHub {
    pub async fn start(hub: Hub) -> Self {
        let (cdn, cdn_url) = listen().await;
        let (listener, url) = listen().await;
        let state = Shared { hub: Arc::new(Mutex::new(hub)), cdn_url };
        let large = Router::new().fallback(cdn_answer).with_state(state.clone());
        let small = Router::new().fallback(hub_answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(cdn, large).await.unwrap() });
        tokio::spawn(async move { axum::serve(listener, small).await.unwrap() });
        Self { url, state }
    }

    pub fn hub(&self) -> MutexGuard<'_, Hub> {
        self.state.hub.lock().unwrap()
    }
}

async fn listen() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn hub_answer(State(shared): State<Shared>, request: Request) -> Response {
    let mut hub = shared.hub.lock().unwrap();
    hub.hub_requests.push(request.headers().clone());
    if !hub.first.is_empty() {
        let (status, name, value) = hub.first.remove(0);
        return (StatusCode::from_u16(status).unwrap(), [(name, value)]).into_response();
    }
    if let Some(token) = &hub.token {
        let bearer = request.headers().get(header::AUTHORIZATION);
        if bearer.is_none_or(|bearer| bearer != &format!("Bearer {token}")) {
            return (StatusCode::UNAUTHORIZED, [("x-error-code", "GatedRepo")]).into_response();
        }
    }
    let path = request.uri().path();
    if let Some(revision) = path.strip_prefix("/api/models/lantern/fish/revision/") {
        let known = ["main", "v1", "refs%2Fpr%2F1", COMMIT].contains(&revision);
        return if known { list(&hub) } else { missing("RevisionNotFound") };
    }
    match path.strip_prefix(&format!("/lantern/fish/resolve/{COMMIT}/")) {
        Some(name) => resolve(&hub, name, request.method(), &shared.cdn_url),
        None => missing("RepoNotFound"),
    }
}

fn missing(code: &'static str) -> Response {
    (StatusCode::NOT_FOUND, [("x-error-code", code)]).into_response()
}

fn list(hub: &Hub) -> Response {
    let mut siblings: Vec<Value> =
        hub.listed_too.iter().map(|name| json!({ "rfilename": name, "size": 1 })).collect();
    for (name, bytes) in &hub.files {
        let mut file = json!({ "rfilename": name });
        if !hub.lists_names_only {
            file["size"] = bytes.len().into();
            file["blobId"] = git_blob(bytes).into();
        }
        if is_large(name) && !hub.lists_names_only {
            file["lfs"] =
                json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
        }
        siblings.push(file);
    }
    axum::Json(json!({ "id": "lantern/fish", "sha": COMMIT, "siblings": siblings })).into_response()
}

/// Small files are answered, large ones are elsewhere.
fn resolve(hub: &Hub, name: &str, method: &Method, cdn_url: &str) -> Response {
    let Some(bytes) = hub.files.get(name) else { return missing("EntryNotFound") };
    let commit = ("x-repo-commit", COMMIT.to_owned());
    if is_large(name) {
        let place = format!("{cdn_url}/{name}?Signature=zitronenfalter");
        let linked = [
            commit,
            ("location", place),
            ("x-linked-etag", format!("\"{}\"", sha256(bytes))),
            ("x-linked-size", bytes.len().to_string()),
        ];
        return (StatusCode::FOUND, linked).into_response();
    }
    let etag = [commit, ("etag", format!("\"{}\"", git_blob(bytes)))];
    if method == Method::HEAD {
        let length = [("content-length", bytes.len().to_string())];
        return (etag, length).into_response();
    }
    (etag, bytes.clone()).into_response()
}

async fn cdn_answer(State(shared): State<Shared>, request: Request) -> Response {
    let mut hub = shared.hub.lock().unwrap();
    hub.cdn_requests.push(request.headers().clone());
    let name = request.uri().path().trim_start_matches('/');
    let Some(mut bytes) = hub.files.get(name).cloned() else { return missing("EntryNotFound") };
    if hub.is_damaged {
        bytes[100] ^= 1;
    }
    let total = bytes.len();
    let asked = range(request.headers()).filter(|_| !hub.without_ranges);
    let Range { start, end } = asked.clone().unwrap_or(0..total);
    let part = bytes[start..end.min(total)].to_vec();
    let (n_cuts, cut_at) = hub.cuts;
    let sent = if n_cuts > 0 { cut_at.min(part.len()) } else { part.len() };
    hub.cuts.0 = n_cuts.saturating_sub(1);
    hub.n_cdn_bytes += sent;
    let mut headers = vec![("content-length", part.len().to_string())];
    if asked.is_some() {
        headers.push(("content-range", format!("bytes {start}-{}/{total}", total - 1)));
    }
    let status = if asked.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut chunks: Vec<std::io::Result<Bytes>> =
        part[..sent].chunks(64 * 1024).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    if sent < part.len() {
        chunks.push(Err(std::io::Error::other("the line broke")));
    }
    // A pause, so that what was sent arrives before the line breaks.
    let stream = futures::StreamExt::then(futures::stream::iter(chunks), |chunk| async {
        if chunk.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        chunk
    });
    let mut response = (status, Body::from_stream(stream)).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

fn range(headers: &HeaderMap) -> Option<Range<usize>> {
    let text = headers.get(header::RANGE)?.to_str().unwrap();
    let start = text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().unwrap();
    Some(start..usize::MAX)
}

fn is_large(name: &str) -> bool {
    [".safetensors", ".gguf", ".bin"].iter().any(|ending| name.ends_with(ending))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Git's own word for the file, so that our SHA-1 is not held against itself.
pub fn git_blob(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut git = std::process::Command::new("git")
        .args(["hash-object", "--stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = git.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
