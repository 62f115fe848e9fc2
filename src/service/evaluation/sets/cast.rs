//! TREC CAsT topics (2019 to 2021): a conversation with its turns. The rewrites by people are part
//! of the topics from 2020 on; a turn without one is asked and has no gold.

use serde::Deserialize;
use serde_json::Value;

use super::{Set, id_text, objects};
use crate::rewrite::conversation::Role;
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct Topic {
    number: Value,
    turn: Vec<Turn>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    number: Value,
    raw_utterance: String,
    #[serde(alias = "manual_rewritten_utterance", alias = "resolved_utterance")]
    manual: Option<String>,
    /// The answer that was shown, in 2021.
    passage: Option<String>,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let topics: Vec<Topic> = objects(text)?;
    Ok(Set { turns: topics.into_iter().flat_map(turns).collect(), documents: Vec::new() })
}

fn turns(topic: Topic) -> Vec<SuiteTurn> {
    let conversation = id_text(&topic.number);
    let mut history = Vec::new();
    let mut turns = Vec::new();
    for turn in topic.turn {
        turns.push(SuiteTurn {
            id: format!("{conversation}_{}", id_text(&turn.number)),
            conversation: Some(conversation.clone()),
            history: history.clone(),
            query: turn.raw_utterance.clone(),
            golds: turn.manual.into_iter().collect(),
            ..SuiteTurn::default()
        });
        history.push((Role::User, turn.raw_utterance));
        history.extend(turn.passage.map(|passage| (Role::Assistant, passage)));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_has_those_before_it_as_history() {
        let text = r#"[{"number":81,"turn":[
            {"number":1,"raw_utterance":"What is a tide?","manual_rewritten_utterance":"What is a tide?","passage":"The sea rises."},
            {"number":2,"raw_utterance":"Why does it rise?","manual_rewritten_utterance":"Why does the tide rise?"}]}]"#;
        let turns = parse(text).unwrap().turns;
        assert_eq!((turns[1].id.as_str(), turns[1].conversation_name()), ("81_2", "81"));
        assert!(turns[0].history.is_empty());
        assert_eq!(turns[1].history[1], (Role::Assistant, "The sea rises.".to_owned()));
        assert_eq!(turns[1].golds, ["Why does the tide rise?"]);
    }
}
