//! Root mean square layer normalisation (Zhang and Sennrich 2019).

use candle_core::{D, DType, Result, Tensor};

use super::kernel::{dot, for_rows, is_plain, read, sum_rows, tensor};

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension.
/// `x`: `[…, width]`, `weight`: `[width]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if !is_plain(x) {
        return composed::rms_norm(x, weight, eps);
    }
    let x = x.contiguous()?;
    let out = read([&x, weight], |[values, weight]| {
        let width = weight.len();
        let mut out = vec![0f32; values.len()];
        for_rows(
            &mut out,
            width,
            #[inline(always)]
            |index, out| {
                let x = &values[index * width..(index + 1) * width];
                let scale = inverse_root(x, eps);
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    *out = x * scale * weight;
                }
            },
        );
        out
    })?;
    tensor(out, x.shape(), &x)
}

/// Gradients by `x` and, where wanted, by `weight`.
///
/// With `r = 1 / sqrt(mean(x²) + eps)` and `g = d ∘ weight`:
/// `dx = r (g - x r² mean(g ∘ x))`, `dweight = Σ_rows d ∘ x r`.
pub fn rms_norm_backward(
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
    d: &Tensor,
    wants_weight: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    if !is_plain(x) {
        return composed::rms_norm_backward(x, weight, eps, d, wants_weight);
    }
    let (x, d) = (x.contiguous()?, d.contiguous()?);
    let (d_x, d_weight) = read([&x, weight, &d], |[x, weight, d]| {
        let width = weight.len();
        let row = |values: &'_ [f32], index: usize| {
            index * width..((index + 1) * width).min(values.len())
        };
        let mut d_x = vec![0f32; x.len()];
        for_rows(
            &mut d_x,
            width,
            #[inline(always)]
            |index, out| {
                let (x, d) = (&x[row(x, index)], &d[row(d, index)]);
                let scale = inverse_root(x, eps);
                for ((out, d), weight) in out.iter_mut().zip(d).zip(weight) {
                    *out = d * weight;
                }
                let shrink = scale * scale * dot(out, x) / width as f32;
                for (out, x) in out.iter_mut().zip(x) {
                    *out = scale * (*out - x * shrink);
                }
            },
        );
        let d_weight = wants_weight.then(|| {
            sum_rows(
                x.len() / width,
                width,
                #[inline(always)]
                |index, sums| {
                    let (x, d) = (&x[row(x, index)], &d[row(d, index)]);
                    let scale = inverse_root(x, eps);
                    for ((sum, x), d) in sums.iter_mut().zip(x).zip(d) {
                        *sum += d * x * scale;
                    }
                },
            )
        });
        (d_x, d_weight)
    })?;
    let d_weight = d_weight.map(|values| tensor(values, weight.shape(), &x)).transpose()?;
    Ok((tensor(d_x, x.shape(), &x)?, d_weight))
}

#[inline(always)]
fn inverse_root(x: &[f32], eps: f64) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps as f32).sqrt()
}

/// The same by candle's operations, for any device and type; sums are in f32.
pub(super) mod composed {
    use super::{D, DType, Result, Tensor};

    pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
        let wide = x.to_dtype(DType::F32)?;
        let out = wide.broadcast_mul(&inverse_root(&wide, eps)?)?;
        out.broadcast_mul(&weight.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
    }

    pub fn rms_norm_backward(
        x: &Tensor,
        weight: &Tensor,
        eps: f64,
        d: &Tensor,
        wants_weight: bool,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (wide, d) = (x.to_dtype(DType::F32)?, d.to_dtype(DType::F32)?);
        let root = inverse_root(&wide, eps)?;
        let g = d.broadcast_mul(&weight.to_dtype(DType::F32)?)?;
        let shrink = ((&g * &wide)?.mean_keepdim(D::Minus1)? * root.sqr()?)?;
        let d_x = (g - wide.broadcast_mul(&shrink)?)?.broadcast_mul(&root)?;
        let d_weight = if wants_weight {
            let rows = (d * wide.broadcast_mul(&root)?)?;
            Some(rows.reshape(((), weight.dim(0)?))?.sum(0)?)
        } else {
            None
        };
        Ok((d_x.to_dtype(x.dtype())?, d_weight))
    }

    fn inverse_root(x: &Tensor, eps: f64) -> Result<Tensor> {
        (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()
    }
}
