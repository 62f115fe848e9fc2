//! Functions of one number with their derivatives, as candle operations on the CPU.
//!
//! candle has no `log1p` and no `expm1`, and its `relu` and `maximum` turn NaN into a number,
//! forward or backward. Each function here is written for f64, exact near its limits, and keeps NaN
//! in both passes.

use candle_core::backend::BackendStorage;
use candle_core::cpu_backend::unary_map;
use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape, Tensor};

/// log σ(x) = −log(1 + e^−x), without overflow for any x.
pub fn log_sigmoid(x: &Tensor) -> Result<Tensor> {
    apply(
        x,
        Pointwise {
            name: "log_sigmoid",
            value: log_sigmoid_of,
            slope: |x| log_sigmoid_of(-x).exp(),
        },
    )
}

/// σ(x) = 1 / (1 + e^−x), with its full relative precision for very negative x.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    apply(
        x,
        Pointwise {
            name: "sigmoid",
            value: |x| log_sigmoid_of(x).exp(),
            slope: |x| (log_sigmoid_of(x) + log_sigmoid_of(-x)).exp(),
        },
    )
}

/// max(x, 0). The slope at 0 is 0, as in PyTorch.
pub fn positive_part(x: &Tensor) -> Result<Tensor> {
    apply(
        x,
        Pointwise {
            name: "positive_part",
            value: |x| if x <= 0.0 { 0.0 } else { x },
            slope: |x| if x <= 0.0 { 0.0 } else { 1.0 + 0.0 * x },
        },
    )
}

/// e^min(x, 80): beyond the cap the value stays finite (in f32 too) and the slope is 0.
pub fn capped_exp(x: &Tensor) -> Result<Tensor> {
    const CAP: f64 = 80.0;
    apply(
        x,
        Pointwise {
            name: "capped_exp",
            value: |x| if x > CAP { CAP.exp() } else { x.exp() },
            slope: |x| if x > CAP { 0.0 } else { x.exp() },
        },
    )
}

/// log(1 − e^x) for a log-probability x.
///
/// At x = 0 (a certain answer) value and slope are infinite and the odds ratio's gradient would be
/// 0 · ∞. So x counts as −1e-12 there, where the product is already at its limit.
pub fn log_complement(x: &Tensor) -> Result<Tensor> {
    apply(
        x,
        Pointwise {
            name: "log_complement",
            value: |x| log_complement_of(below_zero(x)),
            slope: |x| -(-below_zero(x)).exp_m1().recip(),
        },
    )
}

fn log_sigmoid_of(x: f64) -> f64 {
    if x >= 0.0 { -(-x).exp().ln_1p() } else { x - x.exp().ln_1p() }
}

/// The branch at −ln 2 keeps the digits (Mächler 2012, "Accurately computing log(1 − exp(−|a|))").
fn log_complement_of(x: f64) -> f64 {
    if x < -std::f64::consts::LN_2 { (-x.exp()).ln_1p() } else { (-x.exp_m1()).ln() }
}

fn below_zero(x: f64) -> f64 {
    const NEAREST: f64 = -1e-12;
    if x > NEAREST { NEAREST } else { x }
}

#[derive(Clone, Copy)]
struct Pointwise {
    name: &'static str,
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
}

fn apply(x: &Tensor, function: Pointwise) -> Result<Tensor> {
    x.apply_op1(function)
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = self.value;
        let mapped = match storage {
            CpuStorage::F64(numbers) => CpuStorage::F64(unary_map(numbers, layout, value)),
            CpuStorage::F32(numbers) => {
                CpuStorage::F32(unary_map(numbers, layout, |x| value(f64::from(x)) as f32))
            }
            other => return Err(Error::UnsupportedDTypeForOp(other.dtype(), self.name)),
        };
        Ok((mapped, layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let slope = Self { value: self.slope, ..*self };
        Ok(Some((arg.apply_op1_no_bwd(&slope)? * gradient)?))
    }
}
