//! A file of JSON objects, one a line, that is appended to and survives being cut short.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::Result;
use crate::model::tensor_file::write_failed;

/// An open file of lines.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: fs_err::File,
}

impl Lines {
    /// Opens the file and keeps the lines that `keep` accepts; a last line without an end, which a
    /// kill left, is dropped in any case.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn open(path: &Path, keep: impl Fn(&str) -> bool) -> Result<Self> {
        let failed = |source| write_failed(path, source);
        if path.is_file() {
            let text = fs_err::read(path)?;
            let kept = kept(&String::from_utf8_lossy(&text), keep);
            if kept.as_bytes() != text {
                let mut beside = path.as_os_str().to_owned();
                beside.push(".tmp");
                fs_err::write(&beside, kept).map_err(failed)?;
                fs_err::rename(&beside, path).map_err(failed)?;
            }
        }
        let file = fs_err::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { path: path.to_owned(), file: file.map_err(failed)? })
    }

    /// Appends one object, in one write, so that a reader never waits for the rest of a line.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn append(&mut self, object: &Map<String, Value>) -> Result<()> {
        let mut line = serde_json::to_vec(object)?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|source| write_failed(&self.path, source))
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|source| write_failed(&self.path, source))
    }
}

/// A number as JSON; one that JSON has no form for becomes its name, so that it is not lost.
pub fn number(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None if value > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

fn kept(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.filter(|line| keep(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_short_goes_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs_err::write(&path, "{\"a\":1}\n{\"a\":2}\n{\"a\":").unwrap();
        let mut lines = Lines::open(&path, |line| !line.contains('1')).unwrap();
        let mut object = Map::new();
        object.insert("b".into(), number(0.5));
        lines.append(&object).unwrap();
        lines.finish().unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "{\"a\":2}\n{\"b\":0.5}\n");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn numbers_without_a_form_in_json_keep_their_name() {
        let shown = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5].map(number);
        assert_eq!(shown, ["NaN".into(), "Infinity".into(), "-Infinity".into(), Value::from(1.5)]);
    }
}
