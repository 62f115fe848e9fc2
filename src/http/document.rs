//! The description of the API beyond its operations: what it is, how one authenticates, and what
//! a refusal looks like everywhere.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};

use super::compat::shape::Shape;
use super::generators;
use super::guard::SCHEME;
use super::idempotency;
use super::query::describe_events;

pub const ASKING: &str = "asking";
pub const FEEDBACK: &str = "feedback";
pub const CORPUS: &str = "corpus";
pub const DROP_IN: &str = "drop-in";
pub const KEYS: &str = "keys";
pub const OPERATIONS: &str = "operations";

const DESCRIPTION: &str = "Turns the ambiguous queries of a chat into faithful questions and \
    ranked passages. Spans count Unicode scalar values. Every answer carries `x-request-id`, \
    echoed when given, and `Server-Timing`; every refusal is a problem document (RFC 9457), or on \
    a drop-in route what that route's owner defines.";

/// The description without operations.
pub fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("querent")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
        .build();
    let tags = [
        (ASKING, "Rewriting queries and searching with them"),
        (FEEDBACK, "What people did with answers and said of them"),
        (CORPUS, "Collections, their documents and glossaries"),
        (DROP_IN, "Routes in the shapes of OpenAI, Jina, Cohere and TEI, for their clients"),
        (KEYS, "Who may call"),
        (OPERATIONS, "Whether the server is well, and what it is"),
    ];
    let tag = |(name, text)| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new().info(info).tags(Some(tags.map(tag))).build()
}

/// Adds what all operations share: the key, and the refusal as the default answer.
pub fn complete(mut api: OpenApi) -> OpenApi {
    describe_events(&mut api);
    let components = api.components.get_or_insert_default();
    add_key(components);
    generators::adapt(components);
    for shape in Shape::ALL {
        shape.describe(components);
    }
    idempotency::describe(&mut api);
    for (path, item) in &mut api.paths.paths {
        let refusal = Shape::of(path).reference();
        for operation in operations(item) {
            operation.responses.responses.insert("default".to_owned(), refusal.clone());
        }
    }
    api
}

fn add_key(components: &mut Components) {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("qk_ and 43 characters of 0-9 A-Z a-z")
        .description(Some("A key, made by `querent keys create` or `POST /admin/keys`."))
        .build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    fn api() -> Value {
        serde_json::to_value(crate::http::openapi()).unwrap()
    }

    fn references<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_resolves() {
        let api = api();
        let mut found = HashSet::new();
        references(&api, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(api.pointer(pointer).is_some(), "{reference} is not defined");
        }
    }

    #[test]
    fn operations_have_ids_tags_and_the_problem() {
        let api = api();
        let mut ids = HashSet::new();
        for (path, item) in api["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
                let verbs = [
                    "get", "list", "put", "create", "delete", "rewrite", "search", "embed",
                    "rerank",
                ];
                let verb = id.split('_').next().unwrap();
                assert!(verbs.contains(&verb) && id.contains('_'), "{id}");
                assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
                assert!(!operation["responses"]["default"].is_null(), "{method} {path}");
                assert!(!operation["summary"].is_null(), "{method} {path}");
            }
        }
    }

    #[test]
    fn the_description_is_the_same_at_every_call() {
        let text = || crate::http::openapi().to_pretty_json().unwrap();
        assert_eq!(text(), text());
    }
}
