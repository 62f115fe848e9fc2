//! A parsed document -> chunks that are small enough to embed and still make sense alone.
//!
//! A chunk follows the outline: it stays within its section, takes whole paragraphs while they
//! fit, then whole sentences, and cuts a sentence only when that alone is too long. A heading is
//! never left behind at the end of a chunk. Tokens are counted per piece and summed; the finished
//! chunk is counted once more, because no tokenizer promises that the sum is an upper bound.

mod outline;
mod pack;
mod piece;
mod sentence;
#[cfg(test)]
mod tests;

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::parse::ParsedDocument;
use outline::Outline;
use piece::Measure;
pub(super) use sentence::sentences;

/// Goes between a document's title and its headings.
const PATH_SEPARATOR: &str = " › ";

/// A passage of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// From 0, in the order of the text.
    pub ordinal: usize,
    /// The document's title, then the headings that the whole chunk stands under.
    pub title: String,
    /// `document.text[start..end]`, in chars.
    pub text: String,
    pub start: usize,
    pub end: usize,
    /// SHA-256 of `text` in lower-case hexadecimal: equal passages have equal hashes.
    pub hash: String,
}

/// How large chunks may be, in tokens of whatever `count_tokens` counts; titles are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkLimits {
    /// No chunk has more, unless it is a single character.
    pub max_tokens: usize,
    /// Sections below this are joined with their neighbours where the outline allows it.
    pub min_tokens: usize,
    /// Whole sentences up to this are repeated from the previous chunk of the same section.
    pub overlap_tokens: usize,
}

impl ChunkLimits {
    /// Limits that leave room to work in: an overlap of the whole maximum would never end.
    fn sane(self) -> Self {
        let max_tokens = self.max_tokens.max(1);
        Self {
            max_tokens,
            min_tokens: self.min_tokens.min(max_tokens / 2),
            overlap_tokens: self.overlap_tokens.min(max_tokens / 3),
        }
    }
}

/// Cuts a document into chunks. Every character that is not blank is in at least one of them,
/// none is empty, and the same input gives the same chunks.
///
/// A chunk crosses a heading only downwards (a short introduction joins its first subsection) or
/// between sibling sections that are both below `min_tokens`. `fallback_title` is used when the
/// document has no title. `count_tokens` is called a few times for each piece, never on more than
/// about 64 bytes for each allowed token.
pub fn chunk(
    document: &ParsedDocument,
    fallback_title: &str,
    limits: ChunkLimits,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Vec<Chunk> {
    let limits = limits.sane();
    let measure = Measure { text: &document.text, limits, count_tokens };
    let outline = Outline::read(document, &measure);
    let mut drafts = Vec::new();
    for group in outline.groups(limits) {
        let pieces = outline.pieces(group);
        for draft in pack::pack(&measure, pieces) {
            drafts.push((draft.range, outline.path(&draft.sections)));
        }
    }
    let title = document.title.as_deref().unwrap_or(fallback_title).trim();
    finish(&document.text, title, drafts)
}

/// Turns byte ranges into chunks with char offsets, in one walk over the text.
fn finish(text: &str, title: &str, drafts: Vec<(Range<usize>, Vec<&str>)>) -> Vec<Chunk> {
    let mut starts = CharCounter::new(text);
    let mut ends = CharCounter::new(text);
    let mut chunks: Vec<Chunk> = Vec::with_capacity(drafts.len());
    for (range, path) in drafts {
        let Some(passage) = text.get(range.clone()).filter(|text| !text.is_empty()) else {
            continue;
        };
        let path = path.into_iter().filter(|heading| !heading.is_empty() && *heading != title);
        let title = std::iter::once(title).filter(|title| !title.is_empty()).chain(path);
        chunks.push(Chunk {
            ordinal: chunks.len(),
            title: title.collect::<Vec<_>>().join(PATH_SEPARATOR),
            text: passage.to_owned(),
            start: starts.at(range.start),
            end: ends.at(range.end),
            hash: hash(passage),
        });
    }
    chunks
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Converts increasing byte offsets to char offsets without starting over.
struct CharCounter<'t> {
    text: &'t str,
    byte: usize,
    chars: usize,
}

impl<'t> CharCounter<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, byte: 0, chars: 0 }
    }

    fn at(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            (self.byte, self.chars) = (0, 0);
        }
        self.chars += self.text.get(self.byte..byte).unwrap_or_default().chars().count();
        self.byte = byte;
        self.chars
    }
}
