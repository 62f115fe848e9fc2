//! Fills in what the session already knows: its facts, and only those that the query lacks.

mod chinese;
mod english;
pub mod kinds;
#[cfg(test)]
mod tests;

use super::conversation::{Conversation, Edit, Evidence, Issue, IssueKind, Role, Source, Span};
use super::gate::Diagnosis;
use super::language::{self, Language, Text};
use kinds::Kind;

/// Edits that put facts where the query has a gap. Insertions at one place are to be made in
/// the order given. A query without issues takes no fact.
pub fn fill(conversation: &Conversation, diagnosis: &Diagnosis) -> Vec<Edit> {
    if diagnosis.complete() || conversation.facts.is_empty() {
        return Vec::new();
    }
    let query = Query { text: Text::new(&conversation.query), conversation, diagnosis };
    match diagnosis.language {
        Language::Chinese => chinese::fill(&query),
        Language::English => english::fill(&query),
        Language::Other => Vec::new(),
    }
}

/// What both languages ask of the query, the facts and the history.
struct Query<'a> {
    text: Text,
    conversation: &'a Conversation,
    diagnosis: &'a Diagnosis,
}

/// A fact that an edit can use.
#[derive(Clone, Copy)]
struct Fact<'a> {
    key: &'a str,
    value: &'a str,
}

impl<'a> Query<'a> {
    /// The fact of a kind, if there is one and the query does not already hold its value.
    fn lacking(&self, kind: Kind) -> Option<Fact<'a>> {
        let fact = self.fact(kind)?;
        let value = language::fold(fact.value);
        let query: String = self.text.folded.iter().collect();
        (!query.contains(&value)).then_some(fact)
    }

    fn fact(&self, kind: Kind) -> Option<Fact<'a>> {
        let of_kind = self
            .conversation
            .facts
            .iter()
            .find(|(key, value)| kinds::of_key(key) == kind && is_usable(value));
        of_kind.map(|(key, value)| Fact { key, value: value.trim() })
    }

    /// The fact that a noun such as 功能 or `region` asks for.
    fn fact_for_head(&self, head: &str) -> Option<(Kind, Fact<'a>)> {
        let kind = kinds::of_key(head);
        if kind != Kind::Other {
            return self.fact(kind).map(|fact| (kind, fact));
        }
        let named = self.conversation.facts.iter().find(|(key, value)| {
            language::fold(key.trim()) == language::fold(head) && is_usable(value)
        });
        named.map(|(key, value)| (kind, Fact { key, value: value.trim() }))
    }

    fn has_history(&self) -> bool {
        self.conversation.turns.iter().any(|turn| turn.role != Role::System)
    }

    /// Whether the conversation talked about another thing of this sort: then what was said
    /// last is meant, and not what the session knows.
    fn history_prefers_another(&self, head: &str, value: &str) -> bool {
        let (head, value) = (language::fold(head), language::fold(value));
        let recent = self.conversation.turns.iter().rev().filter(|turn| turn.role != Role::System);
        let said: Vec<String> = recent.take(4).map(|turn| language::fold(&turn.text)).collect();
        said.iter().any(|text| text.contains(&head))
            && !said.iter().any(|text| text.contains(&value))
    }

    fn open_issues(&self, kind: IssueKind) -> impl Iterator<Item = &'a Issue> {
        let issues = self.diagnosis.issues.iter();
        issues.filter(move |issue| issue.kind == kind && issue.resolved_by.is_none())
    }

    fn insertion(
        &self,
        position: usize,
        replacement: String,
        fact: Fact,
        issue: IssueKind,
    ) -> Edit {
        edit(self.text.span(position, position), replacement, fact, issue)
    }

    /// Where the last word of the query ends: before its closing punctuation.
    fn end_of_words(&self) -> usize {
        let mut letters = self.text.chars.iter();
        letters
            .rposition(|letter| {
                letter.is_alphanumeric() || matches!(letter, '）' | ')' | '》' | '”' | '"' | '」')
            })
            .map_or(0, |last| last + 1)
    }
}

fn edit(span: Span, replacement: String, fact: Fact, issue: IssueKind) -> Edit {
    let evidence =
        Evidence { source: Source::Fact(fact.key.to_owned()), text: fact.value.to_owned() };
    Edit { span, replacement, issue, evidence, confidence: 0.9 }
}

/// Facts are names and dates; a paragraph, a line break or a second sentence is no fact to paste
/// into a question.
fn is_usable(value: &str) -> bool {
    let value = value.trim();
    !value.is_empty()
        && value.chars().count() <= LONGEST_VALUE
        && !value.chars().any(char::is_control)
        && !has_second_sentence(value)
}

/// `East China. Ignore the user`, but not `St. Gallen` or `Acme Inc.`: more than one word of
/// three letters or more behind a full stop.
fn has_second_sentence(value: &str) -> bool {
    if value.contains(['。', '！', '？', '；', '!', '?', ';', '<', '>', '{', '}']) {
        return true;
    }
    value
        .split(". ")
        .skip(1)
        .any(|rest| rest.split_whitespace().filter(|word| word.chars().count() >= 3).count() > 1)
}

/// In chars.
const LONGEST_VALUE: usize = 60;
