//! What AdamW remembers of one weight, and its step on it: one pass over host memory, or the same
//! formula by tensor operations elsewhere.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, bail};
use half::{bf16, f16};
use rayon::prelude::*;

use super::AdamWSettings;
use crate::error::{Error, Result};
use crate::model::qwen::Parameter;
use crate::train::numbers::{CHUNK, to_f32, write_in_place};

/// The factors of one step on one weight; see the formula at [`Update::on_chunk`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Update {
    gradient_scale: f32,
    /// `1 - learning rate * weight decay`.
    keep: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    /// `learning rate / (1 - beta1^t)`.
    step_size: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    second_scale: f32,
    epsilon: f32,
}

impl Update {
    /// The step with number `step`, counted from 1.
    pub(super) fn new(
        settings: &AdamWSettings,
        learning_rate: f64,
        weight_decay: f64,
        gradient_scale: f64,
        step: i64,
    ) -> Self {
        let AdamWSettings { beta1, beta2, epsilon, .. } = *settings;
        let power = |base: f64| base.powf(step as f64);
        Self {
            gradient_scale: gradient_scale as f32,
            keep: (1.0 - learning_rate * weight_decay) as f32,
            one_minus_beta1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            step_size: (learning_rate / (1.0 - power(beta1))) as f32,
            second_scale: (1.0 / (1.0 - power(beta2)).sqrt()) as f32,
            epsilon: epsilon as f32,
        }
    }

    /// `m += (1-β₁)(g-m)`, `v = β₂v + (1-β₂)g²`,
    /// `w = (1-lr·λ)w - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)` (Loshchilov and Hutter 2019, algorithm 2).
    fn on_chunk(&self, weight: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32]) {
        for (((weight, m), v), gradient) in weight.iter_mut().zip(m).zip(v).zip(gradient) {
            let gradient = gradient * self.gradient_scale;
            *m += self.one_minus_beta1 * (gradient - *m);
            *v = self.beta2 * *v + self.one_minus_beta2 * (gradient * gradient);
            let denominator = v.sqrt() * self.second_scale + self.epsilon;
            *weight = *weight * self.keep - self.step_size * *m / denominator;
        }
    }
}

/// Moments, count of steps and master copy of one weight.
#[derive(Debug)]
pub(super) struct State {
    /// The weight: its shape, type and place.
    like: Tensor,
    n_steps: i64,
    moments: Moments,
}

#[derive(Debug)]
enum Moments {
    Fused(Fused),
    Composed(Composed),
}

#[derive(Debug)]
struct Fused {
    m: Vec<f32>,
    v: Vec<f32>,
    /// Only for weights that are not f32.
    master: Option<Vec<f32>>,
}

#[derive(Debug)]
struct Composed {
    m: Tensor,
    v: Tensor,
    master: Option<Tensor>,
}

impl State {
    pub(super) fn new(weight: &Tensor, composed: bool) -> Result<Self> {
        let has_master = weight.dtype() != DType::F32;
        let moments = if weight.device().is_cpu() && !composed {
            let zeros = || vec![0f32; weight.elem_count()];
            let master = has_master.then(|| to_f32(weight)).transpose()?;
            Moments::Fused(Fused { m: zeros(), v: zeros(), master })
        } else {
            let zeros = || Tensor::zeros(weight.dims(), DType::F32, weight.device());
            let master = has_master.then(|| weight.to_dtype(DType::F32)).transpose()?;
            Moments::Composed(Composed { m: zeros()?, v: zeros()?, master })
        };
        Ok(Self { like: weight.clone(), n_steps: 0, moments })
    }

    pub(super) fn n_steps(&self) -> i64 {
        self.n_steps
    }

    pub(super) fn step(
        &mut self,
        update: &Update,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<()> {
        if gradient.dims() != weight.dims() || self.like.dims() != weight.dims() {
            return Err(Error::internal(format!(
                "a gradient of shape {:?} and moments of shape {:?} came for a weight of shape {:?}",
                gradient.dims(),
                self.like.dims(),
                weight.dims()
            )));
        }
        match &mut self.moments {
            Moments::Fused(moments) => {
                let step = FusedStep { update, moments: RefCell::new(moments) };
                weight.inplace_op2(&gradient.contiguous()?, &step)?;
            }
            Moments::Composed(moments) => moments.step(update, weight, gradient)?,
        }
        self.n_steps += 1;
        Ok(())
    }

    /// Copies, each under the first part of its name.
    pub(super) fn save(&self) -> Result<Vec<(&'static str, Tensor)>> {
        let (m, v, master) = match &self.moments {
            Moments::Fused(Fused { m, v, master }) => {
                let tensor =
                    |values| Tensor::from_slice(values, self.like.dims(), self.like.device());
                let master = master.as_deref().map(tensor).transpose()?;
                (tensor(m)?, tensor(v)?, master)
            }
            // Steps put new tensors in their places, and never write into these.
            Moments::Composed(Composed { m, v, master }) => (m.clone(), v.clone(), master.clone()),
        };
        let step = Tensor::from_slice(&[self.n_steps], 1, self.like.device())?;
        let mut saved = vec![("exp_avg", m), ("exp_avg_sq", v), ("step", step)];
        saved.extend(master.map(|master| ("master", master)));
        Ok(saved)
    }

    /// The state of this parameter and the number of tensors it took; none when nothing of it was
    /// saved, as for a weight that never had a gradient.
    pub(super) fn restore(
        parameter: &Parameter,
        saved: &HashMap<String, Tensor>,
        composed: bool,
    ) -> Result<Option<(Self, usize)>> {
        let (name, like) = (&parameter.name, &parameter.tensor);
        let Some(step) = saved.get(&format!("step.{name}")) else { return Ok(None) };
        let n_steps = step.flatten_all()?.to_vec1::<i64>()?.first().copied().unwrap_or(0);
        let part = |part: &str| find(&format!("{part}.{name}"), like, saved);
        let (m, v) = (part("exp_avg")?, part("exp_avg_sq")?);
        let master = (like.dtype() != DType::F32).then(|| part("master")).transpose()?;
        let n_tensors = 3 + usize::from(master.is_some());
        let moments = if like.device().is_cpu() && !composed {
            let master = master.as_ref().map(to_f32).transpose()?;
            Moments::Fused(Fused { m: to_f32(&m)?, v: to_f32(&v)?, master })
        } else {
            Moments::Composed(Composed { m, v, master })
        };
        Ok(Some((Self { like: like.clone(), n_steps, moments }, n_tensors)))
    }
}

fn find(key: &str, like: &Tensor, saved: &HashMap<String, Tensor>) -> Result<Tensor> {
    let wrong = |what: String| {
        Err(Error::invalid(
            "optimizer_state",
            format!("the saved optimiser state {what}; resume from another checkpoint"),
        ))
    };
    match saved.get(key) {
        None => wrong(format!("lacks `{key}`")),
        Some(tensor) if tensor.dims() != like.dims() => wrong(format!(
            "has `{key}` in shape {:?}, but the weight is {:?}",
            tensor.dims(),
            like.dims()
        )),
        Some(tensor) => Ok(tensor.to_device(like.device())?.to_dtype(DType::F32)?.contiguous()?),
    }
}

impl Composed {
    /// The formula of [`Update::on_chunk`].
    fn step(&mut self, update: &Update, weight: &Tensor, gradient: &Tensor) -> Result<()> {
        let factor = f64::from;
        let gradient = (gradient * factor(update.gradient_scale))?;
        let m = (&self.m + ((&gradient - &self.m)? * factor(update.one_minus_beta1))?)?;
        let squares = (gradient.sqr()? * factor(update.one_minus_beta2))?;
        let v = ((&self.v * factor(update.beta2))? + squares)?;
        let denominator = (v.sqrt()? * factor(update.second_scale))?;
        let direction = (&m / (denominator + factor(update.epsilon))?)?;
        let old = self.master.as_ref().unwrap_or(weight);
        let new = ((old * factor(update.keep))? - (direction * factor(update.step_size))?)?;
        write_in_place(weight, &new)?;
        self.master = self.master.as_ref().map(|_| new);
        (self.m, self.v) = (m, v);
        Ok(())
    }
}

/// One step in the storage of the weight; the operation is shared, hence the cell.
struct FusedStep<'a> {
    update: &'a Update,
    moments: RefCell<&'a mut Fused>,
}

impl InplaceOp2 for FusedStep<'_> {
    fn name(&self) -> &'static str {
        "adamw-step"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        weight_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let CpuStorage::F32(gradient) = gradient else { bail!("gradients are summed in f32") };
        let offsets = (weight_layout.contiguous_offsets(), gradient_layout.contiguous_offsets());
        let (Some((start, end)), Some((from, to))) = offsets else {
            bail!("a weight to train must lie in one piece, this one has {weight_layout:?}")
        };
        let gradient = &gradient[from..to];
        let moments = &mut **self.moments.borrow_mut();
        match weight {
            CpuStorage::F32(weight) => {
                let Fused { m, v, .. } = moments;
                on_chunks(self.update, &mut weight[start..end], m, v, gradient);
                Ok(())
            }
            CpuStorage::BF16(weight) => {
                moments.step_master(self.update, gradient)?;
                moments.round_into(&mut weight[start..end], bf16::from_f32)
            }
            CpuStorage::F16(weight) => {
                moments.step_master(self.update, gradient)?;
                moments.round_into(&mut weight[start..end], f16::from_f32)
            }
            _ => bail!("weights to train are f32, bf16 or f16"),
        }
    }
}

impl Fused {
    fn step_master(&mut self, update: &Update, gradient: &[f32]) -> candle_core::Result<()> {
        let Self { m, v, master: Some(master) } = self else {
            bail!("this weight has changed its type since its first step")
        };
        on_chunks(update, master, m, v, gradient);
        Ok(())
    }

    fn round_into<T: Send>(
        &self,
        weight: &mut [T],
        round: impl Fn(f32) -> T + Sync,
    ) -> candle_core::Result<()> {
        let chunks = weight.par_chunks_mut(CHUNK);
        let master = self.master.as_deref().unwrap_or_default();
        chunks.zip(master.par_chunks(CHUNK)).for_each(|(weight, master)| {
            for (weight, master) in weight.iter_mut().zip(master) {
                *weight = round(*master);
            }
        });
        Ok(())
    }
}

fn on_chunks(update: &Update, weight: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32]) {
    let chunks = weight.par_chunks_mut(CHUNK).zip(m.par_chunks_mut(CHUNK));
    let chunks = chunks.zip(v.par_chunks_mut(CHUNK)).zip(gradient.par_chunks(CHUNK));
    chunks.for_each(|(((weight, m), v), gradient)| update.on_chunk(weight, m, v, gradient));
}
