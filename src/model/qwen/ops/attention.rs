//! Causal attention without padding and without a table of `[tokens, tokens]`, over the rows of a
//! packed batch for training.

use candle_core::{D, DType, Result, Tensor, bail};
use rayon::prelude::*;

use super::kernel::{add_scaled, dot, exp, is_plain, max, read, sum, tensor, vectorised};

/// The sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    n_queries: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Sizes {
    fn of(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Self> {
        let (n_queries, n_heads, head_dim) = q.dims3()?;
        let (n_keys, n_kv_heads, _) = k.dims3()?;
        if n_keys != n_queries || k.shape() != v.shape() {
            bail!("attention of {n_queries} queries over {n_keys} keys, values {:?}", v.shape())
        }
        Ok(Self { n_queries, n_heads, n_kv_heads, head_dim })
    }

    fn scale(self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

/// Brings the weights to a sum of 1; returns the logarithm of the sum that they had.
#[inline(always)]
pub(super) fn softmax(weights: &mut [f32]) -> f32 {
    let largest = max(weights);
    weights.iter_mut().for_each(|weight| *weight = exp(*weight - largest));
    let total = sum(weights);
    weights.iter_mut().for_each(|weight| *weight /= total);
    largest + total.ln()
}

/// Attention of each row of a packed batch over itself. `q`: `[n, heads, head_dim]`;
/// `k`, `v`: `[n, kv_heads, head_dim]`; `lengths` are the rows' tokens. Returns the result, as
/// `q`, and for the backward pass the logarithm of each softmax's sum, `[n, heads]`.
pub fn packed_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    lengths: &[usize],
) -> Result<(Tensor, Tensor)> {
    let sizes = Sizes::of(q, k, v)?;
    if !is_plain(q) {
        return composed::packed(q, k, v, lengths);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (out, log_sums) = read([&q, &k, &v], |[q, k, v]| {
        let tasks = tasks(sizes, lengths);
        let done: Vec<_> = tasks
            .par_iter()
            .map(|task| {
                vectorised(
                    #[inline(always)]
                    || task.forward(&Operands { sizes, q, k, v }),
                )
            })
            .collect();
        let mut out = vec![0f32; q.len()];
        let mut log_sums = vec![0f32; sizes.n_queries * sizes.n_heads];
        for (task, (of_task, sums)) in tasks.iter().zip(&done) {
            for (head_idx, head) in task.heads(sizes).enumerate() {
                let n = task.n_tokens;
                let rows = &of_task[head_idx * n * sizes.head_dim..];
                task.put(sizes.n_heads, head, sizes.head_dim, rows, &mut out);
                task.put(sizes.n_heads, head, 1, &sums[head_idx * n..], &mut log_sums);
            }
        }
        (out, log_sums)
    })?;
    let log_sums = tensor(log_sums, (sizes.n_queries, sizes.n_heads), &q)?;
    Ok((tensor(out, q.shape(), &q)?, log_sums))
}

/// What [`packed_attention`] took, what it gave, and the gradient by its result.
pub struct AttentionRecord<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub out: &'a Tensor,
    pub log_sums: &'a Tensor,
}

/// Gradients by `q`, `k` and `v` (Dao 2023, arXiv 2307.08691, section 2.3, without its tiles):
/// with `P = exp(S - log_sums)`, `dV = Pᵀ dO`, `dS = P ∘ (dO Vᵀ - rowsum(dO ∘ O))`,
/// `dQ = dS K scale`, `dK = dSᵀ Q scale`.
pub fn attention_backward(
    record: &AttentionRecord<'_>,
    d: &Tensor,
    lengths: &[usize],
) -> Result<(Tensor, Tensor, Tensor)> {
    let AttentionRecord { q, k, v, out, log_sums } = record;
    let sizes = Sizes::of(q, k, v)?;
    if !is_plain(q) {
        return composed::backward(record, d, lengths);
    }
    let (q, k, v, d) = (q.contiguous()?, k.contiguous()?, v.contiguous()?, d.contiguous()?);
    let (d_q, d_k, d_v) = read([&q, &k, &v, out, log_sums, &d], |[q, k, v, out, log_sums, d]| {
        let operands = Operands { sizes, q, k, v };
        let given = Given { out, log_sums, d };
        let tasks = tasks(sizes, lengths);
        let done: Vec<_> = tasks
            .par_iter()
            .map(|task| {
                vectorised(
                    #[inline(always)]
                    || task.backward(&operands, &given),
                )
            })
            .collect();
        let mut d_q = vec![0f32; q.len()];
        let (mut d_k, mut d_v) = (vec![0f32; k.len()], vec![0f32; v.len()]);
        let (n_kv_heads, head_dim) = (sizes.n_kv_heads, sizes.head_dim);
        for (task, done) in tasks.iter().zip(&done) {
            for (head_idx, head) in task.heads(sizes).enumerate() {
                let rows = &done.q[head_idx * task.n_tokens * head_dim..];
                task.put(sizes.n_heads, head, head_dim, rows, &mut d_q);
            }
            task.put(n_kv_heads, task.kv_head, head_dim, &done.k, &mut d_k);
            task.put(n_kv_heads, task.kv_head, head_dim, &done.v, &mut d_v);
        }
        (d_q, d_k, d_v)
    })?;
    Ok((tensor(d_q, q.shape(), &q)?, tensor(d_k, k.shape(), &q)?, tensor(d_v, v.shape(), &q)?))
}

struct Operands<'a> {
    sizes: Sizes,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
}

struct Given<'a> {
    out: &'a [f32],
    log_sums: &'a [f32],
    d: &'a [f32],
}

/// Gradients of one task: `[heads of the group, n, head_dim]`, `[n, head_dim]`, `[n, head_dim]`.
struct Done {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

/// One row of the batch and one key-value head with its query heads: what a thread does alone.
struct Task {
    start: usize,
    n_tokens: usize,
    kv_head: usize,
}

fn tasks(sizes: Sizes, lengths: &[usize]) -> Vec<Task> {
    let mut start = 0;
    let mut tasks = Vec::with_capacity(lengths.len() * sizes.n_kv_heads);
    for n_tokens in lengths.iter().copied() {
        tasks.extend((0..sizes.n_kv_heads).map(|kv_head| Task { start, n_tokens, kv_head }));
        start += n_tokens;
    }
    tasks
}

impl Task {
    fn heads(&self, sizes: Sizes) -> std::ops::Range<usize> {
        let group = sizes.n_heads / sizes.n_kv_heads;
        self.kv_head * group..(self.kv_head + 1) * group
    }

    /// One head's rows, `[n, width]`, out of `[all tokens, n_heads, width]`.
    #[inline(always)]
    fn take(&self, n_heads: usize, head: usize, width: usize, from: &[f32]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(self.n_tokens * width);
        for token in self.start..self.start + self.n_tokens {
            rows.extend_from_slice(&from[(token * n_heads + head) * width..][..width]);
        }
        rows
    }

    /// The same the other way.
    fn put(&self, n_heads: usize, head: usize, width: usize, rows: &[f32], to: &mut [f32]) {
        for (row, token) in rows.chunks_exact(width).zip(self.start..self.start + self.n_tokens) {
            to[(token * n_heads + head) * width..][..width].copy_from_slice(row);
        }
    }

    #[inline(always)]
    fn forward(&self, operands: &Operands<'_>) -> (Vec<f32>, Vec<f32>) {
        let Operands { sizes, q, k, v } = *operands;
        let (n, width) = (self.n_tokens, sizes.head_dim);
        let columns = transposed(&self.take(sizes.n_kv_heads, self.kv_head, width, k), width);
        let values = self.take(sizes.n_kv_heads, self.kv_head, width, v);
        let n_group = self.heads(sizes).len();
        let mut out = vec![0f32; n_group * n * width];
        let mut log_sums = vec![0f32; n_group * n];
        let mut weights = vec![0f32; n];
        for (head_idx, head) in self.heads(sizes).enumerate() {
            let queries = self.take(sizes.n_heads, head, width, q);
            for token in 0..n {
                let weights = &mut weights[..=token];
                let query = &queries[token * width..][..width];
                products(query, &columns, n, sizes.scale(), weights);
                log_sums[head_idx * n + token] = softmax(weights);
                let out = &mut out[(head_idx * n + token) * width..][..width];
                for (weight, value) in weights.iter().zip(values.chunks_exact(width)) {
                    add_scaled(out, *weight, value);
                }
            }
        }
        (out, log_sums)
    }

    #[inline(always)]
    fn backward(&self, operands: &Operands<'_>, given: &Given<'_>) -> Done {
        let Operands { sizes, q, k, v } = *operands;
        let (n, width, scale) = (self.n_tokens, sizes.head_dim, sizes.scale());
        let keys = self.take(sizes.n_kv_heads, self.kv_head, width, k);
        let key_columns = transposed(&keys, width);
        let value_columns = transposed(&self.take(sizes.n_kv_heads, self.kv_head, width, v), width);
        let n_group = self.heads(sizes).len();
        let mut done = Done {
            q: vec![0f32; n_group * n * width],
            k: vec![0f32; n * width],
            v: vec![0f32; n * width],
        };
        let (mut weights, mut slopes) = (vec![0f32; n], vec![0f32; n]);
        for (head_idx, head) in self.heads(sizes).enumerate() {
            let queries = self.take(sizes.n_heads, head, width, q);
            let out = self.take(sizes.n_heads, head, width, given.out);
            let d = self.take(sizes.n_heads, head, width, given.d);
            let log_sums = self.take(sizes.n_heads, head, 1, given.log_sums);
            for token in 0..n {
                let of_token = token * width..(token + 1) * width;
                let (query, d) = (&queries[of_token.clone()], &d[of_token.clone()]);
                let (weights, slopes) = (&mut weights[..=token], &mut slopes[..=token]);
                products(query, &key_columns, n, scale, weights);
                products(d, &value_columns, n, 1.0, slopes);
                let mean = dot(d, &out[of_token]);
                for (weight, slope) in weights.iter_mut().zip(slopes.iter_mut()) {
                    *weight = exp(*weight - log_sums[token]);
                    *slope = *weight * (*slope - mean) * scale;
                }
                let d_query = &mut done.q[(head_idx * n + token) * width..][..width];
                let rows = keys.chunks_exact(width).zip(done.k.chunks_exact_mut(width));
                let rows = rows.zip(done.v.chunks_exact_mut(width));
                for (((key, d_key), d_value), (weight, slope)) in
                    rows.zip(weights.iter().zip(slopes.iter()))
                {
                    add_scaled(d_query, *slope, key);
                    add_scaled(d_key, *slope, query);
                    add_scaled(d_value, *weight, d);
                }
            }
        }
        done
    }
}

/// `[n, width]` as `[width, n]`.
#[inline(always)]
fn transposed(rows: &[f32], width: usize) -> Vec<f32> {
    let n = rows.len() / width;
    let mut columns = vec![0f32; rows.len()];
    for (index, row) in rows.chunks_exact(width).enumerate() {
        for (column, value) in row.iter().enumerate() {
            columns[column * n + index] = *value;
        }
    }
    columns
}

/// `out[j] = scale · query · column j`: all keys side by side, so that nothing is summed across
/// the lanes of a register.
#[inline(always)]
fn products(query: &[f32], columns: &[f32], n: usize, scale: f32, out: &mut [f32]) {
    out.fill(0.0);
    for (value, column) in query.iter().zip(columns.chunks_exact(n)) {
        add_scaled(out, value * scale, column);
    }
}

/// The same by candle's operations, for any device and type, with a table for each row.
pub(super) mod composed {
    use super::{AttentionRecord, D, DType, Result, Tensor};

    /// One row's attention and the logarithms of its sums, `[n, heads]`.
    pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        let (n_heads, dtype) = (q.dim(1)?, q.dtype());
        let (q, k) = (heads_first(q, n_heads)?, heads_first(k, n_heads)?);
        let v = heads_first(v, n_heads)?;
        let scores = masked_scores(&q, &k)?;
        let largest = scores.max_keepdim(D::Minus1)?;
        let weights = scores.broadcast_sub(&largest)?.exp()?;
        let total = weights.sum_keepdim(D::Minus1)?;
        let out = weights.broadcast_div(&total)?.matmul(&v)?;
        let log_sums = (total.log()? + largest)?.squeeze(D::Minus1)?.t()?.contiguous()?;
        Ok((out.transpose(0, 1)?.contiguous()?.to_dtype(dtype)?, log_sums))
    }

    pub fn packed(
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        lengths: &[usize],
    ) -> Result<(Tensor, Tensor)> {
        let mut start = 0;
        let (mut out, mut log_sums) = (Vec::new(), Vec::new());
        for n in lengths {
            let row = |x: &Tensor| x.narrow(0, start, *n);
            let (of_row, sums) = attend(&row(q)?, &row(k)?, &row(v)?)?;
            out.push(of_row);
            log_sums.push(sums);
            start += n;
        }
        Ok((Tensor::cat(&out, 0)?, Tensor::cat(&log_sums, 0)?))
    }

    pub fn backward(
        record: &AttentionRecord<'_>,
        d: &Tensor,
        lengths: &[usize],
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let mut start = 0;
        let (mut d_q, mut d_k, mut d_v) = (Vec::new(), Vec::new(), Vec::new());
        for n in lengths {
            let row = |x: &Tensor| x.narrow(0, start, *n);
            let (q, k, v) = (row(record.q)?, row(record.k)?, row(record.v)?);
            let given = (row(record.out)?, row(record.log_sums)?, row(d)?);
            let (q, k, v) = row_backward(&q, &k, &v, &given)?;
            d_q.push(q);
            d_k.push(k);
            d_v.push(v);
            start += n;
        }
        Ok((Tensor::cat(&d_q, 0)?, Tensor::cat(&d_k, 0)?, Tensor::cat(&d_v, 0)?))
    }

    fn row_backward(
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        (out, log_sums, d): &(Tensor, Tensor, Tensor),
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (n_heads, n_kv_heads, dtype) = (q.dim(1)?, k.dim(1)?, q.dtype());
        let scale = 1.0 / (q.dim(2)? as f64).sqrt();
        let first = |x: &Tensor| heads_first(x, n_heads);
        let (q, k, v, out, d) = (first(q)?, first(k)?, first(v)?, first(out)?, first(d)?);
        let log_sums = log_sums.t()?.unsqueeze(2)?;
        let weights = masked_scores(&q, &k)?.broadcast_sub(&log_sums)?.exp()?;
        let mean = (&d * out)?.sum_keepdim(D::Minus1)?;
        let slopes = d.matmul(&v.t()?.contiguous()?)?.broadcast_sub(&mean)?;
        let slopes = ((&weights * slopes)? * scale)?;
        let d_q = slopes.matmul(&k)?;
        let d_k = slopes.t()?.contiguous()?.matmul(&q)?;
        let d_v = weights.t()?.contiguous()?.matmul(&d)?;
        let tokens_first = |x: &Tensor| x.transpose(0, 1)?.contiguous()?.to_dtype(dtype);
        // The query heads of a group share their key-value head.
        let summed = |x: Tensor| {
            let (_, n, width) = x.dims3()?;
            tokens_first(&x.reshape((n_kv_heads, n_heads / n_kv_heads, n, width))?.sum(1)?)
        };
        Ok((tokens_first(&d_q)?, summed(d_k)?, summed(d_v)?))
    }

    /// `[n, heads or kv_heads, width] -> [n_heads, n, width]` in f32.
    fn heads_first(x: &Tensor, n_heads: usize) -> Result<Tensor> {
        let (n, n_own, width) = x.dims3()?;
        let x = x.to_dtype(DType::F32)?.transpose(0, 1)?.unsqueeze(1)?;
        x.expand((n_own, n_heads / n_own, n, width))?.reshape((n_heads, n, width))?.contiguous()
    }

    /// `q kᵀ / sqrt(width)`, minus infinity where a key is later than the query.
    fn masked_scores(q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let (_, n_queries, width) = q.dims3()?;
        let n_keys = k.dim(1)?;
        let scores = (q.matmul(&k.t()?.contiguous()?)? / (width as f64).sqrt())?;
        let mask: Vec<f32> = (0..n_queries)
            .flat_map(|query| {
                let n_seen = n_keys - n_queries + query + 1;
                (0..n_keys).map(move |key| if key < n_seen { 0.0 } else { f32::NEG_INFINITY })
            })
            .collect();
        scores.broadcast_add(&Tensor::from_vec(mask, (n_queries, n_keys), q.device())?)
    }
}
