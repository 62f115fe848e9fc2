//! Feedback over HTTP: what is taken, what is kept, what is shown and what is deleted.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Answer, Caller, DataDir, Server, create_key};

const QUESTION: &str = "奥德赛的默认端口是多少";

/// Each test runs on SQLite, and on PostgreSQL where there is a server for tests.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::DataDir::new()).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(dir) = super::DataDir::on_postgres().await {
                    super::$test(dir).await;
                }
            })+
        }
    };
}

on_each_database! {
    feedback_is_kept_with_what_it_is_about,
    feedback_on_what_was_not_shown_is_refused,
    a_user_can_be_forgotten,
    queries_are_written_down_unless_the_log_is_off,
    queries_are_written_down_as_hashes,
    queries_are_written_down_as_they_are,
    feedback_stays_with_its_tenant_and_its_scopes,
}

async fn server(dir: &Path, variables: &[(&str, &str)]) -> Server {
    let server = Server::start_with(dir, &["--dev"], variables).await;
    server.caller.make("docs").await;
    let documents = json!([
        {"id": "port", "text": "奥德赛的默认端口是 8080，可以在设置里改。"},
        {"id": "other", "text": "天气很好。"}
    ]);
    server.caller.ingest("docs", documents).await;
    server
}

async fn search(caller: &Caller, user: &str) -> Value {
    let body = json!({"query": QUESTION, "collection": "docs", "user": user});
    caller.post("/v1/search", &body).await.body
}

async fn give(caller: &Caller, body: Value) -> Answer {
    caller.post("/v1/feedback", &body).await
}

async fn listed(caller: &Caller, query: &str) -> Vec<Value> {
    let answer = caller.get(&format!("/v1/feedback{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["data"].as_array().unwrap().clone()
}

async fn feedback_is_kept_with_what_it_is_about(dir: DataDir) {
    let server = server(dir.path(), &[]).await;
    let caller = &server.caller;
    let found = search(caller, "u1").await;
    let (id, chunk) = (&found["id"], &found["results"][0]["chunk_id"]);
    for (kind, value) in [("click", Value::Null), ("dwell", json!(12.5)), ("thumb", json!(true))] {
        let body = json!({"target": id, "kind": kind, "chunk_id": chunk, "value": value});
        assert_eq!(give(caller, body).await.status, 204, "{kind}");
    }
    let edit =
        json!({"target": found["rewrite"]["id"], "kind": "edit", "text": "端口?", "user": "u1"});
    assert_eq!(give(caller, edit).await.status, 204);
    // The same again, and another value.
    for value in [1, -1] {
        let body = json!({"target": id, "kind": "thumb", "chunk_id": chunk, "value": value});
        assert_eq!(give(caller, body).await.status, 204);
    }
    let all = listed(caller, "").await;
    assert_eq!(all.len(), 4, "{all:?}");
    let thumb = &listed(caller, "?kind=thumb").await[0];
    assert_eq!((&thumb["value"], &thumb["target"]), (&json!(-1.0), id));
    let request = &thumb["request"];
    assert_eq!((&request["id"], &request["form"]), (id, &json!("plain")));
    assert_eq!(request["rewriter"], found["rewrite"]["model"]["rewriter"]);
    assert_eq!(request["embedder"], found["rewrite"]["model"]["embedder"]);
    assert_eq!(request["detail"]["query"], QUESTION);
    assert_eq!(request["detail"]["standalone"], found["rewrite"]["standalone"]);
    assert_eq!(request["detail"]["search"], found["rewrite"]["search"]);
    assert_eq!(request["detail"]["results"][0]["chunk_id"], *chunk);
    assert_eq!(listed(caller, "?user=u1").await.len(), 4, "feedback is of whoever asked");
    assert_eq!(listed(caller, &format!("?target={}", id.as_str().unwrap())).await.len(), 3);
    let page = caller.get("/v1/feedback?limit=3").await.body;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["has_more"]), (3, &json!(true)));
}

async fn feedback_on_what_was_not_shown_is_refused(dir: DataDir) {
    let server = server(dir.path(), &[]).await;
    let caller = &server.caller;
    let found = search(caller, "u1").await;
    let id = &found["id"];
    for (body, pointer) in [
        (json!({"target": id, "kind": "click"}), "/chunk_id"),
        (json!({"target": id, "kind": "click", "chunk_id": "ck_999"}), "/chunk_id"),
        (json!({"target": id, "kind": "thumb"}), "/value"),
        (json!({"target": id, "kind": "thumb", "value": 5}), "/value"),
        (json!({"target": id, "kind": "thumb", "value": "up"}), "/value"),
        (json!({"target": id, "kind": "edit"}), "/text"),
        (json!({"target": id, "kind": "like"}), "/kind"),
        (json!({"target": "", "kind": "edit", "text": "x"}), "/target"),
    ] {
        let answer = give(caller, body.clone()).await;
        assert_eq!((answer.status, answer.pointers()), (422, vec![pointer]), "{body}");
    }
    let unknown = give(caller, json!({"target": "se_0", "kind": "thumb", "value": 1})).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (404, &json!("target_not_found")));
    assert!(listed(caller, "").await.is_empty());
}

async fn a_user_can_be_forgotten(dir: DataDir) {
    let server = server(dir.path(), &[("QUERENT__LOG__QUERIES", "plain")]).await;
    let caller = &server.caller;
    let mut targets = Vec::new();
    for user in ["u1", "u2"] {
        let found = search(caller, user).await;
        let body = json!({"target": found["id"], "kind": "thumb", "value": 1, "user": user});
        assert_eq!(give(caller, body).await.status, 204);
        targets.push(found["id"].clone());
    }
    assert_eq!(caller.delete("/v1/feedback").await.status, 422);
    assert_eq!(caller.delete("/v1/feedback?user=u1&all=true").await.status, 422);
    let gone = caller.delete("/v1/feedback?user=u1").await;
    assert_eq!((gone.status, &gone.body["feedback"]), (200, &json!(1)), "{gone:?}");
    let left = listed(caller, "").await;
    assert_eq!((left.len(), &left[0]["user"]), (1, &json!("u2")));
    let late = give(caller, json!({"target": targets[0], "kind": "thumb", "value": 1})).await;
    assert_eq!(late.status, 404, "what was forgotten is not remembered: {late:?}");
    let gone = caller.delete("/v1/feedback?all=true").await;
    assert_eq!(gone.body["feedback"], 1);
    assert!(listed(caller, "").await.is_empty());
}

async fn queries_are_written_down_unless_the_log_is_off(dir: DataDir) {
    are_written_down(dir, "off", false, false).await;
}

async fn queries_are_written_down_as_hashes(dir: DataDir) {
    are_written_down(dir, "hashed", false, true).await;
}

async fn queries_are_written_down_as_they_are(dir: DataDir) {
    are_written_down(dir, "plain", true, true).await;
}

/// Asks with a setting of the log: whether the query can be read in the database, and whether the
/// request is known to a server that starts later.
async fn are_written_down(dir: DataDir, setting: &str, is_readable: bool, is_known_later: bool) {
    let variables =
        [("QUERENT__LOG__QUERIES", setting), ("QUERENT__FEEDBACK__KEEP_REQUEST", "false")];
    let first = server(dir.path(), &variables).await;
    let found = search(&first.caller, "u1").await;
    assert!(first.terminate(std::time::Duration::from_secs(10)).is_some());
    let is_held = match &dir.schema {
        Some(schema) => schema.details().await.contains(QUESTION),
        None => files(dir.path()).contains(&format!("\"query\":\"{QUESTION}\"")),
    };
    assert_eq!(is_held, is_readable, "{setting}");
    // A server that has just started remembers nothing but what was written.
    let second = Server::start_with(dir.path(), &["--dev"], &variables).await;
    let body = json!({"target": found["id"], "kind": "thumb", "value": 1});
    let status = give(&second.caller, body).await.status;
    assert_eq!(status, if is_known_later { 204 } else { 404 }, "{setting}");
}

/// What stands in the files of a directory.
fn files(dir: &Path) -> String {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let bytes = paths.filter(|path| path.is_file()).map(|path| std::fs::read(path).unwrap());
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

async fn feedback_stays_with_its_tenant_and_its_scopes(dir: DataDir) {
    let of_a =
        create_key(dir.path(), "a", "query,feedback,corpus.write,jobs.read,jobs.write", None);
    let of_b = create_key(dir.path(), "b", "query,feedback,jobs.read,jobs.write", None);
    let frontend = create_key(dir.path(), "a", "query,feedback", None);
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let (a, b) = (server.with_key(&of_a), server.with_key(&of_b));
    let answer = a.post("/v1/rewrite", &json!({"query": QUESTION})).await.body;
    let thumb = json!({"target": answer["id"], "kind": "thumb", "value": 1});
    assert_eq!(give(&b, thumb.clone()).await.status, 404);
    let frontend = server.with_key(&frontend);
    assert_eq!(give(&frontend, thumb).await.status, 204);
    assert_eq!(frontend.get("/v1/feedback").await.status, 403);
    assert_eq!(frontend.delete("/v1/feedback?all=true").await.status, 403);
    assert!(listed(&b, "").await.is_empty());
    assert_eq!(b.delete("/v1/feedback?all=true").await.body["feedback"], 0);
    assert_eq!(listed(&a, "").await.len(), 1);
}
