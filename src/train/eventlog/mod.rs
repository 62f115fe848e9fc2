//! What a run tells while it goes: `events.jsonl`, `trainer_log.jsonl`, a TensorBoard file below
//! `runs/`, and a bar on the terminal. One front door, [`EventLog`]; names of numbers are TRL's.
//! Knows nothing of losses, and never reads back what it wrote except to go on after a kill.

pub mod jsonl;
pub mod lines;
pub mod progress;
pub mod tensorboard;
pub mod trainer_log;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use self::jsonl::EventLines;
use self::progress::Progress;
use self::tensorboard::TensorBoardFile;
use self::trainer_log::{Advance, TrainerLog};
use crate::error::Result;
use crate::model::tensor_file::write_failed;

/// The folder of the TensorBoard file: readers look at most three levels deep.
const TENSORBOARD_DIR: &str = "runs";
/// Names under which the count of tokens trained on so far comes.
const TOKEN_COUNTS: [&str; 2] = ["num_tokens", "num_input_tokens_seen"];

/// Where a run logs to, and where it begins.
#[derive(Debug, Clone)]
pub struct EventLogOptions {
    /// The run's folder.
    pub dir: PathBuf,
    pub total_steps: u64,
    /// The step and the token count of the checkpoint that is resumed from; none for a new run.
    pub resumed_from: Option<(u64, u64)>,
    /// Whether a bar is drawn when stderr is a terminal.
    pub bar: bool,
}

/// Everything that a run writes about itself.
#[derive(Debug)]
pub struct EventLog {
    events: EventLines,
    trainer_log: TrainerLog,
    tensorboard: TensorBoardFile,
    progress: Progress,
    options: EventLogOptions,
    start: Instant,
    step: u64,
    total_tokens: Option<u64>,
}

impl EventLog {
    /// Opens the files, goes on in them when a run is resumed, and starts the clock.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn open(options: EventLogOptions) -> Result<Self> {
        let dir = &options.dir;
        fs_err::create_dir_all(dir).map_err(|source| write_failed(dir, source))?;
        let step = options.resumed_from.map_or(0, |(step, _)| step);
        let (runs, wall_time) = (dir.join(TENSORBOARD_DIR), wall_time());
        let tensorboard = match options.resumed_from {
            Some((step, _)) => TensorBoardFile::resume(&runs, step, wall_time)?,
            None => TensorBoardFile::create(&runs, wall_time)?,
        };
        Ok(Self {
            events: EventLines::open(dir)?,
            trainer_log: TrainerLog::open(dir, step)?,
            tensorboard,
            progress: Progress::new(step, options.total_steps, options.bar),
            start: Instant::now(),
            step,
            total_tokens: None,
            options,
        })
    }

    /// Logs the numbers of a step, by TRL's names (`loss`, `learning_rate`, `eval_loss`,
    /// `rewards/chosen`, …). `num_tokens`, the tokens trained on in all, gives the speed.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn scalars(&mut self, step: u64, values: &BTreeMap<String, f64>) -> Result<()> {
        self.step = step;
        let tokens = TOKEN_COUNTS.iter().find_map(|name| values.get(*name));
        self.total_tokens = tokens.map(|count| *count as u64).or(self.total_tokens);
        let advance = self.advance();
        self.events.scalars(OffsetDateTime::now_utc(), step, values)?;
        self.trainer_log.append(&advance, values)?;
        let tagged = values.iter().map(|(name, value)| (tensorboard::tag(name), *value)).collect();
        self.tensorboard.scalars(wall_time(), step, &tagged)?;
        self.progress.update(&advance, values.get("loss").copied());
        Ok(())
    }

    /// Logs something else that happened, with the fields of a JSON object; any other JSON becomes
    /// the field `value`.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn event(&mut self, kind: &str, json: Value) -> Result<()> {
        let fields = match json {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        self.events.event(OffsetDateTime::now_utc(), self.step, kind, fields)
    }

    /// Moves the bar at a step whose numbers are not logged.
    pub fn advance_to(&mut self, step: u64, total_tokens: u64, loss: f64) {
        self.step = step;
        self.total_tokens = Some(total_tokens);
        self.progress.update(&self.advance(), Some(loss));
    }

    /// A line above the bar; nothing where no bar is drawn.
    pub fn say(&self, line: &str) {
        self.progress.say(line);
    }

    /// Closes the bar and waits until the disk has every file.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn finish(self) -> Result<()> {
        self.progress.finish();
        self.events.finish()?;
        self.trainer_log.finish()?;
        self.tensorboard.finish()
    }

    fn advance(&self) -> Advance {
        let (first_step, first_tokens) = self.options.resumed_from.unwrap_or_default();
        Advance {
            step: self.step,
            total_steps: self.options.total_steps,
            own_steps: self.step.saturating_sub(first_step),
            elapsed: self.start.elapsed(),
            total_tokens: self.total_tokens,
            own_tokens: self.total_tokens.unwrap_or(0).saturating_sub(first_tokens),
        }
    }
}

/// Seconds since 1970, with a fraction.
fn wall_time() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &std::path::Path, resumed_from: Option<(u64, u64)>) -> EventLogOptions {
        EventLogOptions { dir: dir.to_owned(), total_steps: 4, resumed_from, bar: false }
    }

    fn log(log: &mut EventLog, step: u64) {
        let values = [("loss", 1.0 / step as f64), ("num_tokens", 100.0 * step as f64)];
        log.scalars(step, &values.map(|(name, value)| (name.to_owned(), value)).into()).unwrap();
    }

    #[test]
    fn a_killed_run_goes_on_in_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = EventLog::open(options(dir.path(), None)).unwrap();
        first.event("start", serde_json::json!({"method": "sft"})).unwrap();
        log(&mut first, 1);
        log(&mut first, 2);
        drop(first);
        let mut second = EventLog::open(options(dir.path(), Some((1, 100)))).unwrap();
        log(&mut second, 2);
        second.event("note", Value::from(7)).unwrap();
        assert_eq!(second.advance().own_tokens, 100);
        assert_eq!(second.advance().own_steps, 1);
        second.finish().unwrap();
        let read = |name| fs_err::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("trainer_log.jsonl").lines().count(), 2);
        let kinds: Vec<(String, u64)> = read("events.jsonl")
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| (line["kind"].as_str().unwrap().into(), line["step"].as_u64().unwrap()))
            .collect();
        let expected = [("start", 0), ("scalars", 1), ("scalars", 2), ("scalars", 2), ("note", 2)];
        assert_eq!(kinds, expected.map(|(kind, step)| (kind.to_owned(), step)));
        assert_eq!(fs_err::read_dir(dir.path().join("runs")).unwrap().count(), 1);
    }
}
