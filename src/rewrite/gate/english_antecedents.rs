//! Whether an English query itself says what its pronoun stands for, or means nothing by it.

use super::english::AUXILIARIES;
use super::english_pointers::before;
use crate::rewrite::language::english::{self, Word, is_one_of};

/// `it is raining`, `is it possible to`, `how long does it take`.
pub(super) fn is_dummy(words: &[Word], index: usize) -> bool {
    let at = |offset: usize| words.get(index + offset).map_or("", |word| word.lower.as_str());
    let previous = before(words, index);
    let opens_with_how =
        words.first().is_some_and(|word| matches!(word.lower.as_str(), "how" | "what" | "why"));
    let rest = &words[index + 1..];
    let clause = rest
        .iter()
        .take(5)
        .any(|word| matches!(word.lower.as_str(), "to" | "that" | "if" | "when" | "for"));
    let judges = rest.iter().take(3).any(|word| JUDGEMENTS.contains(&word.lower.as_str()));
    let weather = rest.iter().take(4).any(|word| WEATHER.contains(&word.lower.as_str()));
    let takes = matches!(at(1), "take" | "takes" | "took" | "taken")
        && opens_with_how
        && rest.iter().any(|w| w.lower == "to");
    let clock =
        previous == "is" && index >= 2 && matches!(words[index - 2].lower.as_str(), "time" | "day");
    let idiom = matches!(at(1), "seems" | "appears" | "turns" | "depends") && clause
        || (previous == "does"
            && at(1) == "mean"
            && matches!(at(2), "to" | "when" | "that" | "if" | "by"))
        || matches!(at(1), "going") && previous == "is" && index == 2
        || (previous == "make" && at(1) == "to")
        || (at(1) == "is" || words[index].lower == "it's")
            && matches!(at(2), "me" | "ok" | "okay" | "fine");
    weather || (judges && clause) || takes || clock || idiom
}

/// Whether the query itself says what a personal pronoun stands for, before it.
pub(super) fn explained(words: &[Word], index: usize) -> bool {
    let is_person = is_one_of(&words[index].lower, "he him his she her hers he's she's");
    let previous = before(words, index);
    // What is the best cure for it: the object of a last preposition is never its own subject.
    let closes_query = index + 1 == words.len() && PREPOSITIONS.contains(&previous);
    if closes_query && !follows_own_question(words, index) {
        return false;
    }
    let named = words[..index].iter().any(|word| {
        let known = english::is_function(&word.lower) || english::is_time(&word.lower);
        (word.is_quoted || (word.is_name && !known && (!word.opens_sentence || word.is_topic())))
            && !is_adverbial(words, word)
    });
    if named {
        return true;
    }
    let subordinate = is_one_of(
        previous,
        "when if because while after before since until unless once so and but that where as than whether",
    );
    let possessive = matches!(words[index].lower.as_str(), "its" | "their" | "his" | "her");
    let directly_asked = AUXILIARIES.contains(&previous);
    // How do I uninstall it: what somebody does is no noun that a pronoun could stand for.
    let is_action = |at: usize| {
        at.checked_sub(1).is_some_and(|before| is_one_of(&words[before].lower, "i we you they"))
    };
    let has_noun = (0..index).any(|at| words[at].is_topic() && !is_action(at));
    let has_subject = subject_before(words, index);
    match (is_person, directly_asked) {
        (_, true) => follows_own_question(words, index),
        (true, false) => has_subject && (subordinate || possessive) && has_noun,
        (false, false) => (subordinate && has_noun) || (has_subject && has_noun && index >= 4),
    }
}

/// What is mortadella and where is it from: an earlier question of the same query names it.
fn follows_own_question(words: &[Word], index: usize) -> bool {
    let breaks = (1..index).rev().find(|&at| {
        words[at].follows_comma
            || words[at].opens_sentence
            || matches!(words[at].lower.as_str(), "and" | "but" | "or")
    });
    let Some(at) = breaks else { return false };
    let asks_again = words[at..index].iter().any(|word| {
        word.lower.starts_with("wh")
            || word.lower == "how"
            || AUXILIARIES.contains(&word.lower.as_str())
    });
    asks_again
        && words[..at].iter().any(|word| word.is_topic() && !matches!(word.lower.as_str(), "care"))
}

/// `The model stops early. How can this be changed?`: an earlier sentence says what.
pub(super) fn follows_own_sentence(words: &[Word], index: usize) -> bool {
    let begins = words[..=index].iter().rposition(|word| word.opens_sentence).unwrap_or(0);
    begins >= 4 && words[..begins].iter().filter(|word| word.is_topic()).count() >= 2
}

/// Names that only frame a sentence (`In 1999, what did he do`) explain no pronoun.
fn is_adverbial(words: &[Word], name: &Word) -> bool {
    let position = words.iter().position(|word| word.start == name.start).unwrap_or(0);
    let framed = position > 0
        && is_one_of(
            &words[position - 1].lower,
            "in at on after before during for from with besides the",
        );
    let auxiliary_follows =
        words[position..].iter().any(|word| AUXILIARIES.contains(&word.lower.as_str()));
    framed
        && auxiliary_follows
        && !words[..position].iter().any(|word| AUXILIARIES.contains(&word.lower.as_str()))
}

/// do|can|how … plants … their: a noun of the query's own stands as subject before.
fn subject_before(words: &[Word], index: usize) -> bool {
    let Some(auxiliary) =
        words[..index].iter().position(|word| AUXILIARIES.contains(&word.lower.as_str()))
    else {
        return false;
    };
    let states = auxiliary
        .checked_sub(1)
        .is_some_and(|at| matches!(words[at].lower.as_str(), "i" | "you" | "we" | "that" | "it"));
    if states {
        return false;
    }
    let subject = words[auxiliary + 1..index]
        .iter()
        .find(|word| !is_one_of(&word.lower, "the a an some most many all your my"));
    subject.is_some_and(|word| {
        word.is_topic() || matches!(word.lower.as_str(), "i" | "you" | "we" | "people")
    })
}

const PREPOSITIONS: &[&str] =
    &["for", "of", "on", "in", "with", "about", "between", "from", "by", "to", "at", "like"];

const JUDGEMENTS: &[&str] = &[
    "possible",
    "true",
    "ok",
    "okay",
    "safe",
    "legal",
    "illegal",
    "better",
    "best",
    "good",
    "bad",
    "necessary",
    "important",
    "hard",
    "easy",
    "difficult",
    "worth",
    "normal",
    "common",
    "dangerous",
    "healthy",
    "known",
    "said",
    "believed",
    "likely",
    "clear",
    "useful",
    "bad",
    "wrong",
    "cheaper",
    "fair",
    "rude",
    "allowed",
    "required",
    "customary",
    "thought",
    "estimated",
];

const WEATHER: &[&str] =
    &["raining", "rain", "snow", "snowing", "sunny", "windy", "cloudy", "cold", "hot", "warm"];
