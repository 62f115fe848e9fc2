//! Text as BM25 sees it, for documents and queries alike.
//!
//! Words come from qdrant-edge's multilingual tokenizer: jieba for Chinese, an English stemmer
//! for the rest. One setting serves both languages, because one text often holds both, and a
//! term must come out the same on either side. Three things are added to it:
//! traditional characters are folded to simplified ones, which share no term otherwise; numbers,
//! which the tokenizer drops, are appended as words; and the stop words are the function and
//! question words of Chinese, not the engine's list, which also drops 安全, 任务 and 规定.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use qdrant_edge::SparseVector;
use qdrant_edge::bm25_embed::{EdgeBm25, EdgeBm25Config};
use serde_json::json;

use crate::error::{Error, Result};

/// Pairs of a traditional and a simplified character.
static SIMPLIFIED: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let lines = include_str!("simplified.txt").lines().filter(|line| !line.starts_with('#'));
    let pair = |pair: &str| {
        let mut characters = pair.chars();
        Some((characters.next()?, characters.next()?))
    };
    lines.flat_map(str::split_whitespace).filter_map(pair).collect()
});

/// Function and question words of Chinese: they say nothing about what a passage is about, and
/// the question words are rare in passages, so that IDF alone would make much of them.
const CHINESE_STOP_WORDS: &str = "的 地 得 了 着 过 吗 呢 吧 啊 呀 嘛 啦 哦 哪 么 之 其 是 在 有 \
    和 与 及 或 而 且 但 也 都 就 还 又 再 很 太 更 最 把 被 让 给 对 从 到 向 由 于 以 为 \
    我 你 您 他 她 它 我们 你们 他们 她们 它们 咱们 自己 这 那 这个 那个 这些 那些 这里 那里 \
    这样 那样 什么 啥 怎么 怎样 怎么样 如何 为什么 为何 哪个 哪些 哪里 哪儿 谁 何时 多少 几 \
    是否 是不是 有没有 能不能 可不可以 请 请问 一下 一个 一些 因为 所以 如果 但是 而且 以及 \
    或者 还是 然后 关于 对于";

/// The terms of a query never depend on a collection, so one embedder serves all.
static QUERY_EMBEDDER: LazyLock<Result<EdgeBm25, String>> =
    LazyLock::new(|| bm25(super::super::corpus::DEFAULT_AVERAGE_TERMS));

/// Weighs the terms of documents against a collection's average length.
pub(super) struct DocumentEmbedder(EdgeBm25);

impl DocumentEmbedder {
    pub(super) fn new(average_terms: f64) -> Result<Self> {
        bm25(average_terms.max(1.0)).map(Self).map_err(Error::internal)
    }

    pub(super) fn embed(&self, text: &str) -> SparseVector {
        self.0.embed_document(&prepare(text))
    }
}

/// The terms of a query, each with weight 1. Empty when the text has no words.
pub(super) fn embed_query(text: &str) -> Result<SparseVector> {
    match &*QUERY_EMBEDDER {
        Ok(embedder) => Ok(embedder.embed_query(&prepare(text))),
        Err(error) => Err(Error::internal(error.clone())),
    }
}

/// What a chunk is found by: its document's title, the headings above it, and its text.
pub fn lexical_text(title: Option<&str>, heading: Option<&str>, text: &str) -> String {
    let parts = [title, heading, Some(text)];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The number of terms of a text, near enough for an average and without segmenting it: a
/// Chinese word has 1.6 characters or so.
pub fn estimate_terms(text: &str) -> usize {
    let n_han = text.chars().filter(|character| is_han(*character)).count();
    let words = text.split(|character: char| !character.is_alphanumeric() || is_han(character));
    n_han * 5 / 8 + words.filter(|word| !word.is_empty()).count()
}

/// Folds traditional characters to simplified ones. Several traditional characters may become
/// one, which is harmless where both sides of a comparison are folded.
pub fn fold_script(text: &str) -> String {
    text.chars().map(|character| *SIMPLIFIED.get(&character).unwrap_or(&character)).collect()
}

fn prepare(text: &str) -> String {
    let mut folded = fold_script(text);
    let numbers = numbers(&folded);
    folded.push_str(&numbers);
    folded
}

/// The numbers of a text as words that the tokenizer keeps: `3.5` becomes `n3p5`, `1,200`
/// becomes `n1200`.
fn numbers(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let digit = |place: usize| characters.get(place).copied().and_then(ascii_digit);
    let mut words = String::new();
    let mut place = 0;
    while place < characters.len() {
        let Some(first) = digit(place) else {
            place += 1;
            continue;
        };
        words.push_str(" n");
        words.push(first);
        place += 1;
        loop {
            if let Some(next) = digit(place) {
                words.push(next);
                place += 1;
            } else if characters.get(place) == Some(&'.') && digit(place + 1).is_some() {
                words.push('p');
                place += 1;
            } else if characters.get(place) == Some(&',') && groups_thousands(&digit, place) {
                place += 1;
            } else {
                break;
            }
        }
    }
    words
}

/// Whether a comma stands before exactly three digits.
fn groups_thousands(digit: &impl Fn(usize) -> Option<char>, comma: usize) -> bool {
    (1..=3).all(|step| digit(comma + step).is_some()) && digit(comma + 4).is_none()
}

/// A digit as ASCII; full-width digits count as digits.
fn ascii_digit(character: char) -> Option<char> {
    match character {
        '0'..='9' => Some(character),
        '\u{ff10}'..='\u{ff19}' => {
            char::from_digit(u32::from(character) - u32::from('\u{ff10}'), 10)
        }
        _ => None,
    }
}

fn is_han(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// The engine's types for stop words are not exported, so its settings are read from JSON.
fn bm25(average_terms: f64) -> Result<EdgeBm25, String> {
    let custom: Vec<&str> = CHINESE_STOP_WORDS.split_whitespace().collect();
    let config: EdgeBm25Config = serde_json::from_value(json!({
        "avg_len": average_terms,
        "tokenizer": "multilingual",
        "language": "english",
        "stopwords": { "languages": ["english"], "custom": custom },
    }))
    .map_err(|error| describe(&error))?;
    EdgeBm25::new(config).map_err(|error| describe(&error))
}

fn describe(error: &impl std::fmt::Display) -> String {
    let mut text = String::from("failed to set up BM25: ");
    // Writing to a string cannot fail.
    let _ = write!(text, "{error}");
    text
}

#[cfg(test)]
mod tests {
    use super::{SIMPLIFIED, embed_query, estimate_terms, fold_script, lexical_text, numbers};

    #[test]
    fn folding_is_a_function_of_characters() {
        let cases = [
            ("馬祖列島", "马祖列岛"),
            ("頭髮與發展", "头发与发展"),
            ("後來在臺灣", "后来在台湾"),
            ("著名的藉口", "著名的藉口"),
            ("CRM系統 🙂", "CRM系统 🙂"),
            ("日本語のテスト", "日本语のテスト"),
            ("", ""),
        ];
        for (text, folded) in cases {
            assert_eq!(fold_script(text), folded);
            assert_eq!(fold_script(folded), folded, "twice is once");
        }
        assert!(SIMPLIFIED.len() > 2_800);
        assert!(SIMPLIFIED.values().all(|simple| !SIMPLIFIED.contains_key(simple)));
    }

    #[test]
    fn numbers_become_words() {
        let cases = [
            ("2024年第3季度", " n2024 n3"),
            ("3.5 和 1.2.3", " n3p5 n1p2p3"),
            ("1,200,000 与 1,2", " n1200000 n1 n2"),
            ("iPhone15 ２０２４", " n15 n2024"),
            ("完。5.", " n5"),
            ("没有", ""),
        ];
        for (text, words) in cases {
            assert_eq!(numbers(text), words, "{text}");
        }
    }

    #[test]
    fn the_estimate_is_near_the_terms_of_the_tokenizer() {
        let texts = [
            "客户画像系统支持按地区统计销售额并生成年度预算分析报告",
            "Network security policies apply to employees, contractors and visiting partners",
        ];
        for text in texts {
            let real = embed_query(text).unwrap().indices.len() as f64;
            let ratio = estimate_terms(text) as f64 / real;
            assert!((0.6..1.7).contains(&ratio), "{ratio} for {text}");
        }
        assert_eq!(estimate_terms(" 。！🙂"), 0);
    }

    #[test]
    fn a_chunk_is_found_by_its_title_and_headings_too() {
        assert_eq!(lexical_text(Some("标题"), Some("A > B"), "正文"), "标题\nA > B\n正文");
        assert_eq!(lexical_text(None, Some(""), "正文"), "正文");
    }

    #[test]
    fn hostile_text_makes_terms_or_none_but_never_a_panic() {
        let long = "龘".repeat(20_000);
        let digits = "9".repeat(20_000);
        let mixed = "a\u{0}\u{202e}\u{fffd}中\u{301}".repeat(500);
        for text in [long.as_str(), &digits, &mixed, "\u{feff}", "....,,,,1,,,.2"] {
            embed_query(text).unwrap();
        }
    }
}
