//! The events of a stream, as the description of the API has them. What is sent is built in
//! [`super::told`] and [`crate::http::stream`]; `tests/streams.rs` holds it to these.

use serde_json::json;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::answer::{GateEvent, RawResultsEvent, RewriteResponse, SearchResponse};
use crate::http::problem::ProblemDetails;
use crate::http::stream::{Delta, Done};

const MEDIA_TYPE: &str = "text/event-stream";
/// What OpenAPI 3.2 calls `itemSchema`. A stream as a whole is a text, and programs that generate
/// clients take a schema of an object for the answer's own.
const ITEM_SCHEMA: &str = "x-item-schema";

/// Adds the schemas of events, and to each stream the one of its events.
pub fn describe(api: &mut OpenApi) {
    let mut schemas = Vec::new();
    RewriteEvent::schemas(&mut schemas);
    SearchEvent::schemas(&mut schemas);
    schemas.push((RewriteEvent::name().into_owned(), RewriteEvent::schema()));
    schemas.push((SearchEvent::name().into_owned(), SearchEvent::schema()));
    api.components.get_or_insert_default().schemas.extend(schemas);
    for (path, item) in &mut api.paths.paths {
        let name = if path == "/v1/rewrite" { RewriteEvent::name() } else { SearchEvent::name() };
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        for operation in operations(item) {
            for response in operation.responses.responses.values_mut() {
                let RefOr::T(response) = response else { continue };
                if let Some(RefOr::T(content)) = response.content.get_mut(MEDIA_TYPE) {
                    let extension = ExtensionsBuilder::new().add(ITEM_SCHEMA, reference.clone());
                    content.extensions = Some(extension.build());
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post].into_iter().flatten()
}

/// An event of a rewrite that is told step by step: the lines `event` and `data`, which is JSON.
/// Each also has an `id`, to be sent back as `Last-Event-ID`.
#[derive(ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum RewriteEvent {
    /// The first.
    Gate(GateEvent),
    /// Any number of them.
    RewriteDelta(Delta),
    Rewrite(RewriteResponse),
    /// The last, when all went well.
    Done(Done),
    /// The last, when it did not.
    Error(ProblemDetails),
}

/// An event of a search that is told step by step: the lines `event` and `data`, which is JSON.
/// Each also has an `id`, to be sent back as `Last-Event-ID`.
#[derive(ToSchema)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum SearchEvent {
    /// What the gate found.
    Gate(GateEvent),
    /// At any place before the results.
    RawResults(RawResultsEvent),
    /// Any number of them.
    RewriteDelta(Delta),
    Rewrite(RewriteResponse),
    Results(SearchResponse),
    /// The last, when all went well.
    Done(Done),
    /// The last, when it did not.
    Error(ProblemDetails),
}
