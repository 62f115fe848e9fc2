//! The contract with callers: the published description, who may call what, and that no request,
//! however odd, gets anything but a proper refusal.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use support::{Caller, Server, create_key, run, send};

const SCOPES: [&str; 10] = [
    "query",
    "embed",
    "corpus.read",
    "corpus.write",
    "feedback",
    "jobs.read",
    "jobs.write",
    "models.promote",
    "keys.manage",
    "metrics",
];
/// A word that is sent and must not be logged.
const CANARY: &str = "zitronenfalter";
const UNKNOWN_KEY: &str = "qk_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

/// One operation of the description.
#[derive(Debug)]
struct Operation {
    method: Method,
    /// As it is published, with its parameters.
    template: String,
    /// With names in place of its parameters.
    path: String,
    /// None: no key is needed. Empty: any key will do.
    scopes: Option<Vec<String>>,
    has_body: bool,
}

fn description() -> Value {
    serde_json::from_str(include_str!("../openapi/openapi.json")).unwrap()
}

fn operations() -> Vec<Operation> {
    let description = description();
    let paths = description["paths"].as_object().unwrap().iter();
    let each = |(path, item): (&String, &Value)| {
        let (path, item) = (path.clone(), item.as_object().unwrap().clone());
        item.into_iter().map(move |(method, operation)| Operation::read(&method, &path, &operation))
    };
    let operations: Vec<Operation> = paths.flat_map(each).collect();
    assert!(operations.len() > 15, "{operations:?}");
    operations
}

impl Operation {
    fn read(method: &str, template: &str, operation: &Value) -> Self {
        let need = operation["security"][0].as_object().unwrap().get("key");
        let scopes = |need: &Value| serde_json::from_value(need.clone()).unwrap();
        Self {
            method: method.to_uppercase().parse().unwrap(),
            template: template.to_owned(),
            path: template.replace("{name}", "docs").replace("{id}", "nothing"),
            scopes: need.map(scopes),
            has_body: operation["requestBody"].is_object(),
        }
    }

    /// Asks with a body that is understood nowhere, so that nothing comes of it.
    async fn ask(&self, caller: &Caller) -> u16 {
        let request = caller.request(self.method.clone(), &self.path);
        send(if self.has_body { request.json(&json!([CANARY])) } else { request }).await.status
    }
}

#[test]
fn the_published_description_is_that_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let printed = run(dir.path(), &["openapi"]);
    let published = include_str!("../openapi/openapi.json");
    assert!(printed == published, "run `querent openapi > openapi/openapi.json`");
}

#[tokio::test]
async fn every_operation_asks_for_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[("QUERENT_LOG", "trace")]).await;
    let key = |scopes: &str, expires| create_key(dir.path(), "harbour", scopes, expires);
    let soon = time::OffsetDateTime::now_utc() + Duration::from_secs(1);
    let soon = soon.format(&time::format_description::well_known::Rfc3339).unwrap();
    let expired = key(&SCOPES.join(","), Some(&soon));
    let mut secrets = vec![expired.clone(), UNKNOWN_KEY.to_owned()];
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for operation in operations() {
        let needed = operation.scopes.clone();
        let right = key(
            &needed
                .clone()
                .filter(|scopes| !scopes.is_empty())
                .unwrap_or(vec!["embed".into()])
                .join(","),
            None,
        );
        let lacking: Vec<&str> = SCOPES
            .into_iter()
            .filter(|scope| !needed.iter().flatten().any(|needed| needed == scope))
            .collect();
        let lacking = key(&lacking.join(","), None);
        let is_open = needed.is_none();
        let any_key = needed.is_some_and(|scopes| scopes.is_empty());
        let refused = |status: u16| if is_open { 200 } else { status };
        for (caller, status) in [
            (server.caller.clone(), refused(401)),
            (server.with_key(UNKNOWN_KEY), refused(401)),
            (server.with_key(&expired), refused(401)),
        ] {
            assert_eq!(operation.ask(&caller).await, status, "{operation:?}");
        }
        let status = operation.ask(&server.with_key(&lacking)).await;
        assert_eq!(status == 403, !is_open && !any_key, "{operation:?}: {status}");
        let status = operation.ask(&server.with_key(&right)).await;
        assert!(![401, 403].contains(&status), "{operation:?}: {status}");
        secrets.extend([right, lacking]);
    }
    let manager = key("keys.manage", None);
    let made =
        server.with_key(&manager).post("/admin/keys", &json!({"scopes": ["keys.manage"]})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let made = made.body["secret"].as_str().unwrap().to_owned();
    assert_eq!(server.with_key(&made).get("/admin/keys").await.status, 200);
    secrets.extend([manager, made]);
    let log = server.log();
    assert!(log.len() > 10_000, "{log}");
    for secret in secrets {
        assert!(secret.len() == 46 && !log.contains(&secret[3..]), "a key is in the log");
    }
    assert!(!log.contains(CANARY), "a body is in the log");
}

/// What a tenant has: a way to each thing that a path can name.
struct Belongings {
    task: String,
    key: String,
    stream: String,
}

impl Belongings {
    async fn make(caller: &Caller) -> Self {
        caller.make("theirs").await;
        let upload = json!({"documents": [{"id": "page", "text": CANARY}]});
        let accepted = caller.post("/v1/collections/theirs/documents", &upload).await;
        let task = accepted.body["task"].as_str().unwrap().to_owned();
        caller.wait_for(&task).await;
        let key = caller.post("/admin/keys", &json!({"scopes": ["query"], "name": CANARY})).await;
        let question = json!({"query": CANARY, "stream": true});
        let told = caller.request(Method::POST, "/v1/rewrite").json(&question).send().await;
        let place = told.unwrap().headers()["content-location"].to_str().unwrap().to_owned();
        let stream = place.rsplit_once('/').unwrap().1.to_owned();
        Self { task, key: key.body["id"].as_str().unwrap().to_owned(), stream }
    }

    /// The path of an operation that names what there is, and one that names what nobody has.
    fn paths(&self, template: &str) -> (String, String) {
        let id = match template {
            "/v1/tasks/{id}" => &self.task,
            "/admin/keys/{id}" => &self.key,
            "/v1/streams/{id}" => &self.stream,
            "/v1/collections/{name}/documents/{id}" => "page",
            path if path.starts_with("/v1/collections/{name}") => "",
            _ => panic!("{template}: say what of a tenant its parameters name"),
        };
        let existing = template.replace("{name}", "theirs").replace("{id}", id);
        (existing, template.replace("{name}", "nobodys").replace("{id}", "nothing"))
    }
}

/// A body that the operation understands.
fn sound_body(operation: &Operation) -> Value {
    match operation.template.rsplit('/').next() {
        Some("documents") => json!({"documents": [{"text": "x"}]}),
        Some("glossary") => json!({"terms": []}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn another_tenants_things_are_as_if_they_were_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let key = |tenant: &str| create_key(dir.path(), tenant, &SCOPES.join(","), None);
    let (owner, stranger) = (server.with_key(&key("harbour")), server.with_key(&key("orchard")));
    let belongings = Belongings::make(&owner).await;
    let ask = async |operation: &Operation, path: &str| {
        let request = stranger.request(operation.method.clone(), path);
        let body = sound_body(operation);
        send(if operation.has_body { request.json(&body) } else { request }).await
    };
    let mut n_asked = 0;
    // Models are no tenant's own.
    let is_owned = |operation: &&Operation| {
        operation.template.contains('{') && operation.template != "/v1/models/{id}"
    };
    for operation in operations().iter().filter(is_owned) {
        let (existing, missing) = belongings.paths(&operation.template);
        let (existing, missing) = (ask(operation, &existing).await, ask(operation, &missing).await);
        // Whoever puts a collection makes one of its own, whatever others have.
        let makes =
            operation.method == Method::PUT && operation.template == "/v1/collections/{name}";
        assert_eq!(existing.status, if makes { 201 } else { 404 }, "{operation:?}: {existing:?}");
        assert_eq!(existing.status, missing.status, "{operation:?}");
        assert_eq!(existing.body["code"], missing.body["code"], "{operation:?}");
        assert!(!existing.body.to_string().contains(CANARY), "{existing:?}");
        if makes {
            for name in ["theirs", "nobodys"] {
                let path = format!("/v1/collections/{name}");
                assert_eq!(stranger.delete(&path).await.status, 204, "{path}");
            }
        }
        n_asked += 1;
    }
    assert!(n_asked >= 11, "only {n_asked} operations have a parameter");
    for list in ["/v1/collections", "/admin/keys"] {
        let shown = stranger.get(list).await.body.to_string();
        assert!(!shown.contains(CANARY) && !shown.contains("theirs"), "{shown}");
    }
    let kept = owner.get("/v1/collections/theirs/documents/page").await;
    assert_eq!((kept.status, &kept.body["status"]), (200, &json!("indexed")), "{kept:?}");
    let keys = owner.get("/admin/keys").await.body;
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["id"] == belongings.key);
    assert_eq!(key.unwrap()["revoked_at"], Value::Null);
}

#[tokio::test]
async fn a_refusal_tells_how_to_authenticate_and_hides_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    for path in ["/v1/collections", "/v1/nothing", "/docs/", "/openapi.json", "/"] {
        let answer = server.caller.get(path).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    }
    let key = create_key(dir.path(), "harbour", "query", None);
    let caller = server.with_key(&key);
    for (path, status) in [("/v1/nothing", 404), ("/docs/", 200), ("/openapi.json", 200)] {
        assert_eq!(caller.get(path).await.status, status, "{path}");
    }
    assert_eq!(caller.get("/openapi.json").await.body, description());
    let two = caller.request(Method::GET, "/openapi.json").bearer_auth(UNKNOWN_KEY);
    assert_eq!(send(two).await.status, 401, "two keys");
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for path in ["/", "/v1", "/v2/search", "/v1/rewrite/", "/v1//search", "/%00", "/docs/../../x"] {
        let answer = server.caller.get(path).await;
        assert_eq!((answer.status, &answer.body["code"]), (404, &json!("unknown_route")), "{path}");
    }
    let operations = operations();
    let methods = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH];
    for operation in &operations {
        let served = operations.iter().filter(|other| other.path == operation.path);
        let served: BTreeSet<&str> = served.map(|other| other.method.as_str()).collect();
        for method in methods.iter().filter(|method| !served.contains(method.as_str())) {
            let answer = send(server.caller.request(method.clone(), &operation.path)).await;
            assert_eq!(answer.status, 405, "{method} {operation:?}");
            let allow: BTreeSet<&str> = answer.header("allow").split(", ").collect();
            assert_eq!(allow, served, "{method} {operation:?}");
        }
    }
}

#[tokio::test]
async fn request_ids_are_echoed_or_made() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    for (path, id) in [("/livez", "trace-7/甲"), ("/livez", "trace-7"), ("/v1/nothing", "trace-8")]
    {
        let request = server.caller.request(Method::GET, path).header("x-request-id", id);
        let answer = send(request).await;
        let echoed = answer.header("x-request-id") == id;
        assert_eq!(echoed, id.is_ascii(), "{answer:?}");
    }
    let (one, other) = (server.caller.get("/livez").await, server.caller.get("/livez").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

/// Bodies that no operation understands, around a field that this one knows, with the statuses
/// that may answer them.
fn odd_bodies(field: &str) -> Vec<(&'static str, Vec<u8>, Vec<u16>)> {
    let deep = |open: &str, close: &str| {
        format!("{}1{}", open.repeat(100_000), close.repeat(100_000)).into_bytes()
    };
    let with = |value: &[u8]| {
        let start = format!("{{\"{field}\": ").into_bytes();
        [start.as_slice(), value, b"}"].concat()
    };
    let braces = format!("{{\"{field}\":");
    vec![
        ("broken", b"{".to_vec(), vec![400]),
        ("no JSON", b"query=x".to_vec(), vec![400]),
        ("two values", b"{} {}".to_vec(), vec![400, 422]),
        ("a list", b"[]".to_vec(), vec![422]),
        ("a string", b"\"x\"".to_vec(), vec![422]),
        ("null", b"null".to_vec(), vec![422]),
        ("unknown field", br#"{"quarry": "x"}"#.to_vec(), vec![422]),
        ("wrong type", with(b"true"), vec![422]),
        ("brackets", deep("[", "]"), vec![400, 422]),
        ("braces", deep(&braces, "}"), vec![400, 422]),
        ("deep field", with(&deep("[", "]")), vec![400, 422]),
        ("deep objects", with(&deep("{\"a\":", "}")), vec![400, 422]),
        ("invalid UTF-8", with(b"\"\xff\xfe\""), vec![400, 422]),
        ("lone surrogate", with(br#""\ud800""#), vec![400, 422]),
        ("raw NUL", with(b"\"a\0b\""), vec![400, 422]),
        ("huge number", with("9".repeat(100_000).as_bytes()), vec![400, 422]),
        ("only NUL", vec![0; 1_000], vec![400]),
        ("byte order mark", b"\xef\xbb\xbf[]".to_vec(), vec![400, 422]),
    ]
}

/// A field of the operation's body.
fn field(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("rerank") => "query",
        Some("embeddings") => "input",
        Some("embed") => "inputs",
        Some("rewrite" | "search") => "query",
        Some("keys") => "name",
        Some("documents") => "documents",
        Some("glossary") => "terms",
        _ => "description",
    }
}

#[tokio::test]
async fn malformed_bodies_are_refused_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.caller.make("docs").await;
    let with_body: Vec<Operation> =
        operations().into_iter().filter(|operation| operation.has_body).collect();
    assert!(with_body.len() >= 6, "{with_body:?}");
    for operation in &with_body {
        let request = || server.caller.request(operation.method.clone(), &operation.path);
        for (name, body, statuses) in odd_bodies(field(&operation.path)) {
            let answer = send(request().header(CONTENT_TYPE, "application/json").body(body)).await;
            // OpenAI and Cohere answer every invalid request with 400.
            let status = match operation.path.as_str() {
                "/v1/embeddings" | "/v2/rerank" if answer.status == 400 => statuses[0],
                _ => answer.status,
            };
            assert!(statuses.contains(&status), "{name}: {operation:?}: {answer:?}");
        }
        for media_type in ["text/plain", "application/x-www-form-urlencoded", "json", "é"] {
            let answer = send(request().header(CONTENT_TYPE, media_type).body("{}")).await;
            assert_eq!(answer.status, 415, "{media_type}: {operation:?}: {answer:?}");
        }
        assert_eq!(send(request().body("{}")).await.status, 415, "no type: {operation:?}");
    }
    let lines = b"{\"text\": \"sound\"}\n{\"text\": \"\xff\"}\n".to_vec();
    let upload = server.caller.request(Method::POST, "/v1/collections/docs/documents");
    let answer = send(upload.header(CONTENT_TYPE, "application/x-ndjson").body(lines)).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body["detail"].as_str().unwrap().starts_with("Line 2: "), "{answer:?}");
    let documents = server.caller.get("/v1/collections/docs/documents").await;
    assert_eq!(documents.body["data"], json!([]), "a refused upload left something behind");
}

#[tokio::test]
async fn wrong_values_are_named_by_their_pointer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.caller.make("docs").await;
    let long = "长".repeat(200_000);
    for (path, body, pointer) in [
        ("/v1/rewrite", json!({"query": 5}), "/query"),
        ("/v1/rewrite", json!({"query": ""}), "/query"),
        ("/v1/rewrite", json!({"query": "a\u{0}b"}), "/query"),
        ("/v1/rewrite", json!({"query": long}), "/query"),
        ("/v1/rewrite", json!({"query": "x", "mode": "sometimes"}), "/mode"),
        ("/v1/rewrite", json!({"query": "x", "max_rewrite_ms": 0}), "/max_rewrite_ms"),
        ("/v1/rewrite", json!({"query": "x", "max_rewrite_ms": u64::MAX}), "/max_rewrite_ms"),
        ("/v1/rewrite", json!({"query": "x", "max_variants": 1e30}), "/max_variants"),
        ("/v1/rewrite", json!({"query": "x", "context": {"now": "later"}}), "/context/now"),
        (
            "/v1/rewrite",
            json!({"query": "x", "context": {"facts": {"a/b": []}}}),
            "/context/facts/a~1b",
        ),
        ("/v1/rewrite", json!({"messages": [{"role": "owl", "content": "x"}]}), "/messages/0/role"),
        (
            "/v1/rewrite",
            json!({"query": "x", "messages": [{"role": "user", "content": 5}]}),
            "/messages/0/content",
        ),
        ("/v1/search", json!({"query": "x"}), "/collection"),
        ("/v1/search", json!({"query": "x", "collection": "docs", "top_k": -1}), "/top_k"),
        ("/v1/search", json!({"query": "x", "collection": "docs", "top_k": 2.5}), "/top_k"),
        ("/v1/search", json!({"query": "x", "collection": "docs", "filter": []}), "/filter"),
        ("/v1/collections/docs/documents", json!({"documents": []}), "/documents"),
        (
            "/v1/collections/docs/documents",
            json!({"documents": [{"text": ["x"]}]}),
            "/documents/0/text",
        ),
        (
            "/v1/collections/docs/documents",
            json!({"documents": [{"text": "x", "media_type": "a/b"}]}),
            "/documents/0",
        ),
        ("/admin/keys", json!({"scopes": ["everything"]}), "/scopes/0"),
    ] {
        let answer = server.caller.post(path, &body).await;
        assert!([415, 422].contains(&answer.status), "{pointer}: {answer:?}");
        assert_eq!(answer.pointers(), [pointer], "{answer:?}");
        assert!(answer.body.to_string().len() < 2_000, "the refusal repeats what was sent");
    }
    for number in ["1e400", "-1e400", &"9".repeat(400), "NaN", "Infinity", "0x10", "1_000"] {
        let body = format!(r#"{{"query": "x", "max_variants": {number}}}"#);
        let request = server.caller.request(Method::POST, "/v1/rewrite");
        let answer = send(request.header(CONTENT_TYPE, "application/json").body(body)).await;
        assert!([400, 422].contains(&answer.status), "{number}: {answer:?}");
    }
    for name in ["%00", "%ff", "..%2f..", "%F0%9F%A7%AD", &"x".repeat(10_000)] {
        let path = format!("/v1/collections/{name}");
        let got = server.caller.get(&path).await.status;
        let put = send(server.caller.request(Method::PUT, &path)).await.status;
        assert!([400, 404].contains(&got) && [400, 422].contains(&put), "{name}: {got}, {put}");
    }
}

#[tokio::test]
async fn bodies_over_the_limit_name_the_setting() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("QUERENT__HTTP__MAX_BODY_BYTES", "20000")];
    let server = Server::start_with(dir.path(), &["--dev"], &settings).await;
    for operation in operations().iter().filter(|operation| operation.has_body) {
        let body = |n_bytes: usize| format!(r#"{{"query": "{}"}}"#, "x".repeat(n_bytes));
        for (n_bytes, is_over) in [(19_000, false), (20_000, true), (70_000, true)] {
            let request = server.caller.request(operation.method.clone(), &operation.path);
            let answer =
                send(request.header(CONTENT_TYPE, "application/json").body(body(n_bytes))).await;
            assert_eq!(answer.status == 413, is_over, "{n_bytes}: {operation:?}: {answer:?}");
            let detail = answer.detail();
            assert_eq!(detail.contains("max_body_bytes"), is_over, "{answer:?}");
            assert_eq!(detail.contains("20000"), is_over, "{answer:?}");
        }
    }
    let alive = server.caller.post("/v1/rewrite", &json!({"query": "导出客户"})).await;
    assert_eq!(alive.status, 200, "{alive:?}");
}
