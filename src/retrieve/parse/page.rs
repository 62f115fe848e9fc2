//! The page under construction: every reader says what it sees, the page decides how it looks.
//!
//! Gaps are remembered and only written before the next visible character, so a text never
//! starts or ends with blanks, and empty markup leaves no trace.

use std::mem;
use std::ops::Range;

use super::{Heading, ParsedDocument, is_cjk};

/// Nested lists are indented up to this depth; a deeper one would be mostly blanks.
const DEEPEST_INDENT: usize = 8;
/// Titles are repeated with every chunk, so a "heading" of a megabyte must not become one.
const LONGEST_TITLE_CHARS: usize = 200;

/// What separates the last visible character from the next; the larger one wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    /// A line end of the source within a paragraph: a space, or nothing between Han characters.
    Wrap,
    Line,
    Blank,
}

/// A table being read: cells collect until the row ends.
#[derive(Debug, Default)]
struct Table {
    cells: Vec<String>,
    /// Char offset of the first row, once there is one.
    start: Option<usize>,
    /// Tables within this one; their rows are only words of the cell.
    nested: usize,
}

#[derive(Debug)]
struct OpenHeading {
    level: u8,
    /// Char offset of its line and byte offset of its words, once there is a word.
    starts: Option<(usize, usize)>,
}

/// Text, headings and blocks so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    chars: usize,
    gap: Gap,
    /// The list marker that the next character of the item needs in front.
    marker: Option<String>,
    /// Open lists: the next number, or none for bullets.
    lists: Vec<Option<u64>>,
    heading: Option<OpenHeading>,
    table: Option<Table>,
    headings: Vec<Heading>,
    kept_whole: Vec<Range<usize>>,
}

impl Page {
    /// Running text: blanks collapse, control characters go.
    pub(super) fn flow(&mut self, text: &str) {
        for c in text.chars() {
            if c == '\n' || c == '\r' {
                self.widen(Gap::Wrap);
            } else if c.is_whitespace() {
                self.widen(Gap::Space);
            } else if is_visible(c) {
                self.settle(Some(c));
                self.push(c);
            }
        }
    }

    /// The next text starts a paragraph. Within a list it only starts a line, so that an item
    /// with two paragraphs does not fall apart.
    pub(super) fn paragraph(&mut self) {
        self.widen(if self.lists.is_empty() { Gap::Blank } else { Gap::Line });
    }

    pub(super) fn line(&mut self) {
        self.widen(Gap::Line);
    }

    /// The last character written, when the next one would follow it without a gap.
    pub(super) fn last_char(&self) -> Option<char> {
        let sink = self.table.as_ref().and_then(|table| table.cells.last()).unwrap_or(&self.text);
        if self.gap == Gap::None { sink.chars().next_back() } else { None }
    }

    pub(super) fn begin_heading(&mut self, level: u8) {
        self.end_heading();
        // A heading in a cell means that the table is there for layout.
        self.close_table();
        self.widen(Gap::Blank);
        self.heading = Some(OpenHeading { level, starts: None });
    }

    pub(super) fn end_heading(&mut self) {
        let Some(open) = self.heading.take() else { return };
        self.widen(Gap::Blank);
        if let Some((at, byte)) = open.starts {
            let title = self.text.get(byte..).unwrap_or_default();
            self.headings.push(Heading { level: open.level, title: shorten(title), at });
        }
    }

    /// `first` is the first number; none makes a bulleted list.
    pub(super) fn begin_list(&mut self, first: Option<u64>) {
        self.end_heading();
        self.paragraph();
        self.lists.push(first);
    }

    pub(super) fn end_list(&mut self) {
        self.lists.pop();
        self.marker = None;
        self.paragraph();
    }

    pub(super) fn item(&mut self) {
        let depth = self.lists.len().saturating_sub(1).min(DEEPEST_INDENT);
        let sign = match self.lists.last_mut() {
            Some(Some(number)) => {
                let sign = format!("{number}. ");
                *number = number.saturating_add(1);
                sign
            }
            _ => "- ".to_owned(),
        };
        self.marker = Some(format!("{}{sign}", "  ".repeat(depth)));
        self.line();
    }

    /// A task list's box, which follows the item's marker.
    pub(super) fn checkbox(&mut self, checked: bool) {
        self.flow(if checked { "[x] " } else { "[ ] " });
    }

    /// A code block: every blank and line end as it is.
    pub(super) fn code(&mut self, code: &str) {
        let code = trim_blank_lines(code);
        if code.is_empty() {
            return;
        }
        if self.table.is_some() {
            return self.flow(code);
        }
        self.end_heading();
        self.widen(Gap::Blank);
        self.settle(None);
        let start = self.chars;
        for line in code.lines() {
            if self.chars > start {
                self.push('\n');
            }
            for c in line.chars().filter(|c| *c == '\t' || is_visible(*c)) {
                self.push(c);
            }
        }
        self.kept_whole.push(start..self.chars);
        self.gap = Gap::Blank;
    }

    /// A line of a plain text file: blanks within it stay, blank lines separate paragraphs.
    pub(super) fn plain_line(&mut self, line: &str) {
        let line = line.trim_end_matches(|c: char| c.is_whitespace() || c == '\0');
        if line.is_empty() {
            return self.widen(Gap::Blank);
        }
        self.widen(Gap::Line);
        for c in line.chars().filter(|c| *c == '\t' || is_visible(*c)) {
            self.settle(None);
            self.push(c);
        }
    }

    pub(super) fn begin_table(&mut self) {
        self.end_heading();
        match &mut self.table {
            Some(table) => table.nested += 1,
            None => {
                self.paragraph();
                self.table = Some(Table::default());
            }
        }
    }

    pub(super) fn end_table(&mut self) {
        match &mut self.table {
            Some(table) if table.nested > 0 => table.nested -= 1,
            Some(_) => self.close_table(),
            None => self.paragraph(),
        }
    }

    pub(super) fn in_table(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn cell(&mut self) {
        match &mut self.table {
            Some(table) if table.nested == 0 => {
                table.cells.push(String::new());
                self.gap = Gap::None;
            }
            Some(_) => self.widen(Gap::Space),
            None => self.widen(Gap::Line),
        }
    }

    /// Writes the cells so far as one line; a row without a word is left out.
    pub(super) fn end_row(&mut self) {
        let Some(table) = self.table.as_mut().filter(|table| table.nested == 0) else {
            return self.widen(Gap::Line);
        };
        let cells = mem::take(&mut table.cells);
        if cells.iter().all(String::is_empty) {
            return;
        }
        let open = self.table.take();
        self.gap = if open.as_ref().is_some_and(|table| table.start.is_some()) {
            Gap::Line
        } else {
            Gap::Blank
        };
        self.settle(None);
        let start = self.chars;
        for c in cells.join(" | ").trim().chars() {
            self.push(c);
        }
        let first = open.and_then(|table| table.start).unwrap_or(start);
        self.table = Some(Table { start: Some(first), ..Table::default() });
    }

    /// Closes what is open. `declared` is the title that the document gives itself.
    pub(super) fn finish(mut self, declared: Option<String>) -> ParsedDocument {
        self.close_table();
        self.end_heading();
        let title = declared.map(|title| shorten(&title)).filter(|title| !title.is_empty());
        let first = self.headings.iter().find(|heading| heading.level == 1);
        let title =
            title.or_else(|| first.or(self.headings.first()).map(|heading| heading.title.clone()));
        let Self { text, headings, kept_whole, .. } = self;
        ParsedDocument { title, text, headings, kept_whole }
    }

    fn close_table(&mut self) {
        if let Some(table) = &mut self.table {
            table.nested = 0;
            self.end_row();
        }
        let Some(table) = self.table.take() else { return };
        self.gap = Gap::Blank;
        if let Some(start) = table.start {
            self.kept_whole.push(start..self.chars);
        }
    }

    fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// Writes what stands before the next visible character: the gap, then the list marker.
    fn settle(&mut self, next: Option<char>) {
        let heading_waits = self.heading.as_ref().is_some_and(|it| it.starts.is_none());
        let nothing_waits = self.gap == Gap::None && self.marker.is_none() && !heading_waits;
        if nothing_waits && self.table.as_ref().is_none_or(|table| !table.cells.is_empty()) {
            return;
        }
        let gap = mem::take(&mut self.gap);
        let in_cell = self.table.as_mut().map(|table| {
            if table.cells.is_empty() {
                table.cells.push(String::new());
            }
        });
        let inline =
            in_cell.is_some() || self.heading.as_ref().is_some_and(|it| it.starts.is_some());
        let sink = self.table.as_ref().and_then(|table| table.cells.last()).unwrap_or(&self.text);
        if let Some(last) = sink.chars().next_back() {
            let joins = is_cjk(last) && next.is_some_and(is_cjk);
            let blanks = match gap {
                Gap::None => "",
                Gap::Wrap if joins => "",
                Gap::Space | Gap::Wrap => " ",
                Gap::Line | Gap::Blank if inline => " ",
                Gap::Line => "\n",
                Gap::Blank => "\n\n",
            };
            blanks.chars().for_each(|c| self.push(c));
        }
        if inline {
            return;
        }
        let at = self.chars;
        if let Some(marker) = self.marker.take() {
            marker.chars().for_each(|c| self.push(c));
        }
        let byte = self.text.len();
        if let Some(heading) = &mut self.heading {
            heading.starts = Some((at, byte));
        }
    }

    fn push(&mut self, c: char) {
        if let Some(cell) = self.table.as_mut().and_then(|table| table.cells.last_mut()) {
            cell.push(c);
        } else {
            self.text.push(c);
            self.chars += 1;
        }
    }
}

/// One line of at most [`LONGEST_TITLE_CHARS`].
fn shorten(title: &str) -> String {
    let mut short = String::new();
    for word in title.split_whitespace() {
        if !short.is_empty() {
            short.push(' ');
        }
        short.extend(word.chars().take(LONGEST_TITLE_CHARS));
        if short.chars().count() >= LONGEST_TITLE_CHARS {
            break;
        }
    }
    short.chars().filter(|c| !c.is_control()).take(LONGEST_TITLE_CHARS).collect()
}

/// Blanks count as visible here: only control characters and zero-width blanks are dropped.
fn is_visible(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{feff}' | '\u{200b}')
}

/// Without blank lines before it and blanks after it; the first line keeps its indentation.
fn trim_blank_lines(code: &str) -> &str {
    let code = code.trim_end();
    let first = code.len() - code.trim_start().len();
    let line = code.get(..first).and_then(|blank| blank.rfind('\n')).map_or(0, |at| at + 1);
    code.get(line..).unwrap_or_default()
}
