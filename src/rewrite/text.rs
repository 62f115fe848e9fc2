//! Cuts text into the units that a rewrite is compared by: one Han character, one
//! Latin word, one number, one code. Comparing units and not bytes makes the checks
//! blind to width, case and spacing, and keeps `ERR-4012` or `v2.3.1` in one piece.

use std::ops::Range;

mod protected;
mod scan;
mod script;
mod words;

#[cfg(test)]
pub(super) mod tests;

pub use protected::{Protected, ProtectedKind, protected};
pub use script::{Script, script_of, to_simplified};
pub use words::{courtesies, is_function_unit, is_negation, question_frames, stem};

/// What a unit is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitKind {
    /// One Han character.
    Han,
    /// Letters of any other script; `'s` and its like stand alone.
    Word,
    /// Digits with their separators and percent sign, dates and times included.
    Number,
    /// Letters mixed with digits or joined by `_`, URLs, e-mail addresses, file names.
    Code,
    /// One character of punctuation, a symbol or an emoji.
    Other,
}

/// One unit of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Where it stands, in chars.
    pub span: Range<usize>,
    /// As it was written.
    pub text: String,
    /// The form to compare by: width, case, word endings and script folded.
    pub key: String,
    pub kind: UnitKind,
}

impl Unit {
    /// Whether this is punctuation, which a rewrite may add and drop freely.
    /// Symbols that carry meaning (`$`, `%`, `+`, an emoji) are not.
    pub fn is_punctuation(&self) -> bool {
        self.kind == UnitKind::Other && self.key.chars().all(is_punctuation)
    }

    /// Whether this carries meaning of its own: no punctuation and no glue.
    pub fn is_content(&self) -> bool {
        !self.is_punctuation() && !is_function_unit(self)
    }
}

/// Cuts `text` into units. White space and invisible characters belong to none.
pub fn units(text: &str) -> Vec<Unit> {
    let chars: Vec<char> = text.chars().collect();
    scan::tokens(&chars)
        .into_iter()
        .map(|(span, kind)| {
            let text: String = chars[span.clone()].iter().collect();
            Unit { key: key_of(&text, kind), span, text, kind }
        })
        .collect()
}

/// The units of `text` without its punctuation.
pub fn significant_units(text: &str) -> Vec<Unit> {
    let mut found = units(text);
    found.retain(|unit| !unit.is_punctuation());
    found
}

/// Folds full-width forms to ASCII, capitals to small letters and curly apostrophes to
/// straight ones, drops invisible characters and collapses white space.
pub fn normalise(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for character in text.chars().filter(|&character| !is_invisible(character)).map(fold) {
        if !character.is_whitespace() {
            folded.push(character);
        } else if !folded.is_empty() && !folded.ends_with(' ') {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// Whether a character takes no room on the screen or steers its direction.
pub fn is_invisible(character: char) -> bool {
    let controls = character.is_control() && !character.is_whitespace();
    let hidden = matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
    controls || hidden
}

/// Whether a character is Chinese (CJK ideographs with their extensions).
pub fn is_han(character: char) -> bool {
    matches!(character,
        '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Folds one character, always to exactly one, so that positions stay what they were.
pub fn fold(character: char) -> char {
    let narrow = match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(character as u32 - 0xff01 + 0x21).unwrap_or(character)
        }
        '\u{3000}' => ' ',
        '\u{2018}' | '\u{2019}' | '\u{2bc}' | '\u{b4}' => '\'',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        other => other,
    };
    let mut lower = narrow.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(only), None) => only,
        _ => narrow,
    }
}

fn is_punctuation(character: char) -> bool {
    match character {
        '$' | '%' | '+' | '=' | '<' | '>' | '|' | '~' | '^' | '&' | '#' | '@' | '*' | '\\' => false,
        '\u{2030}' | '\u{2031}' => false,
        other => {
            other.is_ascii_punctuation()
                || matches!(other,
                    '\u{a1}' | '\u{a7}' | '\u{ab}' | '\u{b6}' | '\u{b7}' | '\u{bb}' | '\u{bf}'
                    | '\u{2010}'..='\u{205e}' | '\u{3001}'..='\u{3003}'
                    | '\u{3008}'..='\u{301f}' | '\u{30fb}' | '\u{fe10}'..='\u{fe4f}' | '\u{ff61}'..='\u{ff65}')
        }
    }
}

fn key_of(text: &str, kind: UnitKind) -> String {
    let folded = text.chars().filter(|&character| !is_invisible(character)).map(fold);
    match kind {
        UnitKind::Han => folded.map(to_simplified).collect(),
        UnitKind::Word => stem(&folded.collect::<String>()),
        UnitKind::Number => folded.filter(|&character| character != ',').collect(),
        UnitKind::Code | UnitKind::Other => folded.collect(),
    }
}
