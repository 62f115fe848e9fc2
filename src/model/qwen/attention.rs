//! Causal attention of one row over its own keys and values, without padding and without a
//! materialised `[tokens, tokens]` table.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::ops::f32_slice;

/// Below this many multiplications one thread does all heads.
const PARALLEL_WORK: usize = 262_144;

/// `softmax(q kᵀ / sqrt(head_dim)) v`, where query `i` of `n` sees keys `0 ..= len - n + i`.
/// `q`: `[n, heads, head_dim]`; `k`, `v`: `[len, kv_heads, head_dim]`, `len >= n`; out as `q`.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    q.contiguous()?.apply_op3_no_bwd(k, v, &CausalAttention)
}

struct CausalAttention;

/// The sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    n_queries: usize,
    n_keys: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl CustomOp3 for CausalAttention {
    fn name(&self) -> &'static str {
        "causal-attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n_queries, n_heads, head_dim) = q_layout.shape().dims3()?;
        let (n_keys, n_kv_heads, _) = k_layout.shape().dims3()?;
        if n_keys < n_queries || k_layout.shape() != v_layout.shape() {
            bail!("attention of {n_queries} queries over {n_keys} keys, values {v_layout:?}")
        }
        let q = f32_slice(q, q_layout, self.name())?;
        let k = f32_slice(k, k_layout, self.name())?;
        let v = f32_slice(v, v_layout, self.name())?;
        let sizes = Sizes { n_queries, n_keys, n_heads, n_kv_heads, head_dim };
        let mut out = vec![0f32; q.len()];
        let work = n_queries * n_keys * n_heads * head_dim;
        let attend = |(query, out): (usize, &mut [f32])| {
            attend_token(sizes, query, q, k, v, out);
        };
        if work < PARALLEL_WORK {
            out.chunks_mut(n_heads * head_dim).enumerate().for_each(attend);
        } else {
            out.par_chunks_mut(n_heads * head_dim).enumerate().for_each(attend);
        }
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

/// All heads of one query token.
fn attend_token(sizes: Sizes, query: usize, q: &[f32], k: &[f32], v: &[f32], out: &mut [f32]) {
    let Sizes { n_queries, n_keys, n_heads, n_kv_heads, head_dim } = sizes;
    let n_seen = n_keys - n_queries + query + 1;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut weights = vec![0f32; n_seen];
    for head in 0..n_heads {
        let kv_head = head / (n_heads / n_kv_heads);
        let row_of = |key: usize| (key * n_kv_heads + kv_head) * head_dim;
        let q = &q[(query * n_heads + head) * head_dim..][..head_dim];
        for (key, weight) in weights.iter_mut().enumerate() {
            *weight = dot(q, &k[row_of(key)..][..head_dim]) * scale;
        }
        softmax(&mut weights);
        let out = &mut out[head * head_dim..(head + 1) * head_dim];
        for (key, weight) in weights.iter().enumerate() {
            for (out, value) in out.iter_mut().zip(&v[row_of(key)..][..head_dim]) {
                *out += weight * value;
            }
        }
    }
}

/// Eight running sums, so that the compiler can keep them in vector lanes.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (left_chunks, right_chunks) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest: f32 =
        left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for lane in 0..8 {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn softmax(weights: &mut [f32]) {
    let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0f32;
    for weight in weights.iter_mut() {
        *weight = (*weight - max).exp();
        sum += *weight;
    }
    for weight in weights.iter_mut() {
        *weight /= sum;
    }
}
