//! Our points and filters in the words of Qdrant's gRPC.

use std::collections::HashMap;

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    Condition, DatetimeRange, Filter as ServerFilter, ListValue, NamedVectors, PointId,
    PointStruct, Range, SparseVector, Struct, Timestamp, Value as ServerValue, Vector, vector,
};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::lexical::DocumentEmbedder;
use super::super::{BM25, DENSE, Filter, Point, check_dense};
use crate::error::{Error, Result};
use crate::store::corpus::CollectionRef;

pub(super) const TENANT: &str = "tenant";
pub(super) const DOCUMENT_ID: &str = "document_id";
const COLLECTION: &str = "collection";
const METADATA: &str = "metadata";
/// Metadata below this depth is kept as JSON text, which filters do not look into: the format
/// on the line allows about 30 levels, and one document must not hold up all others.
const MAX_DEPTH: usize = 16;

/// A chunk as a point of its collection.
pub(super) fn point(
    collection: &CollectionRef,
    embedder: &DocumentEmbedder,
    point: &Point,
) -> Result<PointStruct> {
    check_dense(&point.dense, collection.dimension())?;
    let dense = vector::Vector::Dense(point.dense.clone().into());
    let mut vectors = HashMap::from([(DENSE.to_owned(), named(dense))]);
    let terms = embedder.embed(&point.lexical_text);
    if !terms.indices.is_empty() {
        let terms = SparseVector { indices: terms.indices, values: terms.values };
        vectors.insert(BM25.to_owned(), named(vector::Vector::Sparse(terms)));
    }
    let payload = [
        (TENANT, collection.tenant().as_str().into()),
        (COLLECTION, collection.id().into()),
        (DOCUMENT_ID, point.document_id.clone().into()),
        (METADATA, object(&point.metadata, 0)),
    ];
    Ok(PointStruct {
        id: Some(point_id(point.chunk_id)?),
        payload: payload.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        vectors: Some(NamedVectors { vectors }.into()),
    })
}

pub(super) fn point_id(chunk_id: i64) -> Result<PointId> {
    let id = u64::try_from(chunk_id).map_err(|error| Error::failed("name a point", error))?;
    Ok(id.into())
}

pub(super) fn chunk_id(id: Option<PointId>) -> Option<i64> {
    match id?.point_id_options? {
        PointIdOptions::Num(id) => i64::try_from(id).ok(),
        PointIdOptions::Uuid(_) => None,
    }
}

/// What a search may see: the tenant's points, and of these what the caller filters by.
pub(super) fn scope(collection: &CollectionRef, asked: Option<&Filter>) -> Result<ServerFilter> {
    let mut must = vec![Condition::matches(TENANT, collection.tenant().as_str().to_owned())];
    if let Some(asked) = asked {
        must.push(nested(filter(asked.checked())?));
    }
    Ok(ServerFilter { must, ..ServerFilter::default() })
}

fn named(vector: vector::Vector) -> Vector {
    Vector { vector: Some(vector), ..Vector::default() }
}

fn object(fields: &Map<String, Value>, depth: usize) -> ServerValue {
    let fields = fields.iter().map(|(key, field)| (key.clone(), value(field, depth + 1))).collect();
    Kind::StructValue(Struct { fields }).into()
}

fn value(value_of: &Value, depth: usize) -> ServerValue {
    match value_of {
        Value::Null => Kind::NullValue(0).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.clone().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => value_of.to_string().into(),
        Value::Array(list) => {
            let values = list.iter().map(|item| value(item, depth + 1)).collect();
            Kind::ListValue(ListValue { values }).into()
        }
        Value::Object(fields) => object(fields, depth),
    }
}

/// A filter that [`Filter::parse`] has checked; whatever else it may be is a fault of ours.
fn filter(checked: &Value) -> Result<ServerFilter> {
    let list = |name: &str| -> Result<Vec<Condition>> {
        checked[name].as_array().into_iter().flatten().map(condition).collect()
    };
    Ok(ServerFilter {
        must: list("must")?,
        should: list("should")?,
        must_not: list("must_not")?,
        min_should: None,
    })
}

fn condition(checked: &Value) -> Result<Condition> {
    if let Some(key) = checked["is_empty"]["key"].as_str() {
        return Ok(Condition::is_empty(key));
    }
    if let Some(key) = checked["is_null"]["key"].as_str() {
        return Ok(Condition::is_null(key));
    }
    let Some(key) = checked["key"].as_str() else { return Ok(nested(filter(checked)?)) };
    match (checked["match"].as_object(), checked["range"].as_object()) {
        (Some(test), _) => {
            let (name, value) = test.iter().next().ok_or_else(|| misread(checked))?;
            let wanted = match_value(name, value).ok_or_else(|| misread(checked))?;
            Ok(Condition::matches(key, wanted))
        }
        (_, Some(ends)) => range(key, ends).ok_or_else(|| misread(checked)),
        _ => Err(misread(checked)),
    }
}

fn nested(filter: ServerFilter) -> Condition {
    Condition { condition_one_of: Some(ConditionOneOf::Filter(filter)) }
}

fn match_value(name: &str, value: &Value) -> Option<MatchValue> {
    let words = || -> Option<Vec<String>> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let numbers = || value.as_array()?.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>();
    Some(match (name, value) {
        ("value", Value::String(word)) => MatchValue::Keyword(word.clone()),
        ("value", Value::Bool(flag)) => MatchValue::Boolean(*flag),
        ("value", number) => MatchValue::Integer(number.as_i64()?),
        ("any", _) => match words() {
            Some(words) => MatchValue::Keywords(words.into()),
            None => MatchValue::Integers(numbers()?.into()),
        },
        ("except", _) => match words() {
            Some(words) => MatchValue::ExceptKeywords(words.into()),
            None => MatchValue::ExceptIntegers(numbers()?.into()),
        },
        _ => return None,
    })
}

fn range(key: &str, ends: &Map<String, Value>) -> Option<Condition> {
    if ends.values().all(Value::is_number) {
        let end = |name: &str| ends.get(name).and_then(Value::as_f64);
        let range = Range { gt: end("gt"), gte: end("gte"), lt: end("lt"), lte: end("lte") };
        return Some(Condition::range(key, range));
    }
    let mut range = DatetimeRange::default();
    for (name, value) in ends {
        let end = match name.as_str() {
            "gt" => &mut range.gt,
            "gte" => &mut range.gte,
            "lt" => &mut range.lt,
            "lte" => &mut range.lte,
            _ => return None,
        };
        let time = OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()?;
        let nanos = i32::try_from(time.nanosecond()).ok()?;
        *end = Some(Timestamp { seconds: time.unix_timestamp(), nanos });
    }
    Some(Condition::datetime_range(key, range))
}

/// The filter is the caller's text, so it is not repeated.
fn misread(_: &Value) -> Error {
    Error::internal("a checked filter holds a condition that the server's format has no word for")
}
