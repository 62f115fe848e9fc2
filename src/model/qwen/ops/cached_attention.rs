//! Causal attention of a packed batch of rows, each over its own keys and values and those that it
//! shares with others. For serving and drawing; nothing is kept for a backward pass.

use candle_core::{Result, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::attention::{composed, softmax};
use super::kernel::{add_scaled, is_plain, read_all, tensor};

/// Below this many multiplications one thread does all of them.
const PARALLEL_WORK: usize = 262_144;
/// Sums that stay in vector registers over all keys.
const BLOCK: usize = 32;

/// One row of a packed batch.
pub struct AttendedRow {
    pub n_queries: usize,
    /// All of the row's keys and values up to the last query's own, the earliest first, in pieces
    /// of twice `[len, kv_heads, head_dim]`.
    pub parts: Vec<(Tensor, Tensor)>,
}

/// `softmax(q kᵀ / sqrt(head_dim)) v`, where query `i` of a row's `n` sees its keys
/// `0 ..= len - n + i`. `q`: `[all queries, heads, head_dim]`, one row behind another; out as `q`.
pub fn cached_attention(q: &Tensor, rows: &[AttendedRow]) -> Result<Tensor> {
    let sizes = Sizes::of(q, rows)?;
    if !is_plain(q) {
        return composed_rows(q, rows);
    }
    let q = q.contiguous()?;
    let tensors: Vec<&Tensor> =
        rows.iter().flat_map(|row| row.parts.iter().flat_map(|(k, v)| [k, v])).collect();
    let out = read_all(&[&[&q], tensors.as_slice()].concat(), |slices| {
        let queries = queries(rows, &slices[1..], sizes);
        let mut out = vec![0f32; slices[0].len()];
        let width = sizes.n_heads * sizes.head_dim;
        let attend = |weights: &mut Vec<f32>, ((query, q), out): ((&Query<'_>, &[f32]), _)| {
            Arch::new().dispatch(Attend { sizes, query, q, weights, out });
        };
        let n_products: usize = queries.iter().map(|query| query.n_seen * width).sum();
        if n_products < PARALLEL_WORK {
            let mut weights = Vec::new();
            let each = queries.iter().zip(slices[0].chunks(width)).zip(out.chunks_mut(width));
            each.for_each(|each| attend(&mut weights, each));
        } else {
            let each = queries.par_iter().zip(slices[0].par_chunks(width));
            each.zip(out.par_chunks_mut(width)).for_each_init(Vec::new, attend);
        }
        out
    })?;
    tensor(out, q.shape(), &q)
}

#[derive(Clone, Copy)]
struct Sizes {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl Sizes {
    fn of(q: &Tensor, rows: &[AttendedRow]) -> Result<Self> {
        let (n_queries, n_heads, head_dim) = q.dims3()?;
        let Some((first, _)) = rows.iter().find_map(|row| row.parts.first()) else {
            bail!("attention of {n_queries} queries over no keys")
        };
        let n_kv_heads = first.dim(1)?;
        let mut n_all = 0;
        for row in rows {
            let mut n_keys = 0;
            for (k, v) in &row.parts {
                if k.shape() != v.shape() || k.dims()[1..] != [n_kv_heads, head_dim] {
                    bail!("keys {:?} and values {:?} of {q:?}", k.shape(), v.shape())
                }
                n_keys += k.dim(0)?;
            }
            if n_keys < row.n_queries {
                bail!("attention of {} queries over {n_keys} keys", row.n_queries)
            }
            n_all += row.n_queries;
        }
        if n_all != n_queries {
            bail!("{n_queries} queries in rows of {n_all}")
        }
        Ok(Self { n_heads, n_kv_heads, head_dim })
    }
}

/// One query token and what it sees.
struct Query<'a> {
    n_seen: usize,
    parts: &'a [[&'a [f32]; 2]],
}

fn queries<'a>(rows: &[AttendedRow], slices: &'a [&'a [f32]], sizes: Sizes) -> Vec<Query<'a>> {
    let (parts, _) = slices.as_chunks::<2>();
    let mut start = 0;
    let mut queries = Vec::new();
    for row in rows {
        let parts = &parts[start..start + row.parts.len()];
        start += row.parts.len();
        let n_values: usize = parts.iter().map(|[keys, _]| keys.len()).sum();
        let n_before = n_values / (sizes.n_kv_heads * sizes.head_dim) - row.n_queries;
        queries.extend((1..=row.n_queries).map(|n| Query { n_seen: n_before + n, parts }));
    }
    queries
}

/// All heads of one token: `q` and `out` are `[heads, head_dim]`.
struct Attend<'a> {
    sizes: Sizes,
    query: &'a Query<'a>,
    q: &'a [f32],
    /// Room for one number a key.
    weights: &'a mut Vec<f32>,
    out: &'a mut [f32],
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sizes: Sizes { n_heads, n_kv_heads, head_dim }, query, q, weights, out } = self;
        let stride = n_kv_heads * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        weights.clear();
        weights.resize(query.n_seen, 0.0);
        let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
        for (head, (q, out)) in heads.enumerate() {
            let start = head / (n_heads / n_kv_heads) * head_dim;
            let mut rest = weights.as_mut_slice();
            for [keys, _] in query.parts {
                let n = (keys.len() / stride).min(rest.len());
                let (of_part, after) = rest.split_at_mut(n);
                for (weight, key) in of_part.iter_mut().zip(keys.chunks_exact(stride)) {
                    *weight = dot(simd, q, &key[start..start + head_dim]) * scale;
                }
                rest = after;
            }
            softmax(weights);
            let mut rest = weights.as_slice();
            for [_, values] in query.parts {
                let (of_part, after) = rest.split_at((values.len() / stride).min(rest.len()));
                add_values(out, of_part, values, stride, start);
                rest = after;
            }
        }
    }
}

/// The inner product. Written for the registers, because the compiler orders the sum over the
/// lanes of short rows badly.
#[inline(always)]
fn dot<S: Simd>(simd: S, left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = S::as_simd_f32s(left);
    let (right, right_rest) = S::as_simd_f32s(right);
    let mut lanes = simd.splat_f32s(0.0);
    for (left, right) in left.iter().zip(right) {
        lanes = simd.mul_add_f32s(*left, *right, lanes);
    }
    let mut sum = simd.reduce_sum_f32s(lanes);
    for (left, right) in left_rest.iter().zip(right_rest) {
        sum += left * right;
    }
    sum
}

/// `out += Σ weight · value`, where value `j` is at `start` of the `j`th `stride` numbers.
#[inline(always)]
fn add_values(out: &mut [f32], weights: &[f32], values: &[f32], stride: usize, start: usize) {
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let values = || weights.iter().zip(values.chunks_exact(stride));
    let mut from = start;
    for block in blocks {
        let mut sums = *block;
        for (weight, value) in values() {
            let value = &value[from..from + BLOCK];
            for lane in 0..BLOCK {
                sums[lane] += weight * value[lane];
            }
        }
        *block = sums;
        from += BLOCK;
    }
    if !rest.is_empty() {
        for (weight, value) in values() {
            add_scaled(rest, *weight, &value[from..from + rest.len()]);
        }
    }
}

/// The same by candle's operations, for any device and type.
fn composed_rows(q: &Tensor, rows: &[AttendedRow]) -> Result<Tensor> {
    let mut start = 0;
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let q = q.narrow(0, start, row.n_queries)?;
        start += row.n_queries;
        let attended = match row.parts.as_slice() {
            [(k, v)] => composed::attend(&q, k, v)?,
            parts => {
                let (k, v): (Vec<&Tensor>, Vec<&Tensor>) =
                    parts.iter().map(|(k, v)| (k, v)).unzip();
                composed::attend(&q, &Tensor::cat(&k, 0)?, &Tensor::cat(&v, 0)?)?
            }
        };
        out.push(attended.0);
    }
    if out.len() == 1 { Ok(out.remove(0)) } else { Tensor::cat(&out, 0) }
}
