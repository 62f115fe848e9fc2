//! What a run needs to go on after it was killed: folders that are whole or absent, and the rule
//! which of them stay. Knows nothing of models or losses; files are bytes or named tensors.
//!
//! Invariants: a folder called `checkpoint-<step>` had all its files on the disk before it got
//! that name; nothing with a NaN or an infinity is ever saved; the newest whole checkpoint and the
//! best are never removed.

pub mod directory;
pub mod folder;
pub mod staging;
pub mod state;

#[cfg(test)]
mod tests;

pub use directory::{CHECKPOINT_PREFIX, Checkpoint, CheckpointWriter};
pub use folder::{BestBy, CheckpointFolder, Keep, Latest, Skipped};
pub use staging::StagedFolder;
pub use state::{BestMetric, DataCursor, TrainingState};
