//! Traces as a collector gets them from a real server: which spans, continued from the caller's,
//! sent at the end too, without a text in them; and what a dead collector does, which is nothing.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::json;
use support::{Server, create_key};

const CANARY: &str = "stachelbeersaft";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

impl Collector {
    /// Starts it, and gives its address.
    async fn start(&self) -> String {
        let sent = Arc::clone(&self.0);
        let keep = move |headers: HeaderMap, body: Bytes| async move {
            sent.lock().unwrap().push((headers, body));
        };
        let router = Router::new().route("/v1/traces", post(keep));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// All bodies one after the other: strings and ids stand in them as they are.
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(|(_, body)| body.to_vec()).collect()
    }
}

/// The parts of a protobuf message that have a length, with their numbers.
fn parts(message: &[u8]) -> Vec<(u64, &[u8])> {
    let varint = |at: &mut usize| {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = message[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    let (mut at, mut parts) = (0, Vec::new());
    while at < message.len() {
        let tag = varint(&mut at);
        match tag & 7 {
            0 => _ = varint(&mut at),
            1 => at += 8,
            2 => {
                let length = usize::try_from(varint(&mut at)).unwrap();
                parts.push((tag >> 3, &message[at..at + length]));
                at += length;
            }
            _ => at += 4,
        }
    }
    parts
}

/// A span's name with its own id and its parent's.
type Spans = Vec<(String, Vec<u8>, Vec<u8>)>;

impl Collector {
    /// The spans of a trace.
    fn spans(&self, trace: &[u8]) -> Spans {
        let bodies: Vec<Bytes> =
            self.0.lock().unwrap().iter().map(|(_, body)| body.clone()).collect();
        let mut spans = Vec::new();
        for body in &bodies {
            let of_resources = parts(body).into_iter().flat_map(|(_, part)| parts(part));
            let of_scopes = of_resources.filter(|(number, _)| *number == 2);
            for (_, span) in of_scopes.flat_map(|(_, part)| parts(part)) {
                let field = |wanted: u64| {
                    let found = parts(span).into_iter().find(|(number, _)| *number == wanted);
                    found.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default()
                };
                if field(1) == trace {
                    spans.push((String::from_utf8(field(5)).unwrap(), field(2), field(4)));
                }
            }
        }
        spans
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

// The collector runs while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_a_trace_of_its_stages() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let server = Server::start_with(
        dir.path(),
        &["--log-json"],
        &[
            ("QUERENT__TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("QUERENT__TELEMETRY__OTLP_HEADERS", "x-scope=harbour"),
        ],
    )
    .await;
    let key = create_key(dir.path(), "harbour", "query,corpus.write,corpus.read", None);
    let caller = server.with_key(&key);
    caller.make("docs").await;
    let text = format!("# {CANARY}\n\n{CANARY} is served cold.");
    caller.ingest("docs", json!([{"id": "a", "text": text}])).await;
    let search = json!({
        "query": format!("what is {CANARY}?"), "collection": "docs", "mode": "always",
        "messages": [{"role": "user", "content": format!("{CANARY}, please")}]});
    let request = caller.request(reqwest::Method::POST, "/v1/search");
    let answer = support::send(request.header("traceparent", PARENT).json(&search)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let chunk = answer.body["results"][0]["chunk_id"].as_str().unwrap().to_owned();
    let log = server.log();
    let line = log.lines().find(|line| line.contains(TRACE_ID)).unwrap_or_else(|| panic!("{log}"));
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["span"]["request_id"], answer.header("x-request-id"), "{line}");
    // What has not been sent yet is sent at the end.
    assert!(server.terminate(Duration::from_secs(30)).is_some_and(|status| status.success()));
    let sent = collector.bytes();
    for part in [
        "POST /v1/search",
        "rewrite",
        "embed",
        "search",
        "gen_ai.operation.name",
        "retrieval",
        "chat",
        "embeddings",
        "gen_ai.retrieval.documents",
        "starter-rewriter@1",
        "starter-embedder@1",
        "http.response.status_code",
        "service.name",
        chunk.as_str(),
    ] {
        assert!(holds(&sent, part.as_bytes()), "no {part}");
    }
    let spans = collector.spans(&unhex(TRACE_ID));
    let find = |wanted: &str| {
        let found = spans.iter().find(|(name, _, _)| name == wanted);
        found.unwrap_or_else(|| panic!("no span `{wanted}` of the caller's trace: {spans:?}"))
    };
    let (_, request, caller) = find("POST /v1/search");
    assert_eq!(*caller, unhex("00f067aa0ba902b7"));
    let (_, search, parent) = find("search");
    assert_eq!(parent, request);
    for stage in ["rewrite", "embed"] {
        assert_eq!(&find(stage).2, search, "{stage}: {spans:?}");
    }
    for secret in [CANARY, &key[3..]] {
        assert!(!holds(&sent, secret.as_bytes()), "{secret} is in the spans");
    }
    let headers = &collector.0.lock().unwrap()[0].0;
    assert_eq!(headers["x-scope"], "harbour");
}

// The collector runs while the test waits for the server to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_is_not_sampled_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let variables = [
        ("QUERENT__TELEMETRY__OTLP_ENDPOINT", endpoint.as_str()),
        ("QUERENT__TELEMETRY__SAMPLING_RATIO", "0"),
    ];
    let server = Server::start_with(dir.path(), &["--dev"], &variables).await;
    server.caller.get("/livez").await;
    assert!(server.terminate(Duration::from_secs(30)).is_some());
    assert!(collector.bytes().is_empty());
}

#[tokio::test]
async fn a_collector_that_is_dead_or_never_answers_stops_nothing() {
    // Connections are taken by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://me:{CANARY}@{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let dir = tempfile::tempdir().unwrap();
        let variables = [("QUERENT__TELEMETRY__OTLP_ENDPOINT", endpoint)];
        let server = Server::start_with(dir.path(), &["--dev"], &variables).await;
        for _ in 0..600 {
            assert_eq!(server.caller.get("/livez").await.status, 200);
        }
        assert!(!server.log().contains(CANARY), "{}", server.log());
        let status = server.terminate(Duration::from_secs(30));
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

#[tokio::test]
async fn settings_of_traces_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    for (variable, value, named) in [
        ("QUERENT__TELEMETRY__OTLP_ENDPOINT", "localhost:4317", "otlp_endpoint"),
        ("QUERENT__TELEMETRY__SAMPLING_RATIO", "1.5", "sampling_ratio"),
    ] {
        let output = support::querent(dir.path()).arg("serve").env(variable, value).output();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(named), "{error}");
    }
}
