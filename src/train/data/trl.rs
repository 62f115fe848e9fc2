//! TRL's forms: `{prompt, completion}`, `{prompt, completion, label}` and
//! `{prompt?, chosen, rejected}`, as strings or as lists of messages. Strings are taken as they
//! are, without a chat template.

use serde_json::Value;

use super::ReadOptions;
use super::chat::{self, Chat, Message};
use super::dataset_info::Tags;
use super::fields::{Fields, filled_text, kind_of, present, required_flag, required_list};
use super::rows::{Completion, Judged, Prompt, Row, RowSource, Task};
use super::{openai, sharegpt};

/// The rows that a row of TRL's gives.
pub fn rows(
    row: &Fields,
    task: Task,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    match task {
        Task::Preference if is_list(row, "chosen") => ranked_chat(row, source, options),
        Task::Preference => {
            let prompt = Prompt::Text(filled_text(row, "prompt")?.to_owned());
            let (chosen, rejected) = (filled_text(row, "chosen")?, filled_text(row, "rejected")?);
            Ok(vec![chat::ranked(prompt, chosen, rejected, source)?])
        }
        _ if is_list(row, "prompt") != is_list(row, "completion") => {
            let kind = |key| present(row, key).map_or("missing", kind_of);
            Err(format!(
                "`prompt` is {} and `completion` {}: both must be strings or both lists",
                kind("prompt"),
                kind("completion")
            ))
        }
        _ if is_list(row, "prompt") => completed_chat(row, task, source, options),
        _ => Ok(vec![completed_text(row, task, source)?]),
    }
}

/// A chat, of a list of messages in OpenAI's words or in ShareGPT's.
pub fn messages(items: &[Value]) -> Result<Chat, String> {
    match items.first() {
        Some(first) if first.get("from").is_some() => sharegpt::chat(items, &Tags::default()),
        _ => openai::chat(items, &Tags::openai()),
    }
}

fn is_list(row: &Fields, key: &str) -> bool {
    row.get(key).is_some_and(Value::is_array)
}

fn completed_text(row: &Fields, task: Task, source: &RowSource) -> Result<Row, String> {
    let prompt = Prompt::Text(filled_text(row, "prompt")?.to_owned());
    let answer = filled_text(row, "completion")?.to_owned();
    let source = source.clone();
    Ok(match task {
        Task::Kto => {
            let desirable = required_flag(row, "label")?;
            Row::Judged(Judged { prompt, answer, desirable, source })
        }
        _ => Row::Completion(Completion { prompt, answer, source }),
    })
}

fn completed_chat(
    row: &Fields,
    task: Task,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    let mut chat = messages_under(row, "prompt")?;
    for message in &mut chat.messages {
        message.is_learned = false;
    }
    let completion = messages_under(row, "completion")?;
    if completion.system.is_some() {
        return Err("`completion` begins with a system message".to_owned());
    }
    if task == Task::Kto && completion.messages.len() != 1 {
        return Err(format!(
            "`completion` must be one message, it has {}",
            completion.messages.len()
        ));
    }
    chat.messages.extend(completion.messages);
    match task {
        Task::Kto => chat::judged(chat, required_flag(row, "label")?, source, options),
        _ => chat::completions(chat, source, options),
    }
}

fn messages_under(row: &Fields, key: &str) -> Result<Chat, String> {
    messages(required_list(row, key)?).map_err(|reason| format!("`{key}`, {reason}"))
}

/// A preference between chats. Without a list under `prompt`, the prompt is what both chats begin
/// with, as TRL finds it.
fn ranked_chat(
    row: &Fields,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    let (chosen, rejected) = (messages_under(row, "chosen")?, messages_under(row, "rejected")?);
    let prompt = if is_list(row, "prompt") {
        messages_under(row, "prompt")?
    } else {
        common_start(&chosen, &rejected)?
    };
    let n_before = if is_list(row, "prompt") { 0 } else { prompt.messages.len() };
    let chosen = only(chosen.messages, n_before, "chosen")?;
    let rejected = only(rejected.messages, n_before, "rejected")?;
    chat::preference(prompt, chosen, rejected, source, options)
}

fn common_start(chosen: &Chat, rejected: &Chat) -> Result<Chat, String> {
    let pairs = chosen.messages.iter().zip(&rejected.messages);
    let n_common = pairs.take_while(|(left, right)| left == right).count();
    if chosen.system != rejected.system || n_common == 0 {
        return Err("`chosen` and `rejected` begin differently, and there is no list of messages under `prompt`".to_owned());
    }
    if n_common == chosen.messages.len() && n_common == rejected.messages.len() {
        return Err("the chosen and the rejected answer are equal".to_owned());
    }
    let messages = chosen.messages[..n_common].to_vec();
    Ok(Chat { system: chosen.system.clone(), messages })
}

fn only(mut messages: Vec<Message>, n_before: usize, key: &str) -> Result<Message, String> {
    match (messages.len().checked_sub(n_before), messages.pop()) {
        (Some(1), Some(message)) => Ok(message),
        (n_left, _) => Err(format!(
            "`{key}` must be one answer after the prompt, it has {} messages there",
            n_left.unwrap_or(0)
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(row: Value, task: Task) -> Result<Vec<Row>, String> {
        let source = RowSource { file: "x".into(), line: 1 };
        rows(row.as_object().unwrap(), task, &source, &ReadOptions::default())
    }

    fn says(role: &str, text: &str) -> Value {
        json!({ "role": role, "content": text })
    }

    fn texts(prompt: &Prompt) -> Vec<&str> {
        let Prompt::Chat(turns) = prompt else { unreachable!() };
        turns.iter().map(|turn| &*turn.text).collect()
    }

    #[test]
    fn strings_are_taken_without_a_template() {
        let rows = read(json!({ "prompt": "Q: ", "completion": " 4" }), Task::Sft).unwrap();
        let Row::Completion(row) = &rows[0] else { unreachable!() };
        assert_eq!((&row.prompt, row.answer.as_str()), (&Prompt::Text("Q: ".into()), " 4"));
        let row = json!({ "prompt": "q", "completion": "4", "label": false });
        let Row::Judged(row) = &read(row, Task::Kto).unwrap()[0] else { unreachable!() };
        assert!(!row.desirable);
        let row = json!({ "prompt": "q", "chosen": "4", "rejected": "5" });
        let Row::Preference(row) = &read(row, Task::Preference).unwrap()[0] else { unreachable!() };
        assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("4", "5"));
    }

    #[test]
    fn only_the_completion_of_a_chat_is_learnt() {
        let row = json!({
            "prompt": [says("system", "S"), says("user", "a"), says("assistant", "b"), says("user", "c")],
            "completion": [says("assistant", "d")],
        });
        let rows = read(row, Task::Sft).unwrap();
        let [Row::Completion(row)] = rows.as_slice() else { unreachable!() };
        assert_eq!((texts(&row.prompt), row.answer.as_str()), (vec!["S", "a", "b", "c"], "d"));
        let row = json!({
            "prompt": [says("user", "c")], "completion": [says("assistant", "d")], "label": true,
        });
        let Row::Judged(row) = &read(row, Task::Kto).unwrap()[0] else { unreachable!() };
        assert!(row.desirable && row.answer == "d");
    }

    #[test]
    fn the_prompt_of_two_chats_is_their_common_start() {
        let with = |answer: &str| json!([says("user", "q"), says("assistant", answer)]);
        for prompt in [Value::Null, json!("q")] {
            let row = json!({ "prompt": prompt, "chosen": with("x"), "rejected": with("y") });
            let rows = read(row, Task::Preference).unwrap();
            let Row::Preference(row) = &rows[0] else { unreachable!() };
            assert_eq!(texts(&row.prompt), ["q"]);
            assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("x", "y"));
        }
        let row = json!({ "prompt": [says("user", "q")],
            "chosen": [says("assistant", "x")], "rejected": [says("assistant", "y")] });
        assert_eq!(read(row, Task::Preference).unwrap().len(), 1);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let user = json!([says("user", "q")]);
        let chat = |answer: &str| json!([says("user", "q"), says("assistant", answer)]);
        let cases = [
            (json!({ "prompt": "q", "completion": "" }), Task::Sft, "`completion` is empty"),
            (
                json!({ "prompt": "q", "completion": [] }),
                Task::Sft,
                "`prompt` is a string and `completion` a list",
            ),
            (json!({ "prompt": user, "completion": [] }), Task::Sft, "its last turn is no answer"),
            (
                json!({ "prompt": user, "completion": [says("system", "s")] }),
                Task::Sft,
                "`completion` begins with a system",
            ),
            (json!({ "prompt": "q", "completion": "x" }), Task::Kto, "it has no `label`"),
            (
                json!({ "prompt": "q", "completion": "x", "label": 1 }),
                Task::Kto,
                "`label` must be true or false",
            ),
            (
                json!({ "prompt": user, "completion": chat("x"), "label": true }),
                Task::Kto,
                "`completion` must be one message, it has 2",
            ),
            (json!({ "chosen": "x", "rejected": "y" }), Task::Preference, "it has no `prompt`"),
            (
                json!({ "prompt": "q", "chosen": chat("x"), "rejected": "y" }),
                Task::Preference,
                "`rejected` must be a list",
            ),
            (
                json!({ "chosen": chat("x"), "rejected": chat("x") }),
                Task::Preference,
                "the chosen and the rejected answer are equal",
            ),
            (
                json!({ "chosen": chat("x"), "rejected": [says("user", "r")] }),
                Task::Preference,
                "`chosen` and `rejected` begin differently",
            ),
            (
                json!({ "chosen": chat("x"), "rejected": user }),
                Task::Preference,
                "`rejected` must be one answer after the prompt, it has 0",
            ),
        ];
        for (row, task, expected) in cases {
            let reason = read(row.clone(), task).unwrap_err();
            assert!(reason.starts_with(expected), "{row}: {reason}");
        }
    }
}
