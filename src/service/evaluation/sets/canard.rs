//! CANARD (Elgohary et al. 2019): `History` begins with the article's title and section, then goes
//! on by question and answer.

use serde::Deserialize;

use super::{Set, alternating, objects};
use crate::rewrite::conversation::Role;
use crate::service::evaluation::suite::SuiteTurn;

/// The title and the section.
const N_HEADINGS: usize = 2;

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "History")]
    history: Vec<String>,
    #[serde(rename = "QuAC_dialog_id")]
    dialog: String,
    #[serde(rename = "Question")]
    question: String,
    #[serde(rename = "Question_no")]
    number: u32,
    #[serde(rename = "Rewrite")]
    rewrite: String,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let rows: Vec<Row> = objects(text)?;
    Ok(Set { turns: rows.into_iter().map(turn).collect(), documents: Vec::new() })
}

fn turn(row: Row) -> SuiteTurn {
    let mut headings = row.history;
    let turns = headings.split_off(N_HEADINGS.min(headings.len()));
    let mut history = Vec::new();
    if !headings.is_empty() {
        // What the asker was shown before the first question.
        history.push((Role::Assistant, headings.join(": ")));
    }
    history.extend(alternating(turns));
    SuiteTurn {
        id: format!("{}_q#{}", row.dialog, row.number),
        conversation: Some(row.dialog),
        history,
        query: row.question,
        golds: vec![row.rewrite],
        ..SuiteTurn::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headings_come_first_and_the_rest_by_question_and_answer() {
        let text = r#"[{"History":["Ada Lovelace","Work","What did she write?","Notes on an engine."],
            "QuAC_dialog_id":"C_1_0","Question":"When was that?","Question_no":2,
            "Rewrite":"When did Ada Lovelace write notes on an engine?"}]"#;
        let turns = parse(text).unwrap().turns;
        assert_eq!((turns[0].id.as_str(), turns[0].conversation_name()), ("C_1_0_q#2", "C_1_0"));
        let history: Vec<(Role, &str)> =
            turns[0].history.iter().map(|(role, text)| (*role, text.as_str())).collect();
        assert_eq!(history[0], (Role::Assistant, "Ada Lovelace: Work"));
        assert_eq!(history[1], (Role::User, "What did she write?"));
        assert_eq!(history[2].0, Role::Assistant);
        assert_eq!(turns[0].golds, ["When did Ada Lovelace write notes on an engine?"]);
    }
}
