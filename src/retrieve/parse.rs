//! A document as it was uploaded -> readable plain text with its headings.
//!
//! Markdown and HTML drive one [`page::Page`], which alone decides about blank lines, list
//! markers and table rows, so the same content reads the same whichever way it came. HTML goes
//! through our own tag reader and not through a tree: a tree of 10,000 nested `<div>` overflows
//! the stack of a recursive walker, and that kills the process. Everything here is one pass.

mod html;
mod markdown;
mod page;
mod prepare;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::error::{Error, Kind, Result};
use page::Page;

/// A heading of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// 1 (most important) to 6.
    pub level: u8,
    pub title: String,
    /// Where its line starts, in chars of [`ParsedDocument::text`].
    pub at: usize,
}

/// What is left of a document when its markup is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedDocument {
    /// The declared title, else the first level-1 heading, else the first heading.
    pub title: Option<String>,
    /// Paragraphs are separated by one blank line; list items and table rows are lines.
    pub text: String,
    /// In the order of the text; `at` increases.
    pub headings: Vec<Heading>,
    /// Code blocks and tables, in chars of `text`: a chunker should not cut inside them.
    pub kept_whole: Vec<Range<usize>>,
}

/// Reads a document of one of the accepted types: `text/plain`, `text/markdown`, `text/html`.
///
/// # Errors
/// `Kind::Unsupported` (`document_media_type`) for any other type, and `Kind::Invalid`
/// (`document_encoding`) when the content is not UTF-8. A byte order mark is fine.
pub fn parse(media_type: &str, content: &[u8]) -> Result<ParsedDocument> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let read: fn(&str) -> ParsedDocument = match essence.as_str() {
        "text/plain" => plain,
        "text/markdown" | "text/x-markdown" => from_markdown,
        "text/html" => from_html,
        _ => return Err(unsupported(media_type)),
    };
    Ok(read(decode(content)?))
}

/// Chinese characters, kana and the punctuation set with them: text that has no spaces.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ff60}'
        | '\u{20000}'..='\u{323af}' | '“' | '”' | '‘' | '’' | '—' | '…')
}

fn unsupported(media_type: &str) -> Error {
    let shown: String = media_type.chars().take(100).collect();
    let message = format!(
        "documents of the media type \"{shown}\" cannot be read; send text/plain, text/markdown or text/html"
    );
    Error::new(Kind::Unsupported, "document_media_type", message)
}

fn decode(content: &[u8]) -> Result<&str> {
    if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        let message = "the document is UTF-16; convert it to UTF-8 and send it again";
        return Err(Error::invalid("document_encoding", message));
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    std::str::from_utf8(content).map_err(|error| {
        let at = error.valid_up_to();
        let message =
            format!("the document is not UTF-8 (byte {at}); convert it to UTF-8 and send it again");
        Error::invalid("document_encoding", message)
    })
}

fn plain(text: &str) -> ParsedDocument {
    let mut page = Page::default();
    for line in text.lines() {
        page.plain_line(line);
    }
    page.finish(None)
}

fn from_markdown(text: &str) -> ParsedDocument {
    let (title, body) = prepare::prepare(text);
    let mut page = Page::default();
    markdown::read(&body, &mut page);
    page.finish(title)
}

fn from_html(text: &str) -> ParsedDocument {
    let mut page = Page::default();
    let title = html::read(text, &mut page);
    page.finish(title)
}
