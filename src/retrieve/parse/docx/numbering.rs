//! Lists: which of them count, and how far each has come.

use std::collections::{HashMap, HashSet};

use quick_xml::events::BytesStart;

use super::xml::{self, Node};
use crate::error::Result;
use crate::retrieve::parse::page::Page;

/// Word's levels.
const N_LEVELS: usize = 9;

/// The lists of a document: (list, level) of those that are numbered.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    /// List -> its definition.
    lists: HashMap<u32, u32>,
    /// (definition, level) with numbers; all others have bullets.
    numbered: HashSet<(u32, u32)>,
}

impl Numbering {
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut numbering = Self::default();
        let (mut definition, mut level, mut list) = (None, None, None);
        xml::read(text, |node| {
            let Node::Open(name, element) = node else { return Ok(()) };
            match name {
                "abstractNum" => definition = identity(element, "abstractNumId"),
                "lvl" => level = identity(element, "ilvl"),
                "numFmt" => {
                    let format = xml::attribute(element, "val").unwrap_or_default();
                    let counts = format != "bullet" && format != "none";
                    let place = definition.zip(level).filter(|_| counts);
                    numbering.numbered.extend(place);
                }
                "num" => list = identity(element, "numId"),
                "abstractNumId" => numbering.lists.extend(list.zip(xml::number(element))),
                _ => {}
            }
            Ok(())
        })?;
        Ok(numbering)
    }

    fn counts(&self, list: u32, level: usize) -> bool {
        let level = u32::try_from(level).unwrap_or(u32::MAX);
        self.lists
            .get(&list)
            .is_some_and(|definition| self.numbered.contains(&(*definition, level)))
    }
}

/// The number that an element goes by.
fn identity(element: &BytesStart<'_>, name: &str) -> Option<u32> {
    xml::attribute(element, name)?.trim().parse().ok()
}

/// The lists that are open at a place of the text.
#[derive(Debug, Default)]
pub(super) struct OpenLists {
    /// The list of each level that is open.
    open: Vec<u32>,
    /// Items so far of each list by level, so that it goes on after a paragraph between.
    counted: HashMap<u32, [u64; N_LEVELS]>,
}

impl OpenLists {
    /// Begins an item.
    pub(super) fn item(&mut self, page: &mut Page, numbering: &Numbering, list: u32, level: u32) {
        let depth = (level as usize + 1).min(N_LEVELS);
        while self.open.len() > depth || self.open.len() == depth && self.open.last() != Some(&list)
        {
            self.open.pop();
            page.end_list();
        }
        let counted = self.counted.entry(list).or_default();
        for at in self.open.len()..depth {
            let before = counted.get(at).copied().unwrap_or(0);
            page.begin_list(numbering.counts(list, at).then_some(before + 1));
            self.open.push(list);
        }
        page.item();
        for (at, count) in counted.iter_mut().enumerate().skip(depth - 1) {
            // What is below counts from one again.
            *count = if at + 1 == depth { *count + 1 } else { 0 };
        }
    }

    /// Ends all lists: something else begins.
    pub(super) fn end(&mut self, page: &mut Page) {
        self.open.drain(..).for_each(|_| page.end_list());
    }
}
