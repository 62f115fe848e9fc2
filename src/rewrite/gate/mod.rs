//! What is wrong with a query, if anything: the first look, before any model is asked.
//!
//! A query that names its subject and says what it wants must come out with no issue at all;
//! rewriting a good question is worse than leaving a bad one. So every rule here asks for
//! positive evidence: a pronoun without an antecedent of its own, a sentence without a topic,
//! a request for data that does not say which data.

mod chinese;
mod chinese_pointers;
pub mod data_request;
mod english;
mod english_antecedents;
mod english_pointers;
#[cfg(test)]
pub(super) mod tests;

pub(super) use english::AUXILIARIES;

use super::conversation::{Conversation, Issue, IssueKind, Role, Span};
use super::glossary;
use super::language::{self, Language, Text};

/// What the gate found.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    pub language: Language,
    /// In the order of their spans; empty for a complete query.
    pub issues: Vec<Issue>,
    /// One word for logs and metrics: `complete`, `pronoun`, `ellipsis`, `ambiguous_term`,
    /// `vague`, or `no_context` when there is nothing to resolve the issues with.
    pub reason: &'static str,
    /// A pronoun or an ellipsis, and earlier turns that may hold what it stands for.
    pub depends_on_history: bool,
}

impl Diagnosis {
    /// Whether the query can be left as it is.
    pub fn complete(&self) -> bool {
        self.issues.is_empty()
    }
}

/// Finds the spots of the query that cannot be understood from the query alone.
pub fn diagnose(conversation: &Conversation) -> Diagnosis {
    let language = language::of(&conversation.query);
    let text = Text::new(&conversation.query);
    let has_history = has_history(conversation);
    let finding = match language {
        Language::Chinese => chinese::find(&text, conversation, has_history),
        Language::English => english::find(&text, conversation, has_history),
        Language::Other => Finding::default(),
    };
    let (senses, has_open_sense) = sense_issues(conversation);
    let points_back = !finding.pointers.is_empty() || finding.ellipsis.is_some();
    let has_context = has_history
        || !conversation.facts.is_empty()
        || conversation.glossary.terms.iter().any(|term| !term.senses.is_empty());
    let mut diagnosis = Diagnosis {
        language,
        reason: reason(&finding, has_open_sense || !senses.is_empty(), has_context),
        depends_on_history: points_back && has_history,
        issues: finding.issues(),
    };
    diagnosis.issues.extend(senses);
    diagnosis.issues.sort_by_key(|issue| (issue.span.start, issue.span.end));
    diagnosis
}

/// What the rules of one language found in a query.
#[derive(Debug, Default)]
struct Finding {
    /// Pronouns and demonstratives without an antecedent in the query, and how sure that is.
    pointers: Vec<(Span, f32)>,
    /// Where something is left out, and how sure that is.
    ellipsis: Option<(Span, f32)>,
    /// Requests for data, and words such as 最新, that leave open which.
    vague: Vec<(Span, f32)>,
}

impl Finding {
    fn issues(self) -> Vec<Issue> {
        let issue = |kind, (span, confidence): (Span, f32)| Issue {
            kind,
            span,
            resolved_by: None,
            confidence,
        };
        let pointers = self.pointers.into_iter().map(|p| issue(IssueKind::AmbiguousReference, p));
        let ellipsis = self.ellipsis.into_iter().map(|p| issue(IssueKind::MissingInformation, p));
        let vague = self.vague.into_iter().map(|p| issue(IssueKind::Vague, p));
        pointers.chain(ellipsis).chain(vague).collect()
    }
}

fn reason(finding: &Finding, has_senses: bool, has_context: bool) -> &'static str {
    let reason = if !finding.pointers.is_empty() {
        "pronoun"
    } else if finding.ellipsis.is_some() {
        "ellipsis"
    } else if has_senses {
        "ambiguous_term"
    } else if !finding.vague.is_empty() {
        "vague"
    } else {
        return "complete";
    };
    if has_context { reason } else { "no_context" }
}

/// A term that the conversation decides is an issue too, but a resolved one.
fn sense_issues(conversation: &Conversation) -> (Vec<Issue>, bool) {
    let choice = glossary::choose_senses(conversation);
    let mut issues: Vec<Issue> = Vec::new();
    for edit in &choice.edits {
        issues.push(Issue {
            kind: edit.issue,
            span: edit.span.clone(),
            resolved_by: Some(edit.evidence.clone()),
            confidence: edit.confidence,
        });
    }
    let has_open = choice.open.is_some();
    issues.extend(choice.open.map(|open| Issue {
        kind: IssueKind::AmbiguousReference,
        span: open.span,
        resolved_by: None,
        confidence: 0.7,
    }));
    (issues, has_open)
}

fn has_history(conversation: &Conversation) -> bool {
    let said = |role, text: &str| role != Role::System && !text.trim().is_empty();
    conversation.turns.iter().any(|turn| said(turn.role, &turn.text))
}
