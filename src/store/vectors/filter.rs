//! Filters on metadata: the part of Qdrant's `must / should / must_not` that is served.
//!
//! A filter is checked here, field by field, before the engine sees it, so that a mistake is
//! answered with its JSON pointer and nothing but `metadata.*` can be asked for.

use qdrant_edge::{JsonPath, PayloadSchemaType};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

const MAX_DEPTH: usize = 8;
const MAX_CONDITIONS: usize = 256;
const MAX_VALUES: usize = 1_000;
const MAX_KEY_CHARS: usize = 256;

/// A filter that is known to be well formed.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    filter: qdrant_edge::Filter,
    checked: Value,
    fields: Vec<(JsonPath, PayloadSchemaType)>,
}

impl Filter {
    /// Reads a filter: `must`, `should`, `must_not`, each a condition or a list of them; a
    /// condition is `{"key", "match": {"value" | "any" | "except"}}`,
    /// `{"key", "range": {"gt" | "gte" | "lt" | "lte"}}` over numbers or RFC 3339 times,
    /// `{"is_empty": {"key"}}`, `{"is_null": {"key"}}`, or a filter again. Keys are paths into
    /// the metadata, such as `lang` or `author.name`. Anything else is `Invalid`, with the
    /// pointer of the field below `/filter`.
    pub fn parse(filter: &Value) -> Result<Self> {
        let mut reader = Reader::default();
        let checked = reader.filter(filter, "/filter", 0)?;
        let filter = serde_json::from_value(checked.clone())
            .map_err(|error| refuse("/filter", "is not understood").caused_by(error))?;
        Ok(Self { filter, checked, fields: reader.fields })
    }

    pub(super) fn engine(&self) -> qdrant_edge::Filter {
        self.filter.clone()
    }

    /// The filter as it was checked: lists of conditions only, and keys from the payload's root.
    pub(super) fn checked(&self) -> &Value {
        &self.checked
    }

    /// The payload fields that it compares, each with the type of its values.
    pub(super) fn fields(&self) -> &[(JsonPath, PayloadSchemaType)] {
        &self.fields
    }
}

#[derive(Default)]
struct Reader {
    n_conditions: usize,
    fields: Vec<(JsonPath, PayloadSchemaType)>,
}

impl Reader {
    fn filter(&mut self, value: &Value, pointer: &str, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(refuse(pointer, &format!("is nested more than {MAX_DEPTH} deep")));
        }
        let fields = object(value, pointer)?;
        let mut checked = Map::new();
        for (name, value) in fields {
            let place = child(pointer, name);
            if !["must", "should", "must_not"].contains(&name.as_str()) {
                return Err(refuse(&place, "is not one of must, should, must_not"));
            }
            let conditions = match value {
                Value::Array(list) => {
                    let numbered = list.iter().enumerate();
                    numbered
                        .map(|(n, item)| self.condition(item, &format!("{place}/{n}"), depth))
                        .collect::<Result<Vec<Value>>>()?
                }
                single => vec![self.condition(single, &place, depth)?],
            };
            checked.insert(name.clone(), Value::Array(conditions));
        }
        Ok(Value::Object(checked))
    }

    fn condition(&mut self, value: &Value, pointer: &str, depth: usize) -> Result<Value> {
        self.n_conditions += 1;
        if self.n_conditions > MAX_CONDITIONS {
            return Err(refuse(
                pointer,
                &format!(
                    "is condition {}; at most {MAX_CONDITIONS} are allowed",
                    self.n_conditions
                ),
            ));
        }
        let fields = object(value, pointer)?;
        if fields.contains_key("key") {
            return self.field_condition(fields, pointer);
        }
        for name in ["is_empty", "is_null"] {
            if let Some(inner) = fields.get(name) {
                only(fields, &[name], pointer)?;
                let place = child(pointer, name);
                let inner = object(inner, &place)?;
                only(inner, &["key"], &place)?;
                return Ok(json!({ name: { "key": path(inner, &place)?.to_string() } }));
            }
        }
        if fields.is_empty() {
            return Err(refuse(pointer, "is empty; a condition has a key"));
        }
        self.filter(value, pointer, depth + 1)
    }

    fn field_condition(&mut self, fields: &Map<String, Value>, pointer: &str) -> Result<Value> {
        only(fields, &["key", "match", "range"], pointer)?;
        let key = path(fields, pointer)?;
        let (name, test) = match (fields.get("match"), fields.get("range")) {
            (Some(test), None) => ("match", test),
            (None, Some(test)) => ("range", test),
            _ => return Err(refuse(pointer, "needs either match or range")),
        };
        let place = child(pointer, name);
        let field_type = match name {
            "match" => match_test(test, &place)?,
            _ => range_test(test, &place)?,
        };
        let condition = json!({ "key": key.to_string(), name: test });
        self.fields.push((key, field_type));
        Ok(condition)
    }
}

/// Checks a match, and tells the type of its values.
fn match_test(test: &Value, pointer: &str) -> Result<PayloadSchemaType> {
    let fields = object(test, pointer)?;
    only(fields, &["value", "any", "except"], pointer)?;
    let mut entries = fields.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(refuse(pointer, "needs exactly one of value, any, except"));
    };
    let place = child(pointer, name);
    let plain = |value: &Value| value.is_string() || value.is_i64();
    let fits = match (name.as_str(), value) {
        ("value", value) => plain(value) || value.is_boolean(),
        (_, Value::Array(list)) if list.len() > MAX_VALUES => {
            return Err(refuse(&place, &format!("has more than {MAX_VALUES} values")));
        }
        (_, Value::Array(list)) => {
            list.iter().all(Value::is_string) || list.iter().all(Value::is_i64)
        }
        _ => false,
    };
    match (fits, name.as_str()) {
        (true, _) => Ok(type_of(value.get(0).unwrap_or(value))),
        (false, "value") => Err(refuse(&place, "is not a string, a whole number or a boolean")),
        (false, _) => Err(refuse(&place, "is not a list of strings or of whole numbers")),
    }
}

/// Checks a range, and tells the type of its ends.
fn range_test(range: &Value, pointer: &str) -> Result<PayloadSchemaType> {
    let fields = object(range, pointer)?;
    only(fields, &["gt", "gte", "lt", "lte"], pointer)?;
    if fields.is_empty() {
        return Err(refuse(pointer, "needs one of gt, gte, lt, lte"));
    }
    for (name, value) in fields {
        let is_time = |text: &str| {
            use time::format_description::well_known::Rfc3339;
            time::OffsetDateTime::parse(text, &Rfc3339).is_ok()
        };
        if !value.is_number() && !value.as_str().is_some_and(is_time) {
            return Err(refuse(&child(pointer, name), "is not a number or an RFC 3339 time"));
        }
    }
    match (fields.values().any(Value::is_number), fields.values().any(Value::is_string)) {
        (true, true) => Err(refuse(pointer, "mixes numbers and times")),
        (true, false) => Ok(PayloadSchemaType::Float),
        _ => Ok(PayloadSchemaType::Datetime),
    }
}

fn type_of(value: &Value) -> PayloadSchemaType {
    match value {
        Value::Bool(_) => PayloadSchemaType::Bool,
        Value::Number(_) => PayloadSchemaType::Integer,
        _ => PayloadSchemaType::Keyword,
    }
}

/// The key of a condition as a path below the payload's `metadata`.
fn path(fields: &Map<String, Value>, pointer: &str) -> Result<JsonPath> {
    let place = child(pointer, "key");
    let key = fields.get("key").and_then(Value::as_str);
    let key = key.ok_or_else(|| refuse(&place, "is not a string"))?;
    let path = format!("metadata.{key}").parse();
    match path {
        Ok(path) if key.chars().count() <= MAX_KEY_CHARS => Ok(path),
        _ => Err(refuse(&place, "is not a path such as lang, author.name or \"my key\"")),
    }
}

fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| refuse(pointer, "is not an object"))
}

fn only(fields: &Map<String, Value>, allowed: &[&str], pointer: &str) -> Result<()> {
    match fields.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => {
            let known = allowed.join(", ");
            Err(refuse(&child(pointer, name), &format!("is not one of {known}")))
        }
        None => Ok(()),
    }
}

/// The pointer of a member, escaped as RFC 6901 asks, and cut where a hostile name is long.
fn child(pointer: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn refuse(pointer: &str, problem: &str) -> Error {
    Error::invalid("invalid_filter", format!("{pointer} {problem}.")).with_field(pointer, problem)
}
