//! `{history, query, rewrite}`, one a line: this project's own rows, and what many sets are
//! converted to. `id`, `lang`, `kind`, `conversation` and `context` (facts) may be beside them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Set, alternating, id_text, objects};
use crate::rewrite::conversation::Role;
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct Row {
    id: Option<Value>,
    conversation: Option<String>,
    lang: Option<String>,
    kind: Option<String>,
    history: Vec<Turn>,
    query: String,
    rewrite: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Turn {
    Text(String),
    Message { role: String, content: String },
}

pub fn parse(text: &str) -> Result<Set, String> {
    let rows: Vec<Row> = objects(text)?;
    let turns = rows.into_iter().enumerate().map(|(idx, row)| turn(idx, row));
    Ok(Set { turns: turns.collect(), documents: Vec::new() })
}

fn turn(idx: usize, row: Row) -> SuiteTurn {
    let slices = [("lang", row.lang), ("kind", row.kind)];
    let slices = slices.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    SuiteTurn {
        id: row.id.as_ref().map_or_else(|| format!("row-{}", idx + 1), id_text),
        conversation: row.conversation,
        slices: slices.collect(),
        history: history(row.history),
        query: row.query,
        facts: row.context,
        golds: row.rewrite.into_iter().collect(),
        ..SuiteTurn::default()
    }
}

/// Turns without roles are by question and answer where they come in pairs; an odd number of them
/// cannot be, and is taken for the person's own.
fn history(turns: Vec<Turn>) -> Vec<(Role, String)> {
    let is_paired = turns.len().is_multiple_of(2);
    let mut texts = Vec::new();
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Turn::Text(text) => texts.push(text),
            Turn::Message { role, content } => {
                let role = if role == "assistant" { Role::Assistant } else { Role::User };
                messages.push((role, content));
            }
        }
    }
    if is_paired {
        messages.extend(alternating(texts));
    } else {
        messages.extend(texts.into_iter().map(|text| (Role::User, text)));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_alternate_and_an_odd_number_is_the_persons() {
        let text = r#"{"id":7,"lang":"en","kind":"ellipsis","history":["q","a"],"query":"and it?","rewrite":"and the lamp?","context":{"place":"Ningbo"}}
{"history":["one","two","three"],"query":"four"}
{"history":[{"role":"assistant","content":"hi"}],"query":"three","rewrite":"four"}"#;
        let turns = parse(text).unwrap().turns;
        assert_eq!((turns[0].id.as_str(), turns[0].slices["kind"].as_str()), ("7", "ellipsis"));
        let roles =
            |idx: usize| turns[idx].history.iter().map(|(role, _)| *role).collect::<Vec<_>>();
        assert_eq!(roles(0), [Role::User, Role::Assistant]);
        assert_eq!((roles(1), roles(2)), (vec![Role::User; 3], vec![Role::Assistant]));
        assert_eq!(
            (turns[0].golds[0].as_str(), turns[0].facts["place"].as_str()),
            ("and the lamp?", "Ningbo")
        );
        assert_eq!((turns[1].id.as_str(), turns[1].golds.len()), ("row-2", 0));
    }
}
