//! Alpaca rows: `instruction`, `input`, `output`, and pairs of earlier turns under `history`.

use serde_json::Value;

use super::chat::{Chat, Message, Speaker};
use super::dataset_info::Columns;
use super::fields::{Fields, kind_of, present, required_text, text};

/// The chat up to the question: earlier pairs, then prompt and query joined by a line end, each
/// left out when empty.
pub fn question(row: &Fields, columns: &Columns) -> Result<Chat, String> {
    let mut messages = history(row, columns)?;
    let parts = [part(row, &columns.prompt)?, part(row, &columns.query)?];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        let names = [&columns.prompt, &columns.query];
        let names = super::fields::listed(names.into_iter().filter_map(|name| name.as_deref()));
        let keys = super::fields::keys(row);
        return Err(format!("it asks nothing: {names} missing or empty; its keys: {keys}"));
    }
    messages.push(Message::new(Speaker::User, parts.join("\n")));
    Ok(Chat { system: Some(part(row, &columns.system)?.to_owned()), messages })
}

/// The answer under a column.
pub fn answer(row: &Fields, column: &Option<String>) -> Result<Message, String> {
    let text = required_text(row, column.as_deref().unwrap_or_default())?;
    Ok(Message::new(Speaker::Assistant, text))
}

fn part<'a>(row: &'a Fields, column: &Option<String>) -> Result<&'a str, String> {
    match column {
        Some(column) => Ok(text(row, column)?.unwrap_or_default()),
        None => Ok(""),
    }
}

fn history(row: &Fields, columns: &Columns) -> Result<Vec<Message>, String> {
    let Some(column) = &columns.history else { return Ok(Vec::new()) };
    let pairs = match present(row, column) {
        None => return Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs,
        Some(other) => return Err(format!("`{column}` must be a list, it is {}", kind_of(other))),
    };
    let mut messages = Vec::with_capacity(pairs.len() * 2);
    for (idx, pair) in pairs.iter().enumerate() {
        let texts: Option<Vec<&str>> =
            pair.as_array().and_then(|pair| pair.iter().map(Value::as_str).collect());
        let Some([question, answer]) = texts.as_deref() else {
            return Err(format!("pair {} of `{column}` must be two strings", idx + 1));
        };
        messages.push(Message::new(Speaker::User, *question));
        messages.push(Message::new(Speaker::Assistant, *answer));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(row: Value, columns: &Columns) -> Result<Chat, String> {
        question(row.as_object().unwrap(), columns)
    }

    #[test]
    fn prompt_and_query_are_joined_when_both_are_there() {
        let text = |row| read(row, &Columns::default()).unwrap().messages.pop().unwrap().text;
        assert_eq!(text(json!({ "instruction": "a", "input": "b" })), "a\nb");
        assert_eq!(text(json!({ "instruction": "a", "input": "" })), "a");
        assert_eq!(text(json!({ "instruction": null, "input": "b" })), "b");
        let reason = read(json!({ "q": "x", "input": "" }), &Columns::default()).unwrap_err();
        let expected =
            "it asks nothing: `instruction`, `input` missing or empty; its keys: `q`, `input`";
        assert_eq!(reason, expected);
    }

    #[test]
    fn history_and_system_are_read_where_they_are_named() {
        let row = json!({ "instruction": "c", "system": "S", "history": [["a", "b"]] });
        let plain = read(row.clone(), &Columns::default()).unwrap();
        assert_eq!((plain.system.as_deref(), plain.messages.len()), (Some(""), 1));
        let name = |name: &str| Some(name.to_owned());
        let columns =
            Columns { history: name("history"), system: name("system"), ..Columns::default() };
        let chat = read(row, &columns).unwrap();
        assert_eq!(chat.system.as_deref(), Some("S"));
        let expected = [
            Message::new(Speaker::User, "a"),
            Message::new(Speaker::Assistant, "b"),
            Message::new(Speaker::User, "c"),
        ];
        assert_eq!(chat.messages, expected);
        for history in [json!("x"), json!(["a", "b"]), json!([["a"]]), json!([["a", 1]])] {
            let row = json!({ "instruction": "c", "history": history });
            assert!(read(row, &columns).unwrap_err().contains("`history` must be"));
        }
    }

    #[test]
    fn an_answer_is_a_string() {
        let row = json!({ "output": 3 });
        let column = Some("output".to_owned());
        let reason = answer(row.as_object().unwrap(), &column).unwrap_err();
        assert_eq!(reason, "`output` must be a string, it is a number");
    }
}
