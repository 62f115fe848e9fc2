//! What programs that generate clients need of the description, beyond what is true anyway:
//!
//! - Defaults in words. openapi-typescript takes a field with a `default` for one that is always
//!   there, and so has every request name it.
//! - Open objects that say so. One without fields is taken for one that never has any.

use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayItems, Components, Object, Schema, SchemaType, Type,
};

/// Goes through all schemas of bodies.
pub fn adapt(components: &mut Components) {
    components.schemas.values_mut().for_each(visit);
}

fn visit(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            tell(&mut object.default, &mut object.description);
            open(object);
            object.properties.values_mut().for_each(visit);
        }
        Schema::Array(array) => {
            tell(&mut array.default, &mut array.description);
            if let ArrayItems::RefOrSchema(item) = &mut array.items {
                visit(item);
            }
        }
        Schema::OneOf(choice) => {
            tell(&mut choice.default, &mut choice.description);
            choice.items.iter_mut().for_each(visit);
        }
        Schema::AnyOf(choice) => choice.items.iter_mut().for_each(visit),
        Schema::AllOf(whole) => whole.items.iter_mut().for_each(visit),
        _ => {}
    }
}

fn tell(default: &mut Option<Value>, description: &mut Option<String>) {
    let Some(default) = default.take() else { return };
    let text = format!("Default: `{default}`.");
    *description = Some(match description.take() {
        Some(before) => format!("{before} {text}"),
        None => text,
    });
}

fn open(object: &mut Object) {
    let is_object = match &object.schema_type {
        SchemaType::Type(kind) => *kind == Type::Object,
        SchemaType::Array(kinds) => kinds.contains(&Type::Object),
        SchemaType::AnyValue => false,
    };
    if is_object && object.properties.is_empty() && object.additional_properties.is_none() {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(true)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn api() -> Value {
        serde_json::to_value(crate::http::openapi()).unwrap()
    }

    #[test]
    fn defaults_are_told_in_words_and_open_objects_are_open() {
        let api = api();
        let field = |schema: &str, field: &str| {
            api["components"]["schemas"][schema]["properties"][field].clone()
        };
        let expected = json!({"type": ["integer", "null"], "format": "int64", "minimum": 1, "maximum": 100,
                              "description": "Passages wanted. Default: `10`."});
        assert_eq!(field("SearchRequest", "top_k"), expected);
        assert_eq!(field("ContextInput", "facts")["additionalProperties"], true);
    }

    #[test]
    fn no_schema_has_a_default_or_is_closed_by_omission() {
        fn check(schema: &Value, place: &str) {
            let Some(members) = schema.as_object() else { return };
            assert!(!members.contains_key("default"), "{place}");
            let kind = schema["type"].to_string();
            let says =
                ["properties", "additionalProperties"].map(|name| members.contains_key(name));
            assert!(!kind.contains("\"object\"") || says.contains(&true), "{place}");
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                check(inner, &format!("{place}/{name}"));
            }
            check(&schema["items"], place);
        }
        for (name, schema) in api()["components"]["schemas"].as_object().unwrap() {
            check(schema, name);
        }
    }
}
