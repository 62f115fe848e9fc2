//! How an absolute period is written in Chinese and in English. The Chinese forms have the
//! same characters in both scripts, so a traditional query stays traditional.

use time::{Date, Month};

use super::calendar::Period;

/// 2024年7月1日, 2024年6月24日至6月30日, 2024年第二季度, 2024年上半年, 2023年.
pub fn chinese(period: Period) -> String {
    match period {
        Period::Day(date) => chinese_day(date),
        Period::DayPart(date, part) => format!("{}{part}", chinese_day(date)),
        Period::Week(first, last) if first.year() == last.year() => {
            format!("{}至{}月{}日", chinese_day(first), u8::from(last.month()), last.day())
        }
        // Both years are written where the run is not a week of the calendar: either end
        // is then quoted on its own as often as not.
        Period::Week(first, last) | Period::Days(first, last) => {
            format!("{}至{}", chinese_day(first), chinese_day(last))
        }
        Period::Month(year, month) => format!("{year}年{}月", u8::from(month)),
        Period::Quarter(year, quarter) => {
            let numeral = ["一", "二", "三", "四"][usize::from(quarter.clamp(1, 4)) - 1];
            format!("{year}年第{numeral}季度")
        }
        Period::Half(year, half) => {
            format!("{year}年{}半年", if half == 1 { "上" } else { "下" })
        }
        Period::Year(year) => format!("{year}年"),
    }
}

/// `July 1, 2024`, `June 24–30, 2024`, `June 27 – July 3, 2024`, `Q2 2024`,
/// `the first half of 2024`, `2023`; no preposition before it.
pub fn english(period: Period) -> String {
    match period {
        Period::Day(date) => english_day(date),
        Period::DayPart(date, part) => format!("the {part} of {}", english_day(date)),
        Period::Week(first, last) | Period::Days(first, last) => english_range(first, last),
        Period::Month(year, month) => format!("{month} {year}"),
        Period::Quarter(year, quarter) => format!("Q{quarter} {year}"),
        Period::Half(year, half) => {
            format!("the {} half of {year}", if half == 1 { "first" } else { "second" })
        }
        Period::Year(year) => year.to_string(),
    }
}

/// As [`english`], fit to stand before a noun: `July 1, 2024 night`, not `the night of …`.
pub fn english_before_noun(period: Period) -> String {
    match period {
        Period::DayPart(date, part) => format!("{} {part}", english_day(date)),
        _ => english(period),
    }
}

/// The preposition that makes the period say when: `on`, `in`, `during`.
pub fn english_preposition(period: Period) -> &'static str {
    match period {
        Period::Day(_) | Period::DayPart(..) => "on",
        Period::Week(..) | Period::Days(..) => "during",
        Period::Month(..) | Period::Quarter(..) | Period::Half(..) | Period::Year(_) => "in",
    }
}

fn chinese_day(date: Date) -> String {
    format!("{}年{}月{}日", date.year(), u8::from(date.month()), date.day())
}

fn english_day(date: Date) -> String {
    format!("{} {}, {}", date.month(), date.day(), date.year())
}

fn english_range(first: Date, last: Date) -> String {
    if first.year() != last.year() {
        return format!("{} – {}", english_day(first), english_day(last));
    }
    let start: (Month, u8) = (first.month(), first.day());
    if start.0 == last.month() {
        return format!("{} {}–{}, {}", start.0, start.1, last.day(), last.year());
    }
    format!("{} {} – {}", start.0, start.1, english_day(last))
}
