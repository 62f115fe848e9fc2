//! The checkpoints of one run: which is the newest that can be trusted, and which may go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::directory::{Checkpoint, CheckpointWriter, REPLACED_PREFIX, name_of, step_of};
use super::staging::{self, STAGING_PREFIX};
use crate::error::{Error, Result};
use crate::model::tensor_file::write_failed;

/// Which number says what the best checkpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestBy {
    /// A name given to [`CheckpointWriter::metric`].
    pub metric: String,
    pub greater_is_better: bool,
}

/// How many checkpoints stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many; the newest one stays in any case.
    pub last: usize,
    /// One more that stays however old it is.
    pub best: Option<BestBy>,
}

/// A checkpoint that was passed over, and why.
#[derive(Debug)]
pub struct Skipped {
    pub step: u64,
    pub reason: Error,
}

/// The newest checkpoint that is whole, and the newer ones that are not.
#[derive(Debug)]
pub struct Latest {
    pub checkpoint: Option<Checkpoint>,
    pub skipped: Vec<Skipped>,
}

/// The folder that holds a run's checkpoints. Only one run at a time may use it.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    dir: PathBuf,
}

impl CheckpointFolder {
    /// Opens the folder, making it where there is none, and clears away what a killed run left
    /// unfinished.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`, or when the folder cannot be read.
    pub fn open(dir: &Path) -> Result<Self> {
        staging::create_dirs(dir)?;
        recover_replaced(dir)?;
        for name in staging::remove_leftovers(dir)? {
            tracing::warn!(folder = %dir.display(), name, "removed an unfinished folder");
        }
        Ok(Self { dir: dir.to_owned() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts the checkpoint of a step.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn writer(&self, step: u64) -> Result<CheckpointWriter<'_>> {
        CheckpointWriter::begin(&self.dir, step)
    }

    /// The newest checkpoint of which every byte is as it was written.
    ///
    /// # Errors
    /// When the folder cannot be read. A damaged checkpoint is no error but is listed.
    pub fn latest(&self) -> Result<Latest> {
        let mut skipped = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match Checkpoint::open(&self.dir.join(name_of(step))) {
                Ok(checkpoint) => return Ok(Latest { checkpoint: Some(checkpoint), skipped }),
                Err(reason) => {
                    tracing::warn!(step, %reason, "passed over a checkpoint");
                    skipped.push(Skipped { step, reason });
                }
            }
        }
        Ok(Latest { checkpoint: None, skipped })
    }

    /// Every checkpoint that is complete by names and lengths, oldest first, and those that are
    /// not. The contents are not read: [`Checkpoint::open`] does that.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> Result<(Vec<Checkpoint>, Vec<Skipped>)> {
        let (mut whole, mut skipped) = (Vec::new(), Vec::new());
        for step in self.steps()? {
            match Checkpoint::peek(&self.dir.join(name_of(step))) {
                Ok(checkpoint) => whole.push(checkpoint),
                Err(reason) => skipped.push(Skipped { step, reason }),
            }
        }
        Ok((whole, skipped))
    }

    /// The best of the complete checkpoints; of equals the newest. None where no checkpoint has
    /// the metric.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn best(&self, by: &BestBy) -> Result<Option<Checkpoint>> {
        Ok(best_of(&self.all()?.0, by).cloned())
    }

    /// Removes complete checkpoints beyond those to keep and returns their steps, oldest first.
    /// Neither the newest nor the best is ever removed, and a damaged one is left for its owner to
    /// look at.
    ///
    /// # Errors
    /// When the folder cannot be read or a checkpoint cannot be removed.
    pub fn prune(&self, keep: &Keep) -> Result<Vec<u64>> {
        let (checkpoints, _) = self.all()?;
        let n_newest = keep.last.max(1);
        let mut kept: BTreeSet<u64> =
            checkpoints.iter().rev().take(n_newest).map(Checkpoint::step).collect();
        let best = keep.best.as_ref().and_then(|by| best_of(&checkpoints, by));
        kept.extend(best.map(Checkpoint::step));
        let mut removed = Vec::new();
        for checkpoint in checkpoints.iter().filter(|found| !kept.contains(&found.step())) {
            self.remove(checkpoint)?;
            removed.push(checkpoint.step());
        }
        Ok(removed)
    }

    /// Removes checkpoints of later steps than `step`: those of a way that was gone back on.
    ///
    /// # Errors
    /// When the folder cannot be read or a checkpoint cannot be removed.
    pub fn remove_after(&self, step: u64) -> Result<()> {
        let (checkpoints, _) = self.all()?;
        checkpoints.iter().filter(|found| found.step() > step).try_for_each(|it| self.remove(it))
    }

    /// Renames first, so that a kill half-way leaves no checkpoint that looks damaged.
    fn remove(&self, checkpoint: &Checkpoint) -> Result<()> {
        let name = format!(
            "{STAGING_PREFIX}removed-{}-{}",
            name_of(checkpoint.step()),
            std::process::id()
        );
        let aside = self.dir.join(name);
        fs_err::rename(checkpoint.dir(), &aside)
            .map_err(|source| write_failed(checkpoint.dir(), source))?;
        Ok(fs_err::remove_dir_all(aside)?)
    }

    /// The steps in the names of folders, ascending.
    fn steps(&self) -> Result<Vec<u64>> {
        let mut steps = Vec::new();
        for entry in fs_err::read_dir(&self.dir)? {
            let path = entry?.path();
            steps.extend(step_of(&path).filter(|_| path.is_dir()));
        }
        steps.sort_unstable();
        Ok(steps)
    }
}

fn best_of<'a>(checkpoints: &'a [Checkpoint], by: &BestBy) -> Option<&'a Checkpoint> {
    let mut best: Option<(&Checkpoint, f64)> = None;
    for checkpoint in checkpoints {
        let Some(value) = checkpoint.metric(&by.metric) else { continue };
        let is_better =
            best.is_none_or(
                |(_, so_far)| {
                    if by.greater_is_better { value >= so_far } else { value <= so_far }
                },
            );
        if is_better {
            best = Some((checkpoint, value));
        }
    }
    best.map(|(checkpoint, _)| checkpoint)
}

/// Finishes a replacement that was interrupted: the old checkpoint comes back where the new one
/// did not arrive, and goes where it did.
fn recover_replaced(dir: &Path) -> Result<()> {
    for entry in fs_err::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(original) = name.strip_prefix(REPLACED_PREFIX) else { continue };
        let target = dir.join(original);
        if step_of(&target).is_none() {
            continue;
        }
        if target.exists() {
            fs_err::remove_dir_all(&path)?;
        } else {
            fs_err::rename(&path, &target).map_err(|source| write_failed(&target, source))?;
        }
    }
    Ok(())
}
