//! Calls of functions as text, in the form that Qwen's chat template writes them:
//! `<tool_call>`, the call as JSON, `</tool_call>`, each on a line of its own.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value, json};

use super::fields::{kind_of, required_text};

/// The text of a function-call turn: JSON of one call or of a list of them.
pub fn from_json(text: &str) -> Result<String, String> {
    let calls: Value = serde_json::from_str(text)
        .map_err(|cause| format!("a function call is not valid JSON: {cause}"))?;
    match calls {
        Value::Array(calls) => from_values(&calls),
        call => from_values(&[call]),
    }
}

/// The text of calls, each an object with `name` and `arguments`, these as an object or as JSON
/// in a string.
pub fn from_values(calls: &[Value]) -> Result<String, String> {
    let texts = calls.iter().map(call).collect::<Result<Vec<_>, _>>()?;
    if texts.is_empty() {
        Err("its list of function calls is empty".to_owned())
    } else {
        Ok(texts.join("\n"))
    }
}

fn call(call: &Value) -> Result<String, String> {
    let Value::Object(call) = call else {
        return Err(format!("a function call must be an object, it is {}", kind_of(call)));
    };
    let name = required_text(call, "name").map_err(|reason| format!("function call: {reason}"))?;
    let call = json!({ "name": name, "arguments": arguments(call)? });
    Ok(format!("<tool_call>\n{}\n</tool_call>", spaced(&call)?))
}

fn arguments(call: &Map<String, Value>) -> Result<Value, String> {
    match call.get("arguments") {
        None | Some(Value::Null) => Ok(json!({})),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|cause| format!("the arguments of a function call are not JSON: {cause}")),
        Some(arguments) => Ok(arguments.clone()),
    }
}

/// JSON with a space after each comma and colon, as the chat templates write it.
fn spaced(value: &Value) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    value.serialize(&mut serializer).map_err(|cause| cause.to_string())?;
    String::from_utf8(bytes).map_err(|cause| cause.to_string())
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_written_as_the_template_writes_them() {
        let text = from_json(r#"{"name":"天气","arguments":{"a":[1,2],"b":"x"}}"#).unwrap();
        let expected = "<tool_call>\n{\"name\": \"天气\", \"arguments\": {\"a\": [1, 2], \"b\": \"x\"}}\n</tool_call>";
        assert_eq!(text, expected);
        let calls = [json!({ "name": "f", "arguments": "{\"a\":1}" }), json!({ "name": "g" })];
        let expected = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n\
                        <tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
        assert_eq!(from_values(&calls).unwrap(), expected);
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for (text, expected) in [
            ("call me", "a function call is not valid JSON"),
            ("[]", "its list of function calls is empty"),
            ("[1]", "a function call must be an object, it is a number"),
            (r#"{"arguments": {}}"#, "function call: it has no `name`"),
            (r#"{"name": "f", "arguments": "{"}"#, "the arguments of a function call are not JSON"),
        ] {
            let reason = from_json(text).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }
}
