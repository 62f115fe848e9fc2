//! The main part of a document -> page.

use std::mem;

use quick_xml::events::BytesStart;

use super::numbering::{Numbering, OpenLists};
use super::styles::{Properties, Styles};
use super::xml::{self, Node};
use crate::error::Result;
use crate::retrieve::parse::page::Page;

/// Elements whose text is there a second time, or no longer there: what an older program should
/// show instead, the properties before a tracked change, text that was moved away, and the
/// reading aid above Han characters.
const SKIPPED: [&str; 4] = ["Fallback", "pPrChange", "moveFrom", "rt"];

/// Reads the body, paragraph by paragraph.
pub(super) struct Body<'a> {
    page: &'a mut Page,
    styles: &'a Styles,
    numbering: &'a Numbering,
    lists: OpenLists,
    /// The paragraph that is open; a text box within one has paragraphs of its own.
    paragraph: Paragraph,
    outer: Vec<Paragraph>,
    /// Tables within one another.
    tables: usize,
    /// Elements that are open within one that is skipped.
    skipped: usize,
    in_text: bool,
    has_text: bool,
}

#[derive(Debug, Default)]
struct Paragraph {
    style: String,
    own: Properties,
    state: State,
}

/// A paragraph is begun at its first word, when its properties are known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Begun,
    Heading,
    /// A line of the table of contents.
    LeftOut,
}

impl<'a> Body<'a> {
    pub(super) fn new(page: &'a mut Page, styles: &'a Styles, numbering: &'a Numbering) -> Self {
        Self {
            page,
            styles,
            numbering,
            lists: OpenLists::default(),
            paragraph: Paragraph::default(),
            outer: Vec::new(),
            tables: 0,
            skipped: 0,
            in_text: false,
            has_text: false,
        }
    }

    /// Writes the text to the page; false when there is none.
    pub(super) fn read(mut self, text: &str) -> Result<bool> {
        xml::read(text, |node| {
            self.node(node);
            Ok(())
        })?;
        self.lists.end(self.page);
        Ok(self.has_text)
    }

    fn node(&mut self, node: Node<'_>) {
        match node {
            Node::Open(name, _) if self.skipped > 0 || SKIPPED.contains(&name) => self.skipped += 1,
            Node::Close(_) if self.skipped > 0 => self.skipped -= 1,
            Node::Text(_) if self.skipped > 0 => {}
            Node::Open(name, element) => self.open(name, element),
            Node::Close(name) => self.close(name),
            Node::Text(text) if self.in_text => self.text(text),
            Node::Text(_) => {}
        }
    }

    fn open(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "p" => self.outer.push(mem::take(&mut self.paragraph)),
            "pStyle" => {
                self.paragraph.style = xml::attribute(element, "val").unwrap_or_default();
            }
            "t" => self.in_text = true,
            "tab" | "ptab" if self.paragraph.state != State::Waiting => self.page.flow(" "),
            "noBreakHyphen" => self.text("-"),
            "br" | "cr" => self.page.line(),
            "tbl" => {
                self.lists.end(self.page);
                self.tables += 1;
                self.page.begin_table();
            }
            "tc" => self.page.cell(),
            _ => self.paragraph.own.take(name, element),
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "p" => {
                if self.paragraph.state == State::Heading {
                    self.page.end_heading();
                }
                self.paragraph = self.outer.pop().unwrap_or_default();
                // What follows a text box is another paragraph to the eye.
                self.page.line();
            }
            "t" => self.in_text = false,
            "tr" => self.page.end_row(),
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                self.page.end_table();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.paragraph.state == State::Waiting && !text.trim().is_empty() {
            self.begin();
        }
        if self.paragraph.state != State::LeftOut {
            self.has_text |= !text.trim().is_empty();
            self.page.flow(text);
        }
    }

    fn begin(&mut self) {
        let style = &self.paragraph.style;
        let properties = self.styles.properties(style, self.paragraph.own);
        let outlined = properties.outline.filter(|level| *level < 9);
        let level = outlined.map(|level| u8::try_from(level).unwrap_or(5).min(5) + 1);
        let level = level.or_else(|| self.styles.heading_level(style));
        let list = properties.list.filter(|list| *list > 0);
        self.paragraph.state = State::Begun;
        if self.styles.is_contents(style) {
            self.paragraph.state = State::LeftOut;
        } else if self.tables > 0 {
            self.page.paragraph();
        } else if let Some(level) = level.filter(|_| properties.outline != Some(9)) {
            self.lists.end(self.page);
            self.page.begin_heading(level);
            self.paragraph.state = State::Heading;
        } else if let Some(list) = list {
            let depth = properties.list_level.unwrap_or(0);
            self.lists.item(self.page, self.numbering, list, depth);
        } else {
            self.lists.end(self.page);
            self.page.paragraph();
        }
    }
}
