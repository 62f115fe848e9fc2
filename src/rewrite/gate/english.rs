//! What an English query leaves open.

use super::english_pointers::pointers;
use super::{Finding, data_request};
use crate::rewrite::conversation::{Conversation, Role, Span};
use crate::rewrite::language::english::{self, Word, is_one_of, words};
use crate::rewrite::language::{Language, Text};

/// Looks for pronouns, then for a missing topic, then for open data requests.
pub(super) fn find(text: &Text, conversation: &Conversation, has_history: bool) -> Finding {
    let words = words(text);
    if is_social(text, &words) {
        return Finding::default();
    }
    let mut finding = Finding { pointers: pointers(text, &words), ..Finding::default() };
    let request = data_request::open_request(text, &conversation.facts, Language::English);
    let continues = opening(&words).is_some();
    finding.vague = request.into_iter().collect();
    if finding.pointers.is_empty() && (finding.vague.is_empty() || continues) {
        finding.ellipsis = ellipsis(text, &words, has_history);
    }
    if finding.ellipsis.is_some() {
        finding.vague.clear();
        return finding;
    }
    finding.vague.extend(data_request::newest(text, Language::English));
    if finding.pointers.is_empty()
        && !finding.vague.is_empty()
        && has_history
        && is_fragment(&words)
    {
        let end = words.last().map_or(0, |word| word.end);
        finding.ellipsis = Some((text.span(end, end), 0.7));
    }
    if finding.pointers.is_empty() && finding.vague.is_empty() && has_history {
        finding.pointers.extend(bare_definite(text, &words, conversation));
    }
    finding
}

/// Greetings, thanks, yes and no; also `No thank you, that is all I needed. Goodbye.`
fn is_social(text: &Text, words: &[Word]) -> bool {
    if words.is_empty() {
        return true;
    }
    let thanks =
        |word: &Word| matches!(word.lower.as_str(), "thank" | "thanks" | "bye" | "goodbye");
    let asks = text.chars.contains(&'?') || words.iter().any(asks_for_something);
    let all_social = words.iter().all(|word| {
        english::is_interjection(&word.lower)
            || SOCIAL.split_whitespace().any(|social| social == word.lower)
    });
    let greets = words.iter().any(|word| english::is_interjection(&word.lower));
    (all_social && (greets || is_complete_as_it_is(words)))
        || (words.iter().any(thanks) && (!asks || words.len() == 1))
}

fn asks_for_something(word: &Word) -> bool {
    is_one_of(
        &word.lower,
        "what what's how where when who why which give show tell address phone number find",
    )
}

fn ellipsis(text: &Text, words: &[Word], has_history: bool) -> Option<(Span, f32)> {
    if let Some(span_end) = opening(words) {
        let rest: Vec<&Word> = words.iter().filter(|word| word.start >= span_end).collect();
        let short = rest.len() <= 6;
        let is_phrase = !rest.iter().skip(1).any(|word| AUXILIARIES.contains(&word.lower.as_str()));
        let own_question = rest.first().is_some_and(|word| is_question_word(&word.lower));
        if short && is_phrase && !(own_question && rest.iter().any(|word| word.is_topic())) {
            return Some((text.span(words[0].start, span_end), 0.85));
        }
    }
    if has_history
        && words.len() == 2
        && matches!(words[0].lower.as_str(), "what" | "which" | "whose")
        && !is_named(&words[1])
    {
        return Some((text.span(words[1].end, words[1].end), 0.75));
    }
    if has_history && (lacks_object(text, words) || is_fragment(words) || lacks_owner(words)) {
        let last_end = words.last()?.end;
        return Some((text.span(last_end, last_end), 0.7));
    }
    let names_topic = words.iter().any(|word| word.is_topic() || is_named(word));
    if names_topic || is_complete_as_it_is(words) {
        return None;
    }
    let asks = text.chars.contains(&'?')
        || words.first().is_some_and(|word| is_question_word(&word.lower))
        || AUXILIARIES.contains(&words[0].lower.as_str());
    let requests = words.iter().any(asks_for_something);
    let last_end = words.last()?.end;
    let confidence = if asks { 0.8 } else { 0.65 };
    let counts = asks || (has_history && (requests || words.len() <= 4));
    (counts && words.len() <= 14).then(|| (text.span(last_end, last_end), confidence))
}

/// `How do I apply?`, `how do I raise the limit`: a question that ends with what its `I` does, or
/// with an everyday noun that belongs to something, does not say to what.
fn lacks_object(text: &Text, words: &[Word]) -> bool {
    let asks = words.first().is_some_and(|word| {
        is_question_word(&word.lower) || AUXILIARIES.contains(&word.lower.as_str())
    });
    let named = words.iter().any(|word| is_named(word) || word.is_quoted);
    let subject = words.iter().position(|word| is_one_of(&word.lower, "i we you"));
    let Some(subject) = subject.filter(|_| asks && !named && !text.chars.is_empty()) else {
        return false;
    };
    let asked = subject > 0 && AUXILIARIES.contains(&words[subject - 1].lower.as_str());
    let rest: Vec<&Word> = words[subject + 1..]
        .iter()
        .filter(|word| !is_one_of(&word.lower, "have to need"))
        .collect();
    let is_action = |word: &Word| !english::is_function(&word.lower);
    match rest[..] {
        [action] => asked && is_action(action),
        [action, article, noun] => {
            asked && is_action(action) && article.lower == "the" && english::is_generic(&noun.lower)
        }
        _ => false,
    }
}

/// `What's the deadline?`, `Is there a discount?`, `Who approves?`: one word of matter, which
/// belongs to something that is not named.
fn lacks_owner(words: &[Word]) -> bool {
    let lower = |at: usize| words.get(at).map_or("", |word| word.lower.as_str());
    let matter: Vec<usize> =
        (0..words.len()).filter(|&at| !english::is_function(lower(at))).collect();
    let [at] = matter[..] else { return false };
    let plain = !is_named(&words[at]) && !words[at].is_quoted && at + 1 == words.len();
    let definite = at >= 2 && lower(at - 1) == "the" && is_question_word(lower(0));
    let exists = is_one_of(lower(0), "is are")
        && lower(1) == "there"
        && (at == 2 || at == 3 && is_one_of(lower(2), "a an any"));
    let acts = at == 1 && is_one_of(lower(0), "who when where how why");
    plain && words.len() <= LONGEST_FRAGMENT && (definite || exists || acts)
}

/// `any documents?`, `Even overnight?`, `How much per hour?`: a few words without a verb, which
/// open with one that adds to what was said.
fn is_fragment(words: &[Word]) -> bool {
    let opens = |list: &str| words.first().is_some_and(|word| is_one_of(&word.lower, list));
    let measures = opens("how")
        && words
            .get(1)
            .is_some_and(|word| is_one_of(&word.lower, "much many long often far big late early"));
    let adds = (words.len() < LONGEST_FRAGMENT
        && opens("with without for in on at by since until during after before from not"))
        || opens("any even only roughly approximately also maximum minimum");
    let has_verb = words.iter().any(|word| AUXILIARIES.contains(&word.lower.as_str()));
    let named = words.iter().any(|word| is_named(word) || word.is_quoted);
    (measures || adds) && !has_verb && !named && words.len() <= LONGEST_FRAGMENT
}

/// In words.
const LONGEST_FRAGMENT: usize = 5;

/// `what about`, `how about`, `and`, `but`: where the words that continue a question end.
fn opening(words: &[Word]) -> Option<usize> {
    let first = words.first()?;
    let second = words.get(1).map_or("", |word| word.lower.as_str());
    match (first.lower.as_str(), second) {
        ("what" | "how", "about") => Some(words[1].end),
        ("and" | "but", "what" | "how") if words.get(2).is_some_and(|w| w.lower == "about") => {
            Some(words[2].end)
        }
        ("and" | "but" | "or" | "then" | "so" | "also", _) if words.len() > 1 => Some(first.end),
        _ => None,
    }
}

/// Words for everything but a topic, and still a full question: `what time is it`.
fn is_complete_as_it_is(words: &[Word]) -> bool {
    let all: Vec<&str> = words.iter().map(|word| word.lower.as_str()).collect();
    let line = all.join(" ");
    COMPLETE.iter().any(|complete| line.contains(complete))
}

fn is_named(word: &Word) -> bool {
    let shouts = word.lower.chars().count() <= 1;
    word.is_name
        && !word.opens_sentence
        && !shouts
        && !english::is_function(&word.lower)
        && !english::is_time(&word.lower)
}

/// `did the album do well?` after a talk about an album.
fn bare_definite(text: &Text, words: &[Word], conversation: &Conversation) -> Option<(Span, f32)> {
    let asks = text.chars.contains(&'?')
        || words.first().is_some_and(|word| {
            is_question_word(&word.lower) || AUXILIARIES.contains(&word.lower.as_str())
        });
    if !asks || words.len() > 9 || words.iter().any(|word| is_named(word) || word.is_quoted) {
        return None;
    }
    let at = words.windows(2).position(|pair| {
        let noun = &pair[1].lower;
        pair[0].lower == "the" && noun.chars().count() > 3 && !english::is_function(noun)
    })?;
    let (article, noun) = (&words[at], &words[at + 1]);
    let ends_phrase = words.get(at + 2).is_none_or(|next| {
        next.follows_comma
            || AUXILIARIES.contains(&next.lower.as_str())
            || ENDS_PHRASE.contains(&next.lower.as_str())
            || ["ed", "en"].iter().any(|ending| next.lower.ends_with(ending))
    });
    let others = words.iter().filter(|word| word.start != noun.start);
    let alone = others.clone().all(|word| {
        !word.is_topic() || ["ed", "en"].iter().any(|ending| word.lower.ends_with(ending))
    }) && !words[at + 1..].iter().any(|word| word.lower == "of");
    let was_said = recent_words(conversation).contains(&noun.lower);
    (ends_phrase && alone && was_said).then(|| (text.span(article.start, noun.end), 0.6))
}

fn recent_words(conversation: &Conversation) -> Vec<String> {
    let turns = conversation.turns.iter().rev().filter(|turn| turn.role != Role::System).take(4);
    turns
        .flat_map(|turn| {
            let head: String = turn.text.chars().take(1_000).collect();
            words(&Text::new(&head)).into_iter().map(|word| word.lower)
        })
        .collect()
}

fn is_question_word(word: &str) -> bool {
    is_one_of(word, "what what's how how's where where's when who who's why which whose whom")
}

/// Words that can follow a noun phrase but hardly be part of it.
const ENDS_PHRASE: &[&str] = &[
    "do",
    "get",
    "take",
    "make",
    "win",
    "have",
    "become",
    "go",
    "come",
    "sell",
    "begin",
    "start",
    "end",
    "happen",
    "work",
    "cost",
    "popular",
    "successful",
    "famous",
    "called",
    "about",
    "and",
    "or",
    "well",
    "good",
    "available",
    "free",
    "still",
    "ever",
    "also",
    "like",
    "named",
    "known",
    "important",
    "not",
];

pub(in crate::rewrite) const AUXILIARIES: &[&str] = &[
    "is", "are", "was", "were", "do", "does", "did", "can", "could", "will", "would", "should",
    "has", "have", "had", "may", "might", "isn't", "aren't", "wasn't", "weren't", "don't",
    "doesn't", "didn't", "can't", "won't",
];

const COMPLETE: &[&str] = &[
    "what time is it",
    "who are you",
    "what is your name",
    "what's your name",
    "how old are you",
    "what can you do",
    "what do you do",
    "are you a person",
    "can you help",
    "could you help",
    "help me",
    "i need help",
    "tell me something",
    "what day is today",
    "what day is it",
    "what is today",
    "what is the time",
    "what's the time",
    "what is the date",
    "how do you work",
    "where are you",
    "who made you",
    "who created you",
    "how are you",
    "what's new",
    "what is up",
    "how is it going",
    "i don't know",
    "i do not know",
    "no thank",
    "that is all",
    "that's all",
];

const SOCIAL: &str = "
    i you are me we am is that's that it it's how all there everyone very much so a lot have day one do doing to the
    your help for today see later got understood understand appreciate appreciated welcome going too been
    really thats";
