//! OpenAI's shapes: `/v1/embeddings` and `/v1/models`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{large_json, texts};
use crate::error::Result;
use crate::http::checks::Checks;
use crate::http::document::DROP_IN;
use crate::http::extract::{Json, Path};
use crate::http::problem::Answer;
use crate::model::TextKind;
use crate::service::Services;
use crate::service::embeddings::{Embedded, Places, Wanted};
use crate::service::models::ServedModel;
use crate::store::access::Scope;

/// Far beyond any vector; the embedder's own length is checked after it.
const MAX_DIMENSIONS: usize = 65_536;
const PLACES: Places = Places { texts: "/input", dimension: "/dimensions" };

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "model": "champion",
    "input": ["客户画像怎么导出", "How do I export a customer profile?"],
    "encoding_format": "float"
}))]
pub struct EmbeddingsRequest {
    /// One text or a list of at most 2048, none empty. Lists of token ids are refused: they are
    /// numbers of another model's tokenizer.
    #[schema(schema_with = texts::schema)]
    input: Value,
    /// The embedder's id, its name without the version, or `champion`; the one in use when it is
    /// left out.
    model: Option<String>,
    /// `base64` is the bytes of little-endian 32-bit floats.
    encoding_format: Option<EncodingFormat>,
    /// Leading numbers kept of each vector, which is brought to length 1 again; all by default.
    #[schema(minimum = 1)]
    dimensions: Option<i64>,
    /// Taken for the clients' sake and not looked at.
    #[expect(dead_code, reason = "OpenAI's clients may send it")]
    user: Option<String>,
    /// An extension: `query` puts the embedder's instruction for queries in front. `document` by
    /// default.
    input_type: Option<InputType>,
    /// An extension: whether a text that is too long is cut; it is refused by default.
    #[schema(default = false)]
    truncate: Option<bool>,
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

/// What a text is embedded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    Query,
    Document,
}

/// Vectors, in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2, 0.3]}],
    "model": "starter-embedder@1",
    "usage": {"prompt_tokens": 7, "total_tokens": 7}
}))]
pub struct EmbeddingsResponse {
    /// Always `list`.
    object: &'static str,
    data: Vec<EmbeddingObject>,
    /// `name@version`.
    model: String,
    usage: EmbeddingsUsage,
}

/// One text's vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingObject {
    /// Always `embedding`.
    object: &'static str,
    /// Into the texts of the request.
    index: usize,
    embedding: EmbeddingValue,
}

/// A vector of length 1.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingValue {
    Float(Vec<f32>),
    Base64(String),
}

/// Tokens that went through the model.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingsUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// The models that answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "object": "list",
    "data": [{"id": "starter-embedder@1", "object": "model", "created": 1762156800,
              "owned_by": "querent"}]
}))]
pub struct ModelList {
    /// Always `list`.
    object: &'static str,
    data: Vec<ModelObject>,
}

/// A model that answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "starter-embedder@1", "object": "model", "created": 1762156800, "owned_by": "querent"
}))]
pub struct ModelObject {
    /// `name@version`.
    id: String,
    /// Always `model`.
    object: &'static str,
    /// When this server loaded it, in seconds since 1970.
    created: i64,
    owned_by: &'static str,
}

/// Embeds texts, as OpenAI does.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = DROP_IN,
    security(("key" = [Scope::Embed])),
    request_body = EmbeddingsRequest,
    responses((status = 200, description = "The vectors", body = EmbeddingsResponse))
)]
pub async fn create_embeddings(
    State(services): State<Arc<Services>>,
    Json(request): Json<EmbeddingsRequest>,
) -> Answer<Response> {
    let format = request.encoding_format.unwrap_or_default();
    let embedded = services.embed_texts(request.check()?).await?;
    let n_numbers = embedded.vectors.iter().map(Vec::len).sum();
    let stage = ("embed", embedded.embed_ms);
    large_json(n_numbers, stage, EmbeddingsResponse::new(embedded, format)).await
}

/// Lists the models that answer: the rewriter, the embedder and the reranker.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = DROP_IN,
    security(("key" = [])),
    responses((status = 200, description = "The models", body = ModelList))
)]
pub async fn list_models(State(services): State<Arc<Services>>) -> axum::Json<ModelList> {
    let data = services.served_models().into_iter().map(ModelObject::from).collect();
    axum::Json(ModelList { object: "list", data })
}

/// Shows a model by its id, its name without the version, or `champion`, which is the embedder.
#[utoipa::path(
    get,
    path = "/v1/models/{id}",
    tag = DROP_IN,
    security(("key" = [])),
    params(("id" = String, Path, description = "The model")),
    responses((status = 200, description = "The model", body = ModelObject))
)]
pub async fn get_model(
    State(services): State<Arc<Services>>,
    Path(id): Path<String>,
) -> Answer<axum::Json<ModelObject>> {
    Ok(axum::Json(services.served_model(&id)?.into()))
}

impl EmbeddingsRequest {
    fn check(self) -> Result<Wanted> {
        let mut checks = Checks::default();
        let dimension =
            checks.number("/dimensions", self.dimensions, 1..=MAX_DIMENSIONS, MAX_DIMENSIONS);
        checks.finish()?;
        Ok(Wanted {
            model: self.model,
            texts: texts::read("/input", self.input)?,
            kind: match self.input_type {
                Some(InputType::Query) => TextKind::Query,
                Some(InputType::Document) | None => TextKind::Passage,
            },
            dimension: self.dimensions.map(|_| dimension),
            truncate: self.truncate.unwrap_or(false),
            normalize: true,
            places: PLACES,
        })
    }
}

impl EmbeddingsResponse {
    fn new(embedded: Embedded, format: EncodingFormat) -> Self {
        let object = |(index, vector): (usize, Vec<f32>)| EmbeddingObject {
            object: "embedding",
            index,
            embedding: EmbeddingValue::new(vector, format),
        };
        let n_tokens = embedded.n_tokens;
        Self {
            object: "list",
            data: embedded.vectors.into_iter().enumerate().map(object).collect(),
            model: embedded.model,
            usage: EmbeddingsUsage { prompt_tokens: n_tokens, total_tokens: n_tokens },
        }
    }
}

impl EmbeddingValue {
    fn new(vector: Vec<f32>, format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Float(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}

impl From<ServedModel> for ModelObject {
    fn from(model: ServedModel) -> Self {
        Self {
            id: model.id,
            object: "model",
            created: model.loaded_at.unix_timestamp(),
            owned_by: env!("CARGO_PKG_NAME"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(body: Value) -> Result<Wanted> {
        serde_json::from_value::<EmbeddingsRequest>(body).unwrap().check()
    }

    #[test]
    fn texts_are_documents_unless_they_are_said_to_be_queries() {
        assert_eq!(check(json!({"input": "a"})).unwrap().kind, TextKind::Passage);
        let query = check(json!({"input": "a", "input_type": "query", "dimensions": 8})).unwrap();
        assert_eq!((query.kind, query.dimension), (TextKind::Query, Some(8)));
        for dimensions in [0, -1, 65_537] {
            let error = check(json!({"input": "a", "dimensions": dimensions})).unwrap_err();
            assert_eq!(error.fields[0].pointer, "/dimensions");
        }
    }

    #[test]
    fn base64_is_little_endian_floats() {
        let value = EmbeddingValue::new(vec![1.0, -2.5], EncodingFormat::Base64);
        assert_eq!(serde_json::to_value(value).unwrap(), "AACAPwAAIMA=");
        let value = EmbeddingValue::new(vec![1.0, -2.5], EncodingFormat::Float);
        assert_eq!(serde_json::to_value(value).unwrap(), json!([1.0, -2.5]));
    }
}
