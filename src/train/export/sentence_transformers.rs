//! Embedders in sentence-transformers' layout, in the form that versions before 6 wrote: newer
//! versions read it too, and text-embeddings-inference reads no other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::hugging_face::{Head, WeightOptions, write_files};
use super::pretty;
use crate::error::{Error, Result};
use crate::model::ModelFolder;
use crate::model::qwen::QwenConfig;
use crate::model::tensor_file::NamedTensor;
use crate::train::checkpoint::StagedFolder;

const PROMPTS: &str = "config_sentence_transformers.json";
const LENGTH: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling/config.json";
const NORMALIZE_DIR: &str = "2_Normalize";
/// Ways to pool that are off.
const UNUSED_POOLING: [&str; 5] =
    ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"];

/// What the layout needs beside the weights; the source folder's own files come first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbedderOptions {
    pub weights: WeightOptions,
    /// Texts put in front, by their names, such as `query`; for a source that has none.
    pub prompts: BTreeMap<String, String>,
    /// Longest text in tokens, for a source that does not say; 0 means the model's window.
    pub max_tokens: usize,
}

/// Writes an embedder that pools the last token and normalises into a new folder, whole or not at
/// all. Arguments and errors are those of [`super::hugging_face::write_model`].
///
/// # Errors
/// Also `model_files` when a file of the source's layout is not JSON.
pub fn write_embedder(
    target: &Path,
    source: &ModelFolder,
    tensors: &[NamedTensor],
    options: &EmbedderOptions,
) -> Result<PathBuf> {
    let mut folder = StagedFolder::begin_fresh(target)?;
    write_files(&mut folder, source, tensors, &options.weights, Head::Without)?;
    let config = QwenConfig::from_json(&source.json("config.json")?.unwrap_or_default())?;
    folder.write_bytes("modules.json", &pretty(&modules())?)?;
    folder.write_bytes(PROMPTS, &pretty(&prompts(source, options)?)?)?;
    folder.write_bytes(LENGTH, &pretty(&length(source, options, config.window)?)?)?;
    folder.write_bytes(POOLING, &pretty(&pooling(config.hidden_size))?)?;
    folder.make_dir(NORMALIZE_DIR)?;
    folder.commit()
}

fn modules() -> Value {
    let kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), (NORMALIZE_DIR, "Normalize")];
    let module = |(at, (path, kind)): (usize, (&str, &str))| {
        let class = format!("sentence_transformers.models.{kind}");
        json!({ "idx": at, "name": at.to_string(), "path": path, "type": class })
    };
    kinds.into_iter().enumerate().map(module).collect()
}

fn prompts(source: &ModelFolder, options: &EmbedderOptions) -> Result<Value> {
    let kept = json_of(source, PROMPTS)?;
    let has_prompts = kept["prompts"].as_object().is_some_and(|prompts| !prompts.is_empty());
    let prompts = if has_prompts { kept["prompts"].clone() } else { json!(options.prompts) };
    Ok(json!({
        "prompts": prompts,
        "default_prompt_name": kept["default_prompt_name"],
        "similarity_fn_name": "cosine",
    }))
}

fn length(source: &ModelFolder, options: &EmbedderOptions, window: usize) -> Result<Value> {
    let kept = json_of(source, LENGTH)?;
    let wanted = if options.max_tokens == 0 { window } else { options.max_tokens };
    let length = kept["max_seq_length"].as_u64().unwrap_or(wanted as u64);
    let lower = kept["do_lower_case"].as_bool().unwrap_or(false);
    Ok(json!({ "max_seq_length": length, "do_lower_case": lower }))
}

fn pooling(hidden_size: usize) -> Value {
    let mut pooling = json!({ "word_embedding_dimension": hidden_size });
    for mode in UNUSED_POOLING {
        pooling[format!("pooling_mode_{mode}")] = false.into();
    }
    pooling["pooling_mode_lasttoken"] = true.into();
    pooling["include_prompt"] = true.into();
    pooling
}

/// A JSON file of the source, null where it has none.
fn json_of(source: &ModelFolder, name: &str) -> Result<Value> {
    let Some(bytes) = source.json(name)? else { return Ok(Value::Null) };
    serde_json::from_slice(&bytes).map_err(|error| {
        let path = source.path(name);
        Error::invalid("model_files", format!("{}: {error}", path.display()))
    })
}
