//! Fisher files: safetensors, with what they are of in the header. A file is of certain weights
//! and is refused for any others.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};

use super::fisher::{Fisher, FisherFacts};
use crate::error::{Error, Result};
use crate::model::qwen::Parameter;
use crate::train::numbers::{CHUNK, to_f32};

/// The key of our facts in the header's metadata.
const FACTS_KEY: &str = "querent.fisher";

impl Fisher {
    /// Writes the file at once or not at all: beside its place first, then moved.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let metadata = HashMap::from([
            ("format".to_owned(), "pt".to_owned()),
            (FACTS_KEY.to_owned(), serde_json::to_string(&self.facts)?),
        ]);
        let part = path.with_extension("part");
        let written = safetensors::serialize_to_file(self.tensors.iter(), Some(metadata), &part);
        written.map_err(|error| Error::failed(&format!("write {}", part.display()), error))?;
        Ok(fs_err::rename(part, path)?)
    }

    /// Reads a file that is of the weights in `parameters`, which may be more than it knows.
    ///
    /// # Errors
    /// `fisher_file` when it is no Fisher file, `fisher_weights` when it is of other weights.
    pub fn load(path: &Path, parameters: &[Parameter]) -> Result<Self> {
        Self::read(path, parameters, true)
    }

    /// Reads a file of the same model before it was trained further, to be added to.
    ///
    /// # Errors
    /// As [`Self::load`], but the values of the weights may be others.
    pub fn load_earlier(path: &Path, parameters: &[Parameter]) -> Result<Self> {
        Self::read(path, parameters, false)
    }

    fn read(path: &Path, parameters: &[Parameter], is_of_these: bool) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let facts = read_facts(&bytes).ok_or_else(|| {
            Error::invalid(
                "fisher_file",
                format!(
                    "{} is not a Fisher file; compute one from rows of the old task",
                    path.display()
                ),
            )
        })?;
        let other = |what: String| {
            Error::invalid(
                "fisher_weights",
                format!(
                    "{} {what}; it belongs to other weights, so compute it again for these",
                    path.display()
                ),
            )
        };
        let views = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::failed(&format!("read {}", path.display()), error))?;
        let by_name: HashMap<&str, &Parameter> =
            parameters.iter().map(|parameter| (parameter.name.as_str(), parameter)).collect();
        let mut tensors = BTreeMap::new();
        let mut known = Vec::new();
        for (name, view) in views.iter() {
            let Some(parameter) = by_name.get(name) else {
                return Err(other(format!("knows {name}, which this model has not")));
            };
            let (found, expected) = (view.shape(), parameter.tensor.dims());
            if found != expected {
                return Err(other(format!("has {name} in shape {found:?}, not {expected:?}")));
            }
            known.push((*parameter).clone());
            tensors.insert(name.to_owned(), read_tensor(view.data(), &parameter.tensor)?);
        }
        let digest = weights_digest(&known)?;
        if is_of_these && digest != facts.weights_sha256 {
            return Err(other(format!(
                "is of weights with sha256 {}, and those given have {digest}",
                facts.weights_sha256
            )));
        }
        Ok(Self { tensors, facts })
    }
}

/// SHA-256 over names, shapes and values (as f32, so that the type in memory does not matter) of
/// weights, in the order of their names.
///
/// # Errors
/// When a weight cannot be read.
pub fn weights_digest(parameters: &[Parameter]) -> Result<String> {
    let mut sorted: Vec<&Parameter> = parameters.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let mut hasher = Sha256::new();
    for parameter in sorted {
        hasher.update((parameter.name.len() as u64).to_le_bytes());
        hasher.update(&parameter.name);
        hasher.update((parameter.tensor.rank() as u64).to_le_bytes());
        for dim in parameter.tensor.dims() {
            hasher.update((*dim as u64).to_le_bytes());
        }
        for chunk in to_f32(&parameter.tensor)?.chunks(CHUNK) {
            let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(bytes);
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read_facts(bytes: &[u8]) -> Option<FisherFacts> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    serde_json::from_str(metadata.metadata().as_ref()?.get(FACTS_KEY)?).ok()
}

fn read_tensor(bytes: &[u8], like: &Tensor) -> Result<Tensor> {
    let (numbers, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok(Tensor::from_vec(values, like.dims(), like.device())?)
}
