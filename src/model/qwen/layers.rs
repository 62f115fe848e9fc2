//! The pieces of a decoder block.

use std::sync::Arc;

use candle_core::quantized::QMatMul;
use candle_core::{Module, Tensor};

use super::attention::causal_attention;
use super::cache::RowCache;
use super::config::{Family, QwenConfig};
use super::ops;
use super::weights::Weights;
use crate::error::Result;

/// A linear layer's matrix, `[n_out, n_in]`.
#[derive(Debug, Clone)]
pub enum Matrix {
    Dense(Tensor),
    Quantised(Arc<QMatMul>),
}

impl Matrix {
    /// `x Wᵀ`: `[n, n_in] -> [n, n_out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Dense(weight) => x.matmul(&weight.t()?)?,
            Self::Quantised(weight) => weight.forward(x)?,
        })
    }
}

/// `x Wᵀ + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Tensor>,
}

impl Linear {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let out = self.matrix.forward(x)?;
        Ok(match &self.bias {
            Some(bias) => out.broadcast_add(bias)?,
            None => out,
        })
    }
}

/// One row's share of a packed batch: `n_tokens` tokens, and what came before them.
pub struct Segment<'a> {
    pub n_tokens: usize,
    /// Earlier keys and values; none means that the row starts here and is not continued.
    pub cache: Option<&'a mut RowCache>,
}

/// A decoder block: `x + attention(norm(x))`, then `x + mlp(norm(x))`.
pub(super) struct Block {
    index: usize,
    input_norm: Tensor,
    attention: Attention,
    post_norm: Tensor,
    mlp: Mlp,
    eps: f64,
}

impl Block {
    pub fn load(config: &QwenConfig, index: usize, weights: &mut dyn Weights) -> Result<Self> {
        let name = format!("layers.{index}");
        let width = [config.hidden_size];
        Ok(Self {
            index,
            input_norm: weights.tensor(&format!("{name}.input_layernorm.weight"), &width)?,
            attention: Attention::load(config, &format!("{name}.self_attn"), weights)?,
            post_norm: weights
                .tensor(&format!("{name}.post_attention_layernorm.weight"), &width)?,
            mlp: Mlp::load(config, &format!("{name}.mlp"), weights)?,
            eps: config.rms_norm_eps,
        })
    }

    /// `x`: `[n, hidden]` for all segments' tokens, one behind another.
    pub fn forward(
        &self,
        x: &Tensor,
        rotary: &(Tensor, Tensor),
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let normed = ops::rms_norm(x, &self.input_norm, self.eps)?;
        let x = (x + self.attention.forward(&normed, rotary, segments, self.index)?)?;
        let normed = ops::rms_norm(&x, &self.post_norm, self.eps)?;
        Ok((&x + self.mlp.forward(&normed)?)?)
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// Qwen3's norms over each query and key head, `[head_dim]`.
    head_norms: Option<(Tensor, Tensor)>,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    eps: f64,
}

impl Attention {
    fn load(config: &QwenConfig, name: &str, weights: &mut dyn Weights) -> Result<Self> {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let (q_width, kv_width) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
        let bias = config.attention_bias;
        // Qwen3 with `attention_bias` has one on the output too, Qwen2 never has.
        let output_bias = bias && config.family == Family::Qwen3;
        let head_norms = match config.family {
            Family::Qwen2 => None,
            Family::Qwen3 => Some((
                weights.tensor(&format!("{name}.q_norm.weight"), &[head_dim])?,
                weights.tensor(&format!("{name}.k_norm.weight"), &[head_dim])?,
            )),
        };
        Ok(Self {
            query: weights.linear(&format!("{name}.q_proj"), q_width, hidden, bias)?,
            key: weights.linear(&format!("{name}.k_proj"), kv_width, hidden, bias)?,
            value: weights.linear(&format!("{name}.v_proj"), kv_width, hidden, bias)?,
            output: weights.linear(&format!("{name}.o_proj"), hidden, q_width, output_bias)?,
            head_norms,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim,
            eps: config.rms_norm_eps,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        (cos, sin): &(Tensor, Tensor),
        segments: &mut [Segment<'_>],
        layer: usize,
    ) -> Result<Tensor> {
        let n_tokens = x.dim(0)?;
        let heads = |x: Tensor, n_heads| x.reshape((n_tokens, n_heads, self.head_dim));
        let mut q = heads(self.query.forward(x)?, self.n_heads)?;
        let mut k = heads(self.key.forward(x)?, self.n_kv_heads)?;
        let v = heads(self.value.forward(x)?, self.n_kv_heads)?;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            q = ops::rms_norm(&q, q_norm, self.eps)?;
            k = ops::rms_norm(&k, k_norm, self.eps)?;
        }
        let (q, k) = (ops::rope(&q, cos, sin)?, ops::rope(&k, cos, sin)?);
        let mut attended = Vec::with_capacity(segments.len());
        let mut start = 0;
        for segment in segments.iter_mut() {
            let of_segment = |x: &Tensor| x.narrow(0, start, segment.n_tokens);
            let (q, k, v) = (of_segment(&q)?, of_segment(&k)?, of_segment(&v)?);
            start += segment.n_tokens;
            let (k, v) = match segment.cache.as_deref_mut() {
                Some(cache) => cache.append(layer, &k, &v)?,
                None => (k, v),
            };
            attended.push(causal_attention(&q, &k, &v)?);
        }
        let attended =
            if attended.len() == 1 { attended.remove(0) } else { Tensor::cat(&attended, 0)? };
        self.output.forward(&attended.reshape((n_tokens, self.n_heads * self.head_dim))?)
    }
}

struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    fn load(config: &QwenConfig, name: &str, weights: &mut dyn Weights) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            gate: weights.linear(&format!("{name}.gate_proj"), inner, hidden, false)?,
            up: weights.linear(&format!("{name}.up_proj"), inner, hidden, false)?,
            down: weights.linear(&format!("{name}.down_proj"), hidden, inner, false)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&ops::swiglu(&self.gate.forward(x)?, &self.up.forward(x)?)?)
    }
}
