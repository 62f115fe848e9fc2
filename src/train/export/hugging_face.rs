//! Whole models in Hugging Face's layout: the files of the model that training began with, and new
//! weights under the names it had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use candle_core::DType;
use serde_json::{Value, json};

use super::pretty;
use crate::error::{Error, Result};
use crate::model::ModelFolder;
use crate::model::qwen::QwenConfig;
use crate::model::tensor_file::{self, FileMetadata, NamedTensor};
use crate::train::checkpoint::StagedFolder;

const CONFIG: &str = "config.json";
const HEAD: &str = "lm_head.weight";
/// What stands before all names but the head's in a model that has a head.
const PREFIX: &str = "model.";
/// Copied as they are where the source has them.
const COPIED: [&str; 10] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "querent.json",
];

/// How the weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightOptions {
    /// f32, f16 or bf16.
    pub dtype: DType,
    /// Longest file; a single tensor beyond it gets a file of its own.
    pub max_shard_bytes: u64,
}

impl Default for WeightOptions {
    /// bf16, as Qwen's own checkpoints, in files of 5 GB, as the Hugging Face libraries cut them.
    fn default() -> Self {
        Self { dtype: DType::BF16, max_shard_bytes: 5_000_000_000 }
    }
}

/// Writes a model into a new folder, whole or not at all. `tensors` are named with or without
/// `model.` in front; the head of a tied model is left out.
///
/// # Errors
/// `train_target` when `target` holds something; `model_files` for a source without `config.json`;
/// `export_weights` when the names or shapes are not those of the source; `train_non_finite`;
/// `disk_full`.
pub fn write_model(
    target: &Path,
    source: &ModelFolder,
    tensors: &[NamedTensor],
    options: &WeightOptions,
) -> Result<PathBuf> {
    let mut folder = StagedFolder::begin_fresh(target)?;
    write_files(&mut folder, source, tensors, options, Head::AsSource)?;
    folder.commit()
}

/// Whether the output matrix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// Where it is not tied to the embeddings.
    AsSource,
    /// Never: an embedder has no use for it.
    Without,
}

/// The files of [`write_model`], for a folder that gets more than them.
pub(super) fn write_files(
    folder: &mut StagedFolder,
    source: &ModelFolder,
    tensors: &[NamedTensor],
    options: &WeightOptions,
    head: Head,
) -> Result<()> {
    let config = config_json(source)?;
    let without_head = QwenConfig::from_json(&config)?.tied_head || head == Head::Without;
    let tensors = renamed(source, tensors, without_head)?;
    // Before the first byte, so that a bad value in the last tensor costs no time.
    tensor_file::check_finite(&tensors)?;
    write_weights(folder, &tensors, options)?;
    folder.write_bytes(CONFIG, &with_dtype(&config, options.dtype)?)?;
    for name in COPIED {
        let path = source.path(name);
        if path.is_file() {
            folder.copy(name, &path)?;
        }
    }
    Ok(())
}

fn config_json(source: &ModelFolder) -> Result<Vec<u8>> {
    source.json(CONFIG)?.filter(|_| source.gguf().is_none()).ok_or_else(|| {
        Error::invalid(
            "model_files",
            format!(
                "{} is no model in Hugging Face's layout (config.json and safetensors), so its \
                 files cannot be taken over; start from such a model",
                source.path("").display()
            ),
        )
    })
}

/// The tensors under the source's names, in their order, each checked against its shape there.
fn renamed(
    source: &ModelFolder,
    tensors: &[NamedTensor],
    without_head: bool,
) -> Result<Vec<NamedTensor>> {
    let mut shapes = BTreeMap::new();
    for file in source.safetensors()? {
        shapes.extend(tensor_file::shapes(&file)?);
    }
    let given: BTreeMap<&str, _> =
        tensors.iter().map(|(name, tensor)| (bare(name), tensor)).collect();
    let known: BTreeSet<&str> = shapes.keys().map(|name| bare(name)).collect();
    if let Some(name) = given.keys().find(|name| **name != HEAD && !known.contains(*name)) {
        return Err(misfit(format!("`{name}` is no tensor of the model it was trained from")));
    }
    let mut renamed = Vec::with_capacity(shapes.len());
    for (name, shape) in shapes.iter().filter(|(name, _)| !(without_head && *name == HEAD)) {
        let Some(tensor) = given.get(bare(name)) else {
            return Err(misfit(format!("there is no tensor `{name}` to write")));
        };
        if tensor.dims() != shape.as_slice() {
            let found = tensor.dims();
            return Err(misfit(format!("`{name}` is {found:?}, in the source it is {shape:?}")));
        }
        renamed.push((name.clone(), (*tensor).clone()));
    }
    Ok(renamed)
}

fn bare(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn write_weights(
    folder: &mut StagedFolder,
    tensors: &[NamedTensor],
    options: &WeightOptions,
) -> Result<()> {
    let size =
        |tensor: &NamedTensor| (tensor.1.elem_count() * options.dtype.size_in_bytes()) as u64;
    let shards = shards(tensors, size, options.max_shard_bytes);
    if let [all] = shards.as_slice() {
        return write_shard(folder, "model.safetensors", all, options.dtype);
    }
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for (at, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", at + 1, shards.len());
        write_shard(folder, &file, shard, options.dtype)?;
        files.extend(shard.iter().map(|(name, _)| (name.as_str(), file.clone())));
    }
    let total_size: u64 = tensors.iter().map(size).sum();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": files });
    folder.write_bytes("model.safetensors.index.json", &pretty(&index)?)
}

/// Cuts a list so that no part is longer than the limit, unless it is a single tensor.
fn shards<T>(tensors: &[T], size: impl Fn(&T) -> u64, max_bytes: u64) -> Vec<&[T]> {
    let (mut shards, mut start, mut n_bytes) = (Vec::new(), 0, 0);
    for (at, tensor) in tensors.iter().enumerate() {
        if at > start && n_bytes + size(tensor) > max_bytes {
            shards.push(&tensors[start..at]);
            (start, n_bytes) = (at, 0);
        }
        n_bytes += size(tensor);
    }
    shards.push(&tensors[start..]);
    shards
}

fn write_shard(
    folder: &mut StagedFolder,
    file: &str,
    tensors: &[NamedTensor],
    dtype: DType,
) -> Result<()> {
    let cast = |(name, tensor): &NamedTensor| Ok((name.clone(), tensor.detach().to_dtype(dtype)?));
    let tensors: Vec<NamedTensor> = tensors.iter().map(cast).collect::<Result<_>>()?;
    folder.write_tensors(file, &tensors, &FileMetadata::new())
}

/// The source's configuration; only the type of the weights is changed, in the place where it is.
fn with_dtype(config: &[u8], dtype: DType) -> Result<Vec<u8>> {
    let name = match dtype {
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        other => return Err(misfit(format!("weights cannot be written as {other:?}; use bf16"))),
    };
    let mut config: Value = serde_json::from_slice(config)?;
    let keys = ["dtype", "torch_dtype"].map(|key| (key, config.get(key).is_some()));
    for (key, _) in keys.into_iter().filter(|(_, is_there)| *is_there) {
        config[key] = name.into();
    }
    if keys.iter().all(|(_, is_there)| !is_there) {
        config["torch_dtype"] = name.into();
    }
    pretty(&config)
}

fn misfit(message: impl Into<String>) -> Error {
    Error::invalid("export_weights", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_below_the_limit() {
        let cut = |sizes: &[u64], limit| -> Vec<usize> {
            shards(sizes, |size| *size, limit).iter().map(|part| part.len()).collect()
        };
        assert_eq!(cut(&[3, 3, 3], 9), [3]);
        assert_eq!(cut(&[3, 3, 3], 6), [2, 1]);
        assert_eq!(cut(&[9, 1, 9, 1], 5), [1, 1, 1, 1]);
        assert_eq!(cut(&[5, 1, 4, 5], 5), [1, 2, 1]);
    }

    #[test]
    fn the_type_is_named_where_the_source_names_it() {
        let named = |config: &str| -> Value {
            serde_json::from_slice(&with_dtype(config.as_bytes(), DType::F16).unwrap()).unwrap()
        };
        assert_eq!(named(r#"{"dtype":"float32"}"#), json!({"dtype": "float16"}));
        assert_eq!(named(r#"{"torch_dtype":"x"}"#), json!({"torch_dtype": "float16"}));
        assert_eq!(named("{}"), json!({"torch_dtype": "float16"}));
        assert_eq!(with_dtype(b"{}", DType::U8).unwrap_err().code, "export_weights");
    }
}
