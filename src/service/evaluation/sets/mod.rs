//! Public sets in the forms in which their publishers, or people who converted them, give them.
//!
//! What a set does not say is not measured: without rewrites there is no BLEU, without documents
//! no nDCG. Where a set gives passages but no collection of them (SQuAD, TopiOCQA, MTRAG), the
//! passages of its file are what is searched in, which is easier than searching in all of a
//! publisher's collection: compare such runs with one another only.

mod beir;
mod canard;
mod cast;
mod mtrag;
mod qrecc;
mod restore;
mod rows;
mod squad;
mod topiocqa;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::suite::{Suite, SuiteDocument, SuiteTurn};
use crate::error::{Error, Kind, Result};
use crate::rewrite::conversation::Role;

/// What one file gives.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub turns: Vec<SuiteTurn>,
    pub documents: Vec<SuiteDocument>,
}

type Parse = fn(&str) -> Result<Set, String>;

const FORMS: [(&str, Parse); 8] = [
    ("rows", rows::parse),
    ("canard", canard::parse),
    ("qrecc", qrecc::parse),
    ("cast", cast::parse),
    ("topiocqa", topiocqa::parse),
    ("mtrag", mtrag::parse),
    ("restore", restore::parse),
    ("squad", squad::parse),
];

/// Reads a set by its form; `auto` looks at the data to find it.
///
/// # Errors
/// `set_form` for a form that is none, or cannot be told; `set_damaged` with the place.
pub fn open(form: &str, data: &Path) -> Result<Suite> {
    let damaged = |reason: String| {
        let message = format!("{} cannot be read as `{form}`: {reason}", data.display());
        Error::new(Kind::Unusable, "set_damaged", message)
    };
    if data.is_dir() || form == "beir" {
        let (set, sha256) = beir::read(data).map_err(damaged)?;
        return Ok(suite("beir", data, set, sha256));
    }
    let bytes = fs_err::read(data)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| damaged(error.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    let name = match form {
        "auto" => form_of(text).ok_or_else(|| {
            unknown(&format!("{} is of no form that can be told", data.display()))
        })?,
        name => name,
    };
    let Some((name, parse)) = FORMS.iter().find(|(own, _)| *own == name) else {
        return Err(unknown(&format!("no form is called `{form}`")));
    };
    let set = parse(text).map_err(damaged)?;
    Ok(suite(name, data, set, hex(&Sha256::digest(&bytes))))
}

fn suite(form: &str, data: &Path, set: Set, sha256: String) -> Suite {
    let stem = data.file_stem().unwrap_or_default().to_string_lossy();
    let primary = if set.documents.is_empty() { "bleu4" } else { "ndcg@10" };
    let mut turns: Vec<SuiteTurn> = set.turns.into_iter().map(SuiteTurn::with_language).collect();
    number_twins(&mut turns);
    Suite {
        name: format!("{form}-{stem}"),
        primary: primary.to_owned(),
        documents: set.documents,
        glossary: Vec::new(),
        turns,
        sha256,
    }
}

/// Ids that a set uses more than once get a number: a run tells its turns apart by them.
fn number_twins(turns: &mut [SuiteTurn]) {
    let mut seen: std::collections::BTreeMap<String, usize> = Default::default();
    for turn in turns {
        let n = seen.entry(turn.id.clone()).or_default();
        *n += 1;
        if *n > 1 {
            turn.id = format!("{}#{n}", turn.id);
        }
    }
}

fn unknown(reason: &str) -> Error {
    let names: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
    Error::invalid("set_form", format!("{reason}; there are {}, beir", names.join(", ")))
}

/// The form that the data has by the names of its fields.
fn form_of(text: &str) -> Option<&'static str> {
    let first = first_object(text);
    let Some(first) = first else {
        let is_table = text.lines().next().is_some_and(|line| line.matches('\t').count() >= 2);
        return is_table.then_some("restore");
    };
    let has = |names: &[&str]| names.iter().all(|name| first.get(*name).is_some());
    [
        ("rows", &["history", "query", "rewrite"][..]),
        ("canard", &["History", "QuAC_dialog_id", "Question"]),
        ("topiocqa", &["Context", "Question", "Gold_passage"]),
        ("qrecc", &["Context", "Question", "Conversation_no"]),
        ("cast", &["number", "turn"]),
        ("mtrag", &["input", "contexts"]),
        ("squad", &["data"]),
    ]
    .into_iter()
    .find_map(|(form, names)| has(names).then_some(form))
}

/// The first object of a list, of lines, or the one that is all.
fn first_object(text: &str) -> Option<Value> {
    let start = text.trim_start();
    if start.starts_with('[') {
        let all: Vec<Value> = serde_json::from_str(text).ok()?;
        return all.into_iter().next();
    }
    if !start.starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    values.next()?.ok()
}

/// The objects of a JSON list, or of lines.
fn objects<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(idx, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", idx + 1))
        })
        .collect()
}

/// Turns by question and answer, the first a question.
fn alternating(texts: impl IntoIterator<Item = String>) -> Vec<(Role, String)> {
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    // An answer that is missing leaves its place.
    roles.zip(texts).filter(|(_, text)| !text.trim().is_empty()).collect()
}

/// A number or a text, as ids come.
fn id_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A passage as a document.
fn passage(id: String, title: Option<String>, text: String) -> SuiteDocument {
    let title = title.filter(|title| !title.trim().is_empty());
    SuiteDocument { id, title, media_type: "text/plain", content: text.into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_told_by_its_fields() {
        for (text, form) in [
            (r#"{"history":[],"query":"q","rewrite":"r"}"#, "rows"),
            (r#"[{"History":[],"QuAC_dialog_id":"d","Question":"q"}]"#, "canard"),
            (r#"[{"Context":[],"Question":"q","Conversation_no":1}]"#, "qrecc"),
            (
                r#"[{"Context":[],"Question":"q","Conversation_no":1,"Gold_passage":{}}]"#,
                "topiocqa",
            ),
            (r#"[{"number":31,"turn":[]}]"#, "cast"),
            (r#"{"input":[],"contexts":[]}"#, "mtrag"),
            ("{\"data\":[\n]}", "squad"),
            ("a\tb\tc", "restore"),
        ] {
            assert_eq!(form_of(text), Some(form), "{text}");
        }
        assert_eq!(form_of(r#"{"x":1}"#), None);
    }

    #[test]
    fn twins_are_told_apart_and_wrong_data_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dev.jsonl");
        let row = r#"{"id":"1","history":["a"],"query":"那呢","rewrite":"r"}"#;
        fs_err::write(&file, format!("{row}\n{row}\n")).unwrap();
        let suite = open("auto", &file).unwrap();
        assert_eq!((suite.name.as_str(), suite.primary.as_str()), ("rows-dev", "bleu4"));
        assert_eq!(
            (suite.turns[1].id.as_str(), suite.turns[1].slices["lang"].as_str()),
            ("1#2", "zh")
        );
        assert_eq!(open("nothing", &file).unwrap_err().code, "set_form");
        fs_err::write(&file, format!("{row}\n{{\"query\":1}}\n")).unwrap();
        let error = open("rows", &file).unwrap_err();
        assert_eq!(error.code, "set_damaged");
        assert!(error.message.contains("line 2"), "{error}");
    }
}
