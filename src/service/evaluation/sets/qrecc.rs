//! QReCC (Anantha et al. 2021): `Context` by question and answer, the rewrite by a person.

use serde::Deserialize;

use super::{Set, alternating, objects};
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "Context", default)]
    context: Vec<String>,
    #[serde(rename = "Question")]
    question: String,
    #[serde(rename = "Rewrite", alias = "Truth_rewrite")]
    rewrite: String,
    #[serde(rename = "Conversation_no")]
    conversation: u64,
    #[serde(rename = "Turn_no")]
    turn: u64,
    /// `quac`, `nq` or `trec`.
    #[serde(rename = "Conversation_source")]
    source: Option<String>,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let rows: Vec<Row> = objects(text)?;
    Ok(Set { turns: rows.into_iter().map(turn).collect(), documents: Vec::new() })
}

fn turn(row: Row) -> SuiteTurn {
    let slices = row.source.into_iter().map(|source| ("source".to_owned(), source));
    SuiteTurn {
        id: format!("{}_{}", row.conversation, row.turn),
        conversation: Some(row.conversation.to_string()),
        slices: slices.collect(),
        history: alternating(row.context),
        query: row.question,
        golds: vec![row.rewrite],
        ..SuiteTurn::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::conversation::Role;

    #[test]
    fn an_answer_that_is_missing_leaves_the_roles_right() {
        let text = r#"[{"Context":["Who made it?","","When?","In 1901."],"Question":"Where?",
            "Rewrite":"Where was the lamp made?","Answer":"Ningbo","Conversation_no":12,"Turn_no":3,
            "Conversation_source":"trec"}]"#;
        let turn = parse(text).unwrap().turns.remove(0);
        assert_eq!((turn.id.as_str(), turn.slices["source"].as_str()), ("12_3", "trec"));
        let roles: Vec<Role> = turn.history.iter().map(|(role, _)| *role).collect();
        assert_eq!(roles, [Role::User, Role::User, Role::Assistant]);
        assert_eq!(turn.golds, ["Where was the lamp made?"]);
    }
}
