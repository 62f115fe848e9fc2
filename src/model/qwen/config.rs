//! The shape of a Qwen2, Qwen2.5 or Qwen3 dense model, read from `config.json` or GGUF metadata.

use serde::Deserialize;

use crate::error::{Error, Result};

/// Which family of weights: they differ in attention biases (Qwen2) and QK-norm (Qwen3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on each query and key head, no biases by default.
    Qwen3,
}

/// Everything that decides the computation, in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct QwenConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub n_layers: usize,
    pub n_heads: usize,
    pub n_kv_heads: usize,
    pub head_dim: usize,
    pub attention_bias: bool,
    pub tied_head: bool,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub yarn: Option<Yarn>,
    /// Longest sequence in tokens.
    pub window: usize,
}

/// YaRN's extension of the window (Peng et al. 2023, arXiv 2309.00071).
#[derive(Debug, Clone, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub original_window: usize,
    pub beta_fast: f64,
    pub beta_slow: f64,
    /// Multiplies cos and sin; `0.1 ln(factor) + 1` where the file names none.
    pub attention_factor: f64,
    /// Whether the correction range is rounded outwards to whole dimensions.
    pub truncate: bool,
}

/// `config.json` as Hugging Face writes it; version 5 moved the RoPE fields into
/// `rope_parameters`, so both places are read.
#[derive(Deserialize)]
struct RawConfig {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    attention_bias: Option<bool>,
    #[serde(default)]
    tie_word_embeddings: bool,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    max_position_embeddings: usize,
    #[serde(default)]
    use_sliding_window: bool,
    hidden_act: Option<String>,
}

#[derive(Deserialize, Clone)]
struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    truncate: Option<bool>,
}

impl QwenConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// `model_config` for JSON that is no Qwen2 or Qwen3 dense model, or a shape that cannot work.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let raw: RawConfig = serde_json::from_slice(json)
            .map_err(|error| unusable(format!("config.json cannot be read: {error}")))?;
        let family = match raw.model_type.as_str() {
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            other => {
                return Err(unusable(format!(
                    "model_type `{other}` is not served; use a dense qwen2 or qwen3 model"
                )));
            }
        };
        if raw.use_sliding_window {
            return Err(unusable("use_sliding_window is true; only full attention is served"));
        }
        if raw.hidden_act.as_deref().is_some_and(|name| name != "silu") {
            return Err(unusable("hidden_act must be silu"));
        }
        let rope = raw.rope_parameters.clone().or_else(|| raw.rope_scaling.clone());
        let rope_theta =
            raw.rope_theta.or(rope.as_ref().and_then(|rope| rope.rope_theta)).unwrap_or(10_000.0);
        let yarn = match rope {
            Some(rope) => yarn(&rope, raw.max_position_embeddings)?,
            None => None,
        };
        let n_heads = raw.num_attention_heads;
        Self {
            family,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            n_layers: raw.num_hidden_layers,
            n_heads,
            n_kv_heads: raw.num_key_value_heads.unwrap_or(n_heads),
            head_dim: raw.head_dim.unwrap_or(raw.hidden_size / n_heads.max(1)),
            attention_bias: raw.attention_bias.unwrap_or(family == Family::Qwen2),
            tied_head: raw.tie_word_embeddings,
            rms_norm_eps: raw.rms_norm_eps,
            rope_theta,
            yarn,
            window: raw.max_position_embeddings,
        }
        .checked()
    }

    /// The config itself when its numbers fit together.
    pub(super) fn checked(self) -> Result<Self> {
        let positive = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.n_layers,
            self.n_heads,
            self.n_kv_heads,
            self.head_dim,
            self.window,
        ];
        if positive.contains(&0) {
            return Err(unusable("a size in config.json is zero"));
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(unusable(format!(
                "{} attention heads cannot share {} key-value heads",
                self.n_heads, self.n_kv_heads
            )));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(unusable(format!("head_dim {} is odd", self.head_dim)));
        }
        Ok(self)
    }
}

fn yarn(rope: &RawRope, window: usize) -> Result<Option<Yarn>> {
    match rope.rope_type.as_deref() {
        None | Some("default") => Ok(None),
        Some("yarn") => {
            let original_window = rope.original_max_position_embeddings.unwrap_or(window);
            let factor = rope
                .factor
                .filter(|factor| *factor >= 1.0)
                .ok_or_else(|| unusable("yarn needs a factor of at least 1"))?;
            Ok(Some(Yarn {
                factor,
                original_window,
                beta_fast: rope.beta_fast.unwrap_or(32.0),
                beta_slow: rope.beta_slow.unwrap_or(1.0),
                attention_factor: rope.attention_factor.unwrap_or(0.1 * factor.ln() + 1.0),
                truncate: rope.truncate.unwrap_or(true),
            }))
        }
        Some(other) => Err(unusable(format!("rope_type `{other}` is not served; use yarn"))),
    }
}

fn unusable(message: impl Into<String>) -> Error {
    Error::invalid("model_config", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Result<QwenConfig> {
        let json = format!(
            r#"{{"model_type":"qwen3","vocab_size":10,"hidden_size":8,"intermediate_size":16,
            "num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":4,
            "rms_norm_eps":1e-6,"max_position_embeddings":64{extra}}}"#
        );
        QwenConfig::from_json(json.as_bytes())
    }

    #[test]
    fn reads_rope_theta_from_either_place() {
        assert_eq!(config(r#","rope_theta":5000"#).unwrap().rope_theta, 5000.0);
        let nested = r#","rope_parameters":{"rope_theta":7000.0,"rope_type":"default"}"#;
        assert_eq!(config(nested).unwrap().rope_theta, 7000.0);
    }

    #[test]
    fn refuses_what_it_would_compute_wrongly() {
        for extra in [
            r#","use_sliding_window":true"#,
            r#","hidden_act":"gelu""#,
            r#","rope_scaling":{"rope_type":"longrope"}"#,
            r#","rope_scaling":{"rope_type":"yarn"}"#,
        ] {
            assert_eq!(config(extra).unwrap_err().code, "model_config", "{extra}");
        }
        assert!(QwenConfig::from_json(b"{}").is_err());
        assert!(QwenConfig::from_json(br#"{"model_type":"llama"}"#).is_err());
    }

    #[test]
    fn yarn_defaults_follow_the_paper() {
        let yarn = config(
            r#","rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":16}"#,
        )
        .unwrap()
        .yarn
        .unwrap();
        assert_eq!((yarn.beta_fast, yarn.beta_slow, yarn.original_window), (32.0, 1.0, 16));
        assert!((yarn.attention_factor - 1.138_629).abs() < 1e-5);
    }
}
