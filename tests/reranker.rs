//! A reranker with weights: its scores against transformers', and what a server does with it
//! (fixtures and pins: `tests/parity/README.md`).

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::PathBuf;

use querent::model::{ModelFolder, Reranker};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{DataDir, Server};

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    query: String,
    passages: Vec<String>,
    /// The probability of "yes" after each passage.
    scores: Vec<f32>,
}

impl Case {
    /// The passages' numbers, best first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|left, right| self.scores[*right].total_cmp(&self.scores[*left]));
        order
    }
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures")
}

fn cases() -> Vec<Case> {
    let reference = std::fs::read(fixtures().join("reranker_reference.json")).unwrap();
    serde_json::from_slice::<Reference>(&reference).unwrap().cases
}

async fn server(dir: &DataDir) -> Server {
    let model = fixtures().join("reranker-tiny").display().to_string();
    let settings = [("QUERENT__RERANKER__MODEL", &*model), ("QUERENT__RERANKER__CANDIDATES", "4")];
    Server::start_with(dir.path(), &["--dev"], &settings).await
}

fn close(found: &Value, expected: f32) -> bool {
    (found.as_f64().unwrap() as f32 - expected).abs() < TOLERANCE
}

#[tokio::test]
async fn scores_equal_those_of_transformers() {
    let folder = ModelFolder::open(&fixtures().join("reranker-tiny")).unwrap();
    let reranker = Reranker::start(&folder).unwrap();
    for case in cases() {
        let scores = reranker.score(case.query.clone(), case.passages.clone()).await.unwrap();
        let gaps =
            scores.iter().zip(&case.scores).map(|(found, expected)| (found - expected).abs());
        let gap = gaps.fold(0.0, f32::max);
        assert!(scores.len() == case.scores.len() && gap < TOLERANCE, "{scores:?}: off by {gap}");
        let alone = reranker.score(case.query, case.passages[..1].to_vec()).await.unwrap();
        assert!((alone[0] - case.scores[0]).abs() < TOLERANCE, "{alone:?}");
    }
    assert!(reranker.score("query".to_owned(), Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_search_is_put_in_the_order_of_the_reranker() {
    let dir = DataDir::new();
    let server = server(&dir).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let case = &cases()[0];
    let document = |(n, text)| json!({"id": format!("d{n}"), "text": text});
    let documents: Vec<Value> = case.passages.iter().enumerate().map(document).collect();
    caller.ingest("docs", json!(documents)).await;
    let mut body = json!({"query": case.query, "collection": "docs", "mode": "never", "top_k": 4});
    for wanted in [true, false] {
        body["rerank"] = json!(wanted);
        let found = caller.post("/v1/search", &body).await.body;
        let results = found["results"].as_array().unwrap();
        assert_eq!(found["degraded"], json!([]), "{found}");
        let is_reranked = |result: &Value| {
            let lists = result["matched_by"].as_array().unwrap();
            lists.iter().any(|list| list["leg"] == "rerank")
        };
        if !wanted {
            assert!(!results.iter().any(is_reranked), "{found}");
            continue;
        }
        // Dense retrieval finds every document of so few, so each has its score.
        assert_eq!(results.len(), 4, "{found}");
        for (rank, (n, result)) in case.order().into_iter().zip(results).enumerate() {
            assert_eq!(result["document_id"], format!("d{n}"), "{found}");
            assert!(is_reranked(result) && close(&result["score"], case.scores[n]), "{result}");
            assert_eq!(result["matched_by"].as_array().unwrap().last().unwrap()["rank"], rank + 1);
        }
        assert!(found["timings_ms"]["rerank"].as_f64().unwrap() > 0.0, "{found}");
    }
}

#[tokio::test]
async fn the_drop_in_routes_give_its_scores() {
    let dir = DataDir::new();
    let server = server(&dir).await;
    for case in cases() {
        let body = json!({"model": "champion", "query": case.query, "documents": case.passages});
        for path in ["/v1/rerank", "/v2/rerank"] {
            let answer = server.caller.post(path, &body).await;
            let results = answer.body["results"].as_array().unwrap();
            assert_eq!(results.len(), case.order().len(), "{answer:?}");
            for (n, result) in case.order().into_iter().zip(results) {
                assert_eq!(result["index"], n, "{answer:?}");
                assert!(close(&result["relevance_score"], case.scores[n]), "{result}");
            }
        }
    }
    let models = server.caller.get("/v1/models").await.body;
    assert!(models.to_string().contains("reranker-tiny"), "{models}");
}
