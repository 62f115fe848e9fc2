//! The program with its index on a server, which is a stand-in here: not there at the start,
//! there, gone again, back without its data. And what holds for the embedded index as well.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
#[path = "support/qdrant/mod.rs"]
mod qdrant;
#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::{Duration, Instant};

use qdrant::Running;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Caller, Server};

const KEY: &str = "s3cr3t-k3y";
const PATIENCE: Duration = Duration::from_secs(60);

fn launch(data_dir: &std::path::Path, index: &Running) -> Server {
    let variables = [
        ("QUERENT__VECTORS__URL", &*index.url()),
        ("QUERENT__VECTORS__API_KEY", KEY),
        ("QUERENT__VECTORS__TIMEOUT_MS", "2000"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Server::launch(data_dir, &["--dev"], &variables)
}

/// Whether it says that it is ready; a refusal has the reason's code and nothing else.
async fn is_ready(caller: &Caller) -> bool {
    let response = caller.request(Method::GET, "/readyz").send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert!(status == 200 || status == 503 && text.contains("index_unavailable"), "{text}");
    status == 200
}

async fn find(caller: &Caller, query: &str) -> Value {
    let body = json!({"query": query, "collection": "docs", "mode": "never"});
    let answer = caller.post("/v1/search", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn documents(found: &Value) -> Vec<&str> {
    let results = found["results"].as_array().unwrap();
    results.iter().map(|result| result["document_id"].as_str().unwrap()).collect()
}

/// Searches until the document is found, or until nothing can be.
async fn search_until(caller: &Caller, document: Option<&str>) {
    let started = Instant::now();
    loop {
        let found = find(caller, "退款 政策").await;
        let seen = match document {
            Some(document) => documents(&found).contains(&document),
            None => found["degraded"] == json!(["index_unavailable"]),
        };
        if seen {
            assert_eq!(document.is_none(), documents(&found).is_empty(), "{found}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn upload(caller: &Caller, id: &str, text: &str) -> String {
    let body = json!({ "documents": [{ "id": id, "text": text }] });
    let accepted = caller.post("/v1/collections/docs/documents", &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    accepted.body["task"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_missing_index_server_is_waited_for_and_caught_up_with() {
    let directory = tempfile::tempdir().unwrap();
    let mut index = Running::start(KEY);
    index.stop();
    let server = launch(directory.path(), &index);
    let caller = &server.caller;

    assert!(!is_ready(caller).await, "not before the index was reached");
    caller.make("docs").await;
    let task = upload(caller, "refunds", "退款政策：七天之内可以退款。").await;
    assert_eq!(caller.get("/v1/collections/docs/documents/refunds").await.status, 200);
    let body = json!({"query": "那退款呢", "mode": "never"});
    assert_eq!(caller.post("/v1/rewrite", &body).await.status, 200);
    let found = find(caller, "退款政策").await;
    assert_eq!(found["degraded"], json!(["index_unavailable"]), "{found}");
    assert_eq!(found["results"], json!([]), "{found}");

    index.go_on();
    assert_eq!(caller.wait_for(&task).await["status"], "succeeded");
    assert!(is_ready(caller).await);
    assert_eq!(documents(&find(caller, "退款政策").await), ["refunds"]);

    index.stop();
    search_until(caller, None).await;
    assert!(is_ready(caller).await, "all else works");
    let task = upload(caller, "returns", "退货政策：先联系客服，再退款。").await;
    caller.delete("/v1/collections/docs/documents/refunds").await;
    index.go_on();
    assert_eq!(caller.wait_for(&task).await["status"], "succeeded");
    search_until(caller, Some("returns")).await;

    index.forget();
    search_until(caller, None).await;
    search_until(caller, Some("returns")).await;
    assert_eq!(documents(&find(caller, "退款政策").await), ["returns"]);

    assert_eq!(caller.delete("/v1/collections/docs").await.status, 204);
    let started = Instant::now();
    while !index.collections().is_empty() {
        assert!(started.elapsed() < PATIENCE, "{:?}", index.collections());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!server.log().contains(KEY), "{}", server.log());
}

/// The embedded engine, too, may be without an index for a while.
#[tokio::test]
async fn an_unreadable_index_leaves_a_search_that_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    server.caller.make("docs").await;
    let found = find(&server.caller, "退款政策").await;
    assert_eq!(found["degraded"], json!([]), "{found}");
    std::fs::create_dir(directory.path().join("vectors/1.broken")).unwrap();
    let found = find(&server.caller, "退款政策").await;
    assert_eq!(found["degraded"], json!(["index_unavailable"]), "{found}");
    assert_eq!(found["results"], json!([]), "{found}");
}

#[tokio::test]
async fn the_average_length_follows_a_collection_that_grows() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path()).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let long = "退款政策规定客户可以在七天之内申请退款并说明原因。".repeat(8);
    caller.ingest("docs", json!([{ "id": "first", "text": long }])).await;
    let short: Vec<Value> =
        (0..460).map(|n| json!({ "id": format!("d{n}"), "text": format!("条目{n}") })).collect();
    caller.ingest("docs", json!(short)).await;
    let started = Instant::now();
    while !server.log().contains("average length is off") {
        assert!(started.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(documents(&find(caller, "退款政策").await)[0], "first");
    assert!(documents(&find(caller, "条目 77").await).contains(&"d77"));
}
