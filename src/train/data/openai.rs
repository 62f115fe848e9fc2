//! OpenAI messages: `[{"role": "user", "content": …}, …]`, with calls of tools and their results.

use serde_json::Value;

use super::chat::{Chat, Message, Speaker};
use super::dataset_info::Tags;
use super::fields::{Fields, kind_of, present, required_text};
use super::sharegpt::{at, key, object, speaker, take_system};
use super::tool_calls;

/// What stands between the results of tools that were called at once, as in Qwen's template.
const BETWEEN_RESULTS: &str = "\n</tool_response>\n<tool_response>\n";

/// LLaMA-Factory's quirk: the order that Nemotron models take to answer at once.
const THINKING_OFF: &str = "detailed thinking off";

/// The chat that a list of messages tells. A leading system message stands apart, and results
/// that follow one another are one turn.
pub fn chat(items: &[Value], tags: &Tags) -> Result<Chat, String> {
    let mut messages: Vec<Message> = Vec::new();
    for (idx, item) in items.iter().enumerate() {
        let message = at(idx, message(item, tags))?;
        match messages.last_mut() {
            Some(last) if is_result(last) && is_result(&message) => {
                last.text.push_str(BETWEEN_RESULTS);
                last.text.push_str(&message.text);
            }
            _ => messages.push(message),
        }
    }
    let system = take_system(&mut messages);
    Ok(Chat { system, messages })
}

/// One message.
pub fn message(item: &Value, tags: &Tags) -> Result<Message, String> {
    let item = object(item)?;
    let said_by = said_by(item, tags)?;
    let calls = calls(item)?;
    let has_calls = !calls.is_empty();
    let content = content(item, tags, has_calls)?;
    let (speaker, text) = match said_by {
        // What an assistant says before a call is kept, as the template keeps it.
        Speaker::Assistant | Speaker::Function if has_calls => {
            let calls = tool_calls::from_values(&calls)?;
            let text = if content.is_empty() { calls } else { format!("{content}\n{calls}") };
            (Speaker::Function, text)
        }
        other if has_calls => return Err(format!("{} cannot have `tool_calls`", role(other))),
        Speaker::Function => (Speaker::Function, tool_calls::from_json(&content)?),
        other => (other, content),
    };
    Ok(Message { speaker, text, is_learned: is_learned(item)? })
}

/// Adds the order not to think, as LLaMA-Factory does for this form and no other.
pub fn turn_thinking_off(chat: &mut Chat) {
    match &mut chat.system {
        Some(text) if text.is_empty() => THINKING_OFF.clone_into(text),
        Some(text) if text.contains("detailed thinking on") || text.contains(THINKING_OFF) => {}
        Some(text) => {
            text.push('\n');
            text.push_str(THINKING_OFF);
        }
        None => chat.system = Some(THINKING_OFF.to_owned()),
    }
}

fn said_by(item: &Fields, tags: &Tags) -> Result<Speaker, String> {
    // OpenAI's newer word for the system's messages.
    let is_developer = *tags == Tags::openai() && item.get("role") == Some(&"developer".into());
    if is_developer { Ok(Speaker::System) } else { speaker(item, tags) }
}

fn role(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::System => "a system message",
        Speaker::User => "a user's message",
        _ => "a tool's message",
    }
}

fn is_result(message: &Message) -> bool {
    message.speaker == Speaker::Observation
}

/// The called functions: `function` of each of `tool_calls`.
fn calls(item: &Fields) -> Result<Vec<Value>, String> {
    match present(item, "tool_calls") {
        None => Ok(Vec::new()),
        Some(Value::Array(calls)) => {
            Ok(calls.iter().map(|call| call.get("function").unwrap_or(call).clone()).collect())
        }
        Some(other) => Err(format!("`tool_calls` must be a list, it is {}", kind_of(other))),
    }
}

/// The text of a message: a string, or a list of text parts; a call needs none.
fn content(item: &Fields, tags: &Tags, has_calls: bool) -> Result<String, String> {
    let name = key(&tags.content);
    match present(item, name) {
        None if has_calls => Ok(String::new()),
        Some(Value::Array(parts)) => parts.iter().map(part).collect(),
        _ => required_text(item, name).map(str::to_owned),
    }
}

fn part(part: &Value) -> Result<&str, String> {
    let part = object(part)?;
    match required_text(part, "type")? {
        "text" => required_text(part, "text"),
        other => Err(format!("a part of it is of type `{other}`; only `text` can be learnt")),
    }
}

/// OpenAI's `weight`: 0 marks an answer that is only context.
fn is_learned(item: &Fields) -> Result<bool, String> {
    match present(item, "weight").map(Value::as_f64) {
        None => Ok(true),
        Some(Some(0.0)) => Ok(false),
        Some(Some(1.0)) => Ok(true),
        Some(_) => Err(format!("`weight` must be 0 or 1, it is {}", item["weight"])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(items: Value) -> Result<Chat, String> {
        chat(items.as_array().unwrap(), &Tags::openai())
    }

    #[test]
    fn tools_and_parts_are_read() {
        let chat = read(json!([
            { "role": "developer", "content": "S" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": "I look.", "weight": 0, "tool_calls": [
                { "id": "1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                { "id": "2", "type": "function", "function": { "name": "g", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "1", "content": "r1" },
            { "role": "tool", "tool_call_id": "2", "content": "r2" },
            { "role": "assistant", "content": "done", "tool_calls": [] },
        ]))
        .unwrap();
        assert_eq!(chat.system.as_deref(), Some("S"));
        let texts: Vec<&str> = chat.messages.iter().map(|message| message.text.as_str()).collect();
        let calls = "I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n\
                     <tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
        assert_eq!(texts, ["ab", calls, "r1\n</tool_response>\n<tool_response>\nr2", "done"]);
        let learned: Vec<bool> = chat.messages.iter().map(|message| message.is_learned).collect();
        assert_eq!(learned, [true, false, true, true]);
        assert_eq!(chat.messages[1].speaker, Speaker::Function);
    }

    #[test]
    fn trailing_results_are_not_lost() {
        let chat = read(json!([
            { "role": "user", "content": "u" },
            { "role": "assistant", "content": "a" },
            { "role": "tool", "content": "r" },
        ]));
        assert_eq!(chat.unwrap().messages.len(), 3);
    }

    #[test]
    fn bad_messages_are_named() {
        for (item, expected) in [
            (json!({ "role": "critic", "content": "x" }), "its role `critic` is none of `user`"),
            (json!({ "role": "user", "content": null }), "it has no `content`"),
            (
                json!({ "role": "user", "content": [{ "type": "image_url" }] }),
                "a part of it is of type `image_url`",
            ),
            (
                json!({ "role": "user", "content": "x", "tool_calls": [{}] }),
                "a user's message cannot have `tool_calls`",
            ),
            (
                json!({ "role": "assistant", "content": "x", "tool_calls": {} }),
                "`tool_calls` must be a list",
            ),
            (
                json!({ "role": "assistant", "content": "x", "weight": 0.5 }),
                "`weight` must be 0 or 1, it is 0.5",
            ),
        ] {
            let reason = read(json!([item])).unwrap_err();
            assert!(reason.starts_with(&format!("message 1: {expected}")), "{reason}");
        }
    }

    #[test]
    fn the_order_not_to_think_is_added_once() {
        let after = |system: Option<&str>| {
            let mut chat = Chat { system: system.map(str::to_owned), messages: Vec::new() };
            turn_thinking_off(&mut chat);
            chat.system.unwrap()
        };
        assert_eq!(after(None), "detailed thinking off");
        assert_eq!(after(Some("")), "detailed thinking off");
        assert_eq!(after(Some("S")), "S\ndetailed thinking off");
        assert_eq!(after(Some("detailed thinking on")), "detailed thinking on");
        assert_eq!(after(Some("x detailed thinking off")), "x detailed thinking off");
    }
}
