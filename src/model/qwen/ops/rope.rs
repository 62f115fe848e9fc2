//! Rotary position embedding (Su et al. 2021).

use candle_core::{D, Result, Tensor};

use super::kernel::{for_rows, is_plain, read, tensor};

/// Rotates each head's halves against one another: `x`: `[n, heads, head_dim]`,
/// `cos` and `sin`: `[n, head_dim / 2]`.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    rotate(x, cos, sin, 1.0)
}

/// The gradient by `x`: the rotation back.
pub fn rope_backward(d: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    rotate(d, cos, sin, -1.0)
}

fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, direction: f32) -> Result<Tensor> {
    if !is_plain(x) {
        return composed(x, cos, sin, direction);
    }
    let x = x.contiguous()?;
    let (_, n_heads, head_dim) = x.dims3()?;
    let half = head_dim / 2;
    let out = read([&x, cos, sin], |[x, cos, sin]| {
        let mut out = vec![0f32; x.len()];
        for_rows(
            &mut out,
            head_dim,
            #[inline(always)]
            |index, out| {
                let token = index / n_heads;
                let (cos, sin) = (&cos[token * half..][..half], &sin[token * half..][..half]);
                let (low, high) = x[index * head_dim..(index + 1) * head_dim].split_at(half);
                let (out_low, out_high) = out.split_at_mut(half);
                for pair in 0..half {
                    let sin = direction * sin[pair];
                    out_low[pair] = low[pair] * cos[pair] - high[pair] * sin;
                    out_high[pair] = high[pair] * cos[pair] + low[pair] * sin;
                }
            },
        );
        out
    })?;
    tensor(out, x.shape(), &x)
}

/// The same by candle's operations, for any device and type.
pub(super) fn composed(x: &Tensor, cos: &Tensor, sin: &Tensor, direction: f32) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let cos = cos.unsqueeze(1)?.to_dtype(x.dtype())?;
    let sin = (sin.unsqueeze(1)?.to_dtype(x.dtype())? * f64::from(direction))?;
    let (low, high) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let out_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
    let out_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
    Tensor::cat(&[out_low, out_high], D::Minus1)
}
