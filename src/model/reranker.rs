//! Passages scored against a query by fastembed's Qwen3 reranker, on a compute thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use fastembed::{Qwen3Model, Qwen3Reranker};
use tokenizers::Tokenizer;
use tokio::sync::oneshot;

use super::encoder::qwen3_config;
use super::files::ModelFolder;
use super::memory;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics;

/// Longest query with its passage, in tokens.
pub const MAX_TOKENS: usize = 2_048;
/// Its name among the metrics.
const QUEUE: &str = "rerank";
/// Requests that may wait.
const MAX_WAITING: usize = 64;

/// The handle to the reranker's thread.
pub struct Reranker {
    id: String,
    waiting: SyncSender<Job>,
}

struct Job {
    query: String,
    passages: Vec<String>,
    reply: oneshot::Sender<Result<Vec<f32>>>,
}

impl Reranker {
    /// Loads a Qwen3-Reranker folder.
    ///
    /// # Errors
    /// `model_…` codes for a folder that cannot be used.
    pub fn start(folder: &ModelFolder) -> Result<Self> {
        memory::check(folder, 1, 0)?;
        let reranker = load(folder)?;
        let (waiting, jobs) = sync_channel::<Job>(MAX_WAITING);
        std::thread::Builder::new().name("querent-rerank".into()).spawn(move || {
            while let Ok(job) = jobs.recv() {
                metrics::queue_left(QUEUE);
                if job.reply.is_closed() {
                    continue;
                }
                let scored = catch_unwind(AssertUnwindSafe(|| {
                    reranker.score(None, &job.query, &job.passages)
                }));
                let answer = match scored {
                    Ok(Ok(scores)) => Ok(scores),
                    Ok(Err(error)) => Err(Error::failed("rerank", error)),
                    Err(_) => Err(Error::internal("the reranker panicked")),
                };
                let _ = job.reply.send(answer);
            }
        })?;
        Ok(Self { id: folder.id()?, waiting })
    }

    /// `name@version`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The probability that each passage answers the query, in the order of the passages.
    #[tracing::instrument(target = "otel", name = "rerank", skip_all, fields(gen_ai.request.model = self.id))]
    pub async fn score(&self, query: String, passages: Vec<String>) -> Result<Vec<f32>> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        metrics::queue_entered(QUEUE);
        self.waiting.try_send(Job { query, passages, reply }).map_err(|_| {
            metrics::queue_left(QUEUE);
            Error::new(Kind::Busy, "reranker_busy", "too many requests wait for the reranker")
        })?;
        answer.await.map_err(|source| Error::failed("rerank", source))?
    }
}

fn load(folder: &ModelFolder) -> Result<Qwen3Reranker> {
    let unusable = |source: &dyn std::fmt::Display| {
        Error::invalid("model_reranker", format!("the reranker cannot be used: {source}"))
    };
    let config = qwen3_config(folder).map_err(|error| unusable(&error))?;
    let tokenizer = folder.json("tokenizer.json")?.unwrap_or_default();
    let tokenizer = Tokenizer::from_bytes(&tokenizer).map_err(|error| unusable(&error))?;
    let mut tensors = std::collections::HashMap::new();
    for file in folder.safetensors()? {
        let bytes = fs_err::read(file)?;
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)? {
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
    }
    let head =
        if config.tie_word_embeddings { "model.embed_tokens.weight" } else { "lm_head.weight" };
    let head = tensors.get(head).ok_or_else(|| unusable(&"it has no output matrix"))?;
    let id_of = |word: &str| {
        tokenizer.token_to_id(word).ok_or_else(|| unusable(&format!("no token `{word}`")))
    };
    let rows = Tensor::new(&[id_of("no")?, id_of("yes")?], &Device::Cpu)?;
    let no_yes = head.index_select(&rows, 0)?;
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let model = Qwen3Model::new(config, weights.pp("model"))?;
    let reranker = Qwen3Reranker::new(model, tokenizer, no_yes, MAX_TOKENS)?;
    // What cannot score is refused now, and not at every request.
    let tried = catch_unwind(AssertUnwindSafe(|| reranker.score(None, "query", &["passage"])));
    match tried {
        Ok(Ok(_)) => Ok(reranker),
        Ok(Err(error)) => Err(unusable(&error)),
        Err(_) => Err(unusable(&"it panics")),
    }
}
