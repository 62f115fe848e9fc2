//! A run's weights in the forms that others load unchanged.

use std::path::{Path, PathBuf};

use super::TrainRequest;
use crate::error::Result;
use crate::model::files::VALUE_HEAD;
use crate::model::{ModelFolder, tensor_file};
use crate::train::export::{
    self, Adapter, AdapterModule, AdapterTask, EmbedderOptions, WeightOptions,
};
use crate::train::policy::Policy;
use crate::train::reinforce::ValueHead;

/// The whole model, adapters merged, and the adapter alone.
pub(super) const MODEL: &str = "model";
pub(super) const ADAPTER: &str = "adapter";

/// Writes `<out>/model`, a Hugging Face folder or a sentence-transformers one, and `<out>/adapter`,
/// PEFT's form, where an adapter was trained. What a run that was resumed has written before is
/// replaced. Returns the folders.
///
/// # Errors
/// `disk_full`, `train_non_finite`.
pub fn results(
    request: &TrainRequest,
    source: &ModelFolder,
    policy: &mut Policy,
    is_embedder: bool,
) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if let Some(options) = &request.options.lora {
        let modules = policy.model.adapters().into_iter().filter_map(|(name, adapter)| {
            let (layer_idx, name) = name.strip_prefix("layers.")?.split_once('.')?;
            let layer_idx = layer_idx.parse().ok()?;
            let (a, b) = (adapter.a.clone(), adapter.b.clone());
            Some(AdapterModule { layer_idx, name: name.to_owned(), a, b })
        });
        let task = if is_embedder { AdapterTask::Embedding } else { AdapterTask::CausalLm };
        let adapter = Adapter {
            task,
            rank: options.rank,
            alpha: options.alpha,
            dropout: options.dropout,
            use_rslora: options.rank_stabilised,
            base_model: base_model(request),
            modules: modules.collect(),
        };
        written.push(replace(&request.out, ADAPTER, |target| {
            export::write_adapter(target, &adapter)
        })?);
    }
    policy.model.set_merged(true)?;
    let parameters = policy.model.parameters()?;
    let tensors: Vec<_> =
        parameters.into_iter().map(|parameter| (parameter.name, parameter.tensor)).collect();
    let of_head = policy.trained.iter().filter(|it| ValueHead::NAMES.contains(&it.name.as_str()));
    let value_head: Vec<_> = of_head.map(|it| (it.name.clone(), it.tensor.clone())).collect();
    let weights = WeightOptions { dtype: source.dtype()?, ..WeightOptions::default() };
    written.push(replace(&request.out, MODEL, |target| {
        if is_embedder {
            let options = EmbedderOptions { weights, ..EmbedderOptions::default() };
            export::write_embedder(target, source, &tensors, &options)
        } else {
            let written = export::write_model(target, source, &tensors, &weights)?;
            if !value_head.is_empty() {
                tensor_file::save(&written.join(VALUE_HEAD), &value_head, &Default::default())?;
            }
            Ok(written)
        }
    })?);
    policy.model.set_merged(false)?;
    Ok(written)
}

/// Writes a folder beside its place first, so that an earlier one stays until the new one is whole.
fn replace(
    out: &Path,
    name: &str,
    write: impl FnOnce(&Path) -> Result<PathBuf>,
) -> Result<PathBuf> {
    let target = out.join(name);
    let (new, old) = (out.join(format!("new-{name}")), out.join(format!("replaced-{name}")));
    for leftover in [&new, &old] {
        if leftover.exists() {
            fs_err::remove_dir_all(leftover)?;
        }
    }
    write(&new)?;
    if target.exists() {
        fs_err::rename(&target, &old)?;
    }
    fs_err::rename(&new, &target)?;
    if old.exists() {
        fs_err::remove_dir_all(&old)?;
    }
    Ok(target)
}

/// Where peft finds the model that the adapter belongs to.
fn base_model(request: &TrainRequest) -> String {
    let path = fs_err::canonicalize(&request.model).unwrap_or_else(|_| request.model.clone());
    path.to_string_lossy().into_owned()
}
