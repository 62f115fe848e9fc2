//! What the styles of a document say about its outline: which paragraphs are headings, list items,
//! or lines of a table of contents.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::xml::{self, Node};
use crate::error::Result;

/// Styles that a style is based on, one after the other; a longer chain is a circle.
const LONGEST_CHAIN: usize = 16;

/// The styles by their id.
#[derive(Debug, Default)]
pub(super) struct Styles(HashMap<String, Style>);

#[derive(Debug, Default)]
struct Style {
    /// In lower case.
    name: String,
    based_on: Option<String>,
    properties: Properties,
}

/// What decides how a paragraph is read, said by itself or by its style.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// 0 for the most important; 9 for running text.
    pub(super) outline: Option<u32>,
    /// The list that it belongs to; 0 for none.
    pub(super) list: Option<u32>,
    /// Depth within the list, from 0.
    pub(super) list_level: Option<u32>,
}

impl Properties {
    /// Takes in what an element within the properties of a paragraph says.
    pub(super) fn take(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "outlineLvl" => self.outline = xml::number(element),
            "numId" => self.list = xml::number(element),
            "ilvl" => self.list_level = xml::number(element),
            _ => {}
        }
    }

    /// These, and for what they leave open the others.
    fn or(self, other: Self) -> Self {
        Self {
            outline: self.outline.or(other.outline),
            list: self.list.or(other.list),
            list_level: self.list_level.or(other.list_level),
        }
    }
}

impl Styles {
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut styles = HashMap::new();
        let mut open: Option<(String, Style)> = None;
        xml::read(text, |node| {
            match (node, &mut open) {
                (Node::Open("style", element), _) => {
                    let id = xml::attribute(element, "styleId").unwrap_or_default();
                    open = Some((id, Style::default()));
                }
                (Node::Close("style"), _) => styles.extend(open.take()),
                (Node::Open("name", element), Some((_, style))) => {
                    style.name = xml::attribute(element, "val").unwrap_or_default().to_lowercase();
                }
                (Node::Open("basedOn", element), Some((_, style))) => {
                    style.based_on = xml::attribute(element, "val");
                }
                (Node::Open(name, element), Some((_, style))) => {
                    style.properties.take(name, element);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self(styles))
    }

    /// What a paragraph's own properties and its style's come to.
    pub(super) fn properties(&self, id: &str, own: Properties) -> Properties {
        self.chain(id).fold(own, |known, style| known.or(style.properties))
    }

    /// 1 to 6 when paragraphs of a style are headings by the style's name.
    pub(super) fn heading_level(&self, id: &str) -> Option<u8> {
        if !self.0.contains_key(id) {
            return level_of_name(&id.to_lowercase());
        }
        self.chain(id).find_map(|style| level_of_name(&style.name))
    }

    /// Whether paragraphs of a style are lines of a table of contents, which only repeats.
    pub(super) fn is_contents(&self, id: &str) -> bool {
        let repeats = |name: &str| name.starts_with("toc ") || name.starts_with("目录");
        self.chain(id).any(|style| repeats(&style.name))
    }

    /// A style and those that it is based on, the nearest first.
    fn chain(&self, id: &str) -> impl Iterator<Item = &Style> {
        let next = |style: &&Style| self.0.get(style.based_on.as_deref()?);
        std::iter::successors(self.0.get(id), next).take(LONGEST_CHAIN)
    }
}

/// `heading 2`, `Heading2`, `标题 2`; a title stands above all of them.
fn level_of_name(name: &str) -> Option<u8> {
    let rest = name.strip_prefix("heading").or_else(|| name.strip_prefix("标题"));
    match rest.map(str::trim) {
        Some("") if name == "标题" => Some(1),
        Some(number) => {
            number.parse::<u8>().ok().filter(|it| (1..=9).contains(it)).map(|it| it.min(6))
        }
        None => (name == "title").then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_a_heading() {
        for (name, level) in [
            ("heading 1", Some(1)),
            ("heading3", Some(3)),
            ("heading 9", Some(6)),
            ("标题 2", Some(2)),
            ("标题", Some(1)),
            ("title", Some(1)),
            ("heading", None),
            ("heading 0", None),
            ("heading 1 char", None),
            ("normal", None),
        ] {
            assert_eq!(level_of_name(name), level, "{name}");
        }
    }

    #[test]
    fn styles_inherit_and_a_circle_ends() {
        let styles = Styles::read(
            r#"<w:styles xmlns:w="w"><w:style w:styleId="a"><w:name w:val="Heading 2"/></w:style>
            <w:style w:styleId="b"><w:name w:val="Mine"/><w:basedOn w:val="a"/></w:style>
            <w:style w:styleId="c"><w:basedOn w:val="d"/><w:pPr><w:outlineLvl w:val="3"/></w:pPr></w:style>
            <w:style w:styleId="d"><w:basedOn w:val="c"/></w:style>
            <w:style w:styleId="e"><w:name w:val="toc 1"/></w:style></w:styles>"#,
        )
        .unwrap();
        assert_eq!(styles.heading_level("b"), Some(2));
        assert_eq!(styles.heading_level("c"), None);
        assert_eq!(styles.heading_level("Heading4"), Some(4));
        assert_eq!(styles.properties("d", Properties::default()).outline, Some(3));
        assert!(styles.is_contents("e") && !styles.is_contents("b"));
    }
}
