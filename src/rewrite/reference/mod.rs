//! The fallback when the model fails: puts the most likely earlier words in the place of a
//! pronoun or a gap, and only when one candidate is clearly ahead of all others.
//!
//! Salience is counted, not learnt: newer turns, the person's own turns, quoted and named
//! things and repeated ones weigh more (after Lappin and Leass 1994).

mod candidates;
mod chinese;
mod english;
mod enumeration;
mod pointer;
#[cfg(test)]
mod tests;
mod topic;

pub use candidates::{Candidate, Sort, antecedents};
pub use topic::beside;

use super::conversation::{Conversation, Edit, Evidence, Issue, IssueKind, Source, Span};
use super::gate::Diagnosis;
use super::language::Language;

/// Edits that replace pointers and fill ellipses with words of the conversation; empty where
/// no candidate is clearly ahead. The evidence holds the exact words that were copied.
pub fn resolve(conversation: &Conversation, diagnosis: &Diagnosis) -> Vec<Edit> {
    if diagnosis.complete() || conversation.turns.is_empty() && conversation.facts.is_empty() {
        return Vec::new();
    }
    match diagnosis.language {
        Language::Chinese => chinese::resolve(conversation, diagnosis),
        Language::English => english::resolve(conversation, diagnosis),
        Language::Other => Vec::new(),
    }
}

/// The open issues of a kind, in the order of the query.
fn open_issues(diagnosis: &Diagnosis, kind: IssueKind) -> impl Iterator<Item = &Issue> {
    let issues = diagnosis.issues.iter();
    let open = issues.filter(move |issue| issue.kind == kind && issue.resolved_by.is_none());
    open.take(MOST_POINTERS)
}

/// The best of some candidates (best first), if the next one is clearly behind.
fn clear_winner<'a>(
    mut ranked: impl Iterator<Item = &'a Candidate>,
) -> Option<(&'a Candidate, f32)> {
    let best = ranked.next()?;
    let second = ranked.next();
    let ahead = best.score - second.map_or(0.0, |candidate| candidate.score);
    // A quoted name or a term is a thing for certain; what only looks like a name may be none.
    let only_name = best.is_name && second.is_none_or(|candidate| !candidate.is_name);
    let least_lead = if only_name { LEAST_NAME_LEAD } else { LEAST_LEAD };
    (best.score >= LEAST_SCORE && ahead >= least_lead)
        .then(|| (best, (0.5 + 0.4 * ahead).min(0.85)))
}

fn replace(span: Span, replacement: String, candidate: &Candidate, confidence: f32) -> Edit {
    edit(
        span,
        replacement,
        &candidate.text,
        candidate.source.clone(),
        IssueKind::AmbiguousReference,
        confidence,
    )
}

/// Pointers to one thing are resolved once: after that the query itself names it.
fn first_mentions(edits: Vec<Edit>) -> Vec<Edit> {
    let mut kept: Vec<Edit> = Vec::new();
    for edit in edits {
        if kept.iter().all(|other| other.evidence.text != edit.evidence.text) {
            kept.push(edit);
        }
    }
    kept
}

fn edit(
    span: Span,
    replacement: String,
    words: &str,
    source: Source,
    issue: IssueKind,
    confidence: f32,
) -> Edit {
    let evidence = Evidence { source, text: words.to_owned() };
    Edit { span, replacement, issue, evidence, confidence }
}

const LEAST_SCORE: f32 = 0.6;
const LEAST_LEAD: f32 = 0.25;
const LEAST_NAME_LEAD: f32 = 0.1;

/// A query with more pointers than this is no question that rules can mend.
const MOST_POINTERS: usize = 4;
