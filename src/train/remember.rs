//! What holds a model to what it could before, as one: EWC and L2-SP, on the weights themselves or
//! on the change that adapters make.

use std::path::Path;

use candle_core::{DType, Tensor};

use super::ewc::{Fisher, Labels, LoraPenalty, LoraTerm, Penalty, Pull};
use super::objective::Metrics;
use super::options::RememberOptions;
use super::policy::Policy;
use super::sequence::{PackedBatch, Sequence};
use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds};
use crate::model::sampling::{Sampler, Sampling};

/// The pulls of a run; their anchors are the weights as they are when this is made.
pub struct Remember {
    /// Each with its name among the figures.
    pulls: Vec<(&'static str, Held)>,
}

enum Held {
    Weights(Penalty),
    Adapters(LoraPenalty),
}

impl Remember {
    /// None when the options ask for nothing.
    ///
    /// # Errors
    /// `train_options` for EWC without a Fisher file, or the other way round, and those of
    /// [`Fisher::load`].
    pub fn new(
        policy: &Policy,
        options: &RememberOptions,
        fisher: Option<&Path>,
    ) -> Result<Option<Self>> {
        let mut pulls = Vec::new();
        match (options.ewc_lambda > 0.0, fisher) {
            (true, Some(path)) => {
                let fisher = Fisher::load(path, &policy.model.parameters()?)?;
                let held = if policy.has_adapters() {
                    Held::Adapters(adapters(policy, options.ewc_lambda, |name| {
                        fisher.get(&format!("{name}.weight")).cloned()
                    })?)
                } else {
                    Held::Weights(Penalty::ewc(&fisher, &policy.trained, options.ewc_lambda)?)
                };
                pulls.push(("ewc", held));
            }
            (false, None) => {}
            (asked, _) => {
                let message = if asked {
                    "remember.ewc_lambda is set but no Fisher file is named; make one by \
                     `querent fisher` and give it as --fisher"
                } else {
                    "a Fisher file is named but remember.ewc_lambda is 0; set it, as 1.0"
                };
                return Err(Error::invalid("train_options", message));
            }
        }
        if options.l2_sp_lambda > 0.0 {
            let held = if policy.has_adapters() {
                Held::Adapters(adapters(policy, options.l2_sp_lambda, |_| None)?)
            } else {
                Held::Weights(Penalty::l2_sp(&policy.trained, options.l2_sp_lambda)?)
            };
            pulls.push(("l2_sp", held));
        }
        Ok((!pulls.is_empty()).then_some(Self { pulls }))
    }

    /// Adds the pulls' gradients to those of the task, which have their final scale.
    pub fn add(&self, policy: &Policy, gradients: &mut Gradients, loss: f64) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        for (kind, held) in &self.pulls {
            let pull: Pull = match held {
                Held::Weights(penalty) => penalty.add_gradients(&policy.trained, gradients)?,
                Held::Adapters(penalty) => penalty.add_gradients(&policy.trained, gradients)?,
            };
            for (name, value) in pull.metrics(loss) {
                metrics.insert(name.replacen("ewc", kind, 1), value);
            }
        }
        Ok(metrics)
    }
}

/// A pull on each adapted layer's change; a layer without a known importance is held by ones.
fn adapters(
    policy: &Policy,
    lambda: f64,
    importance: impl Fn(&str) -> Option<Tensor>,
) -> Result<LoraPenalty> {
    let terms = policy.model.adapters().into_iter().map(|(name, adapter)| {
        let shape = (adapter.b.dim(0)?, adapter.a.dim(1)?);
        let fisher = match importance(&name) {
            Some(fisher) => fisher,
            None => Tensor::ones(shape, DType::F32, adapter.a.device())?,
        };
        let (a, b) = (adapter.a.clone(), adapter.b.clone());
        Ok(LoraTerm { fisher, a, b, scale: adapter.scale, anchor: None })
    });
    LoraPenalty::new(lambda, terms.collect::<Result<_>>()?)
}

/// The importance of a policy's weights for the answers of some sequences: the mean over sequences
/// of the squared gradient of a sequence's mean negative log-probability, of answers' tokens drawn
/// from the model itself (van de Ven 2025, arXiv 2502.11756, "SAMPLE") or those of the data.
///
/// # Errors
/// `fisher_empty` when no sequence gave a gradient.
pub fn fisher(
    policy: &Policy,
    sequences: &[Sequence],
    labels: Labels,
    seed: u64,
    mut each: impl FnMut(),
) -> Result<Fisher> {
    let parameters = policy.model.parameters()?;
    let mut sum = Fisher::start(&parameters, labels);
    let mut gradients = Gradients::of(&parameters);
    let mut sampler = Sampler::new(Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, seed });
    for sequence in sequences {
        gradients.clear();
        let mut batch = PackedBatch::pack([sequence]);
        let pass = policy.forward(&batch)?;
        if labels == Labels::Sampled {
            let scores = policy.model.logits(&pass.scored)?.to_dtype(DType::F32)?;
            for (target, row) in batch.targets.iter_mut().zip(scores.to_vec2::<f32>()?) {
                *target = sampler.draw(&row);
            }
        }
        let seeds = vec![-1.0 / batch.targets.len() as f32; batch.targets.len()];
        let seeds = ScoreSeeds { log_probs: &seeds, entropies: None };
        policy.backward(pass, &batch, &ScoreOptions::default(), seeds, &mut gradients)?;
        sum.add_sequence(&gradients)?;
        each();
    }
    sum.finish()
}
