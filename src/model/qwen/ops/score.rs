//! Log-probabilities of given next tokens straight from hidden states: the output matrix, the
//! softmax and the choice of a column as one operation, chunk by chunk of tokens, so that scores
//! of `[tokens, vocabulary]` are never held. Every training loss stands on it.

use candle_core::{CpuStorage, D, DType, InplaceOp1, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::in_place::{add_in_place, slice_mut};
use super::kernel::{exp, is_plain, max, read, sum, vectorised};

/// Scores held at one time.
const CHUNK_SCORES: usize = 1 << 24;

/// What is asked of each token.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions {
    /// Scores are divided by it.
    pub temperature: f64,
    /// Whether `Σ -p ln p` and the mean score over the vocabulary are wanted too.
    pub statistics: bool,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self { temperature: 1.0, statistics: false }
    }
}

/// One number a token.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// ln of the target's probability.
    pub log_probs: Vec<f32>,
    /// Logarithm of the softmax's sum.
    pub log_sums: Vec<f32>,
    /// `Σ -p ln p` over the vocabulary; empty where it was not asked for.
    pub entropies: Vec<f32>,
    /// Mean score over the vocabulary; empty where it was not asked for.
    pub mean_scores: Vec<f32>,
    /// Whether the target has the best score of all.
    pub is_best: Vec<bool>,
}

impl Scores {
    fn extend(&mut self, chunk: Vec<TokenScore>, options: &ScoreOptions) {
        for token in chunk {
            self.log_probs.push(token.log_prob);
            self.log_sums.push(token.log_sum);
            self.is_best.push(token.is_best);
            if options.statistics {
                self.entropies.push(token.entropy);
                self.mean_scores.push(token.mean_score);
            }
        }
    }
}

struct TokenScore {
    log_prob: f32,
    log_sum: f32,
    entropy: f32,
    mean_score: f32,
    is_best: bool,
}

/// The gradients of the loss by what [`score`] gave, one number a token.
#[derive(Debug, Clone, Copy)]
pub struct ScoreSeeds<'a> {
    pub log_probs: &'a [f32],
    pub entropies: Option<&'a [f32]>,
}

/// Scores the targets after the hidden states. `hidden`: `[n, width]`, `weight`:
/// `[vocabulary, width]`, `targets`: `n` tokens.
pub fn score(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    options: &ScoreOptions,
) -> Result<Scores> {
    let mut scores = Scores::default();
    for chunk in chunks(hidden, weight, targets)? {
        let logits = chunk.logits(weight, options)?;
        scores.extend(measured(&logits, chunk.targets, options)?, options);
    }
    Ok(scores)
}

/// [`score`] with the gradient by `hidden`; that by `weight` is added to `d_weight`, in f32, where
/// there is one. With `p` a token's softmax and `H` its entropy,
/// `dlogits = dlog_prob (1[target] - p) - dentropy p (ln p + H)`, divided by the temperature.
pub fn score_with_gradient(
    hidden: &Tensor,
    weight: &Tensor,
    targets: &[u32],
    options: &ScoreOptions,
    seeds: ScoreSeeds<'_>,
    mut d_weight: Option<&mut Tensor>,
) -> Result<(Scores, Tensor)> {
    let mut scores = Scores::default();
    let mut d_hidden = Vec::new();
    for chunk in chunks(hidden, weight, targets)? {
        let logits = chunk.logits(weight, options)?;
        let measured = measured(&logits, chunk.targets, options)?;
        let of_chunk = chunk.start..chunk.start + chunk.targets.len();
        let seeds = ScoreSeeds {
            log_probs: &seeds.log_probs[of_chunk.clone()],
            entropies: seeds.entropies.map(|entropies| &entropies[of_chunk]),
        };
        let d_logits = slopes(logits, &measured, chunk.targets, options, seeds)?;
        d_hidden.push(d_logits.matmul(weight)?);
        if let Some(sum) = d_weight.as_deref_mut() {
            let of_chunk = d_logits.t()?.matmul(&chunk.hidden)?;
            add_in_place(sum, &of_chunk.to_dtype(DType::F32)?)?;
        }
        scores.extend(measured, options);
    }
    let d_hidden = match d_hidden.len() {
        0 => hidden.zeros_like()?,
        _ => Tensor::cat(&d_hidden, 0)?,
    };
    Ok((scores, d_hidden))
}

struct Chunk<'a> {
    start: usize,
    hidden: Tensor,
    targets: &'a [u32],
}

impl Chunk<'_> {
    /// `[n, vocabulary]`, fresh.
    fn logits(&self, weight: &Tensor, options: &ScoreOptions) -> Result<Tensor> {
        let logits = self.hidden.matmul(&weight.t()?)?;
        if options.temperature == 1.0 { Ok(logits) } else { logits / options.temperature }
    }
}

fn chunks<'a>(hidden: &Tensor, weight: &Tensor, targets: &'a [u32]) -> Result<Vec<Chunk<'a>>> {
    let (n_vocab, n) = (weight.dim(0)?, hidden.dim(0)?);
    if n != targets.len() {
        bail!("{n} hidden states cannot be scored for {} targets", targets.len())
    }
    if let Some(token) = targets.iter().find(|token| **token as usize >= n_vocab) {
        bail!("target {token} is outside the vocabulary of {n_vocab}")
    }
    let n_per_chunk = (CHUNK_SCORES / n_vocab).max(16);
    (0..n)
        .step_by(n_per_chunk)
        .map(|start| {
            let end = (start + n_per_chunk).min(n);
            let hidden = hidden.narrow(0, start, end - start)?.contiguous()?;
            Ok(Chunk { start, hidden, targets: &targets[start..end] })
        })
        .collect()
}

fn measured(logits: &Tensor, targets: &[u32], options: &ScoreOptions) -> Result<Vec<TokenScore>> {
    let wide = logits.to_dtype(DType::F32)?;
    if !is_plain(&wide) {
        return composed::measured(&wide, targets);
    }
    let n_vocab = wide.dim(1)?;
    read([&wide], |[values]| {
        let rows = values.par_chunks_exact(n_vocab).zip(targets.par_iter());
        rows.map(|(row, target)| {
            vectorised(
                #[inline(always)]
                || measure(row, *target, options),
            )
        })
        .collect()
    })
}

#[inline(always)]
fn measure(row: &[f32], target: u32, options: &ScoreOptions) -> TokenScore {
    let largest = max(row);
    let mut lanes = [0f32; 16];
    let mut weighted = [0f32; 16];
    let chunks = row.chunks_exact(16);
    let mut tail = (0f32, 0f32);
    for score in chunks.remainder() {
        let power = exp(score - largest);
        tail = (tail.0 + power, tail.1 + power * (score - largest));
    }
    for chunk in chunks {
        for lane in 0..16 {
            let power = exp(chunk[lane] - largest);
            lanes[lane] += power;
            // A token that cannot come adds nothing, though 0 times infinity is no number.
            weighted[lane] += if power > 0.0 { power * (chunk[lane] - largest) } else { 0.0 };
        }
    }
    let total = sum(&lanes) + tail.0;
    let log_total = total.ln();
    let own = row[target as usize];
    let (entropy, mean_score) = if options.statistics {
        (log_total - (sum(&weighted) + tail.1) / total, sum(row) / row.len() as f32)
    } else {
        (0.0, 0.0)
    };
    TokenScore {
        log_prob: (own - largest) - log_total,
        log_sum: largest + log_total,
        entropy,
        mean_score,
        is_best: own >= largest,
    }
}

/// Turns the scores into the gradient by them, in their own storage where that can be.
fn slopes(
    logits: Tensor,
    measured: &[TokenScore],
    targets: &[u32],
    options: &ScoreOptions,
    seeds: ScoreSeeds<'_>,
) -> Result<Tensor> {
    let inverse = 1.0 / options.temperature as f32;
    if !is_plain(&logits) {
        let slopes = composed::slopes(&logits.to_dtype(DType::F32)?, measured, targets, seeds)?;
        return (slopes * f64::from(inverse))?.to_dtype(logits.dtype());
    }
    logits.inplace_op1(&Slopes { measured, targets, seeds, inverse })?;
    Ok(logits)
}

struct Slopes<'a> {
    measured: &'a [TokenScore],
    targets: &'a [u32],
    seeds: ScoreSeeds<'a>,
    inverse: f32,
}

impl InplaceOp1 for Slopes<'_> {
    fn name(&self) -> &'static str {
        "score-slopes"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (_, n_vocab) = layout.shape().dims2()?;
        let rows = slice_mut(storage, layout)?.par_chunks_exact_mut(n_vocab).enumerate();
        rows.for_each(|(index, row)| {
            vectorised(
                #[inline(always)]
                || self.turn(index, row),
            )
        });
        Ok(())
    }
}

impl Slopes<'_> {
    #[inline(always)]
    fn turn(&self, index: usize, row: &mut [f32]) {
        let token = &self.measured[index];
        let d = self.seeds.log_probs[index] * self.inverse;
        match self.seeds.entropies {
            None => {
                for value in row.iter_mut() {
                    *value = -d * exp(*value - token.log_sum);
                }
            }
            Some(seeds) => {
                let of_entropy = seeds[index] * self.inverse;
                for value in row.iter_mut() {
                    let log_prob = *value - token.log_sum;
                    let p = exp(log_prob);
                    let of_token = p * (log_prob + token.entropy);
                    *value = -d * p - of_entropy * if p > 0.0 { of_token } else { 0.0 };
                }
            }
        }
        row[self.targets[index] as usize] += d;
    }
}

/// The same by candle's operations, for any device; scores in f32.
mod composed {
    use super::{D, Result, ScoreSeeds, Tensor, TokenScore};

    pub(super) fn measured(logits: &Tensor, targets: &[u32]) -> Result<Vec<TokenScore>> {
        let largest = logits.max_keepdim(D::Minus1)?;
        let shifted = logits.broadcast_sub(&largest)?;
        let powers = shifted.exp()?;
        let total = powers.sum_keepdim(D::Minus1)?;
        let log_total = total.log()?;
        let weighted = (powers * &shifted)?.sum_keepdim(D::Minus1)?;
        let entropy = (&log_total - weighted.div(&total)?)?;
        let ids = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
        let own = shifted.gather(&ids, 1)?;
        let host = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
        let log_probs = host((&own - &log_total)?)?;
        let own = host(own)?;
        let log_sums = host((largest + log_total)?)?;
        let entropies = host(entropy)?;
        let means = host(logits.mean_keepdim(D::Minus1)?)?;
        let tokens = (0..targets.len()).map(|index| TokenScore {
            log_prob: log_probs[index],
            log_sum: log_sums[index],
            entropy: entropies[index],
            mean_score: means[index],
            is_best: own[index] >= 0.0,
        });
        Ok(tokens.collect())
    }

    pub(super) fn slopes(
        logits: &Tensor,
        measured: &[TokenScore],
        targets: &[u32],
        seeds: ScoreSeeds<'_>,
    ) -> Result<Tensor> {
        let column = |values: Vec<f32>| {
            let n = values.len();
            Tensor::from_vec(values, (n, 1), logits.device())
        };
        let of = |pick: fn(&TokenScore) -> f32| column(measured.iter().map(pick).collect());
        let log_probs = logits.broadcast_sub(&of(|token| token.log_sum)?)?;
        let p = log_probs.exp()?;
        let d = column(seeds.log_probs.to_vec())?;
        let mut slopes = p.broadcast_mul(&d.neg()?)?;
        if let Some(entropies) = seeds.entropies {
            let surprise = log_probs.broadcast_add(&of(|token| token.entropy)?)?;
            let of_entropy = (p * surprise)?.broadcast_mul(&column(entropies.to_vec())?)?;
            slopes = (slopes - of_entropy)?;
        }
        let ids = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
        slopes.scatter_add(&ids, &d, 1)
    }
}
