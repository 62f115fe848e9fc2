//! What answers and the indexer tell to the metrics. Timings are those that answers carry, so
//! that a caller and a dashboard never see different ones.

use serde_json::{Value, json};
use tracing::Span;

use super::Services;
use super::question::{Found, Passage, Rewritten};
use crate::error::Result;
use crate::rewrite::conversation::Action;
use crate::telemetry::gpu;
use crate::telemetry::metrics::{self, Invariant, Stage};

/// Counts a rewrite and passes it on.
pub(super) fn rewritten(rewritten: Rewritten) -> Rewritten {
    let span = Span::current();
    span.record("querent.rewrite.action", tracing::field::debug(rewritten.outcome.action));
    metrics::cache("rewrite", rewritten.cache_hit);
    metrics::stage(Stage::Rewrite, rewritten.timings.total_ms);
    for reason in &rewritten.degraded {
        metrics::rewrite_fallback(reason);
    }
    let outcome = &rewritten.outcome;
    if outcome.action == Action::Pass && outcome.standalone != rewritten.query {
        tracing::error!(id = rewritten.id, "a query that was passed is not the one asked");
        metrics::violated(Invariant::PassIsUnchanged, 1);
    }
    if !rewritten.cache_hit {
        let timings = rewritten.timings;
        metrics::stage(Stage::Gate, timings.gate_ms);
        metrics::stage(Stage::Check, timings.check_ms);
        // A query that the rules settle never comes to the model.
        if rewritten.usage.prompt_tokens > 0 {
            metrics::stage(Stage::Generate, timings.generate_ms);
        }
    }
    if let Some(model) = &rewritten.model.rewriter {
        let usage = rewritten.usage;
        metrics::tokens(model, usage.prompt_tokens, usage.completion_tokens);
        span.record("gen_ai.request.model", model);
        span.record("gen_ai.usage.input_tokens", usage.prompt_tokens);
        span.record("gen_ai.usage.output_tokens", usage.completion_tokens);
    }
    rewritten
}

/// Counts a search and passes it on; its rewrite has been counted before.
pub(super) fn found(found: Found) -> Found {
    let span = Span::current();
    // Only a span that is traced has the field; ids and scores, never a text.
    if span.has_field("gen_ai.retrieval.documents") {
        let document = |passage: &Passage| json!({"id": passage.chunk_id, "score": passage.score});
        let documents: Vec<Value> = found.results.iter().map(document).collect();
        span.record("gen_ai.retrieval.documents", Value::from(documents).to_string());
    }
    let timings = found.timings;
    for (stage, milliseconds) in [
        (Stage::Embed, timings.embed_ms),
        (Stage::Search, timings.search_ms),
        (Stage::Rerank, timings.rerank_ms),
    ] {
        // A stage that was not wanted took no time at all.
        if milliseconds > 0.0 {
            metrics::stage(stage, milliseconds);
        }
    }
    found
}

impl Services {
    /// Takes the figures that are read rather than counted, before the metrics are given out.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn measure(&self) -> Result<()> {
        for (gpu, bytes) in gpu::memory_in_use().await {
            metrics::gpu_memory(gpu, bytes);
        }
        let backlog = self.store().backlog().await?;
        metrics::index_backlog(backlog.documents, backlog.lag);
        metrics::jobs("queued", backlog.queued_tasks);
        metrics::jobs("running", backlog.running_tasks);
        Ok(())
    }
}
