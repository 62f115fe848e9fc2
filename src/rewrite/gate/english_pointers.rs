//! English pronouns and demonstratives that point outside the query.

use super::english::AUXILIARIES;
use super::english_antecedents::{explained, follows_own_sentence, is_dummy};
use crate::rewrite::conversation::Span;
use crate::rewrite::language::Text;
use crate::rewrite::language::english::{self, Word, is_one_of};

/// The pointers of a query that nothing within it explains, with the noun that they take
/// along (`this feature`), and how sure it is that they point back.
pub(super) fn pointers(text: &Text, words: &[Word]) -> Vec<(Span, f32)> {
    let mut found: Vec<(Span, f32)> = Vec::new();
    let mut next = 0;
    for (index, word) in words.iter().enumerate() {
        // A capital in the middle of a sentence makes it part of a title: Is It Matters to Me …
        let in_title = word.is_name && !word.opens_sentence && word.lower != "i" && index > 0;
        if index < next || word.is_quoted || (in_title && !all_capitals(text)) {
            continue;
        }
        if let Some((length, confidence)) = pointer_at(words, index) {
            found.push((text.span(word.start, words[index + length - 1].end), confidence));
            next = index + length;
        }
    }
    found
}

fn all_capitals(text: &Text) -> bool {
    !text.chars.iter().any(|letter| letter.is_lowercase())
}

/// How many words the pointer at `index` has, and how sure it is that it points back.
fn pointer_at(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let next = words.get(index + 1).map_or("", |word| word.lower.as_str());
    match words[index].lower.as_str() {
        "it" | "it's" => (!is_dummy(words, index) && !explained(words, index)).then_some((1, 0.85)),
        "its" => (!explained(words, index)).then_some((1, 0.85)),
        "they" | "them" | "their" | "theirs" | "they're" | "they've" | "themselves" | "they'd" => {
            (!explained(words, index)).then_some((1, 0.85))
        }
        "he" | "him" | "his" | "she" | "her" | "hers" | "he's" | "she's" | "he'd" | "she'd" => {
            (!explained(words, index)).then_some((1, 0.9))
        }
        "this" | "these" | "those" => demonstrative(words, index),
        "that" | "that's" => that(words, index),
        "there" => is_place(words, index).then_some((1, 0.75)),
        "one" | "ones" => one(words, index),
        "former" | "latter" if before(words, index) == "the" => Some((1, 0.85)),
        "the" | "another"
            if next == "other"
                || next == "one"
                || next == "ones"
                || words[index].lower == "another" =>
        {
            other(words, index)
        }
        "the" => position(words, index),
        _ => None,
    }
}

/// `the second kind`, `the first option`: a position in a list that the query does not hold.
fn position(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let is_at = |offset: usize, list: &str| {
        words.get(index + offset).is_some_and(|word| is_one_of(&word.lower, list))
    };
    let is_last_word = words.len() == index + 2 && words.len() > 2;
    if is_last_word && is_at(1, "first second third fourth last") {
        return Some((2, 0.8));
    }
    let counts = is_at(1, "first second third fourth last")
        && is_at(2, "kind type option method way plan version choice");
    let ends = words.get(index + 3).is_none_or(|next| {
        english::is_function(&next.lower) && !is_one_of(&next.lower, "of that to in who which for")
            || next.follows_comma
            || AUXILIARIES.contains(&next.lower.as_str())
            || is_verb_like(&next.lower)
            || is_one_of(&next.lower, "valid cheaper better")
    });
    (counts && ends && words.len() <= 10).then_some((3, 0.8))
}

fn demonstrative(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let word = words[index].lower.as_str();
    if follows_own_sentence(words, index) {
        return None;
    }
    let next = words.get(index + 1).filter(|next| !next.follows_comma);
    let Some(next) = next else { return Some((1, 0.85)) };
    let after = words.get(index + 2).map_or("", |word| word.lower.as_str());
    let next_word = next.lower.as_str();
    if word == "those" && is_one_of(next_word, "who that which of with in whose") {
        return None;
    }
    if next.is_name && !next.opens_sentence && !english::is_function(next_word) {
        return None;
    }
    if is_calendar(next_word) || is_calendar(after) || matches!(next_word, "way" | "case") {
        return None;
    }
    // "these" before a restricting clause points forward: those countries that signed.
    if matches!(after, "that" | "who" | "which") && word != "this" {
        return None;
    }
    let takes_noun = !english::is_function(next_word) && !is_verb_like(next_word)
        || matches!(next_word, "one" | "ones");
    let adjective_and_noun = takes_noun
        && is_one_of(next_word, "new same particular specific first second other kind type sort");
    let length = match (takes_noun, adjective_and_noun && words.len() > index + 2) {
        (true, true) => 3,
        (true, false) => 2,
        _ => 1,
    };
    Some((length, 0.85))
}

/// `that` points only where it cannot open a clause.
fn that(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let word = &words[index];
    let previous = if word.opens_sentence { "" } else { before(words, index) };
    let next = words.get(index + 1).filter(|next| !next.follows_comma && !next.opens_sentence);
    let Some(next) = next else {
        return (word.lower == "that").then_some((1, 0.85));
    };
    let next_word = next.lower.as_str();
    if is_calendar(next_word) {
        return None;
    }
    let takes_noun =
        !english::is_function(next_word) && !is_verb_like(next_word) || next_word == "one";
    let may_point = matches!(
        previous,
        "" | "and"
            | "but"
            | "so"
            | "or"
            | "about"
            | "of"
            | "for"
            | "in"
            | "with"
            | "on"
            | "than"
            | "like"
            | "from"
            | "after"
            | "before"
            | "because"
            | "besides"
            | "is"
            | "was"
            | "are"
            | "were"
            | "does"
            | "did"
            | "do"
            | "why"
            | "how"
            | "what"
            | "what's"
            | "by"
            | "at"
            | "during"
            | "since"
            | "use"
            | "to"
            | "into"
            | "me"
    );
    let closes_phrase = is_one_of(
        next_word,
        "in for to with and or on at mean work happen cost affect help make compare",
    );
    if word.lower == "that's" {
        return (previous.is_empty() && !closes_social(next_word)).then_some((1, 0.7));
    }
    let is_subject = previous.is_empty()
        && AUXILIARIES.contains(&next_word)
        && !closes_social(words.get(index + 2).map_or("", |w| w.lower.as_str()));
    // "is that possible", "why does that matter"
    let after_auxiliary = AUXILIARIES.contains(&previous) && index <= 2;
    if is_subject || (after_auxiliary && (next_word != "the")) {
        return Some((
            if takes_noun && after_auxiliary && !english::is_generic(next_word) { 2 } else { 1 },
            0.8,
        ));
    }
    (may_point && (takes_noun || closes_phrase))
        .then_some((if takes_noun && !closes_phrase { 2 } else { 1 }, 0.75))
}

fn closes_social(word: &str) -> bool {
    is_one_of(word, "all it fine great good okay ok right perfect cool nice")
}

/// `which one`, `the cheap one`, `those ones`; not `one of the first`.
fn one(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let previous = before(words, index);
    let next = words.get(index + 1).map_or("", |word| word.lower.as_str());
    if next == "of" || matches!(next, "day" | "time" | "hundred" | "thousand" | "million") {
        return None;
    }
    let chosen = is_one_of(
        previous,
        "which the another first second third last next other different best what new similar",
    );
    let article = words[index.saturating_sub(4)..index]
        .iter()
        .rev()
        .skip(1)
        .any(|word| matches!(word.lower.as_str(), "the" | "a" | "an" | "any"));
    let described = article
        && !english::is_function(previous)
        && (next.is_empty() || (english::is_function(next) && !matches!(next, "who" | "that")));
    let plural = words[index].lower == "ones" && !previous.is_empty();
    let ends_short = words.len() <= 6
        && index + 1 == words.len()
        && !previous.is_empty()
        && (!english::is_function(previous) || previous == "any");
    // `the smaller one`, and `for one` at the end of a question.
    let compared = (previous.ends_with("er") || previous.ends_with("est"))
        && index >= 2
        && words[index - 2].lower == "the";
    let closes = index + 1 == words.len() && is_one_of(previous, "for with to in on from without");
    (chosen || described || plural || ends_short || compared || closes).then_some((1, 0.8))
}

/// `the other`, `the other one`, `another`: one of two that were spoken of.
fn other(words: &[Word], index: usize) -> Option<(usize, f32)> {
    let last_of = |length: usize| {
        words
            .get(index + length)
            .is_none_or(|word| english::is_function(&word.lower) && word.lower != "than")
    };
    let at = |offset: usize| words.get(index + offset).map_or("", |word| word.lower.as_str());
    match (words[index].lower.as_str(), at(1), at(2)) {
        ("the", "other", "one" | "ones") => Some((3, 0.85)),
        ("the", "other", "two" | "three") => Some((3, 0.8)),
        ("the", "other", _) if last_of(2) => Some((2, 0.8)),
        ("the", "one" | "ones", _)
            if at(2) != "that" && at(2) != "who" && at(2) != "with" && at(2) != "in" =>
        {
            Some((2, 0.7))
        }
        ("another", "one", _) => Some((2, 0.8)),
        _ => None,
    }
}

/// A place that was spoken of; not the `there` of `is there a way`.
fn is_place(words: &[Word], index: usize) -> bool {
    let previous = before(words, index);
    let next = words.get(index + 1).map_or("", |word| word.lower.as_str());
    let is_being = |word: &str| is_one_of(word, "is are was were will has have isn't aren't be");
    let exists =
        is_being(previous) || is_being(next) || is_one_of(next, "any a another other be been");
    let greets = matches!(previous, "hi" | "hello" | "hey" | "out");
    !exists && !greets && !previous.is_empty()
}

pub(super) fn before(words: &[Word], index: usize) -> &str {
    index.checked_sub(1).map_or("", |previous| words[previous].lower.as_str())
}

fn is_calendar(word: &str) -> bool {
    is_one_of(
        word,
        "week month year quarter morning afternoon evening weekend summer winter spring autumn fall season century decade days semester time point",
    ) || english::is_time(word)
}

fn is_verb_like(word: &str) -> bool {
    is_one_of(
        word,
        "happen happened mean means work works cost affect help come go take get make makes cause lead possible true available important change start end relate compare include apply considered called like last related good bad safe free popular successful differ impact support look known",
    )
}
