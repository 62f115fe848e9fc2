//! Makes relative dates absolute by rule, from the asker's clock and zone: 上个月 asked on
//! 2 July 2024 is 2024年6月. A rule, and not the model, because a date is arithmetic: it can
//! be right every time, and a wrong one is a plausible lie.
//!
//! What is left alone, because guessing would add what the asker did not say:
//! - vague words (最近, 前几天, `recently`, `a few days ago`, `the next week`);
//! - a bare weekday (周五, `on Friday`), which may lie before or behind, or repeat;
//! - spans of time counted from an event (付款3天后, 到期30天前), and `in 3 days` where it may
//!   be a duration; future windows (未来三天, `the next 3 days`), whose start is open;
//! - `today` for "these days" (`is it still used today`), and English texts that name their
//!   own day (`as of 2021`);
//! - questions for the date itself (今天几号), which the answer would empty.
//!
//! Conventions: those of `calendar.rs`, and for weekdays: `this Friday` and 这周五 lie in this
//! week, `next Friday` and 下周五 in the next, 上周五 in the last one, but `last Friday` is the
//! latest one before today. People differ on `next Friday` from Monday to Thursday; this
//! reading keeps it distinct from `this Friday` and equal to 下周五, and `last Friday` said
//! on a Saturday means yesterday to nearly everyone. `last June` and `next June` are the
//! nearest ones that do not include today.

mod calendar;
mod chinese;
mod cursor;
mod english;
mod false_friends;
mod numerals;
mod sentence;
mod wording;

#[cfg(test)]
mod tests;

use time::{Date, OffsetDateTime};

use self::calendar::{Edge, Meaning};
use super::conversation::{Edit, Evidence, IssueKind, Source, Span};

/// One way to read the expression, by any reader.
const CLEAR: f32 = 0.95;
/// A reading that most people share, though another exists: 两周前 as the very day.
const LIKELY: f32 = 0.85;
/// The commoner of two readings.
const OPEN: f32 = 0.7;

/// Edits that make the query's relative dates absolute: not overlapping, in order, the
/// longest expression at each place. `now` carries the asker's zone; its local date counts.
/// An expression that overlaps a `protected` span stays as it is, as does one whose date
/// lies outside the years 1 to 9999.
pub fn resolve(query: &str, now: OffsetDateTime, protected: &[Span]) -> Vec<Edit> {
    let text = Text::new(query);
    let found = without_nested(&text, scan(&text, protected));
    let mut edits: Vec<Edit> = Vec::with_capacity(found.len());
    for expression in found {
        let previous_end = edits.last().map(|edit| edit.span.end);
        let Some(edit) = text.edit(&expression, now.date(), previous_end) else {
            continue;
        };
        if !protected.iter().any(|span| span.overlaps(&edit.span)) {
            edits.push(edit);
        }
    }
    edits
}

/// The first relative date of the query, whether or not anyone knows what day it is.
pub fn has_relative_date(query: &str) -> Option<Span> {
    let text = Text::new(query);
    let first = scan(&text, &[]).into_iter().next()?;
    Some(text.span(first.start, first.end))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Chinese,
    English,
}

/// An expression of the query, in chars.
#[derive(Debug, Clone, Copy)]
struct Found {
    start: usize,
    end: usize,
    meaning: Meaning,
    /// The end of a run of days that is meant: 截至上周 means its Sunday.
    edge: Option<Edge>,
    confidence: f32,
    language: Language,
}

/// The query as chars, and again with traditional forms folded, char for char.
struct Text {
    original: Vec<char>,
    folded: Vec<char>,
}

impl Text {
    fn new(query: &str) -> Self {
        let original: Vec<char> = query.chars().collect();
        let folded = original.iter().map(|char| chinese::fold(*char)).collect();
        Self { original, folded }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { start, end, text: self.original[start..end].iter().collect() }
    }

    fn edit(&self, found: &Found, today: Date, previous_end: Option<usize>) -> Option<Edit> {
        let period = found.meaning.on(today)?.narrowed_to(found.edge);
        let (start, replacement, date) = match found.language {
            Language::Chinese => {
                let date = wording::chinese(period);
                (found.start, date.clone(), date)
            }
            Language::English => {
                sentence::place(&self.original, found.start, found.end, period, previous_end)
            }
        };
        Some(Edit {
            span: self.span(start, found.end),
            replacement,
            issue: IssueKind::Vague,
            evidence: Evidence { source: Source::Date, text: date },
            confidence: found.confidence,
        })
    }
}

/// Reads the text once from left to right. At each place the longest expression wins, and
/// nothing inside it is read again, even when a protected span then keeps it out: 天 alone
/// protected does not turn 大前天 into 前天.
fn scan(text: &Text, protected: &[Span]) -> Vec<Found> {
    let mut walls: Vec<&Span> = protected.iter().filter(|span| !span.is_empty()).collect();
    walls.sort_by_key(|span| span.start);
    let mut walls = walls.into_iter().peekable();
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.original.len() {
        while walls.next_if(|wall| wall.end <= at).is_some() {}
        let wall = walls.peek().map_or(usize::MAX, |wall| wall.start);
        if wall <= at {
            at += 1;
            continue;
        }
        let Some(expression) = read_at(text, at, wall) else {
            at += 1;
            continue;
        };
        at = expression.end;
        if expression.end <= wall {
            found.push(expression);
            let series = chinese::weekdays_after(&text.folded, &expression);
            at = series.last().map_or(at, |last| last.end);
            found.extend(series);
        }
    }
    found
}

fn read_at(text: &Text, at: usize, wall: usize) -> Option<Found> {
    let found = chinese::read(&text.folded, at, wall)
        .or_else(|| english::read(&text.original, at))
        .filter(|found| found.end > at)?;
    // A combining mark makes another character of the last one, and so another word.
    let marked = text.original.get(found.end).is_some_and(|next| is_combining(*next));
    (!marked).then_some(found)
}

/// Drops two expressions that stand together as one we do not know (去年的上周, `today last
/// year`): their dates side by side would read as nonsense. A Chinese list (昨天今天) stays.
fn without_nested(text: &Text, found: Vec<Found>) -> Vec<Found> {
    let nested = |first: &Found, second: &Found| {
        let gap = text.folded.get(first.end..second.start).unwrap_or_default();
        match first.language {
            Language::Chinese => {
                let listed = first.meaning.grain() <= second.meaning.grain() && gap.is_empty();
                matches!(gap, [] | ['的']) && !listed
            }
            Language::English => gap.iter().all(|char| char.is_whitespace()),
        }
    };
    let is_nested = |index: usize| {
        index.checked_sub(1).is_some_and(|before| nested(&found[before], &found[index]))
            || found.get(index + 1).is_some_and(|after| nested(&found[index], after))
    };
    (0..found.len()).filter(|index| !is_nested(*index)).map(|index| found[index]).collect()
}

fn is_combining(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36F}' | '\u{20D0}'..='\u{20FF}' | '\u{FE00}'..='\u{FE0F}')
}
