//! `Idempotency-Key`: what comes again is answered again and not done again.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, Caller, Server, create_key, send};

const DOCUMENTS: &str = "/v1/collections/docs/documents";
const SCOPES: &str = "query,corpus.read,corpus.write,keys.manage";

/// A document without an id: each time it is taken, there is one more.
fn upload() -> Value {
    json!({"documents": [{"text": "打开客户列表，点击右上角的导出按钮。"}]})
}

async fn post_once(caller: &Caller, key: &str, path: &str, body: &Value) -> Answer {
    let request = caller.request(Method::POST, path).header("idempotency-key", key);
    send(request.json(body)).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

async fn n_documents(caller: &Caller) -> usize {
    caller.get(DOCUMENTS).await.body["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_thousand_duplicates_are_one_task() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let body = upload();
    let answers =
        join_all((0..1_000).map(|_| post_once(caller, "the-same", DOCUMENTS, &body))).await;
    let mut n_of_status: BTreeMap<u16, usize> = BTreeMap::new();
    for answer in &answers {
        *n_of_status.entry(answer.status).or_default() += 1;
        if answer.status == 409 {
            assert_eq!(answer.body["code"], "idempotency_in_progress", "{answer:?}");
        }
    }
    assert!(n_of_status.keys().all(|status| [202, 409].contains(status)), "{n_of_status:?}");
    let accepted: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(accepted.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert!(accepted.iter().all(|answer| answer.body == accepted[0].body));
    let again = post_once(caller, "the-same", DOCUMENTS, &body).await;
    assert_eq!((again.status, is_replayed(&again)), (202, true), "{again:?}");
    assert_eq!(again.body, accepted[0].body);
    assert_eq!(again.header("location"), accepted[0].header("location"));
    assert_eq!(n_documents(caller).await, 1);
}

#[tokio::test]
async fn a_key_stands_for_one_request_of_one_caller() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let caller = |tenant| server.with_key(&create_key(dir.path(), tenant, SCOPES, None));
    let (ours, colleague, theirs) = (caller("harbour"), caller("harbour"), caller("orchard"));
    for caller in [&ours, &theirs] {
        caller.make("docs").await;
    }
    ours.make("other").await;
    let first = post_once(&ours, "k", DOCUMENTS, &upload()).await;
    assert_eq!((first.status, is_replayed(&first)), (202, false), "{first:?}");
    for other in [json!({"documents": [{"text": "another"}]}), json!({"documents": []})] {
        let refused = post_once(&ours, "k", DOCUMENTS, &other).await;
        let (status, code) = (refused.status, &refused.body["code"]);
        assert_eq!((status, code), (422, &json!("idempotency_mismatch")), "{refused:?}");
    }
    let elsewhere = post_once(&ours, "k", "/v1/collections/other/documents", &upload()).await;
    assert_eq!(elsewhere.body["code"], "idempotency_mismatch", "{elsewhere:?}");
    for (caller, key) in [(&colleague, "k"), (&theirs, "k"), (&ours, "k2")] {
        let answer = post_once(caller, key, DOCUMENTS, &upload()).await;
        assert_eq!((answer.status, is_replayed(&answer)), (202, false), "{answer:?}");
        assert_ne!(answer.body["task"], first.body["task"]);
    }
    assert_eq!((n_documents(&ours).await, n_documents(&theirs).await), (3, 1));
    let too_long = "x".repeat(256);
    for odd in ["", "a b", "a\tb", too_long.as_str()] {
        let refused = post_once(&ours, odd, DOCUMENTS, &upload()).await;
        assert_eq!(refused.status, 400, "{odd:?}");
        assert_eq!(refused.body["code"], "invalid_idempotency_key", "{refused:?}");
    }
    let longest = "x".repeat(255);
    assert_eq!(post_once(&ours, &longest, DOCUMENTS, &upload()).await.status, 202);
    for _ in 0..2 {
        let asked = post_once(&ours, "k", "/v1/rewrite", &json!({"query": "导出客户"})).await;
        assert_eq!((asked.status, is_replayed(&asked)), (200, false), "asking changes nothing");
    }
}

#[tokio::test]
async fn answers_survive_a_crash_and_refusals_are_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let missing = post_once(&server.caller, "early", DOCUMENTS, &upload()).await;
    assert_eq!((missing.status, is_replayed(&missing)), (404, false), "{missing:?}");
    server.caller.make("docs").await;
    let again = post_once(&server.caller, "early", DOCUMENTS, &upload()).await;
    assert_eq!((again.status, is_replayed(&again)), (404, true), "{again:?}");
    for member in ["code", "detail", "instance"] {
        assert_eq!(again.body[member], missing.body[member]);
    }
    assert_ne!(again.body["request_id"], missing.body["request_id"]);
    let first = post_once(&server.caller, "late", DOCUMENTS, &upload()).await;
    assert_eq!(first.status, 202, "{first:?}");
    server.kill();
    let server = Server::start(dir.path()).await;
    let again = post_once(&server.caller, "late", DOCUMENTS, &upload()).await;
    assert_eq!((again.status, is_replayed(&again)), (202, true), "{again:?}");
    assert_eq!(again.body, first.body);
    assert_eq!(n_documents(&server.caller).await, 1);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_stored_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let manager = server.with_key(&create_key(dir.path(), "harbour", SCOPES, None));
    let body = json!({"scopes": ["query"], "name": "shop"});
    let first = post_once(&manager, "k", "/admin/keys", &body).await;
    let secret = first.body["secret"].as_str().unwrap();
    let again = post_once(&manager, "k", "/admin/keys", &body).await;
    assert_eq!((again.status, is_replayed(&again)), (201, true), "{again:?}");
    assert_eq!((&again.body["id"], &again.body["secret"]), (&first.body["id"], &Value::Null));
    assert_eq!(again.body["prefix"], first.body["prefix"]);
    assert_eq!(again.header("cache-control"), "no-store");
    let keys = manager.get("/admin/keys").await.body;
    assert_eq!(keys["data"].as_array().unwrap().len(), 2, "{keys}");
    let mut n_files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            n_files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let mut windows = bytes.windows(secret.len());
            assert!(!windows.any(|window| window == secret.as_bytes()), "{}", path.display());
        }
    }
    assert!(n_files > 0);
}
