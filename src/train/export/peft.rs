//! LoRA adapters as the `peft` library keeps them: `adapter_config.json` and
//! `adapter_model.safetensors`. Low-rank adaptation: Hu et al. 2021, arXiv 2106.09685; the scale by
//! the square root of the rank: Kalajdzievski 2023, arXiv 2312.03732.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pretty;
use crate::error::{Error, Result};
use crate::model::tensor_file::{self, FileMetadata, NamedTensor};
use crate::train::checkpoint::StagedFolder;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// The version of peft whose form is written.
const PEFT_VERSION: &str = "0.20.0";
/// The linear layers of a Qwen block, the only ones that every reader accepts.
const LINEARS: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// Settings that change what an adapter computes.
const UNSUPPORTED: [&str; 13] = [
    "use_dora",
    "bias",
    "lora_bias",
    "fan_in_fan_out",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "trainable_token_indices",
    "layer_replication",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
];

/// What the adapted model is for, which decides the names of its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterTask {
    /// A language model with its head.
    CausalLm,
    /// An embedder: the model without a head.
    Embedding,
}

impl AdapterTask {
    fn name(self) -> &'static str {
        match self {
            Self::CausalLm => "CAUSAL_LM",
            Self::Embedding => "FEATURE_EXTRACTION",
        }
    }

    /// What stands before `layers.` in peft's names.
    fn prefix(self) -> &'static str {
        match self {
            Self::CausalLm => "base_model.model.model.",
            Self::Embedding => "base_model.model.",
        }
    }
}

/// The two factors of one linear layer's change, `scale · B · A`.
#[derive(Debug, Clone)]
pub struct AdapterModule {
    pub layer_idx: usize,
    /// Such as `self_attn.q_proj`.
    pub name: String,
    /// `[rank, n_in]`.
    pub a: Tensor,
    /// `[n_out, rank]`.
    pub b: Tensor,
}

/// A whole adapter.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub task: AdapterTask,
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    /// Scale by `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub use_rslora: bool,
    /// The model that was adapted: a name on the hub or a path.
    pub base_model: String,
    pub modules: Vec<AdapterModule>,
}

impl Adapter {
    /// What `B · A` is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// Writes an adapter into a new folder, whole or not at all.
///
/// # Errors
/// `train_target` when `target` holds something, `adapter` when a shape does not fit the rank or a
/// module is none of Qwen's seven linears, `train_non_finite`, `disk_full`.
pub fn write_adapter(target: &Path, adapter: &Adapter) -> Result<PathBuf> {
    let tensors = named_tensors(adapter)?;
    let mut folder = StagedFolder::begin_fresh(target)?;
    folder.write_tensors(WEIGHTS, &tensors, &FileMetadata::new())?;
    folder.write_bytes(CONFIG, &pretty(&config(adapter))?)?;
    folder.commit()
}

/// Reads an adapter of ours or of peft's into the memory of the processor.
///
/// # Errors
/// `adapter` for a folder that is no plain LoRA of Qwen's linears, with what it is instead.
pub fn read_adapter(dir: &Path) -> Result<Adapter> {
    let config = read_config(dir)?;
    let weights = dir.join(WEIGHTS);
    if !weights.is_file() {
        return Err(unusable(format!("{} has no {WEIGHTS}", dir.display())));
    }
    let (task, modules) = read_modules(tensor_file::load_cpu(&weights)?)?;
    let adapter = Adapter {
        task,
        rank: config.r,
        alpha: config.lora_alpha,
        dropout: config.lora_dropout,
        use_rslora: config.use_rslora,
        base_model: config.base_model_name_or_path.unwrap_or_default(),
        modules,
    };
    adapter.modules.iter().try_for_each(|module| check_module(&adapter, module))?;
    Ok(adapter)
}

/// The tensors under peft's names, with the adapter's own name left out as in its files.
fn named_tensors(adapter: &Adapter) -> Result<Vec<NamedTensor>> {
    if adapter.modules.is_empty() {
        return Err(unusable("an adapter without a single module cannot be saved"));
    }
    let mut tensors = Vec::with_capacity(2 * adapter.modules.len());
    for module in &adapter.modules {
        check_module(adapter, module)?;
        let prefix = adapter.task.prefix();
        let at = format!("{prefix}layers.{}.{}", module.layer_idx, module.name);
        tensors.push((format!("{at}.lora_A.weight"), module.a.clone()));
        tensors.push((format!("{at}.lora_B.weight"), module.b.clone()));
    }
    Ok(tensors)
}

fn check_module(adapter: &Adapter, module: &AdapterModule) -> Result<()> {
    let AdapterModule { layer_idx, name, a, b } = module;
    if !LINEARS.contains(&name.as_str()) {
        return Err(unusable(format!("`{name}` is none of {}", LINEARS.join(", "))));
    }
    let rank = adapter.rank;
    let fits = a.rank() == 2 && b.rank() == 2 && a.dims()[0] == rank && b.dims()[1] == rank;
    if fits && rank > 0 {
        return Ok(());
    }
    Err(unusable(format!(
        "layer {layer_idx} {name}: A is {:?} and B is {:?}, which is not rank {rank}",
        a.dims(),
        b.dims()
    )))
}

fn config(adapter: &Adapter) -> Value {
    let targets: BTreeSet<&str> = adapter
        .modules
        .iter()
        .map(|module| module.name.rsplit_once('.').map_or(module.name.as_str(), |(_, leaf)| leaf))
        .collect();
    json!({
        "peft_type": "LORA",
        "task_type": adapter.task.name(),
        "base_model_name_or_path": adapter.base_model,
        "r": adapter.rank,
        "lora_alpha": whole_number(adapter.alpha),
        "lora_dropout": adapter.dropout,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "use_rslora": adapter.use_rslora,
        "use_dora": false,
        "modules_to_save": null,
        "rank_pattern": {},
        "alpha_pattern": {},
        "layers_to_transform": null,
        "layers_pattern": null,
        "exclude_modules": null,
        "lora_bias": false,
        "revision": null,
        "auto_mapping": null,
        "peft_version": PEFT_VERSION,
    })
}

/// Readers expect `16`, not `16.0`.
fn whole_number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e9 { json!(value as i64) } else { json!(value) }
}

/// What of `adapter_config.json` decides the computation; peft's defaults where it is silent.
#[derive(Deserialize)]
struct RawConfig {
    peft_type: String,
    #[serde(default = "default_rank")]
    r: usize,
    #[serde(default = "default_alpha")]
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    use_rslora: bool,
    base_model_name_or_path: Option<String>,
    /// All else; of it only what changes the result is looked at.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn default_rank() -> usize {
    8
}

fn default_alpha() -> f64 {
    8.0
}

fn read_config(dir: &Path) -> Result<RawConfig> {
    let path = dir.join(CONFIG);
    let bytes = fs_err::read(&path)
        .map_err(|error| unusable(format!("{} is no adapter: {error}", dir.display())))?;
    let config: RawConfig = serde_json::from_slice(&bytes)
        .map_err(|error| unusable(format!("{}: {error}", path.display())))?;
    if config.peft_type != "LORA" {
        return Err(unusable(format!("{} is {}, not LORA", path.display(), config.peft_type)));
    }
    let is_off = |value: &Value| {
        matches!(value, Value::Null | Value::Bool(false))
            || value == "none"
            || value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
    };
    for setting in UNSUPPORTED {
        if config.rest.get(setting).is_some_and(|value| !is_off(value)) {
            let value = &config.rest[setting];
            return Err(unusable(format!(
                "{}: {setting} is {value}; only plain LoRA can be read",
                path.display()
            )));
        }
    }
    Ok(config)
}

fn read_modules(tensors: HashMap<String, Tensor>) -> Result<(AdapterTask, Vec<AdapterModule>)> {
    let mut task = None;
    let mut factors: BTreeMap<(usize, String), [Option<Tensor>; 2]> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (found, layer_idx, module, side) = parse(&name)
            .ok_or_else(|| unusable(format!("`{name}` is no factor of a linear layer")))?;
        if *task.get_or_insert(found) != found {
            return Err(unusable("some names are of a model with a head, some of one without"));
        }
        factors.entry((layer_idx, module.to_owned())).or_default()[side] = Some(tensor);
    }
    let mut modules = Vec::with_capacity(factors.len());
    for ((layer_idx, name), pair) in factors {
        let [Some(a), Some(b)] = pair else {
            return Err(unusable(format!("layer {layer_idx} {name} has only one of A and B")));
        };
        modules.push(AdapterModule { layer_idx, name, a, b });
    }
    match task {
        Some(task) => Ok((task, modules)),
        None => Err(unusable("the adapter has no tensors")),
    }
}

/// Task, layer, module, and 0 for A or 1 for B.
fn parse(name: &str) -> Option<(AdapterTask, usize, &str, usize)> {
    let tasks = [AdapterTask::CausalLm, AdapterTask::Embedding];
    let (task, rest) = tasks.into_iter().find_map(|task| {
        Some((task, name.strip_prefix(task.prefix())?.strip_prefix("layers.")?))
    })?;
    let (layer, rest) = rest.split_once('.')?;
    let (module, side) = match rest.strip_suffix(".lora_A.weight") {
        Some(module) => (module, 0),
        None => (rest.strip_suffix(".lora_B.weight")?, 1),
    };
    LINEARS.contains(&module).then_some((task, layer.parse().ok()?, module, side))
}

fn unusable(message: impl Into<String>) -> Error {
    Error::invalid("adapter", message)
}
