//! The backward side of [`Qwen`]: recorded forward passes over whole rows, gradients of the trained
//! weights, and adapters. The definition is the one that serves; only what is kept differs.

use std::sync::Arc;

use candle_core::Tensor;

use super::adapter::{self, Adapter, AdapterOptions, AdapterSwitch};
use super::layers::{BlockTape, Rotary, norm_backward};
use super::linear::Linear;
use super::ops::{self, ScoreOptions, ScoreSeeds, Scores};
use super::{Gradients, Parameter, Qwen, Segment};
use crate::error::Result;

/// A forward pass that can be gone back through.
pub struct Recording {
    /// Hidden states after the final norm, `[n, hidden]`, the rows' tokens one behind another.
    pub hidden: Tensor,
    tokens: Vec<u32>,
    lengths: Vec<usize>,
    rotary: Rotary,
    kept: Vec<Kept>,
    /// What went into the final norm.
    last: Tensor,
}

/// What is left of a block's forward pass.
enum Kept {
    /// Its input only: the rest is computed once more when it is needed.
    Input(Tensor),
    All(Box<BlockTape>),
}

impl Qwen {
    /// Hidden states of whole rows, packed without padding: `lengths` are the rows' tokens. With
    /// `checkpointing` only each block's input is kept (Chen et al. 2016, arXiv 1604.06174): a
    /// third more computing for a fraction of the memory.
    ///
    /// # Errors
    /// `model_input` as [`Qwen::forward`].
    pub fn record(
        &self,
        tokens: &[u32],
        lengths: &[usize],
        checkpointing: bool,
    ) -> Result<Recording> {
        let segments: Vec<Segment<'_>> =
            lengths.iter().map(|n| Segment { n_tokens: *n, cache: None }).collect();
        let rotary = self.rope.rows(&self.positions(tokens, &segments)?)?;
        let ids = Tensor::new(tokens, &self.device)?;
        let mut x = self.embedding.index_select(&ids, 0)?;
        let mut kept = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (out, tape) = block.record(&x, &rotary, lengths)?;
            kept.push(if checkpointing { Kept::Input(x) } else { Kept::All(Box::new(tape)) });
            x = out;
        }
        Ok(Recording {
            hidden: ops::rms_norm(&x, &self.norm, self.config.rms_norm_eps)?,
            tokens: tokens.to_vec(),
            lengths: lengths.to_vec(),
            rotary,
            kept,
            last: x,
        })
    }

    /// [`Self::record`]'s hidden states, with nothing kept beside them.
    pub fn hidden(&self, tokens: &[u32], lengths: &[usize]) -> Result<Tensor> {
        let mut segments: Vec<Segment<'_>> =
            lengths.iter().map(|n| Segment { n_tokens: *n, cache: None }).collect();
        self.forward(tokens, &mut segments)
    }

    /// Rows `x`, `[rows, hidden]`, at the given positions among `n` rows of zeros.
    pub fn spread(&self, positions: &[u32], x: &Tensor, n: usize) -> Result<Tensor> {
        let mut spread = Tensor::zeros((n, x.dim(1)?), x.dtype(), x.device())?;
        ops::add_rows_in_place(&mut spread, positions, x)?;
        Ok(spread)
    }

    /// Adds to `gradients` what the loss's gradient by the hidden states, `[n, hidden]`, makes of
    /// the trained weights.
    pub fn backward(
        &self,
        recording: Recording,
        d_hidden: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let Recording { tokens, lengths, rotary, kept, last, .. } = recording;
        let mut d =
            norm_backward(&last, &self.norm, self.config.rms_norm_eps, d_hidden, gradients)?;
        for (block, kept) in self.blocks.iter().zip(kept).rev() {
            let tape = match kept {
                Kept::All(tape) => *tape,
                Kept::Input(x) => block.record(&x, &rotary, &lengths)?.1,
            };
            d = block.backward(tape, &d, &rotary, &lengths, gradients)?;
        }
        gradients.add_rows(&self.embedding, &tokens, &d)
    }

    /// Scores the next tokens `targets` after hidden states `[n, hidden]`.
    pub fn score(
        &self,
        hidden: &Tensor,
        targets: &[u32],
        options: &ScoreOptions,
    ) -> Result<Scores> {
        Ok(ops::score(hidden, self.head.dense()?, targets, options)?)
    }

    /// The same with the gradient by `hidden`, for the given gradients of the loss by the scores;
    /// the output matrix's goes to `gradients`.
    pub fn score_with_gradient(
        &self,
        hidden: &Tensor,
        targets: &[u32],
        options: &ScoreOptions,
        seeds: ScoreSeeds<'_>,
        gradients: &mut Gradients,
    ) -> Result<(Scores, Tensor)> {
        let weight = self.head.dense()?;
        let sum = gradients.sum_mut(weight)?;
        Ok(ops::score_with_gradient(hidden, weight, targets, options, seeds, sum)?)
    }

    /// All weights by their names, in the order of their use; adapters are not among them.
    ///
    /// # Errors
    /// `model_quantised` for weights that have no gradient.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let embedding = self.embedding.clone();
        let mut parameters =
            vec![Parameter { name: "embed_tokens.weight".into(), tensor: embedding, decays: true }];
        for block in &self.blocks {
            block.parameters(&mut parameters)?;
        }
        let tensor = self.norm.clone();
        parameters.push(Parameter { name: "norm.weight".into(), tensor, decays: false });
        if !self.config.tied_head {
            let tensor = self.head.dense()?.clone();
            parameters.push(Parameter { name: "lm_head.weight".into(), tensor, decays: true });
        }
        Ok(parameters)
    }

    /// Puts fresh adapters on the chosen linear layers of every block. They change nothing until
    /// they are trained, as `B` is zero.
    ///
    /// # Errors
    /// `lora_options`, or `model_quantised`.
    pub fn attach_adapters(
        &mut self,
        options: &AdapterOptions,
        seed: u64,
    ) -> Result<Arc<AdapterSwitch>> {
        options.check()?;
        let switch = AdapterSwitch::new();
        let mut layer_id = 0;
        for (name, linear) in self.blocks.iter_mut().flat_map(|block| block.linears_mut()) {
            layer_id += 1;
            let is_target = options.targets.iter().any(|target| name.ends_with(target.as_str()));
            linear.adapter = if is_target {
                let weight = linear.matrix.dense()?;
                Some(Adapter::new(weight, options, layer_id, seed, &switch)?)
            } else {
                None
            };
        }
        Ok(switch)
    }

    /// The adapters with their layers' names, such as `layers.0.self_attn.q_proj`.
    pub fn adapters(&self) -> Vec<(String, &Adapter)> {
        let linears = self.linears();
        linears
            .filter_map(|(name, linear)| linear.adapter.as_ref().map(|adapter| (name, adapter)))
            .collect()
    }

    /// The adapters' weights by name.
    pub fn adapter_parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for (name, adapter) in self.adapters() {
            adapter.parameters(&name, &mut parameters);
        }
        parameters
    }

    /// Puts all adapters into their matrices, or takes them out again to the last bit.
    pub fn set_merged(&mut self, merged: bool) -> Result<()> {
        let linears = self.blocks.iter_mut().flat_map(|block| block.linears_mut());
        linears.map(|(_, linear)| linear).try_for_each(|it| adapter::set_merged(it, merged))
    }

    fn linears(&self) -> impl Iterator<Item = (String, &Linear)> {
        self.blocks.iter().enumerate().flat_map(|(index, block)| {
            block.linears().map(|(name, linear)| (format!("layers.{index}.{name}"), linear))
        })
    }
}
