//! A tenant sees only itself: thousands of random calls of five tenants who use the same names for
//! everything and each have a secret word, in documents, queries, conversations, glossaries, keys
//! and errors. No answer ever has another's word in it.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use support::{Caller, Server, create_key};

const SEED: u64 = 20_261_124;
const N_CALLS: usize = 10_000;
/// Words that are no part of one another nor of anything else.
const CANARIES: [&str; 5] =
    ["zitronenfalter", "quastenflosser", "海豚暗号", "黄莺密语", "wolpertinger"];
const COLLECTIONS: [&str; 2] = ["docs", "notes"];
const SCOPES: &str = "query,corpus.read,corpus.write,keys.manage";
/// Neutral queries, which every tenant asks in the same words.
const QUERIES: [&str; 5] = [
    "那有啥好吃的",
    "怎么关闭它？",
    "暗号是什么",
    "How do I turn it off?",
    "the password of the harbour",
];

struct Tenant {
    caller: Caller,
    /// The one it calls with, which it does not revoke; the others try.
    key_id: String,
    canary: &'static str,
}

/// Ids that anybody may have got hold of.
#[derive(Default)]
struct Known {
    tasks: Vec<String>,
    keys: Vec<String>,
}

fn pick<'a, T: ?Sized>(rng: &mut StdRng, items: &[&'a T]) -> &'a T {
    items.choose(rng).unwrap()
}

/// A conversation with the tenant's word in it.
fn messages(canary: &str) -> Value {
    json!([
        {"role": "user", "content": format!("{canary}有什么好玩的呢")},
        {"role": "assistant", "content": format!("有{canary}古城、lead scoring 和 {canary}。")}
    ])
}

fn question(rng: &mut StdRng, canary: &str) -> Value {
    let query = match rng.random_range(0..3) {
        0 => format!("{canary} {}", pick(rng, &QUERIES)),
        _ => pick(rng, &QUERIES).to_owned(),
    };
    let mut body = json!({"query": query, "mode": pick(rng, &["auto", "never"])});
    if rng.random_bool(0.5) {
        body["messages"] = messages(canary);
    }
    if rng.random_bool(0.3) {
        body["context"] = json!({"facts": {"product": canary}});
    }
    body
}

fn documents(rng: &mut StdRng, canary: &str) -> Value {
    let id = format!("doc-{}", rng.random_range(0..4));
    let text = format!("暗号是{canary}。The password of the harbour is {canary}, turn it off.");
    match rng.random_range(0..4) {
        0 => json!([{"id": canary, "content_base64": "/////w==", "media_type": "text/plain"}]),
        1 => json!([{"text": text, "title": canary, "uri": format!("https://{canary}.example")}]),
        _ => json!([{"id": id, "text": text, "metadata": {"owner": canary, "lang": "zh"}}]),
    }
}

fn glossary(canary: &str) -> Value {
    let senses = json!([
        {"id": "a", "label": format!("{canary}甲"), "definition": format!("{canary}的一种")},
        {"id": "b", "label": "乙", "definition": "另一种"}
    ]);
    json!({"terms": [{"id": "t", "term": "暗号", "aliases": [canary], "senses": senses}]})
}

/// One call at random.
fn call(rng: &mut StdRng, tenant: &Tenant, known: &Known) -> RequestBuilder {
    let (caller, canary) = (&tenant.caller, tenant.canary);
    let collection = format!("/v1/collections/{}", pick(rng, &COLLECTIONS));
    let some = |rng: &mut StdRng, ids: &[String]| {
        ids.choose(rng).cloned().unwrap_or_else(|| "none".to_owned())
    };
    let document = |rng: &mut StdRng| match rng.random_range(0..5) {
        0 => canary.to_owned(),
        n => format!("doc-{}", n - 1),
    };
    match rng.random_range(0..100) {
        0..4 => caller.request(Method::PUT, &collection).json(&json!({"description": canary})),
        4..16 => {
            let body = json!({"documents": documents(rng, canary)});
            let request = caller.request(Method::POST, &format!("{collection}/documents"));
            let key = format!("k{}", rng.random_range(0..40));
            match rng.random_bool(0.5) {
                true => request.header("idempotency-key", key).json(&body),
                false => request.json(&body),
            }
        }
        16..22 => {
            caller.request(Method::PUT, &format!("{collection}/glossary")).json(&glossary(canary))
        }
        22..26 => caller.request(Method::GET, &format!("{collection}/glossary")),
        26..30 => caller.request(Method::GET, &collection),
        30..33 => caller.request(Method::GET, "/v1/collections"),
        33..38 => caller.request(Method::GET, &format!("{collection}/documents")),
        38..43 => {
            let path = format!("{collection}/documents/{}", document(rng));
            caller.request(Method::GET, &path)
        }
        43..45 => {
            let path = format!("{collection}/documents/{}", document(rng));
            caller.request(Method::DELETE, &path)
        }
        45..50 => caller.request(Method::GET, &format!("/v1/tasks/{}", some(rng, &known.tasks))),
        50..68 => {
            let mut body = question(rng, canary);
            if rng.random_bool(0.7) {
                body["collection"] = json!(pick(rng, &COLLECTIONS));
            }
            caller.request(Method::POST, "/v1/rewrite").json(&body)
        }
        68..88 => {
            let mut body = question(rng, canary);
            body["collection"] = json!(pick(rng, &COLLECTIONS));
            body["include_context"] = json!(rng.random_bool(0.5));
            if rng.random_bool(0.2) {
                body["filter"] = json!({"must": [{"key": "lang", "match": {"value": "zh"}}]});
            }
            caller.request(Method::POST, "/v1/search").json(&body)
        }
        88..90 => {
            let body = json!({"scopes": ["query"], "name": canary});
            let key = format!("k{}", rng.random_range(0..5));
            caller.request(Method::POST, "/admin/keys").header("idempotency-key", key).json(&body)
        }
        90..93 => caller.request(Method::GET, "/admin/keys?limit=100"),
        93..95 => {
            let id = some(rng, &known.keys);
            let method = if id == tenant.key_id { Method::GET } else { Method::DELETE };
            caller.request(method, &format!("/admin/keys/{id}"))
        }
        95..97 => caller.request(Method::GET, "/admin/audit?limit=100"),
        97..98 => caller.request(Method::DELETE, &collection),
        98..99 => caller.request(Method::GET, &format!("/v1/{canary}")),
        _ => {
            let odd = format!("{{\"{canary}\": ");
            let request = caller.request(Method::POST, "/v1/rewrite");
            request.header(CONTENT_TYPE, "application/json").body(odd)
        }
    }
}

impl Known {
    /// Remembers the ids of an answer.
    fn learn(&mut self, answer: &Value) {
        match answer {
            Value::Object(fields) => fields.values().for_each(|value| self.learn(value)),
            Value::Array(items) => items.iter().for_each(|value| self.learn(value)),
            Value::String(text) if text.starts_with("ts_") => self.tasks.push(text.clone()),
            Value::String(text) if text.starts_with("key_") => self.keys.push(text.clone()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_answer_has_another_tenants_word() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[], &[("QUERENT_LOG", "debug")]).await;
    let mut tenants = Vec::new();
    for (n, canary) in CANARIES.into_iter().enumerate() {
        let caller = server.with_key(&create_key(dir.path(), &format!("tenant-{n}"), SCOPES, None));
        caller.make("docs").await;
        let text = json!([{"id": "doc-0", "text": format!("暗号是{canary}。")}]);
        caller.ingest("docs", text).await;
        let keys = caller.get("/admin/keys").await.body;
        let key_id = keys["data"][0]["id"].as_str().unwrap().to_owned();
        tenants.push(Tenant { caller, key_id, canary });
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut known = Known::default();
    let mut n_own: BTreeMap<&str, usize> = BTreeMap::new();
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    let mut routes_with_own: BTreeSet<String> = BTreeSet::new();
    let (mut n_cache_hits, mut n_replayed) = (0, 0);
    for n in 0..N_CALLS {
        let tenant = tenants.choose(&mut rng).unwrap();
        let request = call(&mut rng, tenant, &known);
        let shown = format!("{request:?}");
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
        let path = response.url().path().to_owned();
        let text = response.text().await.unwrap();
        for canary in CANARIES.iter().filter(|canary| **canary != tenant.canary) {
            let leaks = text.contains(canary) || headers.contains(canary);
            assert!(!leaks, "call {n}, {}: {shown}: {status} {headers} {text}", tenant.canary);
        }
        assert!(status < 500, "call {n}: {shown}: {text}");
        *statuses.entry(status).or_default() += 1;
        n_cache_hits += usize::from(text.contains("\"cache\":\"hit\""));
        n_replayed += usize::from(headers.contains("idempotent-replayed"));
        if text.contains(tenant.canary) {
            *n_own.entry(tenant.canary).or_default() += 1;
            routes_with_own.insert(path.split('/').take(3).collect::<Vec<_>>().join("/"));
        }
        known.learn(&serde_json::from_str(&text).unwrap_or_default());
    }
    // That the test would see a leak: words came back, from every kind of place.
    assert!(n_own.len() == 5 && n_own.values().all(|n| *n > 50), "{n_own:?}");
    for place in ["/v1/collections", "/v1/rewrite", "/v1/search", "/v1/tasks", "/admin/keys"] {
        assert!(routes_with_own.contains(place), "{routes_with_own:?}");
    }
    assert!(n_cache_hits > 20 && n_replayed > 20, "{n_cache_hits} hits, {n_replayed} replayed");
    assert!(statuses[&200] > N_CALLS / 2 && statuses[&404] > 20, "{statuses:?}");
    assert!(known.tasks.len() > 50 && !known.keys.is_empty(), "few ids were there to be tried");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = server.log();
    assert!(CANARIES.iter().all(|canary| !log.contains(canary)), "a word is in the log");
}
