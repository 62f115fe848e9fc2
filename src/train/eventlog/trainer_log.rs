//! `trainer_log.jsonl` with the fields that LLaMA-Factory's board and its users' scripts read.
//! Fields without a value are left out; so are values that JSON has no form for.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use super::lines::Lines;
use crate::error::Result;

const FILE_NAME: &str = "trainer_log.jsonl";
/// Their field and the names of ours that it is taken from, the first that is there.
const FIELDS: [(&str, &[&str]); 7] = [
    ("loss", &["loss"]),
    ("eval_loss", &["eval_loss"]),
    ("predict_loss", &["predict_loss"]),
    ("reward", &["reward"]),
    ("accuracy", &["rewards/accuracies", "accuracy", "mean_token_accuracy"]),
    ("lr", &["learning_rate", "lr"]),
    ("epoch", &["epoch"]),
];

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advance {
    /// Optimiser steps done, of how many.
    pub step: u64,
    pub total_steps: u64,
    /// Steps done by this process, which are fewer after a resume.
    pub own_steps: u64,
    /// Time since this process began to train.
    pub elapsed: Duration,
    /// Tokens trained on in all, and by this process.
    pub total_tokens: Option<u64>,
    pub own_tokens: u64,
}

impl Advance {
    /// The time the rest will take if it goes on as so far; none before the first step.
    pub fn remaining(&self) -> Option<Duration> {
        let n_left = self.total_steps.saturating_sub(self.step) as f64;
        let seconds = self.elapsed.as_secs_f64() / self.own_steps as f64 * n_left;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Tokens a second since this process began; none where tokens are not counted.
    pub fn tokens_per_second(&self) -> Option<f64> {
        self.total_tokens?;
        let rate = self.own_tokens as f64 / self.elapsed.as_secs_f64();
        rate.is_finite().then_some(rate)
    }
}

/// The open file.
#[derive(Debug)]
pub struct TrainerLog {
    lines: Lines,
}

impl TrainerLog {
    /// Opens or starts the file in `dir`. Lines after `step` are of a run that was killed and did
    /// those steps again; they are dropped, because the board would draw them twice.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn open(dir: &Path, step: u64) -> Result<Self> {
        let lines = Lines::open(&dir.join(FILE_NAME), |line| {
            serde_json::from_str::<Value>(line)
                .is_ok_and(|line| line["current_steps"].as_u64().is_some_and(|at| at <= step))
        })?;
        Ok(Self { lines })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn append(&mut self, advance: &Advance, values: &BTreeMap<String, f64>) -> Result<()> {
        self.lines.append(&line(advance, values))
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn finish(self) -> Result<()> {
        self.lines.finish()
    }
}

/// Hours, minutes and seconds; a day is 24 hours.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn line(advance: &Advance, values: &BTreeMap<String, f64>) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("current_steps".into(), advance.step.into());
    line.insert("total_steps".into(), advance.total_steps.into());
    let mut real = |field: &str, value: Option<f64>| {
        if let Some(number) = value.and_then(serde_json::Number::from_f64) {
            line.insert(field.into(), Value::Number(number));
        }
    };
    for (field, names) in FIELDS {
        real(field, names.iter().find_map(|name| values.get(*name)).copied());
    }
    let percentage = advance.step as f64 / advance.total_steps as f64 * 100.0;
    real("percentage", Some(two_decimals(percentage)));
    line.insert("elapsed_time".into(), clock(advance.elapsed).into());
    if let Some(remaining) = advance.remaining() {
        line.insert("remaining_time".into(), clock(remaining).into());
    }
    if let (Some(rate), Some(total)) = (advance.tokens_per_second(), advance.total_tokens) {
        line.insert("throughput".into(), two_decimals(rate).into());
        line.insert("total_tokens".into(), total.into());
    }
    line
}

fn two_decimals(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance() -> Advance {
        Advance {
            step: 15,
            total_steps: 45,
            own_steps: 5,
            elapsed: Duration::from_secs(50),
            total_tokens: Some(3_000),
            own_tokens: 1_000,
        }
    }

    #[test]
    fn a_line_has_the_board_s_fields_in_its_order() {
        let values =
            [("loss", 0.5), ("learning_rate", 1e-4), ("rewards/accuracies", 0.75), ("epoch", 1.25)];
        let values = values.map(|(name, value)| (name.to_owned(), value)).into();
        let line = serde_json::to_string(&line(&advance(), &values)).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"current_steps":15,"total_steps":45,"loss":0.5,"accuracy":0.75,"lr":0.0001,"#,
                r#""epoch":1.25,"percentage":33.33,"elapsed_time":"0:00:50","#,
                r#""remaining_time":"0:05:00","throughput":20.0,"total_tokens":3000}"#
            )
        );
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let start =
            Advance { own_steps: 0, total_tokens: None, elapsed: Duration::ZERO, ..advance() };
        let values = BTreeMap::from([("loss".to_owned(), f64::NAN)]);
        let line = line(&start, &values);
        let names: Vec<&str> = line.keys().map(String::as_str).collect();
        assert_eq!(names, ["current_steps", "total_steps", "percentage", "elapsed_time"]);
    }

    #[test]
    fn a_resumed_run_drops_the_lines_it_will_write_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = TrainerLog::open(dir.path(), 0).unwrap();
        for step in [10, 20, 30] {
            log.append(&Advance { step, ..advance() }, &BTreeMap::new()).unwrap();
        }
        let mut log = TrainerLog::open(dir.path(), 20).unwrap();
        log.append(&Advance { step: 25, ..advance() }, &BTreeMap::new()).unwrap();
        log.finish().unwrap();
        let text = fs_err::read_to_string(dir.path().join(FILE_NAME)).unwrap();
        let steps: Vec<u64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["current_steps"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(steps, [10, 20, 25]);
    }

    #[test]
    fn a_clock_counts_hours_beyond_a_day() {
        assert_eq!(clock(Duration::from_millis(59_999)), "0:00:59");
        assert_eq!(clock(Duration::from_secs(3_600 * 26 + 61)), "26:01:01");
    }
}
