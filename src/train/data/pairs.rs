//! Queries with passages that answer them and passages that do not, for the embedder.

use serde_json::Value;

use super::fields::{Fields, filled_text, kind_of, listed, present, text};
use super::passages::Passages;
use super::rows::{Pair, Row, RowSource};

const QUERY_KEYS: [&str; 2] = ["query", "anchor"];
const POSITIVE_KEYS: [&str; 3] = ["positive", "positives", "pos"];
const NEGATIVE_KEYS: [&str; 3] = ["negative", "negatives", "neg"];

/// Whether a row has the keys of a pair.
pub fn fits(row: &Fields) -> bool {
    let has = |keys: &[&str]| keys.iter().any(|key| row.contains_key(*key));
    has(&QUERY_KEYS) && has(&POSITIVE_KEYS)
}

/// The pair of a row. With `passages`, what the row names are their ids.
pub fn row(row: &Fields, source: &RowSource, passages: Option<&Passages>) -> Result<Row, String> {
    let query = QUERY_KEYS.into_iter().find(|key| row.contains_key(*key)).unwrap_or("query");
    let query = filled_text(row, query)?.to_owned();
    let mut positives = Vec::new();
    for key in POSITIVE_KEYS {
        read(row, key, passages, &mut positives)?;
    }
    if positives.is_empty() {
        return Err("it has no positive passage".to_owned());
    }
    let mut negatives = Vec::new();
    for key in row.keys().filter(|key| is_negative(key)) {
        read(row, key, passages, &mut negatives)?;
    }
    if negatives.iter().any(|negative| positives.contains(negative)) {
        return Err("one of its passages is both a positive and a negative".to_owned());
    }
    Ok(Row::Pair(Pair { query, positives, negatives, source: source.clone() }))
}

/// Columns of several hard negatives are numbered: `negative_1`, `negative_2`.
fn is_negative(key: &str) -> bool {
    NEGATIVE_KEYS.contains(&key)
        || key.strip_prefix("negative_").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Adds the passages under a key: one, or a list.
fn read(
    row: &Fields,
    key: &str,
    passages: Option<&Passages>,
    into: &mut Vec<String>,
) -> Result<(), String> {
    let items = match present(row, key) {
        None => return Ok(()),
        Some(Value::Array(items)) => items.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    for item in items {
        let passage = match passages {
            Some(passages) => passages.named(item),
            None => passage(item),
        };
        into.push(passage.map_err(|reason| format!("`{key}`: {reason}"))?);
    }
    Ok(())
}

/// A passage as it is embedded: a string, an object with `text` and perhaps `title`, or a list of
/// title and text.
fn passage(item: &Value) -> Result<String, String> {
    match item {
        Value::String(text) => embedded("", text),
        Value::Object(passage) => {
            let title = text(passage, "title")?.unwrap_or_default();
            embedded(title, filled_text(passage, "text")?)
        }
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(title), Value::String(text)] => embedded(title, text),
            _ => Err("a passage that is a list must be a title and a text".to_owned()),
        },
        other => Err(format!("a passage must be a string or an object, it is {}", kind_of(other))),
    }
}

/// Title and text, one under the other; an empty title leaves the text alone.
pub fn embedded(title: &str, text: &str) -> Result<String, String> {
    match (title.trim().is_empty(), text.trim().is_empty()) {
        (_, true) => Err("a passage is empty".to_owned()),
        (true, false) => Ok(text.to_owned()),
        (false, false) => Ok(format!("{title}\n{text}")),
    }
}

/// The keys that a pair can have, for messages.
pub fn wanted() -> String {
    let keys = QUERY_KEYS.into_iter().chain(POSITIVE_KEYS).chain(NEGATIVE_KEYS);
    listed(keys)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_pair(fields: Value) -> Result<Pair, String> {
        let source = RowSource { file: "x".into(), line: 1 };
        match row(fields.as_object().unwrap(), &source, None)? {
            Row::Pair(pair) => Ok(pair),
            _ => unreachable!(),
        }
    }

    #[test]
    fn passages_are_strings_objects_or_title_and_text() {
        let pair = read_pair(json!({
            "query": "q",
            "positives": ["a", { "title": "T", "text": "b" }, { "title": "", "text": "c" }, ["U", "d"]],
            "negative": { "text": "e" },
        }))
        .unwrap();
        assert_eq!(pair.positives, ["a", "T\nb", "c", "U\nd"]);
        assert_eq!(pair.negatives, ["e"]);
    }

    #[test]
    fn the_names_of_others_are_known() {
        let pair = read_pair(json!({ "query": "q", "pos": ["a"], "neg": ["b"] })).unwrap();
        assert_eq!((pair.positives, pair.negatives), (vec!["a".into()], vec!["b".into()]));
        let pair = read_pair(json!({ "anchor": "q", "positive": "a", "negative_1": "b",
            "negative_2": "c", "negative_words": "d" }))
        .unwrap();
        assert_eq!((pair.query.as_str(), pair.negatives), ("q", vec!["b".into(), "c".into()]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (fields, expected) in [
            (json!({ "positive": "a" }), "it has no `query`"),
            (json!({ "query": "", "positive": "a" }), "`query` is empty"),
            (json!({ "query": "q", "positives": [] }), "it has no positive passage"),
            (json!({ "query": "q", "positive": " " }), "`positive`: a passage is empty"),
            (json!({ "query": "q", "positive": 3 }), "`positive`: a passage must be"),
            (json!({ "query": "q", "positive": { "title": "T" } }), "`positive`: it has no `text`"),
            (json!({ "query": "q", "positive": [["a"]] }), "`positive`: a passage that is a list"),
            (
                json!({ "query": "q", "positive": "a", "negatives": ["b", "a"] }),
                "one of its passages is both",
            ),
        ] {
            let reason = read_pair(fields).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }
}
