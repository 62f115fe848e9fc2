//! From files to validated training rows. Texts only: this room knows nothing of tokens, models
//! or losses, and never prints.
//!
//! Invariants: every row of a file is used, or accounted for in the [`ReadReport`]; what is wrong
//! with a row is said with its file and line; a row that is given out has no empty answer; and
//! equal files with equal options give equal rows in equal order.

mod alpaca;
mod asked;
mod chat;
mod convert;
mod dataset_info;
mod fields;
mod fit;
mod gather;
mod inputs;
mod openai;
mod pairs;
mod passages;
mod prepare;
mod report;
mod rewrite;
mod rows;
mod sharegpt;
mod source;
mod tool_calls;
mod trl;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use prepare::{Portion, sha256, split};
pub use report::{FileCounts, ReadReport, Rejected};
pub use rows::{
    Asked, Completion, Judged, Pair, Preference, Prompt, Role, RowSource, Rows, Task, Turn,
};
pub use source::MAX_ROW_BYTES;

use crate::error::Result;

/// How to read. What LLaMA-Factory does and a careful person would not is off by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The first bad row is an error.
    pub strict: bool,
    /// Accepts chats in which turns do not alternate, as long as the user begins.
    pub consecutive_roles: bool,
    /// Accepts system messages in mid-chat.
    pub several_systems: bool,
    /// Learns only the last answer of a chat.
    pub mask_history: bool,
    /// LLaMA-Factory's quirk: OpenAI messages get the system's order `detailed thinking off`.
    pub nemotron_thinking_off: bool,
    /// LLaMA-Factory's quirk: a `num_samples` above the number of rows draws rows again.
    pub resample: bool,
    /// Drops rows with `"covered": false`, which teach a rewriter to invent.
    pub drop_uncovered: bool,
    /// Puts the facts under `context` before the history, one `name: fact` a turn. Off, rows with
    /// such facts are rejected.
    pub context_as_history: bool,
    /// Drops rows that are equal to an earlier one.
    pub deduplicate: bool,
    /// For the choice of `num_samples` rows.
    pub seed: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            strict: false,
            consecutive_roles: false,
            several_systems: false,
            mask_history: false,
            nemotron_thinking_off: false,
            resample: false,
            drop_uncovered: true,
            context_as_history: false,
            deduplicate: true,
            seed: 42,
        }
    }
}

/// Rows to train on, and what became of those that are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    pub rows: Rows,
    pub report: ReadReport,
}

impl Dataset {
    /// What became of the rows of each file, in the order of reading: for a dry run. A file of
    /// passages has a line of its own, whose `n_used` counts the passages.
    pub fn counts_by_file(&self) -> &[FileCounts] {
        &self.report.files
    }
}

/// Reads the rows of JSONL and JSON files for a task. A file can be named as
/// `DIR/dataset_info.json#NAME`; one that a `dataset_info.json` beside it lists is read as that
/// says, any other by the shape of its rows.
///
/// # Errors
/// `data_missing`, `data_file_missing`, `data_file_empty`, `data_file_type`, `data_file_invalid`
/// (an array that is no JSON), `dataset_info` (a dataset that is unknown, not local, or not for
/// the task), `data_column_missing`, `data_no_usable_rows`, and, when strict, `data_row_rejected`.
pub fn read(files: &[PathBuf], task: Task, options: &ReadOptions) -> Result<Dataset> {
    let mut gathering = gather::Gathering::new(task, options);
    for input in inputs::resolve(files, task)? {
        gathering.add(&input)?;
    }
    gathering.finish()
}
