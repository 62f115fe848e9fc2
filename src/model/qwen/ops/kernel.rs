//! What the passes on the CPU share: slices of tensors, threads, and vector instructions.

use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};
use pulp::Arch;
use rayon::prelude::*;

/// Below this many elements a pass is done on one thread: waking others costs more.
const PARALLEL_ELEMENTS: usize = 16_384;
/// Running sums kept side by side, so that the compiler can hold them in vector registers.
const LANES: usize = 16;

/// Whether the passes over slices can do it.
pub fn is_plain(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// Lends the numbers of contiguous f32 tensors on the CPU; these passes copy nothing in silence.
pub fn read<R, const N: usize>(
    tensors: [&Tensor; N],
    work: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = numbers(storage, layout)?;
    }
    Ok(work(slices))
}

/// [`read`] of any number of tensors.
pub fn read_all<R>(tensors: &[&Tensor], work: impl FnOnce(&[&[f32]]) -> R) -> Result<R> {
    let guards: Vec<_> = tensors.iter().map(|tensor| tensor.storage_and_layout()).collect();
    let slices = guards.iter().map(|(storage, layout)| numbers(storage, layout));
    Ok(work(&slices.collect::<Result<Vec<_>>>()?))
}

fn numbers<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let Storage::Cpu(CpuStorage::F32(values)) = storage else {
        bail!("this pass computes in f32 on the CPU")
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("this pass needs contiguous input, got {layout:?}"),
    }
}

/// A tensor of these numbers beside `like`.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), like.device())
}

/// Runs `work` with the widest vector instructions that the processor has. Only what is inlined
/// profits: the closure itself must be marked `#[inline(always)]`, since the compiler leaves a large
/// one outside, and so must what is called in it.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Runs `row(index, output_row)` over `out`, in parallel when there is enough work.
pub fn for_rows(out: &mut [f32], width: usize, row: impl Fn(usize, &mut [f32]) + Sync) {
    let run = |(index, out): (usize, &mut [f32])| {
        vectorised(
            #[inline(always)]
            || row(index, out),
        )
    };
    if out.len() < PARALLEL_ELEMENTS {
        out.chunks_mut(width).enumerate().for_each(run);
    } else {
        let rows = out.par_chunks_mut(width).enumerate();
        rows.with_min_len((PARALLEL_ELEMENTS / 4).div_ceil(width)).for_each(run);
    }
}

/// The sum over `n` rows of what `row(index, sums)` adds, `[width]`. The rows are cut into the same
/// runs whatever the number of threads, so that the sum is always the same to the last bit.
pub fn sum_rows(n: usize, width: usize, row: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    const RUNS: usize = 8;
    let per_run = n.div_ceil(RUNS).max(1);
    let run = |run: usize| {
        let mut sums = vec![0f32; width];
        vectorised(
            #[inline(always)]
            || {
                for index in run * per_run..((run + 1) * per_run).min(n) {
                    row(index, &mut sums);
                }
            },
        );
        sums
    };
    let runs: Vec<Vec<f32>> = if n * width < PARALLEL_ELEMENTS {
        (0..RUNS).map(run).collect()
    } else {
        (0..RUNS).into_par_iter().map(run).collect()
    };
    let mut total = vec![0f32; width];
    for sums in &runs {
        add_scaled(&mut total, 1.0, sums);
    }
    total
}

#[inline(always)]
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 =
        left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// `out += scale * x`.
#[inline(always)]
pub fn add_scaled(out: &mut [f32], scale: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += scale * x;
    }
}

#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// The largest of them; not a number when one is none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().copied().fold(rest, larger)
}

/// `e^x` within 2 units in the last place, without a branch, so that whole rows are computed side
/// by side. Cody and Waite's reduction to `|r| <= ln 2 / 2`, then a polynomial with the
/// coefficients of Cephes' `expf`. Below -87.3 it is 0 or next to it, above 88.7 infinite.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and taking it away rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // A comparison with what is no number is false: it stays what it is.
    let clamped = if x < -87.3 { -87.3 } else { x };
    let clamped = if clamped > 88.3 { 88.3 } else { clamped };
    let rounded = clamped * LOG2_E + ROUND;
    let power = rounded - ROUND;
    let r = clamped - power * LN_2_HIGH - power * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let near = p * r * r + r + 1.0;
    // The exponent's bits of 2^power, which is within -126..=127 and stands in the lowest bits of
    // what was rounded. A conversion to a whole number would be done one by one.
    let bits = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let value = near * f32::from_bits(bits);
    if x < -87.3 {
        0.0
    } else if x > 88.7 {
        f32::INFINITY
    } else {
        value
    }
}
