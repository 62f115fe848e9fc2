//! HTML -> page, in one pass over the tags and without a tree.
//!
//! It does not repair a document as a browser does: unclosed and misnested tags only cost a line
//! break. In return no nesting is too deep and every input takes linear time.

use std::borrow::Cow;
use std::collections::HashSet;

use pulldown_cmark::{Event, Parser};

use super::page::Page;

/// Elements whose content is not the document's text.
const SKIPPED: [&str; 10] = [
    "script", "style", "nav", "footer", "noscript", "template", "svg", "iframe", "object", "canvas",
];

/// The longest name of a character reference, `CounterClockwiseContourIntegral`.
const LONGEST_REFERENCE: usize = 31;

/// A tag, comment or declaration at the start of a text.
struct Tag<'a> {
    /// Lower case; empty for a comment or a declaration.
    name: String,
    closing: bool,
    attributes: &'a str,
    /// Bytes up to and including the `>`.
    length: usize,
}

/// Writes the text of `html` to the page; returns what its `<title>` says.
pub(super) fn read(html: &str, page: &mut Page) -> Option<String> {
    let mut reader = Reader { page, title: None, pre: None, unclosed: HashSet::new() };
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, markup) = rest.split_at(at);
        reader.text(text);
        let Some(tag) = tag(markup) else {
            reader.text("<");
            rest = markup.get(1..).unwrap_or_default();
            continue;
        };
        rest = reader.tag(&tag, markup.get(tag.length..).unwrap_or_default());
    }
    reader.text(rest);
    reader.end_pre();
    reader.title
}

struct Reader<'p> {
    page: &'p mut Page,
    title: Option<String>,
    /// The text of an open `<pre>`.
    pre: Option<String>,
    /// Skipped elements that are known to have no end tag in the rest of the text: without this,
    /// 1,000,000 `<nav>` would each search to the end.
    unclosed: HashSet<String>,
}

impl Reader<'_> {
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = decode(text);
        match &mut self.pre {
            Some(pre) => pre.push_str(&text),
            None => self.page.flow(&text),
        }
    }

    /// Handles one tag and returns where reading goes on.
    fn tag<'a>(&mut self, tag: &Tag<'_>, rest: &'a str) -> &'a str {
        let name = tag.name.as_str();
        if self.pre.is_some() {
            match name {
                "pre" if tag.closing => self.end_pre(),
                "br" => self.text("\n"),
                _ => {}
            }
            return rest;
        }
        let void = tag.attributes.ends_with('/');
        if !tag.closing && !void && (name == "title" || SKIPPED.contains(&name)) {
            return self.skip(name, rest);
        }
        if tag.closing {
            self.close(name)
        } else {
            self.open(name, tag.attributes)
        }
        rest
    }

    /// Leaves out an element's content, keeping that of the first `<title>`.
    fn skip<'a>(&mut self, name: &str, rest: &'a str) -> &'a str {
        if self.unclosed.contains(name) {
            return rest;
        }
        let Some(end) = find_end_tag(rest, name) else {
            self.unclosed.insert(name.to_owned());
            // A script that never ends hides the rest, as it does in a browser; a navigation
            // bar that somebody forgot to close should not.
            return if matches!(name, "script" | "style") { "" } else { rest };
        };
        let (content, rest) = rest.split_at(end);
        if name == "title" && self.title.is_none() {
            self.title = Some(decode(content).trim().to_owned());
        }
        rest
    }

    fn open(&mut self, name: &str, attributes: &str) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.page.begin_heading(level(name)),
            "ul" | "menu" => self.page.begin_list(None),
            "ol" => {
                let first = attribute(attributes, "start").and_then(|it| it.parse().ok());
                self.page.begin_list(Some(first.unwrap_or(1)));
            }
            "li" => self.page.item(),
            "table" => self.page.begin_table(),
            "tr" => self.page.end_row(),
            "td" | "th" => self.page.cell(),
            "pre" => self.pre = Some(String::new()),
            "img" => self.page.flow(&attribute(attributes, "alt").unwrap_or_default()),
            "p" | "section" | "article" | "main" | "blockquote" | "figure" | "body" => {
                self.page.end_heading();
                self.page.paragraph();
            }
            _ => self.separate(name),
        }
    }

    fn close(&mut self, name: &str) {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.page.end_heading(),
            "ul" | "ol" | "menu" => self.page.end_list(),
            "table" => self.page.end_table(),
            "tr" => self.page.end_row(),
            "p" | "section" | "article" | "main" | "blockquote" | "figure" => self.page.paragraph(),
            _ => self.separate(name),
        }
    }

    /// Breaks that an element asks for on both of its sides.
    fn separate(&mut self, name: &str) {
        match name {
            "div" | "header" | "aside" | "form" | "fieldset" | "dl" | "details" | "summary"
            | "hr" | "address" | "caption" | "figcaption" => self.page.paragraph(),
            "br" | "dt" | "dd" | "option" | "legend" | "li" => self.page.line(),
            _ => {}
        }
    }

    fn end_pre(&mut self) {
        if let Some(code) = self.pre.take() {
            self.page.code(&code);
        }
    }
}

fn level(name: &str) -> u8 {
    name.bytes().last().map_or(6, |digit| digit.saturating_sub(b'0').clamp(1, 6))
}

/// Reads the tag that `markup` starts with; none when its `<` is only a character.
fn tag(markup: &str) -> Option<Tag<'_>> {
    let nothing = |length| Tag { name: String::new(), closing: false, attributes: "", length };
    if markup.starts_with("<!--") {
        let end = markup.get(4..).and_then(|rest| rest.find("-->"));
        return Some(nothing(end.map_or(markup.len(), |at| at + 7)));
    }
    if markup.starts_with("<!") || markup.starts_with("<?") {
        return Some(nothing(markup.find('>').map_or(markup.len(), |at| at + 1)));
    }
    let closing = markup.starts_with("</");
    let inner = markup.get(1 + usize::from(closing)..)?;
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end =
        inner.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(end);
    let close = find_tag_end(rest);
    let attributes = rest.get(..close).unwrap_or_default().trim();
    let length = (markup.len() - rest.len() + close + 1).min(markup.len());
    Some(Tag { name: name.to_ascii_lowercase(), closing, attributes, length })
}

/// Where the `>` stands that is not within a quoted value; the length when there is none.
fn find_tag_end(rest: &str) -> usize {
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            // A stray apostrophe does not open a value, only one after `=` does.
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        after_equals = byte == b'=' || after_equals && byte.is_ascii_whitespace();
    }
    rest.len()
}

/// Where `</name` starts, in any case.
fn find_end_tag(text: &str, name: &str) -> Option<usize> {
    text.match_indices("</").map(|(at, _)| at).find(|at| {
        let found = text.as_bytes().get(at + 2..at + 2 + name.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// The value of an attribute, decoded.
fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let end = rest.find(|c: char| c.is_whitespace() || c == '=')?;
        let (found, value) = rest.split_at(end);
        let value = value.trim_start();
        let Some(value) = value.strip_prefix('=').map(str::trim_start) else {
            rest = value;
            continue;
        };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
        let end = match quote {
            Some(quote) => value.find(quote),
            None => value.find(char::is_whitespace),
        };
        let (value, after) = value.split_at(end.unwrap_or(value.len()));
        if found.eq_ignore_ascii_case(name) {
            return Some(decode(value).into_owned());
        }
        rest = after.strip_prefix(['"', '\'']).unwrap_or(after);
    }
}

/// Replaces character references such as `&amp;`, `&#20320;`, `&#x4f60;`.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        out.push_str(before);
        let length = reference.bytes().take(LONGEST_REFERENCE + 2).position(|byte| byte == b';');
        let known = length.and_then(|length| reference.get(..=length)).and_then(resolve);
        let length = if known.is_some() { length.map_or(1, |length| length + 1) } else { 1 };
        out.push_str(known.as_deref().unwrap_or("&"));
        rest = reference.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The characters of one reference. The Markdown parser knows the table of all 2,000 names.
fn resolve(reference: &str) -> Option<Cow<'static, str>> {
    let common = match reference {
        "&amp;" => "&",
        "&lt;" => "<",
        "&gt;" => ">",
        "&quot;" => "\"",
        "&nbsp;" => " ",
        _ => {
            let inner = reference.get(1..reference.len() - 1)?;
            let digits = inner.strip_prefix('#').unwrap_or(inner);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return None;
            }
            let text = Parser::new(reference).find_map(|event| match event {
                Event::Text(text) => Some(text),
                _ => None,
            })?;
            return (!text.starts_with('&')).then(|| Cow::Owned(text.into_string()));
        }
    };
    Some(Cow::Borrowed(common))
}
