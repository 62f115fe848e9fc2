//! Pointers and gaps in English queries.

use super::candidates::{Candidate, antecedents};
use super::chinese::not_in_query;
use super::pointer::{Wanted, wanted};
use super::{clear_winner, edit, enumeration, first_mentions, open_issues, replace, topic};
use crate::rewrite::conversation::{Conversation, Edit, Issue, IssueKind, Role, Source};
use crate::rewrite::gate::Diagnosis;
use crate::rewrite::language::english::{self, Word, is_one_of, words};
use crate::rewrite::language::{self, Text};

pub(super) fn resolve(conversation: &Conversation, diagnosis: &Diagnosis) -> Vec<Edit> {
    let text = Text::new(&conversation.query);
    let candidates = not_in_query(antecedents(conversation), &conversation.query);
    let mut edits: Vec<Edit> = Vec::new();
    for issue in open_issues(diagnosis, IssueKind::AmbiguousReference) {
        edits.extend(resolve_pointer(conversation, &text, &candidates, issue));
    }
    let mut edits = first_mentions(edits);
    if let Some(issue) = open_issues(diagnosis, IssueKind::MissingInformation).next() {
        edits.extend(resolve_ellipsis(conversation, &text, &candidates, issue));
    }
    edits
}

fn resolve_pointer(
    conversation: &Conversation,
    text: &Text,
    candidates: &[Candidate],
    issue: &Issue,
) -> Option<Edit> {
    let pointer = language::fold(&issue.span.text);
    let (span, wanted) = widened(text, issue, &pointer);
    let possessive = is_possessive(text, issue, &pointer);
    let ending = if possessive { "'s" } else { "" };
    if let Some((item, turn)) = enumeration::item(conversation, &wanted) {
        let source = Source::Message(turn);
        let kind = IssueKind::AmbiguousReference;
        return Some(edit(span, item.clone(), &item, source, kind, 0.85));
    }
    if let Some(edit) = topic::answered(conversation, issue) {
        return Some(edit);
    }
    let is_pointer = POINTERS.contains(&pointer.as_str()) || matches!(wanted, Wanted::Named(_));
    if !is_pointer {
        return None;
    }
    let singular = matches!(pointer.as_str(), "it" | "its" | "it's");
    let fitting = candidates
        .iter()
        .filter(|candidate| wanted.fits(candidate) && !(singular && is_plural(&candidate.text)));
    let (best, confidence) = clear_winner(fitting)?;
    let contracted = if pointer.ends_with("'s") { " is" } else { ending };
    let preposition =
        if wanted == Wanted::Place && !follows_preposition(text, issue) { "in " } else { "" };
    let article = if starts_lower(&best.text) && takes_article(&wanted) { "the " } else { "" };
    Some(replace(
        span,
        format!("{preposition}{article}{}{contracted}", best.text),
        best,
        confidence,
    ))
}

/// `the second one`, `the latter`: the gate marks one word, the phrase is what is replaced.
fn widened(
    text: &Text,
    issue: &Issue,
    pointer: &str,
) -> (crate::rewrite::conversation::Span, Wanted) {
    if matches!(pointer, "one" | "former" | "latter") {
        let words = words(text);
        let at = words.iter().position(|word| word.start == issue.span.start).unwrap_or(0);
        let article = (at.saturating_sub(2)..at).find(|&before| words[before].lower == "the");
        if let Some(first) = article {
            let span = text.span(words[first].start, issue.span.end);
            let wanted = wanted(&span.text);
            return (span, if matches!(wanted, Wanted::Thing) { Wanted::Several } else { wanted });
        }
        return (issue.span.clone(), Wanted::Several);
    }
    (issue.span.clone(), wanted(pointer))
}

fn is_possessive(text: &Text, issue: &Issue, pointer: &str) -> bool {
    let next = text.chars.get(issue.span.end).is_some_and(|letter| *letter == ' ');
    let noun_follows = words(text)
        .iter()
        .find(|word| word.start > issue.span.start)
        .is_some_and(|word| !english::is_function(&word.lower));
    matches!(pointer, "its" | "his") || (pointer == "her" && next && noun_follows)
}

fn follows_preposition(text: &Text, issue: &Issue) -> bool {
    let words = words(text);
    let before = words.iter().rev().find(|word| word.end <= issue.span.start);
    before.is_some_and(|word| is_one_of(&word.lower, "in from near around to over at"))
}

fn starts_lower(words: &str) -> bool {
    words.starts_with(|letter: char| letter.is_lowercase())
        && !["the ", "a ", "an "].iter().any(|article| words.starts_with(article))
}

fn is_plural(name: &str) -> bool {
    let common = name.split(' ').next_back().is_some_and(starts_lower);
    common && name.ends_with('s') && !name.ends_with("ss") && !name.ends_with("is")
}

fn takes_article(wanted: &Wanted) -> bool {
    matches!(wanted, Wanted::Named(_))
}

fn resolve_ellipsis(
    conversation: &Conversation,
    text: &Text,
    candidates: &[Candidate],
    issue: &Issue,
) -> Vec<Edit> {
    let words = words(text);
    let opening = text.slice(issue.span.start, issue.span.end);
    if !opening.is_empty() {
        return continue_question(conversation, text, &words, issue).unwrap_or_default();
    }
    // `what is the price?`: only a noun that belongs to something can be given an owner.
    let is_owned = words.iter().any(|word| word.lower == "the")
        && words.last().is_some_and(|word| {
            english::is_generic(&word.lower) && !english::is_function(&word.lower)
        });
    let how_much = words.len() <= 3 && language::fold(&text.slice(0, 8)) == "how much";
    let joint = match (is_owned, how_much) {
        (true, _) => " of ",
        (false, true) if words.len() == 2 => " is ",
        _ => return Vec::new(),
    };
    let things = candidates.iter().filter(|candidate| Wanted::Thing.fits(candidate));
    let Some((best, confidence)) = clear_winner(things) else { return Vec::new() };
    let kind = IssueKind::MissingInformation;
    let words = format!("{joint}{}", best.text);
    vec![edit(issue.span.clone(), words, &best.text, best.source.clone(), kind, confidence * 0.9)]
}

/// `What's the weather in Beijing?` + `what about Shanghai?`: the last question asked again.
fn continue_question(
    conversation: &Conversation,
    text: &Text,
    query: &[Word],
    issue: &Issue,
) -> Option<Vec<Edit>> {
    let asked =
        conversation.turns.iter().enumerate().rev().find(|(_, turn)| turn.role == Role::User)?;
    let question = Text::new(&asked.1.text);
    if question.chars.len() > 120 {
        return None;
    }
    let rest: Vec<&Word> =
        query.iter().filter(|word| word.start >= issue.span.end && word.lower != "then").collect();
    let (first, last) = (rest.first()?, rest.last()?);
    let asked_words = words(&question);
    let preposition = is_one_of(&first.lower, "in for at on from during by");
    let value = if preposition { rest.get(1)? } else { first };
    let (slot_start, slot_end) =
        slot(&asked_words, value, preposition.then_some(first.lower.as_str()))?;
    let head = question.slice(asked_words.first()?.start, slot_start);
    // mid price [Catalan] food + Spanish food: the noun is there already.
    let repeated = asked_words
        .iter()
        .find(|word| word.start >= slot_end)
        .filter(|word| word.lower == last.lower);
    let tail = question.slice(repeated.map_or(slot_end, |word| word.end), asked_words.last()?.end);
    let kind = IssueKind::MissingInformation;
    let copy = |span, replacement: String, words: &str| {
        edit(span, replacement, words.trim(), Source::Message(asked.0), kind, 0.75)
    };
    let mut edits = vec![copy(issue.span.clone(), head.trim_end().to_owned(), &head)];
    if !tail.trim().is_empty() {
        edits.push(copy(text.span(last.end, last.end), tail.clone(), &tail));
    }
    Some(edits)
}

/// The piece of the last question that the new value takes the place of.
fn slot(asked: &[Word], value: &Word, preposition: Option<&str>) -> Option<(usize, usize)> {
    let is_common = !value.is_name && !english::is_time(&value.lower);
    if let Some(preposition) = preposition.filter(|_| is_common) {
        return common_slot(asked, preposition);
    }
    if is_one_of(&value.lower, "the a an my our your") {
        return common_slot(asked, &value.lower);
    }
    let is_time = english::is_time(&value.lower);
    let fits = |word: &Word| {
        if is_time {
            english::is_time(&word.lower)
        } else {
            word.is_name
                && !word.opens_sentence
                && !english::is_time(&word.lower)
                && word.lower != "i"
        }
    };
    let runs = runs_of(asked, fits);
    let [(first, last)] = runs[..] else { return None };
    let takes_preposition = preposition.is_some() && first > 0;
    let same = first > 0 && preposition == Some(asked[first - 1].lower.as_str());
    let start = match (takes_preposition, same) {
        (true, true) => asked[first - 1].start,
        (true, false) => return None,
        (false, _) => asked[first].start,
    };
    Some((start, asked[last].end))
}

/// `in economy` for `in business`, `the ferry` for `the bus`: the one phrase of the last question
/// that opens with the same small word.
fn common_slot(asked: &[Word], opening: &str) -> Option<(usize, usize)> {
    let mut found = (0..asked.len()).filter(|&at| asked[at].lower == opening);
    let at = found.next().filter(|_| found.next().is_none())?;
    let length = asked[at + 1..]
        .iter()
        .take_while(|word| !english::is_function(&word.lower) && !word.follows_comma)
        .count();
    // A longer run holds a verb too: the ferry leaves.
    matches!(length, 1).then(|| (asked[at].start, asked[at + 1].end))
}

fn runs_of(words: &[Word], fits: impl Fn(&Word) -> bool) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, _) in words.iter().enumerate().filter(|(_, word)| fits(word)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index && !words[index].follows_comma => *last = index,
            _ => runs.push((index, index)),
        }
    }
    runs
}

const POINTERS: &[&str] =
    &["it", "its", "it's", "he", "him", "his", "he's", "she", "her", "she's", "there"];
