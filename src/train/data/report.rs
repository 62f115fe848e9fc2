//! What became of every row that was read: nothing is dropped in silence.

use std::fmt;
use std::sync::Arc;

use super::rows::RowSource;
use crate::error::{Error, Result};

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub source: RowSource,
    /// What is wrong with it, with the value.
    pub reason: String,
}

/// What became of the rows of one file. Of the rows read, each is rejected, uncovered, left out
/// or used; the used ones give `n_rows`, of which the duplicates go, and repeats come on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCounts {
    pub file: Arc<str>,
    /// Rows of the file.
    pub n_read: usize,
    /// Rows that cannot be used; the reasons are in [`ReadReport::rejected`].
    pub n_rejected: usize,
    /// Rows with `"covered": false`, dropped on request.
    pub n_uncovered: usize,
    /// Good rows beyond the `num_samples` of `dataset_info.json`.
    pub n_left_out: usize,
    /// Rows that training takes something from.
    pub n_used: usize,
    /// Training rows made of those: one for each answer that is learnt.
    pub n_rows: usize,
    /// Training rows dropped because an equal one came before.
    pub n_duplicates: usize,
    /// Training rows that were drawn again to reach `num_samples`.
    pub n_repeated: usize,
    /// Training rows in the end.
    pub n_kept: usize,
}

/// What became of all rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadReport {
    /// In the order in which they were read.
    pub files: Vec<FileCounts>,
    /// Rows of all files.
    pub n_read: usize,
    /// Training rows in the end.
    pub n_kept: usize,
    pub n_duplicates: usize,
    /// In the order in which they were read.
    pub rejected: Vec<Rejected>,
    /// What is odd but no error, one sentence each: columns that nobody uses, for example.
    pub notes: Vec<String>,
    /// SHA-256 of the contents of the kept rows, in their order; hexadecimal. Where a row came
    /// from is not in it, so that a moved file has the same hash.
    pub sha256: String,
}

impl FileCounts {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self {
            file,
            n_read: 0,
            n_rejected: 0,
            n_uncovered: 0,
            n_left_out: 0,
            n_used: 0,
            n_rows: 0,
            n_duplicates: 0,
            n_repeated: 0,
            n_kept: 0,
        }
    }
}

impl ReadReport {
    /// The counts of a file, new ones if it is named for the first time.
    pub(super) fn counts(&mut self, file: &Arc<str>) -> &mut FileCounts {
        let idx = self.files.iter().position(|counts| counts.file == *file).unwrap_or_else(|| {
            self.files.push(FileCounts::new(Arc::clone(file)));
            self.files.len() - 1
        });
        &mut self.files[idx]
    }

    pub(super) fn reject(&mut self, source: RowSource, reason: String) {
        self.counts(&source.file).n_rejected += 1;
        self.rejected.push(Rejected { source, reason });
    }

    /// Sums the files up.
    pub(super) fn total(&mut self) {
        self.n_read = self.files.iter().map(|counts| counts.n_read).sum();
        self.n_kept = self.files.iter().map(|counts| counts.n_kept).sum();
        self.n_duplicates = self.files.iter().map(|counts| counts.n_duplicates).sum();
    }

    /// # Errors
    /// `data_row_rejected` when a row was rejected: it names the first, and how many more.
    pub fn require_all_good(&self) -> Result<()> {
        let Some(first) = self.rejected.first() else { return Ok(()) };
        let more = match self.rejected.len() - 1 {
            0 => "no other row is".to_owned(),
            1 => "1 more row is".to_owned(),
            n_more => format!("{n_more} more rows are"),
        };
        let message = format!(
            "{first}; {more} rejected. Mend the data, or read it without `strict` to leave such rows out"
        );
        Err(Error::invalid("data_row_rejected", message))
    }
}

impl fmt::Display for RowSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, row {}", self.file, self.line)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.source, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(reasons: &[&str]) -> ReadReport {
        let mut report = ReadReport::default();
        for (idx, reason) in reasons.iter().enumerate() {
            let source = RowSource { file: "a.jsonl".into(), line: idx + 3 };
            report.reject(source, (*reason).to_owned());
        }
        report
    }

    #[test]
    fn strictness_names_the_first_row_and_counts_the_others() {
        assert!(report(&[]).require_all_good().is_ok());
        let one = report(&["it is bad"]).require_all_good().unwrap_err().to_string();
        assert!(one.starts_with("a.jsonl, row 3: it is bad; no other row is rejected"), "{one}");
        let three = report(&["it is bad", "b", "c"]).require_all_good().unwrap_err();
        assert!(three.message.contains("it is bad; 2 more rows are rejected"), "{three}");
        assert_eq!(three.code, "data_row_rejected");
    }
}
