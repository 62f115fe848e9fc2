//! Rows of several files into one training set, with the account of what became of each.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::convert::{Outcome, Reading, convert};
use super::fields::Fields;
use super::fit;
use super::inputs::Input;
use super::passages::Passages;
use super::prepare::{Digest, digest, sha256};
use super::report::ReadReport;
use super::rows::{Row, RowSource, Rows, Task};
use super::source::read_rows;
use super::{Dataset, ReadOptions};
use crate::error::{Error, Result};

/// What has been read so far.
pub struct Gathering<'a> {
    task: Task,
    options: &'a ReadOptions,
    rows: Rows,
    report: ReadReport,
    seen: HashSet<Digest>,
}

/// The training rows of one row of a file.
type Group = Vec<Row>;

impl<'a> Gathering<'a> {
    pub fn new(task: Task, options: &'a ReadOptions) -> Self {
        let (rows, report) = (Rows::none(task), ReadReport::default());
        Self { task, options, rows, report, seen: HashSet::new() }
    }

    /// Reads the files of one input.
    ///
    /// # Errors
    /// Those of [`super::read`].
    pub fn add(&mut self, input: &Input) -> Result<()> {
        let passages = match &input.passages {
            Some(path) => Some(Passages::load(path, &mut self.report)?),
            None => None,
        };
        let reading = Reading {
            task: self.task,
            options: self.options,
            entry: input.entry.as_ref(),
            passages: passages.as_ref(),
        };
        let mut groups = Vec::new();
        for path in &input.paths {
            groups.extend(self.read_file(path, reading)?);
        }
        let n_wanted = input.entry.as_ref().and_then(|entry| entry.num_samples);
        self.keep(groups, n_wanted)
    }

    /// The rows, once every file is read.
    ///
    /// # Errors
    /// `data_row_rejected` for a bad row, when the options are strict.
    pub fn finish(mut self) -> Result<Dataset> {
        self.report.total();
        if self.options.strict {
            self.report.require_all_good()?;
        }
        self.report.sha256 = sha256(&self.rows);
        Ok(Dataset { rows: self.rows, report: self.report })
    }

    fn read_file(&mut self, path: &Path, reading: Reading<'_>) -> Result<Vec<Group>> {
        let file: Arc<str> = path.to_string_lossy().into();
        let (mut groups, mut keys) = (Vec::new(), BTreeSet::new());
        let n_rejected_before = self.report.rejected.len();
        read_rows(path, &mut |row| {
            self.report.counts(&file).n_read += 1;
            let source = RowSource { file: Arc::clone(&file), line: row.line };
            let outcome = row.fields.and_then(|fields| {
                note_keys(&fields, &mut keys);
                convert(&fields, &source, reading)
            });
            match outcome {
                Ok(Outcome::Rows(rows)) => groups.push(rows),
                Ok(Outcome::Uncovered) => self.report.counts(&file).n_uncovered += 1,
                Err(reason) => self.report.reject(source, reason),
            }
        })?;
        self.check_file(&file, reading, &keys)?;
        if groups.is_empty() {
            return Err(self.no_rows(&file, n_rejected_before));
        }
        Ok(groups)
    }

    fn check_file(
        &mut self,
        file: &str,
        reading: Reading<'_>,
        keys: &BTreeSet<String>,
    ) -> Result<()> {
        let Some(entry) = reading.entry else { return Ok(()) };
        fit::check_columns(entry, file, keys)?;
        if let Some(unused) = fit::unused_columns(entry, keys) {
            let name = &entry.name;
            self.report
                .notes
                .push(format!("{file} has columns that dataset `{name}` does not use: {unused}"));
        }
        if entry.has_subset {
            let name = &entry.name;
            self.report.notes.push(format!(
                "the `subset` of dataset `{name}` is for data on a hub; {file} is read whole"
            ));
        }
        Ok(())
    }

    fn no_rows(&self, file: &Arc<str>, n_rejected_before: usize) -> Error {
        let counts = self.report.files.iter().find(|counts| counts.file == *file);
        let n_uncovered = counts.map_or(0, |counts| counts.n_uncovered);
        let n_rejected = self.report.rejected.len() - n_rejected_before;
        let why = match self.report.rejected.get(n_rejected_before) {
            None => format!("all {n_uncovered} are marked as not covered by their history"),
            Some(first) => {
                let (line, reason) = (first.source.line, &first.reason);
                format!("{n_rejected} are rejected, the first (row {line}) because {reason}")
            }
        };
        let task = self.task.name();
        let message = format!("{file} has no row that can be used for {task} training: {why}");
        Error::invalid("data_no_usable_rows", message)
    }

    /// Keeps the wanted number of rows, each once, and draws some again where that is asked for.
    fn keep(&mut self, groups: Vec<Group>, n_wanted: Option<usize>) -> Result<()> {
        let n_wanted = n_wanted.unwrap_or(groups.len());
        if n_wanted > groups.len() && !self.options.resample {
            let n_rows = groups.len();
            self.report.notes.push(format!(
                "`num_samples` is {n_wanted}, but there are {n_rows} rows; each is used once (`resample` draws some again)"
            ));
        }
        let again = self.drawn_again(&groups, n_wanted);
        let is_chosen = self.chosen(groups.len(), n_wanted);
        for (group, is_chosen) in groups.into_iter().zip(is_chosen) {
            self.keep_group(group, is_chosen)?;
        }
        for row in again {
            let counts = self.report.counts(&row.source().file);
            counts.n_repeated += 1;
            counts.n_kept += 1;
            self.push(row)?;
        }
        Ok(())
    }

    /// Which of the rows are in a sample without replacement.
    fn chosen(&self, n_rows: usize, n_wanted: usize) -> Vec<bool> {
        let mut is_chosen = vec![n_wanted >= n_rows; n_rows];
        if n_wanted < n_rows {
            for idx in index::sample(&mut self.rng(), n_rows, n_wanted) {
                is_chosen[idx] = true;
            }
        }
        is_chosen
    }

    /// LLaMA-Factory's way to reach a `num_samples` beyond the number of rows.
    fn drawn_again(&self, groups: &[Group], n_wanted: usize) -> Group {
        use rand::Rng;
        let n_missing = n_wanted.saturating_sub(groups.len());
        if !self.options.resample || groups.is_empty() {
            return Vec::new();
        }
        let mut rng = self.rng();
        (0..n_missing).flat_map(|_| groups[rng.random_range(0..groups.len())].clone()).collect()
    }

    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.options.seed)
    }

    fn keep_group(&mut self, group: Group, is_chosen: bool) -> Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let counts = self.report.counts(&first.source().file);
        if !is_chosen {
            counts.n_left_out += 1;
            return Ok(());
        }
        counts.n_used += 1;
        counts.n_rows += group.len();
        for row in group {
            let is_new = !self.options.deduplicate || self.seen.insert(digest(&row));
            let counts = self.report.counts(&row.source().file);
            counts.n_duplicates += usize::from(!is_new);
            counts.n_kept += usize::from(is_new);
            if is_new {
                self.push(row)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, row: Row) -> Result<()> {
        if self.rows.push(row) {
            return Ok(());
        }
        let task = self.task.name();
        Err(Error::internal(format!("a row for another task came among the {task} rows")))
    }
}

fn note_keys(fields: &Fields, keys: &mut BTreeSet<String>) {
    for key in fields.keys() {
        if !keys.contains(key) {
            keys.insert(key.clone());
        }
    }
}
