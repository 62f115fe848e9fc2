//! The collection's own words: where they stand in a text, and which sense is meant.

mod senses;
#[cfg(test)]
mod tests;

pub use senses::{OpenSense, SenseChoice, choose_senses, clarification};

use std::collections::HashMap;

use super::conversation::{Glossary, Span};
use super::language::{self, Text};

/// A glossary term that a text names, by its own name or by an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub span: Span,
    /// Index into [`Glossary::terms`].
    pub term_idx: usize,
}

/// The terms that a text names, in order and without overlaps; the longest name wins.
///
/// Latin names match whole words in any case; Chinese names match anywhere, in either script.
pub fn mentions(text: &str, glossary: &Glossary) -> Vec<Mention> {
    Finder::new(glossary).mentions(text)
}

/// Whether a text names a sense by its label. A label with a qualifier, as in `苹果（水果）`, is
/// named where both its parts are: documents seldom write one in brackets.
pub fn names_sense(text: &str, label: &str) -> bool {
    let parts = label.split(['(', ')', '（', '）']).map(str::trim).filter(|part| !part.is_empty());
    let text = Text::new(text);
    let mut parts = parts.peekable();
    parts.peek().is_some()
        && parts.all(|part| {
            let name: Vec<char> = language::fold(part).chars().collect();
            (0..text.folded.len()).any(|position| stands_at(&text, position, &name))
        })
}

/// The names of a glossary, laid out for looking through several texts.
pub struct Finder {
    /// Folded names and their terms, by first letter.
    names: HashMap<char, Vec<(Vec<char>, usize)>>,
}

impl Finder {
    pub fn new(glossary: &Glossary) -> Self {
        let mut names: HashMap<char, Vec<(Vec<char>, usize)>> = HashMap::new();
        for (term_idx, term) in glossary.terms.iter().enumerate() {
            for name in std::iter::once(&term.term).chain(&term.aliases) {
                let folded: Vec<char> = language::fold(name.trim()).chars().collect();
                if let Some(first) = folded.first() {
                    names.entry(*first).or_default().push((folded, term_idx));
                }
            }
        }
        Self { names }
    }

    /// See [`mentions`].
    pub fn mentions(&self, text: &str) -> Vec<Mention> {
        let text = Text::new(text);
        let mut found = Vec::new();
        let mut position = 0;
        while position < text.chars.len() {
            let candidates = self.names.get(&text.folded[position]).map_or(&[][..], Vec::as_slice);
            let longest = candidates
                .iter()
                .filter(|(name, _)| stands_at(&text, position, name))
                .max_by_key(|(name, term_idx)| (name.len(), std::cmp::Reverse(*term_idx)));
            match longest {
                Some((name, term_idx)) => {
                    let end = position + name.len();
                    found.push(Mention { span: text.span(position, end), term_idx: *term_idx });
                    position = end;
                }
                None => position += 1,
            }
        }
        found
    }
}

fn stands_at(text: &Text, position: usize, name: &[char]) -> bool {
    let Some(letters) = text.folded.get(position..position + name.len()) else { return false };
    let joins = |left: Option<&char>, right: Option<&char>| {
        let in_word = |letter: &char| letter.is_alphanumeric() && !language::is_han(*letter);
        left.is_some_and(in_word) && right.is_some_and(in_word)
    };
    let before = position.checked_sub(1).and_then(|index| text.folded.get(index));
    let after = text.folded.get(position + name.len());
    letters == name && !joins(before, name.first()) && !joins(name.last(), after)
}
