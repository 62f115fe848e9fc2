//! Answers told step by step, as server-sent events over HTTP.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use support::{Caller, Server};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// An event as it came.
#[derive(Debug)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// Reads a stream to its end, or until it has `enough` events.
async fn events(request: RequestBuilder, enough: usize) -> Vec<Event> {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.bytes_stream();
    let (mut text, mut found) = (String::new(), Vec::new());
    while found.len() < enough {
        let Some(piece) = body.next().await else { break };
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| {
                let line = event.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().to_owned()
            };
            found.push(Event {
                id: field("id: "),
                name: field("event: "),
                data: serde_json::from_str(&field("data: ")).unwrap(),
            });
            text = rest.to_owned();
        }
    }
    found
}

fn ask(caller: &Caller, path: &str, body: &Value) -> RequestBuilder {
    let mut body = body.clone();
    body["stream"] = json!(true);
    caller.request(Method::POST, path).json(&body)
}

fn names(events: &[Event]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    names.dedup();
    names
}

fn data<'a>(events: &'a [Event], name: &str) -> &'a Value {
    let found = events.iter().find(|event| event.name == name);
    &found.unwrap_or_else(|| panic!("no {name} in {events:?}")).data
}

fn question() -> Value {
    json!({
        "query": "那有啥好吃的",
        "messages": [
            {"role": "user", "content": "开原有什么好玩的呢"},
            {"role": "assistant", "content": "开原有咸州古城、象牙山风景区"}
        ],
        "max_rewrite_ms": 20_000, "mode": "always"
    })
}

#[tokio::test]
async fn a_rewrite_is_told_step_by_step_and_ends_as_the_plain_answer_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let told = events(ask(&server.caller, "/v1/rewrite", &question()), 1_000).await;
    assert_eq!(names(&told), ["gate", "rewrite_delta", "rewrite", "done"], "{told:?}");
    assert_eq!(data(&told, "gate")["rewriting"], true);
    let deltas: Vec<&Value> = told
        .iter()
        .filter(|event| event.name == "rewrite_delta")
        .map(|event| &event.data)
        .collect();
    assert!(deltas.len() > 1, "{told:?}");
    let mut offset = 0;
    for delta in deltas {
        assert_eq!(delta["offset"], offset, "{told:?}");
        offset += delta["text"].as_str().unwrap().chars().count();
    }
    let numbers: Vec<usize> =
        told.iter().map(|event| event.id.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=told.len()).collect::<Vec<_>>());
    let plain = server.caller.post("/v1/rewrite", &question()).await.body;
    let rewrite = data(&told, "rewrite");
    for member in ["action", "standalone", "search", "issues", "query"] {
        assert_eq!(rewrite[member], plain[member], "{rewrite}");
    }
    assert!(rewrite["standalone"].as_str().unwrap().contains("开原"), "{rewrite}");
}

#[tokio::test]
async fn a_search_tells_raw_results_before_the_rewritten_ones() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.caller.make("docs").await;
    let documents = json!([
        {"id": "food", "text": "开原的好吃的有大冷面和酸菜馅饼。"},
        {"id": "sights", "text": "咸州古城是开原的风景区。"}
    ]);
    server.caller.ingest("docs", documents).await;
    let mut search = question();
    search["collection"] = json!("docs");
    let told = events(ask(&server.caller, "/v1/search", &search), 1_000).await;
    for name in ["gate", "raw_results", "rewrite", "results", "done"] {
        data(&told, name);
    }
    let place = |name: &str| told.iter().position(|event| event.name == name).unwrap();
    assert!(place("gate") < place("rewrite") && place("raw_results") < place("results"));
    assert!(place("rewrite") < place("results") && place("results") < place("done"));
    assert_eq!(data(&told, "results")["results"][0]["document_id"], "food");
    assert!(data(&told, "raw_results")["results"].is_array());
    // The same by the plain way.
    let plain = server.caller.post("/v1/search", &search).await.body;
    assert_eq!(plain["results"][0], data(&told, "results")["results"][0]);
}

/// Whether a value has the members that a schema of the description names, all of those that it
/// requires and no other.
fn check_members(api: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => api.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    };
    if let Some(choices) = schema["oneOf"].as_array().filter(|_| !value.is_null()) {
        let choice = choices.iter().find(|choice| choice["type"] != "null").unwrap();
        if choices.len() == 2 && choices.iter().any(|choice| choice["type"] == "null") {
            check_members(api, choice, value, place);
        }
    }
    if let Some(items) = value.as_array() {
        for item in items {
            check_members(api, &schema["items"], item, place);
        }
    }
    let (Some(known), Some(members)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(name.as_str().unwrap()), "{place} lacks {name}: {value}");
    }
    for (name, member) in members {
        let schema = known.get(name);
        let schema = schema.unwrap_or_else(|| panic!("{place} has {name}: {value}"));
        check_members(api, schema, member, &format!("{place}/{name}"));
    }
}

#[tokio::test]
async fn events_are_what_the_description_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.caller.make("docs").await;
    let documents = json!([{"id": "food", "text": "开原的好吃的有大冷面和酸菜馅饼。"}]);
    server.caller.ingest("docs", documents).await;
    let api = server.caller.get("/openapi.json").await.body;
    let mut search = question();
    search["collection"] = json!("docs");
    search["include_context"] = json!(true);
    for (path, body) in [("/v1/rewrite", question()), ("/v1/search", search)] {
        let content = &api["paths"][path]["post"]["responses"]["200"]["content"];
        let schema = &content["text/event-stream"]["x-item-schema"]["$ref"];
        let pointer = schema.as_str().unwrap().strip_prefix('#').unwrap();
        let described = api.pointer(pointer).unwrap()["oneOf"].as_array().unwrap();
        let schema_of = |name: &str| {
            let is_named = |event: &&Value| event["properties"]["event"]["enum"] == json!([name]);
            let found = described.iter().find(is_named);
            &found.unwrap_or_else(|| panic!("no {name} in {described:?}"))["properties"]["data"]
        };
        schema_of("error");
        let told = events(ask(&server.caller, path, &body), 1_000).await;
        assert!(told.len() > 4, "{told:?}");
        for event in told {
            check_members(&api, schema_of(&event.name), &event.data, &event.name);
        }
    }
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let first = events(ask(&server.caller, "/v1/rewrite", &question()), 2).await;
    let (id, last) = (&first[1].id, &first[1]);
    let stream = id.rsplit_once(':').unwrap().0;
    let by_get = server.caller.request(Method::GET, &format!("/v1/streams/{stream}"));
    let by_post = ask(&server.caller, "/v1/rewrite", &question());
    for again in [by_get, by_post] {
        let rest = events(again.header("last-event-id", id), 1_000).await;
        assert_eq!(rest[0].id, format!("{stream}:3"), "{last:?} {rest:?}");
        assert_eq!(rest.last().unwrap().name, "done");
        assert_eq!(rest.iter().filter(|event| event.name == "rewrite").count(), 1, "{rest:?}");
        assert!(rest.iter().all(|event| event.name != "gate"), "{rest:?}");
    }
    let unknown = server.caller.get("/v1/streams/st_0").await;
    assert_eq!((unknown.status, &unknown.body["code"]), (404, &json!("stream_not_found")));
}

#[tokio::test]
async fn what_is_wrong_from_the_start_is_no_stream() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let nowhere = json!({"query": "q", "collection": "nowhere", "stream": true});
    for path in ["/v1/rewrite", "/v1/search"] {
        let answer = server.caller.post(path, &nowhere).await;
        assert_eq!((answer.status, &answer.body["code"]), (404, &json!("collection_not_found")));
    }
}

/// A model that never answers; gives a moment for each request that came and for each that ended.
async fn silent_model() -> (String, UnboundedReceiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (moments, told) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let mut has_come = false;
            while socket.read(&mut bytes).await.is_ok_and(|n_bytes| n_bytes > 0) {
                if !std::mem::replace(&mut has_come, true) {
                    moments.send("came").unwrap();
                }
            }
            moments.send("ended").unwrap();
        }
    });
    (url, told)
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_generation_within_100_ms() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut told) = silent_model().await;
    let variables =
        [("QUERENT__REWRITER__URL", url.as_str()), ("QUERENT__REWRITER__REMOTE_MODEL", "tiny")];
    let server = Server::start_with(dir.path(), &["--dev"], &variables).await;
    let mut question = question();
    question["max_rewrite_ms"] = json!(60_000);
    let mut times = Vec::new();
    for round in 0..5 {
        question["query"] = json!(format!("那第{round}天有啥好吃的"));
        let mut response = ask(&server.caller, "/v1/rewrite", &question).send().await.unwrap();
        let first = response.chunk().await.unwrap().unwrap();
        assert!(std::str::from_utf8(&first).unwrap().contains("event: gate"), "{first:?}");
        assert_eq!(told.recv().await, Some("came"));
        let left = std::time::Instant::now();
        drop(response);
        let ended = tokio::time::timeout(Duration::from_secs(2), told.recv()).await;
        assert_eq!(ended.ok().flatten(), Some("ended"), "the model is still asked");
        times.push(left.elapsed());
    }
    // Machines that test have other things to do; what it takes is the least that it took.
    assert!(times.iter().min().unwrap() < &Duration::from_millis(100), "{times:?}");
    println!("the generation ended so long after its client left: {times:?}");
}

#[tokio::test]
async fn open_streams_do_not_keep_the_server_from_ending() {
    let dir = tempfile::tempdir().unwrap();
    let (url, mut told) = silent_model().await;
    let variables =
        [("QUERENT__REWRITER__URL", url.as_str()), ("QUERENT__REWRITER__REMOTE_MODEL", "tiny")];
    let server = Server::start_with(dir.path(), &["--dev"], &variables).await;
    let mut question = question();
    question["max_rewrite_ms"] = json!(60_000);
    let response = ask(&server.caller, "/v1/rewrite", &question).send().await.unwrap();
    // It would go on for a minute.
    assert_eq!(told.recv().await, Some("came"));
    let status = server.terminate(Duration::from_secs(10));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    drop(response);
}
