//! Text generation for many callers at once, on one compute thread of its own. Requests join and
//! leave between steps; every step computes all rows' next tokens in one packed pass. The fixed
//! start of all prompts is computed once for all rows. Knows tokens only: no prompts, no HTTP.

mod draft;
mod row;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::qwen::{Qwen, RowCache, Segment, SharedCache};
use super::sampling::Sampling;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics;
use row::Row;

/// Its name among the metrics.
const QUEUE: &str = "generate";

/// What to generate from which tokens.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    pub prompt: Vec<u32>,
    pub max_new_tokens: usize,
    pub sampling: Sampling,
    /// Past this moment the row ends with what it has.
    pub deadline: Option<Instant>,
    /// Guess by prompt lookup; changes the speed, never the text. Greedy rows only.
    pub draft: bool,
    /// End when the text goes round in circles.
    pub stop_loops: bool,
    /// Go on past stop tokens, for measurements.
    pub ignore_stop: bool,
}

impl GenerateRequest {
    /// A greedy request with drafts and the loop stop on, as rewriting wants it.
    pub fn greedy(prompt: Vec<u32>, max_new_tokens: usize) -> Self {
        Self {
            prompt,
            max_new_tokens,
            sampling: Sampling::default(),
            deadline: None,
            draft: true,
            stop_loops: true,
            ignore_stop: false,
        }
    }
}

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Stop,
    Length,
    Loop,
    Deadline,
    Cancelled,
}

/// A finished row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// New tokens without the stop token.
    pub tokens: Vec<u32>,
    pub finish: Finish,
    pub n_prompt_tokens: usize,
    pub n_drafts_accepted: usize,
}

/// What a caller hears while its row runs.
#[derive(Debug)]
pub enum Event {
    Tokens(Vec<u32>),
    Finished(Generated),
    Failed(Error),
}

/// Limits of the scheduler.
#[derive(Debug, Clone)]
pub struct GeneratorOptions {
    /// Rows computed together.
    pub max_rows: usize,
    /// Requests that may wait for a row; one more is refused as busy.
    pub max_waiting: usize,
    /// Tokens that all prompts begin with; computed once.
    pub shared_prefix: Vec<u32>,
    pub stop_tokens: Vec<u32>,
}

/// The handle to the compute thread; dropping the last one ends the thread.
#[derive(Clone)]
pub struct Generator {
    waiting: SyncSender<(GenerateRequest, UnboundedSender<Event>)>,
    window: usize,
}

impl Generator {
    /// Starts the compute thread.
    ///
    /// # Errors
    /// When the thread cannot be started or the shared prefix cannot be computed.
    pub fn start(model: Qwen, options: GeneratorOptions) -> Result<Self> {
        let (waiting, requests) = sync_channel(options.max_waiting);
        let window = model.config().window;
        let prefix = Prefix::compute(&model, &options.shared_prefix)?;
        let scheduler = Scheduler { model, options, prefix, rows: Vec::new() };
        std::thread::Builder::new()
            .name("querent-generate".into())
            .spawn(move || scheduler.run(&requests))?;
        Ok(Self { waiting, window })
    }

    /// The model's window in tokens: prompt and answer together must fit.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Starts a row; dropping the receiver cancels it.
    ///
    /// # Errors
    /// `busy` when too many wait, `model_input` for an empty prompt or one over the window.
    pub fn stream(&self, request: GenerateRequest) -> Result<UnboundedReceiver<Event>> {
        if request.prompt.is_empty() || request.prompt.len() + request.max_new_tokens > self.window
        {
            return Err(Error::invalid(
                "model_input",
                format!(
                    "{} prompt tokens and {} new ones do not fit the window of {}",
                    request.prompt.len(),
                    request.max_new_tokens,
                    self.window
                ),
            ));
        }
        let (events, receiver) = unbounded_channel();
        metrics::queue_entered(QUEUE);
        let sent = self.waiting.try_send((request, events));
        sent.inspect_err(|_| metrics::queue_left(QUEUE)).map_err(|error| match error {
            TrySendError::Full(_) => Error::new(
                Kind::Busy,
                "rewriter_busy",
                "too many requests wait for the rewriter; try again shortly",
            ),
            TrySendError::Disconnected(_) => gone(),
        })?;
        Ok(receiver)
    }

    /// Generates to the end.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Generated> {
        let mut events = self.stream(request)?;
        while let Some(event) = events.recv().await {
            match event {
                Event::Tokens(_) => {}
                Event::Finished(generated) => return Ok(generated),
                Event::Failed(error) => return Err(error),
            }
        }
        Err(gone())
    }
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "rewriter_gone", "the rewriter has stopped")
}

/// The cached start of all prompts.
struct Prefix {
    tokens: Vec<u32>,
    cache: SharedCache,
}

impl Prefix {
    fn compute(model: &Qwen, tokens: &[u32]) -> Result<Self> {
        let mut cache = model.new_cache(tokens.len())?;
        if !tokens.is_empty() {
            let segment = Segment { n_tokens: tokens.len(), cache: Some(&mut cache) };
            model.forward(tokens, &mut [segment])?;
        }
        Ok(Self { tokens: tokens.to_vec(), cache: cache.into_shared()? })
    }

    /// A cache for a prompt: the shared start gone on from where the prompt begins with it.
    fn cache_for(&self, model: &Qwen, prompt: &[u32], capacity: usize) -> Result<RowCache> {
        // At least one prompt token must be computed, for its next-token scores.
        if prompt.len() > self.tokens.len() && prompt.starts_with(&self.tokens) {
            self.cache.row(capacity - self.tokens.len())
        } else {
            model.new_cache(capacity)
        }
    }
}

struct Scheduler {
    model: Qwen,
    options: GeneratorOptions,
    prefix: Prefix,
    rows: Vec<Row>,
}

impl Scheduler {
    fn run(mut self, requests: &Receiver<(GenerateRequest, UnboundedSender<Event>)>) {
        loop {
            if self.rows.is_empty() {
                let Ok((request, events)) = requests.recv() else { return };
                self.admit(request, events);
            }
            while self.rows.len() < self.options.max_rows {
                let Ok((request, events)) = requests.try_recv() else { break };
                self.admit(request, events);
            }
            self.dismiss_interrupted();
            if self.rows.is_empty() {
                continue;
            }
            self.guarded(Self::step);
        }
    }

    /// Runs a step; an error or a panic in it ends the rows that were under way, and nothing else.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) {
        match catch_unwind(AssertUnwindSafe(|| step(self))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail_all(&error.to_string()),
            Err(_) => self.fail_all("the compute thread panicked"),
        }
    }

    fn admit(&mut self, request: GenerateRequest, events: UnboundedSender<Event>) {
        metrics::queue_left(QUEUE);
        let capacity = request.prompt.len() + request.max_new_tokens;
        match self.prefix.cache_for(&self.model, &request.prompt, capacity) {
            Ok(cache) => self.rows.push(Row::new(request, events, cache)),
            Err(error) => {
                let _ = events.send(Event::Failed(error));
            }
        }
    }

    fn dismiss_interrupted(&mut self) {
        let now = Instant::now();
        let rows = std::mem::take(&mut self.rows);
        for row in rows {
            match row.interrupted(now) {
                Some(finish) => row.finish(finish),
                None => self.rows.push(row),
            }
        }
    }

    /// Computes every row's next tokens together.
    fn step(&mut self) -> Result<()> {
        let feeds: Vec<Vec<u32>> = self.rows.iter_mut().map(Row::feed).collect();
        let n_scored: Vec<usize> =
            self.rows.iter().zip(&feeds).map(|(row, feed)| row.n_scored(feed.len())).collect();
        let mut wanted = Vec::new();
        let mut end = 0;
        for (feed, n_scored) in feeds.iter().zip(&n_scored) {
            end += feed.len();
            wanted.extend((end - n_scored..end).map(|position| position as u32));
        }
        let mut segments: Vec<Segment<'_>> = self
            .rows
            .iter_mut()
            .zip(&feeds)
            .map(|(row, feed)| Segment { n_tokens: feed.len(), cache: Some(&mut row.cache) })
            .collect();
        let packed = feeds.concat();
        metrics::batch(packed.len());
        let hidden = self.model.forward(&packed, &mut segments)?;
        drop(segments);
        let scores = self.scores(&hidden, &wanted)?;
        let mut scores = scores.chunks_exact(self.model.config().vocab_size);
        let rows = std::mem::take(&mut self.rows);
        for (mut row, n_scored) in rows.into_iter().zip(n_scored) {
            let of_row: Vec<&[f32]> = scores.by_ref().take(n_scored).collect();
            match row.take(&of_row, &self.options.stop_tokens) {
                Some(finish) => row.finish(finish),
                None => self.rows.push(row),
            }
        }
        Ok(())
    }

    /// Next-token scores of the wanted positions, flat: `wanted` times `[vocab]`.
    fn scores(&self, hidden: &candle_core::Tensor, wanted: &[u32]) -> Result<Vec<f32>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = candle_core::Tensor::new(wanted, hidden.device())?;
        let logits = self.model.logits(&hidden.index_select(&wanted, 0)?)?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }

    fn fail_all(&mut self, message: &str) {
        tracing::error!(error = message, n_rows = self.rows.len(), "generation step failed");
        for row in self.rows.drain(..) {
            row.fail(message);
        }
    }
}
