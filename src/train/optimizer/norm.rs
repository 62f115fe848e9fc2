//! The global norm of the gradients, and clipping by it.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::numbers::{Numbers, on_host, read_scalars, sum_squares};

/// Added to the norm by torch before it divides.
const CLIP_EPSILON: f64 = 1e-6;

/// The Euclidean norm of all gradients together.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    pub value: f64,
    /// Whether every gradient is finite. Where the numbers do not lie in host memory the squares
    /// are summed in f32, so that norms over 1.8e19 count as infinite too.
    pub finite: bool,
    /// The first parameter, in the order given, whose gradient is not finite.
    pub first_bad: Option<String>,
}

impl Norm {
    /// What gradients must be multiplied by so that their norm is at most `max_norm`, exactly as
    /// `clip_grad_norm_` does: `max_norm / (norm + 1e-6)`, at most 1. A `max_norm` of 0 or less
    /// means no clipping. NaN when the norm is not finite: no step may be taken then.
    pub fn clip_scale(&self, max_norm: f64) -> f64 {
        match (self.finite, max_norm > 0.0) {
            (false, _) => f64::NAN,
            (true, false) => 1.0,
            (true, true) => (max_norm / (self.value + CLIP_EPSILON)).min(1.0),
        }
    }
}

/// The norm over the gradients of `parameters`, each read once, summed in their order: the same
/// order gives the same number on any number of threads.
///
/// # Errors
/// When a gradient cannot be read.
pub fn global_norm(gradients: &Gradients, parameters: &[Parameter]) -> Result<Norm> {
    let mut squares = vec![0f64; parameters.len()];
    let mut elsewhere = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let Some(gradient) = gradients.get(&parameter.tensor) else { continue };
        match squares_on_host(gradient) {
            Some(sum) => squares[index] = sum,
            None => elsewhere.push((index, gradient.sqr()?.sum_all()?)),
        }
    }
    let (indices, scalars): (Vec<usize>, Vec<Tensor>) = elsewhere.into_iter().unzip();
    for (index, square) in indices.into_iter().zip(read_scalars(&scalars)?) {
        squares[index] = square;
    }
    let value = squares.iter().sum::<f64>().sqrt();
    let first_bad = squares.iter().position(|square| !square.is_finite());
    let first_bad = first_bad.map(|index| parameters[index].name.clone());
    Ok(Norm { value, finite: value.is_finite(), first_bad })
}

/// Multiplies the gradients so that their norm is at most `max_norm`; gives the norm before. The
/// optimiser does without this pass, see [`super::AdamW::step_scaled`].
///
/// # Errors
/// `gradient_not_finite` when the norm is not: clipping would make every gradient NaN.
pub fn clip(gradients: &mut Gradients, parameters: &[Parameter], max_norm: f64) -> Result<Norm> {
    let norm = global_norm(gradients, parameters)?;
    if let Some(name) = &norm.first_bad {
        return Err(Error::invalid(
            "gradient_not_finite",
            format!("the gradient of {name} is not finite; skip this step instead of clipping it"),
        ));
    }
    let scale = norm.clip_scale(max_norm);
    if scale < 1.0 {
        for parameter in parameters {
            if let Some(gradient) = gradients.get(&parameter.tensor) {
                let scaled = (gradient * scale)?;
                gradients.set(&parameter.tensor, scaled);
            }
        }
    }
    Ok(norm)
}

fn squares_on_host(gradient: &Tensor) -> Option<f64> {
    on_host(gradient, |numbers| match numbers {
        Numbers::F32(values) => Some(sum_squares(values)),
        _ => None,
    })
    .flatten()
}
