//! The pieces of a decoder block, forwards for serving, and recorded and backwards for training.

use candle_core::Tensor;

use super::cache::RowCache;
use super::config::{Family, QwenConfig};
use super::gradients::{Gradients, Parameter};
use super::linear::Linear;
use super::ops::{self, AttendedRow, AttentionRecord};
use super::weights::Weights;
use crate::error::Result;

/// cos and sin of the tokens' positions, both `[n, head_dim / 2]`.
pub(super) type Rotary = (Tensor, Tensor);

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

/// What a block's backward pass needs of its forward pass.
pub(super) struct BlockTape {
    x: Tensor,
    attention: AttentionTape,
    middle: Tensor,
    gate: Tensor,
    up: Tensor,
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
        rotary: &Rotary,
        segments: &mut [Segment<'_>],
    ) -> Result<Tensor> {
        let normed = ops::rms_norm(x, &self.input_norm, self.eps)?;
        let x = (x + self.attention.forward(&normed, rotary, segments, self.index)?)?;
        let normed = ops::rms_norm(&x, &self.post_norm, self.eps)?;
        let (gate, up) = self.mlp.gates(&normed)?;
        Ok((&x + self.mlp.finish(&gate, &up)?)?)
    }

    /// [`Self::forward`] of whole rows without caches, and what the backward pass needs of it.
    pub fn record(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        lengths: &[usize],
    ) -> Result<(Tensor, BlockTape)> {
        let normed = ops::rms_norm(x, &self.input_norm, self.eps)?;
        let (attended, attention) = self.attention.record(&normed, rotary, lengths)?;
        let middle = (x + attended)?;
        let normed = ops::rms_norm(&middle, &self.post_norm, self.eps)?;
        let (gate, up) = self.mlp.gates(&normed)?;
        let out = (&middle + self.mlp.finish(&gate, &up)?)?;
        Ok((out, BlockTape { x: x.clone(), attention, middle, gate, up }))
    }

    /// The gradient by the block's input from that by its result, `[n, hidden]`.
    pub fn backward(
        &self,
        tape: BlockTape,
        d: &Tensor,
        rotary: &Rotary,
        lengths: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let normed = ops::rms_norm(&tape.middle, &self.post_norm, self.eps)?;
        let d_normed = self.mlp.backward(&normed, &tape.gate, &tape.up, d, gradients)?;
        let mut d_middle =
            norm_backward(&tape.middle, &self.post_norm, self.eps, &d_normed, gradients)?;
        ops::add_in_place(&mut d_middle, d)?;
        let normed = ops::rms_norm(&tape.x, &self.input_norm, self.eps)?;
        let d_normed = self.attention.backward(
            &normed,
            &tape.attention,
            &d_middle,
            rotary,
            lengths,
            gradients,
        )?;
        let mut d_x = norm_backward(&tape.x, &self.input_norm, self.eps, &d_normed, gradients)?;
        ops::add_in_place(&mut d_x, &d_middle)?;
        Ok(d_x)
    }

    /// The block's own weights in the order of their use.
    pub fn parameters(&self, out: &mut Vec<Parameter>) -> Result<()> {
        let name = format!("layers.{}", self.index);
        let norm = |name: String, tensor: &Tensor| Parameter {
            name,
            tensor: tensor.clone(),
            decays: false,
        };
        out.push(norm(format!("{name}.input_layernorm.weight"), &self.input_norm));
        self.attention.parameters(&format!("{name}.self_attn"), out)?;
        out.push(norm(format!("{name}.post_attention_layernorm.weight"), &self.post_norm));
        let mlp = &self.mlp;
        for (layer, linear) in [("gate", &mlp.gate), ("up", &mlp.up), ("down", &mlp.down)] {
            linear.parameters(&format!("{name}.mlp.{layer}_proj"), out)?;
        }
        Ok(())
    }

    /// The seven linear layers with their names within the block.
    pub fn linears(&self) -> [(&'static str, &Linear); 7] {
        let (attention, mlp) = (&self.attention, &self.mlp);
        [
            ("self_attn.q_proj", &attention.query),
            ("self_attn.k_proj", &attention.key),
            ("self_attn.v_proj", &attention.value),
            ("self_attn.o_proj", &attention.output),
            ("mlp.gate_proj", &mlp.gate),
            ("mlp.up_proj", &mlp.up),
            ("mlp.down_proj", &mlp.down),
        ]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        let (attention, mlp) = (&mut self.attention, &mut self.mlp);
        [
            ("self_attn.q_proj", &mut attention.query),
            ("self_attn.k_proj", &mut attention.key),
            ("self_attn.v_proj", &mut attention.value),
            ("self_attn.o_proj", &mut attention.output),
            ("mlp.gate_proj", &mut mlp.gate),
            ("mlp.up_proj", &mut mlp.up),
            ("mlp.down_proj", &mut mlp.down),
        ]
    }
}

/// The gradient by the input of a norm; that by its weight goes to `gradients`.
pub(super) fn norm_backward(
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    d: &Tensor,
    gradients: &mut Gradients,
) -> Result<Tensor> {
    let (d_x, d_weight) = ops::rms_norm_backward(x, weight, eps, d, gradients.wants(weight))?;
    if let Some(d_weight) = d_weight {
        gradients.add(weight, d_weight)?;
    }
    Ok(d_x)
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

/// Queries, keys and values, `[n, heads, head_dim]`.
struct Projected {
    /// Queries and keys before their norms, where there are norms.
    raw: Option<(Tensor, Tensor)>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

struct AttentionTape {
    projected: Projected,
    out: Tensor,
    log_sums: Tensor,
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

    fn project(&self, x: &Tensor, (cos, sin): &Rotary) -> Result<Projected> {
        let n_tokens = x.dim(0)?;
        let heads = |x: Tensor, n_heads| x.reshape((n_tokens, n_heads, self.head_dim));
        let mut q = heads(self.query.forward(x)?, self.n_heads)?;
        let mut k = heads(self.key.forward(x)?, self.n_kv_heads)?;
        let v = heads(self.value.forward(x)?, self.n_kv_heads)?;
        let mut raw = None;
        if let Some((q_norm, k_norm)) = &self.head_norms {
            let normed =
                (ops::rms_norm(&q, q_norm, self.eps)?, ops::rms_norm(&k, k_norm, self.eps)?);
            raw = Some((q, k));
            (q, k) = normed;
        }
        Ok(Projected { raw, q: ops::rope(&q, cos, sin)?, k: ops::rope(&k, cos, sin)?, v })
    }

    /// `[n, heads, head_dim] -> [n, hidden]`.
    fn finish(&self, attended: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.flat(attended)?)
    }

    /// `[n, heads, head_dim] -> [n, heads head_dim]`.
    fn flat(&self, heads: &Tensor) -> Result<Tensor> {
        Ok(heads.flatten_from(1)?)
    }

    fn forward(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        segments: &mut [Segment<'_>],
        layer: usize,
    ) -> Result<Tensor> {
        let Projected { q, k, v, .. } = self.project(x, rotary)?;
        let mut rows = Vec::with_capacity(segments.len());
        let mut start = 0;
        for segment in segments.iter_mut() {
            let of_segment = |x: &Tensor| x.narrow(0, start, segment.n_tokens);
            let (k, v) = (of_segment(&k)?, of_segment(&v)?);
            start += segment.n_tokens;
            let parts = match segment.cache.as_deref_mut() {
                Some(cache) => cache.append(layer, &k, &v)?,
                None => vec![(k, v)],
            };
            rows.push(AttendedRow { n_queries: segment.n_tokens, parts });
        }
        let attended = ops::cached_attention(&q, &rows)?;
        self.finish(&attended)
    }

    fn record(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        lengths: &[usize],
    ) -> Result<(Tensor, AttentionTape)> {
        let projected = self.project(x, rotary)?;
        let Projected { q, k, v, .. } = &projected;
        let (out, log_sums) = ops::packed_attention(q, k, v, lengths)?;
        Ok((self.finish(&out)?, AttentionTape { projected, out, log_sums }))
    }

    fn backward(
        &self,
        x: &Tensor,
        tape: &AttentionTape,
        d: &Tensor,
        (cos, sin): &Rotary,
        lengths: &[usize],
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let d_out = self.output.backward(&self.flat(&tape.out)?, d, gradients)?;
        let Projected { raw, q, k, v } = &tape.projected;
        let record = AttentionRecord { q, k, v, out: &tape.out, log_sums: &tape.log_sums };
        let d_out = d_out.reshape(q.shape())?;
        let (d_q, d_k, d_v) = ops::attention_backward(&record, &d_out, lengths)?;
        let mut d_q = ops::rope_backward(&d_q, cos, sin)?;
        let mut d_k = ops::rope_backward(&d_k, cos, sin)?;
        if let (Some((raw_q, raw_k)), Some((q_norm, k_norm))) = (raw, &self.head_norms) {
            d_q = norm_backward(raw_q, q_norm, self.eps, &d_q, gradients)?;
            d_k = norm_backward(raw_k, k_norm, self.eps, &d_k, gradients)?;
        }
        let mut d_x = self.query.backward(x, &self.flat(&d_q)?, gradients)?;
        ops::add_in_place(&mut d_x, &self.key.backward(x, &self.flat(&d_k)?, gradients)?)?;
        ops::add_in_place(&mut d_x, &self.value.backward(x, &self.flat(&d_v)?, gradients)?)?;
        Ok(d_x)
    }

    fn parameters(&self, name: &str, out: &mut Vec<Parameter>) -> Result<()> {
        let layers =
            [("q", &self.query), ("k", &self.key), ("v", &self.value), ("o", &self.output)];
        for (letter, linear) in layers {
            linear.parameters(&format!("{name}.{letter}_proj"), out)?;
        }
        if let Some((q_norm, k_norm)) = &self.head_norms {
            for (letter, norm) in [("q", q_norm), ("k", k_norm)] {
                let name = format!("{name}.{letter}_norm.weight");
                out.push(Parameter { name, tensor: norm.clone(), decays: false });
            }
        }
        Ok(())
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

    /// What goes into the gated activation, twice `[n, inner]`.
    fn gates(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.gate.forward(x)?, self.up.forward(x)?))
    }

    fn finish(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        self.down.forward(&ops::swiglu(gate, up)?)
    }

    fn backward(
        &self,
        x: &Tensor,
        gate: &Tensor,
        up: &Tensor,
        d: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let d_inner = self.down.backward(&ops::swiglu(gate, up)?, d, gradients)?;
        let (d_gate, d_up) = ops::swiglu_backward(gate, up, &d_inner)?;
        let mut d_x = self.gate.backward(x, &d_gate, gradients)?;
        ops::add_in_place(&mut d_x, &self.up.backward(x, &d_up, gradients)?)?;
        Ok(d_x)
    }
}
