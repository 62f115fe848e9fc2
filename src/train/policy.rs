//! The model that is trained, with what of it is trained.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::guard::Precision;
use super::sequence::PackedBatch;
use crate::error::{Error, Result};
use crate::model::qwen::{
    AdapterOptions, AdapterSwitch, Gradients, Parameter, Qwen, Recording, ScoreOptions, ScoreSeeds,
    Scores,
};

/// A model under training: all its weights, or adapters on weights that stay.
pub struct Policy {
    pub model: Qwen,
    pub trained: Vec<Parameter>,
    /// There when adapters are trained.
    switch: Option<Arc<AdapterSwitch>>,
    /// The model as it was, where its own weights are trained and a loss asks for it.
    reference: Option<Qwen>,
    /// Keep block inputs only, and compute the rest twice.
    pub checkpointing: bool,
}

/// A forward pass with the hidden states that are scored, `[scored, hidden]`.
pub struct Pass {
    recording: Recording,
    pub scored: Tensor,
}

impl Policy {
    /// Trains every weight, or fresh adapters where they are asked for.
    ///
    /// # Errors
    /// `lora_options`, or `model_quantised` for weights that have no gradient.
    pub fn new(
        mut model: Qwen,
        lora: Option<&AdapterOptions>,
        checkpointing: bool,
        seed: u64,
    ) -> Result<Self> {
        let all = model.parameters()?;
        let (trained, switch) = match lora {
            None => (all, None),
            Some(options) => {
                let switch = model.attach_adapters(options, seed)?;
                (model.adapter_parameters(), Some(switch))
            }
        };
        Ok(Self { model, trained, switch, reference: None, checkpointing })
    }

    /// Whether adapters are trained and the other weights stay.
    pub fn has_adapters(&self) -> bool {
        self.switch.is_some()
    }

    /// What the model computes in.
    pub fn precision(&self) -> Precision {
        match self.model.dtype() {
            DType::F16 => Precision::F16,
            DType::BF16 => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// Chooses the adapters' dropout from here on; 0 leaves nothing out.
    pub fn set_dropout_pattern(&self, pattern: u64) {
        if let Some(switch) = &self.switch {
            switch.set_pattern(pattern);
        }
    }

    /// Sets the model that a loss compares with, for a policy without adapters.
    pub fn set_reference(&mut self, reference: Qwen) {
        self.reference = Some(reference);
    }

    /// The scores of a batch's answers by the model as it was before training: with its adapters
    /// off, or the reference that was set.
    ///
    /// # Errors
    /// `internal` without either.
    pub fn reference_scores(&self, batch: &PackedBatch, options: &ScoreOptions) -> Result<Scores> {
        match (&self.switch, &self.reference) {
            (Some(switch), _) => {
                switch.set(false);
                let scores = scores(&self.model, batch, options);
                switch.set(true);
                scores
            }
            (None, Some(reference)) => scores(reference, batch, options),
            (None, None) => Err(Error::internal("this policy has no reference model")),
        }
    }

    /// Trains these weights too, which are no part of the model.
    pub fn train_also(&mut self, parameters: Vec<Parameter>) {
        self.trained.extend(parameters);
    }

    /// A recorded pass over a packed batch.
    pub fn forward(&self, batch: &PackedBatch) -> Result<Pass> {
        let recording = self.model.record(&batch.inputs, &batch.lengths, self.checkpointing)?;
        let positions = Tensor::new(batch.positions.as_slice(), recording.hidden.device())?;
        let scored = recording.hidden.index_select(&positions, 0)?;
        Ok(Pass { recording, scored })
    }

    /// The scores of a batch's answers; nothing is kept of the pass.
    pub fn scores(&self, batch: &PackedBatch, options: &ScoreOptions) -> Result<Scores> {
        scores(&self.model, batch, options)
    }

    /// The same with the hidden states that were scored, `[scored, hidden]`.
    pub fn scores_and_states(
        &self,
        batch: &PackedBatch,
        options: &ScoreOptions,
    ) -> Result<(Scores, Tensor)> {
        let states = states(&self.model, batch)?;
        Ok((self.model.score(&states, &batch.targets, options)?, states))
    }

    /// The scores of a pass whose gradient comes later.
    pub fn score(
        &self,
        pass: &Pass,
        batch: &PackedBatch,
        options: &ScoreOptions,
    ) -> Result<Scores> {
        self.model.score(&pass.scored, &batch.targets, options)
    }

    /// Goes back through a pass: the loss's gradients by the scores become gradients of the
    /// trained weights. Returns the scores.
    pub fn backward(
        &self,
        pass: Pass,
        batch: &PackedBatch,
        options: &ScoreOptions,
        seeds: ScoreSeeds<'_>,
        gradients: &mut Gradients,
    ) -> Result<Scores> {
        self.backward_with(pass, batch, options, seeds, None, gradients)
    }

    /// [`Self::backward`] of a loss that looks at the scored states besides their scores:
    /// `d_states` is its gradient by them, `[scored, hidden]`.
    pub fn backward_with(
        &self,
        pass: Pass,
        batch: &PackedBatch,
        options: &ScoreOptions,
        seeds: ScoreSeeds<'_>,
        d_states: Option<&Tensor>,
        gradients: &mut Gradients,
    ) -> Result<Scores> {
        let Pass { recording, scored } = pass;
        let (scores, mut d_scored) =
            self.model.score_with_gradient(&scored, &batch.targets, options, seeds, gradients)?;
        if let Some(d_states) = d_states {
            d_scored = (d_scored + d_states)?;
        }
        let d_hidden = self.model.spread(&batch.positions, &d_scored, batch.inputs.len())?;
        self.model.backward(recording, &d_hidden, gradients)?;
        Ok(scores)
    }

    /// # Errors
    /// `internal` naming trained weights that no gradient has reached.
    pub fn check_reached(&self, gradients: &Gradients) -> Result<()> {
        let missing: Vec<&str> = self
            .trained
            .iter()
            .filter(|parameter| gradients.get(&parameter.tensor).is_none())
            .map(|parameter| parameter.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::internal(format!("no gradient has reached {}", missing.join(", "))))
    }
}

fn scores(model: &Qwen, batch: &PackedBatch, options: &ScoreOptions) -> Result<Scores> {
    model.score(&states(model, batch)?, &batch.targets, options)
}

/// The hidden states before a batch's scored tokens, `[scored, hidden]`.
fn states(model: &Qwen, batch: &PackedBatch) -> Result<Tensor> {
    let hidden = model.hidden(&batch.inputs, &batch.lengths)?;
    let positions = Tensor::new(batch.positions.as_slice(), hidden.device())?;
    Ok(hidden.index_select(&positions, 0)?)
}
