//! Turns a standalone question into what a retriever is asked: the question itself for
//! meaning, its content words for the lexical leg, and those words with other names of
//! the same things. Search queries may expand; they are never shown as fact.

use std::ops::Range;

use super::conversation::{Conversation, Glossary, SearchKind, SearchQuery, Term};
use super::text::{
    ProtectedKind, UnitKind, courtesies, is_function_unit, normalise, protected, question_frames,
    units,
};

#[cfg(test)]
mod tests;

/// The whole question says the most about what is meant.
const SEMANTIC_WEIGHT: f32 = 1.3;
const KEYWORD_WEIGHT: f32 = 1.0;
/// Other names are our guess, so they count for less than the person's own words.
const EXPANDED_WEIGHT: f32 = 0.8;
/// What the conversation is about helps where the question leaves it open.
const TOPIC_WEIGHT: f32 = 0.8;
/// No search query is longer, in chars.
const LONGEST_QUERY_CHARS: usize = 2_000;

/// The search queries for a question, the most telling first: at least one and at most
/// `max_variants` (or one), no two alike. The semantic one is `standalone`, or the query
/// as it was asked when nothing was `rewritten`. `topics` are names from the conversation for
/// one more keyword query. Only a blank question yields none.
pub fn queries(
    conversation: &Conversation,
    standalone: &str,
    rewritten: bool,
    topics: &[String],
    max_variants: usize,
) -> Vec<SearchQuery> {
    let asked =
        if rewritten && !standalone.trim().is_empty() { standalone } else { &conversation.query };
    let words = keywords(asked);
    let mut candidates = vec![(asked.to_owned(), SearchKind::Semantic, SEMANTIC_WEIGHT)];
    let names = other_names(conversation, asked);
    let expanded = [words.as_str(), &names.join(" ")].join(" ");
    let told: Vec<&str> =
        topics.iter().map(String::as_str).filter(|topic| !asked.contains(topic)).collect();
    let with_topics = [words.as_str(), &told.join(" ")].join(" ");
    candidates.push((words, SearchKind::Keyword, KEYWORD_WEIGHT));
    if !told.is_empty() {
        candidates.push((with_topics, SearchKind::Keyword, TOPIC_WEIGHT));
    }
    if !names.is_empty() {
        candidates.push((expanded, SearchKind::Keyword, EXPANDED_WEIGHT));
    }
    let mut found: Vec<SearchQuery> = Vec::new();
    for (text, kind, weight) in candidates {
        let text: String = text.trim().chars().take(LONGEST_QUERY_CHARS).collect();
        let known = found.iter().any(|other| normalise(&other.text) == normalise(&text));
        if !text.trim().is_empty() && !known && found.len() < max_variants.max(1) {
            found.push(SearchQuery { text: text.trim_end().to_owned(), kind, weight });
        }
    }
    found
}

/// The content words of a question in their order, parted by spaces: no politeness, no
/// question frame (怎么用, how do i), no glue. Empty when nothing else is said.
pub fn keywords(question: &str) -> String {
    let quotes: Vec<Range<usize>> = protected(question, &Glossary::default())
        .into_iter()
        .filter(|item| item.kind == ProtectedKind::Quote)
        .map(|item| item.span.start..item.span.end)
        .collect();
    let mut dropped = courtesies(question);
    dropped.extend(question_frames(question));
    let mut words = String::new();
    let mut end = None;
    let found = units(question);
    for (index, unit) in found.iter().enumerate() {
        let within =
            |range: &Range<usize>| range.start <= unit.span.start && unit.span.end <= range.end;
        let quoted = quotes.iter().any(within);
        let framed = dropped.iter().any(within);
        let before = index.checked_sub(1).and_then(|before| found.get(before));
        let after = found.get(index + 1).map(|unit| unit.text.as_str());
        let is_glue = match unit.kind {
            UnitKind::Han => parts_words(before.map(|unit| unit.text.as_str()), &unit.key, after),
            _ => is_function_unit(unit),
        };
        if unit.is_punctuation() || (!quoted && (framed || is_glue)) {
            continue;
        }
        // Han characters that stand together stay together: the index cuts them into words.
        let joined = unit.kind == UnitKind::Han
            && end == Some(unit.span.start)
            && before.is_some_and(|before| before.kind == UnitKind::Han);
        if !joined && !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&unit.text);
        end = Some(unit.span.end);
    }
    words
}

/// Whether a Han character is a particle here and no part of a word: 的 in 系统的价格, but
/// not in 目的; final 吗.
fn parts_words(before: Option<&str>, character: &str, after: Option<&str>) -> bool {
    match character {
        "吗" | "呢" | "吧" | "啊" | "呀" | "嘛" => true,
        "的" => {
            let word = matches!(before, Some("目" | "标" | "標" | "打" | "中"))
                || matches!(after, Some("确" | "確" | "士" | "话" | "話"));
            !word
        }
        "了" => after.is_none_or(|after| matches!(after, "吗" | "嗎" | "呢" | "吧" | "?" | "？")),
        "它" | "这" | "那" => after.is_none_or(|after| !matches!(after, "么" | "麼")),
        _ => false,
    }
}

/// Other names of the glossary terms that a question mentions: aliases, and the label of
/// the one sense. A term with several senses is widened only by the one that is named.
fn other_names(conversation: &Conversation, question: &str) -> Vec<String> {
    let asked = normalise(question);
    let mut names: Vec<String> = Vec::new();
    for term in &conversation.glossary.terms {
        for name in names_of(term, &asked) {
            let folded = normalise(name);
            let known = names.iter().any(|other| normalise(other) == folded);
            if !folded.is_empty() && !known && !mentions(&asked, &folded) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn names_of<'a>(term: &'a Term, asked: &str) -> Vec<&'a str> {
    let own = || std::iter::once(&term.term).chain(&term.aliases).map(String::as_str);
    let named = |name: &str| mentions(asked, &normalise(name));
    let labels: Vec<&str> = term.senses.iter().map(|sense| sense.label.as_str()).collect();
    let sense_is_named = labels.iter().any(|label| named(label));
    if !own().any(named) && !sense_is_named {
        return Vec::new();
    }
    match labels.as_slice() {
        [only] => own().chain([*only]).collect(),
        // Aliases of an open term could belong to either of its senses.
        [_, _, ..] if !sense_is_named => Vec::new(),
        _ => own().collect(),
    }
}

/// Whether `name` stands in `text`, as whole words when it is Latin. Both are normalised.
fn mentions(text: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let latin = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    text.match_indices(name).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + name.len()..]);
        let cut_left = latin(before.chars().next_back()) && latin(name.chars().next());
        let cut_right = latin(after.chars().next()) && latin(name.chars().next_back());
        !cut_left && !cut_right
    })
}
