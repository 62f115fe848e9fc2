//! Which language a text is in and what its words are, as far as rules need to know.
//!
//! There is no segmenter and no tagger here: closed word lists and scripts are enough to see
//! what a query leaves out, cost microseconds, and say the same thing every time.

pub mod chinese;
mod chinese_words;
pub mod english;
mod english_words;

use std::ops::Range;

use super::conversation::Span;
use super::text::to_simplified;

/// The languages that the rules know; everything else is left to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    Chinese,
    English,
    Other,
}

/// A text ready to be read by position: every index below counts Unicode scalar values.
#[derive(Debug, Clone)]
pub struct Text {
    pub chars: Vec<char>,
    /// The same letters in lower case and simplified script, one for one.
    pub folded: Vec<char>,
    /// Quoted pieces and code, quote marks included, in order.
    pub quoted: Vec<Range<usize>>,
}

impl Text {
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let folded = chars.iter().map(|&letter| fold_letter(letter)).collect();
        let quoted = quoted(&chars);
        Self { chars, folded, quoted }
    }

    /// The original words between two positions; positions beyond the end are cut off.
    pub fn slice(&self, start: usize, end: usize) -> String {
        let end = end.min(self.chars.len());
        self.chars[start.min(end)..end].iter().collect()
    }

    pub fn span(&self, start: usize, end: usize) -> Span {
        Span { start, end, text: self.slice(start, end) }
    }

    /// Whether the folded text continues with `word` at `position`.
    pub fn starts_with(&self, position: usize, word: &str) -> bool {
        let mut letters = self.folded.iter().skip(position);
        word.chars().all(|letter| letters.next() == Some(&letter))
    }

    /// Like [`Self::longest`], for a list whose words are parted by white space.
    pub fn longest_of<'a>(&self, position: usize, words: &'a str) -> Option<&'a str> {
        let matching = words.split_whitespace().filter(|word| self.starts_with(position, word));
        matching.max_by_key(|word| word.len())
    }

    /// Whether any of the words, parted by white space, stands anywhere in the folded text.
    pub fn mentions_any(&self, words: &str) -> bool {
        (0..self.chars.len()).any(|position| self.longest_of(position, words).is_some())
    }

    /// The longest of `words` that the folded text continues with at `position`.
    pub fn longest<'a>(&self, position: usize, words: &[&'a str]) -> Option<&'a str> {
        let matching = words.iter().filter(|word| self.starts_with(position, word));
        matching.max_by_key(|word| word.chars().count()).copied()
    }
}

/// A text in one script and case, so that the two writings of a word compare equal.
pub fn fold(text: &str) -> String {
    text.chars().map(fold_letter).collect()
}

fn fold_letter(letter: char) -> char {
    match letter {
        // 甚麼 is 什么, 咧 is a regional 呢.
        '甚' => '什',
        '咧' => '呢',
        _ if letter.is_ascii() => letter.to_ascii_lowercase(),
        _ => one_lower_case(to_simplified(letter)),
    }
}

/// Lower case where it is one letter too, so that positions stay valid.
fn one_lower_case(letter: char) -> char {
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) => small,
        _ => letter,
    }
}

/// The language in which a text asks. Product names in another script do not change it:
/// `CRM系统怎么用` is Chinese, `what does 你好 mean` is English.
pub fn of(text: &str) -> Language {
    let mut counts = ScriptCounts::default();
    let mut inside_latin_word = false;
    for letter in text.chars() {
        let latin = is_latin(letter);
        counts.latin_words += usize::from(latin && !inside_latin_word);
        inside_latin_word = latin || (inside_latin_word && matches!(letter, '\'' | '’'));
        counts.latin_letters += usize::from(latin);
        counts.han += usize::from(is_han(letter));
        counts.kana += usize::from(is_kana(letter));
        counts.other += usize::from(letter.is_alphabetic() && !latin && !is_han(letter));
    }
    counts.language(text)
}

/// Chinese characters, extensions and the iteration mark included; not kana, not punctuation.
pub fn is_han(letter: char) -> bool {
    matches!(letter,
        '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{323AF}' | '々' | '〇')
}

/// Letters of the Latin script, accented ones included.
pub fn is_latin(letter: char) -> bool {
    letter.is_ascii_alphabetic()
        || (matches!(letter, '\u{00C0}'..='\u{024F}' | '\u{1E00}'..='\u{1EFF}')
            && letter.is_alphabetic())
}

/// Where quoted text and code stand, quote marks included: its words are names, never
/// pronouns. An opening mark that is never closed quotes nothing.
pub fn quoted(chars: &[char]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut position = 0;
    while position < chars.len() {
        let close = closing_mark(chars[position])
            .and_then(|mark| chars[position + 1..].iter().position(|&letter| letter == mark));
        match close {
            Some(length) => {
                let end = position + length + 2;
                ranges.push(position..end);
                position = end;
            }
            None => position += 1,
        }
    }
    ranges
}

fn closing_mark(open: char) -> Option<char> {
    Some(match open {
        '「' => '」',
        '『' => '』',
        '《' => '》',
        '〈' => '〉',
        '“' => '”',
        '‘' => '’',
        '【' => '】',
        '"' | '`' => open,
        _ => return None,
    })
}

fn is_kana(letter: char) -> bool {
    matches!(letter, '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}')
}

#[derive(Default)]
struct ScriptCounts {
    han: usize,
    kana: usize,
    latin_words: usize,
    latin_letters: usize,
    other: usize,
}

impl ScriptCounts {
    fn language(&self, text: &str) -> Language {
        // Kana marks Japanese, whose kanji are not Chinese sentences.
        if self.kana > 1 && self.kana * 4 >= self.han || self.other > self.han + self.latin_letters
        {
            return Language::Other;
        }
        if self.han > 0 && (!english::has_frame(text) || self.han * 2 >= self.latin_words * 3) {
            return Language::Chinese;
        }
        if self.latin_letters > 0 { Language::English } else { Language::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_that_of_the_sentence_and_not_of_its_names() {
        let cases = [
            ("CRM系统怎么用", Language::Chinese),
            ("iPhone 15 Pro Max 多少钱", Language::Chinese),
            ("React Native App 打包", Language::Chinese),
            ("這個功能怎麼用?", Language::Chinese),
            ("what does 你好 mean", Language::English),
            ("How do I use the 线索打分 feature in Yunfan CRM?", Language::English),
            ("show me the numbers", Language::English),
            ("使い方を教えてください", Language::Other),
            ("как это работает", Language::Other),
            ("어떻게 사용하나요", Language::Other),
            ("2024-06-01", Language::Other),
            ("", Language::Other),
            ("😀😀", Language::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn folding_keeps_every_position() {
        let text = Text::new("İ這個CRM系統É甚麼");
        assert_eq!(text.chars.len(), text.folded.len());
        assert_eq!(text.folded[1..].iter().collect::<String>(), "这个crm系统é什么");
        assert_eq!(text.slice(3, 99), "CRM系統É甚麼");
        assert_eq!(text.slice(99, 3), "");
        assert_eq!(text.longest(1, &["这", "这个", "那个"]), Some("这个"));
        assert_eq!(text.longest(99, &["这"]), None);
    }

    #[test]
    fn only_closed_quotes_quote() {
        let chars: Vec<char> = "读《它》和`this`，再看“那个".chars().collect();
        assert_eq!(quoted(&chars), vec![1..4, 5..11]);
        assert!(quoted(&['"']).is_empty());
    }
}
