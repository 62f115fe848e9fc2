//! Reads English relative dates: `yesterday`, `last Friday`, `two weeks ago`, `the past 7
//! days`. Words are compared without regard to case; URLs, file names, hyphenated words and
//! titles (`USA Today`) are left alone.

use time::Weekday;

use super::calendar::{Edge, Meaning, Side, Unit, YearPart};
use super::sentence::{self, Neighbour};
use super::{CLEAR, Found, LIKELY, Language, OPEN};

/// The longest expression, `a couple of weeks from today`, has six words.
const MOST_WORDS: usize = 7;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Short forms that are ordinary words too: they need their capital after `this`.
const AMBIGUOUS: [&str; 8] = ["may", "march", "mar", "sun", "sat", "wed", "mon", "fri"];

/// Words that tell that `in 3 days` is a moment to come and not a duration.
const FUTURE_WORDS: &str = "will ll due start starts begin begins end ends expire expires expiring launch launches \
     arrive arrives arriving leave leaving remind reminder weather forecast deadline meeting \
     appointment exam flight trip happens happening coming releases opens closes renew renews \
     going";

/// Words of lasting states, before which `today` means "these days" and not this day.
const NOWADAYS_WORDS: &str = "still exist exists existing remain remains remaining relevant importance important popular \
     known know remembered used modern called considered located common housed reside survive \
     seen currently ancestors descend speak";

/// The longest expression that begins at `at`.
pub fn read(chars: &[char], at: usize) -> Option<Found> {
    if !chars.get(at)?.is_ascii_alphanumeric() || sentence::is_inside_word(chars, at) {
        return None;
    }
    let words = words(chars, at);
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let before = sentence::word_before(chars, at);
    let (used, meaning, confidence) = to_date(&texts)
        .or_else(|| day(&texts))
        .or_else(|| ago(&texts, &before))
        .or_else(|| rolling(&texts, &before))
        .or_else(|| in_length(chars, at, &texts))
        .or_else(|| stepped(&texts, &before))
        .or_else(|| weekday_of_week(&texts))
        .or_else(|| named(chars, &words, &texts))?;
    let end = words.get(used.checked_sub(1)?)?.end;
    if sentence::is_inside_word(chars, end)
        || is_limited(&texts[used..], meaning)
        || sentence::is_title(chars, at)
        || sentence::has_own_clock(chars)
        || is_nowadays(chars, at, end, &texts[..used])
        || sentence::is_code(chars, at, end)
        || sentence::asks_for_the_date(chars, at, end)
    {
        return None;
    }
    let edge = edge(&before);
    Some(Found { start: at, end, meaning, edge, confidence, language: Language::English })
}

/// `today` for "these days": `is it still used today`, `in today's world`.
fn is_nowadays(chars: &[char], at: usize, end: usize, used: &[&str]) -> bool {
    let said_of_today = ["world", "age", "society", "societies", "standards", "money", "youth"];
    used == ["today"]
        && (said_of_today.contains(&sentence::possession(chars, end).as_str())
            || sentence::words_behind(chars, at)
                .iter()
                .any(|word| sentence::is_listed(NOWADAYS_WORDS, word)))
}

/// How many words were used, what they mean and how sure that is.
type Reading = (usize, Meaning, f32);

struct Word {
    start: usize,
    end: usize,
    /// In lower case.
    text: String,
}

/// The next words, as long as only spaces part them; `year-to-date` counts as three.
fn words(chars: &[char], at: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = at;
    while words.len() < MOST_WORDS {
        let rest = chars.get(start..).unwrap_or_default();
        let length = rest.iter().take(24).take_while(|char| char.is_ascii_alphanumeric()).count();
        if length == 0 {
            break;
        }
        let text: String = rest[..length].iter().collect::<String>().to_ascii_lowercase();
        words.push(Word { start, end: start + length, text });
        let gap = rest[length..].iter().take(3).take_while(|char| char.is_whitespace()).count();
        let hyphen = rest.get(length) == Some(&'-')
            && words
                .last()
                .is_some_and(|word| matches!(word.text.as_str(), "year" | "month" | "to"));
        if gap == 0 && !hyphen {
            break;
        }
        start += length + gap.max(usize::from(hyphen));
    }
    words
}

fn edge(before: &Neighbour) -> Option<Edge> {
    match before.word() {
        "since" | "before" | "until" | "till" => Some(Edge::First),
        "after" | "by" => Some(Edge::Last),
        _ => None,
    }
}

/// `the last week of June`, `the last month before Easter` and `a year and a half ago` go on
/// where the reading stopped.
fn is_limited(rest: &[&str], meaning: Meaning) -> bool {
    match rest {
        ["and", "a" | "one", "half", ..] => true,
        ["of", ..] => {
            !matches!(meaning, Meaning::Whole { unit: Unit::Day, .. } | Meaning::ToDate(_))
        }
        ["before" | "after" | "when", ..] => matches!(meaning, Meaning::Rolling { .. }),
        _ => false,
    }
}

fn to_date(words: &[&str]) -> Option<Reading> {
    let unit = |word: &str| match word {
        "year" | "ytd" => Some(Unit::Year),
        "quarter" | "qtd" => Some(Unit::Quarter),
        "month" | "mtd" => Some(Unit::Month),
        "week" | "wtd" => Some(Unit::Week),
        _ => None,
    };
    match words {
        [word @ ("ytd" | "qtd" | "mtd" | "wtd"), ..] => {
            Some((1, Meaning::ToDate(unit(word)?), CLEAR))
        }
        [word, "to", "date", ..] => Some((3, Meaning::ToDate(unit(word)?), CLEAR)),
        _ => None,
    }
}

fn day(words: &[&str]) -> Option<Reading> {
    let whole = |used, offset| Some((used, Meaning::Whole { unit: Unit::Day, offset }, CLEAR));
    let part = |used, offset, part| Some((used, Meaning::DayPart { offset, part }, CLEAR));
    match words {
        ["the", "day", "before", "yesterday", ..] => whole(4, -2),
        ["day", "before", "yesterday", ..] => whole(3, -2),
        ["the", "day", "after", "tomorrow", ..] => whole(4, 2),
        ["day", "after", "tomorrow", ..] => whole(3, 2),
        ["tonight", ..] => part(1, 0, "night"),
        ["last", "night", ..] => part(2, -1, "night"),
        ["this", word, ..] => part(2, 0, part_of_day(word).filter(|part| *part != "night")?),
        [word @ ("today" | "yesterday" | "tomorrow"), rest @ ..] => {
            let offset = match *word {
                "today" => 0,
                "yesterday" => -1,
                _ => 1,
            };
            match rest.first().and_then(|next| part_of_day(next)) {
                Some(name) => part(2, offset, name),
                None => whole(1, offset),
            }
        }
        _ => None,
    }
}

fn part_of_day(word: &str) -> Option<&'static str> {
    ["morning", "afternoon", "evening", "night"].into_iter().find(|part| *part == word)
}

/// `3 days ago`, `a couple of weeks ago`, `half a year ago`, `two weeks from now`.
fn ago(words: &[&str], before: &Neighbour) -> Option<Reading> {
    if before.makes_number_inexact() {
        return None;
    }
    let (used, count, unit) = length(words)?;
    let (tail, direction) = match words.get(used..)? {
        ["ago", ..] => (1, -1),
        ["from", "now" | "today", ..] => (2, 1),
        _ => return None,
    };
    // Centuries ago is said of geology and empires, never of one year.
    if unit == Unit::Year && count >= 100 {
        return None;
    }
    let (count, unit) =
        if unit == Unit::Week { (count.checked_mul(7)?, Unit::Day) } else { (count, unit) };
    Some((used + tail, Meaning::Whole { unit, offset: direction * count }, LIKELY))
}

/// How many words a length takes, its count and unit.
fn length(words: &[&str]) -> Option<(usize, i64, Unit)> {
    let (used, count) = match words {
        ["half", "a" | "an", "year", ..] => return Some((3, 6, Unit::Month)),
        ["a", "couple", "of", ..] => (3, 2),
        ["couple", "of", ..] => (2, 2),
        [word, ..] => (1, number(word)?),
        [] => return None,
    };
    let unit = unit(words.get(used)?)?;
    (count > 0).then_some((used + 1, count, unit))
}

fn number(word: &str) -> Option<i64> {
    if word.chars().all(|char| char.is_ascii_digit()) {
        return (word.len() <= 12).then(|| word.parse().ok()).flatten();
    }
    let value = match word {
        "a" | "an" | "one" => 1,
        "two" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" => 8,
        "nine" => 9,
        "ten" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "fifteen" => 15,
        "twenty" => 20,
        "thirty" => 30,
        "sixty" => 60,
        "ninety" => 90,
        _ => return None,
    };
    Some(value)
}

/// A counted unit; `1 days` and `2 day` are as clear as they are wrong.
fn unit(word: &str) -> Option<Unit> {
    match word.strip_suffix('s').unwrap_or(word) {
        "day" => Some(Unit::Day),
        other => long_unit(other),
    }
}

fn long_unit(word: &str) -> Option<Unit> {
    match word {
        "week" => Some(Unit::Week),
        "month" => Some(Unit::Month),
        "quarter" => Some(Unit::Quarter),
        "year" => Some(Unit::Year),
        _ => None,
    }
}

/// `the last 7 days`, `past two weeks`, `the past year`, `in the last month`.
fn rolling(words: &[&str], before: &Neighbour) -> Option<Reading> {
    let skipped = usize::from(words.first() == Some(&"the"));
    let (word, rest) = words.get(skipped..)?.split_first()?;
    // `made it past 10 years` goes beyond them.
    let moves = ["it", "well", "far", "go", "goes", "went", "live", "lived", "lasted", "survive"];
    let is_verb = skipped == 0 && (before.owns_what_follows() || moves.contains(&before.word()));
    if is_verb || !matches!(*word, "past" | "last") {
        return None;
    }
    if let Some((used, count, unit)) = length(rest) {
        let counted = count > 1 || rest.first().is_some_and(|first| *first == "1");
        let is_range = counted && (count, unit) != (1, Unit::Day);
        let meaning = Meaning::Rolling { count, unit };
        return is_range.then_some((skipped + 1 + used, meaning, LIKELY));
    }
    let unit = long_unit(rest.first()?)?;
    // `last week` is a week of the calendar; `in the last week` is the week up to now, and
    // `the last week` alone may be the end of anything.
    let around = ["in", "over", "during", "within", "throughout", "across"];
    let is_rolling = *word == "past" || (skipped == 1 && around.contains(&before.word()));
    is_rolling.then_some((skipped + 2, Meaning::Rolling { count: 1, unit }, LIKELY))
}

/// `in 3 days`, where the sentence speaks of what is to come.
fn in_length(chars: &[char], at: usize, words: &[&str]) -> Option<Reading> {
    let rest = words.strip_prefix(&["in"])?;
    let (used, count, unit) = length(rest)?;
    let follows = rest.get(used..).and_then(|rest| rest.first());
    if follows.is_some_and(|next| matches!(*next, "of" | "after" | "before" | "from" | "or" | "to"))
    {
        return None;
    }
    let starts_clause = sentence::word_before(chars, at).is_clause_start()
        && follows.is_none_or(|next| sentence::opens_clause(next));
    let speaks_of_future = sentence::words_behind(chars, at)
        .iter()
        .any(|word| sentence::is_listed(FUTURE_WORDS, word));
    if !starts_clause && !speaks_of_future {
        return None;
    }
    let (offset, unit) =
        if unit == Unit::Week { (count.checked_mul(7)?, Unit::Day) } else { (count, unit) };
    Some((used + 1, Meaning::Whole { unit, offset }, OPEN))
}

/// `the week before last`, `the month after next`, `this month last year`.
fn stepped(words: &[&str], before: &Neighbour) -> Option<Reading> {
    let skipped = usize::from(words.first() == Some(&"the"));
    match words.get(skipped..)? {
        [unit, "before", "last", ..] => {
            Some((skipped + 3, Meaning::Whole { unit: long_unit(unit)?, offset: -2 }, CLEAR))
        }
        [unit, "after", "next", ..] => {
            Some((skipped + 3, Meaning::Whole { unit: long_unit(unit)?, offset: 2 }, CLEAR))
        }
        ["this", unit, direction @ ("last" | "next"), "year", ..] => {
            let part = match *unit {
                "month" => YearPart::SameMonth,
                "quarter" => YearPart::SameQuarter,
                _ => return None,
            };
            Some((4, Meaning::InYear { year: step(direction)?, part }, CLEAR))
        }
        [direction, unit, ..] if skipped == 0 && !before.owns_what_follows() => {
            let offset = step(direction)?;
            let meaning = match *unit {
                "weekend" => Meaning::WeekendOf { week: offset },
                unit => Meaning::Whole { unit: long_unit(unit)?, offset },
            };
            Some((2, meaning, CLEAR))
        }
        _ => None,
    }
}

fn step(word: &str) -> Option<i64> {
    match word {
        "last" => Some(-1),
        "this" => Some(0),
        "next" => Some(1),
        _ => None,
    }
}

/// `Friday last week`, `Monday of next week`.
fn weekday_of_week(words: &[&str]) -> Option<Reading> {
    let weekday = weekday(words.first()?)?;
    let skipped = 1 + usize::from(words.get(1) == Some(&"of"));
    match words.get(skipped..)? {
        [direction, "week", ..] => {
            let meaning = Meaning::WeekdayOf { week: step(direction)?, weekday };
            Some((skipped + 2, meaning, CLEAR))
        }
        _ => None,
    }
}

/// `last Friday`, `this coming Mon`, `next June`.
fn named(chars: &[char], words: &[Word], texts: &[&str]) -> Option<Reading> {
    let (used, side) = match texts {
        ["this", "past", ..] => (2, Some(Side::LatestBefore)),
        ["this", "coming", ..] => (2, Some(Side::FirstFrom)),
        ["last", ..] => (1, Some(Side::LatestBefore)),
        ["next", ..] => (1, Some(Side::FirstAfter)),
        ["this", ..] => (1, None),
        _ => return None,
    };
    let name = words.get(used)?;
    let is_lower = chars.get(name.start).is_some_and(char::is_ascii_lowercase);
    // `where it last sat` is a verb.
    let is_verb = is_lower && name.text == "sat";
    if is_verb || is_lower && texts[0] == "this" && AMBIGUOUS.contains(&name.text.as_str()) {
        return None;
    }
    if let Some(weekday) = weekday(&name.text) {
        let meaning = match (side, texts[0]) {
            (None, _) => Meaning::WeekdayOf { week: 0, weekday },
            (Some(_), "next") => Meaning::WeekdayOf { week: 1, weekday },
            (Some(side), _) => Meaning::NearestWeekday { weekday, side },
        };
        return Some((used + 1, meaning, if texts[0] == "next" { OPEN } else { LIKELY }));
    }
    let month = month(&name.text)?;
    let meaning = match side {
        None => Meaning::InYear { year: 0, part: YearPart::Month(month) },
        Some(side) => Meaning::NearestMonth { month, side },
    };
    Some((used + 1, meaning, LIKELY))
}

fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "monday" | "mon" => Weekday::Monday,
        "tuesday" | "tue" | "tues" => Weekday::Tuesday,
        "wednesday" | "wed" => Weekday::Wednesday,
        "thursday" | "thu" | "thur" | "thurs" => Weekday::Thursday,
        "friday" | "fri" => Weekday::Friday,
        "saturday" | "sat" => Weekday::Saturday,
        "sunday" | "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// A month's number, from its name or its first three letters (`Sept` too).
pub fn month(word: &str) -> Option<u8> {
    let index = MONTHS.iter().position(|name| {
        *name == word || name.get(..3) == Some(word) || (word == "sept" && *name == "september")
    })?;
    u8::try_from(index + 1).ok()
}
