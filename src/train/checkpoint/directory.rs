//! One checkpoint: the folder `checkpoint-<step>` with its files and, written last, a
//! `manifest.json` that lists the length and the SHA-256 of each. A folder whose files do not
//! match its manifest is damaged and is never read from.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::staging::{self, FileEntry, StagedFolder};
use super::state::TrainingState;
use crate::error::{Error, Result};
use crate::model::tensor_file::{self, FileMetadata, NamedTensor, write_failed};

/// How names of checkpoints begin; the step follows in decimal digits.
pub const CHECKPOINT_PREFIX: &str = "checkpoint-";
/// A checkpoint that a newer one of the same step is about to replace.
pub(super) const REPLACED_PREFIX: &str = "replaced-";
const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.json";
const VERSION: u32 = 1;

/// What `manifest.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    step: u64,
    /// Numbers that decide which checkpoint is the best, such as `eval_loss`.
    metrics: BTreeMap<String, f64>,
    files: Vec<FileEntry>,
}

/// A checkpoint being written. Dropped without [`CheckpointWriter::commit`], it leaves nothing.
#[derive(Debug)]
pub struct CheckpointWriter<'a> {
    dir: &'a Path,
    folder: StagedFolder,
    step: u64,
    metrics: BTreeMap<String, f64>,
}

impl<'a> CheckpointWriter<'a> {
    /// Starts the checkpoint of a step in the folder of a run.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub(super) fn begin(dir: &'a Path, step: u64) -> Result<Self> {
        let folder = StagedFolder::begin(&dir.join(name_of(step)))?;
        Ok(Self { dir, folder, step, metrics: BTreeMap::new() })
    }

    /// Notes a number by which checkpoints may be compared; one that is not finite is left out.
    pub fn metric(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    /// Writes a file, and waits until the disk has it.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`, `train_target` for a name that leads out of the folder.
    pub fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.folder.write_bytes(name, bytes)
    }

    /// Writes tensors as safetensors.
    ///
    /// # Errors
    /// `train_non_finite` naming the tensor, and those of [`Self::write_bytes`].
    pub fn write_tensors(
        &mut self,
        name: &str,
        tensors: &[NamedTensor],
        metadata: &FileMetadata,
    ) -> Result<()> {
        self.folder.write_tensors(name, tensors, metadata)
    }

    /// Writes what is not a tensor.
    ///
    /// # Errors
    /// As [`Self::write_bytes`].
    pub fn write_state(&mut self, state: &TrainingState) -> Result<()> {
        self.write_bytes(STATE, &serde_json::to_vec_pretty(state)?)
    }

    /// Writes the manifest and puts the checkpoint in its place, where it is from then on whole.
    /// An older checkpoint of the same step is replaced.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn commit(mut self) -> Result<PathBuf> {
        let files = self.folder.files().to_vec();
        let manifest = Manifest { version: VERSION, step: self.step, metrics: self.metrics, files };
        self.folder.write_bytes(MANIFEST, &serde_json::to_vec_pretty(&manifest)?)?;
        let name = name_of(self.step);
        let (target, aside) =
            (self.dir.join(&name), self.dir.join(format!("{REPLACED_PREFIX}{name}")));
        if target.exists() {
            // Between the two renames the old one can still be had back (`recover_replaced`).
            if aside.exists() {
                fs_err::remove_dir_all(&aside)?;
            }
            fs_err::rename(&target, &aside).map_err(|source| write_failed(&target, source))?;
        }
        let committed = self.folder.commit()?;
        if aside.exists() {
            fs_err::remove_dir_all(&aside)?;
        }
        Ok(committed)
    }
}

/// A checkpoint on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    dir: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens a checkpoint and reads every byte of it against the manifest.
    ///
    /// # Errors
    /// `checkpoint_damaged` with what does not match.
    pub fn open(dir: &Path) -> Result<Self> {
        let checkpoint = Self::peek(dir)?;
        for entry in &checkpoint.manifest.files {
            let (_, sha256) = staging::digest(&dir.join(&entry.name))?;
            if sha256 != entry.sha256 {
                return Err(damaged(dir, format!("the contents of {} have changed", entry.name)));
            }
        }
        Ok(checkpoint)
    }

    /// As [`Self::open`], but compares names and lengths only.
    ///
    /// # Errors
    /// `checkpoint_damaged`.
    pub fn peek(dir: &Path) -> Result<Self> {
        let bytes = fs_err::read(dir.join(MANIFEST))
            .map_err(|error| damaged(dir, format!("its manifest cannot be read ({error})")))?;
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(dir, format!("its manifest cannot be read ({error})")))?;
        if manifest.version != VERSION {
            return Err(damaged(dir, format!("its manifest is of version {}", manifest.version)));
        }
        if step_of(dir).is_some_and(|step| step != manifest.step) {
            return Err(damaged(dir, format!("its manifest is of step {}", manifest.step)));
        }
        for entry in &manifest.files {
            check_length(dir, entry)?;
        }
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Optimiser steps done when it was written.
    pub fn step(&self) -> u64 {
        self.manifest.step
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A number noted by [`CheckpointWriter::metric`].
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.manifest.metrics.get(name).copied()
    }

    /// Whether the checkpoint has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.manifest.files.iter().any(|entry| entry.name == name)
    }

    /// The bytes of one file.
    ///
    /// # Errors
    /// `checkpoint_damaged` when the checkpoint has no such file.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs_err::read(self.path_of(name)?)?)
    }

    /// Tensors by name, in the memory of the processor.
    ///
    /// # Errors
    /// `checkpoint_damaged`, `tensor_file`.
    pub fn tensors(&self, name: &str) -> Result<HashMap<String, Tensor>> {
        tensor_file::load_cpu(&self.path_of(name)?)
    }

    /// Tensors by name, where `neighbour` lies.
    ///
    /// # Errors
    /// As [`Self::tensors`].
    pub fn tensors_beside(
        &self,
        name: &str,
        neighbour: &Tensor,
    ) -> Result<HashMap<String, Tensor>> {
        tensor_file::load_beside(&self.path_of(name)?, neighbour)
    }

    /// What [`CheckpointWriter::write_state`] wrote.
    ///
    /// # Errors
    /// `checkpoint_damaged` when it is missing or cannot be understood.
    pub fn state(&self) -> Result<TrainingState> {
        serde_json::from_slice(&self.bytes(STATE)?)
            .map_err(|error| damaged(&self.dir, format!("{STATE} cannot be read ({error})")))
    }

    fn path_of(&self, name: &str) -> Result<PathBuf> {
        if self.has(name) {
            Ok(self.dir.join(name))
        } else {
            Err(damaged(&self.dir, format!("it has no file {name}")))
        }
    }
}

/// `checkpoint-<step>`.
pub(super) fn name_of(step: u64) -> String {
    format!("{CHECKPOINT_PREFIX}{step}")
}

/// The step in a checkpoint's name, none for another folder.
pub(super) fn step_of(dir: &Path) -> Option<u64> {
    let digits = dir.file_name()?.to_str()?.strip_prefix(CHECKPOINT_PREFIX)?;
    let step: u64 = digits.parse().ok()?;
    // `checkpoint-007` and `checkpoint-+7` are not ours.
    (digits == step.to_string()).then_some(step)
}

fn check_length(dir: &Path, entry: &FileEntry) -> Result<()> {
    if !staging::is_plain(&entry.name) {
        return Err(damaged(dir, format!("its manifest names `{}`", entry.name)));
    }
    match fs_err::metadata(dir.join(&entry.name)) {
        Err(_) => Err(damaged(dir, format!("{} is missing", entry.name))),
        Ok(found) if found.len() != entry.bytes => {
            let (length, expected) = (found.len(), entry.bytes);
            let name = &entry.name;
            Err(damaged(dir, format!("{name} has {length} bytes instead of {expected}")))
        }
        Ok(_) => Ok(()),
    }
}

fn damaged(dir: &Path, what: impl std::fmt::Display) -> Error {
    Error::invalid(
        "checkpoint_damaged",
        format!("the checkpoint {} is damaged: {what}; use an older one", dir.display()),
    )
}
