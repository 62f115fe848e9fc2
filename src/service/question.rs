//! What a caller asks and what comes back: the nouns of asking.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::rewrite::conversation::{Role, SearchQuery};
use crate::rewrite::{Heard, Outcome, Usage};

/// Whether the query may be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The gate decides.
    #[default]
    Auto,
    Always,
    Never,
}

/// A query with its conversation and context. Limits are checked by [`super::Services::rewrite`].
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Who asks, by a name that the caller chooses; feedback can be deleted by it.
    pub user: Option<String>,
    /// Empty: the last user message is the query.
    pub query: String,
    /// Oldest first.
    pub messages: Vec<(Role, String)>,
    pub now: Option<OffsetDateTime>,
    pub locale: Option<String>,
    pub facts: BTreeMap<String, String>,
    pub collection: Option<String>,
    pub mode: Mode,
    /// Most search queries wanted, 1 to 8.
    pub max_variants: usize,
    /// Time for the rewrite in milliseconds, 1 to 60,000; the raw query is the answer after it.
    pub max_rewrite_ms: u64,
}

/// Which models answered, as `name@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPair {
    pub rewriter: Option<String>,
    pub embedder: String,
}

/// Milliseconds spent in each part of a rewrite.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RewriteTimings {
    pub gate_ms: f64,
    pub generate_ms: f64,
    pub check_ms: f64,
    pub total_ms: f64,
}

/// The answer to a rewrite.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// `rw_…`
    pub id: String,
    pub query: String,
    /// Action, standalone, issues, clarification, search queries, the gate's reason.
    pub outcome: Outcome,
    pub model: ModelPair,
    pub cache_hit: bool,
    /// Codes of what could not be done as asked, for example `rewrite_timeout`.
    pub degraded: Vec<String>,
    pub timings: RewriteTimings,
    pub usage: Usage,
}

/// A search: a question, and what is wanted of the passages.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub question: Question,
    /// 1 to 100.
    pub top_k: usize,
    /// Qdrant's `must/should/must_not` subset on metadata.
    pub filter: Option<Value>,
    pub rerank: bool,
    pub include_context: bool,
    /// Most tokens of the context text.
    pub context_tokens: usize,
}

/// Which list a passage was found in.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedBy {
    /// Index into the search queries used; the raw query comes behind them.
    pub query: usize,
    /// `dense`, `sparse` or `rerank`.
    pub leg: &'static str,
    /// From 1.
    pub rank: usize,
    pub score: f32,
}

/// A passage found.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub document_id: String,
    /// `ck_…`
    pub chunk_id: String,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub text: String,
    /// Place in the document's text, in Unicode scalar values.
    pub span: (usize, usize),
    pub metadata: Map<String, Value>,
    pub score: f32,
    pub matched_by: Vec<MatchedBy>,
}

/// Passages as one text for an answering model.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextAnswer {
    pub text: String,
    /// `([1], chunk id)` in order.
    pub citations: Vec<(String, String)>,
}

/// Milliseconds spent in each part of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SearchTimings {
    pub rewrite_ms: f64,
    pub embed_ms: f64,
    pub search_ms: f64,
    pub rerank_ms: f64,
    pub total_ms: f64,
}

/// The answer to a search.
#[derive(Debug, Clone)]
pub struct Found {
    /// `se_…`
    pub id: String,
    pub rewritten: Rewritten,
    /// The queries that were searched with, in the order of [`MatchedBy::query`].
    pub queries: Vec<SearchQuery>,
    pub results: Vec<Passage>,
    pub context: Option<ContextAnswer>,
    pub degraded: Vec<String>,
    pub timings: SearchTimings,
}

/// What a caller may hear while a question is being answered, in this order; the raw results may
/// come at any place before the rewrite.
#[derive(Debug, Clone)]
pub enum Step {
    Rewriting(Heard),
    /// What the query as it was asked has found.
    RawResults(Vec<Passage>),
    Rewritten(Box<Rewritten>),
}

/// Takes steps as they come; must return at once.
pub type StepListener<'a> = &'a (dyn Fn(Step) + Send + Sync);
