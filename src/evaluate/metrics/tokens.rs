//! A text as tokens. Every figure has its own way to split, and a figure is only comparable with
//! published ones under the same way.

use serde::{Deserialize, Serialize};

/// How BLEU splits a line: sacrebleu 2.6's tokenizers of these names. (Its others need a
/// dictionary or a model, or Unicode's general categories: `intl`, the one of mteval-v14.pl.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Tokenizer {
    /// mteval-v13a.pl's, the usual one for languages with spaces, and the one inside
    /// multi-bleu-detok.perl.
    #[default]
    #[serde(rename = "13a")]
    Mteval13a,
    /// Each Chinese character and full-width sign by itself, the rest as in `13a`.
    #[serde(rename = "zh")]
    Chinese,
    /// Each character by itself, white space dropped.
    #[serde(rename = "char")]
    Characters,
    /// At white space only: for text that is tokenized already.
    #[serde(rename = "none")]
    None,
}

impl Tokenizer {
    /// sacrebleu's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mteval13a => "13a",
            Self::Chinese => "zh",
            Self::Characters => "char",
            Self::None => "none",
        }
    }

    /// The tokens of a line, none of them empty.
    pub fn tokens(self, line: &str) -> Vec<String> {
        match self {
            // Only white space at the ends is dropped before the rules for signs see the line; it
            // decides what a `-` before the last line break does.
            Self::Mteval13a => split(&parted_signs(&unescaped(line.trim_end_matches(is_space)))),
            Self::Chinese => split(&parted_signs(&parted_chinese(line.trim_matches(is_space)))),
            Self::Characters => characters(line),
            Self::None => split(line),
        }
    }
}

/// Each character of a text, white space dropped: the tokens that the Chinese rewriting papers
/// count.
pub fn characters(text: &str) -> Vec<String> {
    text.chars().filter(|c| !is_space(*c)).map(String::from).collect()
}

/// The words that ROUGE counts (rouge-score without a stemmer): runs of ASCII letters and digits of
/// the lowercased text; every other letter parts words and is lost.
pub fn rouge_words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).map(String::from).collect()
}

/// What Python calls white space: Unicode's, and the four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn split(line: &str) -> Vec<String> {
    line.split(is_space).filter(|token| !token.is_empty()).map(String::from).collect()
}

/// The part of mteval-v13a.pl that any language takes: tags, line breaks, SGML's escapes. In this
/// order, which lets `&amp;lt;` become `<`. Signs at the ends of a line are parted as inside it.
fn unescaped(line: &str) -> String {
    let line = line.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let line = line.replace("&quot;", "\"").replace("&amp;", "&");
    format!(" {} ", line.replace("&lt;", "<").replace("&gt;", ">"))
}

/// The part of mteval-v13a.pl for Western languages, its four substitutions one after the other:
/// most ASCII signs by themselves; points and commas too unless between digits; a dash after a
/// digit.
fn parted_signs(line: &str) -> String {
    let is_point = |c: char| c == '.' || c == ',';
    let is_digit = |c: char| c.is_ascii_digit();
    let line = parted_characters(line, is_sign);
    let line = parted_pairs(&line, |a, b| !is_digit(a) && is_point(b), ["", " "]);
    let line = parted_pairs(&line, |a, b| is_point(a) && !is_digit(b), [" ", ""]);
    parted_pairs(&line, |a, b| is_digit(a) && b == '-', ["", " "])
}

fn is_sign(c: char) -> bool {
    matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/')
}

fn parted_chinese(line: &str) -> String {
    parted_characters(line, is_chinese)
}

/// sacrebleu's ranges, as it compares them: where it means planes beyond U+FFFF it writes `\u20000`
/// and the like, which Python reads as U+2000 and a `0`. So one range is U+2001 to U+2A6D (quotes,
/// dashes, arrows and mathematical signs among them), and the rare characters
/// of the planes beyond are not parted.
fn is_chinese(c: char) -> bool {
    matches!(
        c,
        '\u{3400}'..='\u{4db5}'
            | '\u{4e00}'..='\u{9fbb}'
            | '\u{f900}'..='\u{fa2d}'
            | '\u{fa30}'..='\u{fa6a}'
            | '\u{fa70}'..='\u{fad9}'
            | '\u{2001}'..='\u{2a6d}'
            | '\u{2f00}'..='\u{2fdf}'
            | '\u{ff00}'..='\u{ffef}'
            | '\u{2e80}'..='\u{2eff}'
            | '\u{3000}'..='\u{303f}'
            | '\u{31c0}'..='\u{31ef}'
            | '\u{2ff0}'..='\u{2fff}'
            | '\u{3100}'..='\u{312f}'
            | '\u{31a0}'..='\u{31bf}'
            | '\u{fe10}'..='\u{fe1f}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{3200}'..='\u{33ff}'
    )
}

/// A space on both sides of each character of a kind.
fn parted_characters(line: &str, is_parted: fn(char) -> bool) -> String {
    let mut parted = String::with_capacity(2 * line.len());
    for c in line.chars() {
        if is_parted(c) {
            parted.extend([' ', c, ' ']);
        } else {
            parted.push(c);
        }
    }
    parted
}

/// A space inside each pair of neighbours, and `around` it. Pairs are found from left to right and
/// never overlap, as a substitution of regular expressions finds them.
fn parted_pairs(line: &str, is_pair: impl Fn(char, char) -> bool, around: [&str; 2]) -> String {
    let mut parted = String::with_capacity(2 * line.len());
    let mut rest = line.chars().peekable();
    while let Some(first) = rest.next() {
        if let Some(second) = rest.next_if(|second| is_pair(first, *second)) {
            parted.push_str(around[0]);
            parted.extend([first, ' ', second]);
            parted.push_str(around[1]);
        } else {
            parted.push(first);
        }
    }
    parted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(tokenizer: Tokenizer, line: &str) -> String {
        tokenizer.tokens(line).join("|")
    }

    #[test]
    fn signs_are_parted_but_numbers_stay_whole() {
        let mteval = |line| joined(Tokenizer::Mteval13a, line);
        assert_eq!(
            mteval("It's $1,234.50, or 3-4 (ca.)."),
            "It's|$|1,234.50|,|or|3|-|4|(|ca|.|)|."
        );
        assert_eq!(mteval("a well-known &quot;A&amp;B&quot;"), "a|well-known|\"|A|&|B|\"");
        assert_eq!(mteval("2026."), "2026|.");
        assert_eq!(mteval("wait..."), "wait|.|.|.");
    }

    #[test]
    fn chinese_characters_stand_alone_and_latin_words_stay_whole() {
        let chinese = |line| joined(Tokenizer::Chinese, line);
        assert_eq!(chinese("A380多少钱？"), "A380|多|少|钱|？");
        assert_eq!(chinese("“好”—3.5折"), "“|好|”|—|3.5|折");
        assert_eq!(chinese("𠀀𠀁"), "𠀀𠀁");
        assert_eq!(chinese("完2026."), "完|2026.");
    }

    #[test]
    fn characters_and_none_only_know_white_space() {
        assert_eq!(joined(Tokenizer::Characters, " 价 b.\u{3000}"), "价|b|.");
        assert_eq!(joined(Tokenizer::None, " a,b\u{1c}c "), "a,b|c");
        assert_eq!(rouge_words("Über-café's 3.5"), ["ber", "caf", "s", "3", "5"]);
    }
}
