//! Reading texts as the owners of the shapes let them be written.

use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::error::{Error, Result};

/// Texts of one request, as many as OpenAI takes.
pub const MAX_TEXTS: usize = 2_048;

/// One text or a list of them, none empty; `pointer` is where it stood.
///
/// # Errors
/// `empty_input`, `too_many_inputs`, `token_input`, `invalid_request`.
pub fn read(pointer: &str, value: Value) -> Result<Vec<String>> {
    match value {
        Value::String(text) => check(pointer, vec![text]),
        Value::Array(items) if items.iter().any(is_token) => Err(tokens(pointer)),
        Value::Array(items) => {
            let texts = items.into_iter().enumerate();
            check(
                pointer,
                texts.map(|(index, item)| text(pointer, index, item)).collect::<Result<_>>()?,
            )
        }
        _ => Err(refused(pointer, "invalid_request", "is neither a text nor a list of texts")),
    }
}

/// What [`read`] takes, for the API's description.
pub fn schema() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let list = ArrayBuilder::new()
        .items(text())
        .min_items(Some(1))
        .max_items(Some(MAX_TEXTS))
        .description(Some("Several texts"));
    Schema::OneOf(OneOfBuilder::new().item(text().description(Some("One text"))).item(list).build())
}

/// A mistake in one field.
pub fn refused(pointer: &str, code: &'static str, detail: &str) -> Error {
    Error::invalid(code, format!("{pointer} {detail}.")).with_field(pointer, detail)
}

fn text(pointer: &str, index: usize, item: Value) -> Result<String> {
    match item {
        Value::String(text) => Ok(text),
        _ => Err(refused(&format!("{pointer}/{index}"), "invalid_request", "is not a text")),
    }
}

fn check(pointer: &str, texts: Vec<String>) -> Result<Vec<String>> {
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(refused(pointer, "empty_input", "is empty, or has an empty text in it"));
    }
    if texts.len() > MAX_TEXTS {
        let detail = format!("has {} texts, more than {MAX_TEXTS}", texts.len());
        return Err(refused(pointer, "too_many_inputs", &detail));
    }
    Ok(texts)
}

/// A token id, or a list that begins with one.
fn is_token(item: &Value) -> bool {
    match item {
        Value::Array(items) => items.first().is_some_and(Value::is_number),
        _ => item.is_number(),
    }
}

fn tokens(pointer: &str) -> Error {
    let detail = "is a list of token ids. They are numbers of another model's tokenizer and mean \
        other words here, so send the text itself; of LangChain's OpenAIEmbeddings set \
        `check_embedding_ctx_length=False`";
    refused(pointer, "token_input", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_text_or_several() {
        assert_eq!(read("/input", json!("客户画像")).unwrap(), ["客户画像"]);
        assert_eq!(read("/input", json!(["a", " "])).unwrap(), ["a", " "]);
        assert_eq!(read("/input", json!(vec!["a"; MAX_TEXTS])).unwrap().len(), MAX_TEXTS);
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        for (value, code, pointer) in [
            (json!(""), "empty_input", "/input"),
            (json!([]), "empty_input", "/input"),
            (json!(["a", ""]), "empty_input", "/input"),
            (json!(vec!["a"; MAX_TEXTS + 1]), "too_many_inputs", "/input"),
            (json!([15339, 1917]), "token_input", "/input"),
            (json!([[15339], [1917]]), "token_input", "/input"),
            (json!(["a", null]), "invalid_request", "/input/1"),
            (json!([["a"]]), "invalid_request", "/input/0"),
            (json!(null), "invalid_request", "/input"),
            (json!({"text": "a"}), "invalid_request", "/input"),
        ] {
            let error = read("/input", value.clone()).unwrap_err();
            assert_eq!((error.code, error.fields[0].pointer.as_str()), (code, pointer), "{value}");
        }
    }

    #[test]
    fn who_sends_tokens_learns_how_to_send_text() {
        let error = read("/input", json!([[15339]])).unwrap_err();
        assert!(error.message.contains("check_embedding_ctx_length=False"), "{error}");
    }
}
