//! Whole numbers in Arabic and Chinese numerals: 7, 十五, 两百, 三千零五.

use super::cursor::Cursor;

/// More digits than any date needs; longer runs are not numbers but noise.
const MOST_DIGITS: usize = 12;

/// Reads the number that stands at the cursor and moves past it. `None` for an inexact one
/// (两三, 三五), one that does not parse as a whole, and one of absurd length.
pub fn read(cursor: &mut Cursor<'_>) -> Option<i64> {
    let run: Vec<char> = cursor
        .chars
        .get(cursor.at..)?
        .iter()
        .copied()
        .take_while(|char| is_numeral(*char))
        .take(2 * MOST_DIGITS)
        .collect();
    let number = if run.iter().all(char::is_ascii_digit) { arabic(&run) } else { chinese(&run) };
    cursor.at += run.len();
    number
}

/// Whether the char can be part of a number, inexact ones included.
pub fn is_numeral(char: char) -> bool {
    char.is_ascii_digit() || digit(char).is_some() || multiplier(char).is_some()
}

fn arabic(run: &[char]) -> Option<i64> {
    if run.is_empty() || run.len() > MOST_DIGITS {
        return None;
    }
    run.iter().collect::<String>().parse().ok()
}

/// Sums sections of up to 千 and scales them by 万 and 亿; two digits in a row are inexact.
fn chinese(run: &[char]) -> Option<i64> {
    let (mut total, mut section) = (0_i64, 0_i64);
    let mut pending: Option<i64> = None;
    for char in run {
        if let Some(value) = digit(*char) {
            if pending.is_some_and(|before| before != 0) {
                return None;
            }
            pending = Some(value);
            continue;
        }
        let scale = multiplier(*char)?;
        if scale >= 10_000 {
            let counted = total.checked_add(section)?.checked_add(pending.take().unwrap_or(0))?;
            total = counted.checked_mul(scale).filter(|total| *total > 0)?;
            section = 0;
        } else {
            // A bare 十 is ten; a bare 百 (上百, 数百) is no number.
            let bare_ten = (scale == 10 && section == 0).then_some(1);
            section = section.checked_add(pending.take().or(bare_ten)?.checked_mul(scale)?)?;
        }
    }
    total.checked_add(section)?.checked_add(pending.unwrap_or(0))
}

fn digit(char: char) -> Option<i64> {
    let index = match char {
        '两' => return Some(2),
        '〇' => 0,
        _ => "零一二三四五六七八九".chars().position(|digit| digit == char)?,
    };
    i64::try_from(index).ok()
}

fn multiplier(char: char) -> Option<i64> {
    match char {
        '十' => Some(10),
        '百' => Some(100),
        '千' => Some(1_000),
        '万' => Some(10_000),
        '亿' => Some(100_000_000),
        _ => None,
    }
}
