//! What a backward pass leaves behind: one sum of gradients for each weight that is trained.

use std::collections::HashMap;

use candle_core::{DType, Tensor, TensorId};

use super::ops::add_in_place;
use crate::error::Result;

/// A weight by its Hugging Face name. Clones share the numbers: a step taken on `tensor` in place
/// is seen by the model that it belongs to.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: String,
    pub tensor: Tensor,
    /// Whether weight decay applies: to matrices, not to norms and biases.
    pub decays: bool,
}

/// Sums of gradients of the trained weights, in f32 whatever the weights are. Everything else
/// costs nothing: a layer asks [`Self::wants`] before it computes a weight's gradient.
#[derive(Debug, Default)]
pub struct Gradients {
    /// None until a gradient has come.
    sums: HashMap<TensorId, Option<Tensor>>,
}

impl Gradients {
    /// Room for these weights' gradients.
    pub fn of(parameters: &[Parameter]) -> Self {
        Self { sums: parameters.iter().map(|parameter| (parameter.tensor.id(), None)).collect() }
    }

    /// Whether this weight is trained.
    pub fn wants(&self, weight: &Tensor) -> bool {
        self.sums.contains_key(&weight.id())
    }

    /// Adds a gradient of the weight's shape; nothing happens for a weight that is not trained.
    pub fn add(&mut self, weight: &Tensor, gradient: Tensor) -> Result<()> {
        match self.sums.get_mut(&weight.id()) {
            None => {}
            Some(Some(sum)) => add_in_place(sum, &gradient.to_dtype(DType::F32)?)?,
            Some(none) => *none = Some(gradient.to_dtype(DType::F32)?.contiguous()?),
        }
        Ok(())
    }

    /// The sum for a weight, none when no gradient has come.
    pub fn get(&self, weight: &Tensor) -> Option<&Tensor> {
        self.sums.get(&weight.id()).and_then(Option::as_ref)
    }

    /// Puts another gradient in the place of the sum.
    pub fn set(&mut self, weight: &Tensor, gradient: Tensor) {
        if let Some(sum) = self.sums.get_mut(&weight.id()) {
            *sum = Some(gradient);
        }
    }

    /// Forgets all sums.
    pub fn clear(&mut self) {
        self.sums.values_mut().for_each(|sum| *sum = None);
    }
}
