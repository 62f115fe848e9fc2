//! Takes words out of a question and mends the seams.

use crate::rewrite::conversation::Span;
use crate::rewrite::text::significant_units;

const BRACKETS: &[(char, char)] =
    &[('(', ')'), ('（', '）'), ('[', ']'), ('【', '】'), ('“', '”'), ('「', '」'), ('《', '》')];
/// What a removal leaves behind, and what it becomes.
const SEAMS: &[(&str, &str)] = &[
    ("  ", " "),
    (" ,", ","),
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" )", ")"),
    ("( ", "("),
    ("（ ", "（"),
    (" ）", "）"),
    ("“ ", "“"),
    ("《 ", "《"),
    (" ，", "，"),
    (" ？", "？"),
    (" 。", "。"),
    ("()", ""),
    ("（）", ""),
    ("[]", ""),
    ("【】", ""),
    ("“”", ""),
    ("「」", ""),
    ("《》", ""),
    ("\"\"", ""),
    (",,", ","),
    ("，，", "，"),
    ("、、", "、"),
    (",?", "?"),
    ("，？", "？"),
    (",.", "."),
    ("，。", "。"),
];
/// Words that promise another word: no question ends with one that the query does not
/// end with.
const DANGLING: &[&str] = &[
    "a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "or", "than",
    "the", "to", "with", "'s", "和", "与", "在", "对", "把", "被", "给", "从", "向", "以", "或",
];

/// `text` without `spans`, with doubled spaces, empty brackets and stray commas mended.
pub(super) fn without(text: &str, spans: &[&Span]) -> String {
    let is_cut = |index: usize| spans.iter().any(|span| (span.start..span.end).contains(&index));
    // Brackets stay at first, so that a pair that was cut through goes as an empty pair.
    let is_bracket =
        |mark: char| BRACKETS.iter().any(|(open, close)| [*open, *close].contains(&mark));
    let kept =
        text.chars().enumerate().filter(|(index, mark)| !is_cut(*index) || is_bracket(*mark));
    let mut mended: String = kept.map(|(_, character)| character).collect();
    while let Some((seam, whole)) = SEAMS.iter().find(|(seam, _)| mended.contains(seam)) {
        mended = mended.replace(seam, whole);
    }
    let stray = |character: char| character.is_whitespace() || ",，、;；".contains(character);
    mended.trim_matches(stray).to_owned()
}

/// Whether there are words left, every bracket closes, and nothing is left hanging.
pub(super) fn reads_as_text(query: &str, text: &str) -> bool {
    let units = significant_units(text);
    let Some(last) = units.last() else { return false };
    let ending = significant_units(query).pop().map(|unit| unit.key);
    let hangs = DANGLING.contains(&last.key.as_str()) && ending.as_ref() != Some(&last.key);
    !hangs && (is_balanced(text) || !is_balanced(query))
}

fn is_balanced(text: &str) -> bool {
    BRACKETS.iter().all(|(open, close)| {
        let mut depth = 0i64;
        let never_below = text.chars().all(|character| {
            depth += i64::from(character == *open) - i64::from(character == *close);
            depth >= 0
        });
        never_below && depth == 0
    })
}
