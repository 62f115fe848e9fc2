//! Filters as Qdrant documents them, by looking at each payload.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    Condition, DatetimeRange, FieldCondition, Filter, PointStruct, Range, Struct, Timestamp, Value,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub fn matches(point: &PointStruct, filter: Option<&Filter>) -> bool {
    let payload = Struct { fields: point.payload.clone() };
    filter.is_none_or(|filter| holds(&payload, filter))
}

fn holds(payload: &Struct, filter: &Filter) -> bool {
    let test = |condition: &Condition| meets(payload, condition);
    filter.must.iter().all(test)
        && !filter.must_not.iter().any(test)
        && (filter.should.is_empty() || filter.should.iter().any(test))
}

fn meets(payload: &Struct, condition: &Condition) -> bool {
    match condition.condition_one_of.as_ref().unwrap() {
        ConditionOneOf::Filter(filter) => holds(payload, filter),
        ConditionOneOf::IsEmpty(empty) => {
            let is_nothing = |kind: &Kind| matches!(kind, Kind::NullValue(_));
            values(payload, &empty.key).iter().all(is_nothing)
        }
        ConditionOneOf::IsNull(null) => {
            let is_null = |kind: &Kind| matches!(kind, Kind::NullValue(_));
            values(payload, &null.key).iter().any(is_null)
        }
        ConditionOneOf::Field(field) => field_meets(payload, field),
        other => panic!("the stand-in has no condition like {other:?}"),
    }
}

fn field_meets(payload: &Struct, field: &FieldCondition) -> bool {
    let found = values(payload, &field.key);
    if let Some(wanted) = &field.r#match {
        let wanted = wanted.match_value.as_ref().unwrap();
        return found.iter().any(|value| equals(value, wanted));
    }
    if let Some(range) = &field.range {
        return found.iter().any(|value| in_range(value, range));
    }
    let range = field.datetime_range.as_ref().unwrap();
    found.iter().any(|value| in_time(value, range))
}

fn equals(value: &Kind, wanted: &MatchValue) -> bool {
    match (value, wanted) {
        (Kind::StringValue(own), MatchValue::Keyword(word)) => own == word,
        (Kind::IntegerValue(own), MatchValue::Integer(number)) => own == number,
        (Kind::BoolValue(own), MatchValue::Boolean(flag)) => own == flag,
        (Kind::StringValue(own), MatchValue::Keywords(words)) => words.strings.contains(own),
        (Kind::IntegerValue(own), MatchValue::Integers(all)) => all.integers.contains(own),
        (Kind::StringValue(own), MatchValue::ExceptKeywords(words)) => !words.strings.contains(own),
        (Kind::IntegerValue(own), MatchValue::ExceptIntegers(all)) => !all.integers.contains(own),
        (_, MatchValue::ExceptKeywords(_) | MatchValue::ExceptIntegers(_)) => true,
        _ => false,
    }
}

fn in_range(value: &Kind, range: &Range) -> bool {
    let number = match value {
        Kind::IntegerValue(number) => *number as f64,
        Kind::DoubleValue(number) => *number,
        _ => return false,
    };
    range.gt.is_none_or(|end| number > end)
        && range.gte.is_none_or(|end| number >= end)
        && range.lt.is_none_or(|end| number < end)
        && range.lte.is_none_or(|end| number <= end)
}

fn in_time(value: &Kind, range: &DatetimeRange) -> bool {
    let Kind::StringValue(text) = value else { return false };
    let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else { return false };
    let moment = (time.unix_timestamp(), time.nanosecond() as i32);
    let end = |end: &Timestamp| (end.seconds, end.nanos);
    range.gt.as_ref().is_none_or(|limit| moment > end(limit))
        && range.gte.as_ref().is_none_or(|limit| moment >= end(limit))
        && range.lt.as_ref().is_none_or(|limit| moment < end(limit))
        && range.lte.as_ref().is_none_or(|limit| moment <= end(limit))
}

/// The values at a path such as `metadata.author."full name"`; a list gives its items.
fn values(payload: &Struct, path: &str) -> Vec<Kind> {
    let mut at = Kind::StructValue(payload.clone());
    for key in keys(path) {
        let Kind::StructValue(mut fields) = at else { return Vec::new() };
        let Some(Value { kind: Some(next) }) = fields.fields.remove(&key) else {
            return Vec::new();
        };
        at = next;
    }
    match at {
        Kind::ListValue(list) => list.values.into_iter().filter_map(|value| value.kind).collect(),
        one => vec![one],
    }
}

fn keys(path: &str) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut quoted = false;
    for character in path.chars() {
        match character {
            '"' => quoted = !quoted,
            '.' if !quoted => keys.push(String::new()),
            other => keys.last_mut().unwrap().push(other),
        }
    }
    keys
}
