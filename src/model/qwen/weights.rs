//! Where a model's tensors come from: safetensors (single or sharded, f32, f16, bf16) or GGUF.
//! Both answer to Hugging Face's tensor names, so that one definition loads from either.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::{QMatMul, gguf_file};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use super::config::{Family, QwenConfig};
use super::linear::{Linear, Matrix};
use crate::error::{Error, Result};

/// Tensors by name. Dense ones are f32, as the CPU computes, unless they are asked for otherwise.
pub trait Weights {
    /// A tensor of exactly this shape.
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor>;
    /// The matrix of a linear layer, `[n_out, n_in]`, kept quantised where the file has it so.
    fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix>;

    /// A linear layer with its bias where it has one.
    fn linear(&mut self, name: &str, n_out: usize, n_in: usize, bias: bool) -> Result<Linear> {
        let matrix = self.matrix(&format!("{name}.weight"), n_out, n_in)?;
        let bias = if bias { Some(self.tensor(&format!("{name}.bias"), &[n_out])?) } else { None };
        Ok(Linear { matrix, bias, adapter: None })
    }
}

/// Dense tensors from safetensors files.
pub struct DenseWeights {
    tensors: HashMap<String, Tensor>,
}

impl DenseWeights {
    /// Reads every file; tensors become `target`, whatever they are on disk.
    pub fn load(files: &[PathBuf], target: DType, device: &Device) -> Result<Self> {
        let mut tensors = HashMap::new();
        for file in files {
            let bytes = fs_err::read(file)?;
            let parsed = SafeTensors::deserialize(&bytes)
                .map_err(|error| damaged(format!("{}: {error}", file.display())))?;
            for (name, view) in parsed.tensors() {
                let dtype = DType::try_from(view.dtype())?;
                let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)?;
                // An embedding model saved without its head has no `model.` in front.
                let name = name.strip_prefix("model.").map_or(name.clone(), str::to_owned);
                tensors.insert(name, tensor.to_dtype(target)?);
            }
        }
        Ok(Self { tensors })
    }
}

impl Weights for DenseWeights {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self
            .tensors
            .remove(name)
            .ok_or_else(|| damaged(format!("the weights have no tensor `{name}`")))?;
        shaped(name, tensor, shape)
    }

    fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        Ok(Matrix::Dense(self.tensor(name, &[n_out, n_in])?))
    }
}

/// Tensors of a GGUF file, read one by one.
pub struct GgufWeights {
    content: gguf_file::Content,
    file: fs_err::File,
    device: Device,
}

impl GgufWeights {
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let mut file = fs_err::File::open(path)?;
        let content = read_content(&mut file)
            .map_err(|error| damaged(format!("{}: {error}", path.display())))?;
        Ok(Self { content, file, device: device.clone() })
    }

    /// The file's metadata.
    pub fn content(&self) -> &gguf_file::Content {
        &self.content
    }

    /// The model's shape from the metadata that llama.cpp's converter writes.
    pub fn config(&self) -> Result<QwenConfig> {
        let content = &self.content;
        let text = |key: &str| content.metadata.get(key).and_then(|value| value.to_string().ok());
        let architecture = text("general.architecture").cloned().unwrap_or_default();
        let family = match architecture.as_str() {
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            other => {
                return Err(damaged(format!("GGUF architecture `{other}` is not qwen2 or qwen3")));
            }
        };
        let value = |key: &str| content.metadata.get(&format!("{architecture}.{key}"));
        let count = |key: &str| {
            value(key)
                .and_then(|value| value.to_u32().ok())
                .map(|count| count as usize)
                .ok_or_else(|| damaged(format!("the GGUF metadata lack {architecture}.{key}")))
        };
        let real = |key: &str| value(key).and_then(|value| value.to_f32().ok()).map(f64::from);
        if text(&format!("{architecture}.rope.scaling.type")).is_some_and(|kind| kind != "none") {
            return Err(damaged("RoPE scaling in GGUF is not served; use the safetensors model"));
        }
        let (hidden_size, n_heads) = (count("embedding_length")?, count("attention.head_count")?);
        let vocab_size = content
            .tensor_infos
            .get("token_embd.weight")
            .and_then(|info| info.shape.dims().first().copied())
            .unwrap_or(0);
        QwenConfig {
            family,
            vocab_size,
            hidden_size,
            intermediate_size: count("feed_forward_length")?,
            n_layers: count("block_count")?,
            n_heads,
            n_kv_heads: count("attention.head_count_kv").unwrap_or(n_heads),
            head_dim: count("attention.key_length").unwrap_or(hidden_size / n_heads.max(1)),
            attention_bias: content.tensor_infos.contains_key("blk.0.attn_q.bias"),
            tied_head: !content.tensor_infos.contains_key("output.weight"),
            rms_norm_eps: real("attention.layer_norm_rms_epsilon").unwrap_or(1e-6),
            rope_theta: real("rope.freq_base").unwrap_or(10_000.0),
            yarn: None,
            window: count("context_length")?,
        }
        .checked()
    }

    fn quantised(&mut self, name: &str) -> Result<candle_core::quantized::QTensor> {
        let gguf_name = gguf_name(name)
            .ok_or_else(|| damaged(format!("no GGUF name is known for `{name}`")))?;
        self.content
            .tensor(&mut self.file, &gguf_name, &self.device)
            .map_err(|error| damaged(format!("tensor `{gguf_name}`: {error}")))
    }
}

impl Weights for GgufWeights {
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.quantised(name)?.dequantize(&self.device)?;
        shaped(name, tensor, shape)
    }

    fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let tensor = self.quantised(name)?;
        if tensor.shape().dims() != [n_out, n_in] {
            return Err(damaged(format!(
                "`{name}` is {:?}, not [{n_out}, {n_in}]",
                tensor.shape()
            )));
        }
        match QMatMul::from_qtensor(tensor)? {
            QMatMul::Tensor(tensor) => Ok(Matrix::Dense(tensor)),
            quantised => Ok(Matrix::Quantised(Arc::new(quantised))),
        }
    }
}

fn read_content(file: &mut (impl Read + Seek)) -> candle_core::Result<gguf_file::Content> {
    gguf_file::Content::read(file)
}

/// llama.cpp's name for one of Hugging Face's.
fn gguf_name(name: &str) -> Option<String> {
    match name {
        "embed_tokens.weight" => return Some("token_embd.weight".into()),
        "norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
    let (module, leaf) = rest.rsplit_once('.')?;
    let module = match module {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{module}.{leaf}"))
}

fn shaped(name: &str, tensor: Tensor, shape: &[usize]) -> Result<Tensor> {
    if tensor.dims() == shape {
        Ok(tensor)
    } else {
        Err(damaged(format!("`{name}` is {:?}, config.json says {shape:?}", tensor.dims())))
    }
}

fn damaged(message: impl Into<String>) -> Error {
    Error::invalid("model_weights", message)
}
