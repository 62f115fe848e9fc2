//! The events of a stream, as the description of the API has them. What is sent is built in
//! [`super::told`] and [`crate::http::stream`]; `tests/streams.rs` holds it to these.

use utoipa::ToSchema;

use super::answer::{GateEvent, RawResultsEvent, RewriteResponse, SearchResponse};
use crate::http::problem::ProblemDetails;
use crate::http::stream::{Delta, Done};

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
