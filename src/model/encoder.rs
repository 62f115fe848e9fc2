//! Texts to vectors, on a compute thread of its own. Queries go before passages; passages are done
//! in slices of a token budget, so that a query never waits for a whole document.
//!
//! Passages are embedded by fastembed's Qwen3. It runs texts of different lengths one after the
//! other, which is how queries come, so all waiting queries go through one packed pass of our own
//! Qwen instead: the same function of the same weights (`tests/embedder_parity.rs` holds both).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use fastembed::{Qwen3Config, Qwen3Model, Qwen3TextEmbedding};
use tokenizers::Tokenizer;
use tokio::sync::oneshot;

use super::embedding_tokens::{Prompts, TextKind, prompts, tokenizer, unusable};
use super::files::ModelFolder;
use super::memory;
use super::qwen::{Qwen, Segment};
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics;

/// Passage tokens embedded between two looks at the queue of queries.
pub const SLICE_TOKENS: usize = 1_024;
/// Query tokens in one packed pass.
const QUERY_PASS_TOKENS: usize = 4_096;
/// Callers that may wait; one more is refused as busy.
pub const MAX_WAITING: usize = 1_024;

/// The handle to the embedder's thread.
pub struct Encoder {
    id: String,
    queue: Arc<Queue>,
    counter: Tokenizer,
    prompts: Prompts,
    dimension: usize,
    passage_tokens: usize,
}

struct Job {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    /// Whether vectors are brought to length 1; only a job of the queries' line may say no.
    unit: bool,
    reply: oneshot::Sender<Result<Vec<Vec<f32>>>>,
}

#[derive(Default)]
struct Waiting {
    queries: VecDeque<Job>,
    passages: VecDeque<Job>,
    closed: bool,
}

impl Waiting {
    fn report(&self) {
        metrics::queue_depth("embed_query", self.queries.len());
        metrics::queue_depth("embed_passage", self.passages.len());
    }
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Queue {
    /// A panic while the lock was held leaves plain data behind, which stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Encoder {
    /// Loads a sentence-transformers folder with a Qwen3 model and starts its thread. `dimension`
    /// keeps that many leading numbers of each vector (Matryoshka); none keeps all.
    ///
    /// # Errors
    /// `model_…` codes for a folder that cannot be used.
    pub fn start(folder: &ModelFolder, dimension: Option<usize>) -> Result<Self> {
        // fastembed's copy and ours.
        memory::check(folder, 2, 0)?;
        let card = folder.card()?;
        let embedding_tokenizer = tokenizer(folder, card.passage_tokens)?;
        let mut counter = embedding_tokenizer.clone();
        counter.with_padding(None);
        counter.with_truncation(None).map_err(unusable)?;
        let model = load_model(folder)?;
        let mut embedding = Qwen3TextEmbedding::new(model, embedding_tokenizer.clone());
        if let Some(dimension) = dimension {
            embedding = embedding.with_output_dim(dimension)?;
        }
        let dimension = embedding.output_dim();
        let queue = Arc::new(Queue::default());
        let mut query_tokenizer = embedding_tokenizer.clone();
        query_tokenizer.with_padding(None);
        let worker = Worker {
            queue: Arc::clone(&queue),
            embedding,
            counter: counter.clone(),
            qwen: folder.load_headless_qwen(&Device::Cpu)?.with_blocks_by_columns()?,
            query_tokenizer,
            dimension,
        };
        std::thread::Builder::new().name("querent-embed".into()).spawn(move || worker.run())?;
        Ok(Self {
            id: folder.id()?,
            queue,
            counter,
            prompts: prompts(folder)?,
            dimension,
            passage_tokens: card.passage_tokens,
        })
    }

    /// `name@version`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Length of every vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Longest passage worth giving, in tokens: what is behind is cut off.
    pub fn passage_tokens(&self) -> usize {
        self.passage_tokens
    }

    /// How many tokens a text has, without the end token.
    pub fn count_tokens(&self, text: &str) -> usize {
        self.counter.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }

    /// How many tokens a text is embedded as: its prompt and the end token with it, nothing cut.
    pub fn embedded_tokens(&self, kind: TextKind, text: &str) -> usize {
        let prefix = self.prompts.of(kind);
        self.counter.encode_fast(format!("{prefix}{text}"), true).map_or(0, |e| e.len())
    }

    /// The start of a text that has at most `max_tokens` tokens.
    pub fn cut<'a>(&self, text: &'a str, max_tokens: usize) -> &'a str {
        let Ok(encoding) = self.counter.encode(text, false) else { return text };
        match encoding.get_offsets().get(max_tokens) {
            // A character of several tokens begins where its first one does.
            Some((start, _)) => text.get(..*start).unwrap_or(text),
            None => text,
        }
    }

    /// One unit-length vector a text, in the order of the texts.
    ///
    /// # Errors
    /// `embedder_busy` when too many wait, `internal` when the computation failed.
    #[tracing::instrument(target = "otel", name = "embed", skip_all, fields(
        gen_ai.operation.name = "embeddings", gen_ai.request.model = self.id
    ))]
    pub async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.submit(kind, kind, true, texts).await
    }

    /// One vector a text of whatever length the model gives it. They go through the queries' line,
    /// so a caller with many texts brings them in small groups.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn embed_raw(&self, kind: TextKind, texts: Vec<String>) -> Result<Vec<Vec<f32>>> {
        self.submit(TextKind::Query, kind, false, texts).await
    }

    async fn submit(
        &self,
        line: TextKind,
        kind: TextKind,
        unit: bool,
        texts: Vec<String>,
    ) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = self.prompts.of(kind);
        let texts = texts.into_iter().map(|text| format!("{prefix}{text}")).collect();
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.queue.lock();
            let line = match line {
                TextKind::Query => &mut waiting.queries,
                TextKind::Passage => &mut waiting.passages,
            };
            if line.len() >= MAX_WAITING {
                return Err(Error::new(
                    Kind::Busy,
                    "embedder_busy",
                    "too many requests wait for the embedder; try again shortly",
                ));
            }
            line.push_back(Job { texts, vectors: Vec::new(), unit, reply });
            waiting.report();
        }
        self.queue.changed.notify_one();
        answer.await.map_err(|source| Error::failed("embed", source))?
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_one();
    }
}

struct Worker {
    queue: Arc<Queue>,
    embedding: Qwen3TextEmbedding,
    counter: Tokenizer,
    qwen: Qwen,
    /// Truncates and ends a text as fastembed's does, without padding.
    query_tokenizer: Tokenizer,
    dimension: usize,
}

impl Worker {
    fn run(self) {
        while let Some((queries, passage)) = self.next() {
            if !queries.is_empty() {
                self.answer_queries(queries);
            }
            if let Some(job) = passage {
                self.advance_passages(job);
            }
        }
    }

    /// All waiting queries; else the first passage job. None when the handle is gone.
    fn next(&self) -> Option<(Vec<Job>, Option<Job>)> {
        let mut waiting = self.queue.lock();
        loop {
            if waiting.closed {
                return None;
            }
            waiting.queries.retain(|job| !job.reply.is_closed());
            waiting.passages.retain(|job| !job.reply.is_closed());
            if !waiting.queries.is_empty() {
                let queries = waiting.queries.drain(..).collect();
                waiting.report();
                return Some((queries, None));
            }
            if let Some(job) = waiting.passages.pop_front() {
                waiting.report();
                return Some((Vec::new(), Some(job)));
            }
            waiting.report();
            waiting = self.queue.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn answer_queries(&self, jobs: Vec<Job>) {
        let texts: Vec<&str> =
            jobs.iter().flat_map(|job| job.texts.iter().map(String::as_str)).collect();
        match caught(|| self.embed_packed(&texts)) {
            Ok(vectors) => {
                let mut vectors = vectors.into_iter();
                for job in jobs {
                    let of_job = vectors.by_ref().take(job.texts.len());
                    let of_job = of_job.map(|raw| if job.unit { unit(&raw) } else { raw });
                    let of_job = of_job.collect();
                    let _ = job.reply.send(Ok(of_job));
                }
            }
            Err(message) => {
                for job in jobs {
                    let _ = job.reply.send(Err(Error::internal(message.clone())));
                }
            }
        }
    }

    /// Embeds the next slice of a passage job, and puts the job back in front if more is left.
    fn advance_passages(&self, mut job: Job) {
        let done = job.vectors.len();
        let mut n_tokens = 0;
        let slice: Vec<&str> = job.texts[done..]
            .iter()
            .take_while(|text| {
                let n = self.counter.encode_fast(text.as_str(), true).map_or(1, |e| e.len());
                let fits = n_tokens == 0 || n_tokens + n <= SLICE_TOKENS;
                n_tokens += if fits { n } else { 0 };
                fits
            })
            .map(String::as_str)
            .collect();
        metrics::batch(n_tokens);
        match caught(|| Ok(self.embedding.embed(&slice)?)) {
            Err(message) => {
                let _ = job.reply.send(Err(Error::internal(message)));
            }
            Ok(vectors) => {
                job.vectors.extend(vectors);
                if job.vectors.len() == job.texts.len() {
                    let _ = job.reply.send(Ok(job.vectors));
                } else {
                    self.queue.lock().passages.push_front(job);
                }
            }
        }
    }

    /// The vectors of texts of any lengths: each text's last hidden state, cut to the dimension.
    fn embed_packed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let tokens = texts
            .iter()
            .map(|text| Ok(self.query_tokenizer.encode_fast(*text, true)?.get_ids().to_vec()))
            .collect::<std::result::Result<Vec<Vec<u32>>, tokenizers::Error>>()
            .map_err(unusable)?;
        let mut vectors = Vec::with_capacity(tokens.len());
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            let mut n_tokens = 0;
            let fits = |row: &&Vec<u32>| {
                n_tokens += row.len();
                n_tokens <= QUERY_PASS_TOKENS
            };
            let n_rows = rest.iter().take_while(fits).count().max(1);
            let (pass, later) = rest.split_at(n_rows);
            rest = later;
            let mut segments: Vec<Segment<'_>> =
                pass.iter().map(|row| Segment { n_tokens: row.len(), cache: None }).collect();
            let packed = pass.concat();
            metrics::batch(packed.len());
            let hidden = self.qwen.forward(&packed, &mut segments)?;
            let mut end = 0;
            for row in pass {
                end += row.len();
                let last: Vec<f32> = hidden.get(end - 1)?.to_vec1()?;
                vectors.push(last[..self.dimension.min(last.len())].to_vec());
            }
        }
        Ok(vectors)
    }
}

/// A vector of length 1 in the same direction.
pub fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::EPSILON);
    vector.iter().map(|value| value / length).collect()
}

/// The vectors, or what went wrong; a panic in the model is caught here.
fn caught(
    compute: impl FnOnce() -> Result<Vec<Vec<f32>>>,
) -> std::result::Result<Vec<Vec<f32>>, String> {
    match catch_unwind(AssertUnwindSafe(compute)) {
        Ok(Ok(vectors)) => Ok(vectors),
        Ok(Err(error)) => Err(format!("failed to embed: {error}")),
        Err(_) => Err("the embedder panicked".into()),
    }
}

/// fastembed's form of the folder's config, which wants `rope_theta` at the top level.
pub(super) fn qwen3_config(folder: &ModelFolder) -> Result<Qwen3Config> {
    let json = folder.json("config.json")?.unwrap_or_default();
    let mut json: serde_json::Value = serde_json::from_slice(&json)?;
    if json.get("rope_theta").is_none()
        && let Some(theta) = json.pointer("/rope_parameters/rope_theta").cloned()
    {
        json["rope_theta"] = theta;
    }
    Ok(serde_json::from_value(json)?)
}

/// fastembed's model from the folder's files.
fn load_model(folder: &ModelFolder) -> Result<Qwen3Model> {
    if let Some(path) = folder.gguf() {
        let mut file = fs_err::File::open(path)?;
        let content = candle_core::quantized::gguf_file::Content::read(&mut file)?;
        return Ok(Qwen3Model::from_gguf(&content, &mut file, &Device::Cpu)?);
    }
    let config = qwen3_config(folder).map_err(|error| unusable(format!("config.json: {error}")))?;
    let mut tensors = std::collections::HashMap::new();
    for file in folder.safetensors()? {
        let bytes = fs_err::read(file)?;
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)? {
            let name = name.strip_prefix("model.").map_or(name.clone(), str::to_owned);
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
    }
    Ok(Qwen3Model::new(config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_model_is_an_error_of_the_call() {
        let message = caught(|| panic!("a fault")).unwrap_err();
        assert_eq!(message, "the embedder panicked");
        assert_eq!(caught(|| Ok(vec![vec![1.0]])), Ok(vec![vec![1.0]]));
    }

    #[test]
    fn unit_vectors_have_length_one_and_nothing_divides_by_zero() {
        assert_eq!(unit(&[3.0, 4.0]), [0.6, 0.8]);
        assert!(unit(&[0.0, 0.0]).iter().all(|value| value.is_finite()));
    }
}
