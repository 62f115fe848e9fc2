//! Where an added word may come from, and the longest piece of each source that stands
//! at each place of the standalone question.

use std::collections::HashMap;

use crate::rewrite::conversation::{Conversation, Edit, Evidence, Source};
use crate::rewrite::text::{Unit, units};

/// Stands for a unit that the standalone question does not have, and for the end of a
/// sentence: no piece reaches over it.
const FOREIGN: u32 = u32::MAX;

/// One text that additions may be taken from.
pub(super) struct SourceText {
    /// None for the query itself, whose words need no evidence.
    pub(super) origin: Option<Evidence>,
    /// Worked out by a rule or curated by a person; a single character of it counts.
    pub(super) trusted: bool,
    words: String,
    units: Vec<Unit>,
    ids: Vec<u32>,
}

/// A stretch of a source that the standalone question repeats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Match {
    /// In units; 0 when no source has the unit.
    pub(super) length: usize,
    pub(super) source: usize,
    /// Index of the first unit in the source.
    pub(super) position: usize,
}

pub(super) struct Sources {
    texts: Vec<SourceText>,
    ids: Vec<u32>,
}

impl Sources {
    /// Collects the sources, the most telling first: of two equally long matches the
    /// earlier source wins.
    pub(super) fn new(conversation: &Conversation, standalone: &[Unit], edits: &[Edit]) -> Self {
        let mut interned = HashMap::new();
        let ids = standalone
            .iter()
            .map(|unit| {
                let next = interned.len() as u32;
                *interned.entry(unit.key.as_str()).or_insert(next)
            })
            .collect();
        let mut sources = Self { texts: Vec::new(), ids };
        for edit in edits {
            sources.add(&interned, &edit.replacement, Some(edit.evidence.clone()), true);
        }
        for (key, value) in &conversation.facts {
            sources.add_from(&interned, value, Source::Fact(key.clone()), true);
        }
        for (index, turn) in conversation.turns.iter().enumerate().rev() {
            sources.add_from(&interned, &turn.text, Source::Message(index), false);
        }
        for term in &conversation.glossary.terms {
            let senses = term.senses.iter().map(|sense| &sense.label);
            for name in [&term.term].into_iter().chain(&term.aliases).chain(senses) {
                sources.add_from(&interned, name, Source::Glossary(term.id.clone()), true);
            }
        }
        sources.add(&interned, &conversation.query, None, false);
        sources
    }

    fn add_from(
        &mut self,
        interned: &HashMap<&str, u32>,
        text: &str,
        source: Source,
        trusted: bool,
    ) {
        let origin = Evidence { source, text: String::new() };
        self.add(interned, text, Some(origin), trusted);
    }

    fn add(
        &mut self,
        interned: &HashMap<&str, u32>,
        text: &str,
        origin: Option<Evidence>,
        trusted: bool,
    ) {
        let mut found = units(text);
        found.retain(|unit| !unit.is_punctuation() || ends_sentence(unit));
        let id_of = |unit: &Unit| interned.get(unit.key.as_str()).copied().unwrap_or(FOREIGN);
        let ids: Vec<u32> = found.iter().map(id_of).collect();
        if ids.iter().any(|id| *id != FOREIGN) {
            self.texts.push(SourceText {
                origin,
                trusted,
                words: text.to_owned(),
                units: found,
                ids,
            });
        }
    }

    pub(super) fn text(&self, index: usize) -> Option<&SourceText> {
        self.texts.get(index)
    }

    /// For each unit of `run` the longest match that starts there and stays within.
    pub(super) fn longest_matches(&self, run: std::ops::Range<usize>) -> Vec<Match> {
        let ids = self.ids.get(run).unwrap_or_default();
        let mut best = vec![Match::default(); ids.len()];
        for (source, text) in self.texts.iter().enumerate() {
            // below[j]: how far the text from unit j on agrees with the run from the next
            // row on. The extra last cell stays 0.
            let mut below = vec![0usize; text.ids.len() + 1];
            for (row, id) in ids.iter().enumerate().rev() {
                for position in 0..text.ids.len() {
                    let same = text.ids[position] == *id;
                    below[position] = if same { below[position + 1] + 1 } else { 0 };
                    if below[position] > best[row].length {
                        best[row] = Match { length: below[position], source, position };
                    }
                }
            }
        }
        best
    }

    /// Where the unit `place` of the standalone question stands in the source of `other`,
    /// at most `reach` units away from that match and not within it.
    pub(super) fn near(&self, place: usize, other: Match, reach: usize) -> Option<Match> {
        let (id, ids) = (self.ids.get(place)?, &self.texts.get(other.source)?.ids);
        let end = other.position + other.length;
        let from = other.position.saturating_sub(reach);
        let outside = |position: &usize| *position < other.position || *position >= end;
        let mut places = (from..ids.len().min(end + reach)).filter(outside);
        let position = places.find(|position| ids.get(*position) == Some(id))?;
        Some(Match { length: 1, source: other.source, position })
    }

    /// The evidence for a match, with the source's own words; none for the query's.
    pub(super) fn evidence(&self, found: Match) -> Option<Evidence> {
        let text = self.texts.get(found.source)?;
        let origin = text.origin.as_ref()?;
        if !origin.text.is_empty() {
            return Some(origin.clone());
        }
        let units = text.units.get(found.position..found.position + found.length)?;
        let (start, end) = (units.first()?.span.start, units.last()?.span.end);
        let words = text.words.chars().skip(start).take(end - start).collect();
        Some(Evidence { source: origin.source.clone(), text: words })
    }
}

fn ends_sentence(unit: &Unit) -> bool {
    matches!(unit.text.as_str(), "." | "!" | "?" | "。" | "！" | "？" | ";" | "；")
}
