//! Passages in a file of their own: `x_passages.jsonl` beside `x_queries.jsonl`, whose rows name
//! them by id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::fields::{Fields, filled_text, kind_of, text};
use super::pairs::embedded;
use super::report::ReadReport;
use super::rows::RowSource;
use super::source::read_rows;
use crate::error::Result;

const QUERIES: &str = "_queries.jsonl";
const PASSAGES: &str = "_passages.jsonl";

/// Passages as they are embedded, by id.
#[derive(Debug, Default)]
pub struct Passages {
    by_id: HashMap<String, String>,
}

/// The file of passages that belongs to a file of queries, there or not.
pub fn passages_of(queries: &Path) -> Option<PathBuf> {
    sibling(queries, QUERIES, PASSAGES)
}

/// The file of queries that belongs to a file of passages, there or not.
pub fn queries_of(passages: &Path) -> Option<PathBuf> {
    sibling(passages, PASSAGES, QUERIES)
}

fn sibling(path: &Path, ending: &str, other: &str) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix(ending)?;
    Some(path.with_file_name(format!("{stem}{other}")))
}

impl Passages {
    /// Reads the passages of a file; bad ones are reported.
    ///
    /// # Errors
    /// Those of [`read_rows`].
    pub fn load(path: &Path, report: &mut ReadReport) -> Result<Self> {
        let file: Arc<str> = path.to_string_lossy().into();
        let mut passages = Self::default();
        read_rows(path, &mut |row| {
            report.counts(&file).n_read += 1;
            let added = row.fields.and_then(|fields| passages.add(&fields));
            match added {
                Ok(()) => report.counts(&file).n_used += 1,
                Err(reason) => {
                    report.reject(RowSource { file: Arc::clone(&file), line: row.line }, reason);
                }
            }
        })?;
        Ok(passages)
    }

    fn add(&mut self, row: &Fields) -> Result<(), String> {
        let id = filled_text(row, "id")?;
        let title = text(row, "title")?.unwrap_or_default();
        let passage = embedded(title, filled_text(row, "text")?)?;
        if self.by_id.contains_key(id) {
            return Err(format!("the id `{id}` is taken by an earlier passage"));
        }
        self.by_id.insert(id.to_owned(), passage);
        Ok(())
    }

    /// The passage with an id.
    pub fn named(&self, id: &Value) -> Result<String, String> {
        let Value::String(id) = id else {
            return Err(format!("a passage's id must be a string, it is {}", kind_of(id)));
        };
        self.by_id.get(id).cloned().ok_or_else(|| format!("there is no passage with the id `{id}`"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passages_are_found_by_id_and_bad_ones_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x_passages.jsonl");
        let lines = [
            json!({ "id": "a", "title": "T", "text": "one" }),
            json!({ "id": "b", "title": "", "text": "two" }),
            json!({ "id": "a", "text": "three" }),
            json!({ "id": "c", "text": "" }),
        ];
        fs_err::write(&path, lines.map(|line| line.to_string()).join("\n")).unwrap();
        let mut report = ReadReport::default();
        let passages = Passages::load(&path, &mut report).unwrap();
        assert_eq!(passages.named(&json!("a")).unwrap(), "T\none");
        assert_eq!(passages.named(&json!("b")).unwrap(), "two");
        assert_eq!(passages.named(&json!("c")).unwrap_err(), "there is no passage with the id `c`");
        assert!(passages.named(&json!(1)).is_err());
        let reasons: Vec<_> =
            report.rejected.iter().map(|row| (row.source.line, row.reason.as_str())).collect();
        let expected = [(3, "the id `a` is taken by an earlier passage"), (4, "`text` is empty")];
        assert_eq!(reasons, expected);
        assert_eq!((report.files[0].n_read, report.files[0].n_used), (4, 2));
    }

    #[test]
    fn files_belong_together_by_name() {
        let (queries, passages) = (Path::new("d/x_queries.jsonl"), Path::new("d/x_passages.jsonl"));
        assert_eq!(passages_of(queries).as_deref(), Some(passages));
        assert_eq!(queries_of(passages).as_deref(), Some(queries));
        assert_eq!(passages_of(passages), None);
    }
}
