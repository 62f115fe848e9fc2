//! What an English turn speaks of.

use crate::rewrite::gate::AUXILIARIES;
use crate::rewrite::language::Text;
use crate::rewrite::language::english::{self, Word, is_one_of, words};

/// `Can I pay my council tax in instalments?` -> `pay my council tax in instalments`.
pub(super) fn subject(text: &str) -> Option<String> {
    let text = Text::new(text);
    let words = first_clause(words(&text));
    let start = start_of(&words)?;
    let said = &words[start..];
    let is_named = said
        .iter()
        .any(|word| word.is_topic() || (word.is_name && !english::is_function(&word.lower)));
    let n_content = said.iter().filter(|word| !english::is_function(&word.lower)).count();
    let (first, last) = (said.first()?, said.last()?);
    (is_named && n_content >= 2 && said.len() <= LONGEST_WORDS)
        .then(|| text.slice(first.start, last.end))
}

/// `A cast-iron plant; it does well …` -> `A cast-iron plant`.
pub(super) fn answer(text: &str) -> Option<String> {
    let text = Text::new(text);
    let end = text.chars.iter().position(|letter| matches!(letter, '.' | ';' | '!' | '?' | '\n'));
    let end = end.unwrap_or(text.chars.len());
    let said: Vec<Word> = words(&text).into_iter().filter(|word| word.end <= end).collect();
    let is_clause = said.iter().any(|word| {
        AUXILIARIES.contains(&word.lower.as_str())
            || is_one_of(&word.lower, "yes no i you we it they he she that this there")
    });
    let names = said.iter().any(|word| word.is_topic() || word.is_name);
    let comma = said.iter().position(|word| word.follows_comma);
    let is_list = said.iter().any(|word| word.lower == "and");
    let kept = match (comma, is_list) {
        (Some(at), false) => &said[..at],
        _ => &said[..],
    };
    let (first, last) = (kept.first()?, kept.last()?);
    (!is_clause && names && kept.len() <= LONGEST_ANSWER_WORDS)
        .then(|| text.slice(first.start, last.end))
}

pub(super) fn asks_for_thing(question: &str) -> bool {
    let words = words(&Text::new(question));
    let asks = |list: &str| words.first().is_some_and(|word| is_one_of(&word.lower, list));
    // Where can I park, but not where is the office: there the office stays the topic.
    let of_asker = words.get(2).is_some_and(|word| is_one_of(&word.lower, "i we you"));
    asks("which who who's")
        || (asks("where what") && of_asker)
        || words.iter().any(|word| word.lower == "recommend")
}

/// The first sentence, or the first clause of a long one, that has some words to it.
fn first_clause(words: Vec<Word>) -> Vec<Word> {
    let end_at = |breaks: &dyn Fn(&Word) -> bool| {
        let mut places = words.iter().enumerate();
        places.position(|(at, word)| at >= SHORTEST_CLAUSE && breaks(word)).unwrap_or(words.len())
    };
    let mut end = end_at(&|word| word.opens_sentence);
    if end > LONGEST_WORDS {
        end = end_at(&|word| word.opens_sentence || word.follows_comma);
    }
    words[..end].to_vec()
}

/// Where what is said begins, behind `Can I`, `Which formats does`, `I'd like to`.
fn start_of(words: &[Word]) -> Option<usize> {
    let wh = words
        .first()
        .is_some_and(|word| is_one_of(&word.lower, "which what how where when why who what's"));
    let article = words.iter().position(|word| is_one_of(&word.lower, "a an"));
    let auxiliary = words.iter().position(|word| AUXILIARIES.contains(&word.lower.as_str()));
    let from = match (wh, article, auxiliary) {
        // How big a heat pump does a house need: what is asked about comes first.
        (true, Some(article), Some(auxiliary)) if article < auxiliary => article,
        (true, _, Some(auxiliary)) => auxiliary + 1,
        _ => 0,
    };
    let light = |word: &Word| {
        english::is_function(&word.lower) && !is_one_of(&word.lower, DETERMINERS)
            || english::is_interjection(&word.lower)
            || is_one_of(&word.lower, "want need like have tell know please")
    };
    (from..words.len()).find(|&at| !light(&words[at]))
}

const DETERMINERS: &str = "a an the my our your this";
const SHORTEST_CLAUSE: usize = 3;
const LONGEST_WORDS: usize = 14;
const LONGEST_ANSWER_WORDS: usize = 7;
