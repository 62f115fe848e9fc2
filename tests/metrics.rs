//! The metrics as Prometheus reads them, from a real server: what moves them, who may read them,
//! and what must never be among them or in the log.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;

use querent::telemetry::metrics::{Invariant, names};
use serde_json::json;
use support::{Server, create_key};

/// Words that only a test would use; each is sent in another place.
const QUERY_CANARY: &str = "zinnobergrün";
const DOCUMENT_CANARY: &str = "quittengelee";
const NAME_CANARY: &str = "brombeerhag";
const TENANT_CANARY: &str = "lindenblatt";

/// A server with metrics, and where they are.
struct Measured {
    server: Server,
    url: String,
}

impl Measured {
    async fn start(dir: &std::path::Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        // Free now; that another program takes it at this very moment is not likely.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        let mut variables = variables.to_vec();
        variables.push(("QUERENT__METRICS__PORT", &port));
        let server = Server::start_with(dir, flags, &variables).await;
        Self { server, url: format!("http://127.0.0.1:{port}/metrics") }
    }

    async fn read(&self) -> String {
        let (status, text) = get(&self.url, None).await;
        assert_eq!(status, 200, "{text}");
        text
    }
}

async fn get(url: &str, key: Option<&str>) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(url);
    let request = match key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Samples by name and labels, as they stand in the text.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

/// What a sample has; 0 when it is not there.
fn sample(text: &str, name: &str) -> f64 {
    samples(text).get(name).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_rewrite_and_a_search_move_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let measured = Measured::start(dir.path(), &["--dev"], &[]).await;
    let caller = &measured.server.caller;
    caller.make("docs").await;
    caller.ingest("docs", json!([{"id": "a", "text": "# 开原\n\n开原有咸州古城。"}])).await;
    let before = measured.read().await;
    let rewrite = json!({
        "query": "那有啥好吃的", "max_rewrite_ms": 30_000,
        "messages": [{"role": "user", "content": "开原有什么好玩的呢"},
                     {"role": "assistant", "content": "有咸州古城、象牙山风景区"}]});
    assert_eq!(caller.post("/v1/rewrite", &rewrite).await.body["cache"], "miss");
    assert_eq!(caller.post("/v1/rewrite", &rewrite).await.body["cache"], "hit");
    let search = json!({"query": "开原有什么好玩的", "collection": "docs", "top_k": 3});
    assert_eq!(caller.post("/v1/search", &search).await.status, 200);
    assert_eq!(caller.get("/nowhere/brombeerhag").await.status, 404);
    let after = measured.read().await;
    for (name, more) in [
        (r#"querent_http_requests_total{method="POST",route="/v1/rewrite",status="200"}"#, 2.0),
        (r#"querent_http_requests_total{method="GET",route="unknown",status="404"}"#, 1.0),
        (r#"querent_http_request_duration_seconds_count{method="POST",route="/v1/search"}"#, 1.0),
        (r#"querent_stage_duration_seconds_count{stage="rewrite"}"#, 3.0),
        (r#"querent_stage_duration_seconds_count{stage="gate"}"#, 2.0),
        (r#"querent_stage_duration_seconds_count{stage="generate"}"#, 1.0),
        (r#"querent_stage_duration_seconds_count{stage="search"}"#, 1.0),
        (r#"querent_stage_duration_seconds_count{stage="embed"}"#, 1.0),
        (r#"querent_cache_requests_total{cache="rewrite",result="hit"}"#, 1.0),
        (r#"querent_cache_requests_total{cache="rewrite",result="miss"}"#, 2.0),
    ] {
        assert_eq!(sample(&after, name) - sample(&before, name), more, "{name}\n{after}");
    }
    for moved in [
        r#"querent_stage_duration_seconds_count{stage="parse"}"#,
        r#"querent_stage_duration_seconds_count{stage="index"}"#,
        r#"querent_tokens_total{model="starter-rewriter@1",direction="input"}"#,
        "querent_batch_tokens_count",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(sample(&after, moved) > 0.0, "{moved}\n{after}");
    }
    let at_rest = r#"querent_queue_depth{queue="generate"}"#;
    assert!(after.contains(at_rest) && sample(&after, at_rest) == 0.0, "{after}");
    for broken in Invariant::ALL {
        let name = format!("querent_invariant_violations_total{{name=\"{}\"}}", broken.as_str());
        assert!(after.contains(&format!("{name} 0\n")), "{name}\n{after}");
    }
    // Only trouble brings these forth, or a GPU.
    let rare = [
        "querent_requests_shed_total",
        "querent_rewrite_fallback_total",
        "querent_gpu_memory_bytes",
    ];
    for name in names().filter(|name| !rare.contains(name)) {
        assert!(after.contains(&format!("# TYPE {name} ")), "{name}\n{after}");
        assert!(after.contains(&format!("# HELP {name} ")), "{name}\n{after}");
    }
    let foreign: Vec<&str> = samples(&after)
        .into_keys()
        .map(|sample| sample.split('{').next().unwrap())
        .filter(|name| {
            let ends = ["", "_bucket", "_sum", "_count"];
            !names().any(|known| ends.iter().any(|end| *name == format!("{known}{end}")))
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test]
async fn beyond_this_machine_a_key_with_the_scope_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let everywhere = [("QUERENT__METRICS__HOST", "0.0.0.0")];
    let measured = Measured::start(dir.path(), &[], &everywhere).await;
    let asker = create_key(dir.path(), "harbour", "query", None);
    let scraper = create_key(dir.path(), "harbour", "metrics", None);
    for (key, status) in
        [(None, 401), (Some("qk_nothing"), 401), (Some(&*asker), 403), (Some(&*scraper), 200)]
    {
        assert_eq!(get(&measured.url, key).await.0, status);
    }
    // Nothing else is served there.
    let elsewhere = measured.url.replace("/metrics", "/v1/collections");
    assert_eq!(get(&elsewhere, Some(&scraper)).await.0, 404);
    // And on the other listener there are no metrics.
    assert_eq!(measured.server.with_key(&scraper).get("/metrics").await.status, 404);
}

#[tokio::test]
async fn metrics_are_off_unless_a_port_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    assert_eq!(server.caller.get("/metrics").await.status, 404);
    assert!(!server.log().contains("metrics"), "{}", server.log());
}

#[tokio::test]
async fn nothing_that_somebody_wrote_is_logged_or_counted() {
    let scopes = "query,corpus.read,corpus.write";
    for flags in [&["--log-json"][..], &[]] {
        for level in ["info", "debug"] {
            let dir = tempfile::tempdir().unwrap();
            let variables = [("QUERENT_LOG", level)];
            let measured = Measured::start(dir.path(), flags, &variables).await;
            let key = create_key(dir.path(), TENANT_CANARY, scopes, None);
            let caller = measured.server.with_key(&key);
            caller.make(NAME_CANARY).await;
            let text = format!("# {DOCUMENT_CANARY}\n\nMit {DOCUMENT_CANARY} gefüllt.");
            let documents = json!([
                {"id": "a", "text": text, "metadata": {"kind": DOCUMENT_CANARY}},
                {"id": "b", "content_base64": "AA==", "media_type": "application/octet-stream"}]);
            let path = format!("/v1/collections/{NAME_CANARY}/documents");
            let accepted = caller.post(&path, &json!({ "documents": documents })).await;
            if let Some(task) = accepted.body["task"].as_str() {
                caller.wait_for(task).await;
            }
            let search = json!({
                "query": format!("what about {QUERY_CANARY}?"), "collection": NAME_CANARY,
                "messages": [{"role": "user", "content": format!("{QUERY_CANARY} is what?")}],
                "context": {"facts": {"product": QUERY_CANARY}}});
            assert_eq!(caller.post("/v1/search", &search).await.status, 200);
            let wrong = json!({"query": QUERY_CANARY, "top_k": QUERY_CANARY});
            assert_eq!(caller.post("/v1/search", &wrong).await.status, 422);
            let odd = format!("/v1/{NAME_CANARY}?q={QUERY_CANARY}");
            assert_eq!(caller.get(&odd).await.status, 404);
            let (log, metrics) = (measured.server.log(), measured.read().await);
            assert!(log.contains("answered a request"), "{log}");
            for secret in [QUERY_CANARY, DOCUMENT_CANARY, NAME_CANARY, TENANT_CANARY, &key[3..]] {
                assert!(!metrics.contains(secret), "{secret} is among the metrics\n{metrics}");
                let of_debug = level == "debug" && [NAME_CANARY, TENANT_CANARY].contains(&secret);
                assert!(of_debug || !log.contains(secret), "{level}: {secret} is logged\n{log}");
            }
        }
    }
}
