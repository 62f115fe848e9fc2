//! Reranking in Jina's shape, `/v1/rerank`, and in Cohere's, `/v2/rerank`.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::Result;
use crate::http::checks::Checks;
use crate::http::document::DROP_IN;
use crate::http::extract::Json;
use crate::http::layers::Stages;
use crate::http::object;
use crate::http::problem::Answer;
use crate::http::query::Timed;
use crate::service::Services;
use crate::service::rerank::{Reranked, Scored, Wanted};
use crate::store::access::Scope;
use crate::store::new_id;

pub const MAX_QUERY_CHARS: usize = 8_000;
/// Texts of one request.
pub const MAX_TEXTS: usize = 1_000;
/// Cohere's default.
const MAX_TOKENS_PER_DOCUMENT: usize = 4_096;
/// Documents that Cohere bills as one search.
const SEARCH_UNIT_DOCUMENTS: usize = 100;

/// A query and documents to order by it, in Jina's shape. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "model": "champion",
    "query": "客户画像怎么导出",
    "documents": ["客户画像可以导出为表格。", {"text": "线索分配按区域进行。"}],
    "top_n": 1,
    "return_documents": true
}))]
pub struct JinaRerankRequest {
    /// The reranker's id (without one, the embedder's), its name without the version, or
    /// `champion`; the one in use when it is left out.
    model: Option<String>,
    #[schema(min_length = 1, max_length = 8000)]
    query: String,
    /// At most 1000. A blank one comes last, with score 0.
    #[schema(min_items = 1, max_items = 1000)]
    documents: Vec<JinaDocument>,
    /// Best ones wanted; all by default.
    #[schema(minimum = 1)]
    top_n: Option<i64>,
    /// Whether the documents are wanted back.
    #[schema(default = true)]
    return_documents: Option<bool>,
}

/// A document: its text, or an object with it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum JinaDocument {
    Text(String),
    Object { text: String },
}

/// Documents, best first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "model": "starter-embedder@1",
    "usage": {"prompt_tokens": 21, "total_tokens": 21},
    "results": [{"index": 0, "relevance_score": 0.92,
                 "document": {"text": "客户画像可以导出为表格。"}}]
}))]
pub struct JinaRerankResponse {
    /// `name@version`.
    model: String,
    usage: JinaUsage,
    results: Vec<JinaResult>,
}

/// Tokens of the documents, and of the query once for each.
#[derive(Debug, Serialize, ToSchema)]
pub struct JinaUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// One document's place.
#[derive(Debug, Serialize, ToSchema)]
pub struct JinaResult {
    /// Into the documents of the request.
    index: usize,
    /// 0 to 1.
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    document: Option<JinaText>,
}

/// A document given back.
#[derive(Debug, Serialize, ToSchema)]
pub struct JinaText {
    text: String,
}

/// A query and documents to order by it, in Cohere's shape. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "model": "champion",
    "query": "客户画像怎么导出",
    "documents": ["客户画像可以导出为表格。", "线索分配按区域进行。"],
    "top_n": 1
}))]
pub struct CohereRerankRequest {
    /// The reranker's id (without one, the embedder's), its name without the version, or
    /// `champion`; the one in use when it is left out.
    model: Option<String>,
    #[schema(min_length = 1, max_length = 8000)]
    query: String,
    /// At most 1000. A blank one comes last, with score 0.
    #[schema(min_items = 1, max_items = 1000)]
    documents: Vec<String>,
    /// Best ones wanted; all by default.
    #[schema(minimum = 1)]
    top_n: Option<i64>,
    /// What is behind in a longer document is cut off.
    #[schema(minimum = 1, default = 4096)]
    max_tokens_per_doc: Option<i64>,
    /// Taken as long as its mode is `disabled`: no spans are found here.
    #[serde(default, deserialize_with = "object::optional")]
    relevant_spans: Option<RelevantSpans>,
}

/// Whether the places that made a document relevant are wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RelevantSpans {
    #[expect(dead_code, reason = "there is one value, which is read and means nothing")]
    mode: RelevantSpansMode,
}

/// The one mode there is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelevantSpansMode {
    Disabled,
}

/// Documents, best first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "01997a3e-6b6a-7c0f-8e1d-2c3b4a596877",
    "results": [{"index": 0, "relevance_score": 0.92}],
    "meta": {"api_version": {"version": "2", "is_experimental": false},
             "billed_units": {"search_units": 1}}
}))]
pub struct CohereRerankResponse {
    id: String,
    results: Vec<CohereResult>,
    meta: CohereMeta,
}

/// One document's place.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereResult {
    /// Into the documents of the request.
    index: usize,
    /// 0 to 1.
    relevance_score: f32,
}

/// What Cohere says of every answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereMeta {
    api_version: CohereVersion,
    billed_units: CohereUnits,
}

/// The version of the shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereVersion {
    version: &'static str,
    is_experimental: bool,
}

/// As Cohere counts: a search for each hundred documents. Nothing is billed.
#[derive(Debug, Serialize, ToSchema)]
pub struct CohereUnits {
    search_units: usize,
}

/// Orders documents by a query, as Jina does.
///
/// The reranker gives the scores. Without one it is the cosine of the embedder's vectors, brought
/// to 0..1.
#[utoipa::path(
    post,
    path = "/v1/rerank",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    request_body = JinaRerankRequest,
    responses((status = 200, description = "The documents, best first", body = JinaRerankResponse))
)]
pub async fn rerank_documents(
    State(services): State<Arc<Services>>,
    Json(request): Json<JinaRerankRequest>,
) -> Answer<Timed<JinaRerankResponse>> {
    let texts: Vec<String> = request.documents.into_iter().map(JinaDocument::into_text).collect();
    let given = request.return_documents.unwrap_or(true).then(|| texts.clone());
    let top_n = check(&request.query, texts.len(), request.top_n)?;
    let wanted = Wanted {
        model: request.model,
        query: request.query,
        texts,
        max_text_tokens: None,
        truncate: true,
        place: "/documents",
    };
    let reranked = services.rerank_texts(wanted).await?;
    let text_of = |index: usize| given.as_ref()?.get(index).cloned();
    let result = |scored: &Scored| JinaResult {
        index: scored.index,
        relevance_score: scored.score,
        document: text_of(scored.index).map(|text| JinaText { text }),
    };
    let n_tokens = reranked.n_tokens;
    Ok(timed(
        &reranked,
        JinaRerankResponse {
            usage: JinaUsage { prompt_tokens: n_tokens, total_tokens: n_tokens },
            results: reranked.ranked.iter().take(top_n).map(result).collect(),
            model: reranked.model.clone(),
        },
    ))
}

/// Orders documents by a query, as Cohere's second version does.
///
/// The reranker gives the scores. Without one it is the cosine of the embedder's vectors, brought
/// to 0..1.
#[utoipa::path(
    post,
    path = "/v2/rerank",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    request_body = CohereRerankRequest,
    responses(
        (status = 200, description = "The documents, best first", body = CohereRerankResponse)
    )
)]
pub async fn rerank_documents_v2(
    State(services): State<Arc<Services>>,
    Json(request): Json<CohereRerankRequest>,
) -> Answer<Timed<CohereRerankResponse>> {
    let top_n = check(&request.query, request.documents.len(), request.top_n)?;
    let mut checks = Checks::default();
    let most = checks.number(
        "/max_tokens_per_doc",
        request.max_tokens_per_doc,
        1..=usize::MAX,
        MAX_TOKENS_PER_DOCUMENT,
    );
    checks.finish()?;
    let _ = request.relevant_spans;
    let search_units = request.documents.len().div_ceil(SEARCH_UNIT_DOCUMENTS);
    let wanted = Wanted {
        model: request.model,
        query: request.query,
        texts: request.documents,
        max_text_tokens: Some(most),
        truncate: true,
        place: "/documents",
    };
    let reranked = services.rerank_texts(wanted).await?;
    let result =
        |scored: &Scored| CohereResult { index: scored.index, relevance_score: scored.score };
    Ok(timed(
        &reranked,
        CohereRerankResponse {
            id: new_id("rr"),
            results: reranked.ranked.iter().take(top_n).map(result).collect(),
            meta: CohereMeta {
                api_version: CohereVersion { version: "2", is_experimental: false },
                billed_units: CohereUnits { search_units },
            },
        },
    ))
}

/// An answer with the time that it took to rerank.
pub fn timed<T>(reranked: &Reranked, body: T) -> Timed<T> {
    Timed::new(Stages(vec![("rerank", reranked.rerank_ms)]), body)
}

/// How many of the best are wanted.
fn check(query: &str, n_documents: usize, top_n: Option<i64>) -> Result<usize> {
    let mut checks = Checks::default();
    check_query(&mut checks, query);
    check_count(&mut checks, "/documents", n_documents);
    let top_n = checks.number("/top_n", top_n, 1..=usize::MAX, n_documents);
    checks.finish()?;
    Ok(top_n)
}

/// A query is not blank and not endless.
pub fn check_query(checks: &mut Checks, query: &str) {
    if query.trim().is_empty() {
        checks.refuse("/query", "is empty");
    } else {
        checks.text("/query", query, MAX_QUERY_CHARS);
    }
}

/// There is something to order, and not too much of it.
pub fn check_count(checks: &mut Checks, pointer: &str, n_texts: usize) {
    if n_texts == 0 {
        checks.refuse(pointer, "is empty");
    } else if n_texts > MAX_TEXTS {
        checks.refuse(pointer, format!("has {n_texts} texts, more than {MAX_TEXTS}"));
    }
}

impl JinaDocument {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Object { text } => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_requests_are_refused_by_name() {
        for (query, n_documents, top_n, pointer) in [
            (" ", 1, None, "/query"),
            ("问", 0, None, "/documents"),
            ("问", 1_001, None, "/documents"),
            ("问", 1, Some(0), "/top_n"),
            ("问", 1, Some(-1), "/top_n"),
        ] {
            let error = check(query, n_documents, top_n).unwrap_err();
            assert_eq!(error.fields[0].pointer, pointer);
        }
        assert_eq!(check("问", 3, None).unwrap(), 3);
        assert_eq!(check("问", 3, Some(100)).unwrap(), 100);
    }

    #[test]
    fn documents_are_texts_or_objects_with_one() {
        let documents: Vec<JinaDocument> =
            serde_json::from_str(r#"["一", {"text": "二", "title": "三"}]"#).unwrap();
        let texts: Vec<String> = documents.into_iter().map(JinaDocument::into_text).collect();
        assert_eq!(texts, ["一", "二"]);
        assert!(serde_json::from_str::<JinaDocument>(r#"{"image": "x"}"#).is_err());
    }
}
