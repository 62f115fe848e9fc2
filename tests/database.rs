//! PostgreSQL as the database of the real program: named by URL, migrated by hand, lost and found
//! again. What the API does on it is in the other files, whose tests run on both databases.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Caller, DataDir, Server, create_key, querent, run};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const DOCUMENTS: &str = "/v1/collections/docs/documents";
const SCOPES: &str = "query,corpus.read,corpus.write";
const QUERY: &str = "导出客户列表";
const GONE: &str = "database_unavailable";
/// For the server to find a database that is there again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to the database that can be cut: open connections break, and new ones are refused.
struct Cable {
    address: String,
    server: String,
    open: JoinHandle<()>,
}

impl Cable {
    async fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = tokio::spawn(forward(listener, server.clone()));
        Self { address, server, open }
    }

    async fn cut(&mut self) {
        self.open.abort();
        let _ = (&mut self.open).await;
    }

    async fn mend(&mut self) {
        let listener = TcpListener::bind(&self.address).await.unwrap();
        self.open = tokio::spawn(forward(listener, self.server.clone()));
    }
}

async fn forward(listener: TcpListener, server: String) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let server = server.clone();
        connections.spawn(async move {
            let mut far = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
    }
}

/// Sends a request that the database is needed for, while it is gone.
async fn is_refused(caller: &Caller, method: Method, path: &str, body: Option<Value>) {
    let mut request = caller.request(method, path);
    if let Some(body) = &body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}: {answer:?}");
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    let code = if path == "/readyz" { "not_ready" } else { "database_unavailable" };
    assert_eq!(problem["code"], code, "{path}: {problem}");
    assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
}

async fn is_ready_again(caller: &Caller) {
    let started = Instant::now();
    loop {
        let answer = caller.request(Method::GET, "/readyz").send().await.unwrap();
        if answer.status() == StatusCode::OK {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn finds(caller: &Caller, query: &str, id: &str) {
    let body = json!({"query": query, "collection": "docs", "mode": "never"});
    let found = caller.post("/v1/search", &body).await;
    assert_eq!(found.body["results"][0]["document_id"], id, "{found:?}");
    assert_eq!(found.body["degraded"], json!([]), "{found:?}");
}

fn names(body: &Value, code: &str) -> bool {
    body["degraded"].as_array().unwrap().iter().any(|degraded| degraded == code)
}

/// Searches and rewrites while the database is gone: what is known of it is enough.
async fn goes_on(caller: &Caller) {
    for mode in ["never", "auto"] {
        let body = json!({"query": QUERY, "collection": "docs", "mode": mode});
        let started = Instant::now();
        let found = caller.post("/v1/search", &body).await;
        assert_eq!(found.status, 200, "{found:?}");
        assert!(started.elapsed() < Duration::from_secs(2), "it waited {:?}", started.elapsed());
        assert!(names(&found.body, GONE), "{found:?}");
        assert_eq!(found.body["results"][0]["document_id"], "export", "{found:?}");
        assert_eq!(found.body["rewrite"]["standalone"], QUERY, "{found:?}");
    }
    let messages = json!([{"role": "user", "content": "开原有什么好玩的呢"},
                          {"role": "assistant", "content": "开原有咸州古城"}]);
    let mut question = json!({"query": "那有啥好吃的", "messages": messages, "mode": "always"});
    question["max_rewrite_ms"] = json!(20_000);
    let mut within = question.clone();
    within["collection"] = json!("docs");
    for (body, is_degraded) in [(question, false), (within, true)] {
        let answer = caller.post("/v1/rewrite", &body).await;
        assert_eq!((answer.status, names(&answer.body, GONE)), (200, is_degraded), "{answer:?}");
        assert!(answer.body["standalone"].as_str().unwrap().contains("开原"), "{answer:?}");
    }
    // Nothing is known of it, not even whether it is there.
    let body = json!({"query": QUERY, "collection": "nowhere", "mode": "never"});
    let found = caller.post("/v1/search", &body).await;
    assert_eq!((found.status, names(&found.body, GONE)), (200, true), "{found:?}");
    assert_eq!(found.body["results"], json!([]), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_waited_for() {
    let Some(dir) = DataDir::on_postgres().await else { return };
    let schema = dir.schema.as_ref().unwrap();
    let mut cable = Cable::new(schema.address()).await;
    dir.use_database(&schema.url_by(&cable.address));
    let [key, unseen] = [(); 2].map(|()| create_key(dir.path(), "default", SCOPES, None));
    for flags in [&["--dev"][..], &[]] {
        let server = Server::start_with(dir.path(), flags, &[]).await;
        let caller = server.with_key(&key);
        caller.make("docs").await;
        let first = json!([{"id": "export", "text": "点击右上角的导出按钮，导出客户列表。"}]);
        caller.ingest("docs", first).await;
        let body = json!({"documents": [{"id": "price", "text": "团队版每人每月一百九十九元。"}]});
        let accepted = caller.post(DOCUMENTS, &body).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");

        let rest = json!({"query": QUERY, "collection": "docs", "mode": "never"});
        let whole = caller.post("/v1/search", &rest).await;
        assert_eq!(whole.body["degraded"], json!([]), "{whole:?}");
        cable.cut().await;
        // The first to meet the outage waits for it to pass.
        let first = caller.post("/v1/search", &rest).await;
        assert!(first.status == 200 && names(&first.body, GONE), "{first:?}");
        goes_on(&caller).await;
        is_refused(&caller, Method::GET, "/readyz", None).await;
        is_refused(&caller, Method::GET, "/v1/collections", None).await;
        is_refused(&caller, Method::POST, DOCUMENTS, Some(body)).await;
        if flags.is_empty() {
            let stranger = server.with_key(&unseen);
            is_refused(&stranger, Method::POST, "/v1/search", Some(rest)).await;
        }
        assert_eq!(caller.get("/livez").await.status, 200);

        cable.mend().await;
        is_ready_again(&caller).await;
        let task = caller.wait_for(accepted.body["task"].as_str().unwrap()).await;
        assert_eq!(task["status"], "succeeded", "{task}");
        finds(&caller, QUERY, "export").await;
        finds(&caller, "团队版每人每月", "price").await;
        assert!(!server.log().contains("panicked"), "{}", server.log());
        assert_eq!(server.terminate(PATIENCE).unwrap().code(), Some(0));
        run(dir.path(), &["keys", "list"]);
    }
}

#[tokio::test]
async fn migrating_prints_what_it_applied() {
    let on_postgres = DataDir::on_postgres().await;
    for dir in [Some(DataDir::new()), on_postgres].into_iter().flatten() {
        let first = run(dir.path(), &["migrate"]);
        assert!(first.starts_with("applied 0001 corpus\n"), "{first}");
        assert_eq!(run(dir.path(), &["migrate"]), "the database is up to date\n");
        assert_eq!(run(dir.path(), &["migrate", "--json"]), "");
    }
}

#[test]
fn a_password_is_in_no_output() {
    let dir = DataDir::new();
    for (url, arguments, code) in [
        ("postgres://querent:geheim@127.0.0.1:1/q", &["doctor"][..], 1),
        ("postgres://querent:geheim@127.0.0.1:1/q", &["serve"], 1),
        ("mysql://querent:geheim@127.0.0.1:1/q", &["serve"], 2),
    ] {
        dir.use_database(url);
        let output = querent(dir.path()).args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{said:?}");
        let said = said.concat();
        assert!(said.contains("@127.0.0.1:1/q"), "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }
}
