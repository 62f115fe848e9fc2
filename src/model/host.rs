//! Small vectors of f64 in the computer's own memory, whatever device a model is on: what losses
//! over whole answers are computed with.

use candle_core::{Device, Tensor, Var};

use crate::error::Result;

/// `[n]`, f64.
pub fn vector(values: &[f64]) -> Result<Tensor> {
    Ok(Tensor::new(values, &Device::Cpu)?)
}

/// `[n]`, f64, whose gradient is asked for.
pub fn variable(values: &[f64]) -> Result<Var> {
    Ok(Var::new(values, &Device::Cpu)?)
}
