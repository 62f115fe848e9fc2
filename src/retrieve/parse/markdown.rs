//! Markdown -> page: the events of the CommonMark parser, without the marks.

use std::collections::HashSet;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::page::Page;
use super::{html, is_cjk};

/// Writes the text of prepared Markdown to the page.
pub(super) fn read(markdown: &str, page: &mut Page) {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_GFM;
    let closed = closed_elements(markdown);
    let mut reader =
        Reader { page, closed, run: String::new(), code: None, html: None, after_code: false };
    for event in Parser::new_ext(markdown, options) {
        reader.event(event);
    }
    reader.end_run(false);
}

struct Reader<'p, 'm> {
    page: &'p mut Page,
    /// Names of elements that are closed somewhere: `<T>` in `Vec<T>` is none, `<Tabs>` is.
    closed: HashSet<&'m str>,
    /// Text that has arrived in pieces and is not written yet.
    run: String,
    code: Option<String>,
    html: Option<String>,
    /// Inline code ended where the run starts.
    after_code: bool,
}

impl Reader<'_, '_> {
    fn event(&mut self, event: Event<'_>) {
        if let Event::Text(text) = &event {
            return match &mut self.code {
                Some(code) => code.push_str(text),
                None => self.run.push_str(text),
            };
        }
        self.end_run(matches!(event, Event::Code(_)));
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Code(code) => {
                self.page.flow(&code);
                self.after_code = true;
            }
            Event::Html(text) => match &mut self.html {
                Some(html) => html.push_str(&text),
                None => _ = html::read(&text, self.page),
            },
            Event::InlineHtml(text) => self.inline_html(&text),
            Event::SoftBreak => self.page.flow("\n"),
            Event::HardBreak => self.page.line(),
            Event::Rule => self.page.paragraph(),
            Event::TaskListMarker(checked) => self.page.checkbox(checked),
            Event::Text(_)
            | Event::FootnoteReference(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { level, .. } => self.page.begin_heading(number(level)),
            Tag::Paragraph | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) => {
                self.page.paragraph();
            }
            Tag::List(first) => self.page.begin_list(first),
            Tag::Item => self.page.item(),
            Tag::CodeBlock(_) => self.code = Some(String::new()),
            Tag::HtmlBlock => self.html = Some(String::new()),
            Tag::Table(_) => self.page.begin_table(),
            Tag::TableCell => self.page.cell(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.page.end_heading(),
            TagEnd::Paragraph | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition => {
                self.page.paragraph();
            }
            TagEnd::List(_) => self.page.end_list(),
            TagEnd::CodeBlock => {
                if let Some(code) = self.code.take() {
                    self.page.code(&code);
                }
            }
            TagEnd::HtmlBlock => {
                if let Some(text) = self.html.take() {
                    html::read(&text, self.page);
                    self.page.line();
                }
            }
            TagEnd::Table => self.page.end_table(),
            TagEnd::TableHead | TagEnd::TableRow => self.page.end_row(),
            _ => {}
        }
    }

    /// A tag within a paragraph. `<host>` that nothing closes is a placeholder that the author
    /// forgot to escape: it is text. A `<table>` in a sentence does not open a table either.
    fn inline_html(&mut self, text: &str) {
        let inner = text.trim_start_matches(['<', '/']).trim_end_matches('>');
        let name: &str = inner.split([' ', '\n', '\t', '/']).next().unwrap_or_default();
        let is_element = ELEMENTS.contains(&name.to_ascii_lowercase().as_str());
        let opens_table = matches!(name, "table" | "tr" | "td" | "th") && !self.page.in_table();
        let is_markup = is_element || self.closed.contains(name) || inner.ends_with('/');
        if text.starts_with("<!") || is_markup && !opens_table {
            html::read(text, self.page);
        } else if inner == name {
            self.page.flow(text);
        }
    }

    /// Writes the collected text, without the `**` that CommonMark leaves in `**注意：**文字`,
    /// where the rules for telling an opening from a closing mark fail without spaces.
    fn end_run(&mut self, before_code: bool) {
        let after_code = std::mem::take(&mut self.after_code);
        if self.run.is_empty() {
            return;
        }
        let run = std::mem::take(&mut self.run);
        let mut before = self.page.last_char();
        let mut rest = run.as_str();
        while let Some((text, after)) = rest.split_once("**") {
            self.page.flow(text);
            before = text.chars().next_back().or(before);
            let at_edge = rest.len() == run.len() && text.is_empty() && after_code
                || after.is_empty() && before_code;
            let beside_han = before.is_some_and(is_cjk) || after.chars().next().is_some_and(is_cjk);
            if !(at_edge || beside_han) {
                self.page.flow("**");
                before = Some('*');
            }
            rest = after;
        }
        self.page.flow(rest);
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// The names of all end tags.
fn closed_elements(markdown: &str) -> HashSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let names = markdown.match_indices("</").filter_map(|(at, _)| {
        let rest = markdown.get(at + 2..)?;
        rest.get(..rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// Elements that may stand in a paragraph without an end tag of their own.
const ELEMENTS: [&str; 12] =
    ["br", "img", "hr", "p", "li", "input", "wbr", "source", "td", "th", "tr", "a"];
