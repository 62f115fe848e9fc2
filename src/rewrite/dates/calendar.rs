//! What a relative expression means, and which days it means from a given today.
//!
//! Conventions, each chosen because it is the common reading in both languages:
//! - A week is Monday to Sunday (ISO 8601, and the Chinese working week).
//! - `N 个月前` and `N months ago` name the month, `N 年前` the year, and days and weeks
//!   name the day: the answer is no finer than the question.
//! - A rolling range ends today and counts it: the last 7 days are today and the six
//!   days before; the last month begins the day after the same day one month ago.
//! - Month arithmetic clamps: one month before 31 March is the last day of February.
//! - Years run from 1 to 9999; a meaning that falls outside has no period.

use time::{Date, Month, Weekday};

/// A calendar unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// Which of the repeating things is meant, seen from today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The latest one that lies wholly before today.
    LatestBefore,
    /// The first one from today on, today included.
    FirstFrom,
    /// The first one that lies wholly after today.
    FirstAfter,
}

/// A piece of a named year. Numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearPart {
    Month(u8),
    Day {
        month: u8,
        day: u8,
    },
    Half(u8),
    Quarter(u8),
    /// 去年今天: the same day of that year.
    SameDay,
    /// 去年这个月, this month last year.
    SameMonth,
    /// 去年本季度, this quarter last year.
    SameQuarter,
}

/// A relative expression with its language taken off. Offsets count from the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Whole {
        unit: Unit,
        offset: i64,
    },
    /// `part` is a word of the expression's language: 晚上, `morning`.
    DayPart {
        offset: i64,
        part: &'static str,
    },
    WeekdayOf {
        week: i64,
        weekday: Weekday,
    },
    WeekendOf {
        week: i64,
    },
    NearestWeekday {
        weekday: Weekday,
        side: Side,
    },
    NearestMonth {
        month: u8,
        side: Side,
    },
    InYear {
        year: i64,
        part: YearPart,
    },
    /// A day of a month; without a number, today's.
    InMonth {
        month: i64,
        day: Option<u8>,
    },
    /// The last `count` units, up to today.
    Rolling {
        count: i64,
        unit: Unit,
    },
    /// From the first day of the current unit to today.
    ToDate(Unit),
}

/// An absolute stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Day(Date),
    DayPart(Date, &'static str),
    /// A week or a weekend, first and last day.
    Week(Date, Date),
    /// Any other run of days, first and last day.
    Days(Date, Date),
    Month(i32, Month),
    Quarter(i32, u8),
    Half(i32, u8),
    Year(i32),
}

/// One end of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    First,
    Last,
}

impl Meaning {
    /// The period meant when today is `today`; none when it lies outside the calendar
    /// or does not exist (30 February).
    pub fn on(self, today: Date) -> Option<Period> {
        match self {
            Self::Whole { unit, offset } => whole(today, unit, offset),
            Self::DayPart { offset, part } => Some(Period::DayPart(add_days(today, offset)?, part)),
            Self::WeekdayOf { week, weekday } => {
                let day = i64::from(weekday.number_days_from_monday());
                Some(Period::Day(add_days(monday(today, week)?, day)?))
            }
            Self::WeekendOf { week } => {
                let monday = monday(today, week)?;
                Some(Period::Week(add_days(monday, 5)?, add_days(monday, 6)?))
            }
            Self::NearestWeekday { weekday, side } => nearest_weekday(today, weekday, side),
            Self::NearestMonth { month, side } => nearest_month(today, month, side),
            Self::InYear { year, part } => in_year(today, year, part),
            Self::InMonth { month, day } => in_month(today, month, day),
            Self::Rolling { count, unit } => rolling(today, count, unit),
            Self::ToDate(unit) => to_date(today, unit),
        }
    }

    /// How coarse the meaning is: 去年 is coarser than 上周.
    pub fn grain(self) -> Unit {
        match self {
            Self::Whole { unit, .. } | Self::Rolling { unit, .. } | Self::ToDate(unit) => unit,
            Self::WeekendOf { .. } => Unit::Week,
            Self::NearestMonth { .. } => Unit::Month,
            Self::InYear { part: YearPart::Half(_) | YearPart::Quarter(_), .. } => Unit::Quarter,
            Self::InYear { part: YearPart::Month(_) | YearPart::SameMonth, .. } => Unit::Month,
            Self::InYear { part: YearPart::SameQuarter, .. } => Unit::Quarter,
            _ => Unit::Day,
        }
    }
}

impl Period {
    /// The first or last day of a run of days; every other period stays as it is, because
    /// "since June 2024" reads well and "since June 24–30" does not.
    pub fn narrowed_to(self, edge: Option<Edge>) -> Self {
        match (self, edge) {
            (Self::Week(first, _) | Self::Days(first, _), Some(Edge::First)) => Self::Day(first),
            (Self::Week(_, last) | Self::Days(_, last), Some(Edge::Last)) => Self::Day(last),
            _ => self,
        }
    }
}

fn whole(today: Date, unit: Unit, offset: i64) -> Option<Period> {
    match unit {
        Unit::Day => Some(Period::Day(add_days(today, offset)?)),
        Unit::Week => {
            let monday = monday(today, offset)?;
            Some(Period::Week(monday, add_days(monday, 6)?))
        }
        Unit::Month => {
            let (year, month) = add_to_month(today, offset)?;
            Some(Period::Month(year, month))
        }
        Unit::Quarter => {
            // The month one quarter away lies in the quarter one quarter away.
            let (year, month) = add_to_month(today, offset.checked_mul(3)?)?;
            Some(Period::Quarter(year, quarter_of(month)))
        }
        Unit::Year => Some(Period::Year(add_to_year(today, offset)?)),
    }
}

fn in_year(today: Date, offset: i64, part: YearPart) -> Option<Period> {
    let year = add_to_year(today, offset)?;
    Some(match part {
        YearPart::Month(month) => Period::Month(year, Month::try_from(month).ok()?),
        YearPart::Day { month, day } => {
            let month = Month::try_from(month).ok()?;
            Period::Day(Date::from_calendar_date(year, month, day).ok()?)
        }
        YearPart::Half(half) => Period::Half(year, half),
        YearPart::Quarter(quarter) => Period::Quarter(year, quarter),
        YearPart::SameDay => Period::Day(add_months(today, offset.checked_mul(12)?)?),
        YearPart::SameMonth => Period::Month(year, today.month()),
        YearPart::SameQuarter => Period::Quarter(year, quarter_of(today.month())),
    })
}

fn in_month(today: Date, offset: i64, day: Option<u8>) -> Option<Period> {
    let Some(day) = day else {
        return Some(Period::Day(add_months(today, offset)?));
    };
    let (year, month) = add_to_month(today, offset)?;
    Some(Period::Day(Date::from_calendar_date(year, month, day).ok()?))
}

fn nearest_weekday(today: Date, weekday: Weekday, side: Side) -> Option<Period> {
    let today_number = i64::from(today.weekday().number_days_from_monday());
    let ahead = (i64::from(weekday.number_days_from_monday()) - today_number).rem_euclid(7);
    let days = match side {
        Side::LatestBefore => ahead - 7,
        Side::FirstFrom => ahead,
        Side::FirstAfter => (ahead + 6) % 7 + 1,
    };
    Some(Period::Day(add_days(today, days)?))
}

fn nearest_month(today: Date, month: u8, side: Side) -> Option<Period> {
    let current = u8::from(today.month());
    let offset = match side {
        Side::LatestBefore => -i64::from(month >= current),
        Side::FirstFrom => i64::from(month < current),
        Side::FirstAfter => i64::from(month <= current),
    };
    Some(Period::Month(add_to_year(today, offset)?, Month::try_from(month).ok()?))
}

fn rolling(today: Date, count: i64, unit: Unit) -> Option<Period> {
    let back = count.checked_neg()?;
    let day_before = match unit {
        Unit::Day => add_days(today, back)?,
        Unit::Week => add_days(today, back.checked_mul(7)?)?,
        Unit::Month => add_months(today, back)?,
        Unit::Quarter => add_months(today, back.checked_mul(3)?)?,
        Unit::Year => add_months(today, back.checked_mul(12)?)?,
    };
    days_between(add_days(day_before, 1)?, today)
}

fn to_date(today: Date, unit: Unit) -> Option<Period> {
    let first_month = match unit {
        Unit::Day => return Some(Period::Day(today)),
        Unit::Week => return days_between(monday(today, 0)?, today),
        Unit::Month => today.month(),
        Unit::Quarter => Month::try_from(quarter_of(today.month()) * 3 - 2).ok()?,
        Unit::Year => Month::January,
    };
    days_between(Date::from_calendar_date(today.year(), first_month, 1).ok()?, today)
}

fn days_between(first: Date, last: Date) -> Option<Period> {
    match first.cmp(&last) {
        std::cmp::Ordering::Less => Some(Period::Days(first, last)),
        std::cmp::Ordering::Equal => Some(Period::Day(first)),
        std::cmp::Ordering::Greater => None,
    }
}

fn monday(today: Date, week: i64) -> Option<Date> {
    let since_monday = i64::from(today.weekday().number_days_from_monday());
    add_days(today, week.checked_mul(7)?.checked_sub(since_monday)?)
}

fn quarter_of(month: Month) -> u8 {
    (u8::from(month) - 1) / 3 + 1
}

fn add_days(date: Date, days: i64) -> Option<Date> {
    let julian_day = i64::from(date.to_julian_day()).checked_add(days)?;
    let moved = Date::from_julian_day(i32::try_from(julian_day).ok()?).ok()?;
    (moved.year() >= 1).then_some(moved)
}

fn add_to_year(date: Date, years: i64) -> Option<i32> {
    let year = i64::from(date.year()).checked_add(years)?;
    i32::try_from(year).ok().filter(|year| (1..=9999).contains(year))
}

fn add_to_month(date: Date, months: i64) -> Option<(i32, Month)> {
    let month_index = i64::from(u8::from(date.month())) - 1;
    let total = i64::from(date.year()).checked_mul(12)?.checked_add(month_index)?;
    let total = total.checked_add(months)?;
    let year = i32::try_from(total.div_euclid(12)).ok().filter(|year| (1..=9999).contains(year))?;
    let month = u8::try_from(total.rem_euclid(12) + 1).ok()?;
    Some((year, Month::try_from(month).ok()?))
}

fn add_months(date: Date, months: i64) -> Option<Date> {
    let (year, month) = add_to_month(date, months)?;
    Date::from_calendar_date(year, month, date.day().min(month.length(year))).ok()
}
