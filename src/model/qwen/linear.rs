//! A linear layer with what may be put on it for training: a low-rank adapter.

use std::sync::Arc;

use candle_core::Module;
use candle_core::Tensor;
use candle_core::quantized::QMatMul;

use super::adapter::Adapter;
use super::gradients::{Gradients, Parameter};
use super::ops::add_in_place;
use super::ops::kernel::is_plain;
use crate::error::{Error, Result};

/// A linear layer's matrix, `[n_out, n_in]`.
#[derive(Debug, Clone)]
pub enum Matrix {
    Dense(Tensor),
    Quantised(Arc<QMatMul>),
}

impl Matrix {
    /// `x Wᵀ`: `[n, n_in] -> [n, n_out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Dense(weight) => x.matmul(&weight.t()?)?,
            Self::Quantised(weight) => weight.forward(x)?,
        })
    }

    /// The same matrix as it is multiplied fastest on the processor: laid out by columns, so that
    /// the multiplication needs not repack it at every call. With 4 to 16 rows of `x`, as a few
    /// callers bring them, that is two to four times faster. Where it gains nothing, itself.
    pub(super) fn by_columns(&self) -> Result<Self> {
        Ok(match self {
            Self::Dense(weight) if is_plain(weight) => Self::Dense(weight.t()?.contiguous()?.t()?),
            other => other.clone(),
        })
    }

    /// The plain matrix.
    ///
    /// # Errors
    /// `model_quantised` for one that is not plain: it has no gradient.
    pub fn dense(&self) -> Result<&Tensor> {
        match self {
            Self::Dense(weight) => Ok(weight),
            Self::Quantised(_) => Err(Error::invalid(
                "model_quantised",
                "quantised weights cannot be trained; use the safetensors model",
            )),
        }
    }
}

/// `x Wᵀ + b`, and the adapter's part where there is one.
#[derive(Debug, Clone)]
pub struct Linear {
    pub matrix: Matrix,
    pub bias: Option<Tensor>,
    pub adapter: Option<Adapter>,
}

impl Linear {
    /// `[n, n_in] -> [n, n_out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut out = self.matrix.forward(x)?;
        if let Some(bias) = &self.bias {
            out = out.broadcast_add(bias)?;
        }
        match self.active() {
            Some(adapter) => Ok((out + adapter.forward(x)?)?),
            None => Ok(out),
        }
    }

    /// The gradient by `x`, with those by the trained weights added to `gradients`.
    /// `x`: `[n, n_in]` as in the forward pass, `d`: `[n, n_out]`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        d: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let weight = self.matrix.dense()?;
        if gradients.wants(weight) {
            gradients.add(weight, d.t()?.matmul(x)?)?;
        }
        if let Some(bias) = self.bias.as_ref().filter(|bias| gradients.wants(bias)) {
            gradients.add(bias, d.sum(0)?)?;
        }
        let mut d_x = d.matmul(weight)?;
        if let Some(adapter) = self.active() {
            add_in_place(&mut d_x, &adapter.backward(x, d, gradients)?)?;
        }
        Ok(d_x)
    }

    fn active(&self) -> Option<&Adapter> {
        self.adapter.as_ref().filter(|adapter| adapter.is_on())
    }

    /// The layer's own weights, without the adapter's.
    pub(super) fn parameters(&self, name: &str, out: &mut Vec<Parameter>) -> Result<()> {
        let tensor = self.matrix.dense()?.clone();
        out.push(Parameter { name: format!("{name}.weight"), tensor, decays: true });
        if let Some(bias) = &self.bias {
            let tensor = bias.clone();
            out.push(Parameter { name: format!("{name}.bias"), tensor, decays: false });
        }
        Ok(())
    }
}
