//! 4-grams: one template for everything, and one phrase over and over.

use std::collections::{HashMap, HashSet};

use super::Sample;

const N: usize = 4;

/// The share of completions that hold the most frequent 4-gram that is not of their own prompt.
/// Near 0 for answers that go with their question, 1 where each holds the same phrase. None
/// without completions.
pub fn top_4gram_share(samples: &[Sample<'_>]) -> Option<f64> {
    let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
    for sample in samples {
        let asked: HashSet<Vec<String>> = grams(&pieces(sample.prompt)).collect();
        let own: HashSet<Vec<String>> = grams(&pieces(sample.text)).collect();
        for gram in own.difference(&asked) {
            *counts.entry(gram.clone()).or_default() += 1;
        }
    }
    let most = counts.into_values().max().unwrap_or(0);
    (!samples.is_empty()).then(|| most as f64 / samples.len() as f64)
}

/// The share of a text's 4-grams that it holds already; 0 for a text without any.
pub fn repetition(text: &str) -> f64 {
    let all: Vec<Vec<String>> = grams(&pieces(text)).collect();
    let n_distinct = all.iter().collect::<HashSet<_>>().len();
    (all.len() - n_distinct) as f64 / all.len().max(1) as f64
}

fn grams(pieces: &[String]) -> impl Iterator<Item = Vec<String>> {
    pieces.windows(N).map(<[String]>::to_vec)
}

/// Words in small letters, and each character that is written without spaces (Chinese, kana) on
/// its own. Punctuation parts, and is not a piece.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in text.chars().flat_map(char::to_lowercase) {
        let stands_alone = matches!(character,
            '\u{3005}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}');
        let is_letter = character.is_alphanumeric();
        match pieces.last_mut().filter(|_| in_word && !stands_alone) {
            Some(word) if is_letter => word.push(character),
            _ if is_letter => pieces.push(character.to_string()),
            _ => {}
        }
        in_word = is_letter && !stands_alone;
    }
    pieces
}
