//! MTRAG's tasks (Katsis et al. 2025): the conversation as `input`, its last turn the question,
//! and under `contexts` the passages that answer. The retrieval tasks of the same publisher are in
//! BEIR's form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Set, id_text, objects, passage};
use crate::rewrite::conversation::Role;
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct Task {
    conversation_id: Value,
    #[serde(alias = "turn_id")]
    task_id: Value,
    input: Vec<Said>,
    #[serde(default)]
    contexts: Vec<Context>,
    /// `ANSWERABLE`, …
    #[serde(rename = "Answerability", default)]
    answerability: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Said {
    speaker: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Context {
    document_id: Value,
    #[serde(default)]
    title: String,
    text: String,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let tasks: Vec<Task> = objects(text)?;
    let mut passages = BTreeMap::new();
    let mut turns = Vec::new();
    for mut task in tasks {
        let id = id_text(&task.task_id);
        let Some(question) = task.input.pop() else {
            return Err(format!("the task {id} has no input"));
        };
        let slices = task.answerability.into_iter().next();
        let mut turn = SuiteTurn {
            id,
            conversation: Some(id_text(&task.conversation_id)),
            slices: slices.map(|one| ("answerability".to_owned(), one)).into_iter().collect(),
            history: task.input.into_iter().map(said).collect(),
            query: question.text,
            ..SuiteTurn::default()
        };
        for context in task.contexts {
            let id = id_text(&context.document_id);
            turn.grades.insert(id.clone(), 1);
            passages.insert(id, context);
        }
        turns.push(turn);
    }
    let documents =
        passages.into_iter().map(|(id, context)| passage(id, Some(context.title), context.text));
    Ok(Set { turns, documents: documents.collect() })
}

fn said(said: Said) -> (Role, String) {
    let role = if said.speaker == "user" { Role::User } else { Role::Assistant };
    (role, said.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_turn_is_the_question_and_the_contexts_answer_it() {
        let text = r#"{"conversation_id":"c1","task_id":"c1<::>2","Answerability":["ANSWERABLE"],
            "input":[{"speaker":"user","text":"What is a tide?"},{"speaker":"agent","text":"The sea rising."},{"speaker":"user","text":"How often?"}],
            "contexts":[{"document_id":"d9","title":"Tides","text":"Twice a day."}]}"#.replace('\n', "");
        let set = parse(&text).unwrap();
        let turn = &set.turns[0];
        assert_eq!((turn.query.as_str(), turn.history[1].0), ("How often?", Role::Assistant));
        assert_eq!((turn.grades["d9"], set.documents[0].id.as_str()), (1, "d9"));
        assert_eq!(turn.slices["answerability"], "ANSWERABLE");
    }
}
