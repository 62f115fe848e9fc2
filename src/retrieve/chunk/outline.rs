//! The sections of a document, and which of them share a chunk.

use std::ops::Range;

use super::pack::total;
use super::piece::{Kind, Measure, Piece};
use super::{ChunkLimits, ParsedDocument};

/// A heading with the text up to the next heading; the first may have no heading.
#[derive(Debug)]
struct Section {
    /// 0 for what stands before the first heading.
    level: u8,
    /// Index of the heading in the document.
    heading: Option<usize>,
    /// Index of the section that this one is in.
    parent: Option<usize>,
    pieces: Range<usize>,
    tokens: usize,
    /// With everything below it in the outline.
    subtree_tokens: usize,
}

/// All sections in order, with their paragraphs measured.
#[derive(Debug)]
pub(super) struct Outline<'d> {
    sections: Vec<Section>,
    pieces: Vec<Piece>,
    document: &'d ParsedDocument,
}

impl<'d> Outline<'d> {
    pub(super) fn read(document: &'d ParsedDocument, measure: &Measure<'_>) -> Self {
        let bounds = Bounds::read(document);
        let mut outline = Self { sections: Vec::new(), pieces: Vec::new(), document };
        let mut open: Vec<(u8, usize)> = Vec::new();
        for (range, heading) in bounds.sections {
            let level = heading.and_then(|index| document.headings.get(index));
            let level = level.map_or(0, |heading| heading.level.max(1));
            let index = outline.sections.len();
            open.truncate(open.partition_point(|(above, _)| *above < level));
            let parent = open.last().map(|(_, index)| *index);
            open.push((level, index));
            let blocks = blocks(&document.text, &range, heading.is_some(), &bounds.kept_whole);
            let measured: Vec<Piece> = blocks
                .into_iter()
                .filter_map(|(range, kind)| measure.piece(range, kind, index))
                .collect();
            let tokens = total(&measured);
            let first = outline.pieces.len();
            outline.pieces.extend(measured);
            let pieces = first..outline.pieces.len();
            let subtree_tokens = tokens;
            outline.sections.push(Section {
                level,
                heading,
                parent,
                pieces,
                tokens,
                subtree_tokens,
            });
        }
        outline.sum_subtrees();
        outline
    }

    /// Joins sections that are too short to stand alone with their neighbours; returns ranges of
    /// section indices, in order, that cover all sections.
    pub(super) fn groups(&self, limits: ChunkLimits) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut tokens = 0;
        for (index, section) in self.sections.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if self.joins(group, tokens, index, limits) => {
                    group.end = index + 1;
                    tokens += section.tokens;
                }
                _ => {
                    groups.push(index..index + 1);
                    tokens = section.tokens;
                }
            }
        }
        groups
    }

    pub(super) fn pieces(&self, group: Range<usize>) -> Vec<Piece> {
        let sections = self.sections.get(group).unwrap_or_default();
        let start = sections.first().map_or(0, |section| section.pieces.start);
        let end = sections.last().map_or(0, |section| section.pieces.end);
        self.pieces.get(start..end).unwrap_or_default().to_vec()
    }

    /// The headings that all these sections stand under.
    pub(super) fn path(&self, sections: &[usize]) -> Vec<&'d str> {
        let mut paths = sections.iter().map(|index| self.ancestry(*index));
        let mut common = paths.next().unwrap_or_default();
        for path in paths {
            let shared = common.iter().zip(path).take_while(|(left, right)| *left == right).count();
            common.truncate(shared);
        }
        let headings = common.iter().filter_map(|section| self.sections.get(*section)?.heading);
        headings
            .filter_map(|index| Some(self.document.headings.get(index)?.title.as_str()))
            .collect()
    }

    /// The sections from the top of the outline to this one.
    fn ancestry(&self, section: usize) -> Vec<usize> {
        let parent = |section: &usize| self.sections.get(*section)?.parent;
        let mut path: Vec<usize> = std::iter::successors(Some(section), parent).collect();
        path.reverse();
        path
    }

    /// Whether the section at `index` belongs with the group of `tokens` tokens before it.
    fn joins(
        &self,
        group: &Range<usize>,
        tokens: usize,
        index: usize,
        limits: ChunkLimits,
    ) -> bool {
        let (Some(before), Some(section)) =
            (self.sections.get(group.clone()), self.sections.get(index))
        else {
            return false;
        };
        let is_small = section.subtree_tokens < limits.min_tokens;
        let fits = tokens.saturating_add(section.tokens) <= limits.max_tokens;
        if before.last().is_some_and(|last| last.level < section.level) {
            // Downwards. A heading with little or nothing below it goes with what follows.
            return tokens < limits.min_tokens || is_small && fits;
        }
        let sibling = before.iter().rev().find(|it| it.level <= section.level);
        let is_sibling = sibling.is_some_and(|it| it.level == section.level);
        is_sibling && tokens < limits.min_tokens && is_small && fits
    }

    fn sum_subtrees(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for index in (0..self.sections.len()).rev() {
            let level = self.sections[index].level;
            // Walking backwards, the sections below this one are the ones still open.
            while let Some(below) = open.pop_if(|below| self.sections[*below].level > level) {
                let tokens = self.sections[below].subtree_tokens;
                self.sections[index].subtree_tokens += tokens;
            }
            open.push(index);
        }
    }
}

/// The document's offsets as bytes, in order and within the text, whatever the caller sent.
struct Bounds {
    /// With the index of the heading that each starts with.
    sections: Vec<(Range<usize>, Option<usize>)>,
    kept_whole: Vec<Range<usize>>,
}

impl Bounds {
    fn read(document: &ParsedDocument) -> Self {
        let mut kept = document.kept_whole.clone();
        kept.sort_by_key(|range| range.start);
        let mut wanted: Vec<usize> = document.headings.iter().map(|heading| heading.at).collect();
        wanted.extend(kept.iter().flat_map(|range| [range.start, range.end]));
        wanted.sort_unstable();
        wanted.dedup();
        let bytes = byte_offsets(&document.text, &wanted);
        let byte = |at: usize| {
            wanted.binary_search(&at).ok().and_then(|index| bytes.get(index).copied()).unwrap_or(0)
        };
        let mut starts: Vec<(usize, usize)> = Vec::new();
        for (index, heading) in document.headings.iter().enumerate() {
            let at = byte(heading.at);
            if at < document.text.len() && starts.last().is_none_or(|(before, _)| *before < at) {
                starts.push((at, index));
            }
        }
        let first = starts.first().map_or(document.text.len(), |(at, _)| *at);
        let mut sections = vec![(0..first, None)];
        for (position, (at, heading)) in starts.iter().enumerate() {
            let end = starts.get(position + 1).map_or(document.text.len(), |(next, _)| *next);
            sections.push((*at..end, Some(*heading)));
        }
        let kept_whole = kept.iter().map(|range| byte(range.start)..byte(range.end)).collect();
        Self { sections, kept_whole }
    }
}

/// Byte offsets of increasing char offsets; those beyond the end are the end.
fn byte_offsets(text: &str, wanted: &[usize]) -> Vec<usize> {
    let mut places = text.char_indices().map(|(byte, _)| byte).enumerate();
    let mut found = Vec::with_capacity(wanted.len());
    let mut current = places.next();
    for at in wanted {
        while current.is_some_and(|(index, _)| index < *at) {
            current = places.next();
        }
        found.push(current.map_or(text.len(), |(_, byte)| byte));
    }
    found
}

/// The paragraphs, code blocks and tables of a section; its first line when it is a heading.
fn blocks(
    text: &str,
    section: &Range<usize>,
    has_heading: bool,
    kept_whole: &[Range<usize>],
) -> Vec<(Range<usize>, Kind)> {
    let mut blocks = Vec::new();
    let mut at = section.start;
    if has_heading {
        let body = text.get(section.clone()).unwrap_or_default();
        let end = section.start + body.find('\n').unwrap_or(body.len());
        blocks.push((section.start..end, Kind::Heading));
        at = end;
    }
    let first = kept_whole.partition_point(|range| range.end <= at);
    for range in kept_whole.iter().skip(first).take_while(|range| range.start < section.end) {
        let range = range.start.max(at)..range.end.min(section.end);
        if range.is_empty() {
            continue;
        }
        paragraphs(text, at..range.start, &mut blocks);
        at = range.end;
        blocks.push((range, Kind::Whole));
    }
    paragraphs(text, at..section.end, &mut blocks);
    blocks
}

/// Adds the stretches between blank lines.
fn paragraphs(text: &str, range: Range<usize>, blocks: &mut Vec<(Range<usize>, Kind)>) {
    let mut start = range.start;
    let mut at = range.start;
    for line in text.get(range.clone()).unwrap_or_default().split_inclusive('\n') {
        if line.trim().is_empty() {
            blocks.push((start..at, Kind::Prose));
            start = at;
        }
        at += line.len();
    }
    blocks.push((start..range.end, Kind::Prose));
}
