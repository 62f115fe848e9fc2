//! The drop-in routes over HTTP, against the real program: vectors and scores in the shapes that
//! OpenAI, Jina, Cohere and TEI define. `tests/clients` asks the same with their own clients.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::{Answer, Caller, Server, create_key};

const TEXTS: [&str; 3] = ["客户画像可以导出为表格", "Leads are assigned by region.", "星期五"];

async fn ok(caller: &Caller, path: &str, body: Value) -> Value {
    let answer = caller.post(path, &body).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

async fn embeddings(caller: &Caller, body: Value) -> Vec<Vec<f64>> {
    let answer = ok(caller, "/v1/embeddings", body).await;
    assert_eq!(answer["object"], "list");
    let objects = answer["data"].as_array().unwrap().iter().enumerate();
    let vector = |(index, object): (usize, &Value)| {
        assert_eq!((&object["object"], &object["index"]), (&json!("embedding"), &json!(index)));
        serde_json::from_value(object["embedding"].clone()).unwrap()
    };
    objects.map(vector).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    product / (length(a) * length(b))
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|number| number * number).sum::<f64>().sqrt()
}

/// The (index, score) pairs of a ranking, which must fall.
fn ranking(results: &Value, score: &str) -> Vec<(u64, f64)> {
    let results = results.as_array().unwrap();
    let pair =
        |result: &Value| (result["index"].as_u64().unwrap(), result[score].as_f64().unwrap());
    let pairs: Vec<(u64, f64)> = results.iter().map(pair).collect();
    assert!(pairs.is_sorted_by(|a, b| a.1 >= b.1), "{pairs:?}");
    pairs
}

#[tokio::test]
async fn embeddings_are_those_of_openai() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    let whole = ok(caller, "/v1/embeddings", json!({"input": TEXTS, "model": "champion"})).await;
    assert_eq!(whole["model"], "starter-embedder@1");
    let usage = &whole["usage"];
    assert_eq!(usage["prompt_tokens"], usage["total_tokens"]);
    let n_tokens = usage["total_tokens"].as_u64().unwrap();
    assert!((10..60).contains(&n_tokens), "{usage}");
    let vectors = embeddings(caller, json!({"input": TEXTS})).await;
    let dimension = vectors[0].len();
    for (text, vector) in TEXTS.iter().zip(&vectors) {
        assert!((length(vector) - 1.0).abs() < 1e-5);
        let alone = embeddings(caller, json!({"input": text})).await;
        assert!(cosine(vector, &alone[0]) > 0.99999, "{text}");
    }
    let short = embeddings(caller, json!({"input": TEXTS, "dimensions": 32})).await;
    for (short, whole) in short.iter().zip(&vectors) {
        assert!((length(short) - 1.0).abs() < 1e-5 && short.len() == 32);
        assert!(cosine(short, &whole[..32]) > 0.99999);
    }
    let packed = ok(
        caller,
        "/v1/embeddings",
        json!({"input": TEXTS, "encoding_format": "base64", "user": "u"}),
    )
    .await;
    for (object, vector) in packed["data"].as_array().unwrap().iter().zip(&vectors) {
        let bytes = STANDARD.decode(object["embedding"].as_str().unwrap()).unwrap();
        let (floats, rest) = bytes.as_chunks::<4>();
        let floats: Vec<f64> =
            floats.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect();
        assert!(rest.is_empty() && floats.len() == dimension && cosine(&floats, vector) > 0.99999);
    }
    let query = json!({"input": TEXTS[0], "input_type": "query"});
    let asked = ok(caller, "/v1/embeddings", query.clone()).await;
    let document = ok(caller, "/v1/embeddings", json!({"input": TEXTS[0]})).await;
    assert!(asked["usage"]["total_tokens"].as_u64() > document["usage"]["total_tokens"].as_u64());
    assert!(cosine(&embeddings(caller, query).await[0], &vectors[0]) < 0.9999, "no instruction");
}

#[tokio::test]
async fn many_texts_are_embedded_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let texts: Vec<String> = (0..2_048).map(|n| format!("第{}条", n % 7)).collect();
    for input_type in ["document", "query"] {
        let body = json!({"input": texts, "input_type": input_type, "dimensions": 8});
        let vectors = embeddings(&server.caller, body).await;
        assert_eq!(vectors.len(), 2_048);
        for (index, vector) in vectors.iter().enumerate().skip(7) {
            let same = cosine(vector, &vectors[index % 7]);
            assert!(same > 0.9999, "{index}: {same}");
        }
        assert!(cosine(&vectors[0], &vectors[1]) < 0.9999);
    }
}

#[tokio::test]
async fn refusals_of_openai_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let long = "客户画像".repeat(2_000);
    for (body, status, code, param) in [
        (json!({}), 400, "invalid_request", json!("input")),
        (json!({"input": ""}), 400, "empty_input", json!("input")),
        (json!({"input": []}), 400, "empty_input", json!("input")),
        (json!({"input": vec!["a"; 2_049]}), 400, "too_many_inputs", json!("input")),
        (json!({"input": [[1, 2]]}), 400, "token_input", json!("input")),
        (json!({"input": ["a", 1.5]}), 400, "token_input", json!("input")),
        (json!({"input": ["a", true]}), 400, "invalid_request", json!("input[1]")),
        (json!({"input": long}), 400, "input_too_long", json!("input")),
        (json!({"input": "a", "dimensions": 0}), 400, "invalid_request", json!("dimensions")),
        (
            json!({"input": "a", "dimensions": 9_999}),
            400,
            "invalid_dimensions",
            json!("dimensions"),
        ),
        (
            json!({"input": "a", "encoding_format": "hex"}),
            400,
            "invalid_request",
            json!("encoding_format"),
        ),
        (json!({"input": "a", "input_tyqe": "query"}), 400, "invalid_request", json!("input_tyqe")),
        (
            json!({"input": "a", "model": "text-embedding-3-small"}),
            404,
            "model_not_found",
            json!("model"),
        ),
    ] {
        let answer = server.caller.post("/v1/embeddings", &body).await;
        let error = &answer.body["error"];
        assert_eq!(
            (answer.status, &error["code"], &error["param"]),
            (status, &json!(code), &param)
        );
        assert_eq!(error["type"], "invalid_request_error", "{answer:?}");
        assert!(answer.detail().len() < 1_000, "the refusal repeats what was sent");
    }
    let cut = embeddings(&server.caller, json!({"input": [long, "a"], "truncate": true})).await;
    assert_eq!(cut.len(), 2);
}

#[tokio::test]
async fn models_are_listed_and_found_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let list = server.caller.get("/v1/models").await.body;
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        (&list["object"], ids),
        (&json!("list"), vec!["starter-rewriter@1", "starter-embedder@1"])
    );
    for name in ["starter-embedder@1", "starter-embedder", "champion"] {
        let model = server.caller.get(&format!("/v1/models/{name}")).await.body;
        assert_eq!(
            (&model["id"], &model["object"]),
            (&json!("starter-embedder@1"), &json!("model"))
        );
        assert!(model["created"].as_i64().unwrap() > 1_700_000_000, "{model}");
        assert!(model["owned_by"].is_string());
    }
    let unknown = server.caller.get("/v1/models/gpt-4").await;
    assert_eq!((unknown.status, &unknown.body["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn all_rankings_agree() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    let query = "怎么导出客户画像";
    let mut documents = TEXTS.to_vec();
    documents.push(" ");
    let jina = ok(caller, "/v1/rerank", json!({"query": query, "documents": documents})).await;
    let expected = ranking(&jina["results"], "relevance_score");
    assert_eq!((expected.len(), expected[0].0, expected[3]), (4, 0, (3, 0.0)), "{jina}");
    assert!(expected.iter().all(|(_, score)| (0.0..=1.0).contains(score)));
    assert_eq!(jina["results"][0]["document"], json!({"text": TEXTS[0]}));
    assert_eq!(jina["model"], "starter-embedder@1");
    assert!(jina["usage"]["total_tokens"].as_u64().unwrap() > 20, "{jina}");
    let objects: Vec<Value> = documents.iter().map(|text| json!({"text": text})).collect();
    let best = ok(
        caller,
        "/v1/rerank",
        json!({"model": "champion", "query": query,
        "documents": objects, "top_n": 2, "return_documents": false}),
    )
    .await;
    assert_eq!(ranking(&best["results"], "relevance_score"), expected[..2]);
    assert!(best["results"][0].get("document").is_none(), "{best}");

    let cohere = ok(
        caller,
        "/v2/rerank",
        json!({"model": "starter-embedder", "query": query,
        "documents": documents, "max_tokens_per_doc": 4096}),
    )
    .await;
    assert_eq!(ranking(&cohere["results"], "relevance_score"), expected);
    assert_eq!(cohere["meta"]["api_version"]["version"], "2");
    assert_eq!(cohere["meta"]["billed_units"]["search_units"], 1);
    assert!(cohere["id"].is_string());
    let cut = ok(
        caller,
        "/v2/rerank",
        json!({"query": query, "documents": documents,
        "max_tokens_per_doc": 1}),
    )
    .await;
    assert_ne!(ranking(&cut["results"], "relevance_score"), expected, "nothing was cut");

    let tei = ok(caller, "/rerank", json!({"query": query, "texts": documents})).await;
    assert_eq!(ranking(&tei, "score"), expected);
    let raw = ok(
        caller,
        "/rerank",
        json!({"query": query, "texts": documents, "raw_scores": true,
        "return_text": true}),
    )
    .await;
    assert_eq!(raw[0]["text"], TEXTS[0]);
    for ((_, raw), (_, score)) in ranking(&raw, "score").iter().zip(&expected) {
        assert!((f64::midpoint(*raw, 1.0) - score).abs() < 1e-6, "{raw} {score}");
    }
}

#[tokio::test]
async fn odd_rankings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let refused =
        async |path: &str, body: Value| -> Answer { server.caller.post(path, &body).await };
    for (path, texts, status) in [
        ("/v1/rerank", "documents", 422),
        ("/v2/rerank", "documents", 400),
        ("/rerank", "texts", 422),
    ] {
        for body in [
            json!({"query": "", texts: ["a"]}),
            json!({"query": "a", texts: []}),
            json!({"query": "a", texts: vec!["a"; 1_001]}),
            json!({"query": "a", texts: [5]}),
            json!({"query": "a"}),
        ] {
            assert_eq!(refused(path, body.clone()).await.status, status, "{path} {body}");
        }
    }
    for (path, status) in [("/v1/rerank", 422), ("/v2/rerank", 400)] {
        let body = json!({"query": "a", "documents": ["a"], "top_n": 0});
        assert_eq!(refused(path, body).await.status, status);
        let body = json!({"query": "a", "documents": ["a"], "model": "rerank-v3.5"});
        assert_eq!(refused(path, body).await.status, 404);
    }
    let spans = json!({"query": "a", "documents": ["a"], "relevant_spans": {"mode": "enabled"}});
    assert_eq!(refused("/v2/rerank", spans).await.status, 400);
    let long = json!({"query": "a", "texts": ["b", "客户画像".repeat(2_000)], "truncate": false});
    let answer = refused("/rerank", long).await;
    assert_eq!((answer.status, &answer.body["error_type"]), (413, &json!("Validation")));
}

#[tokio::test]
async fn embed_and_info_are_those_of_tei() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    let vectors = embeddings(caller, json!({"input": TEXTS})).await;
    let embed = async |body: Value| -> Vec<Vec<f64>> {
        serde_json::from_value(ok(caller, "/embed", body).await).unwrap()
    };
    assert_eq!(embed(json!({"inputs": TEXTS})).await, vectors);
    let raw = embed(json!({"inputs": TEXTS, "normalize": false})).await;
    for (raw, vector) in raw.iter().zip(&vectors) {
        assert!(
            cosine(raw, vector) > 0.9999 && (length(raw) - 1.0).abs() > 0.01,
            "{}",
            length(raw)
        );
    }
    let query = embed(json!({"inputs": TEXTS[0], "prompt_name": "query", "dimensions": 16})).await;
    assert!(query.len() == 1 && query[0].len() == 16);
    let long = "客户画像".repeat(2_000);
    assert_eq!(embed(json!({"inputs": long})).await.len(), 1);
    for (body, status, error_type) in [
        (json!({"inputs": long, "truncate": false}), 413, "Validation"),
        (json!({"inputs": vec!["a"; 2_049]}), 413, "Validation"),
        (json!({"inputs": ""}), 400, "Empty"),
        (json!({"inputs": ["a", 1]}), 422, "Validation"),
        (json!({"inputs": "a", "prompt_name": "none"}), 422, "Validation"),
        (json!({"inputs": "a", "truncation_direction": "Left"}), 422, "Validation"),
    ] {
        let answer = caller.post("/embed", &body).await;
        assert_eq!((answer.status, &answer.body["error_type"]), (status, &json!(error_type)));
    }
    let info = caller.get("/info").await.body;
    assert_eq!(info["model_id"], "starter-embedder@1");
    assert_eq!(info["model_type"], json!({"embedding": {"pooling": "last_token"}}));
    assert_eq!(info["max_input_length"], 256);
    assert_eq!(info["rerank"]["scores"], "embedder_cosine", "no reranker is configured");
    for name in [
        "max_concurrent_requests",
        "max_batch_tokens",
        "max_client_batch_size",
        "tokenization_workers",
    ] {
        assert!(info[name].as_u64().unwrap() > 0, "{name}: {info}");
    }
}

#[tokio::test]
async fn layers_refuse_in_the_shape_of_the_route() {
    let dir = tempfile::tempdir().unwrap();
    let limit = [("QUERENT__HTTP__MAX_BODY_BYTES", "1000")];
    let server = Server::start_with(dir.path(), &[], &limit).await;
    let reader = server.with_key(&create_key(dir.path(), "harbour", "corpus.read", None));
    let embedder = server.with_key(&create_key(dir.path(), "harbour", "embed", None));
    let body = json!({"input": "a", "inputs": "a"});
    let long = json!({"input": "a".repeat(2_000)});
    // `post` itself checks the shape of each refusal.
    for path in ["/v1/embeddings", "/v2/rerank", "/rerank", "/embed", "/v1/rerank"] {
        assert_eq!(server.caller.post(path, &body).await.status, 401, "{path}");
        assert_eq!(reader.post(path, &body).await.status, 403, "{path}");
        assert_eq!(embedder.get(path).await.status, 405, "{path}");
        assert_eq!(embedder.post(path, &long).await.status, 413, "{path}");
        assert_eq!(embedder.get(&format!("{path}/more")).await.status, 404, "{path}");
    }
    let refused = server.caller.get("/v1/models").await;
    assert_eq!(refused.body["error"]["code"], "invalid_api_key");
    assert_eq!(reader.get("/v1/models").await.status, 200, "any key will do");
}
