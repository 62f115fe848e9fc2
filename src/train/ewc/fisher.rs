//! The diagonal of the Fisher information, summed up sequence by sequence.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::file::weights_digest;
use super::quantile::quantile;
use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use crate::train::numbers::Sum;
use crate::train::optimizer::global_norm;

/// Larger values are lowered to this quantile: a few of them would hold nearly all of the mean.
const CLAMP_QUANTILE: f64 = 0.999;

/// Whose labels the gradients were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Drawn from the model: the Fisher information proper.
    Sampled,
    /// Those of the data: the empirical Fisher.
    Empirical,
}

/// What a Fisher is of; the header of its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FisherFacts {
    pub labels: Labels,
    /// Sequences that were added, of all tasks.
    pub n_sequences: u64,
    /// Sequences that were left out because a gradient was not finite.
    pub n_left_out: u64,
    /// 1, or more after [`Fisher::accumulated`].
    pub n_tasks: u32,
    /// What the newest task's values were divided by to have mean 1.
    pub normalisation: f64,
    /// The largest value of the newest task after that.
    pub largest: f64,
    /// Of the weights that the gradients were taken at.
    pub weights_sha256: String,
}

/// The importance of each weight, f32, in the weights' shapes; mean 1 over all of one task.
#[derive(Debug, Clone)]
pub struct Fisher {
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) facts: FisherFacts,
}

/// A Fisher on its way. The weights must not change meanwhile.
#[derive(Debug)]
pub struct FisherSum {
    parameters: Vec<Parameter>,
    labels: Labels,
    /// Σ g² by parameter; none until a gradient has come.
    sums: Vec<Option<Tensor>>,
    n_sequences: u64,
    n_left_out: u64,
}

impl Fisher {
    /// Begins to sum over these weights. They need not be the ones that will be trained: with
    /// LoRA they are the base linears.
    pub fn start(parameters: &[Parameter], labels: Labels) -> FisherSum {
        FisherSum {
            parameters: parameters.to_vec(),
            labels,
            sums: vec![None; parameters.len()],
            n_sequences: 0,
            n_left_out: 0,
        }
    }

    pub fn facts(&self) -> &FisherFacts {
        &self.facts
    }

    /// The importance of a weight's numbers; none for one that never had a gradient.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// `γ · previous + self` (online EWC, Schwarz et al. 2018): the importance over all tasks so
    /// far, around the weights after the newest, which are those of `self`.
    ///
    /// # Errors
    /// When a weight has two shapes.
    pub fn accumulated(mut self, previous: &Self, gamma: f64) -> Result<Self> {
        for (name, old) in &previous.tensors {
            let old = (old * gamma)?;
            let sum = match self.tensors.get(name) {
                Some(new) => (old.to_device(new.device())? + new)?,
                None => old,
            };
            self.tensors.insert(name.clone(), sum);
        }
        self.facts.n_tasks += previous.facts.n_tasks;
        self.facts.n_sequences += previous.facts.n_sequences;
        self.facts.n_left_out += previous.facts.n_left_out;
        Ok(self)
    }
}

impl FisherSum {
    /// Adds the squares of the gradients of **one** sequence's loss (its tokens' mean). False,
    /// and nothing is added, when one is not finite.
    ///
    /// # Errors
    /// When a gradient cannot be read.
    pub fn add_sequence(&mut self, gradients: &Gradients) -> Result<bool> {
        if !global_norm(gradients, &self.parameters)?.finite {
            self.n_left_out += 1;
            return Ok(false);
        }
        for (parameter, sum) in self.parameters.iter().zip(&mut self.sums) {
            let Some(gradient) = gradients.get(&parameter.tensor) else { continue };
            let squares = gradient.sqr()?;
            match sum {
                Some(sum) => *sum = (&*sum + squares)?,
                None => *sum = Some(squares.contiguous()?),
            }
        }
        self.n_sequences += 1;
        Ok(true)
    }

    /// The mean over sequences, lowered to its 99.9 % quantile, divided by its mean over all
    /// numbers: the result has mean 1 and no value over its own 99.9 % quantile. Weights that
    /// never had a gradient are left out of it.
    ///
    /// # Errors
    /// `fisher_empty` when no sequence, or no gradient other than 0, was added.
    pub fn finish(self) -> Result<Fisher> {
        let empty = |why: String| {
            Error::invalid("fisher_empty", format!("the Fisher information is empty: {why}"))
        };
        if self.n_sequences == 0 {
            return Err(empty(format!(
                "no sequence was added ({} were not finite); give some of the old task",
                self.n_left_out
            )));
        }
        let pairs = self.parameters.iter().zip(self.sums);
        let sums: Vec<_> = pairs.filter_map(|(parameter, sum)| Some((parameter, sum?))).collect();
        let tensors: Vec<&Tensor> = sums.iter().map(|(_, sum)| sum).collect();
        let clamp = f64::from(quantile(&tensors, CLAMP_QUANTILE)?);
        let mean = mean_below(&tensors, clamp)?;
        if mean <= 0.0 {
            return Err(empty("99.9 % of its values are 0; use more sequences".to_owned()));
        }
        let normalised = |(parameter, sum): &(&Parameter, Tensor)| {
            let values = (sum.minimum(clamp as f32)? / mean)?;
            Ok((parameter.name.clone(), values))
        };
        let trained: Vec<_> = sums.iter().map(|(parameter, _)| (*parameter).clone()).collect();
        Ok(Fisher {
            tensors: sums.iter().map(normalised).collect::<Result<_>>()?,
            facts: FisherFacts {
                labels: self.labels,
                n_sequences: self.n_sequences,
                n_left_out: self.n_left_out,
                n_tasks: 1,
                normalisation: mean / self.n_sequences as f64,
                largest: clamp / mean,
                weights_sha256: weights_digest(&trained)?,
            },
        })
    }
}

/// The mean of `min(value, clamp)` over all numbers.
fn mean_below(tensors: &[&Tensor], clamp: f64) -> Result<f64> {
    let mut sum = Sum::default();
    let mut n = 0;
    for tensor in tensors {
        let below = tensor.minimum(clamp as f32)?;
        sum.add_dot(&below, &Tensor::ones(below.dims(), DType::F32, below.device())?)?;
        n += tensor.elem_count();
    }
    Ok(sum.value()? / n as f64)
}
