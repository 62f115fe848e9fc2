//! Drop-in shapes: routes of other services as their owners define them, so that programs written
//! for those work here unchanged: OpenAI's embeddings and models, Jina's and Cohere's reranking,
//! and Hugging Face's Text Embeddings Inference (TEI). What changes an answer and
//! cannot be done here is refused with the reason, never ignored.

pub mod openai;
pub mod rerank;
pub mod shape;
pub mod tei;

mod texts;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Serialize;

use super::extract::off_thread;
use super::layers::Stages;
use super::problem::Answer;
use crate::error::Error;

/// Bytes that a number of a vector takes in JSON, about.
const NUMBER_BYTES: usize = 12;

/// 200 with a JSON body that holds about `n_numbers` numbers, which is written where it holds
/// nobody up, and the milliseconds of its stage.
async fn large_json<T: Serialize + Send + 'static>(
    n_numbers: usize,
    stage: (&'static str, f64),
    body: T,
) -> Answer<Response> {
    let write = move || {
        serde_json::to_vec(&body).map_err(|error| Error::failed("write an answer", error).into())
    };
    let bytes = off_thread(n_numbers.saturating_mul(NUMBER_BYTES), write).await?;
    let mut response = Response::new(Body::from(bytes));
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response.extensions_mut().insert(Stages(vec![stage]));
    Ok(response)
}
