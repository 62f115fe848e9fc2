//! Where sentences end, in Chinese and English.

use std::iter;
use std::ops::Range;

use crate::retrieve::parse::is_cjk;

/// Words that end in a full stop in the middle of a sentence.
const ABBREVIATIONS: [&str; 32] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "e.g", "i.e", "cf", "al", "ca",
    "approx", "fig", "figs", "eq", "eqs", "no", "nos", "sec", "ch", "vol", "pp", "ed", "eds",
    "inc", "ltd", "co", "corp", "dept",
];
/// The longest word that is looked up; looking further back would be quadratic.
const LONGEST_ABBREVIATION: usize = 8;

/// The sentences of a text as byte ranges that cover it without gaps; the blanks after a sentence
/// belong to it. A line end also ends a sentence; the dots of `3.14`, `example.com`, `e.g. this`
/// and `J. Smith` do not.
pub(in crate::retrieve) fn sentences(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    iter::from_fn(move || {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let range = start..start + sentence_length(text, start, rest);
        start = range.end;
        Some(range)
    })
}

/// Bytes of the sentence that `rest`, which is `text` from `start`, begins with.
fn sentence_length(text: &str, start: usize, rest: &str) -> usize {
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\n' && !is_end_mark(c) {
            continue;
        }
        let mut end = at + c.len_utf8();
        let mut marks_end = end;
        while c != '\n'
            && let Some((next, mark)) = chars.next_if(|(_, c)| is_end_mark(*c) || is_closer(*c))
        {
            end = next + mark.len_utf8();
            if is_end_mark(mark) {
                marks_end = end;
            }
        }
        let before = text.get(..start + at).unwrap_or_default();
        let marks = rest.get(at..marks_end).unwrap_or_default();
        let after = rest.get(end..).unwrap_or_default();
        if c == '\n' || ends(before, marks, after) {
            let blanks = after.len() - after.trim_start().len();
            return end + blanks;
        }
    }
    rest.len()
}

/// Whether `marks` between these two texts end a sentence.
fn ends(before: &str, marks: &str, after: &str) -> bool {
    if marks.contains(['。', '！', '？', '；', '｡']) {
        return true;
    }
    let Some(next) = after.chars().next() else { return true };
    if !next.is_whitespace() && !is_cjk(next) {
        return false;
    }
    if marks != "." {
        return true;
    }
    let follows = after.chars().take(4).find(|c| !c.is_whitespace());
    // "approx. five" goes on; only a few names start a sentence in lower case.
    !follows.is_some_and(|c| c.is_ascii_lowercase()) && !is_abbreviated(before)
}

/// Whether the word before a full stop is an abbreviation, an initial or a list number.
fn is_abbreviated(before: &str) -> bool {
    let is_word = |c: &char| c.is_alphanumeric() && !is_cjk(*c) || *c == '.';
    let word: Vec<char> =
        before.chars().rev().take(LONGEST_ABBREVIATION + 1).take_while(is_word).collect();
    let word: String = word.into_iter().rev().collect();
    let at = before.len() - word.len();
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        (Some(initial), None) if initial.is_ascii_uppercase() => true,
        (Some(first), _) if first.is_ascii_digit() => starts_line(before, at),
        _ => ABBREVIATIONS.contains(&word.to_ascii_lowercase().as_str()),
    }
}

/// Whether only blanks stand between the start of a line and this place.
fn starts_line(before: &str, at: usize) -> bool {
    let blanks = before.get(..at).unwrap_or_default().chars().rev().take(24);
    blanks.take_while(|c| *c != '\n').all(|c| c == ' ')
}

fn is_end_mark(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '；' | '｡' | '.' | '!' | '?')
}

fn is_closer(c: char) -> bool {
    matches!(c, '"' | '\'' | ')' | ']' | '”' | '’' | '」' | '』' | '）' | '】' | '》' | '»')
}
