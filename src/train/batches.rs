//! Which rows each optimiser step learns from. An epoch's plan follows from the seed and its
//! number alone, so a position of a few numbers is enough to go on exactly where a run stopped.

mod plan;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use plan::{micro_batches, plan_epoch};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Another order each epoch.
    Shuffled,
    /// As the rows come; KTO's pairs of neighbours need it.
    Sequential,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    pub seed: u64,
    pub n_epochs: u64,
    pub rows_per_step: usize,
    pub order: Order,
    /// Shuffled rows are sorted by length over this many steps at a time, so that those of a step
    /// are of similar length; the steps are then shuffled. 1 or less leaves them as they are.
    pub bucket_steps: usize,
    /// Tokens that one forward pass may hold; none puts all rows of a step into one.
    pub micro_batch_tokens: Option<usize>,
    /// Leave out steps with fewer rows than `rows_per_step`.
    pub drop_last: bool,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            seed: 42,
            n_epochs: 3,
            rows_per_step: 8,
            order: Order::Shuffled,
            bucket_steps: 1,
            micro_batch_tokens: None,
            drop_last: false,
        }
    }
}

/// The rows of one optimiser step, by their indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRows {
    pub epoch: u64,
    /// Number of the batch since the start of the run, the skipped ones counted.
    pub batch: u64,
    pub micro_batches: Vec<Vec<usize>>,
}

/// Where a run stands in its data. Goes into checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: u64,
    /// The next batch of the epoch.
    pub index: usize,
    /// The next batch of the run.
    pub batch: u64,
    /// Windows of batches that are left out.
    pub skipped: Vec<Range<u64>>,
    /// What the position is in: it means nothing elsewhere.
    pub n_rows: usize,
    pub settings: BatchSettings,
}

/// Gives step after step.
#[derive(Debug)]
pub struct Batches {
    settings: BatchSettings,
    /// Tokens of each row.
    lengths: Vec<usize>,
    /// Of each row; rows with a key in common never share a step.
    keys: Option<Vec<Vec<u64>>>,
    /// The steps of the epoch that the position is in.
    plan: Vec<Vec<usize>>,
    position: Position,
}

impl Batches {
    /// `lengths` are the tokens of each row, of all its texts together.
    ///
    /// # Errors
    /// `batch_settings` when there is no row, or a setting cannot be used.
    pub fn new(lengths: Vec<usize>, settings: BatchSettings) -> Result<Self> {
        Self::planned(lengths, None, settings)
    }

    /// As [`Self::new`], and rows with a key in common never come in one step: in contrastive
    /// learning a text that is another row's positive would be its negative too. Keys are hashes
    /// of the row's texts.
    ///
    /// # Errors
    /// As [`Self::new`], and when there are not as many keys as rows.
    pub fn with_unique_keys(
        lengths: Vec<usize>,
        keys: Vec<Vec<u64>>,
        settings: BatchSettings,
    ) -> Result<Self> {
        if keys.len() != lengths.len() {
            return Err(Error::internal(format!(
                "{} rows came with keys for {}",
                lengths.len(),
                keys.len()
            )));
        }
        Self::planned(lengths, Some(keys), settings)
    }

    /// The steps of the first epoch. With unique keys other epochs may have a few more or fewer.
    pub fn steps_per_epoch(&self) -> usize {
        self.plan_of(0).len()
    }

    /// The steps of the whole run, which the schedule spans.
    pub fn n_steps(&self) -> u64 {
        match self.keys {
            None => self.steps_per_epoch() as u64 * self.settings.n_epochs,
            Some(_) => {
                (0..self.settings.n_epochs).map(|epoch| self.plan_of(epoch).len() as u64).sum()
            }
        }
    }

    /// How many rows the first epoch leaves out because their step would not be full.
    pub fn n_left_out(&self) -> usize {
        self.lengths.len() - self.plan_of(0).iter().map(Vec::len).sum::<usize>()
    }

    /// The next step that is not skipped; none at the end of the last epoch.
    pub fn next_step(&mut self) -> Option<StepRows> {
        while self.position.epoch < self.settings.n_epochs {
            let Some(rows) = self.plan.get(self.position.index) else {
                self.enter_epoch(self.position.epoch + 1);
                continue;
            };
            let batch = self.position.batch;
            self.position.index += 1;
            self.position.batch += 1;
            if self.position.skipped.iter().any(|window| window.contains(&batch)) {
                continue;
            }
            let micro_batches = micro_batches(rows, &self.lengths, &self.settings);
            return Some(StepRows { epoch: self.position.epoch, batch, micro_batches });
        }
        None
    }

    /// Leaves out a window of batches, as the guard asks when it rolls back. The position itself
    /// does not go back: what has been given is not given again.
    pub fn skip(&mut self, window: Range<u64>) {
        self.position.skipped.push(window);
    }

    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Goes on from a position as if the steps before it had been given.
    ///
    /// # Errors
    /// `data_position` when it is a position in other data or under other settings.
    pub fn resume(&mut self, position: Position) -> Result<()> {
        if !self.is_of_these_rows(&position) {
            return Err(Error::invalid(
                "data_position",
                format!(
                    "the checkpoint stopped in {} rows under {:?}, but this run has {} under {:?}; \
                     resume with the same data and settings",
                    position.n_rows,
                    position.settings,
                    self.lengths.len(),
                    self.settings
                ),
            ));
        }
        self.plan = self.plan_of(position.epoch);
        self.position = Position { settings: self.settings.clone(), ..position };
        Ok(())
    }

    fn planned(
        lengths: Vec<usize>,
        keys: Option<Vec<Vec<u64>>>,
        settings: BatchSettings,
    ) -> Result<Self> {
        check(&settings, lengths.len())?;
        let position = Position {
            epoch: 0,
            index: 0,
            batch: 0,
            skipped: Vec::new(),
            n_rows: lengths.len(),
            settings: settings.clone(),
        };
        let mut batches = Self { settings, lengths, keys, plan: Vec::new(), position };
        batches.enter_epoch(0);
        if batches.plan.is_empty() {
            return Err(unusable(format!(
                "{} rows do not fill one step of {}; lower the rows of a step or keep the last one",
                batches.lengths.len(),
                batches.settings.rows_per_step
            )));
        }
        Ok(batches)
    }

    /// More epochs, or other micro-batches, leave the order as it is.
    fn is_of_these_rows(&self, position: &Position) -> bool {
        let BatchSettings { n_epochs, micro_batch_tokens, .. } = self.settings;
        let settings = BatchSettings { n_epochs, micro_batch_tokens, ..position.settings.clone() };
        settings == self.settings && position.n_rows == self.lengths.len()
    }

    fn enter_epoch(&mut self, epoch: u64) {
        self.plan = self.plan_of(epoch);
        self.position.epoch = epoch;
        self.position.index = 0;
    }

    fn plan_of(&self, epoch: u64) -> Vec<Vec<usize>> {
        plan_epoch(&self.settings, &self.lengths, self.keys.as_deref(), epoch)
    }
}

fn unusable(why: String) -> Error {
    Error::invalid("batch_settings", why)
}

fn check(settings: &BatchSettings, n_rows: usize) -> Result<()> {
    if n_rows == 0 {
        return Err(unusable("there is no row to learn from; give a file with rows".to_owned()));
    }
    if settings.rows_per_step == 0 || settings.micro_batch_tokens == Some(0) {
        return Err(unusable("a step of no rows or no tokens cannot be taken".to_owned()));
    }
    if settings.order == Order::Sequential && settings.bucket_steps > 1 {
        return Err(unusable(
            "rows cannot be both in their own order and sorted by length; drop one of the two"
                .to_owned(),
        ));
    }
    Ok(())
}
