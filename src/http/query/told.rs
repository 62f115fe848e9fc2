//! Asking, told step by step: which event each step of the service becomes.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;

use super::answer::{GateEvent, RawResultsEvent, RewriteResponse, SearchResponse};
use super::request::{Asked, AskedSearch};
use crate::http::problem::Answer;
use crate::http::shed::Entry;
use crate::http::stream::{Emitter, Streams};
use crate::rewrite::Heard;
use crate::service::Services;
use crate::service::question::Step;
use crate::store::TenantId;

/// The events of a rewrite.
pub async fn rewrite(
    services: Arc<Services>,
    streams: &Streams,
    tenant: &TenantId,
    headers: &HeaderMap,
    asked: Asked,
    entry: Entry,
) -> Answer<Response> {
    let (of_work, asked) = (tenant.clone(), Arc::new((asked, entry)));
    let work = move |emitter: Emitter| {
        let (services, tenant, asked) =
            (Arc::clone(&services), of_work.clone(), Arc::clone(&asked));
        async move {
            let (asked, entry) = &*asked;
            let _admitted = entry.enter().await?;
            let listener = |step| tell(&emitter, step, &asked.positions);
            let question = asked.question.clone();
            let rewritten = services.rewrite_heard(&tenant, question, Some(&listener)).await?;
            emitter.send("rewrite", &RewriteResponse::new(rewritten, &asked.positions));
            Ok(())
        }
    };
    streams.answer(tenant, headers, work).await
}

/// The events of a search.
pub async fn search(
    services: Arc<Services>,
    streams: &Streams,
    tenant: &TenantId,
    headers: &HeaderMap,
    asked: AskedSearch,
    entry: Entry,
) -> Answer<Response> {
    let (of_work, asked) = (tenant.clone(), Arc::new((asked, entry)));
    let work = move |emitter: Emitter| {
        let (services, tenant, asked) =
            (Arc::clone(&services), of_work.clone(), Arc::clone(&asked));
        async move {
            let (asked, entry) = &*asked;
            let _admitted = entry.enter().await?;
            let listener = |step| tell(&emitter, step, &asked.positions);
            let search = asked.search.clone();
            let found = services.search_heard(&tenant, search, Some(&listener)).await?;
            emitter.send("results", &SearchResponse::new(found, &asked.positions));
            Ok(())
        }
    };
    streams.answer(tenant, headers, work).await
}

fn tell(emitter: &Emitter, step: Step, positions: &[usize]) {
    match step {
        Step::Rewriting(Heard::Gate(finding)) => {
            emitter.send("gate", &GateEvent::new(finding, positions));
        }
        Step::Rewriting(Heard::Delta(text)) => emitter.delta("rewrite_delta", &text),
        Step::RawResults(passages) => emitter.send("raw_results", &RawResultsEvent::new(passages)),
        Step::Rewritten(rewritten) => {
            emitter.send("rewrite", &RewriteResponse::new(*rewritten, positions));
        }
    }
}
