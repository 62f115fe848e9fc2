//! A model's folder on disk: which files it has, and how they become a model. Only safetensors,
//! GGUF and JSON are ever read, so that weights are data and never code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::memory;
use super::qwen::{DenseWeights, GgufWeights, Qwen, QwenConfig};
use crate::error::{Error, Result};

/// Endings that may stand in a model's folder; a Jinja chat template runs in a sandbox.
const DATA_ENDINGS: [&str; 4] = ["safetensors", "gguf", "json", "jinja"];
/// A rotary table beyond this would cost more memory than a rewriter's window is worth.
const MAX_WINDOW: usize = 32_768;

/// What training by PPO puts beside a model's weights, for the next training alone.
pub const VALUE_HEAD: &str = "value_head.safetensors";
/// Tokens of one row that there must be room for.
const ROW_TOKENS: usize = 2_048;

/// A folder with one model: Hugging Face's layout, or one GGUF file with or without its tokenizer.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    dir: PathBuf,
    gguf: Option<PathBuf>,
    /// The id of a model whose folder is not called after it.
    id: Option<String>,
}

/// How a rewriter wants its conversation: in `querent.json` beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum PromptForm {
    /// Instructions, facts and history for an instruction-tuned model.
    #[default]
    Instruct,
    /// Roles `context` and `query` only, for a model trained to restore queries.
    Restore,
}

/// `querent.json`: what only this server needs to know of a model. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelCard {
    pub version: u32,
    pub prompt: PromptForm,
    /// Newest history kept, in tokens; 0 means as much as the window holds.
    pub context_tokens: usize,
    /// Longest passage that the embedder was trained on, in tokens.
    pub passage_tokens: usize,
}

impl Default for ModelCard {
    fn default() -> Self {
        Self { version: 1, prompt: PromptForm::Instruct, context_tokens: 0, passage_tokens: 512 }
    }
}

impl ModelFolder {
    /// Looks at a folder, or at a single `.gguf` file.
    ///
    /// # Errors
    /// `model_files` when there is neither `config.json` nor exactly one GGUF file.
    pub fn open(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|ending| ending == "gguf") && path.is_file() {
            let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
            return Ok(Self { dir, gguf: Some(path.to_owned()), id: None });
        }
        let has = |ending: &str| Ok::<_, Error>(!files_ending(path, ending)?.is_empty());
        // A folder of GGUF files may come with the config of the model that they were made from.
        if path.join("config.json").is_file() && (has("safetensors")? || !has("gguf")?) {
            return Ok(Self { dir: path.to_owned(), gguf: None, id: None });
        }
        let mut ggufs = files_ending(path, "gguf")?;
        match (ggufs.pop(), ggufs.is_empty()) {
            (Some(gguf), true) => Ok(Self { dir: path.to_owned(), gguf: Some(gguf), id: None }),
            (Some(_), false) => Err(unusable(path, "several GGUF files; name the one to use")),
            (None, _) => Err(unusable(path, "no config.json and no GGUF file")),
        }
    }

    /// The same model under another id than its folder gives it.
    pub fn with_id(self, id: String) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The folder's own name, or the file's without its ending.
    pub fn name(&self) -> String {
        if let Some((name, _)) = self.id.as_deref().and_then(|id| id.rsplit_once('@')) {
            return name.to_owned();
        }
        // A folder has no ending: `Qwen2.5-0.5B` is a name.
        let name = match &self.gguf {
            Some(gguf) => gguf.file_stem(),
            None => self.dir.file_name(),
        };
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// `name@version`, as answers name a model.
    pub fn id(&self) -> Result<String> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        Ok(format!("{}@{}", self.name(), self.card()?.version))
    }

    /// What `querent.json` says, or the defaults.
    pub fn card(&self) -> Result<ModelCard> {
        match self.json("querent.json")? {
            None => Ok(ModelCard::default()),
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| unusable(&self.dir, format!("querent.json: {error}"))),
        }
    }

    /// The bytes of a JSON file of the folder, none when it has no such file.
    pub fn json(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.dir.join(name);
        if path.is_file() { Ok(Some(fs_err::read(path)?)) } else { Ok(None) }
    }

    /// Where the GGUF file is, when the weights are one.
    pub fn gguf(&self) -> Option<&Path> {
        self.gguf.as_deref()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The model's shape.
    pub fn config(&self, device: &Device) -> Result<QwenConfig> {
        match &self.gguf {
            Some(gguf) => GgufWeights::open(gguf, device)?.config(),
            None => {
                let json = self.json("config.json")?.unwrap_or_default();
                QwenConfig::from_json(&json)
            }
        }
    }

    /// The safetensors files of the model itself, in the order of the index when the weights are sharded.
    ///
    /// # Errors
    /// `model_files` when there is none, or the index names one that is not in the folder.
    pub fn safetensors(&self) -> Result<Vec<PathBuf>> {
        let Some(index) = self.json("model.safetensors.index.json")? else {
            let mut files = files_ending(&self.dir, "safetensors")?;
            files.retain(|file| !file.ends_with(VALUE_HEAD));
            return if files.is_empty() {
                Err(unusable(&self.dir, "no safetensors file; pickled weights are never read"))
            } else {
                Ok(files)
            };
        };
        #[derive(Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| unusable(&self.dir, format!("safetensors index: {error}")))?;
        let names: BTreeSet<String> = index.weight_map.into_values().collect();
        names.iter().map(|name| self.shard(name)).collect()
    }

    /// The type of most of the numbers on disk: what trained weights are stored as again.
    ///
    /// # Errors
    /// `model_weights` for a file that is no safetensors.
    pub fn dtype(&self) -> Result<DType> {
        let mut n_bytes = std::collections::BTreeMap::new();
        for file in self.safetensors()? {
            let bytes = fs_err::read(&file)?;
            let tensors = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| {
                Error::invalid("model_weights", format!("{}: {error}", file.display()))
            })?;
            for (_, tensor) in tensors.tensors() {
                let sum: &mut usize = n_bytes.entry(format!("{:?}", tensor.dtype())).or_default();
                *sum += tensor.data().len();
            }
        }
        let most = n_bytes.into_iter().max_by_key(|(_, sum)| *sum).map(|(name, _)| name);
        Ok(match most.as_deref() {
            Some("F16") => DType::F16,
            Some("BF16") => DType::BF16,
            _ => DType::F32,
        })
    }

    /// A shard named by the index; a name with a folder in it could lead out of this one.
    fn shard(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let plain = Path::new(name).components().count() == 1 && name.ends_with(".safetensors");
        if plain && path.is_file() {
            Ok(path)
        } else {
            Err(unusable(&self.dir, format!("the index names `{name}`, which is not there")))
        }
    }

    /// How many data files there are, and their bytes.
    pub fn extent(&self) -> Result<(usize, u64)> {
        let files = importable(self)?;
        let lengths = files.iter().map(|file| Ok(fs_err::metadata(file)?.len()));
        Ok((files.len(), lengths.sum::<Result<u64>>()?))
    }

    /// Whether what is here looks like a whole model of a served family, without reading weights.
    pub fn is_servable(&self) -> bool {
        let has_tokenizer = self.gguf.is_some() || self.path("tokenizer.json").is_file();
        has_tokenizer && self.config(&Device::Cpu).is_ok() && memory::footprint(self).is_ok()
    }

    /// Loads the weights into the Qwen that serves and trains.
    ///
    /// # Errors
    /// `model_memory` when they do not fit, else what is wrong with them.
    pub fn load_qwen(&self, device: &Device) -> Result<Qwen> {
        let config = self.config(device)?;
        let n_tokens = config.window.min(ROW_TOKENS);
        memory::check(self, 1, memory::cache_bytes(&config, n_tokens))?;
        self.load(config, DType::F32, device)
    }

    /// Loads the weights for training, to compute in `dtype`; an embedding model may come without
    /// an output matrix.
    pub fn load_trainable(&self, is_embedder: bool, dtype: DType, device: &Device) -> Result<Qwen> {
        let mut config = self.config(device)?;
        config.tied_head |= is_embedder;
        memory::check(self, 1, 0)?;
        self.load(config, dtype, device)
    }

    /// Loads the weights of an embedding model, which may come without an output matrix.
    pub fn load_headless_qwen(&self, device: &Device) -> Result<Qwen> {
        let mut config = self.config(device)?;
        config.tied_head = true;
        memory::check(self, 1, 0)?;
        self.load(config, DType::F32, device)
    }

    fn load(&self, mut config: QwenConfig, dtype: DType, device: &Device) -> Result<Qwen> {
        config.window = config.window.min(MAX_WINDOW);
        match &self.gguf {
            Some(gguf) => Qwen::load(config, &mut GgufWeights::open(gguf, device)?, device),
            None => {
                let mut weights = DenseWeights::load(&self.safetensors()?, dtype, device)?;
                Qwen::load(config, &mut weights, device)
            }
        }
    }
}

/// Copies a local model into `<models>/<name>`, data files only, and proves that its shape and
/// its tensors can be read before it is put in place. Returns the name.
///
/// # Errors
/// `model_exists` when the name is taken, `model_files`, `model_config` or `model_weights` for a
/// folder that cannot be served.
pub fn import(source: &Path, models: &Path) -> Result<String> {
    let folder = ModelFolder::open(source)?;
    let name = folder.name();
    let target = models.join(&name);
    if target.exists() {
        return Err(Error::new(
            crate::error::Kind::Conflict,
            "model_exists",
            format!("a model `{name}` is there already; rename the folder or remove the old one"),
        ));
    }
    folder.load_qwen(&Device::Cpu)?;
    let staging = models.join(format!(".importing-{name}"));
    if staging.exists() {
        fs_err::remove_dir_all(&staging)?;
    }
    fs_err::create_dir_all(&staging)?;
    for file in importable(&folder)? {
        if let Some(file_name) = file.file_name() {
            fs_err::copy(&file, staging.join(file_name))?;
        }
    }
    fs_err::rename(&staging, &target)?;
    Ok(name)
}

/// The files that [`import`] copies.
fn importable(folder: &ModelFolder) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for ending in DATA_ENDINGS {
        files.extend(files_ending(&folder.dir, ending)?);
    }
    files.retain(|file| {
        file.extension().is_none_or(|ending| ending != "gguf")
            || Some(file.as_path()) == folder.gguf()
    });
    Ok(files)
}

/// SHA-256 over the folder's data files, by name: what a run or a pair was made with.
pub fn fingerprint(folder: &ModelFolder) -> Result<String> {
    let mut hash = Sha256::new();
    for file in importable(folder)? {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(fs_err::read(&file)?);
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files_ending(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|found| found == ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unusable(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::invalid("model_files", format!("{}: {message}", path.display()))
}
