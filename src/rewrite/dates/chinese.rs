//! Reads Chinese relative dates: 昨天, 上周三, 去年6月, 三天前, 最近7天. It works on folded
//! text, so that one table serves both scripts. Chinese has no spaces between words, so
//! `false_friends.rs` is asked before each reading is believed.

use std::collections::HashMap;
use std::sync::LazyLock;

use time::Weekday;

use super::calendar::{Edge, Meaning, Unit, YearPart};
use super::cursor::Cursor;
use super::{CLEAR, Found, LIKELY, Language, OPEN, false_friends, numerals};

/// Traditional forms of the chars that the tables and guards of this room mention, and
/// their simplified forms in the same order.
pub const TRADITIONAL: &str = "後個這週禮過兩內萬億號當輕齡紀級華網線際書樣資劇課腳標應適證發聲聰將臨親\
     鄰裡裏來說開結產術購業離職會議賽動貨單簽啟試車時間圍邊長歲轉傑潤馳終氣貓頭條習養環獲\
     幾數餘從與們請問約報馬實點陸場場項種臺餅嚮導廣亞國際剛後義務營臘滿極鮮顧還圖續備";
pub const SIMPLIFIED: &str = "后个这周礼过两内万亿号当轻龄纪级华网线际书样资剧课脚标应适证发声聪将临亲\
     邻里里来说开结产术购业离职会议赛动货单签启试车时间围边长岁转杰润驰终气猫头条习养环获\
     几数余从与们请问约报马实点陆场场项种台饼向导广亚国际刚后义务营腊满极鲜顾还图续备";

static FORMS: LazyLock<HashMap<char, char>> =
    LazyLock::new(|| TRADITIONAL.chars().zip(SIMPLIFIED.chars()).collect());

const WEEKDAYS: [(&str, Weekday); 8] = [
    ("一", Weekday::Monday),
    ("二", Weekday::Tuesday),
    ("三", Weekday::Wednesday),
    ("四", Weekday::Thursday),
    ("五", Weekday::Friday),
    ("六", Weekday::Saturday),
    ("日", Weekday::Sunday),
    ("天", Weekday::Sunday),
];

const DAYS: [(&str, i64); 11] = [
    ("大前天", -3),
    ("前天", -2),
    ("昨天", -1),
    ("昨日", -1),
    ("今天", 0),
    ("今日", 0),
    ("明天", 1),
    ("明日", 1),
    ("大后天", 3),
    ("后天", 2),
    ("前晚", -2),
];

/// Parts of days: the word, the day, the part as written, and as written before 上, 间 or 里
/// (今晚上映, 今晚间), which bring their own half of the word.
const DAY_PARTS: [(&str, (i64, &str, &str)); 9] = [
    ("今早", (0, "早上", "早")),
    ("今晨", (0, "早晨", "晨")),
    ("今晚", (0, "晚上", "晚")),
    ("今夜", (0, "夜晚", "夜")),
    ("昨晚", (-1, "晚上", "晚")),
    ("昨夜", (-1, "夜晚", "夜")),
    ("明早", (1, "早上", "早")),
    ("明晨", (1, "早晨", "晨")),
    ("明晚", (1, "晚上", "晚")),
];

const YEARS: [(&str, i64); 7] = [
    ("大前年", -3),
    ("前年", -2),
    ("去年", -1),
    ("今年", 0),
    ("明年", 1),
    ("大后年", 3),
    ("后年", 2),
];

const WEEK_WORDS: [&str; 3] = ["周", "星期", "礼拜"];

const TO_DATE: [(&str, Unit); 14] = [
    ("今年年初至今", Unit::Year),
    ("今年年初到现在", Unit::Year),
    ("今年初至今", Unit::Year),
    ("今年初到现在", Unit::Year),
    ("今年至今", Unit::Year),
    ("年初至今", Unit::Year),
    ("年初到现在", Unit::Year),
    ("本季度至今", Unit::Quarter),
    ("本月初至今", Unit::Month),
    ("本月至今", Unit::Month),
    ("这个月至今", Unit::Month),
    ("月初至今", Unit::Month),
    ("本周至今", Unit::Week),
    ("这周至今", Unit::Week),
];

/// What expressions begin with, numbers aside: at most places of a text nothing is tried.
const FIRST_CHARS: &str = "大前昨今明后去上下本这当半最近过年月";

/// The simplified form of a char of our tables, an ASCII digit for a full-width one, and
/// every other char as it is.
pub fn fold(char: char) -> char {
    match char {
        '\u{FF10}'..='\u{FF19}' => char::from_u32(u32::from(char) - 0xFF10 + 0x30).unwrap_or(char),
        '\u{4E00}'..='\u{9FFF}' => FORMS.get(&char).copied().unwrap_or(char),
        _ => char,
    }
}

/// The longest expression that begins at `at`. An optional part (the month of 去年6月) that
/// would reach past `wall`, where protected text begins, is not taken in.
pub fn read(folded: &[char], at: usize, wall: usize) -> Option<Found> {
    let cursor = Cursor { chars: folded, at };
    let can_start = |first| FIRST_CHARS.contains(first) || numerals::is_numeral(first);
    if !cursor.peek().is_some_and(can_start) {
        return None;
    }
    let readers = [day, day_part, week, month, quarter, half, ago, rolling, to_date];
    readers
        .iter()
        .filter_map(|reader| reader(cursor))
        .chain(year(cursor, wall))
        .max_by_key(|(end, ..)| *end)
        .map(|(end, meaning, confidence)| found(folded, at, end, meaning, confidence))
}

/// The further weekdays of a series whose first names the week: 上周一到周三, 下周二和周五.
pub fn weekdays_after(folded: &[char], first: &Found) -> Vec<Found> {
    let mut series = Vec::new();
    let (Language::Chinese, Meaning::WeekdayOf { week, .. }) = (first.language, first.meaning)
    else {
        return series;
    };
    let mut cursor = Cursor { chars: folded, at: first.end };
    while cursor
        .eat_any(&["到", "至", "-", "~", "～", "—", "–", "、", "和", "与", "跟", "及", "或"])
    {
        let start = cursor.at;
        if !cursor.eat_any(&WEEK_WORDS) {
            break;
        }
        let Some(weekday) = weekday(&mut cursor) else { break };
        let meaning = Meaning::WeekdayOf { week, weekday };
        series.push(found(folded, start, cursor.at, meaning, first.confidence));
    }
    series
}

/// Where an expression ends, what it means and how sure that is.
type Reading = (usize, Meaning, f32);

fn found(folded: &[char], start: usize, end: usize, meaning: Meaning, confidence: f32) -> Found {
    let edge = edge(Cursor { chars: folded, at: start }, Cursor { chars: folded, at: end });
    Found { start, end, meaning, edge, confidence, language: Language::Chinese }
}

/// 截至上周 means its last day, 下周起 its first.
fn edge(before: Cursor<'_>, after: Cursor<'_>) -> Option<Edge> {
    if before.follows_any(&["截至", "截止", "截止到", "截至到", "直到"])
        || after.looking_at_any(&["之后", "以后"])
    {
        return Some(Edge::Last);
    }
    let from_here = after.looking_at_any(&["以来", "至今", "开始", "之前", "以前"])
        || (after.next_in("起") && !after.second_in("来点床飞码诉草"));
    from_here.then_some(Edge::First)
}

fn day(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    let offset = cursor.eat_entry(&DAYS)?;
    if false_friends::of_day(start, cursor) {
        return None;
    }
    if start.looking_at("前晚") {
        return Some((cursor.at, Meaning::DayPart { offset, part: "晚上" }, CLEAR));
    }
    Some((cursor.at, Meaning::Whole { unit: Unit::Day, offset }, CLEAR))
}

fn day_part(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    let (offset, part, short_part) = cursor.eat_entry(&DAY_PARTS)?;
    if false_friends::of_day(start, cursor) {
        return None;
    }
    let part = if cursor.next_in("上间里") { short_part } else { part };
    Some((cursor.at, Meaning::DayPart { offset, part }, CLEAR))
}

/// What stands before 周, 月 and 季度: 上, 下下, 本, 这个, 上一. Offset, and whether a
/// measure word came with it, which rules most false friends out.
fn head(cursor: &mut Cursor<'_>) -> Option<(i64, bool)> {
    let start = *cursor;
    let offset = match cursor.peek()? {
        direction @ ('上' | '下') => {
            let mut steps = 0;
            while cursor.peek() == Some(direction) {
                cursor.at += 1;
                steps += 1;
            }
            if steps > 3 {
                return None;
            }
            if direction == '上' { -steps } else { steps }
        }
        '本' | '这' => {
            cursor.at += 1;
            0
        }
        _ => return None,
    };
    let measured = !start.next_in("本") && cursor.eat_any(&["一个", "个", "一"]);
    let by_one = measured && (cursor.follows("一") || cursor.follows("一个"));
    // 再上一周班 and 补上一个月 count weeks and months.
    if by_one && !start.next_in("这") && false_friends::of_event(start) {
        return None;
    }
    // No word ends before the 上 of 上个: 页面上个月改版.
    let is_certain = measured && !by_one && cursor.at == start.at + 2;
    if false_friends::of_head(start, is_certain) {
        return None;
    }
    Some((offset, measured))
}

fn week(mut cursor: Cursor<'_>) -> Option<Reading> {
    let (week, _) = head(&mut cursor)?;
    let is_short = cursor.next_in("周");
    if !cursor.eat_any(&WEEK_WORDS) {
        return None;
    }
    if let Some(weekday) = weekday(&mut cursor) {
        return Some((cursor.at, Meaning::WeekdayOf { week, weekday }, CLEAR));
    }
    if is_short && cursor.eat("末") {
        return Some((cursor.at, Meaning::WeekendOf { week }, CLEAR));
    }
    if is_short && false_friends::of_week(cursor) {
        return None;
    }
    Some((cursor.at, Meaning::Whole { unit: Unit::Week, offset: week }, CLEAR))
}

/// The weekday after 周, unless its char begins the next word: 上周一共, 上周日均, 下周天气.
fn weekday(cursor: &mut Cursor<'_>) -> Option<Weekday> {
    let mut ahead = *cursor;
    let weekday = ahead.eat_entry(&WEEKDAYS)?;
    if false_friends::of_weekday(*cursor) {
        return None;
    }
    *cursor = ahead;
    Some(weekday)
}

fn month(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    let offset = match head(&mut cursor) {
        Some((offset, _)) => offset,
        None if cursor.eat("当") && !false_friends::of_event(start) => 0,
        None => return None,
    };
    if !cursor.eat("月") || false_friends::of_month(cursor) {
        return None;
    }
    let mut ahead = cursor;
    ahead.eat("的");
    if ahead.eat_any(&["今天", "今日"]) {
        return Some((ahead.at, Meaning::InMonth { month: offset, day: None }, CLEAR));
    }
    if let Some(day) = day_of_month(&mut ahead) {
        return Some((ahead.at, Meaning::InMonth { month: offset, day: Some(day) }, CLEAR));
    }
    Some((cursor.at, Meaning::Whole { unit: Unit::Month, offset }, CLEAR))
}

fn quarter(mut cursor: Cursor<'_>) -> Option<Reading> {
    let (offset, _) = head(&mut cursor)?;
    let whole = cursor.eat("季度").then_some(cursor.at)?;
    Some((whole, Meaning::Whole { unit: Unit::Quarter, offset }, CLEAR))
}

fn year(mut cursor: Cursor<'_>, wall: usize) -> Option<Reading> {
    let start = cursor;
    let year = match cursor.eat_entry(&YEARS) {
        Some(year) => year,
        None => accounting_year(&mut cursor)?,
    };
    if false_friends::of_year(start, cursor) {
        return None;
    }
    let mut ahead = cursor;
    ahead.eat("的");
    ahead.skip_space();
    match year_part(&mut ahead) {
        Some(part) if ahead.at <= wall => Some((ahead.at, Meaning::InYear { year, part }, CLEAR)),
        _ => Some((cursor.at, Meaning::Whole { unit: Unit::Year, offset: year }, CLEAR)),
    }
}

/// 本年度, 上年度, 上年同期: the words of reports; 本年 and 上年 alone are too short to trust.
fn accounting_year(cursor: &mut Cursor<'_>) -> Option<i64> {
    let (offset, measured) = head(cursor)?;
    let is_year = !measured && cursor.eat("年") && cursor.looking_at_any(&["度", "同期"]);
    is_year.then_some(offset)
}

fn year_part(cursor: &mut Cursor<'_>) -> Option<YearPart> {
    let parts = [
        ("上半年", YearPart::Half(1)),
        ("下半年", YearPart::Half(2)),
        ("H1", YearPart::Half(1)),
        ("H2", YearPart::Half(2)),
        ("h1", YearPart::Half(1)),
        ("h2", YearPart::Half(2)),
        ("今天", YearPart::SameDay),
        ("今日", YearPart::SameDay),
        ("本月", YearPart::SameMonth),
        ("这个月", YearPart::SameMonth),
        ("这月", YearPart::SameMonth),
        ("本季度", YearPart::SameQuarter),
        ("这个季度", YearPart::SameQuarter),
    ];
    if let Some(part) = cursor.eat_entry(&parts) {
        return Some(part);
    }
    quarter_of_year(cursor).or_else(|| month_of_year(cursor))
}

/// 第四季度, 四季度, 第4季, Q4.
fn quarter_of_year(cursor: &mut Cursor<'_>) -> Option<YearPart> {
    let mut ahead = *cursor;
    let latin = ahead.eat_any(&["Q", "q"]);
    let ordinal = !latin && ahead.eat("第");
    let number = numerals::read(&mut ahead).filter(|number| (1..=4).contains(number))?;
    let is_quarter = latin || ahead.eat("季度") || (ordinal && ahead.eat("季"));
    if !is_quarter {
        return None;
    }
    *cursor = ahead;
    Some(YearPart::Quarter(u8::try_from(number).ok()?))
}

fn month_of_year(cursor: &mut Cursor<'_>) -> Option<YearPart> {
    let mut ahead = *cursor;
    let month = small_number(&mut ahead, 12)?;
    ahead.skip_space();
    if !ahead.eat("月") {
        return None;
    }
    *cursor = ahead;
    ahead.skip_space();
    let Some(day) = day_of_month(&mut ahead) else {
        return Some(YearPart::Month(month));
    };
    *cursor = ahead;
    Some(YearPart::Day { month, day })
}

/// 15号, 15 日, 十五日; not the 3日 of 3日均.
fn day_of_month(cursor: &mut Cursor<'_>) -> Option<u8> {
    let mut ahead = *cursor;
    ahead.skip_space();
    let day = small_number(&mut ahead, 31)?;
    ahead.skip_space();
    if !ahead.eat_any(&["日", "号"]) || ahead.next_in("均线楼店") {
        return None;
    }
    *cursor = ahead;
    Some(day)
}

fn small_number(cursor: &mut Cursor<'_>, most: u8) -> Option<u8> {
    let number = numerals::read(cursor)?;
    u8::try_from(number).ok().filter(|number| (1..=most).contains(number))
}

/// 上半年 alone is this year's; after a year (2023年上半年) it is no relative date.
fn half(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    let half = cursor.eat_entry(&[("上半年", 1), ("下半年", 2)])?;
    if false_friends::of_half(start) {
        return None;
    }
    Some((cursor.at, Meaning::InYear { year: 0, part: YearPart::Half(half) }, OPEN))
}

/// A length of time: 三天, 2 周, 3个月, 半年. Half a month is counted as fifteen days.
fn length(cursor: &mut Cursor<'_>) -> Option<(i64, Unit)> {
    let halves =
        [("半年", (6, Unit::Month)), ("半个月", (15, Unit::Day)), ("半月", (15, Unit::Day))];
    if let Some(half) = cursor.eat_entry(&halves) {
        return Some(half);
    }
    let count = numerals::read(cursor).filter(|count| *count > 0)?;
    cursor.skip_space();
    let units = [
        ("天", Unit::Day),
        ("日", Unit::Day),
        ("周", Unit::Week),
        ("星期", Unit::Week),
        ("个星期", Unit::Week),
        ("礼拜", Unit::Week),
        ("个礼拜", Unit::Week),
        ("个月", Unit::Month),
        ("个季度", Unit::Quarter),
        ("年", Unit::Year),
    ];
    Some((count, cursor.eat_entry(&units)?))
}

/// 三天前, 两周后, 半年前. Weeks are counted as seven days each.
fn ago(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    if false_friends::of_number(start) {
        return None;
    }
    let (count, unit) = length(&mut cursor)?;
    let after_length = cursor;
    cursor.skip_space();
    let before = cursor.eat_any(&["之前", "以前", "前"]);
    if !before && !cursor.eat_any(&["之后", "以后", "后"]) {
        return None;
    }
    if false_friends::of_ago(start, after_length, cursor, before, count) {
        return None;
    }
    let (count, unit) =
        if unit == Unit::Week { (count.checked_mul(7)?, Unit::Day) } else { (count, unit) };
    let offset = if before { -count } else { count };
    Some((cursor.at, Meaning::Whole { unit, offset }, LIKELY))
}

/// 最近7天, 近三个月, 过去一年. A single day (最近一天) may be any one, and stays.
fn rolling(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    if !cursor.eat_any(&["最近", "近", "过去"]) || false_friends::of_recent(start) {
        return None;
    }
    cursor.eat("的");
    cursor.eat("这");
    cursor.skip_space();
    let (count, unit) = length(&mut cursor)?;
    if (count, unit) == (1, Unit::Day) || false_friends::of_length(cursor, unit) {
        return None;
    }
    let mut ahead = cursor;
    let has_tail = ahead.eat_any(&["以内", "之内", "以来", "内", "来", "里", "中", "间"]);
    if has_tail && !false_friends::of_tail(cursor) {
        cursor = ahead;
    }
    Some((cursor.at, Meaning::Rolling { count, unit }, LIKELY))
}

fn to_date(mut cursor: Cursor<'_>) -> Option<Reading> {
    let start = cursor;
    let unit = cursor.eat_entry(&TO_DATE)?;
    // 2023年初至今 and 去年年初至今 start elsewhere; 日本月初 is not 本月.
    if start.behind_in(1, "年月去前日0123456789") {
        return None;
    }
    Some((cursor.at, Meaning::ToDate(unit), CLEAR))
}
