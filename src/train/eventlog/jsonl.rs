//! `events.jsonl`: everything that happened, one object a line, in the order it happened. Nothing
//! is ever taken out of it: after a resume the steps that were lost stand there twice.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lines::{Lines, number};
use crate::error::{Error, Result};

const FILE_NAME: &str = "events.jsonl";
/// The kind of the lines with a step's numbers.
const SCALARS: &str = "scalars";

/// The open file.
#[derive(Debug)]
pub struct EventLines {
    lines: Lines,
}

impl EventLines {
    /// Opens or starts the file in `dir`.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { lines: Lines::open(&dir.join(FILE_NAME), |_| true)? })
    }

    /// A step's numbers, under their own names.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn scalars(
        &mut self,
        time: OffsetDateTime,
        step: u64,
        values: &BTreeMap<String, f64>,
    ) -> Result<()> {
        let fields = values.iter().map(|(name, value)| (name.clone(), number(*value))).collect();
        self.event(time, step, SCALARS, fields)
    }

    /// Something else that happened at a step. The fields `time`, `kind` and `step` are the
    /// line's own.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn event(
        &mut self,
        time: OffsetDateTime,
        step: u64,
        kind: &str,
        fields: Map<String, Value>,
    ) -> Result<()> {
        let time = time.format(&Rfc3339).map_err(|error| Error::failed("tell the time", error))?;
        let mut line = Map::new();
        line.insert("time".into(), time.into());
        line.insert("kind".into(), kind.into());
        line.insert("step".into(), step.into());
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
        self.lines.append(&line)
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn finish(self) -> Result<()> {
        self.lines.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_kind_step_and_its_fields() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventLines::open(dir.path()).unwrap();
        let time = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let values = BTreeMap::from([("loss".into(), 0.5), ("grad_norm".into(), f64::NAN)]);
        events.scalars(time, 3, &values).unwrap();
        let rows = serde_json::json!({"rows": [1, 2], "step": "not this one"});
        events.event(time, 4, "skipped_batch", rows.as_object().unwrap().clone()).unwrap();
        // Each line is there at once, not only after `finish`.
        let text = fs_err::read_to_string(dir.path().join("events.jsonl")).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"time":"2023-11-14T22:13:20Z","kind":"scalars","step":3,"grad_norm":"NaN","loss":0.5}"#,
                "\n",
                r#"{"time":"2023-11-14T22:13:20Z","kind":"skipped_batch","step":4,"rows":[1,2]}"#,
                "\n"
            )
        );
    }
}
