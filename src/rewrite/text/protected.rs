//! The pieces of a query that every rewrite must keep letter for letter.

use super::scan::{is_address, is_file_name};
use super::{Unit, UnitKind, fold, is_function_unit, is_han, units};
use crate::rewrite::conversation::{Glossary, Span};

/// Pairs of quotation marks that cannot be mistaken for anything else.
const QUOTES: &[(char, char)] =
    &[('“', '”'), ('「', '」'), ('『', '』'), ('《', '》'), ('"', '"'), ('＂', '＂'), ('`', '`')];
const NUMERALS: &str = "零〇一二两兩三四五六七八九十百千万萬亿億";
/// What a run of numerals must count to be a quantity.
const MEASURES: &str = "年月日号號天周週季秒元块塊折倍岁歲度米斤人次";
/// Before these a numeral only points: 这两个, 前三天 stays with the date rules.
const POINTERS: &str = "这這那哪第";
/// A longer quotation is more likely a stray mark than a title.
const LONGEST_QUOTE_CHARS: usize = 400;

/// Why a piece must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProtectedKind {
    /// The words between quotation marks; the marks themselves may change.
    Quote,
    Number,
    /// Letters with digits: ERR-4012, v2.3.1, 5G.
    Code,
    /// A URL or an e-mail address.
    Url,
    FileName,
    /// A glossary term, or one of its aliases.
    Term,
}

/// A piece of the query that must survive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    pub span: Span,
    pub kind: ProtectedKind,
}

/// Finds quoted text, numbers, codes, addresses, file names and glossary terms in
/// `query`, in order of appearance. Pieces may overlap: a number within a quotation is
/// both.
///
/// Chinese numerals count as numbers only as a clear quantity (三年, 两周, 十五天). A
/// lone 一 (一下, 一个), 十分, and 两个 after 这 or 那 are ordinary words.
pub fn protected(query: &str, glossary: &Glossary) -> Vec<Protected> {
    let chars: Vec<char> = query.chars().collect();
    let found_units = units(query);
    let mut found = quotes(&chars);
    found.extend(coded(&chars, &found_units));
    found.extend(quantities(&chars));
    found.extend(terms(&chars, &found_units, glossary));
    found.sort_by_key(|item| (item.span.start, item.span.end));
    found.dedup();
    found
}

fn item(chars: &[char], start: usize, end: usize, kind: ProtectedKind) -> Protected {
    let text = chars.get(start..end).unwrap_or_default().iter().collect();
    Protected { span: Span { start, end, text }, kind }
}

fn quotes(chars: &[char]) -> Vec<Protected> {
    let mut found = Vec::new();
    let mut position = 0;
    while position < chars.len() {
        match quote_end(chars, position) {
            Some(end) => {
                if chars[position + 1..end].iter().any(|character| !character.is_whitespace()) {
                    found.push(item(chars, position + 1, end, ProtectedKind::Quote));
                }
                position = end + 1;
            }
            None => position += 1,
        }
    }
    found
}

/// Where the quotation that opens at `start` closes.
fn quote_end(chars: &[char], start: usize) -> Option<usize> {
    let limit = chars.len().min(start + LONGEST_QUOTE_CHARS);
    let inside = chars.get(start + 1..limit)?;
    if let Some((_, close)) = QUOTES.iter().find(|(open, _)| *open == chars[start]) {
        return inside.iter().position(|found| found == close).map(|offset| start + 1 + offset);
    }
    let close = match chars[start] {
        '\'' => '\'',
        '‘' => '’',
        _ => return None,
    };
    // An apostrophe hangs on a word: a quotation opens after none and closes before none.
    let free = |position: Option<usize>| {
        let beside = position.and_then(|position| chars.get(position));
        beside.is_none_or(|beside| !beside.is_alphanumeric() || is_han(*beside))
    };
    if !free(start.checked_sub(1)) || inside.first().is_none_or(|first| first.is_whitespace()) {
        return None;
    }
    let closes = |&position: &usize| chars[position] == close && free(Some(position + 1));
    (start + 2..limit).find(closes)
}

fn coded(chars: &[char], units: &[Unit]) -> Vec<Protected> {
    let mut found = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let kind = match unit.kind {
            UnitKind::Number => ProtectedKind::Number,
            UnitKind::Code if is_file_name(&unit.key) => ProtectedKind::FileName,
            UnitKind::Code if is_address(&unit.key) => ProtectedKind::Url,
            UnitKind::Code => ProtectedKind::Code,
            _ => continue,
        };
        let named = unit.key.starts_with('.');
        let start = if named { name_start(&units[..index], unit) } else { unit.span.start };
        found.push(item(chars, start, unit.span.end, kind));
    }
    found
}

/// Where 报告.xlsx starts: Chinese has no spaces, so this takes at most the four Han
/// characters before the extension and stops at glue.
fn name_start(before: &[Unit], extension: &Unit) -> usize {
    let mut start = extension.span.start;
    for unit in before.iter().rev().take(4) {
        let joined = unit.span.end == start && unit.kind == UnitKind::Han;
        if !joined || is_function_unit(unit) {
            break;
        }
        start = unit.span.start;
    }
    start
}

fn quantities(chars: &[char]) -> Vec<Protected> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let length = chars[start..].iter().take_while(|&&found| NUMERALS.contains(found)).count();
        let end = start + length;
        if let Some(end) = quantity_end(chars, start, end) {
            found.push(item(chars, start, end, ProtectedKind::Number));
        }
        start = end.max(start + 1);
    }
    found
}

fn quantity_end(chars: &[char], start: usize, end: usize) -> Option<usize> {
    let numeral = &chars[start..end];
    let points = start > 0 && POINTERS.contains(chars[start - 1]);
    // 万 and 千 alone are rather a name than a number.
    let plain = numeral.iter().all(|digit| "百千万萬亿億".contains(*digit));
    if plain || points || matches!(numeral, ['一']) {
        return None;
    }
    match (chars.get(end)?, chars.get(end + 1)) {
        ('个' | '個', Some('月' | '季' | '小')) => Some(end + 2),
        ('小', Some('时' | '時')) | ('分', Some('钟' | '鐘')) | ('星', Some('期')) => {
            Some(end + 2)
        }
        (measure, _) if MEASURES.contains(*measure) => Some(end + 1),
        _ => None,
    }
}

fn terms(chars: &[char], units: &[Unit], glossary: &Glossary) -> Vec<Protected> {
    let query: Vec<String> = units.iter().map(|unit| folded(&unit.text)).collect();
    let mut found = Vec::new();
    for term in &glossary.terms {
        for name in term.aliases.iter().chain([&term.term]) {
            let name: Vec<String> =
                super::units(name).iter().map(|unit| folded(&unit.text)).collect();
            if name.is_empty() {
                continue;
            }
            for (index, _) in
                query.windows(name.len()).enumerate().filter(|(_, seen)| *seen == name)
            {
                let (first, last) = (&units[index], &units[index + name.len() - 1]);
                found.push(item(chars, first.span.start, last.span.end, ProtectedKind::Term));
            }
        }
    }
    found
}

fn folded(text: &str) -> String {
    text.chars().map(fold).collect()
}
