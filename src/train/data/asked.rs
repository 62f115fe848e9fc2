//! Conversations for training by reward: `{history, query, relevant}`, where `relevant` (or
//! `positive`) names the documents that answer, by id.

use serde_json::Value;

use super::ReadOptions;
use super::fields::{Fields, filled_text, kind_of, present, required_flag};
use super::rewrite;
use super::rows::{Asked, Row, RowSource};

/// The row that a conversation gives.
pub fn row(row: &Fields, source: &RowSource, options: &ReadOptions) -> Result<Row, String> {
    let history = match present(row, "history") {
        None => Vec::new(),
        Some(_) => rewrite::history(row, options)?,
    };
    let is_complete = match present(row, "complete") {
        None => None,
        Some(_) => Some(required_flag(row, "complete")?),
    };
    Ok(Row::Asked(Asked {
        history,
        query: filled_text(row, "query")?.to_owned(),
        relevant: relevant(row)?,
        is_complete,
        source: source.clone(),
    }))
}

/// Ids are texts; a single one may stand without a list.
fn relevant(row: &Fields) -> Result<Vec<String>, String> {
    let name = if row.contains_key("relevant") { "relevant" } else { "positive" };
    let ids = match present(row, name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.as_slice(),
        Some(id) => std::slice::from_ref(id),
    };
    let text = |id: &Value| match id {
        Value::String(id) if !id.is_empty() => Ok(id.clone()),
        other => Err(format!("`{name}` must hold ids of documents, it has {}", kind_of(other))),
    };
    ids.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: &Value) -> Result<Asked, String> {
        let source = RowSource { file: "x".into(), line: 1 };
        match row(fields.as_object().unwrap(), &source, &ReadOptions::default())? {
            Row::Asked(row) => Ok(row),
            _ => unreachable!(),
        }
    }

    #[test]
    fn documents_are_named_in_a_list_or_alone() {
        let row = read(&json!({ "history": ["a"], "query": "q", "relevant": ["d1", "d2"] }));
        let row = row.unwrap();
        assert_eq!((row.history.len(), row.relevant.len(), row.is_complete), (1, 2, None));
        let row = read(&json!({ "query": "q", "positive": "d1", "complete": true })).unwrap();
        assert_eq!((row.relevant, row.is_complete), (vec!["d1".to_owned()], Some(true)));
        assert!(read(&json!({ "query": "q" })).unwrap().relevant.is_empty());
    }

    #[test]
    fn what_is_no_id_is_said() {
        let reason = read(&json!({ "query": "q", "relevant": [3] })).unwrap_err();
        assert_eq!(reason, "`relevant` must hold ids of documents, it has a number");
        assert!(read(&json!({ "query": "q", "complete": "yes" })).is_err());
    }
}
