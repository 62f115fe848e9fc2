//! TopiOCQA (Adlakha et al. 2022): `Context` by question and answer, and the passage that answers;
//! nobody rewrote its questions.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Set, alternating, id_text, objects, passage};
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(rename = "Conversation_no")]
    conversation: Value,
    #[serde(rename = "Turn_no")]
    turn: Value,
    #[serde(rename = "Context", default)]
    context: Vec<String>,
    #[serde(rename = "Question")]
    question: String,
    #[serde(rename = "Gold_passage")]
    gold: Passage,
}

#[derive(Debug, Deserialize)]
struct Passage {
    id: Value,
    #[serde(default)]
    title: String,
    text: String,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let rows: Vec<Row> = objects(text)?;
    let mut passages = BTreeMap::new();
    let mut turns = Vec::new();
    for row in rows {
        let (conversation, gold) = (id_text(&row.conversation), id_text(&row.gold.id));
        turns.push(SuiteTurn {
            id: format!("{conversation}_{}", id_text(&row.turn)),
            conversation: Some(conversation),
            history: alternating(row.context),
            query: row.question,
            grades: HashMap::from([(gold.clone(), 1)]),
            ..SuiteTurn::default()
        });
        passages.insert(gold, row.gold);
    }
    let documents = passages.into_iter().map(|(id, gold)| passage(id, Some(gold.title), gold.text));
    Ok(Set { turns, documents: documents.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gold_passages_are_what_is_searched_in() {
        let row = |turn: u32, context: &str, gold: &str| {
            format!(
                r#"{{"Conversation_no":3,"Turn_no":{turn},"Context":[{context}],"Question":"and then?",
                "Gold_passage":{{"id":"{gold}","title":"Tides","text":"The sea rises."}}}}"#
            )
        };
        let text = format!("[{},{}]", row(1, "", "p1"), row(2, r#""a","b""#, "p1"));
        let set = parse(&text).unwrap();
        assert_eq!((set.documents.len(), set.turns.len()), (1, 2));
        assert_eq!((set.turns[1].id.as_str(), set.turns[1].history.len()), ("3_2", 2));
        assert_eq!(set.turns[1].grades["p1"], 1);
        assert!(set.turns[1].golds.is_empty());
    }
}
