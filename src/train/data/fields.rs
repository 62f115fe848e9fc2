//! Fields of a row, with the reasons for what is wrong with them.

use serde_json::{Map, Value};

/// A row as it was read.
pub type Fields = Map<String, Value>;

/// A value's kind, in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The field, unless it is missing or null.
pub fn present<'a>(row: &'a Fields, key: &str) -> Option<&'a Value> {
    row.get(key).filter(|value| !value.is_null())
}

/// A text that may be missing or null.
pub fn text<'a>(row: &'a Fields, key: &str) -> Result<Option<&'a str>, String> {
    match present(row, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("`{key}` must be a string, it is {}", kind_of(other))),
    }
}

/// A text that must be there.
pub fn required_text<'a>(row: &'a Fields, key: &str) -> Result<&'a str, String> {
    text(row, key)?.ok_or_else(|| missing(row, key))
}

/// A text that must be there and have more than white space.
pub fn filled_text<'a>(row: &'a Fields, key: &str) -> Result<&'a str, String> {
    let text = required_text(row, key)?;
    if text.trim().is_empty() { Err(format!("`{key}` is empty")) } else { Ok(text) }
}

/// A verdict that must be there.
pub fn required_flag(row: &Fields, key: &str) -> Result<bool, String> {
    match present(row, key) {
        None => Err(missing(row, key)),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(format!("`{key}` must be true or false, it is {}", kind_of(other))),
    }
}

/// A list that must be there.
pub fn required_list<'a>(row: &'a Fields, key: &str) -> Result<&'a [Value], String> {
    match present(row, key) {
        None => Err(missing(row, key)),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(format!("`{key}` must be a list, it is {}", kind_of(other))),
    }
}

/// The keys of a row for a message.
pub fn keys(row: &Fields) -> String {
    listed(row.keys().map(String::as_str))
}

/// Names for a message.
pub fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn missing(row: &Fields, key: &str) -> String {
    format!("it has no `{key}`; its keys: {}", keys(row))
}
