//! Files to JSON objects with their line numbers. JSONL is read line by line, a JSON array whole.
//! A bad line of JSONL is one bad row; a JSON array that cannot be parsed is an error, because
//! nobody can tell where its next row would begin.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::kind_of;
use crate::error::{Error, Result};

/// Longest row. What is longer is no row to train on but a file without line ends.
pub const MAX_ROW_BYTES: usize = 1 << 20;

/// Largest file with one JSON array, which is held in memory whole.
const MAX_ARRAY_BYTES: u64 = 2 << 30;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One row of a file.
#[derive(Debug, PartialEq)]
pub struct RawRow {
    /// 1-based line, or the 1-based index in a JSON array.
    pub line: usize,
    /// The row's fields, or why it has none.
    pub fields: Result<Map<String, Value>, String>,
}

/// Gives every row of a JSONL file, or of a file with one JSON array, to `each`.
///
/// # Errors
/// `data_file_missing`, `data_file_empty`, and `data_file_invalid` for an array that is no JSON.
pub fn read_rows(path: &Path, each: &mut dyn FnMut(RawRow)) -> Result<()> {
    let mut reader = open(path)?;
    let (first, n_lines_before) = skip_blank(&mut reader)?;
    let n_rows = match first {
        Some(b'[') => read_array(path, reader, n_lines_before, each)?,
        _ => read_lines(reader, n_lines_before, each)?,
    };
    if n_rows == 0 {
        let message = format!("the data file {} has no rows", path.display());
        return Err(Error::invalid("data_file_empty", message));
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<fs_err::File>> {
    match fs_err::File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no data file {}", path.display());
            Err(Error::not_found("data_file_missing", message))
        }
        Err(cause) => Err(cause.into()),
    }
}

/// Skips a byte order mark and white space: the first byte of substance, and the line ends
/// before it.
fn skip_blank(reader: &mut impl BufRead) -> Result<(Option<u8>, usize)> {
    if reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let mut n_lines = 0;
    loop {
        match reader.fill_buf()?.first().copied() {
            Some(byte) if byte.is_ascii_whitespace() => {
                n_lines += usize::from(byte == b'\n');
                reader.consume(1);
            }
            first => return Ok((first, n_lines)),
        }
    }
}

fn read_lines(
    mut reader: impl BufRead,
    n_lines_before: usize,
    each: &mut dyn FnMut(RawRow),
) -> Result<usize> {
    let (mut line, mut bytes, mut n_rows) = (n_lines_before, Vec::new(), 0);
    while next_line(&mut reader, &mut bytes)? {
        line += 1;
        if !bytes.trim_ascii().is_empty() {
            n_rows += 1;
            each(RawRow { line, fields: parse_line(&bytes) });
        }
    }
    Ok(n_rows)
}

/// The next line, or its first bytes up to one more than a row may have. False at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> Result<bool> {
    line.clear();
    let mut is_line = false;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(is_line);
        }
        is_line = true;
        let end = available.iter().position(|&byte| byte == b'\n');
        let n_bytes = end.unwrap_or(available.len());
        let n_wanted = n_bytes.min(MAX_ROW_BYTES + 1 - line.len());
        line.extend_from_slice(&available[..n_wanted]);
        reader.consume(n_bytes + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(true);
        }
    }
}

fn parse_line(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    if bytes.len() > MAX_ROW_BYTES {
        return Err(too_long());
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|cause| format!("it is not UTF-8 from byte {} on", cause.valid_up_to() + 1))?;
    let value = serde_json::from_str(text).map_err(|cause| {
        format!("it is not valid JSON: {} at column {}", bare(&cause), cause.column())
    })?;
    object(value)
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("a row must be a JSON object, this is {}", kind_of(&other))),
    }
}

fn too_long() -> String {
    format!("it is longer than {MAX_ROW_BYTES} bytes, the most that a row may have")
}

/// The message without the position, which counts within the line only.
fn bare(cause: &serde_json::Error) -> String {
    let message = cause.to_string();
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

fn read_array(
    path: &Path,
    reader: BufReader<fs_err::File>,
    n_lines_before: usize,
    each: &mut dyn FnMut(RawRow),
) -> Result<usize> {
    let mut bytes = Vec::new();
    reader.take(MAX_ARRAY_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_ARRAY_BYTES {
        let message = format!(
            "{} is a JSON array of more than {MAX_ARRAY_BYTES} bytes: convert it to JSONL, which is read line by line",
            path.display()
        );
        return Err(Error::invalid("data_file_invalid", message));
    }
    let mut parser = serde_json::Deserializer::from_slice(&bytes);
    let n_rows = parser.deserialize_seq(Elements { each });
    n_rows.and_then(|n_rows| parser.end().map(|()| n_rows)).map_err(|cause| {
        let line = cause.line() + n_lines_before;
        let message = format!(
            "{} is not valid JSON: {} at line {line}, column {}",
            path.display(),
            bare(&cause),
            cause.column()
        );
        Error::invalid("data_file_invalid", message)
    })
}

/// Hands over the elements of an array one by one, so that only one is held as a value.
struct Elements<'a> {
    each: &'a mut dyn FnMut(RawRow),
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<usize, A::Error> {
        let mut n_rows = 0;
        while let Some(value) = elements.next_element::<Value>()? {
            n_rows += 1;
            let fields = if is_too_long(&value) { Err(too_long()) } else { object(value) };
            (self.each)(RawRow { line: n_rows, fields });
        }
        Ok(n_rows)
    }
}

/// Whether the value, written without spaces, is longer than a row may be.
fn is_too_long(value: &Value) -> bool {
    serde_json::to_writer(Room(MAX_ROW_BYTES), value).is_err()
}

/// A writer that fails when its room is used up.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bytes: &[u8]) -> Result<Vec<RawRow>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.jsonl");
        fs_err::write(&path, bytes).unwrap();
        let mut rows = Vec::new();
        read_rows(&path, &mut |row| rows.push(row))?;
        Ok(rows)
    }

    fn lines(rows: &[RawRow]) -> Vec<usize> {
        rows.iter().map(|row| row.line).collect()
    }

    fn reason(row: &RawRow) -> &str {
        row.fields.as_ref().unwrap_err()
    }

    #[test]
    fn lines_are_counted_with_blank_ones_and_a_byte_order_mark_is_skipped() {
        let rows = rows(b"\xef\xbb\xbf\n{\"a\": 1}\r\n\n  \n{\"b\": 2}").unwrap();
        assert_eq!(lines(&rows), [2, 5]);
        assert_eq!(rows[1].fields.as_ref().unwrap()["b"], 2);
    }

    #[test]
    fn an_array_gives_indices() {
        let rows = rows(b"\xef\xbb\xbf \n [{\"a\": 1},\n {\"a\": 2}, 3]\n").unwrap();
        assert_eq!(lines(&rows), [1, 2, 3]);
        assert_eq!(reason(&rows[2]), "a row must be a JSON object, this is a number");
    }

    #[test]
    fn a_bad_line_is_one_bad_row() {
        let rows = rows(b"{\"a\": 1}\n{\"a\" 2}\n{\"a\": \"\xff\"}\n[1]\n{\"a\": 3}\n").unwrap();
        assert_eq!(lines(&rows), [1, 2, 3, 4, 5]);
        assert_eq!(reason(&rows[1]), "it is not valid JSON: expected `:` at column 6");
        assert_eq!(reason(&rows[2]), "it is not UTF-8 from byte 8 on");
        assert_eq!(reason(&rows[3]), "a row must be a JSON object, this is a list");
        assert!(rows[4].fields.is_ok());
    }

    #[test]
    fn a_bad_array_is_an_error_with_its_line() {
        let error = rows(b"\n[{\"a\": 1},\n{\"a\" 2}]").unwrap_err();
        assert_eq!(error.code, "data_file_invalid");
        assert!(error.message.ends_with("expected `:` at line 3, column 6"), "{error}");
        let error = rows(b"[{\"a\": 1}]\n[{\"a\": 1}]").unwrap_err();
        assert!(error.message.contains("trailing characters at line 2"), "{error}");
        assert!(rows(b"[{\"a\": \"\xff\"}]").is_err());
    }

    #[test]
    fn a_row_has_at_most_a_mebibyte() {
        let frame = "{\"a\":\"\"}".len();
        let row = |n_bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n_bytes - frame));
        let (fits, too_long) = (row(MAX_ROW_BYTES), row(MAX_ROW_BYTES + 1));
        for text in [format!("{fits}\n{too_long}\n{fits}"), format!("[{fits},{too_long},{fits}]")] {
            let rows = rows(text.as_bytes()).unwrap();
            assert_eq!(lines(&rows), [1, 2, 3]);
            assert!(rows[0].fields.is_ok() && rows[2].fields.is_ok());
            assert!(reason(&rows[1]).starts_with("it is longer than 1048576 bytes"));
        }
    }

    #[test]
    fn a_file_without_rows_and_a_missing_one_are_errors() {
        for bytes in [&b""[..], b"\xef\xbb\xbf\n \n", b" []\n"] {
            assert_eq!(rows(bytes).unwrap_err().code, "data_file_empty");
        }
        let error = read_rows(Path::new("/nowhere/x.jsonl"), &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "there is no data file /nowhere/x.jsonl");
    }
}
