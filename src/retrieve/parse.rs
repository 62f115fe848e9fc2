//! A document as it was uploaded -> readable plain text with its headings.
//!
//! Markdown and HTML drive one [`page::Page`], which alone decides about blank lines, list
//! markers and table rows, so the same content reads the same whichever way it came. HTML goes
//! through our own tag reader and not through a tree: a tree of 10,000 nested `<div>` overflows
//! the stack of a recursive walker, and that kills the process. Everything of ours is one pass.
//!
//! PDF and Word files are compressed, nested and linked, and what reads PDF is not ours: they, and
//! HTML with them, are read in a process of their own ([`parsers`], [`child`], [`confine`]). Text
//! and Markdown are not: their readers take linear time and memory, limit their nesting, and a
//! panic is caught, so that a second process would only cost time.

pub mod child;
pub mod confine;
mod docx;
#[cfg(test)]
#[path = "../../tests/support/files.rs"]
mod files;
mod html;
mod markdown;
mod page;
pub mod parsers;
mod pdf;
mod prepare;
#[cfg(test)]
mod tests;
mod title;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use page::Page;

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Markdown,
    Html,
    Pdf,
    Docx,
}

impl Format {
    /// The format that a media type names; its parameters do not matter.
    ///
    /// # Errors
    /// `Kind::Unsupported` (`document_media_type`) for any other type.
    pub fn of_media_type(media_type: &str) -> Result<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/plain" => Ok(Self::Text),
            "text/markdown" | "text/x-markdown" => Ok(Self::Markdown),
            "text/html" => Ok(Self::Html),
            "application/pdf" => Ok(Self::Pdf),
            DOCX => Ok(Self::Docx),
            _ => Err(unsupported(media_type)),
        }
    }

    /// The format that files of an extension usually have.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "txt" | "text" => Some(Self::Text),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "pdf" => Some(Self::Pdf),
            "docx" => Some(Self::Docx),
            _ => None,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Markdown => "text/markdown",
            Self::Html => "text/html",
            Self::Pdf => "application/pdf",
            Self::Docx => DOCX,
        }
    }

    /// Whether it is read in a process of its own.
    pub fn is_confined(self) -> bool {
        matches!(self, Self::Html | Self::Pdf | Self::Docx)
    }
}

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// A heading of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 (most important) to 6.
    pub level: u8,
    pub title: String,
    /// Where its line starts, in chars of [`ParsedDocument::text`].
    pub at: usize,
}

/// What is left of a document when its markup is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Reads a document here and now; [`parsers::Parsers`] does it where it harms nobody.
///
/// # Errors
/// `document_encoding` when text is not UTF-8 (a byte order mark is fine), `document_unreadable`,
/// `document_encrypted`, `document_without_text` and `document_too_complex` with the reason.
pub fn parse(format: Format, content: &[u8]) -> Result<ParsedDocument> {
    let mut page = Page::default();
    let title = match format {
        Format::Text => {
            decode(content)?.lines().for_each(|line| page.plain_line(line));
            None
        }
        Format::Markdown => {
            let (title, body) = prepare::prepare(decode(content)?);
            markdown::read(&body, &mut page);
            title
        }
        Format::Html => html::read(decode(content)?, &mut page),
        Format::Pdf => pdf::read(content, &mut page)?,
        Format::Docx => docx::read(content, &mut page)?,
    };
    Ok(page.finish(title))
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
        "documents of the media type \"{shown}\" cannot be read; send text/plain, text/markdown, \
         text/html, application/pdf or {DOCX}"
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

fn unreadable(message: impl Into<String>) -> Error {
    Error::invalid("document_unreadable", message)
}

fn too_complex(message: impl Into<String>) -> Error {
    Error::new(Kind::TooLarge, "document_too_complex", message)
}

fn without_text(message: impl Into<String>) -> Error {
    Error::invalid("document_without_text", message)
}
