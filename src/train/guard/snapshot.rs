//! The last good state, in memory.

use std::collections::HashMap;

use candle_core::Tensor;

use super::all_finite;
use crate::error::{Error, Result};
use crate::model::qwen::Parameter;
use crate::train::numbers::write_in_place;
use crate::train::optimizer::AdamW;

/// Copies of the weights and the optimiser's state, and what else the trainer must take back (its
/// counters and sources of chance; the place in the data is left where it is). With AdamW in f32
/// that is three times the size of the weights that are trained.
#[derive(Debug)]
pub struct Snapshot<T> {
    weights: HashMap<String, Tensor>,
    optimizer: HashMap<String, Tensor>,
    rest: T,
}

impl<T> Snapshot<T> {
    /// # Errors
    /// `weights_not_finite` when a weight is not: such a state is not worth going back to.
    pub fn take(parameters: &[Parameter], optimizer: &AdamW, rest: T) -> Result<Self> {
        if let Some(name) = all_finite(parameters)? {
            return Err(Error::invalid(
                "weights_not_finite",
                format!("{name} holds a number that is not finite; go back to an older state"),
            ));
        }
        let copy = |parameter: &Parameter| {
            Ok((parameter.name.clone(), parameter.tensor.force_contiguous()?))
        };
        let weights = parameters.iter().map(copy).collect::<Result<_>>()?;
        Ok(Self { weights, optimizer: optimizer.save()?.into_iter().collect(), rest })
    }

    /// Puts everything back in place, and gives the rest.
    ///
    /// # Errors
    /// When these are not the parameters that the snapshot was taken of.
    pub fn restore(&self, parameters: &[Parameter], optimizer: &mut AdamW) -> Result<&T> {
        for parameter in parameters {
            let Some(weight) = self.weights.get(&parameter.name) else {
                return Err(Error::internal(format!(
                    "the snapshot lacks {}, so it was taken of other weights",
                    parameter.name
                )));
            };
            write_in_place(&parameter.tensor, weight)?;
        }
        optimizer.restore(parameters, &self.optimizer)?;
        Ok(&self.rest)
    }

    pub fn rest(&self) -> &T {
        &self.rest
    }
}
