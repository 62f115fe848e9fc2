//! The gated activation of the feed-forward layers (Shazeer 2020).

use candle_core::{Result, Tensor};

use super::kernel::{exp, for_rows, is_plain, read, tensor};

/// `silu(gate) * up`, both `[n, width]`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if !is_plain(gate) {
        return gate.silu()? * up;
    }
    let (gate, up) = (gate.contiguous()?, up.contiguous()?);
    let width = gate.dim(1)?;
    let out = read([&gate, &up], |[gate, up]| {
        let mut out = vec![0f32; gate.len()];
        for_rows(
            &mut out,
            width,
            #[inline(always)]
            |index, out| {
                let row = index * width..(index + 1) * width;
                for ((out, gate), up) in out.iter_mut().zip(&gate[row.clone()]).zip(&up[row]) {
                    *out = gate / (1.0 + exp(-gate)) * up;
                }
            },
        );
        out
    })?;
    tensor(out, gate.shape(), &gate)
}

/// Gradients by `gate` and `up`. With `σ = sigmoid(gate)`:
/// `dgate = d ∘ up ∘ σ (1 + gate (1 - σ))`, `dup = d ∘ gate σ`.
pub fn swiglu_backward(gate: &Tensor, up: &Tensor, d: &Tensor) -> Result<(Tensor, Tensor)> {
    if !is_plain(gate) {
        return composed_backward(gate, up, d);
    }
    let (gate, up, d) = (gate.contiguous()?, up.contiguous()?, d.contiguous()?);
    let width = gate.dim(1)?;
    let (d_gate, d_up) = read([&gate, &up, &d], |[gate, up, d]| {
        let mut d_gate = vec![0f32; gate.len()];
        let mut d_up = vec![0f32; gate.len()];
        let row = |index: usize| index * width..(index + 1) * width;
        for_rows(
            &mut d_gate,
            width,
            #[inline(always)]
            |index, out| {
                let inputs = gate[row(index)].iter().zip(&up[row(index)]).zip(&d[row(index)]);
                for (out, ((gate, up), d)) in out.iter_mut().zip(inputs) {
                    let sigmoid = 1.0 / (1.0 + exp(-gate));
                    *out = d * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                }
            },
        );
        for_rows(
            &mut d_up,
            width,
            #[inline(always)]
            |index, out| {
                for (out, (gate, d)) in
                    out.iter_mut().zip(gate[row(index)].iter().zip(&d[row(index)]))
                {
                    *out = d * gate / (1.0 + exp(-gate));
                }
            },
        );
        (d_gate, d_up)
    })?;
    Ok((tensor(d_gate, gate.shape(), &gate)?, tensor(d_up, gate.shape(), &gate)?))
}

/// The same by candle's operations, for any device and type.
pub(super) fn composed_backward(
    gate: &Tensor,
    up: &Tensor,
    d: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let sigmoid = (gate.neg()?.exp()? + 1.0)?.recip()?;
    let slope = (&sigmoid * ((gate * (1.0 - &sigmoid)?)? + 1.0)?)?;
    Ok((((d * up)? * slope)?, ((d * gate)? * sigmoid)?))
}
