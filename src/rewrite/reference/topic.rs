//! The last resort for a query that leans on the conversation: what was talked about, in the
//! conversation's own words, set beside the query's, which stay as they are. A person who reads
//! `How do I apply? (pay my council tax in instalments)` knows what is meant.

use crate::rewrite::conversation::{
    Conversation, Edit, Glossary, Issue, IssueKind, Role, Source, Turn,
};
use crate::rewrite::gate::{self, Diagnosis};
use crate::rewrite::language::{self, Language, Text};

use super::edit;

mod chinese;
mod english;

/// An edit that sets the topic beside the query: the last question or statement of the person
/// that can be understood alone, or what answered it where it asked for a thing. None where the
/// query does not lean on the history, or nothing short enough was said.
pub fn beside(conversation: &Conversation, diagnosis: &Diagnosis) -> Option<Edit> {
    let is_short = conversation.query.chars().count() <= longest_query(diagnosis.language);
    if !diagnosis.depends_on_history || !is_short {
        return None;
    }
    let topic = topic(conversation, diagnosis.language, asks_for_several(diagnosis))?;
    let text = Text::new(&conversation.query);
    let says_it = language::fold(&conversation.query).contains(&language::fold(&topic.words));
    if says_it {
        return None;
    }
    let last = text.chars.iter().rposition(|letter| letter.is_alphanumeric())? + 1;
    let (span, replacement) = match diagnosis.language {
        Language::Chinese => {
            let start = text.chars.iter().position(|letter| !letter.is_whitespace())?;
            (text.span(start, start), format!("{}，", topic.words))
        }
        Language::English => (text.span(last, last), format!(" ({})", topic.words)),
        Language::Other => return None,
    };
    let kind = diagnosis.issues.iter().find(|issue| issue.resolved_by.is_none())?.kind;
    Some(edit(span, replacement, &topic.words, Source::Message(topic.turn), kind, CONFIDENCE))
}

/// `them` for what a short answer to `Which suppliers …?` has listed.
pub fn answered(conversation: &Conversation, issue: &Issue) -> Option<Edit> {
    let pointer = language::fold(&issue.span.text);
    let is_plural = matches!(pointer.as_str(), "them" | "they" | "它们" | "他们" | "她们");
    let (turn, question) = last_asked(conversation)?;
    let language = language::of(&question.text);
    if !is_plural || !asks_for_thing(&question.text, language) {
        return None;
    }
    let words = answer(conversation, turn, language).filter(|words| is_list(words))?;
    let source = Source::Message(turn + 1);
    let kind = IssueKind::AmbiguousReference;
    Some(edit(issue.span.clone(), words.clone(), &words, source, kind, CONFIDENCE))
}

struct Topic {
    words: String,
    turn: usize,
}

fn topic(conversation: &Conversation, language: Language, several: bool) -> Option<Topic> {
    let (turn, question) = last_asked(conversation)?;
    if language::of(&question.text) != language {
        return None;
    }
    let words = asks_for_thing(&question.text, language)
        .then(|| answer(conversation, turn, language))
        .flatten()
        .filter(|words| several || !is_list(words));
    match words {
        Some(words) => Some(Topic { words, turn: turn + 1 }),
        None => Some(Topic { words: subject(&question.text, language)?, turn }),
    }
}

/// The newest turn of the person that can be understood alone.
fn last_asked(conversation: &Conversation) -> Option<(usize, &Turn)> {
    let turns = conversation.turns.iter().enumerate().rev();
    let asked = turns.filter(|(_, turn)| turn.role == Role::User).take(TURN_COUNT);
    asked.into_iter().find(|(index, turn)| {
        if !stands_alone(conversation, *index) {
            return false;
        }
        let short = turn.text.chars().count() <= LONGEST_TURN_CHARS;
        short && subject(&turn.text, language::of(&turn.text)).is_some()
    })
}

/// Whether a turn is complete after the turns before it.
fn stands_alone(conversation: &Conversation, turn: usize) -> bool {
    let alone = Conversation {
        query: conversation.turns[turn].text.clone(),
        turns: conversation.turns[..turn].to_vec(),
        now: None,
        locale: None,
        facts: Default::default(),
        glossary: Glossary::default().into(),
        held_senses: Default::default(),
    };
    let issues = gate::diagnose(&alone).issues;
    issues.iter().all(|issue| issue.kind == IssueKind::Vague)
}

fn subject(text: &str, language: Language) -> Option<String> {
    match language {
        Language::Chinese => chinese::subject(text),
        Language::English => english::subject(text),
        Language::Other => None,
    }
}

/// The first words of the answer to a turn, where they are few.
fn answer(conversation: &Conversation, turn: usize, language: Language) -> Option<String> {
    let answer = conversation.turns.get(turn + 1)?;
    if answer.role != Role::Assistant || language::of(&answer.text) != language {
        return None;
    }
    match language {
        Language::Chinese => chinese::answer(&answer.text),
        Language::English => english::answer(&answer.text),
        Language::Other => None,
    }
}

fn asks_for_thing(question: &str, language: Language) -> bool {
    match language {
        Language::Chinese => chinese::asks_for_thing(question),
        Language::English => english::asks_for_thing(question),
        Language::Other => false,
    }
}

fn asks_for_several(diagnosis: &Diagnosis) -> bool {
    let plural =
        ["them", "they", "their", "these", "those", "它们", "他们", "她们", "这些", "那些"];
    diagnosis
        .issues
        .iter()
        .any(|issue| plural.iter().any(|word| language::fold(&issue.span.text).starts_with(word)))
}

fn is_list(words: &str) -> bool {
    words.contains([',', '、', '和', '与', '，']) || words.contains(" and ")
}

/// In chars: a longer query says enough by itself to be searched with.
fn longest_query(language: Language) -> usize {
    match language {
        Language::Chinese => 20,
        _ => 60,
    }
}

const TURN_COUNT: usize = 3;
/// Longer turns are no questions to be repeated.
const LONGEST_TURN_CHARS: usize = 160;
const CONFIDENCE: f32 = 0.5;
