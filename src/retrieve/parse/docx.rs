//! Word (.docx) -> page: a ZIP container with XML in it (ECMA-376, Office Open XML).
//!
//! Only the parts that hold text and its outline are unpacked, and of all of them together no more
//! than a limit, so that a small file cannot become a large one. The XML is read as a stream of
//! tags; entities that a file defines for itself are not expanded.

mod body;
mod numbering;
mod styles;
mod xml;

use std::io::{Cursor, ErrorKind, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use super::page::Page;
use super::title::sensible_title;
use super::{too_complex, unreadable, without_text};
use crate::error::{Error, Result};
use body::Body;
use numbering::Numbering;
use styles::Styles;

/// Files in the container; a long document with many pictures has some hundred.
const MAX_ENTRIES: usize = 5_000;
/// XML that is unpacked, all parts together.
const MAX_XML_BYTES: u64 = 64 * 1024 * 1024;
/// Where the text is in what every program writes, unless the container says otherwise.
const USUAL_PLACE: &str = "word/document.xml";
/// What old Word files (.doc) and encrypted new ones start with.
const OLD_CONTAINER: &[u8] = &[0xd0, 0xcf, 0x11, 0xe0];

/// Writes the text of a document to the page; returns the title of its properties.
pub(super) fn read(content: &[u8], page: &mut Page) -> Result<Option<String>> {
    let mut parts = Parts::open(content)?;
    let place = parts.read("_rels/.rels")?.and_then(|rels| main_part(&rels));
    let place = place.as_deref().unwrap_or(USUAL_PLACE);
    let Some(text) = parts.read(place)? else {
        return Err(unreadable("the file is no Word document: it has no main part"));
    };
    let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut beside = |name: &str| parts.read(&format!("{folder}/{name}"));
    let styles =
        beside("styles.xml")?.map_or_else(|| Ok(Styles::default()), |it| Styles::read(&it))?;
    let numbering = beside("numbering.xml")?
        .map_or_else(|| Ok(Numbering::default()), |it| Numbering::read(&it))?;
    if !Body::new(page, &styles, &numbering).read(&text)? {
        return Err(without_text("the Word document holds no text"));
    }
    Ok(parts.read("docProps/core.xml")?.and_then(|core| title(&core)))
}

/// The files of the container, and how much may still be unpacked.
struct Parts<'c> {
    archive: ZipArchive<Cursor<&'c [u8]>>,
    left: u64,
}

impl<'c> Parts<'c> {
    fn open(content: &'c [u8]) -> Result<Self> {
        if content.starts_with(OLD_CONTAINER) {
            return Err(Error::invalid(
                "document_encrypted",
                "the Word document is protected by a password, or older than Word 2007 (.doc); \
                 save it as .docx without one and send it again",
            ));
        }
        let archive = ZipArchive::new(Cursor::new(content)).map_err(|_| damaged())?;
        if archive.len() > MAX_ENTRIES {
            let n_files = archive.len();
            return Err(too_complex(format!(
                "the Word document consists of {n_files} files, more than {MAX_ENTRIES}"
            )));
        }
        Ok(Self { archive, left: MAX_XML_BYTES })
    }

    /// A part's XML; none when there is no such part.
    fn read(&mut self, name: &str) -> Result<Option<String>> {
        let file = match self.archive.by_name(name) {
            Err(ZipError::FileNotFound) => return Ok(None),
            file => file.map_err(|_| damaged())?,
        };
        let mut bytes = Vec::new();
        file.take(self.left + 1).read_to_end(&mut bytes).map_err(|error| match error.kind() {
            // What this process may use can be less than what we would unpack.
            ErrorKind::OutOfMemory => too_large(),
            _ => damaged(),
        })?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        let text = String::from_utf8(bytes).map_err(|_| damaged())?;
        Ok(Some(text))
    }
}

/// Where the container says that the text is.
fn main_part(relations: &str) -> Option<String> {
    let mut place = None;
    let read = xml::read(relations, |node| {
        if let xml::Node::Open("Relationship", element) = node {
            let kind = xml::attribute(element, "Type").unwrap_or_default();
            if kind.ends_with("/officeDocument") && place.is_none() {
                place = xml::attribute(element, "Target");
            }
        }
        Ok(())
    });
    read.ok()?;
    place.map(|place| place.trim_start_matches('/').to_owned())
}

/// The title among the core properties.
fn title(core: &str) -> Option<String> {
    let mut title = String::new();
    let mut inside = false;
    let read = xml::read(core, |node| {
        match node {
            xml::Node::Open(name, _) => inside = name == "title",
            xml::Node::Close(_) => inside = false,
            xml::Node::Text(text) if inside => title.push_str(text),
            xml::Node::Text(_) => {}
        }
        Ok(())
    });
    read.ok()?;
    sensible_title(&title)
}

fn too_large() -> Error {
    let mebibytes = MAX_XML_BYTES >> 20;
    too_complex(format!(
        "the Word document unpacks to more than {mebibytes} MiB of XML, or than fits into \
         [ingest] parser_memory_bytes"
    ))
}

fn damaged() -> Error {
    unreadable("the file is no Word document (.docx), or it is damaged")
}

#[cfg(test)]
mod tests;
