//! TensorBoard's event files. A file is a row of TFRecords, each one protobuf message `Event`; of
//! that message only what scalars need is written, by hand.
//!
//! A resumed run goes on in the file it began (decided 2026-11): readers that take one file for
//! one run, such as SwanLab's converter, then see one run. What the killed process logged beyond
//! the step it resumes from stays in the file, and a `SessionLog` of status START tells TensorBoard
//! to drop those points.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::model::tensor_file::write_failed;

/// How names of event files begin; TensorBoard looks for `tfevents` in them.
const FILE_PREFIX: &str = "events.out.tfevents.";
/// The first record of every file.
const FILE_VERSION: &str = "brain.Event:2";
/// Added to a rotated checksum, so that a checksum of checksums does not degenerate.
const MASK_DELTA: u32 = 0xa282_ead8;
/// Bytes around the data of a record: its length, the length's checksum, the data's checksum.
const LENGTH_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// An event file that is appended to.
#[derive(Debug)]
pub struct TensorBoardFile {
    path: PathBuf,
    file: fs_err::File,
}

impl TensorBoardFile {
    /// Starts the file of a new run in `dir`.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn create(dir: &Path, wall_time: f64) -> Result<Self> {
        fs_err::create_dir_all(dir).map_err(|source| write_failed(dir, source))?;
        let mut path = dir.join(file_name(wall_time as u64));
        // Two runs that one process starts within a second.
        for second in 1.. {
            if !path.exists() {
                break;
            }
            path = dir.join(file_name(wall_time as u64 + second));
        }
        let file = fs_err::OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(|source| write_failed(&path, source))?;
        let mut log = Self { path, file };
        log.append(&version_event(wall_time))?;
        Ok(log)
    }

    /// Goes on in the newest file of `dir` after `step`; starts one where there is none.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn resume(dir: &Path, step: u64, wall_time: f64) -> Result<Self> {
        let Some(path) = newest(dir)? else { return Self::create(dir, wall_time) };
        let bytes = fs_err::read(&path)?;
        let n_whole = whole_bytes(&bytes);
        if n_whole == 0 {
            return Self::create(dir, wall_time);
        }
        let failed = |source| write_failed(&path, source);
        let file = fs_err::OpenOptions::new().append(true).open(&path).map_err(failed)?;
        // A record that a kill cut short would hide all that follows.
        file.set_len(n_whole as u64).map_err(failed)?;
        let mut log = Self { path, file };
        log.append(&restart_event(wall_time, step + 1))?;
        Ok(log)
    }

    /// Appends one event with a scalar a tag. Values are stored as f32; NaN and infinities too.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn scalars(
        &mut self,
        wall_time: f64,
        step: u64,
        values: &BTreeMap<String, f64>,
    ) -> Result<()> {
        self.append(&scalars_event(wall_time, step, values))
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|source| write_failed(&self.path, source))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, event: &[u8]) -> Result<()> {
        // One call a record, so that a reader that follows the file seldom sees half of one.
        self.file.write_all(&record(event)).map_err(|source| write_failed(&self.path, source))
    }
}

/// The tag of a metric, as the Hugging Face trainers write it: `eval_loss` is `eval/loss`, all that
/// is not an evaluation is below `train/`.
pub fn tag(name: &str) -> String {
    match name.strip_prefix("eval_") {
        Some(rest) => format!("eval/{rest}"),
        None => format!("train/{name}"),
    }
}

/// A TFRecord: length, masked checksum of the length, data, masked checksum of the data, all
/// little-endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(data.len() + LENGTH_BYTES + 2 * CHECKSUM_BYTES);
    bytes.extend(length);
    bytes.extend(masked_checksum(&length).to_le_bytes());
    bytes.extend(data);
    bytes.extend(masked_checksum(data).to_le_bytes());
    bytes
}

/// CRC-32C, rotated right by 15 bits, plus a constant.
fn masked_checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA)
}

/// How many bytes from the start are whole records with right checksums.
fn whole_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = record_length(&bytes[at..]) {
        at += length;
    }
    at
}

fn record_length(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    let (checksum, rest) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
    if u32::from_le_bytes(*checksum) != masked_checksum(length) {
        return None;
    }
    let n_data = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let data = rest.get(..n_data)?;
    let checksum = rest[n_data..].first_chunk::<CHECKSUM_BYTES>()?;
    let is_right = u32::from_le_bytes(*checksum) == masked_checksum(data);
    is_right.then_some(LENGTH_BYTES + n_data + 2 * CHECKSUM_BYTES)
}

/// `Event { wall_time = 1, file_version = 3 }`.
fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    bytes_field(&mut event, 3, FILE_VERSION.as_bytes());
    event
}

/// `Event { wall_time = 1, step = 2, session_log = 7 { status = 1: START } }`.
fn restart_event(wall_time: f64, step: u64) -> Vec<u8> {
    const START: u64 = 1;
    let mut session = Vec::new();
    integer(&mut session, 1, START);
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    integer(&mut event, 2, step);
    bytes_field(&mut event, 7, &session);
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } … } }`.
fn scalars_event(wall_time: f64, step: u64, values: &BTreeMap<String, f64>) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, scalar) in values {
        let mut value = Vec::new();
        bytes_field(&mut value, 1, tag.as_bytes());
        float(&mut value, 2, *scalar as f32);
        bytes_field(&mut summary, 1, &value);
    }
    let mut event = Vec::new();
    double(&mut event, 1, wall_time);
    integer(&mut event, 2, step);
    bytes_field(&mut event, 5, &summary);
    event
}

/// Protobuf's wire types.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn integer(out: &mut Vec<u8>, field: u64, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, FIXED_64);
    out.extend(value.to_le_bytes());
}

fn float(out: &mut Vec<u8>, field: u64, value: f32) {
    key(out, field, FIXED_32);
    out.extend(value.to_le_bytes());
}

fn bytes_field(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, LENGTH_DELIMITED);
    varint(out, value.len() as u64);
    out.extend(value);
}

/// `events.out.tfevents.<unix seconds>.<host>.<pid>.0`.
fn file_name(unix_seconds: u64) -> String {
    format!("{FILE_PREFIX}{unix_seconds:010}.{}.{}.0", host(), std::process::id())
}

fn host() -> String {
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    let name: String = name.trim().chars().filter(is_plain).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// The event file that was begun last; the names begin with the second.
fn newest(dir: &Path) -> Result<Option<PathBuf>> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(FILE_PREFIX) {
            names.push(name);
        }
    }
    Ok(names.into_iter().max().map(|name| dir.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read with tensorboard 2.21: the tags and values of [`the_bytes_are_those_tensorboard_read`].
    const GOLDEN: &[u8] = include_bytes!("golden.tfevents");

    fn values(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    /// Before and after a kill; the point of step 300 is logged twice.
    fn write_golden(dir: &Path) -> PathBuf {
        let mut log = TensorBoardFile::create(dir, 1_700_000_000.25).unwrap();
        log.scalars(1_700_000_001.5, 1, &values(&[("train/loss", 2.5), ("eval/损失", -0.125)]))
            .unwrap();
        log.scalars(1_700_000_002.5, 300, &values(&[("train/loss", 9.0)])).unwrap();
        let path = log.path().to_owned();
        drop(log);
        let mut file = fs_err::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"\x10\0\0\0\0\0\0\0cut").unwrap();
        let mut log = TensorBoardFile::resume(dir, 299, 1_700_000_003.0).unwrap();
        assert_eq!(log.path(), path);
        log.scalars(1_700_000_004.5, 300, &values(&[("train/loss", 1e-3)])).unwrap();
        log.scalars(1_700_000_005.5, 301, &values(&[("train/loss", f64::NAN)])).unwrap();
        log.finish().unwrap();
        path
    }

    #[test]
    fn the_bytes_are_those_tensorboard_read() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = fs_err::read(write_golden(dir.path())).unwrap();
        if let Ok(target) = std::env::var("QUERENT_TEST_EXPORT_DIR") {
            fs_err::create_dir_all(&target).unwrap();
            fs_err::write(Path::new(&target).join("events.out.tfevents.golden"), &bytes).unwrap();
        }
        assert_eq!(bytes, GOLDEN);
        assert_eq!(whole_bytes(&bytes), bytes.len());
    }

    #[test]
    fn the_checksum_is_masked_crc_32c() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        // As the tensorboard package masks it.
        assert_eq!(masked_checksum(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn long_integers_take_several_bytes() {
        let mut out = Vec::new();
        integer(&mut out, 2, 300);
        integer(&mut out, 2, 128);
        integer(&mut out, 2, 127);
        assert_eq!(out, [0x10, 0xac, 0x02, 0x10, 0x80, 0x01, 0x10, 0x7f]);
    }

    #[test]
    fn a_damaged_record_ends_what_is_whole() {
        let mut bytes = record(b"one");
        let first = bytes.len();
        bytes.extend(record(b"two"));
        assert_eq!(whole_bytes(&bytes), 2 * first);
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(whole_bytes(&bytes), first);
        assert_eq!(whole_bytes(&bytes[..first - 1]), 0);
        assert_eq!(whole_bytes(&[0xff; 40]), 0);
    }

    #[test]
    fn two_runs_of_one_second_have_two_files_and_the_name_is_tensorboards() {
        let dir = tempfile::tempdir().unwrap();
        let first = TensorBoardFile::create(dir.path(), 1.7e9).unwrap();
        let second = TensorBoardFile::create(dir.path(), 1.7e9).unwrap();
        assert_ne!(first.path(), second.path());
        let name = first.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents.1700000000."), "{name}");
        assert!(name.ends_with(&format!(".{}.0", std::process::id())), "{name}");
        let resumed = TensorBoardFile::resume(dir.path(), 3, 1.8e9).unwrap();
        assert_eq!(resumed.path(), second.path());
    }

    #[test]
    fn tags_are_those_of_the_peers() {
        assert_eq!(tag("eval_loss"), "eval/loss");
        assert_eq!(tag("loss"), "train/loss");
        assert_eq!(tag("rewards/chosen"), "train/rewards/chosen");
    }
}
