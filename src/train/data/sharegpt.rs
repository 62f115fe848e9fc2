//! ShareGPT messages: `[{"from": "human", "value": …}, …]`, the words set by tags.

use serde_json::Value;

use super::chat::{Chat, Message, Speaker};
use super::dataset_info::Tags;
use super::fields::{Fields, kind_of, required_text};
use super::tool_calls;

/// The chat that a list of messages tells. A leading system message stands apart.
pub fn chat(items: &[Value], tags: &Tags) -> Result<Chat, String> {
    let mut messages = items
        .iter()
        .enumerate()
        .map(|(idx, item)| at(idx, message(item, tags)))
        .collect::<Result<Vec<_>, _>>()?;
    let system = take_system(&mut messages);
    Ok(Chat { system, messages })
}

/// One message; the text of a function call is turned into the template's form.
pub fn message(item: &Value, tags: &Tags) -> Result<Message, String> {
    let item = object(item)?;
    let speaker = speaker(item, tags)?;
    let text = required_text(item, key(&tags.content))?;
    let text = match speaker {
        Speaker::Function => tool_calls::from_json(text)?,
        _ => text.to_owned(),
    };
    Ok(Message::new(speaker, text))
}

/// Who says a message, by its tag.
pub fn speaker(item: &Fields, tags: &Tags) -> Result<Speaker, String> {
    let role = required_text(item, key(&tags.role))?;
    let words = [
        (&tags.user, Speaker::User),
        (&tags.assistant, Speaker::Assistant),
        (&tags.observation, Speaker::Observation),
        (&tags.function, Speaker::Function),
        (&tags.system, Speaker::System),
    ];
    let known = words.iter().find(|(word, _)| word.as_deref() == Some(role));
    known.map(|(_, speaker)| *speaker).ok_or_else(|| {
        let words = words.iter().filter_map(|(word, _)| word.as_deref());
        format!("its role `{role}` is none of {}", super::fields::listed(words))
    })
}

/// The message's key for the role or the content.
pub fn key(tag: &Option<String>) -> &str {
    tag.as_deref().unwrap_or_default()
}

/// The message as an object.
pub fn object(item: &Value) -> Result<&Fields, String> {
    item.as_object().ok_or_else(|| format!("it must be an object, it is {}", kind_of(item)))
}

/// A reason with the number of the message that it is about.
pub fn at<T>(idx: usize, outcome: Result<T, String>) -> Result<T, String> {
    outcome.map_err(|reason| format!("message {}: {reason}", idx + 1))
}

/// Takes the leading system message out.
pub fn take_system(messages: &mut Vec<Message>) -> Option<String> {
    match messages.first() {
        Some(first) if first.speaker == Speaker::System => Some(messages.remove(0).text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(items: Value, tags: &Tags) -> Result<Chat, String> {
        chat(items.as_array().unwrap(), tags)
    }

    #[test]
    fn messages_are_read_by_their_tags() {
        let items = json!([
            { "from": "system", "value": "S" },
            { "from": "human", "value": "h" },
            { "from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {}}" },
            { "from": "observation", "value": "o" },
            { "from": "gpt", "value": "g" },
        ]);
        let chat = read(items, &Tags::default()).unwrap();
        assert_eq!(chat.system.as_deref(), Some("S"));
        let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
        let expected = [
            Message::new(Speaker::User, "h"),
            Message::new(Speaker::Function, call),
            Message::new(Speaker::Observation, "o"),
            Message::new(Speaker::Assistant, "g"),
        ];
        assert_eq!(chat.messages, expected);
    }

    #[test]
    fn a_system_message_is_unknown_without_its_tag() {
        let tags = Tags { system: None, ..Tags::default() };
        let reason = read(json!([{ "from": "system", "value": "S" }]), &tags).unwrap_err();
        let expected = "message 1: its role `system` is none of `human`, `gpt`, `observation`, \
                        `function_call`";
        assert_eq!(reason, expected);
    }

    #[test]
    fn bad_messages_are_named() {
        for (item, expected) in [
            (json!("x"), "message 2: it must be an object, it is a string"),
            (json!({ "value": "x" }), "message 2: it has no `from`; its keys: `value`"),
            (json!({ "from": "gpt" }), "message 2: it has no `value`; its keys: `from`"),
            (
                json!({ "from": "gpt", "value": 3 }),
                "message 2: `value` must be a string, it is a number",
            ),
            (
                json!({ "from": "function_call", "value": "f()" }),
                "message 2: a function call is not valid JSON",
            ),
        ] {
            let reason = read(json!([{ "from": "human", "value": "h" }, item]), &Tags::default());
            let reason = reason.unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }
}
