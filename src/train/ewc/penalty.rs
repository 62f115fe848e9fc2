//! The penalty on weights that are trained in full, and its gradient.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

use super::Fisher;
use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::numbers::Sum;
use crate::train::optimizer::global_norm;

/// `λ/2 Σ F (θ - θ*)²`. Where all F are 1 this is L2-SP (Li, Grandvalet and Davoine 2018).
#[derive(Debug)]
pub struct Penalty {
    lambda: f64,
    terms: BTreeMap<String, Term>,
}

#[derive(Debug)]
struct Term {
    /// θ*, in the weight's own type.
    anchor: Tensor,
    /// None stands for ones.
    fisher: Option<Tensor>,
}

/// What a penalty did in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pull {
    /// The value of the penalty.
    pub penalty: f64,
    /// The norm of the penalty's gradient.
    pub gradient_norm: f64,
    /// The norm of the gradients before it was added.
    pub task_gradient_norm: f64,
}

impl Pull {
    /// For the logs: `ewc/penalty`, `ewc/penalty_over_task`, `ewc/grad_norm_ratio`. A ratio of
    /// norms from 0.05 to 0.5 shows a λ that neither does nothing nor stops the learning. A ratio
    /// to 0 is given as 0.
    pub fn metrics(&self, task_loss: f64) -> [(&'static str, f64); 3] {
        let over = |value: f64, by: f64| if by == 0.0 { 0.0 } else { value / by };
        [
            ("ewc/penalty", self.penalty),
            ("ewc/penalty_over_task", over(self.penalty, task_loss)),
            ("ewc/grad_norm_ratio", over(self.gradient_norm, self.task_gradient_norm)),
        ]
    }
}

impl Penalty {
    /// Holds the weights where they are now, each by its importance. Weights that `fisher` does
    /// not know are free.
    ///
    /// # Errors
    /// `fisher_weights` when a weight and its importance differ in shape, or none is known;
    /// `ewc_lambda` for a λ that is negative or not finite.
    pub fn ewc(fisher: &Fisher, parameters: &[Parameter], lambda: f64) -> Result<Self> {
        let known = parameters.iter().filter_map(|parameter| {
            fisher.get(&parameter.name).map(|fisher| (parameter, Some(fisher)))
        });
        let terms = known.map(|(parameter, fisher)| term(parameter, fisher));
        let terms = terms.collect::<Result<BTreeMap<_, _>>>()?;
        if terms.is_empty() {
            return Err(Error::invalid(
                "fisher_weights",
                "the Fisher information is of none of the weights that are trained; with LoRA use \
                 the form on the whole change of a linear",
            ));
        }
        Self::checked(lambda, terms)
    }

    /// Holds all weights alike where they are now.
    ///
    /// # Errors
    /// `ewc_lambda` for a λ that is negative or not finite.
    pub fn l2_sp(parameters: &[Parameter], lambda: f64) -> Result<Self> {
        let terms = parameters.iter().map(|parameter| term(parameter, None));
        Self::checked(lambda, terms.collect::<Result<_>>()?)
    }

    /// Adds `λ F (θ - θ*)` to the gradients. To be called once a step, when the task's gradients
    /// have their final scale (divided by the number of tokens), before the norm is taken.
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
        for parameter in parameters {
            let Some(term) = self.terms.get(&parameter.name) else { continue };
            let weight = parameter.tensor.to_dtype(DType::F32)?;
            let change = (weight - term.anchor.to_dtype(DType::F32)?)?;
            let pull = pull(&change, term.fisher.as_ref(), self.lambda)?;
            penalty.add_dot(&change, &pull)?;
            squares.add_dot(&pull, &pull)?;
            gradients.add(&parameter.tensor, pull)?;
        }
        let (penalty, gradient_norm) = (0.5 * penalty.value()?, squares.value()?.sqrt());
        Ok(Pull { penalty, gradient_norm, task_gradient_norm })
    }

    fn checked(lambda: f64, terms: BTreeMap<String, Term>) -> Result<Self> {
        check_lambda(lambda)?;
        Ok(Self { lambda, terms })
    }
}

/// `λ F ∘ change`, f32.
pub(super) fn pull(change: &Tensor, fisher: Option<&Tensor>, lambda: f64) -> Result<Tensor> {
    Ok(match fisher {
        Some(fisher) => ((change * fisher)? * lambda)?,
        None => (change * lambda)?,
    })
}

pub(super) fn check_lambda(lambda: f64) -> Result<()> {
    if lambda.is_finite() && lambda >= 0.0 {
        return Ok(());
    }
    Err(Error::invalid(
        "ewc_lambda",
        format!("a penalty weight (lambda) of {lambda} cannot be used; give 0 or more, as 0.1"),
    ))
}

fn term(parameter: &Parameter, fisher: Option<&Tensor>) -> Result<(String, Term)> {
    let weight = &parameter.tensor;
    if let Some(fisher) = fisher.filter(|fisher| fisher.dims() != weight.dims()) {
        return Err(Error::invalid(
            "fisher_weights",
            format!(
                "the Fisher information of {} has shape {:?} but the weight has {:?}; compute it \
                 again for this model",
                parameter.name,
                fisher.dims(),
                weight.dims()
            ),
        ));
    }
    let on_device = |fisher: &Tensor| fisher.to_device(weight.device());
    let term =
        Term { anchor: weight.force_contiguous()?, fisher: fisher.map(on_device).transpose()? };
    Ok((parameter.name.clone(), term))
}
