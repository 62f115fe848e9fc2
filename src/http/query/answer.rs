//! What a caller gets back, as it is on the wire.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::ops::ModelsObject;
use crate::rewrite::conversation::{
    Action, Clarification, Evidence, Issue, IssueKind, SearchKind, SearchQuery, Source, Span,
};
use crate::rewrite::{GateFinding, Usage};
use crate::service::question::{ContextAnswer, Found, MatchedBy, Passage, Rewritten};

/// A query, rewritten.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "rw_01997a3e6b6a7c0f8e1d2c3b4a596877",
    "action": "rewrite",
    "reason": "pronoun",
    "query": "那有啥好吃的",
    "standalone": "开原有啥好吃的",
    "search": [
        {"text": "开原 美食 推荐", "kind": "keyword", "weight": 1.0},
        {"text": "开原有啥好吃的", "kind": "semantic", "weight": 1.3}
    ],
    "issues": [{
        "type": "ambiguous_reference",
        "span": {"start": 0, "end": 1, "text": "那"},
        "resolved_by": {"source": "message", "index": 0, "text": "开原"},
        "confidence": 0.93
    }],
    "clarification": null,
    "model": {"rewriter": "starter-rewriter@1", "embedder": "starter-embedder@1"},
    "cache": "miss",
    "degraded": [],
    "timings_ms": {"gate": 0.2, "generate": 41.0, "check": 0.1, "total": 41.6},
    "usage": {"prompt_tokens": 38, "completion_tokens": 9, "draft_accepted_tokens": 5}
}))]
pub struct RewriteResponse {
    id: String,
    action: ActionName,
    /// What the gate found: `complete`, `pronoun`, `ellipsis`, `ambiguous_term`, `vague`,
    /// `no_context`, `mode_never`, `timeout` or `failed`.
    reason: &'static str,
    /// As it was asked.
    query: String,
    /// Says nothing that the query, the messages, the facts and the glossary do not.
    standalone: String,
    /// To search with; these may expand the question and are never to be shown as fact.
    search: Vec<SearchQueryObject>,
    issues: Vec<IssueObject>,
    /// A question back to the person, when `action` is `clarify`.
    clarification: Option<ClarificationObject>,
    model: ModelsObject,
    cache: CacheName,
    /// Codes of what could not be done as asked, for example `rewrite_timeout`. With
    /// `database_unavailable` the glossary is the one that was last read, or none.
    degraded: Vec<String>,
    timings_ms: RewriteTimingsObject,
    usage: UsageObject,
}

/// Passages, with the rewrite that found them.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchResponse {
    id: String,
    rewrite: RewriteResponse,
    /// Best first.
    results: Vec<PassageObject>,
    /// The passages as one text, when it was asked for.
    context: Option<ContextObject>,
    /// Codes of what could not be done as asked. With `database_unavailable` passages are among
    /// the results only if they were found lately.
    degraded: Vec<String>,
    timings_ms: SearchTimingsObject,
}

/// What was done with the query.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    /// Left alone: `standalone` is the query.
    Pass,
    Rewrite,
    /// Asked back; `standalone` is still the best faithful reading.
    Clarify,
}

/// Whether the rewrite had been made before.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheName {
    Hit,
    Miss,
}

/// A query to search with.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchQueryObject {
    text: String,
    kind: SearchKindName,
    weight: f32,
}

/// How a search query is meant to be matched.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchKindName {
    Keyword,
    Semantic,
}

/// An ambiguity of the query.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssueObject {
    #[serde(rename = "type")]
    kind: IssueTypeName,
    /// The words in trouble; an empty span marks a place where something is left out.
    span: SpanObject,
    /// Null when nothing resolved it.
    resolved_by: Option<EvidenceObject>,
    /// 0 to 1.
    confidence: f32,
}

/// The kinds of trouble.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssueTypeName {
    MissingInformation,
    Vague,
    AmbiguousReference,
}

/// A piece of the query, counted in Unicode scalar values.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpanObject {
    start: usize,
    end: usize,
    text: String,
}

/// The words that resolved an issue, and where they stand.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum EvidenceObject {
    Message {
        /// Index into the request's `messages`.
        index: usize,
        text: String,
    },
    Fact {
        /// Key of the request's `context.facts`.
        key: String,
        text: String,
    },
    Glossary {
        /// Id of a term of the collection's glossary.
        term_id: String,
        text: String,
    },
    /// Worked out from the request's `context.now`.
    Date { text: String },
}

/// A question back to the person.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClarificationObject {
    question: String,
    /// The readings to choose from.
    options: Vec<String>,
}

/// Milliseconds that the parts of a rewrite took.
#[derive(Debug, Serialize, ToSchema)]
pub struct RewriteTimingsObject {
    gate: f64,
    generate: f64,
    check: f64,
    total: f64,
}

/// Tokens that the rewriter read and wrote.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageObject {
    prompt_tokens: usize,
    completion_tokens: usize,
    /// Of these, guessed from the prompt and confirmed.
    draft_accepted_tokens: usize,
}

/// A passage found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "document_id": "food-3",
    "chunk_id": "ck_1812",
    "title": "开原美食",
    "uri": null,
    "text": "开原的小吃有大冷面和酸菜馅饼。",
    "span": {"start": 0, "end": 15},
    "metadata": {"lang": "zh"},
    "score": 0.031,
    "matched_by": [{"query": 0, "leg": "sparse", "rank": 1, "score": 7.4}]
}))]
pub struct PassageObject {
    document_id: String,
    chunk_id: String,
    title: Option<String>,
    uri: Option<String>,
    text: String,
    /// Place in the document's text.
    span: RangeObject,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    score: f32,
    matched_by: Vec<MatchedByObject>,
}

/// A place in a text, counted in Unicode scalar values.
#[derive(Debug, Serialize, ToSchema)]
pub struct RangeObject {
    start: usize,
    end: usize,
}

/// A list in which the passage was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatchedByObject {
    /// Index into the rewrite's `search`; one more than the last is the query as it was asked.
    query: usize,
    /// `dense`, `sparse` or `rerank`.
    leg: &'static str,
    /// From 1.
    rank: usize,
    score: f32,
}

/// The passages as one text for an answering model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContextObject {
    text: String,
    citations: Vec<CitationObject>,
}

/// Which passage a marker of the text stands for.
#[derive(Debug, Serialize, ToSchema)]
pub struct CitationObject {
    /// For example `[1]`.
    marker: String,
    chunk_id: String,
}

/// Milliseconds that the parts of a search took.
#[derive(Debug, Serialize, ToSchema)]
pub struct SearchTimingsObject {
    rewrite: f64,
    embed: f64,
    search: f64,
    rerank: f64,
    total: f64,
}

/// What the gate found, as the first event of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct GateEvent {
    reason: &'static str,
    issues: Vec<IssueObject>,
    /// Whether `rewrite_delta` events follow.
    rewriting: bool,
}

/// What the query as it was asked has found.
#[derive(Debug, Serialize, ToSchema)]
pub struct RawResultsEvent {
    results: Vec<PassageObject>,
}

impl GateEvent {
    /// `positions` tells where each message of the question stands among the request's.
    pub fn new(finding: GateFinding, positions: &[usize]) -> Self {
        let issue = |issue| IssueObject::new(issue, positions);
        Self {
            reason: finding.reason,
            issues: finding.issues.into_iter().map(issue).collect(),
            rewriting: finding.asks_model,
        }
    }
}

impl RawResultsEvent {
    pub fn new(passages: Vec<Passage>) -> Self {
        Self { results: passages.into_iter().map(Into::into).collect() }
    }
}

impl RewriteResponse {
    /// `positions` tells where each message of the question stands among the request's.
    pub fn new(rewritten: Rewritten, positions: &[usize]) -> Self {
        let outcome = rewritten.outcome;
        let timings = rewritten.timings;
        let issue = |issue| IssueObject::new(issue, positions);
        Self {
            id: rewritten.id,
            action: outcome.action.into(),
            reason: outcome.reason,
            query: rewritten.query,
            standalone: outcome.standalone,
            search: outcome.search.into_iter().map(Into::into).collect(),
            issues: outcome.issues.into_iter().map(issue).collect(),
            clarification: outcome.clarification.map(Into::into),
            model: ModelsObject {
                rewriter: rewritten.model.rewriter,
                embedder: rewritten.model.embedder,
            },
            cache: if rewritten.cache_hit { CacheName::Hit } else { CacheName::Miss },
            degraded: rewritten.degraded,
            timings_ms: RewriteTimingsObject {
                gate: rounded(timings.gate_ms),
                generate: rounded(timings.generate_ms),
                check: rounded(timings.check_ms),
                total: rounded(timings.total_ms),
            },
            usage: rewritten.usage.into(),
        }
    }
}

impl SearchResponse {
    /// `positions` tells where each message of the question stands among the request's.
    pub fn new(found: Found, positions: &[usize]) -> Self {
        let timings = found.timings;
        Self {
            id: found.id,
            rewrite: RewriteResponse::new(found.rewritten, positions),
            results: found.results.into_iter().map(Into::into).collect(),
            context: found.context.map(Into::into),
            degraded: found.degraded,
            timings_ms: SearchTimingsObject {
                rewrite: rounded(timings.rewrite_ms),
                embed: rounded(timings.embed_ms),
                search: rounded(timings.search_ms),
                rerank: rounded(timings.rerank_ms),
                total: rounded(timings.total_ms),
            },
        }
    }
}

impl IssueObject {
    fn new(issue: Issue, positions: &[usize]) -> Self {
        Self {
            kind: match issue.kind {
                IssueKind::MissingInformation => IssueTypeName::MissingInformation,
                IssueKind::Vague => IssueTypeName::Vague,
                IssueKind::AmbiguousReference => IssueTypeName::AmbiguousReference,
            },
            span: issue.span.into(),
            resolved_by: issue.resolved_by.map(|evidence| EvidenceObject::new(evidence, positions)),
            confidence: issue.confidence,
        }
    }
}

impl EvidenceObject {
    fn new(Evidence { source, text }: Evidence, positions: &[usize]) -> Self {
        match source {
            Source::Message(index) => {
                let index = positions.get(index).copied().unwrap_or(index);
                Self::Message { index, text }
            }
            Source::Fact(key) => Self::Fact { key, text },
            Source::Glossary(term_id) => Self::Glossary { term_id, text },
            Source::Date => Self::Date { text },
        }
    }
}

impl From<Action> for ActionName {
    fn from(action: Action) -> Self {
        match action {
            Action::Pass => Self::Pass,
            Action::Rewrite => Self::Rewrite,
            Action::Clarify => Self::Clarify,
        }
    }
}

impl From<SearchQuery> for SearchQueryObject {
    fn from(query: SearchQuery) -> Self {
        let kind = match query.kind {
            SearchKind::Keyword => SearchKindName::Keyword,
            SearchKind::Semantic => SearchKindName::Semantic,
        };
        Self { text: query.text, kind, weight: query.weight }
    }
}

impl From<Span> for SpanObject {
    fn from(Span { start, end, text }: Span) -> Self {
        Self { start, end, text }
    }
}

impl From<Clarification> for ClarificationObject {
    fn from(Clarification { question, options }: Clarification) -> Self {
        Self { question, options }
    }
}

impl From<Usage> for UsageObject {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            draft_accepted_tokens: usage.draft_accepted_tokens,
        }
    }
}

impl From<Passage> for PassageObject {
    fn from(passage: Passage) -> Self {
        let (start, end) = passage.span;
        Self {
            document_id: passage.document_id,
            chunk_id: passage.chunk_id,
            title: passage.title,
            uri: passage.uri,
            text: passage.text,
            span: RangeObject { start, end },
            metadata: passage.metadata,
            score: passage.score,
            matched_by: passage.matched_by.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<MatchedBy> for MatchedByObject {
    fn from(MatchedBy { query, leg, rank, score }: MatchedBy) -> Self {
        Self { query, leg, rank, score }
    }
}

impl From<ContextAnswer> for ContextObject {
    fn from(context: ContextAnswer) -> Self {
        let citation = |(marker, chunk_id)| CitationObject { marker, chunk_id };
        Self {
            text: context.text,
            citations: context.citations.into_iter().map(citation).collect(),
        }
    }
}

/// Microseconds are as fine as a caller needs them.
fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
