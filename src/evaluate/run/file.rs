//! A run's file: a header, then a line a turn. It can be gone on with after a kill.

use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Latency, RunHeader, RunRecord, TurnRecord};
use crate::error::{Error, Kind, Result};
use crate::model::tensor_file::write_failed;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    run: RunHeader,
    times: HeaderTimes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTimes {
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// Every other line. What differs from run to run stands under `times`, the last key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnLine {
    turn: TurnRecord,
    times: TurnTimes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnTimes {
    latency_ms: Latency,
}

/// A run that is being measured: it alone holds its file.
#[derive(Debug)]
pub struct RunFile {
    path: PathBuf,
    file: File,
    record: RunRecord,
    ids: BTreeSet<String>,
}

impl RunFile {
    /// Starts the file, or goes on with the one that is there: its whole turns are kept, a line
    /// that a kill cut short is dropped. `now` is written into a new file only.
    ///
    /// # Errors
    /// `eval_run_differs` with what differs between the file and `header`, `eval_run_damaged` with
    /// the line, `eval_run_busy` when another process has the file, `disk_full`, `disk_write`.
    pub fn open_or_resume(path: &Path, header: RunHeader, now: OffsetDateTime) -> Result<Self> {
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true).open(path);
        let mut file = opened.map_err(|source| write_failed(path, source))?;
        lock(path, &file)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = whole_lines(&bytes);
        let started = !whole.is_empty();
        let record = if started {
            gone_on_with(path, whole, &header)?
        } else {
            RunRecord { header, created_at: now, turns: Vec::new() }
        };
        let n_bytes = whole.len() as u64;
        let ids = record.turns.iter().map(|turn| turn.id.clone()).collect();
        let mut run = Self { path: path.to_owned(), file, record, ids };
        run.cut(n_bytes)?;
        if !started {
            run.write_header()?;
        }
        Ok(run)
    }

    /// The header and the turns that are there.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Whether the turn was measured already.
    pub fn has(&self, turn_id: &str) -> bool {
        self.ids.contains(turn_id)
    }

    /// Appends a turn, on the disk when this returns. Append in the suite's order, so that equal
    /// inputs give equal files.
    ///
    /// # Errors
    /// `eval_value` for a number that is not finite, `eval_turn_twice`, `disk_full`, `disk_write`.
    pub fn append(&mut self, turn: TurnRecord) -> Result<()> {
        turn.validate()?;
        if self.has(&turn.id) {
            return Err(twice(&self.path, &turn.id));
        }
        let times = TurnTimes { latency_ms: turn.latency_ms.clone() };
        let line = serde_json::to_vec(&TurnLine { turn, times })?;
        // What is kept is what the file will say: a number read may differ in its last bit.
        let kept = read_turn(&line)?;
        self.write_line(line)?;
        self.ids.insert(kept.id.clone());
        self.record.turns.push(kept);
        Ok(())
    }

    /// The run, whose file is let go.
    pub fn finish(self) -> RunRecord {
        self.record
    }

    fn write_header(&mut self) -> Result<()> {
        let times = HeaderTimes { created_at: self.record.created_at };
        let line = HeaderLine { run: self.record.header.clone(), times };
        self.write_line(serde_json::to_vec(&line)?)
    }

    /// Leaves the first `n_bytes` and stands behind them.
    fn cut(&mut self, n_bytes: u64) -> Result<()> {
        let failed = |source| write_failed(&self.path, source);
        self.file.set_len(n_bytes).map_err(failed)?;
        self.file.seek(SeekFrom::Start(n_bytes)).map_err(failed)?;
        Ok(())
    }

    fn write_line(&mut self, mut line: Vec<u8>) -> Result<()> {
        line.push(b'\n');
        let failed = |source| write_failed(&self.path, source);
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// Reads a run that may still be growing: a last line without an end is not looked at.
pub fn read(path: &Path) -> Result<RunRecord> {
    if !path.is_file() {
        return Err(Error::not_found(
            "eval_run_missing",
            format!("there is no run at {}; give the path of a run's file", path.display()),
        ));
    }
    let bytes = fs_err::read(path)?;
    parse(path, whole_lines(&bytes))
}

fn gone_on_with(path: &Path, whole: &[u8], header: &RunHeader) -> Result<RunRecord> {
    let record = parse(path, whole)?;
    match record.header.difference(header) {
        None => Ok(record),
        Some(difference) => Err(Error::new(
            Kind::Conflict,
            "eval_run_differs",
            format!(
                "{} holds another run ({difference}, the file's first); give another path or \
                 remove the file",
                path.display()
            ),
        )),
    }
}

fn parse(path: &Path, whole: &[u8]) -> Result<RunRecord> {
    let mut lines = whole.split_inclusive(|&byte| byte == b'\n').enumerate();
    let first = lines.next().map_or(&[][..], |(_, line)| line);
    let header: HeaderLine =
        serde_json::from_slice(first).map_err(|error| damaged(path, 1, error))?;
    let mut ids = BTreeSet::new();
    let mut turns = Vec::new();
    for (line_idx, line) in lines {
        let turn = read_turn(line).map_err(|error| damaged(path, line_idx + 1, error))?;
        if !ids.insert(turn.id.clone()) {
            return Err(twice(path, &turn.id));
        }
        turns.push(turn);
    }
    Ok(RunRecord { header: header.run, created_at: header.times.created_at, turns })
}

fn read_turn(line: &[u8]) -> serde_json::Result<TurnRecord> {
    let TurnLine { turn, times } = serde_json::from_slice(line)?;
    Ok(TurnRecord { latency_ms: times.latency_ms, ..turn })
}

/// Everything up to the last end of a line.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |idx| idx + 1);
    &bytes[..end]
}

fn lock(path: &Path, file: &File) -> Result<()> {
    match file.file().try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            Kind::Conflict,
            "eval_run_busy",
            format!("{} is being written by another process; wait for it", path.display()),
        )),
        Err(TryLockError::Error(source)) => Err(write_failed(path, source)),
    }
}

fn damaged(path: &Path, line: usize, error: serde_json::Error) -> Error {
    Error::new(
        Kind::Unusable,
        "eval_run_damaged",
        format!("line {line} of {} is no line of a run; remove the file", path.display()),
    )
    .caused_by(error)
}

fn twice(path: &Path, turn_id: &str) -> Error {
    Error::new(
        Kind::Unusable,
        "eval_turn_twice",
        format!("{} has the turn `{turn_id}` already; ids must differ", path.display()),
    )
}
