//! XML as a stream of tags and text, with a limit on its depth.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::damaged;
use crate::error::Result;
use crate::retrieve::parse::too_complex;

/// Elements within one another. Word nests 10 to 30; readers keep a stack of them.
const MAX_DEPTH: usize = 512;

/// What comes next. Names are without their prefix: programs choose different ones.
pub(super) enum Node<'a> {
    Open(&'a str, &'a BytesStart<'a>),
    Close(&'a str),
    Text(&'a str),
}

/// Reads all of `xml`, tag by tag.
pub(super) fn read(xml: &str, mut visit: impl FnMut(Node<'_>) -> Result<()>) -> Result<()> {
    let mut reader = Reader::from_str(xml.trim_start_matches('\u{feff}'));
    reader.config_mut().allow_dangling_amp = true;
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(|_| damaged())? {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(too_complex(format!(
                        "the Word document nests more than {MAX_DEPTH} elements in one another"
                    )));
                }
                visit(Node::Open(element.local_name().into_inner(), &element))?;
            }
            Event::Empty(element) => {
                let name = element.local_name().into_inner();
                visit(Node::Open(name, &element))?;
                visit(Node::Close(name))?;
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                visit(Node::Close(element.local_name().into_inner()))?;
            }
            Event::Text(text) => visit(Node::Text(&text))?,
            Event::CData(text) => visit(Node::Text(&text))?,
            Event::GeneralRef(reference) => {
                let char = reference.resolve_char_ref().ok().flatten().map(String::from);
                let named = resolve_predefined_entity(&reference);
                visit(Node::Text(char.as_deref().or(named).unwrap_or_default()))?;
            }
            Event::Eof if depth > 0 => return Err(damaged()),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// The value of an attribute, by its name without prefix.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let mut readable = attributes.with_checks(false).map_while(Result::ok);
    let found = readable.find(|it| it.key.local_name().into_inner() == name)?;
    found.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
}

/// The attribute `val` as a number, which is how most properties are given.
pub(super) fn number(element: &BytesStart<'_>) -> Option<u32> {
    attribute(element, "val")?.trim().parse().ok()
}
