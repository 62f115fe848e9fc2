//! Filling chunks with pieces.

use std::mem;
use std::ops::Range;

use super::piece::{Kind, Measure, Piece};
use super::sentence;

/// A chunk in bytes, with the sections whose text it has.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) range: Range<usize>,
    pub(super) sections: Vec<usize>,
    /// What it ends with.
    kind: Kind,
}

/// Distributes the pieces of one group of sections over as few chunks as the order allows.
pub(super) fn pack(measure: &Measure<'_>, pieces: Vec<Piece>) -> Vec<Draft> {
    let mut filled = fill(measure, pieces);
    balance(measure, &mut filled);
    let mut drafts: Vec<Draft> = Vec::new();
    for pieces in filled {
        let overlap = drafts.last().and_then(|before| overlap_start(measure, before, &pieces));
        settle(measure, pieces, overlap, &mut drafts);
    }
    drafts
}

/// Tokens for new text in a chunk: all but the first leave room for the overlap.
fn budget(measure: &Measure<'_>, is_first: bool) -> usize {
    let limits = measure.limits;
    if is_first { limits.max_tokens } else { limits.max_tokens - limits.overlap_tokens }
}

/// Tokens of pieces in a row, with one for each blank line between them.
pub(super) fn total(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.tokens + 1).sum::<usize>().saturating_sub(1)
}

/// Greedily: the next piece goes into the current chunk when it fits, else starts the next one.
fn fill(measure: &Measure<'_>, pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let mut filled: Vec<Vec<Piece>> = Vec::new();
    let mut current: Vec<Piece> = Vec::new();
    let mut size = 0;
    let mut waiting = pieces;
    waiting.reverse();
    while let Some(piece) = waiting.pop() {
        if piece.tokens > measure.limits.max_tokens && piece.range.len() > 1 {
            let parts = shrink(measure, &piece);
            if parts.len() > 1 || parts.first().is_some_and(|part| *part != piece) {
                waiting.extend(parts.into_iter().rev());
                continue;
            }
        }
        if current.is_empty() || size + 1 + piece.tokens <= budget(measure, filled.is_empty()) {
            size += piece.tokens + usize::from(!current.is_empty());
            current.push(piece);
            continue;
        }
        let only_headings = current.iter().all(|piece| piece.kind == Kind::Heading);
        let is_short = size < measure.limits.min_tokens || only_headings;
        if is_short && (piece.kind == Kind::Prose || only_headings && piece.kind == Kind::Whole) {
            let parts = measure.split(&piece);
            if parts.len() > 1 {
                waiting.extend(parts.into_iter().rev());
                continue;
            }
        }
        let lead = lead_in(measure, &current, &piece);
        waiting.push(piece);
        waiting.extend(current.split_off(lead).into_iter().rev());
        filled.push(mem::take(&mut current));
        size = 0;
    }
    if !current.is_empty() {
        filled.push(current);
    }
    filled
}

/// The index from which pieces at the end of a chunk belong to `next`: headings, and a short
/// paragraph that ends in a colon. The length when none does.
fn lead_in(measure: &Measure<'_>, current: &[Piece], next: &Piece) -> usize {
    let mut start = current.len();
    if let Some(last) = current.last().filter(|last| last.kind == Kind::Prose)
        && next.kind != Kind::Heading
        && measure.slice(&last.range).ends_with([':', '：'])
        && total(current.get(..start - 1).unwrap_or_default()) >= measure.limits.min_tokens
        && last.tokens < measure.limits.min_tokens
        && last.tokens + 1 + next.tokens <= budget(measure, false)
    {
        start -= 1;
    }
    let body = current.iter().take(start).rposition(|piece| piece.kind != Kind::Heading);
    body.map_or(current.len(), |last| start.min(last + 1))
}

/// Parts of a piece that is larger than a chunk.
fn shrink(measure: &Measure<'_>, piece: &Piece) -> Vec<Piece> {
    let parts = measure.split(piece);
    if parts.len() > 1 { parts } else { measure.cut(piece) }
}

/// Moves text from the last chunk but one into a last chunk that is too short.
fn balance(measure: &Measure<'_>, filled: &mut Vec<Vec<Piece>>) {
    let least = measure.limits.min_tokens;
    let room = budget(measure, false);
    let Some(mut last) = filled.pop() else { return };
    let Some(mut before) = filled.pop() else { return filled.push(last) };
    if total(&last) < least
        && total(&last) + 1 + total(&before) <= budget(measure, filled.is_empty())
    {
        before.append(&mut last);
        return filled.push(before);
    }
    while total(&last) < least
        && let Some(piece) = before.pop()
    {
        let fits = piece.tokens + 1 + total(&last) <= room && total(&before) >= least;
        let parts =
            if fits || piece.kind != Kind::Prose { Vec::new() } else { measure.split(&piece) };
        if fits {
            last.insert(0, piece);
        } else if parts.len() > 1 {
            before.extend(parts);
        } else {
            before.push(piece);
            break;
        }
    }
    while !before.iter().all(|piece| piece.kind == Kind::Heading)
        && let Some(heading) = before.pop_if(|piece| piece.kind == Kind::Heading)
    {
        last.insert(0, heading);
    }
    filled.push(before);
    filled.push(last);
}

/// Where to start so that the last sentences of the chunk before are repeated. Not code, which
/// means nothing by halves, and not across a heading, with which every section but the first starts.
fn overlap_start(measure: &Measure<'_>, before: &Draft, pieces: &[Piece]) -> Option<usize> {
    pieces.first().filter(|piece| piece.kind == Kind::Prose)?;
    let limit = measure.limits.overlap_tokens;
    // Blocks end at a blank line, and only the last one is of interest.
    let text = measure.slice(&before.range);
    let block = text.rfind("\n\n").map_or(0, |at| at + 2);
    let block = before.range.start + block..before.range.end;
    if limit == 0 || before.kind != Kind::Prose {
        return None;
    }
    let mut start = None;
    let mut tokens = 0;
    let sentences: Vec<Range<usize>> = sentence::sentences(measure.slice(&block)).collect();
    for sentence in sentences.iter().rev() {
        let range = block.start + sentence.start..block.start + sentence.end;
        tokens += measure.tokens(&range);
        if tokens > limit || range.start <= before.range.start {
            break;
        }
        start = Some(range.start);
    }
    start
}

/// Counts the chunk as it will be; when the sum of its pieces was too low, drops the overlap and
/// then halves it.
fn settle(measure: &Measure<'_>, pieces: Vec<Piece>, overlap: Option<usize>, out: &mut Vec<Draft>) {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
    let (end, kind) = (last.range.end, last.kind);
    let fits = |range: &Range<usize>| measure.tokens(range) <= measure.limits.max_tokens;
    let range = overlap.unwrap_or(first.range.start)..end;
    let plain = first.range.start..end;
    let chosen = [range, plain.clone()].into_iter().find(fits);
    if let Some(range) = chosen {
        return out.push(Draft { range, sections: sections(&pieces), kind });
    }
    let mut pieces = pieces;
    if pieces.len() == 1 {
        let parts = pieces.first().map(|piece| measure.cut(piece)).unwrap_or_default();
        if parts.len() <= 1 {
            return out.push(Draft { range: plain, sections: sections(&pieces), kind });
        }
        pieces = parts;
    }
    let second = pieces.split_off(pieces.len() / 2);
    settle(measure, pieces, None, out);
    settle(measure, second, None, out);
}

/// The sections that have text here; those with only a heading count when there are no others.
fn sections(pieces: &[Piece]) -> Vec<usize> {
    let mut with_text: Vec<usize> = Vec::new();
    let mut all: Vec<usize> = Vec::new();
    for piece in pieces {
        all.push(piece.section);
        if piece.kind != Kind::Heading {
            with_text.push(piece.section);
        }
    }
    let mut chosen = if with_text.is_empty() { all } else { with_text };
    chosen.dedup();
    chosen
}
