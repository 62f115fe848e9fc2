//! The pieces that chunks are made of, and cutting them smaller.

use std::ops::Range;

use super::{ChunkLimits, sentence};

/// More bytes than this for each allowed token are too many without counting. It bounds the
/// work of the tokenizer: a word of 10 MB is never counted as a whole.
const MOST_BYTES_PER_TOKEN: usize = 64;
/// The size that counting gives up at; millions of them can be added without overflow.
pub(super) const TOO_LARGE: usize = usize::MAX >> 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Heading,
    Prose,
    /// A code block or a table: cut only when it does not fit into a chunk.
    Whole,
}

/// A stretch of the text, without blanks around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// In bytes.
    pub(super) range: Range<usize>,
    pub(super) tokens: usize,
    pub(super) kind: Kind,
    /// Index of the section in the outline.
    pub(super) section: usize,
}

/// The text with the means to measure it.
pub(super) struct Measure<'a> {
    pub(super) text: &'a str,
    pub(super) limits: ChunkLimits,
    pub(super) count_tokens: &'a dyn Fn(&str) -> usize,
}

impl Measure<'_> {
    pub(super) fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }

    /// Tokens of a stretch; [`TOO_LARGE`] when it is out of the question that it fits.
    pub(super) fn tokens(&self, range: &Range<usize>) -> usize {
        if range.len() > self.limits.max_tokens.saturating_mul(MOST_BYTES_PER_TOKEN) {
            return TOO_LARGE;
        }
        (self.count_tokens)(self.slice(range)).min(TOO_LARGE)
    }

    /// A measured piece without the blanks around it; none when only blanks are there. The first
    /// line of a code block keeps its indentation.
    pub(super) fn piece(&self, range: Range<usize>, kind: Kind, section: usize) -> Option<Piece> {
        let text = self.slice(&range);
        let end = range.start + text.trim_end().len();
        let mut start = range.end - text.trim_start().len();
        if start >= end {
            return None;
        }
        if kind == Kind::Whole {
            let blanks = self.slice(&(range.start..start));
            let line = blanks.rfind('\n').map(|at| range.start + at + 1);
            let starts_line = self.slice(&(0..range.start)).ends_with('\n') || range.start == 0;
            start = line.or(starts_line.then_some(range.start)).unwrap_or(start);
        }
        let tokens = self.tokens(&(start..end));
        Some(Piece { range: start..end, tokens, kind, section })
    }

    /// Cuts a piece at its sentences; a code block, table or list at its lines. Neighbouring short
    /// ones stay together, so that 100,000 one-word lines are not counted one by one.
    pub(super) fn split(&self, piece: &Piece) -> Vec<Piece> {
        let text = self.slice(&piece.range);
        let least_bytes = self.limits.max_tokens / 2;
        let mut parts = Vec::new();
        let mut start = 0;
        let mut add = |end: usize| {
            if end - start >= least_bytes || end == text.len() {
                let range = piece.range.start + start..piece.range.start + end;
                parts.extend(self.piece(range, piece.kind, piece.section));
                start = end;
            }
        };
        if piece.kind == Kind::Whole || is_list(text) {
            text.match_indices('\n').for_each(|(at, _)| add(at + 1));
            add(text.len());
        } else {
            sentence::sentences(text).for_each(|sentence| add(sentence.end));
        }
        parts
    }

    /// Cuts a stretch anywhere, so that each part fits; between words if there are words.
    pub(super) fn cut(&self, piece: &Piece) -> Vec<Piece> {
        let mut parts = Vec::new();
        let mut start = piece.range.start;
        let mut chars = self.limits.max_tokens;
        while start < piece.range.end {
            let mut end = self.cut_end(start, piece.range.end, chars);
            let mut part = self.piece(start..end, piece.kind, piece.section);
            while let Some(large) = part.as_ref().filter(|it| it.tokens > self.limits.max_tokens) {
                let length = self.slice(&(start..end)).chars().count();
                if length <= 1 {
                    break;
                }
                // In proportion, which is at least one char less, and a little less for luck.
                let fits = length.saturating_mul(self.limits.max_tokens) / large.tokens;
                chars = (fits - fits / 16).max(1);
                end = self.cut_end(start, piece.range.end, chars);
                part = self.piece(start..end, piece.kind, piece.section);
            }
            if part.as_ref().is_some_and(|it| it.tokens < self.limits.max_tokens / 2) {
                chars = chars.saturating_mul(2).min(self.limits.max_tokens * MOST_BYTES_PER_TOKEN);
            }
            parts.extend(part);
            start = end;
        }
        parts
    }

    /// The end of about `chars` chars from `start`, moved back to a blank that is not far.
    fn cut_end(&self, start: usize, limit: usize, chars: usize) -> usize {
        let rest = self.slice(&(start..limit));
        let Some((length, _)) = rest.char_indices().nth(chars.max(1)) else { return limit };
        let head = rest.get(..length).unwrap_or_default();
        let near = head.rfind(char::is_whitespace).filter(|at| *at > length - length / 4);
        let joins = |at: &usize| rest.get(*at..).is_some_and(|rest| !rest.starts_with(is_joiner));
        let whole =
            head.char_indices().rev().map(|(at, _)| at).take(8).find(|at| *at > 0 && joins(at));
        let plain = Some(length).filter(joins).or(whole).unwrap_or(length);
        start + near.unwrap_or(plain)
    }
}

/// Whether one of the lines is a list item.
fn is_list(text: &str) -> bool {
    text.lines().skip(1).any(|line| {
        let item = line.trim_start();
        let number = item.trim_start_matches(|c: char| c.is_ascii_digit());
        item.starts_with("- ") || number.len() < item.len() && number.starts_with(". ")
    })
}

/// Characters that change the one before them: accents, emoji parts, variation selectors.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0100}'..='\u{e01ef}')
}
