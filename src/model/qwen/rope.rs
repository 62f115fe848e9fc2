//! Rotary position tables (Su et al. 2021), with YaRN's frequency blend where the model has it.

use candle_core::{Device, Tensor};

use super::config::{QwenConfig, Yarn};
use crate::error::Result;

/// cos and sin for every position of the window, `[window, head_dim / 2]`, f32.
#[derive(Debug, Clone)]
pub struct RopeTables {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTables {
    pub fn new(config: &QwenConfig, device: &Device) -> Result<Self> {
        let half_dim = config.head_dim / 2;
        let frequencies = frequencies(config);
        let scale = config.yarn.as_ref().map_or(1.0, |yarn| yarn.attention_factor);
        let mut cos = Vec::with_capacity(config.window * half_dim);
        let mut sin = Vec::with_capacity(config.window * half_dim);
        for position in 0..config.window {
            for frequency in &frequencies {
                // f32 on purpose: the reference multiplies in f32, and at long positions the
                // rounding of the angle shows in the logits.
                let angle = position as f32 * *frequency as f32;
                cos.push((f64::from(angle).cos() * scale) as f32);
                sin.push((f64::from(angle).sin() * scale) as f32);
            }
        }
        let shape = (config.window, half_dim);
        Ok(Self {
            cos: Tensor::from_vec(cos, shape, device)?,
            sin: Tensor::from_vec(sin, shape, device)?,
        })
    }

    /// The rows of the given positions: two `[n, head_dim / 2]`. Positions are below the window.
    pub fn rows(&self, positions: &[u32]) -> Result<(Tensor, Tensor)> {
        let positions = Tensor::new(positions, self.cos.device())?;
        Ok((self.cos.index_select(&positions, 0)?, self.sin.index_select(&positions, 0)?))
    }
}

/// Inverse frequencies, one per pair of dimensions.
fn frequencies(config: &QwenConfig) -> Vec<f64> {
    let plain: Vec<f64> = (0..config.head_dim / 2)
        .map(|pair| config.rope_theta.powf(-((2 * pair) as f64) / config.head_dim as f64))
        .collect();
    match &config.yarn {
        None => plain,
        Some(yarn) => blended(&plain, yarn, config.rope_theta, config.head_dim),
    }
}

/// YaRN's "NTK by parts": fast dimensions keep their frequency, slow ones are stretched by the
/// factor, those between are mixed along a ramp (section 3.2 of the paper).
fn blended(plain: &[f64], yarn: &Yarn, theta: f64, head_dim: usize) -> Vec<f64> {
    let dimension_of = |rotations: f64| {
        let window = yarn.original_window as f64;
        head_dim as f64 * (window / (rotations * 2.0 * std::f64::consts::PI)).ln()
            / (2.0 * theta.ln())
    };
    let (mut low, mut high) = (dimension_of(yarn.beta_fast), dimension_of(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    let low = low.max(0.0);
    let mut high = high.min(head_dim as f64 - 1.0);
    if (high - low).abs() < f64::EPSILON {
        high += 0.001;
    }
    plain
        .iter()
        .enumerate()
        .map(|(pair, frequency)| {
            let stretch = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            frequency / yarn.factor * stretch + frequency * (1.0 - stretch)
        })
        .collect()
}
