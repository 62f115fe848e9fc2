//! Glyphs at their places -> lines -> paragraphs.

use std::collections::HashMap;

use pdf_extract::{MediaBox, OutputDev, OutputError, Transform};

use crate::retrieve::parse::is_cjk;
use crate::retrieve::parse::page::Page;

/// Characters of a document; one of this size would be many times the longest book.
const MAX_GLYPHS: usize = 32 * 1024 * 1024;
/// Lengths below are in units of the font's size.
const SAME_LINE_SHIFT: f64 = 0.5;
/// Going back this far starts another line: the next column, or another cell.
const BACK_STEP: f64 = 2.0;
/// A wider gap is a space. Han characters are set apart to fill a line.
const WORD_GAP: f64 = 0.18;
const WORD_GAP_CJK: f64 = 0.8;
/// A line that ends this far before the edge is the last of its paragraph.
const SHORT_BY: f64 = 2.5;
/// A gap of more usual distances than this separates paragraphs.
const PARAGRAPH_LEADING: f64 = 1.4;
/// A line of so different a size is a heading, or what follows one.
const OTHER_SIZE: f64 = 0.15;
/// Lines that start within so many points of each other share a margin.
const MARGIN_POINTS: f64 = 18.0;
const BULLETS: &str = "•●■◆▪·–‣◦";

/// A line as it was drawn.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) text: String,
    left: f64,
    right: f64,
    /// Of the baseline, upwards.
    height: f64,
    size: f64,
}

impl Line {
    pub(super) fn without_numbers(&self) -> String {
        let kept = self.text.chars().filter(|c| !c.is_numeric() && !c.is_whitespace());
        kept.collect()
    }
}

/// A sheet while its glyphs arrive.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    lines: Vec<Line>,
    /// In this document so far.
    n_glyphs: usize,
    has_unknown: bool,
}

impl Sheet {
    /// A sheet after others with so many glyphs.
    pub(super) fn after(n_glyphs: usize) -> Self {
        Self { n_glyphs, ..Self::default() }
    }

    pub(super) fn n_glyphs(&self) -> usize {
        self.n_glyphs
    }

    pub(super) fn is_full(&self) -> bool {
        self.n_glyphs > MAX_GLYPHS
    }

    /// Whether there were glyphs of unknown meaning.
    pub(super) fn has_unknown(&self) -> bool {
        self.has_unknown
    }

    /// The lines with something on them.
    pub(super) fn lines(self) -> Vec<Line> {
        self.lines.into_iter().filter(|line| !line.text.trim().is_empty()).collect()
    }

    pub(super) fn uppermost(lines: &[Line]) -> Option<usize> {
        (0..lines.len()).max_by(|a, b| lines[*a].height.total_cmp(&lines[*b].height))
    }

    pub(super) fn lowest(lines: &[Line]) -> Option<usize> {
        (0..lines.len()).min_by(|a, b| lines[*a].height.total_cmp(&lines[*b].height))
    }

    fn glyph(&mut self, place: (f64, f64), width: f64, size: f64, text: &str) {
        let (x, y) = place;
        let right = x + width * size;
        let joined = self.lines.last_mut().filter(|line| {
            (y - line.height).abs() <= SAME_LINE_SHIFT * size.max(line.size)
                && x >= line.right - BACK_STEP * size
        });
        let Some(line) = joined else {
            return self.lines.push(Line { text: text.into(), left: x, right, height: y, size });
        };
        let between = (line.text.chars().next_back(), text.chars().next());
        let is_dense = matches!(between, (Some(a), Some(b)) if is_cjk(a) && is_cjk(b));
        if x - line.right > size * if is_dense { WORD_GAP_CJK } else { WORD_GAP } {
            line.text.push(' ');
        }
        line.text.push_str(text);
        line.right = line.right.max(right);
        line.size = line.size.max(size);
    }
}

impl OutputDev for Sheet {
    fn begin_page(
        &mut self,
        _number: u32,
        _media_box: &MediaBox,
        _art_box: Option<(f64, f64, f64, f64)>,
    ) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn output_character(
        &mut self,
        transform: &Transform,
        width: f64,
        _spacing: f64,
        font_size: f64,
        char: &str,
    ) -> Result<(), OutputError> {
        self.n_glyphs += char.len().max(1);
        if self.is_full() {
            return Err(OutputError::FormatError(std::fmt::Error));
        }
        self.has_unknown |= char.is_empty();
        let scale = (transform.m11 * transform.m22 - transform.m12 * transform.m21).abs().sqrt();
        let (x, y, size) = (transform.m31, transform.m32, font_size.abs() * scale);
        if [x, y, size, width].iter().all(|number| number.is_finite()) {
            self.glyph((x, y), width, size, char);
        }
        Ok(())
    }

    fn begin_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_word(&mut self) -> Result<(), OutputError> {
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), OutputError> {
        Ok(())
    }
}

/// Writes lines as paragraphs: the reader's line ends were chosen by the width of the paper.
pub(super) fn write(lines: &[Line], page: &mut Page) {
    let leading = usual_distance(lines);
    let edges = right_edges(lines);
    for (index, line) in lines.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| lines.get(before));
        if let Some(before) = before {
            let distance = before.height - line.height;
            let is_far = distance > leading * PARAGRAPH_LEADING;
            let is_other = (before.size - line.size).abs() > OTHER_SIZE * before.size;
            let edge = edges.get(&margin(before)).copied().unwrap_or(before.right);
            let is_short = before.right < edge - SHORT_BY * before.size;
            if is_far || is_other {
                page.paragraph();
            } else if is_short || line.text.trim_start().starts_with(|c| BULLETS.contains(c)) {
                page.line();
            } else {
                page.flow("\n");
            }
        }
        page.flow(&line.text);
    }
}

/// The median distance from one line to the next below it.
fn usual_distance(lines: &[Line]) -> f64 {
    let pairs = lines.iter().zip(lines.iter().skip(1));
    let mut distances: Vec<f64> = pairs
        .map(|(line, next)| (line.height - next.height, line.size))
        .filter(|(distance, size)| *distance > 0.0 && *distance < 4.0 * size)
        .map(|(distance, _)| distance)
        .collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// How far the lines of each left margin reach; columns have different ones.
fn right_edges(lines: &[Line]) -> HashMap<i64, f64> {
    let mut edges = HashMap::new();
    for line in lines {
        let edge: &mut f64 = edges.entry(margin(line)).or_insert(line.right);
        *edge = edge.max(line.right);
    }
    edges
}

#[expect(clippy::cast_possible_truncation, reason = "a margin is a few thousand points at most")]
fn margin(line: &Line) -> i64 {
    (line.left / MARGIN_POINTS).round() as i64
}
