//! How much one key may ask: its rate, its requests at one time, and its end.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use futures::stream;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use support::{Answer, Caller, Server, create_key, run, send};

const LISTS: &str = "/v1/collections";
const DOCUMENTS: &str = "/v1/collections/docs/documents";

/// A key with limits of its own.
fn limited_key(dir: &Path, flags: &[&str]) -> String {
    let start = ["--tenant", "harbour", "keys", "create", "--scope", "corpus.read,corpus.write"];
    run(dir, &[&start, flags].concat()).trim().to_owned()
}

/// A request whose body never ends.
async fn send_endless(caller: &Caller) -> Answer {
    let body = Body::wrap_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = caller.request(Method::POST, DOCUMENTS).header(CONTENT_TYPE, "application/json");
    send(request.body(body)).await
}

fn assert_refused(answer: &Answer, code: &str, longest_wait: u64) {
    assert_eq!((answer.status, &answer.body["code"]), (429, &json!(code)), "{answer:?}");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=longest_wait).contains(&wait), "{answer:?}");
}

#[tokio::test]
async fn a_key_may_ask_so_often_a_minute_and_no_body_is_read_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = [("QUERENT__LIMITS__KEY_RATE_PER_MINUTE", "5")];
    let server = Server::start_with(dir.path(), &[], &defaults).await;
    for (flags, rate) in [(&["--rate", "3"][..], 3), (&[], 5)] {
        let caller = server.with_key(&limited_key(dir.path(), flags));
        for _ in 0..rate {
            assert_eq!(caller.get(LISTS).await.status, 200, "{flags:?}");
        }
        let started = Instant::now();
        assert_refused(&caller.get(LISTS).await, "rate_limited", 60 / rate);
        assert_refused(&send_endless(&caller).await, "rate_limited", 60 / rate);
        assert_refused(&caller.get("/v1/nothing").await, "rate_limited", 60 / rate);
        assert!(started.elapsed() < Duration::from_secs(5), "a refusal waited for a body");
        for open in ["/livez", "/readyz"] {
            assert_eq!(caller.get(open).await.status, 200, "{open}");
        }
    }
    let unlimited = server.with_key(&limited_key(dir.path(), &["--rate", "0"]));
    for _ in 0..50 {
        assert_eq!(unlimited.get(LISTS).await.status, 200);
    }
}

#[tokio::test]
async fn a_key_may_have_so_many_requests_at_one_time() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let caller = server.with_key(&limited_key(dir.path(), &["--concurrency", "2"]));
    let other = server.with_key(&limited_key(dir.path(), &["--concurrency", "2"]));
    caller.make("docs").await;
    let endless: Vec<_> = (0..2)
        .map(|_| {
            let caller = caller.clone();
            // The requests that ask below may hold the last place just when this one comes.
            tokio::spawn(async move { while send_endless(&caller).await.status == 429 {} })
        })
        .collect();
    let refused = until(async || caller.get(LISTS).await, 429).await;
    assert_refused(&refused, "too_many_concurrent_requests", 1);
    assert_refused(&send_endless(&caller).await, "too_many_concurrent_requests", 1);
    assert_eq!(other.get(LISTS).await.status, 200, "keys do not share their limits");
    assert_eq!(caller.get("/livez").await.status, 200);
    for request in endless {
        request.abort();
    }
    until(async || caller.get(LISTS).await, 200).await;
}

#[tokio::test]
async fn limits_are_given_over_http_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let manager = server.with_key(&create_key(dir.path(), "harbour", "keys.manage,query", None));
    let body = json!({"scopes": ["query"], "rate_per_minute": 1, "max_concurrent": 4});
    let made = manager.post("/admin/keys", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let caller = server.with_key(made.body["secret"].as_str().unwrap());
    assert_eq!(caller.get("/version").await.status, 200);
    assert_refused(&caller.get("/version").await, "rate_limited", 60);
    let shown = async || {
        let keys = manager.get("/admin/keys").await.body;
        let own = keys["data"].as_array().unwrap().iter().find(|key| key["id"] == made.body["id"]);
        own.unwrap().clone()
    };
    assert_eq!(
        (&shown().await["rate_per_minute"], &shown().await["max_concurrent"]),
        (&json!(1), &json!(4))
    );
    let started = Instant::now();
    while shown().await["last_used_at"].is_null() {
        assert!(started.elapsed() < Duration::from_secs(10), "the use of a key is not noted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let printed = run(dir.path(), &["--tenant", "harbour", "--json", "keys", "list"]);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let own = lines.iter().find(|line| line["id"] == made.body["id"]).unwrap();
    assert_eq!((&own["rate_per_minute"], &own["max_concurrent"]), (&json!(1), &json!(4)), "{own}");
    assert!(own["last_used_at"].is_string(), "{own}");
    let rows = run(dir.path(), &["--tenant", "harbour", "keys", "list"]);
    assert!(rows.lines().any(|row| row.contains("\tactive\t1\t4\t20")), "{rows}");
    assert!(rows.lines().any(|row| row.contains("\tactive\tdefault\tdefault\t")), "{rows}");
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_a_second_later() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let manager = server.with_key(&create_key(dir.path(), "harbour", "keys.manage,query", None));
    for over_http in [true, false] {
        let made = manager.post("/admin/keys", &json!({"scopes": ["query"]})).await;
        let caller = server.with_key(made.body["secret"].as_str().unwrap());
        let id = made.body["id"].as_str().unwrap();
        for _ in 0..20 {
            assert_eq!(caller.get("/version").await.status, 200);
        }
        if over_http {
            assert_eq!(manager.delete(&format!("/admin/keys/{id}")).await.status, 204);
        } else {
            let printed = run(dir.path(), &["--tenant", "harbour", "--json", "keys", "revoke", id]);
            assert_eq!(printed.trim(), json!({"id": id, "revoked": true}).to_string());
        }
        let started = Instant::now();
        until(async || caller.get("/version").await, 401).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

/// Asks until the status is the expected one.
async fn until(ask: impl AsyncFn() -> Answer, status: u16) -> Answer {
    let started = Instant::now();
    loop {
        let answer = ask().await;
        if answer.status == status {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
