//! The value head of PPO: one number a token from the trunk's final hidden states, `v = w·h + b`.

use std::collections::HashMap;

use candle_core::{DType, Tensor};

use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::policy::Policy;

const WEIGHT: &str = "v_head.summary.weight";
const BIAS: &str = "v_head.summary.bias";

/// Estimates what is still to come after each token.
pub struct ValueHead {
    /// `[1, hidden]`, f32.
    weight: Tensor,
    /// `[1]`, f32.
    bias: Tensor,
}

impl ValueHead {
    /// What its weights are called in LLaMA-Factory's `value_head.safetensors` and TRL's models.
    pub const NAMES: [&str; 2] = [WEIGHT, BIAS];

    /// The head among what a policy trains.
    ///
    /// # Errors
    /// `internal` where it trains none.
    pub fn of(policy: &Policy) -> Result<Self> {
        let tensor = |name: &str| {
            let found = policy.trained.iter().find(|parameter| parameter.name == name);
            found.map(|parameter| parameter.tensor.clone())
        };
        match (tensor(WEIGHT), tensor(BIAS)) {
            (Some(weight), Some(bias)) => Ok(Self { weight, bias }),
            _ => Err(Error::internal("the policy trains no value head")),
        }
    }

    /// A head for a policy that expects nothing, or the one that was saved: its weights, to be
    /// trained.
    ///
    /// # Errors
    /// `model_weights` for tensors of another shape.
    pub fn parameters(
        policy: &Policy,
        saved: Option<&HashMap<String, Tensor>>,
    ) -> Result<Vec<Parameter>> {
        let (width, device) =
            (policy.model.config().hidden_size, policy.trained[0].tensor.device());
        let tensor = |name: &str, shape: &[usize]| -> Result<Tensor> {
            let Some(saved) = saved else { return Ok(Tensor::zeros(shape, DType::F32, device)?) };
            match saved.get(name) {
                // A copy of its own, as it is written to in place.
                Some(found) if found.dims() == shape => {
                    Ok(found.to_device(device)?.to_dtype(DType::F32)?.copy()?)
                }
                found => Err(Error::invalid(
                    "model_weights",
                    format!(
                        "value_head.safetensors has {:?} for {name}, this model needs {shape:?}",
                        found.map(Tensor::dims)
                    ),
                )),
            }
        };
        let (weight, bias) = (tensor(WEIGHT, &[1, width])?, tensor(BIAS, &[1])?);
        Ok(vec![
            Parameter { name: WEIGHT.to_owned(), tensor: weight, decays: true },
            Parameter { name: BIAS.to_owned(), tensor: bias, decays: false },
        ])
    }

    /// The values after states `[n, hidden]`.
    pub fn values(&self, states: &Tensor) -> Result<Vec<f64>> {
        let values = states.to_dtype(DType::F32)?.matmul(&self.weight.t()?)?;
        let values = values.broadcast_add(&self.bias)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// Adds the head's own gradient for the loss's gradient by the values, and gives that by the
    /// states, `[n, hidden]`, in their type.
    pub fn backward(
        &self,
        states: &Tensor,
        d_values: &[f64],
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let d_values: Vec<f32> = d_values.iter().map(|slope| *slope as f32).collect();
        let n = d_values.len();
        let d_values = Tensor::from_vec(d_values, (n, 1), states.device())?;
        let wide = states.to_dtype(DType::F32)?;
        gradients.add(&self.weight, d_values.t()?.matmul(&wide)?)?;
        gradients.add(&self.bias, d_values.sum(0)?)?;
        Ok(d_values.matmul(&self.weight)?.to_dtype(states.dtype())?)
    }
}
