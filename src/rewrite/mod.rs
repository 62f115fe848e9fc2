//! Turns a query in its conversation into a faithful standalone question and search queries:
//! gate, rules (dates, senses, facts), prompt, generate, evidence, check. Whatever the model
//! writes, [`rewrite`] answers with something that keeps the contract's guarantees. Knows no
//! HTTP, no storage and no collections: the glossary comes with the conversation.

pub mod check;
pub mod conversation;
pub mod dates;
pub mod edits;
pub mod evidence;
pub mod facts;
pub mod folding;
pub mod gate;
pub mod glossary;
pub mod language;
pub mod listen;
pub mod plan;
pub mod prompt;
pub mod reference;
pub mod remote;
pub mod rewriter;
pub mod search;
pub mod text;
pub mod verdict;

use std::time::{Duration, Instant};

pub use listen::{GateFinding, Heard, Listener};

use conversation::{Action, Clarification, Conversation, Issue, SearchQuery};
pub use remote::RemoteRewriter;
pub use rewriter::{LocalRewriter, Rewriter};

use crate::error::Error;
use plan::Plan;
use verdict::Verdict;

/// What a rewrite came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub action: Action,
    /// Equal to the query when the action is `pass`.
    pub standalone: String,
    pub search: Vec<SearchQuery>,
    pub issues: Vec<Issue>,
    pub clarification: Option<Clarification>,
    /// The gate's word for it: `complete`, `pronoun`, `ellipsis`, `vague`, …
    pub reason: &'static str,
}

/// Tokens that a rewrite cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub draft_accepted_tokens: usize,
}

/// Milliseconds of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    pub gate_ms: f64,
    pub generate_ms: f64,
    pub check_ms: f64,
}

/// How a conversation is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub gate: Gate,
    /// Most search queries.
    pub max_variants: usize,
    /// The raw query is the answer after it.
    pub deadline: Instant,
}

/// Whether the gate is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Complete queries are left alone.
    Auto,
    /// Every query with a conversation goes to the model.
    Always,
    /// Nothing is touched.
    Never,
}

/// An outcome with what it cost and what could not be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub outcome: Outcome,
    /// Stable codes, for example `rewrite_timeout`, `rewrite_lost_number`.
    pub degraded: Vec<&'static str>,
    pub spent: Spent,
    pub usage: Usage,
}

/// Rewrites within the deadline. Without a rewriter the rules alone decide. A listener hears the
/// steps; after a failure what it heard counts for nothing.
pub async fn rewrite(
    conversation: Conversation,
    options: Options,
    rewriter: Option<&Rewriter>,
    listener: Option<Listener<'_>>,
) -> Answer {
    if options.gate == Gate::Never {
        return untouched(&conversation, options, "mode_never");
    }
    let work = rewrite_in_time(&conversation, options, rewriter, listener);
    let left = options.deadline.saturating_duration_since(Instant::now());
    match tokio::time::timeout(left, work).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::warn!(error = %error, code = error.code, "rewrite failed");
            let code = failure_code(&error);
            let mut answer = untouched(&conversation, options, "failed");
            answer.degraded.push(code);
            answer
        }
        Err(_) => {
            let mut answer = untouched(&conversation, options, "timeout");
            answer.degraded.push("rewrite_timeout");
            answer
        }
    }
}

async fn rewrite_in_time(
    conversation: &Conversation,
    options: Options,
    rewriter: Option<&Rewriter>,
    listener: Option<Listener<'_>>,
) -> Result<Answer, Error> {
    let started = Instant::now();
    let owned = conversation.clone();
    let plan = blocking(move || Plan::new(owned, options.gate)).await?;
    let mut spent = Spent { gate_ms: milliseconds(started.elapsed()), ..Spent::default() };
    if let Some(listener) = listener {
        listener(Heard::Gate(GateFinding {
            reason: plan.diagnosis.reason,
            issues: plan.diagnosis.issues.clone(),
            asks_model: plan.wants_model() && rewriter.is_some(),
        }));
    }
    let mut usage = Usage::default();
    let mut degraded = Vec::new();
    let mut written = None;
    if plan.wants_model() {
        let started = Instant::now();
        match rewriter {
            None => degraded.push("rewriter_unavailable"),
            Some(rewriter) => {
                match rewriter.complete(&plan.conversation, options.deadline, listener).await {
                    Ok(completion) => {
                        usage = completion.usage;
                        written = Some(completion.text);
                    }
                    // What is left of the time would not be enough for anything else.
                    Err(error) if error.code == "rewrite_timeout" => return Err(error),
                    // The rules still know their part.
                    Err(error) => degraded.push(without_model(&error)),
                }
            }
        }
        spent.generate_ms = milliseconds(started.elapsed());
    }
    let started = Instant::now();
    let max_variants = options.max_variants;
    let Verdict { outcome, refused } =
        blocking(move || verdict::conclude(&plan, written.as_deref(), max_variants)).await?;
    degraded.extend(refused.map(|violation| violation.code()));
    spent.check_ms = milliseconds(started.elapsed());
    Ok(Answer { outcome, degraded, spent, usage })
}

/// Notes that the model could not be had, and gives the code of it.
fn without_model(error: &Error) -> &'static str {
    let code = failure_code(error);
    // A rewriter that is known to be away is reported when it goes, not at every request.
    if error.code != remote::SKIPPED {
        tracing::warn!(error = %error, code, "the rules answer without the rewriter");
    }
    code
}

/// The stable code in `degraded` of what went wrong.
fn failure_code(error: &Error) -> &'static str {
    match error.code {
        "rewriter_busy" | "rewrite_timeout" | "rewriter_unavailable" => error.code,
        remote::SKIPPED => "rewriter_unavailable",
        _ => "rewrite_failed",
    }
}

/// The query as it was asked.
fn untouched(conversation: &Conversation, options: Options, reason: &'static str) -> Answer {
    let query = conversation.query.clone();
    let outcome = Outcome {
        action: Action::Pass,
        search: search::queries(conversation, &query, false, &[], options.max_variants),
        standalone: query,
        issues: Vec::new(),
        clarification: None,
        reason,
    };
    Answer { outcome, degraded: Vec::new(), spent: Spent::default(), usage: Usage::default() }
}

/// Rules over a long conversation may take longer than a runtime thread may be held.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::failed("rewrite", source))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
