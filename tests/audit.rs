//! The audit trail: refused and administrative calls are on record, for their tenant alone.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use support::{Caller, Server, create_key, run, send};

const AUDIT: &str = "/admin/audit";
const UNKNOWN_KEY: &str = "qk_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";
const ALL: &str = "query,corpus.read,corpus.write,keys.manage";

/// The rows that a list gives, newest first.
async fn rows(caller: &Caller, query: &str) -> Vec<Value> {
    let answer = caller.get(&format!("{AUDIT}{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["data"].as_array().unwrap().clone()
}

/// Waits for as many rows: refusals are written beside the requests.
async fn wait_for_rows(caller: &Caller, query: &str, n_rows: usize) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let rows = rows(caller, query).await;
        if rows.len() >= n_rows {
            return rows;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{rows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn unauthenticated(dir: &Path) -> Vec<Value> {
    let printed = run(dir, &["--json", "audit", "--unauthenticated"]);
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a row says, without what no test can know.
fn gist(row: &Value) -> (String, u64, Value, Value) {
    let what = format!("{} {}", row["method"].as_str().unwrap(), row["route"].as_str().unwrap());
    (what, row["status"].as_u64().unwrap(), row["code"].clone(), row["target"].clone())
}

#[tokio::test]
async fn administrative_calls_are_on_record_when_they_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let secret = create_key(dir.path(), "harbour", ALL, None);
    let manager = server.with_key(&secret);
    manager.make("docs").await;
    manager.ingest("docs", json!([{"id": "a", "text": "导出客户"}])).await;
    let made = manager.post("/admin/keys", &json!({"scopes": ["query"]})).await;
    let id = made.body["id"].as_str().unwrap();
    let glossary = json!({"terms": []});
    assert_eq!(manager.put("/v1/collections/docs/glossary", &glossary).await.status, 200);
    assert_eq!(manager.put("/v1/collections/none/glossary", &glossary).await.status, 404);
    assert_eq!(manager.delete(&format!("/admin/keys/{id}")).await.status, 204);
    let last = manager.request(Method::DELETE, "/v1/collections/docs");
    assert_eq!(send(last.header("x-request-id", "the-last")).await.status, 204);
    server.kill();

    let server = Server::start_with(dir.path(), &[], &[]).await;
    let manager = server.with_key(&secret);
    let found = rows(&manager, "").await;
    let gists: Vec<_> = found.iter().map(gist).collect();
    let gist = |what: &str, status, code: Value, target: Value| (what.into(), status, code, target);
    assert_eq!(
        gists,
        [
            gist("DELETE /v1/collections/{name}", 204, Value::Null, json!("docs")),
            gist("DELETE /admin/keys/{id}", 204, Value::Null, json!(id)),
            gist(
                "PUT /v1/collections/{name}/glossary",
                404,
                json!("collection_not_found"),
                json!("none")
            ),
            gist("PUT /v1/collections/{name}/glossary", 200, Value::Null, json!("docs")),
            gist("POST /admin/keys", 201, Value::Null, Value::Null),
        ]
    );
    assert_eq!(found[0]["request_id"], "the-last");
    for row in &found {
        assert!(row["key_id"].as_str().unwrap().starts_with("key_"), "{row}");
        assert_eq!(row["key_prefix"], secret[..11], "{row}");
        assert!(!row.to_string().contains(&secret[11..]), "{row}");
    }
}

#[tokio::test]
async fn refusals_are_on_record_for_their_tenant_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let manager = server.with_key(&create_key(dir.path(), "harbour", ALL, None));
    let stranger = server.with_key(&create_key(dir.path(), "orchard", ALL, None));
    let flags = ["--tenant", "harbour", "keys", "create", "--scope", "corpus.read", "--rate", "2"];
    let secret = run(dir.path(), &flags).trim().to_owned();
    let reader = server.with_key(&secret);
    assert_eq!(reader.delete("/v1/collections/docs").await.status, 403);
    assert_eq!(reader.get(AUDIT).await.status, 403);
    assert_eq!(reader.get("/v1/collections").await.status, 429);
    assert_eq!(server.caller.get("/v1/tasks/ts_1").await.status, 401);
    assert_eq!(server.with_key(UNKNOWN_KEY).get("/v1/nothing").await.status, 401);

    let found = wait_for_rows(&manager, "", 3).await;
    let gists: Vec<_> = found.iter().map(gist).collect();
    let gist = |what: &str, status, code: &str, target| (what.into(), status, json!(code), target);
    assert_eq!(
        gists,
        [
            gist("GET /v1/collections", 429, "rate_limited", Value::Null),
            gist("GET /admin/audit", 403, "scope_missing", Value::Null),
            gist("DELETE /v1/collections/{name}", 403, "scope_missing", json!("docs")),
        ]
    );
    assert!(found.iter().all(|row| row["key_prefix"] == secret[..11]), "{found:?}");
    let key = found[0]["key_id"].as_str().unwrap();
    let prefix = &secret[..11];
    let since = found[1]["at"].as_str().unwrap().replace('+', "%2B");
    for (query, n_rows) in [
        (format!("?key={key}"), 3),
        (format!("?key={prefix}&status=403"), 2),
        ("?key=key_1".to_owned(), 0),
        ("?status=429".to_owned(), 1),
        ("?since=2999-01-01T00:00:00Z".to_owned(), 0),
        ("?limit=2".to_owned(), 2),
    ] {
        assert_eq!(rows(&manager, &query).await.len(), n_rows, "{query}");
    }
    assert!(rows(&manager, &format!("?since={since}")).await.len() >= 2, "{since}");
    let first = manager.get(&format!("{AUDIT}?limit=2")).await.body;
    assert_eq!(first["has_more"], true, "{first}");
    let next = format!("?limit=2&after={}", first["next"].as_str().unwrap());
    assert_eq!(rows(&manager, &next).await, found[2..]);
    assert_eq!(manager.get(&format!("{AUDIT}?status=x")).await.pointers(), ["/status"]);

    assert_eq!(rows(&stranger, "").await, Vec::<Value>::new());
    let started = Instant::now();
    while unauthenticated(dir.path()).len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    let nobodys = unauthenticated(dir.path());
    assert_eq!(nobodys[0]["key_prefix"], UNKNOWN_KEY[..11]);
    assert_eq!((&nobodys[0]["route"], &nobodys[0]["key_id"]), (&json!("unknown"), &Value::Null));
    assert_eq!((&nobodys[1]["target"], &nobodys[1]["key_prefix"]), (&json!("ts_1"), &Value::Null));
}

#[tokio::test]
async fn a_flood_of_refusals_is_cut_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    for _ in 0..200 {
        assert_eq!(server.with_key(UNKNOWN_KEY).get("/v1/collections").await.status, 401);
    }
    let manager = server.with_key(&create_key(dir.path(), "harbour", ALL, None));
    assert_eq!(manager.post("/admin/keys", &json!({"scopes": ["query"]})).await.status, 201);
    assert_eq!(rows(&manager, "").await.len(), 1, "nobody's flood keeps no row of others out");
    assert!(server.terminate(Duration::from_secs(20)).is_some());
    let printed = run(dir.path(), &["--json", "audit", "--unauthenticated", "--limit", "1000"]);
    let n_rows = printed.lines().count();
    // Some more than 120, for the seconds that the flood took.
    assert!((120..180).contains(&n_rows), "{n_rows}");
}
