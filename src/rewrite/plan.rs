//! What the rules say before any model is asked: the diagnosis, the replacements they have
//! worked out, and whether something is left for the model.

use time::OffsetDateTime;

use super::Gate;
use super::conversation::{Conversation, Edit, IssueKind, Span, Turn};
use super::gate::{self, Diagnosis};
use super::glossary::{self, OpenSense};
use super::text::{ProtectedKind, protected};
use super::{dates, edits, facts};

mod spoken;

/// Turns and characters of history that the rules look at, newest kept: what is older hardly
/// ever resolves a query, and the time must stay bounded.
const MAX_TURNS: usize = 24;
const MAX_HISTORY_CHARS: usize = 12_000;

/// The rules' result for one conversation.
#[derive(Debug)]
pub struct Plan {
    /// The conversation with its history cut to what is looked at.
    pub conversation: Conversation,
    pub diagnosis: Diagnosis,
    /// Replacements in the query, in order, not overlapping.
    pub edits: Vec<Edit>,
    /// A term whose sense nothing decides.
    pub open_sense: Option<OpenSense>,
    /// How many of the caller's turns were cut off in front.
    pub n_cut_turns: usize,
    gate: Gate,
}

impl Plan {
    pub fn new(conversation: Conversation, gate: Gate) -> Self {
        let (conversation, n_cut_turns) = newest(conversation);
        let diagnosis = gate::diagnose(&conversation);
        let senses = glossary::choose_senses(&conversation);
        let dates = match conversation.now {
            Some(now) => relative_dates(&conversation, now),
            None => Vec::new(),
        };
        let facts = facts::fill(&conversation, &diagnosis);
        let edits = without_overlaps([senses.edits, dates, facts]);
        Self { conversation, diagnosis, edits, open_sense: senses.open, n_cut_turns, gate }
    }

    /// The query with the rules' replacements.
    pub fn by_rules(&self) -> String {
        edits::apply(&self.conversation.query, &self.edits)
    }

    /// Whether the query points at something in the history that no rule has replaced.
    pub fn wants_model(&self) -> bool {
        if self.conversation.turns.is_empty() || self.open_sense.is_some() {
            return false;
        }
        match self.gate {
            Gate::Never => false,
            Gate::Always => true,
            Gate::Auto => self.diagnosis.depends_on_history && self.has_open_reference(),
        }
    }

    fn has_open_reference(&self) -> bool {
        self.diagnosis.issues.iter().any(|issue| {
            let open = issue.resolved_by.is_none() && issue.kind != IssueKind::Vague;
            open && !self.edits.iter().any(|edit| touches(edit, &issue.span))
        })
    }
}

/// Whether an edit takes care of the words of an issue.
fn touches(edit: &Edit, span: &Span) -> bool {
    edit.span.overlaps(span) || (span.is_empty() && edit.issue == IssueKind::MissingInformation)
}

fn newest(mut conversation: Conversation) -> (Conversation, usize) {
    let mut n_chars = 0;
    let kept: Vec<&Turn> = conversation
        .turns
        .iter()
        .rev()
        .take(MAX_TURNS)
        .take_while(|turn| {
            let first = n_chars == 0;
            n_chars += turn.text.chars().count();
            first || n_chars <= MAX_HISTORY_CHARS
        })
        .collect();
    let n_cut_turns = conversation.turns.len() - kept.len();
    conversation.turns.drain(..n_cut_turns);
    for turn in &mut conversation.turns {
        if let Some((end, _)) = turn.text.char_indices().nth(MAX_HISTORY_CHARS) {
            turn.text.truncate(end);
        }
        if let Some(said) = spoken::without_marks(&turn.text) {
            turn.text = said;
        }
    }
    (conversation, n_cut_turns)
}

/// Dates, but not those within a name or a quotation. Numbers are no obstacle: they are often a
/// part of the date (3天前).
fn relative_dates(conversation: &Conversation, now: OffsetDateTime) -> Vec<Edit> {
    let fixed: Vec<Span> = protected(&conversation.query, &conversation.glossary)
        .into_iter()
        .filter(|item| item.kind != ProtectedKind::Number)
        .map(|item| item.span)
        .collect();
    dates::resolve(&conversation.query, now, &fixed)
}

/// Joins lists of edits; where two overlap, the one of the earlier list stays.
fn without_overlaps(lists: [Vec<Edit>; 3]) -> Vec<Edit> {
    let mut kept: Vec<Edit> = Vec::new();
    for edit in lists.into_iter().flatten() {
        if !kept.iter().any(|other| other.span.overlaps(&edit.span)) {
            kept.push(edit);
        }
    }
    kept.sort_by_key(|edit| (edit.span.start, edit.span.end));
    kept
}
