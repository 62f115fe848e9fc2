//! The penalty with LoRA: on the whole change `ΔW = s·B·A` that an adapter makes to its linear.
//! To hold A and B themselves, each by an importance of its own, would be another geometry, for
//! it is their product that the old task feels.

use candle_core::{DType, Tensor};

use super::penalty::{Pull, check_lambda, pull};
use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::numbers::Sum;
use crate::train::optimizer::global_norm;

/// One linear with its adapter.
#[derive(Debug, Clone)]
pub struct LoraTerm {
    /// The importance of the base weight, `[out, in]`, f32.
    pub fisher: Tensor,
    /// The trained tensors, shared with the model: `[r, in]` and `[out, r]`.
    pub a: Tensor,
    pub b: Tensor,
    /// What `B·A` is multiplied by.
    pub scale: f64,
    /// ΔW*, `[out, in]`, f32, where an adapter goes on from an older task; none holds the base.
    pub anchor: Option<Tensor>,
}

/// `λ/2 Σ F ∘ (ΔW - ΔW*)²` over all linears with an adapter.
#[derive(Debug)]
pub struct LoraPenalty {
    lambda: f64,
    terms: Vec<LoraTerm>,
}

impl LoraTerm {
    /// ΔW, `[out, in]`, f32; take it before training to go on from there.
    ///
    /// # Errors
    /// When A and B do not fit.
    pub fn change(&self) -> Result<Tensor> {
        let (a, b) = (self.a.to_dtype(DType::F32)?, self.b.to_dtype(DType::F32)?);
        Ok((b.matmul(&a)? * self.scale)?)
    }
}

impl LoraPenalty {
    /// # Errors
    /// `fisher_weights` when shapes do not fit; `ewc_lambda` for a λ that cannot be used.
    pub fn new(lambda: f64, terms: Vec<LoraTerm>) -> Result<Self> {
        check_lambda(lambda)?;
        for LoraTerm { fisher, a, b, anchor, .. } in &terms {
            let fits = match (fisher.dims(), a.dims(), b.dims()) {
                ([out, input], [rank, a_in], [b_out, b_rank]) => {
                    (out, input, rank) == (b_out, a_in, b_rank)
                }
                _ => false,
            };
            let anchor_fits = anchor.as_ref().is_none_or(|anchor| anchor.dims() == fisher.dims());
            if !fits || !anchor_fits {
                return Err(Error::invalid(
                    "fisher_weights",
                    format!(
                        "the Fisher information of a linear has shape {:?}, but its adapter has A \
                         {:?} and B {:?}; compute it again for this model",
                        fisher.dims(),
                        a.dims(),
                        b.dims()
                    ),
                ));
            }
        }
        Ok(Self { lambda, terms })
    }

    /// With `G = λ F ∘ (ΔW - ΔW*)` adds `s·G·Aᵀ` to the gradients of B and `s·Bᵀ·G` to those of
    /// A. `parameters` are all that are trained, for the norm. When to call it: as
    /// [`super::Penalty::add_gradients`].
    ///
    /// # Errors
    /// When a tensor cannot be computed with.
    pub fn add_gradients(
        &self,
        parameters: &[Parameter],
        gradients: &mut Gradients,
    ) -> Result<Pull> {
        let task_gradient_norm = global_norm(gradients, parameters)?.value;
        let (mut penalty, mut squares) = (Sum::default(), Sum::default());
        for term in &self.terms {
            let change = match &term.anchor {
                Some(anchor) => (term.change()? - anchor)?,
                None => term.change()?,
            };
            let pull = pull(&change, Some(&term.fisher), self.lambda)?;
            penalty.add_dot(&change, &pull)?;
            let (a, b) = (term.a.to_dtype(DType::F32)?, term.b.to_dtype(DType::F32)?);
            let of_b = (pull.matmul(&a.t()?)? * term.scale)?;
            let of_a = (b.t()?.matmul(&pull)? * term.scale)?;
            for (weight, gradient) in [(&term.a, of_a), (&term.b, of_b)] {
                squares.add_dot(&gradient, &gradient)?;
                gradients.add(weight, gradient)?;
            }
        }
        let (penalty, gradient_norm) = (0.5 * penalty.value()?, squares.value()?.sqrt());
        Ok(Pull { penalty, gradient_norm, task_gradient_norm })
    }
}
