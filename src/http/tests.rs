//! The layers around routes of the test's own, with a real store behind the guard.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::extract::{Json, Path};
use super::guard::Caller;
use super::problem::Answer;
use super::serve::serve;
use super::shed::Shed;
use super::{Controls, HttpSettings, layered};
use crate::config::Config;
use crate::config::database::DatabaseUrl;
use crate::error::{Error, Kind};
use crate::service::journal::Journal;
use crate::store::access::{NewKey, Scope};
use crate::store::{Store, TenantId};

const MAX_BODY_BYTES: usize = 1_000;
/// How often `/write` has done something, so that no two answers of it are the same.
static WRITES: AtomicUsize = AtomicUsize::new(0);

struct TestApp {
    router: Router,
    store: Store,
    _dir: tempfile::TempDir,
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl TestApp {
    async fn start(dev: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &DatabaseUrl::default()).await.unwrap();
        let description = json!({
            "openapi": "3.1.0", "info": {"title": "", "version": ""},
            "paths": {
                "/open": {"get": {"responses": {}, "security": [{}]}},
                "/any": {"get": {"responses": {}, "security": [{"key": []}]}},
                "/write": {"post": {"responses": {}, "security": [{"key": ["corpus.write"]}]}},
                "/fail/{how}": {"get": {"responses": {}, "security": [{}]}},
                "/silent": {"get": {"responses": {}}}
            }
        });
        let api = serde_json::from_value(description).unwrap();
        let settings = settings(dev);
        let shed = Shed::new(&settings.limits, MAX_BODY_BYTES, false, &api);
        let (journal, _) = Journal::start(store.clone(), 1);
        let controls = Controls::new(&store, &journal, shed, &api, &settings);
        Self { router: layered(routes(), controls, &settings), store, _dir: dir }
    }

    async fn key(&self, tenant: &str, scopes: &[Scope]) -> String {
        let tenant = TenantId::new(tenant).unwrap();
        let new = NewKey { scopes: scopes.to_vec(), ..NewKey::default() };
        self.store.create_key(&tenant, new).await.unwrap().secret
    }

    async fn ask(&self, request: axum::http::request::Builder, body: impl Into<Body>) -> Answered {
        let request = request.body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answered { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, secret: Option<&str>) -> Answered {
        let mut request = Request::get(path);
        if let Some(secret) = secret {
            request = request.header(AUTHORIZATION, format!("Bearer {secret}"));
        }
        self.ask(request, Body::empty()).await
    }

    async fn write_once(&self, secret: &str, key: &str, body: &'static str) -> Answered {
        let request = Request::post("/write")
            .header(AUTHORIZATION, format!("Bearer {secret}"))
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        self.ask(request, body).await
    }

    async fn write(&self, secret: &str, media_type: &str, body: impl Into<Body>) -> Answered {
        let request = Request::post("/write")
            .header(AUTHORIZATION, format!("Bearer {secret}"))
            .header(CONTENT_TYPE, media_type);
        self.ask(request, body).await
    }
}

impl Answered {
    /// The problem document, whose members agree with the answer.
    fn problem(&self) -> Value {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["request_id"], self.headers["x-request-id"].to_str().unwrap());
        assert!(self.headers["server-timing"].to_str().unwrap().starts_with("total;dur="));
        problem
    }
}

fn settings(dev: bool) -> HttpSettings {
    HttpSettings {
        dev,
        max_body_bytes: MAX_BODY_BYTES,
        request_timeout: Duration::from_secs(1),
        max_response_bytes: 64 << 20,
        write_timeout: Duration::from_millis(300),
        header_timeout: Duration::from_secs(1),
        max_connections: 10,
        limits: Config::default().limits,
        drain_timeout: Duration::from_secs(1),
    }
}

fn routes() -> Router {
    async fn fail(Path(how): Path<String>) -> Answer<&'static str> {
        match how.as_str() {
            "panic" => panic!("客户 secret"),
            "slow" => tokio::time::sleep(Duration::from_secs(60)).await,
            "internal" => return Err(Error::internal("客户 secret").into()),
            "busy" => return Err(Error::new(Kind::Busy, "queue_full", "Come back.").into()),
            _ => {}
        }
        Ok("fine")
    }
    async fn write(caller: Caller, Json(body): Json<Value>) -> String {
        if body["panic"] == true {
            panic!("客户 secret");
        }
        if let Some(ms) = body["sleep_ms"].as_u64() {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let n = WRITES.fetch_add(1, Ordering::SeqCst);
        format!("{} {body} {n}", caller.tenant())
    }
    Router::new()
        .route("/open", get(|| async { "open" }))
        .route("/any", get(|caller: Caller| async move { caller.tenant().to_string() }))
        .route("/write", post(write))
        .route("/fail/{how}", get(fail))
        .route("/silent", get(|| async { "a route that declares nothing" }))
        .route("/undocumented", get(|| async { "a route that nobody knows of" }))
}

#[tokio::test]
async fn keys_open_what_their_scopes_allow() {
    let app = TestApp::start(false).await;
    let reader = app.key("red", &[Scope::CorpusRead]).await;
    let writer = app.key("blue", &[Scope::CorpusWrite]).await;
    assert_eq!(app.get("/open", None).await.body, "open");
    assert_eq!(app.get("/any", Some(&reader)).await.body, "red");
    let written = app.write(&writer, "application/json", "{}").await;
    assert!(written.body.starts_with(b"blue {} "), "{:?}", written.body);
    let refused = app.write(&reader, "application/json", "{}").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.problem()["code"], "scope_missing");
}

#[tokio::test]
async fn all_bad_keys_get_the_same_answer() {
    let app = TestApp::start(false).await;
    let tenant = TenantId::new("red").unwrap();
    let key = app.key("red", &[Scope::CorpusRead]).await;
    let revoked = app.key("red", &[Scope::CorpusRead]).await;
    let keys = app.store.list_keys(&tenant, 10, None).await.unwrap().items;
    app.store.revoke_key(&tenant, &keys[1].id).await.unwrap();
    let unknown = format!("qk_{}", "x".repeat(43));
    let mut texts = Vec::new();
    for secret in [None, Some(""), Some("qk_1"), Some(unknown.as_str()), Some(revoked.as_str())] {
        for path in ["/any", "/silent", "/undocumented", "/nowhere"] {
            let refused = app.get(path, secret).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path} {secret:?}");
            assert!(refused.headers.contains_key(WWW_AUTHENTICATE));
            texts.push(refused.problem()["detail"].clone());
        }
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    assert_eq!(app.get("/any", Some(&key)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn routes_that_declare_nothing_are_closed() {
    for dev in [false, true] {
        let app = TestApp::start(dev).await;
        let key = app.key("red", &Scope::ALL).await;
        for path in ["/silent", "/undocumented"] {
            let refused = app.get(path, Some(&key)).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
            assert_eq!(refused.problem()["code"], "no_scope_declared");
        }
    }
}

#[tokio::test]
async fn development_mode_needs_no_key_but_a_local_name() {
    let app = TestApp::start(true).await;
    assert_eq!(app.get("/any", None).await.body, "default");
    assert_eq!(app.get("/any", Some("qk_wrong")).await.body, "default");
    let request = Request::get("/any").header("host", "evil.example:8080");
    assert_eq!(app.ask(request, "").await.problem()["code"], "foreign_host");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    let missing = app.get("/nowhere", Some(&key)).await;
    assert_eq!(
        (missing.status, &missing.problem()["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown_route"))
    );
    assert_eq!(missing.problem()["instance"], "/nowhere");
    let wrong = app.get("/write", Some(&key)).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(wrong.headers[ALLOW], "POST");
    assert_eq!(wrong.problem()["code"], "method_not_allowed");
    let head = Request::head("/any").header(AUTHORIZATION, format!("Bearer {key}"));
    assert_eq!(app.ask(head, "").await.status, StatusCode::OK);
    let odd_path = app.get("/fail/%ff", None).await;
    assert_eq!(odd_path.problem()["code"], "invalid_path");
}

#[tokio::test]
async fn faults_are_problems_that_say_nothing() {
    let app = TestApp::start(false).await;
    for (how, status, code) in [
        ("panic", 500, "internal"),
        ("internal", 500, "internal"),
        ("slow", 504, "request_timeout"),
        ("busy", 429, "queue_full"),
    ] {
        let failed = app.get(&format!("/fail/{how}"), None).await;
        assert_eq!((failed.status.as_u16(), &failed.problem()["code"]), (status, &json!(code)));
        assert!(!String::from_utf8_lossy(&failed.body).contains("secret"), "{how}");
        assert_eq!(failed.headers.contains_key(RETRY_AFTER), status == 429);
    }
    assert_eq!(app.get("/fail/not", None).await.body, "fine");
}

#[tokio::test]
async fn bodies_must_be_json_within_the_limit() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    let fitting = format!("{{{}}}", " ".repeat(MAX_BODY_BYTES - 2));
    assert_eq!(app.write(&key, "application/json", fitting.clone()).await.status, StatusCode::OK);
    let over = app.write(&key, "application/json", format!("{fitting} ")).await;
    assert_eq!(over.status, StatusCode::PAYLOAD_TOO_LARGE);
    let detail = over.problem()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("1000") && detail.contains("[http] max_body_bytes"), "{detail}");
    let text = app.write(&key, "text/plain", "{}").await;
    assert_eq!(text.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let broken = app.write(&key, "application/json", "{").await;
    assert_eq!(
        (broken.status.as_u16(), &broken.problem()["code"]),
        (400, &json!("malformed_json"))
    );
}

#[tokio::test]
async fn clients_that_send_too_much_still_read_why() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app.router.clone(), settings(false), pending()));
    let head = format!(
        "POST /write HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         authorization: Bearer {key}\r\nconnection: close\r\n"
    );
    let n_bytes = 4 * MAX_BODY_BYTES;
    let body = "x".repeat(n_bytes);
    for (rest, status) in [
        (format!("content-length: {n_bytes}\r\n\r\n{body}"), " 413 "),
        (format!("transfer-encoding: chunked\r\n\r\n{n_bytes:x}\r\n{body}\r\n0\r\n\r\n"), " 413 "),
        (format!("content-length: {n_bytes}\r\nexpect: 100-continue\r\n\r\n"), " 413 "),
        ("content-length: 9\r\n\r\n{".to_owned(), " 504 "),
        ("content-length: 2\r\n\r\n{}".to_owned(), " 200 "),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.lines().next().unwrap().contains(status), "{answer}");
    }
}

#[tokio::test]
async fn request_ids_are_echoed_when_they_are_sane() {
    let app = TestApp::start(false).await;
    let ask = |id: &'static str| app.ask(Request::get("/nowhere").header("x-request-id", id), "");
    let echoed = ask("trace-7").await;
    assert_eq!(echoed.headers["x-request-id"], "trace-7");
    assert_eq!(echoed.problem()["request_id"], "trace-7");
    assert!(ask("a b").await.headers["x-request-id"].to_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn what_comes_again_is_not_done_again() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    let slow = r#"{"sleep_ms": 500}"#;
    let first = app.write_once(&key, "slow", slow);
    let second = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        app.write_once(&key, "slow", slow).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::CONFLICT));
    assert_eq!(second.problem()["code"], "idempotency_in_progress");
    assert_eq!(second.headers[RETRY_AFTER], "1");
    let again = app.write_once(&key, "slow", slow).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers[CONTENT_TYPE], first.headers[CONTENT_TYPE]);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let fresh = app.write_once(&key, "another", slow).await;
    assert_ne!(fresh.body, first.body);
}

#[tokio::test]
async fn what_was_begun_is_done_though_the_caller_has_left() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    let slow = r#"{"sleep_ms": 500}"#;
    let left = app.write_once(&key, "left", slow);
    assert!(tokio::time::timeout(Duration::from_millis(150), left).await.is_err());
    tokio::time::sleep(Duration::from_millis(900)).await;
    let again = app.write_once(&key, "left", slow).await;
    assert_eq!(
        (again.status, &again.headers["idempotent-replayed"]),
        (StatusCode::OK, &"true".parse().unwrap())
    );
}

#[tokio::test]
async fn what_failed_may_be_tried_again() {
    let app = TestApp::start(false).await;
    let key = app.key("red", &Scope::ALL).await;
    // The key is given back behind the answer, a moment later on a busy machine.
    let answer = async |body: &'static str| {
        let started = std::time::Instant::now();
        loop {
            let answer = app.write_once(&key, "k", body).await;
            let is_held = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT];
            if !is_held.contains(&answer.status) || started.elapsed() > Duration::from_secs(20) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for (body, status) in [
        (r#"{"panic": true}"#, StatusCode::INTERNAL_SERVER_ERROR),
        (r#"{"sleep_ms": 60000}"#, StatusCode::GATEWAY_TIMEOUT),
    ] {
        assert_eq!(answer(body).await.status, status);
    }
    let answered = answer("{}").await;
    assert_eq!(answered.status, StatusCode::OK);
    assert!(!answered.headers.contains_key("idempotent-replayed"));
}
