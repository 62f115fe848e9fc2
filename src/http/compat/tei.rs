//! The shapes of Hugging Face's Text Embeddings Inference (TEI): `/embed`, `/rerank`, `/info`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::rerank::{MAX_TEXTS, check_count, check_query, timed};
use super::{large_json, texts};
use crate::error::Result;
use crate::http::checks::Checks;
use crate::http::document::DROP_IN;
use crate::http::extract::Json;
use crate::http::problem::Answer;
use crate::http::query::Timed;
use crate::model::TextKind;
use crate::service::Services;
use crate::service::embeddings::{Places, Wanted};
use crate::service::rerank::{Scored, Wanted as RerankWanted};
use crate::store::access::Scope;

/// Far beyond any vector; the embedder's own length is checked after it.
const MAX_DIMENSIONS: usize = 65_536;
const PLACES: Places = Places { texts: "/inputs", dimension: "/dimensions" };

/// Texts to embed. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"inputs": ["客户画像怎么导出", "Deep learning is"], "normalize": true}))]
pub struct TeiEmbedRequest {
    /// One text or a list of at most 2048, none empty.
    #[schema(schema_with = texts::schema)]
    inputs: Value,
    /// Whether the vectors are wanted at length 1, or as the model gives them.
    #[schema(default = true)]
    normalize: Option<bool>,
    /// Whether a text that is too long is cut; else it is refused.
    #[schema(default = true)]
    truncate: Option<bool>,
    /// Only the end of a text is cut.
    truncation_direction: Option<TruncationDirection>,
    /// The embedder's text in front: `query`, or `document`, which is the default.
    prompt_name: Option<PromptName>,
    /// Leading numbers kept of each vector.
    #[schema(minimum = 1)]
    dimensions: Option<i64>,
}

/// Where a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
pub enum TruncationDirection {
    // Hugging Face's own client writes it in lower case.
    #[serde(alias = "right")]
    Right,
}

/// A text that the embedder wants in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptName {
    Query,
    #[serde(alias = "passage")]
    Document,
}

/// A query and texts to order by it. Unknown fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "query": "客户画像怎么导出",
    "texts": ["客户画像可以导出为表格。", "线索分配按区域进行。"],
    "raw_scores": false,
    "return_text": false
}))]
pub struct TeiRerankRequest {
    #[schema(min_length = 1, max_length = 8000)]
    query: String,
    /// At most 1000. A blank one comes last, with score 0.
    #[schema(min_items = 1, max_items = 1000)]
    texts: Vec<String>,
    /// Whether scores are wanted as the model gives them, instead of 0 to 1.
    #[schema(default = false)]
    raw_scores: Option<bool>,
    /// Whether the texts are wanted back.
    #[schema(default = false)]
    return_text: Option<bool>,
    /// Whether a text that is too long is cut; else it is refused.
    #[schema(default = true)]
    truncate: Option<bool>,
    /// Only the end of a text is cut.
    #[expect(dead_code, reason = "there is one value, which is the default")]
    truncation_direction: Option<TruncationDirection>,
}

/// One text's place.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeiRank {
    /// Into the texts of the request.
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    text: Option<String>,
}

/// What answers, and its limits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "model_id": "starter-embedder@1",
    "model_sha": null,
    "model_dtype": "float32",
    "model_type": {"embedding": {"pooling": "last_token"}},
    "max_concurrent_requests": 1024,
    "max_input_length": 256,
    "max_batch_tokens": 1024,
    "max_batch_requests": null,
    "max_client_batch_size": 2048,
    "auto_truncate": true,
    "tokenization_workers": 8,
    "version": "0.1.0",
    "sha": null,
    "docker_label": null,
    "rerank": {"model_id": "starter-embedder@1", "scores": "embedder_cosine",
               "max_input_length": 256, "max_client_batch_size": 1000}
}))]
pub struct TeiInfo {
    /// The embedder, as `name@version`.
    model_id: String,
    model_sha: Option<String>,
    model_dtype: &'static str,
    model_type: TeiModelType,
    max_concurrent_requests: usize,
    /// Tokens of one text.
    max_input_length: usize,
    max_batch_tokens: usize,
    max_batch_requests: Option<usize>,
    /// Texts of one request to `/embed`.
    max_client_batch_size: usize,
    auto_truncate: bool,
    tokenization_workers: usize,
    version: &'static str,
    sha: Option<String>,
    docker_label: Option<String>,
    rerank: TeiRerankInfo,
}

/// What the model does.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeiModelType {
    embedding: TeiPooling,
}

/// Which hidden state becomes the vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeiPooling {
    pooling: &'static str,
}

/// An extension: what gives the scores of `/rerank`, `/v1/rerank` and `/v2/rerank`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeiRerankInfo {
    model_id: String,
    /// `reranker`; or `embedder_cosine`, when no reranker is configured: the cosine of the
    /// embedder's vectors, brought to 0..1.
    scores: &'static str,
    max_input_length: usize,
    max_client_batch_size: usize,
}

/// Embeds texts, as TEI does.
#[utoipa::path(
    post,
    path = "/embed",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    request_body = TeiEmbedRequest,
    responses((status = 200, description = "A vector a text", body = Vec<Vec<f32>>))
)]
pub async fn embed_texts(
    State(services): State<Arc<Services>>,
    Json(request): Json<TeiEmbedRequest>,
) -> Answer<Response> {
    let embedded = services.embed_texts(request.check()?).await?;
    let n_numbers = embedded.vectors.iter().map(Vec::len).sum();
    large_json(n_numbers, ("embed", embedded.embed_ms), embedded.vectors).await
}

/// Orders texts by a query, as TEI does.
///
/// The reranker gives the scores. Without one it is the cosine of the embedder's vectors, brought
/// to 0..1.
#[utoipa::path(
    post,
    path = "/rerank",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    request_body = TeiRerankRequest,
    responses((status = 200, description = "The texts, best first", body = Vec<TeiRank>))
)]
pub async fn rerank_texts(
    State(services): State<Arc<Services>>,
    Json(request): Json<TeiRerankRequest>,
) -> Answer<Timed<Vec<TeiRank>>> {
    let mut checks = Checks::default();
    check_query(&mut checks, &request.query);
    check_count(&mut checks, "/texts", request.texts.len());
    checks.finish()?;
    let given = request.return_text.unwrap_or(false).then(|| request.texts.clone());
    let wanted = RerankWanted {
        model: None,
        query: request.query,
        texts: request.texts,
        max_text_tokens: None,
        truncate: request.truncate.unwrap_or(true),
        place: "/texts",
    };
    let reranked = services.rerank_texts(wanted).await?;
    let raw = request.raw_scores.unwrap_or(false);
    let rank = |scored: &Scored| TeiRank {
        index: scored.index,
        score: if raw { scored.raw } else { scored.score },
        text: given.as_ref().and_then(|texts| texts.get(scored.index).cloned()),
    };
    Ok(timed(&reranked, reranked.ranked.iter().map(rank).collect()))
}

/// Names the embedder, what scores for reranking, and their limits, as TEI does.
#[utoipa::path(
    get,
    path = "/info",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    responses((status = 200, description = "Model and limits", body = TeiInfo))
)]
pub async fn get_info(State(services): State<Arc<Services>>) -> axum::Json<TeiInfo> {
    let limits = services.embedder_limits();
    let scorer = services.scorer();
    axum::Json(TeiInfo {
        model_id: limits.id,
        model_sha: None,
        model_dtype: "float32",
        model_type: TeiModelType { embedding: TeiPooling { pooling: "last_token" } },
        max_concurrent_requests: limits.max_waiting,
        max_input_length: limits.max_tokens,
        max_batch_tokens: limits.batch_tokens,
        max_batch_requests: None,
        max_client_batch_size: texts::MAX_TEXTS,
        auto_truncate: true,
        tokenization_workers: std::thread::available_parallelism().map_or(1, usize::from),
        version: env!("CARGO_PKG_VERSION"),
        sha: None,
        docker_label: None,
        rerank: TeiRerankInfo {
            scores: if scorer.is_reranker { "reranker" } else { "embedder_cosine" },
            model_id: scorer.id,
            max_input_length: scorer.max_tokens,
            max_client_batch_size: MAX_TEXTS,
        },
    })
}

impl TeiEmbedRequest {
    fn check(self) -> Result<Wanted> {
        let mut checks = Checks::default();
        let dimension =
            checks.number("/dimensions", self.dimensions, 1..=MAX_DIMENSIONS, MAX_DIMENSIONS);
        checks.finish()?;
        // `Right` is the only direction that is read at all, and it is how texts are cut.
        let _ = self.truncation_direction;
        Ok(Wanted {
            model: None,
            texts: texts::read("/inputs", self.inputs)?,
            kind: match self.prompt_name {
                Some(PromptName::Query) => TextKind::Query,
                Some(PromptName::Document) | None => TextKind::Passage,
            },
            dimension: self.dimensions.map(|_| dimension),
            truncate: self.truncate.unwrap_or(true),
            normalize: self.normalize.unwrap_or(true),
            places: PLACES,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_as_tei_has_it() {
        let read = |body| serde_json::from_value::<TeiEmbedRequest>(body).unwrap().check();
        let plain = read(json!({"inputs": "a", "unknown": 1})).unwrap();
        assert!(plain.normalize && plain.truncate && plain.kind == TextKind::Passage);
        let odd = read(json!({"inputs": ["a"], "normalize": false, "truncate": false,
                              "prompt_name": "query", "truncation_direction": "Right"}));
        let odd = odd.unwrap();
        assert!(!odd.normalize && !odd.truncate && odd.kind == TextKind::Query);
        assert_eq!(read(json!({"inputs": [1, 2]})).unwrap_err().code, "token_input");
    }
}
