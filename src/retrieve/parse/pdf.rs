//! PDF -> page.
//!
//! A PDF holds glyphs at places of a sheet, no words, lines or paragraphs: [`sheet`] puts them
//! together again. The reader below it panics on much that is out of the ordinary, on one page or
//! as a whole; what could be read of a page until then stays.

mod sheet;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, Object, decode_text_string, output_doc_page};

use super::page::Page;
use super::title::sensible_title;
use super::{too_complex, unreadable, without_text};
use crate::error::{Error, Result};
use sheet::{Line, Sheet};

/// Readers allow this much before the mark of a PDF.
const MARK_WITHIN_BYTES: usize = 1_024;
/// From this many sheets on, a line at the same edge of most of them is a header or a footer.
const FEWEST_SHEETS_WITH_FURNITURE: usize = 3;

/// Writes the text of a document to the page; returns the title of its properties.
pub(super) fn read(content: &[u8], page: &mut Page) -> Result<Option<String>> {
    let start = content.get(..MARK_WITHIN_BYTES).unwrap_or(content);
    if !start.windows(5).any(|window| window == b"%PDF-") {
        return Err(unreadable("the file is no PDF: it does not start with %PDF-"));
    }
    let document = load(content)?;
    let (mut sheets, n_broken) = read_sheets(&document)?;
    if sheets.is_empty() {
        return Err(unreadable("the PDF is damaged: no page of it can be found"));
    }
    drop_furniture(&mut sheets);
    let mut has_text = false;
    for lines in &sheets {
        page.paragraph();
        sheet::write(lines, page);
        has_text |= !lines.is_empty();
    }
    match (has_text, n_broken) {
        (true, _) => Ok(title(&document)),
        (false, 0) => Err(without_text(
            "the PDF has no text, so its pages are pictures (a scan?); run text recognition (OCR) \
             over it and send it again",
        )),
        (false, _) => Err(unreadable(
            "the text of the PDF cannot be read: it is damaged, or its fonts are of a kind that \
             is not understood; export it anew, or send its text",
        )),
    }
}

fn load(content: &[u8]) -> Result<Document> {
    let mut document = catch_unwind(|| Document::load_mem(content))
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| unreadable("the PDF is damaged: its structure cannot be read"))?;
    // Many files are encrypted without a password, only to forbid printing.
    let opened = !document.is_encrypted()
        || catch_unwind(AssertUnwindSafe(|| document.decrypt("").is_ok())).unwrap_or(false);
    if opened {
        return Ok(document);
    }
    let message = "the PDF is protected by a password; save it without one and send it again";
    Err(Error::invalid("document_encrypted", message))
}

/// The lines of every sheet, and the number of sheets that could not be read to their end.
fn read_sheets(document: &Document) -> Result<(Vec<Vec<Line>>, usize)> {
    let pages = catch_unwind(AssertUnwindSafe(|| document.get_pages())).unwrap_or_default();
    let mut sheets = Vec::new();
    let mut n_broken = 0;
    let mut n_glyphs = 0;
    for number in pages.into_keys() {
        let mut sheet = Sheet::after(n_glyphs);
        let read = AssertUnwindSafe(|| output_doc_page(document, &mut sheet, number));
        let is_read = matches!(catch_unwind(read), Ok(Ok(())));
        if sheet.is_full() {
            return Err(too_complex("the PDF holds too much text; split it"));
        }
        // Glyphs that no table turns into characters are as good as a page that cannot be read.
        n_broken += usize::from(!is_read || sheet.has_unknown());
        n_glyphs = sheet.n_glyphs();
        sheets.push(sheet.lines());
    }
    Ok((sheets, n_broken))
}

/// Drops the uppermost and the lowest line of each sheet where they are the same, but for
/// numbers, on more than half of them.
fn drop_furniture(sheets: &mut [Vec<Line>]) {
    if sheets.len() < FEWEST_SHEETS_WITH_FURNITURE {
        return;
    }
    for edge in [Sheet::uppermost as fn(&[Line]) -> Option<usize>, Sheet::lowest] {
        let keys: Vec<Option<(usize, String)>> = sheets
            .iter()
            .map(|lines| edge(lines).map(|at| (at, lines[at].without_numbers())))
            .collect();
        let mut n_sheets: HashMap<&str, usize> = HashMap::new();
        for (_, key) in keys.iter().flatten() {
            *n_sheets.entry(key).or_default() += 1;
        }
        let half = sheets.len() / 2;
        for (lines, key) in sheets.iter_mut().zip(&keys) {
            if let Some((at, key)) = key
                && lines.len() > 1
                && n_sheets.get(key.as_str()).is_some_and(|n| *n > half)
            {
                lines.remove(*at);
            }
        }
    }
}

/// The title among the properties.
fn title(document: &Document) -> Option<String> {
    let info = match document.trailer.get(b"Info").ok()? {
        Object::Reference(id) => document.get_dictionary(*id).ok()?,
        other => other.as_dict().ok()?,
    };
    let title = info.get(b"Title").ok()?;
    let title = match title {
        Object::Reference(id) => document.get_object(*id).ok()?,
        other => other,
    };
    sensible_title(&decode_text_string(title).ok()?)
}

#[cfg(test)]
mod tests;
