//! Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on the linear layers: a frozen matrix `W`
//! serves as `W + s B A`, and only `A` and `B` are trained. With all of them switched off the model
//! is the one that it was: the reference of preference and reward training.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use candle_core::{DType, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::gradients::{Gradients, Parameter};
use super::linear::Linear;
use crate::error::{Error, Result};

/// The linear layers of a block, by Hugging Face's names.
pub const TARGETS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// How adapters are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdapterOptions {
    /// Rows of `A`. vLLM loads up to 16 without a flag.
    pub rank: usize,
    /// `s = alpha / rank`, or `alpha / sqrt(rank)` with `rank_stabilised`.
    pub alpha: f64,
    /// Share of the input's numbers left out of the adapter's part while training.
    pub dropout: f64,
    /// Kalajdzievski 2023, arXiv 2312.03732.
    pub rank_stabilised: bool,
    /// Which of [`TARGETS`] get one.
    pub targets: Vec<String>,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        let targets = TARGETS.map(str::to_owned).to_vec();
        Self { rank: 16, alpha: 32.0, dropout: 0.0, rank_stabilised: false, targets }
    }
}

impl AdapterOptions {
    /// `s` of `W + s B A`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// # Errors
    /// `lora_options` for a rank of 0, a dropout outside `0..1`, or a target that no block has.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::invalid("lora_options", message));
        if self.rank == 0 || !self.alpha.is_finite() {
            return refuse(format!(
                "rank {} with alpha {} makes no adapter; use a rank of at least 1",
                self.rank, self.alpha
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse(format!("dropout {} is not within 0 and 1", self.dropout));
        }
        match self.targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
            Some(target) => refuse(format!("no layer is called `{target}`; use {TARGETS:?}")),
            None if self.targets.is_empty() => refuse("no target layer is named".to_owned()),
            None => Ok(()),
        }
    }
}

/// What all adapters of a model share.
#[derive(Debug)]
pub struct AdapterSwitch {
    on: AtomicBool,
    /// Chooses the dropout's pattern; 0 leaves nothing out.
    pattern: AtomicU64,
}

impl AdapterSwitch {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { on: AtomicBool::new(true), pattern: AtomicU64::new(0) })
    }

    /// Switches all adapters on or off.
    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// The dropout's pattern from here on; the backward pass needs the one of its forward pass.
    /// 0 leaves nothing out, as everything but training wants it.
    pub fn set_pattern(&self, pattern: u64) {
        self.pattern.store(pattern, Ordering::Relaxed);
    }
}

/// The adapter of one layer. `a`: `[rank, n_in]`, `b`: `[n_out, rank]`.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub a: Tensor,
    pub b: Tensor,
    pub scale: f64,
    dropout: f64,
    /// Tells the layers' dropout patterns apart.
    layer_id: u64,
    switch: Arc<AdapterSwitch>,
    /// The matrix as it was before the adapter was merged into it.
    unmerged: Option<Tensor>,
}

impl Adapter {
    /// `A` uniform in `±1 / sqrt(n_in)`, as PEFT's Kaiming start gives it, and `B` of zeros.
    pub(super) fn new(
        weight: &Tensor,
        options: &AdapterOptions,
        layer_id: u64,
        seed: u64,
        switch: &Arc<AdapterSwitch>,
    ) -> Result<Self> {
        let (n_out, n_in) = weight.dims2()?;
        if options.rank > n_out.min(n_in) {
            return Err(Error::invalid(
                "lora_options",
                format!(
                    "a rank of {} is more than a matrix of {n_out} by {n_in} has; give at most {}",
                    options.rank,
                    n_out.min(n_in)
                ),
            ));
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(layer_id);
        let bound = 1.0 / (n_in as f32).sqrt();
        let a: Vec<f32> =
            (0..options.rank * n_in).map(|_| random.random_range(-bound..bound)).collect();
        Ok(Self {
            a: Tensor::from_vec(a, (options.rank, n_in), weight.device())?,
            b: Tensor::zeros((n_out, options.rank), DType::F32, weight.device())?,
            scale: options.scale(),
            dropout: options.dropout,
            layer_id,
            switch: Arc::clone(switch),
            unmerged: None,
        })
    }

    pub(super) fn is_on(&self) -> bool {
        self.unmerged.is_none() && self.switch.on.load(Ordering::Relaxed)
    }

    /// `s x Aᵀ Bᵀ`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (a, b) = self.as_type_of(x)?;
        let inner = self.dropped(x)?.matmul(&a.t()?)?;
        Ok((inner.matmul(&b.t()?)? * self.scale)?)
    }

    /// The gradient by `x`; with `e = s d B`: `dA = eᵀ x`, `dB = s dᵀ (x Aᵀ)`, `dx = e A`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        d: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let (a, b) = self.as_type_of(x)?;
        let inner = (d.matmul(&b)? * self.scale)?;
        let x = self.dropped(x)?;
        if gradients.wants(&self.a) {
            gradients.add(&self.a, inner.t()?.matmul(&x)?)?;
        }
        if gradients.wants(&self.b) {
            let reduced = (x.matmul(&a.t()?)? * self.scale)?;
            gradients.add(&self.b, d.t()?.matmul(&reduced)?)?;
        }
        self.dropped(&inner.matmul(&a)?)
    }

    /// `A` and `B` are kept in f32 whatever the model computes in.
    fn as_type_of(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.a.to_dtype(x.dtype())?, self.b.to_dtype(x.dtype())?))
    }

    /// `x` with the pattern's share of its numbers left out and the others made larger for it.
    fn dropped(&self, x: &Tensor) -> Result<Tensor> {
        let pattern = self.switch.pattern.load(Ordering::Relaxed);
        if self.dropout == 0.0 || pattern == 0 {
            return Ok(x.clone());
        }
        let kept = (1.0 / (1.0 - self.dropout)) as f32;
        let start = mixed(mixed(pattern) ^ self.layer_id);
        let is_left_out = |index: u64| {
            (mixed(start.wrapping_add(index)) >> 40) as f64 / (1u64 << 24) as f64 <= self.dropout
        };
        let mask: Vec<f32> = (0..x.elem_count() as u64)
            .map(|index| if is_left_out(index) { 0.0 } else { kept })
            .collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok((x * mask)?)
    }

    pub(super) fn parameters(&self, name: &str, out: &mut Vec<Parameter>) {
        for (letter, tensor) in [("A", &self.a), ("B", &self.b)] {
            let name = format!("{name}.lora_{letter}.weight");
            out.push(Parameter { name, tensor: tensor.clone(), decays: true });
        }
    }

    /// `s B A`, `[n_out, n_in]`.
    pub fn delta(&self) -> Result<Tensor> {
        Ok((self.b.matmul(&self.a)? * self.scale)?)
    }
}

/// Puts `layer`'s adapter into its matrix, or takes it out again to the last bit.
pub(super) fn set_merged(layer: &mut Linear, merged: bool) -> Result<()> {
    let weight = layer.matrix.dense()?.clone();
    let Some(adapter) = &mut layer.adapter else { return Ok(()) };
    match (merged, adapter.unmerged.take()) {
        (true, None) => {
            let wide = (weight.to_dtype(DType::F32)? + adapter.delta()?)?;
            layer.matrix = super::Matrix::Dense(wide.to_dtype(weight.dtype())?);
            adapter.unmerged = Some(weight);
        }
        (true, unmerged) => adapter.unmerged = unmerged,
        (false, Some(unmerged)) => layer.matrix = super::Matrix::Dense(unmerged),
        (false, None) => {}
    }
    Ok(())
}

/// SplitMix64's finish (Steele et al. 2014): every bit of the number decides every bit of it.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
