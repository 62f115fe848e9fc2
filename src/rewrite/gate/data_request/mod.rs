//! Requests for figures, and which of time, region and metric they leave open.
//!
//! `帮我查下数据` and `show me the numbers` cannot be answered before somebody says which.
//! A request that names a subject of its own is left alone, and so is one that has both a
//! time and a metric; how-to questions about data are no requests.

mod chinese;
mod english;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::rewrite::conversation::Span;
use crate::rewrite::facts::kinds::{self, Kind};
use crate::rewrite::language::{self, Language, Text};

/// A request for figures within a query; ranges count Unicode scalar values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRequest {
    /// The word for the figures (数据, `numbers`), or the metric where it stands alone.
    pub noun: Range<usize>,
    /// The noun is empty (数据, `report`), so a metric can be put before it.
    pub takes_metric: bool,
    pub period: Option<Range<usize>>,
    pub region: Option<Range<usize>>,
    pub metric: Option<Range<usize>>,
    pub has_unit: bool,
}

impl DataRequest {
    /// Whether somebody would have to ask back before answering.
    pub fn is_open(&self) -> bool {
        self.period.is_none() || self.metric.is_none()
    }
}

/// The request for figures in a query, if it is one.
pub fn find(
    text: &Text,
    facts: &BTreeMap<String, String>,
    language: Language,
) -> Option<DataRequest> {
    if text.chars.len() > LONGEST_REQUEST {
        return None;
    }
    match language {
        Language::Chinese => chinese::find(text, facts),
        Language::English => english::find(text, facts),
        Language::Other => None,
    }
}

/// Where a request leaves open which figures are meant, and how sure that is. The region counts
/// where the session knows one: a dated metric without a place is clear to most.
pub(super) fn open_request(
    text: &Text,
    facts: &BTreeMap<String, String>,
    language: Language,
) -> Option<(Span, f32)> {
    let knows_region = facts.keys().any(|key| kinds::of_key(key) == Kind::Region);
    let request = find(text, facts, language)
        .filter(|request| request.is_open() || (knows_region && request.region.is_none()))?;
    Some((text.span(request.noun.start, request.noun.end), 0.8))
}

/// 最新, 最近, `latest`, `recent` before news or figures, with no date beside them.
pub(super) fn newest(text: &Text, language: Language) -> Option<(Span, f32)> {
    if text.chars.len() > LONGEST_REQUEST {
        return None;
    }
    let range = match language {
        Language::English => english::newest(text),
        _ => chinese::newest(text),
    }?;
    Some((text.span(range.start, range.end), 0.5))
}

/// Where the query already holds the value of a fact of this kind.
pub fn value_range(
    text: &Text,
    facts: &BTreeMap<String, String>,
    kind: Kind,
) -> Option<Range<usize>> {
    let of_kind = facts.iter().filter(|(key, _)| kinds::of_key(key) == kind);
    of_kind.filter_map(|(_, value)| position_of(text, value)).next()
}

fn is_fact(text: &Text, range: Range<usize>, facts: &BTreeMap<String, String>) -> bool {
    facts
        .values()
        .filter_map(|value| position_of(text, value))
        .any(|at| at.start < range.end && range.start < at.end)
}

fn position_of(text: &Text, value: &str) -> Option<Range<usize>> {
    let folded = language::fold(value.trim());
    let length = folded.chars().count();
    if length == 0 {
        return None;
    }
    (0..text.chars.len()).find(|&at| text.starts_with(at, &folded)).map(|at| at..at + length)
}

/// In chars. Whoever writes more has said which figures are meant.
const LONGEST_REQUEST: usize = 150;
