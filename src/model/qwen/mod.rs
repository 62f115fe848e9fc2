//! Qwen2, Qwen2.5 and Qwen3 dense causal language models: **the** definition, for serving and for
//! training on the same weights. Tokens of several rows come packed, one row behind another
//! without padding; each row may continue from a cache. Nothing here knows prompts or requests.

mod adapter;
mod cache;
mod config;
mod gradients;
mod layers;
mod linear;
mod ops;
mod rope;
#[cfg(test)]
mod tests;
mod training;
mod weights;

use candle_core::{DType, Device, Tensor};

pub use adapter::{Adapter, AdapterOptions, AdapterSwitch, TARGETS};
pub use cache::{RowCache, SharedCache};
pub use config::{Family, QwenConfig, Yarn};
pub use gradients::{Gradients, Parameter};
pub use layers::Segment;
pub use linear::{Linear, Matrix};
pub(super) use ops::kernel;
pub use ops::{ScoreOptions, ScoreSeeds, Scores};
pub use training::Recording;
pub use weights::{DenseWeights, GgufWeights, Weights};

use crate::error::{Error, Result};
use layers::Block;
use rope::RopeTables;

/// Largest tied output matrix that is kept a second time, laid out for its multiplication.
const MOST_COPIED_BYTES: usize = 64 << 20;

/// A loaded model.
pub struct Qwen {
    config: QwenConfig,
    device: Device,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Tensor,
    head: Matrix,
    rope: RopeTables,
}

impl Qwen {
    /// Takes the tensors that the config calls for from `weights`.
    ///
    /// # Errors
    /// `model_weights` when one is missing or has another shape.
    pub fn load(config: QwenConfig, weights: &mut dyn Weights, device: &Device) -> Result<Self> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let blocks = (0..config.n_layers)
            .map(|index| Block::load(&config, index, weights))
            .collect::<Result<_>>()?;
        let norm = weights.tensor("norm.weight", &[hidden])?;
        let untied = if config.tied_head {
            None
        } else {
            Some(weights.matrix("lm_head.weight", vocab, hidden)?)
        };
        let embedding = weights.tensor("embed_tokens.weight", &[vocab, hidden])?;
        let head = untied.unwrap_or_else(|| Matrix::Dense(embedding.clone()));
        let rope = RopeTables::new(&config, device)?;
        Ok(Self { config, device: device.clone(), embedding, blocks, norm, head, rope })
    }

    /// Lays the blocks' matrices out for serving, in which nothing is trained.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn with_blocks_by_columns(mut self) -> Result<Self> {
        for block in &mut self.blocks {
            for (_, linear) in block.linears_mut() {
                linear.matrix = linear.matrix.by_columns()?;
            }
        }
        Ok(self)
    }

    /// The same for the output matrix. One that is tied becomes a copy of the embedding where that
    /// is small.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn with_head_by_columns(mut self) -> Result<Self> {
        let n_bytes = self.embedding.elem_count() * self.embedding.dtype().size_in_bytes();
        if !self.config.tied_head || n_bytes <= MOST_COPIED_BYTES {
            self.head = self.head.by_columns()?;
        }
        Ok(self)
    }

    pub fn config(&self) -> &QwenConfig {
        &self.config
    }

    /// What the model computes in.
    pub fn dtype(&self) -> DType {
        self.embedding.dtype()
    }

    /// An empty cache for one row.
    pub fn new_cache(&self, capacity: usize) -> Result<RowCache> {
        RowCache::new(&self.config, capacity, self.embedding.dtype(), &self.device)
    }

    /// The last hidden states after the final norm, `[n, hidden]`, of all segments' tokens packed
    /// one row behind another. Each segment's cache takes in its tokens.
    ///
    /// # Errors
    /// `model_input` for a token outside the vocabulary, a row beyond the window, or segments
    /// that do not add up to the tokens.
    pub fn forward(&self, tokens: &[u32], segments: &mut [Segment<'_>]) -> Result<Tensor> {
        let positions = self.positions(tokens, segments)?;
        let rotary = self.rope.rows(&positions)?;
        let ids = Tensor::new(tokens, &self.device)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        for block in &self.blocks {
            x = block.forward(&x, &rotary, segments)?;
        }
        for segment in segments.iter_mut() {
            let n_tokens = segment.n_tokens;
            if let Some(cache) = segment.cache.as_deref_mut() {
                cache.advance(n_tokens);
            }
        }
        Ok(ops::rms_norm(&x, &self.norm, self.config.rms_norm_eps)?)
    }

    /// Next-token scores, `[n, vocab]`, of hidden states `[n, hidden]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.forward(hidden)
    }

    /// Each token's position in its row; checks what [`Self::forward`] promises to check.
    fn positions(&self, tokens: &[u32], segments: &[Segment<'_>]) -> Result<Vec<u32>> {
        let n_tokens: usize = segments.iter().map(|segment| segment.n_tokens).sum();
        if n_tokens != tokens.len() || tokens.is_empty() {
            return Err(bad_input(format!("{} tokens in segments of {n_tokens}", tokens.len())));
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.config.vocab_size)
        {
            return Err(bad_input(format!(
                "token {token} is outside the vocabulary of {}",
                self.config.vocab_size
            )));
        }
        let mut positions = Vec::with_capacity(n_tokens);
        for segment in segments {
            let start = segment.cache.as_ref().map_or(0, |cache| cache.len());
            let end = start + segment.n_tokens;
            if end > self.config.window {
                return Err(bad_input(format!(
                    "a row of {end} tokens is beyond the model's window of {}",
                    self.config.window
                )));
            }
            positions.extend((start..end).map(|position| position as u32));
        }
        Ok(positions)
    }
}

fn bad_input(message: String) -> Error {
    Error::invalid("model_input", message)
}
