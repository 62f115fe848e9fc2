//! From gradients to new weights: the global norm, clipping, and AdamW (Loshchilov and Hutter
//! 2019) in the storage of the weights themselves, which the model shares. The numbers are those
//! of `torch.optim.AdamW` and `torch.nn.utils.clip_grad_norm_`.

mod moments;
mod norm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candle_core::Tensor;

pub use norm::{Norm, clip, global_norm};

use crate::error::{Error, Result};
use crate::model::qwen::{Gradients, Parameter};
use moments::{State, Update};

/// What does not change during a run. The defaults are torch's, without decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWSettings {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Decoupled from the gradient; applies where [`Parameter::decays`].
    pub weight_decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// AdamW over any number of tensors. Moments are f32 whatever the weights are; weights of another
/// type have an f32 master copy here, of which they receive the rounded values.
#[derive(Debug)]
pub struct AdamW {
    settings: AdamWSettings,
    /// By parameter name; in order, so that what is saved is too.
    states: BTreeMap<String, State>,
    without_gradient: BTreeSet<String>,
    unreported: Vec<String>,
    /// Whether to compute with tensor operations also where the fused pass could run.
    composed: bool,
}

impl AdamW {
    pub fn new(settings: AdamWSettings) -> Self {
        Self {
            settings,
            states: BTreeMap::new(),
            without_gradient: BTreeSet::new(),
            unreported: Vec::new(),
            composed: false,
        }
    }

    pub fn settings(&self) -> AdamWSettings {
        self.settings
    }

    /// One step on every parameter that has a gradient; the others, their moments and their count
    /// of steps stay as they are, as in torch.
    ///
    /// # Errors
    /// When a gradient has not its weight's shape, or a weight does not lie in one piece.
    pub fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &Gradients,
        learning_rate: f64,
    ) -> Result<()> {
        self.step_scaled(parameters, gradients, learning_rate, 1.0)
    }

    /// As [`Self::step`] with every gradient multiplied by `scale` on the way: that is how
    /// gradients are clipped ([`Norm::clip_scale`]) without a pass of its own.
    ///
    /// # Errors
    /// As [`Self::step`], and before any weight has changed when `learning_rate` or `scale` is not
    /// finite.
    pub fn step_scaled(
        &mut self,
        parameters: &[Parameter],
        gradients: &Gradients,
        learning_rate: f64,
        scale: f64,
    ) -> Result<()> {
        if !learning_rate.is_finite() || !scale.is_finite() {
            return Err(Error::internal(format!(
                "an optimiser step was asked for with learning rate {learning_rate} and gradient \
                 scale {scale}; steps whose gradients are not finite must be skipped"
            )));
        }
        for parameter in parameters {
            match gradients.get(&parameter.tensor) {
                Some(gradient) => self.step_one(parameter, gradient, learning_rate, scale)?,
                None => self.note_without_gradient(&parameter.name),
            }
        }
        Ok(())
    }

    /// Names of parameters that a step has left alone for want of a gradient, each once: a second
    /// call gives only what is new. A weight that never learns is most often a mistake.
    pub fn take_without_gradient(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unreported)
    }

    /// All state, by name: `exp_avg.NAME`, `exp_avg_sq.NAME` (f32), `step.NAME` (i64, one number)
    /// and, for weights that are not f32, `master.NAME` (f32). These are copies.
    ///
    /// # Errors
    /// Out of memory only.
    pub fn save(&self) -> Result<Vec<(String, Tensor)>> {
        let mut saved = Vec::with_capacity(3 * self.states.len());
        for (name, state) in &self.states {
            let tensors = state.save()?;
            saved.extend(
                tensors.into_iter().map(|(part, tensor)| (format!("{part}.{name}"), tensor)),
            );
        }
        Ok(saved)
    }

    /// Takes back what [`Self::save`] gave: the next steps are the ones, bit for bit, that the
    /// saved optimiser would have taken. The weights themselves are restored by whoever saved them.
    ///
    /// # Errors
    /// `optimizer_state` when a tensor is missing, has another shape, or belongs to no parameter.
    pub fn restore(
        &mut self,
        parameters: &[Parameter],
        saved: &HashMap<String, Tensor>,
    ) -> Result<()> {
        let mut states = BTreeMap::new();
        let mut n_taken = 0;
        for parameter in parameters {
            if let Some((state, n_tensors)) = State::restore(parameter, saved, self.composed)? {
                n_taken += n_tensors;
                states.insert(parameter.name.clone(), state);
            }
        }
        if n_taken != saved.len() {
            return Err(foreign(&states, saved));
        }
        self.states = states;
        Ok(())
    }

    fn step_one(
        &mut self,
        parameter: &Parameter,
        gradient: &Tensor,
        learning_rate: f64,
        scale: f64,
    ) -> Result<()> {
        if !self.states.contains_key(&parameter.name) {
            let state = State::new(&parameter.tensor, self.composed)?;
            self.states.insert(parameter.name.clone(), state);
        }
        let Some(state) = self.states.get_mut(&parameter.name) else { return Ok(()) };
        let decay = if parameter.decays { self.settings.weight_decay } else { 0.0 };
        let update = Update::new(&self.settings, learning_rate, decay, scale, state.n_steps() + 1);
        state.step(&update, &parameter.tensor, gradient).map_err(|error| {
            Error::failed(&format!("take an optimiser step on {}", parameter.name), error)
        })
    }

    fn note_without_gradient(&mut self, name: &str) {
        if self.without_gradient.insert(name.to_owned()) {
            self.unreported.push(name.to_owned());
        }
    }
}

fn foreign(states: &BTreeMap<String, State>, saved: &HashMap<String, Tensor>) -> Error {
    let is_foreign = |key: &&String| {
        let name = key.split_once('.').map_or(key.as_str(), |(_, name)| name);
        !states.contains_key(name)
    };
    let name = saved.keys().filter(is_foreign).min().map_or("", String::as_str);
    Error::invalid(
        "optimizer_state",
        format!(
            "the saved optimiser state holds `{name}`, which belongs to no weight of this run; \
             resume with the model, method and LoRA settings that it was saved with"
        ),
    )
}
