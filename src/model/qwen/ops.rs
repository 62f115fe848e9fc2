//! The operations of a Qwen block that candle either lacks or gives no gradient for: each is one
//! pass over contiguous f32 rows. They are custom operations, so that a backward pass is added to
//! the same definition that serves.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Below this many elements a pass is done on one thread: waking others costs more.
const PARALLEL_ELEMENTS: usize = 16_384;

/// The contiguous f32 slice behind a storage; these operations copy nothing in silence.
pub(super) fn f32_slice<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
    operation: &str,
) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { bail!("{operation} computes in f32 on the CPU") };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("{operation} needs contiguous input, got {layout:?}"),
    }
}

/// Runs `row(index, output_row)` over `out`, in parallel when there is enough work.
fn for_rows(out: &mut [f32], width: usize, row: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < PARALLEL_ELEMENTS {
        out.chunks_mut(width).enumerate().for_each(|(index, out)| row(index, out));
    } else {
        out.par_chunks_mut(width).enumerate().for_each(|(index, out)| row(index, out));
    }
}

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension (Zhang and Sennrich 2019).
/// `x`: `[…, width]`, `weight`: `[width]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(weight, &RmsNorm { eps })
}

struct RmsNorm {
    eps: f64,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = f32_slice(x, x_layout, self.name())?;
        let weight = f32_slice(weight, weight_layout, self.name())?;
        let width = weight.len();
        let mut out = vec![0f32; x.len()];
        for_rows(&mut out, width, |index, out| {
            let x = &x[index * width..(index + 1) * width];
            let mean_square = x.iter().map(|value| value * value).sum::<f32>() / width as f32;
            let scale = 1.0 / (mean_square + self.eps as f32).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * weight;
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// Rotates each head's halves against one another: `x`: `[n, heads, head_dim]`,
/// `cos` and `sin`: `[n, head_dim / 2]`.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(cos, sin, &Rope)
}

struct Rope;

impl CustomOp3 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = f32_slice(x, x_layout, self.name())?;
        let cos = f32_slice(cos, cos_layout, self.name())?;
        let sin = f32_slice(sin, sin_layout, self.name())?;
        let (_, n_heads, head_dim) = x_layout.shape().dims3()?;
        let half = head_dim / 2;
        let mut out = vec![0f32; x.len()];
        for_rows(&mut out, head_dim, |index, out| {
            let token = index / n_heads;
            let (cos, sin) = (&cos[token * half..][..half], &sin[token * half..][..half]);
            let (low, high) = x[index * head_dim..(index + 1) * head_dim].split_at(half);
            let (out_low, out_high) = out.split_at_mut(half);
            for pair in 0..half {
                out_low[pair] = low[pair] * cos[pair] - high[pair] * sin[pair];
                out_high[pair] = high[pair] * cos[pair] + low[pair] * sin[pair];
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// `silu(gate) * up` (Shazeer 2020), both `[n, width]`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2_no_bwd(&up.contiguous()?, &SwiGlu)
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let gate = f32_slice(gate, gate_layout, self.name())?;
        let up = f32_slice(up, up_layout, self.name())?;
        let (_, width) = gate_layout.shape().dims2()?;
        let mut out = vec![0f32; gate.len()];
        for_rows(&mut out, width, |index, out| {
            let row = index * width..(index + 1) * width;
            for ((out, gate), up) in out.iter_mut().zip(&gate[row.clone()]).zip(&up[row]) {
                *out = gate / (1.0 + (-gate).exp()) * up;
            }
        });
        Ok((CpuStorage::F32(out), gate_layout.shape().clone()))
    }
}

/// `sum += x`, in the storage of `sum`.
pub fn add_in_place(sum: &mut Tensor, x: &Tensor) -> Result<()> {
    *sum = (&*sum + x)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn random(shape: &[usize]) -> Tensor {
        Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap()
    }

    fn assert_close(left: &Tensor, right: &Tensor) {
        let gap = (left - right).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn rms_norm_equals_the_slow_composition() {
        let (x, weight) = (random(&[700, 32]), random(&[32]));
        let slow = candle_nn::ops::rms_norm_slow(&x, &weight, 1e-6).unwrap();
        assert_close(&rms_norm(&x, &weight, 1e-6).unwrap(), &slow);
    }

    #[test]
    fn rope_equals_the_slow_composition() {
        let (x, cos, sin) = (random(&[5, 3, 8]), random(&[5, 4]), random(&[5, 4]));
        let batched = x.transpose(0, 1).unwrap().unsqueeze(0).unwrap().contiguous().unwrap();
        let slow = candle_nn::rotary_emb::rope_slow(&batched, &cos, &sin).unwrap();
        let slow = slow.squeeze(0).unwrap().transpose(0, 1).unwrap().contiguous().unwrap();
        assert_close(&rope(&x, &cos, &sin).unwrap(), &slow);
    }

    #[test]
    fn swiglu_equals_the_slow_composition() {
        let (gate, up) = (random(&[4, 6]), random(&[4, 6]));
        let slow = (gate.silu().unwrap() * &up).unwrap();
        assert_close(&swiglu(&gate, &up).unwrap(), &slow);
    }
}
