//! English words of the closed classes, with their places in the text.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::english_words::{FUNCTION_WORDS, GENERIC_WORDS, INTERJECTION_WORDS, TIME_WORDS};
use super::{Text, is_latin};

/// A word of an English text; `start..end` counts Unicode scalar values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub start: usize,
    pub end: usize,
    /// In lower case, with a straight apostrophe: `it's`.
    pub lower: String,
    /// Begins with a capital letter, is an acronym, or mixes letters and digits.
    pub is_name: bool,
    /// Follows the beginning of the text, a stop, or a line break.
    pub opens_sentence: bool,
    /// A comma, semicolon, colon or bracket stands between this word and the one before.
    pub follows_comma: bool,
    /// Stands inside quotation marks or code.
    pub is_quoted: bool,
}

impl Word {
    /// Whether the word is about something: no list of everyday words knows it.
    pub fn is_topic(&self) -> bool {
        let bare = self.lower.strip_suffix("'s").unwrap_or(&self.lower);
        self.is_quoted
            || !(is_function(bare)
                || is_function(&self.lower)
                || is_generic(bare)
                || is_interjection(bare))
    }

    /// The word without a possessive ending.
    pub fn bare(&self) -> &str {
        self.lower.strip_suffix("'s").unwrap_or(&self.lower)
    }
}

/// The words of a text in order. Han characters and other scripts become one word a run.
pub fn words(text: &Text) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut position, mut opens_sentence, mut follows_comma) = (0, true, false);
    while position < text.chars.len() {
        if !is_word_letter(text, position) {
            let mark = text.chars[position];
            let stops = matches!(mark, '!' | '?' | '\n' | ';' | '。' | '！' | '？')
                || (mark == '.'
                    && !text.chars.get(position + 1).is_some_and(|c| c.is_alphanumeric()));
            opens_sentence |= stops;
            follows_comma |= matches!(mark, ',' | ':' | '(' | '[' | '，' | '：' | '—' | '–');
            position += 1;
            continue;
        }
        let start = position;
        while position < text.chars.len() && is_word_letter(text, position) {
            position += 1;
        }
        words.push(word(text, start, position, opens_sentence, follows_comma));
        (opens_sentence, follows_comma) = (false, false);
    }
    words
}

/// Articles, pronouns, auxiliaries, prepositions, conjunctions, question words, adverbs.
pub fn is_function(word: &str) -> bool {
    FUNCTION.contains(word)
}

/// Everyday verbs, empty nouns, adjectives, and nouns that belong to something else.
pub fn is_generic(word: &str) -> bool {
    let is_count = word.len() <= 2 && word.chars().all(|letter| letter.is_ascii_digit());
    GENERIC.contains(word) || is_count || is_year(word)
}

/// Greetings, thanks and yes or no.
pub fn is_interjection(word: &str) -> bool {
    INTERJECTION.contains(word)
}

/// Whether a word is in a list whose words are parted by white space.
pub fn is_one_of(word: &str, list: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

/// An expression of time, one word long.
pub fn is_time(word: &str) -> bool {
    TIME.contains(word) || is_year(word)
}

pub fn is_year(word: &str) -> bool {
    let digits = word.strip_suffix('s').unwrap_or(word);
    digits.len() == 4
        && digits.chars().all(|letter| letter.is_ascii_digit())
        && (digits.starts_with("19") || digits.starts_with("20"))
}

/// Whether English function words frame the text, so that Chinese words in it are quotations.
pub(super) fn has_frame(text: &str) -> bool {
    let mut run = text.split(|letter: char| !is_latin(letter)).filter(|word| !word.is_empty());
    run.any(|word| FRAME.contains(word.to_ascii_lowercase().as_str()))
}

fn is_word_letter(text: &Text, position: usize) -> bool {
    let letter = text.chars[position];
    if letter.is_alphanumeric() {
        return true;
    }
    let neighbour = |index: Option<usize>| {
        index.and_then(|index| text.chars.get(index)).is_some_and(|c| c.is_alphanumeric())
    };
    matches!(letter, '\'' | '’' | '-' | '.' | '_' | '/' | '&' | '+' | '#' | '@')
        && neighbour(position.checked_sub(1))
        && (neighbour(Some(position + 1)) || matches!(letter, '+' | '#'))
}

fn word(text: &Text, start: usize, end: usize, opens_sentence: bool, follows_comma: bool) -> Word {
    let letters = &text.chars[start..end];
    let straight =
        |letter: &char| if *letter == '’' { '\'' } else { letter.to_ascii_lowercase() };
    let is_quoted = text.quoted.iter().any(|range| range.contains(&start));
    let mixes = letters.iter().any(char::is_ascii_digit) && letters.iter().any(|l| is_latin(*l));
    let is_name = letters.iter().any(|letter| letter.is_uppercase())
        || (mixes && letters.len() > 1)
        || letters.iter().any(|&letter| super::is_han(letter));
    Word {
        start,
        end,
        lower: letters.iter().map(straight).collect(),
        is_name,
        opens_sentence,
        follows_comma,
        is_quoted,
    }
}

fn set(words: &'static str) -> HashSet<&'static str> {
    words.split_whitespace().collect()
}

static FUNCTION: LazyLock<HashSet<&str>> = LazyLock::new(|| set(FUNCTION_WORDS));
static GENERIC: LazyLock<HashSet<&str>> = LazyLock::new(|| set(GENERIC_WORDS));
static INTERJECTION: LazyLock<HashSet<&str>> = LazyLock::new(|| set(INTERJECTION_WORDS));
static TIME: LazyLock<HashSet<&str>> = LazyLock::new(|| set(TIME_WORDS));
static FRAME: LazyLock<HashSet<&str>> = LazyLock::new(|| set(FRAME_WORDS));

const FRAME_WORDS: &str =
    "the is are was were does did do how what why when where who which can could
    should would please show tell give mean means translate about of my your this that these those";
