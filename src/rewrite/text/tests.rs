//! Units and protected pieces, and the random texts that other tests feed on.

use super::*;
use crate::rewrite::conversation::{Glossary, Term};

/// A small deterministic generator (xorshift), so that a failure repeats.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A text of up to `pieces` pieces: words, hostile bits and arbitrary characters.
    pub fn text(&mut self, pieces: usize) -> String {
        const VOCABULARY: &[&str] = &[
            "客户",
            "画像",
            "的",
            "了",
            "不",
            "價格",
            "什么",
            "它",
            "开原",
            "3天前",
            "三个月",
            "CRM",
            "ERR-4012",
            "v2.3.1",
            "report.xlsx",
            "报告.pdf",
            "https://a.cn/x?y=(1)",
            "a@b.com",
            " ",
            "  ",
            "\n",
            "the ",
            "price ",
            "of ",
            "it's ",
            "not ",
            "features ",
            "O'Brien",
            "'",
            "\"",
            "“",
            "”",
            "「",
            "」",
            "《",
            "(",
            ")",
            "（",
            "）",
            ",",
            "，",
            ".",
            "?",
            "？",
            "<think>",
            "</think>",
            "<|im_end|>",
            "```",
            "\u{200b}",
            "\u{202e}",
            "e\u{301}",
            "\u{301}",
            "🙂",
            "👩\u{200d}💻",
            "1,000",
            "3.5%",
            "-5",
            "@",
            "_",
            "-",
            "１２",
            "ＡＢ",
            "مرحبا",
            "привет",
            "こんにちは",
            "ß",
            "İ",
            "\0",
            "\u{fffd}",
            "𠮷",
        ];
        let mut text = String::new();
        for _ in 0..self.below(pieces + 1) {
            if self.below(8) == 0 {
                text.extend(char::from_u32(self.below(0x11_0000) as u32));
            } else {
                text.push_str(VOCABULARY[self.below(VOCABULARY.len())]);
            }
        }
        text
    }
}

fn texts(text: &str) -> Vec<String> {
    units(text).into_iter().map(|unit| unit.text).collect()
}

fn pieces(query: &str, glossary: &Glossary) -> Vec<(ProtectedKind, String)> {
    protected(query, glossary).into_iter().map(|item| (item.kind, item.span.text)).collect()
}

#[test]
fn han_stand_alone_and_codes_stay_whole() {
    let cases: &[(&str, &[&str])] = &[
        ("CRM的客户", &["CRM", "的", "客", "户"]),
        ("报错ERR-4012怎么办", &["报", "错", "ERR-4012", "怎", "么", "办"]),
        ("升级v2.3.1，快", &["升", "级", "v2.3.1", "，", "快"]),
        ("3.5% of 1,000", &["3.5%", "of", "1,000"]),
        ("1,2,3", &["1", ",", "2", ",", "3"]),
        ("2024-06-25 10:30", &["2024-06-25", "10:30"]),
        ("-5度", &["-5", "度"]),
        ("see https://a.com/b?c=1.", &["see", "https://a.com/b?c=1", "."]),
        ("打开https://a.com吧", &["打", "开", "https://a.com", "吧"]),
        ("mail a.b@c.com now", &["mail", "a.b@c.com", "now"]),
        ("open report_q2.xlsx.", &["open", "report_q2.xlsx", "."]),
        ("covid-19.What", &["covid-19", ".", "What"]),
        ("Stan's don't O'Brien", &["Stan", "'s", "don", "'t", "O'Brien"]),
        ("state-of", &["state", "-", "of"]),
        ("C++ or c#", &["C++", "or", "c#"]),
        ("cafe\u{301} bar", &["cafe\u{301}", "bar"]),
        ("１２３ＡＢ", &["１２３ＡＢ"]),
    ];
    for (text, expected) in cases {
        assert_eq!(texts(text), *expected, "{text}");
    }
}

#[test]
fn keys_fold_width_case_script_and_endings() {
    let keys = |text: &str| units(text).into_iter().map(|unit| unit.key).collect::<Vec<_>>();
    for (left, right) in [
        ("ＣＲＭ", "crm"),
        ("價格", "价格"),
        ("1,000", "1000"),
        ("features", "feature"),
        ("studies", "study"),
        ("running", "run"),
        ("died", "die"),
        ("made-making", "made-make"),
        ("it’s", "it's"),
    ] {
        assert_eq!(keys(left), keys(right), "{left}");
    }
    assert_ne!(keys("thing"), keys("th"));
    assert_ne!(keys("bed"), keys("be"));
    assert_ne!(keys("3.5"), keys("35"));
}

#[test]
fn glue_is_no_content_and_negation_is() {
    for word in ["的", "了", "嗎", "與", "the", "The", "their", "besides", "yourself", "Stan's"]
    {
        let unit = units(word).pop().expect("a unit");
        assert!(is_function_unit(&unit), "{word}");
    }
    for word in ["不", "沒", "not", "never", "nothing", "价", "price", "3", "最", "$", "🚀"] {
        let unit = units(word).pop().expect("one unit");
        assert!(unit.is_content(), "{word}");
    }
    for word in ["don't", "nothing", "沒", "none"] {
        assert!(units(word).iter().any(is_negation), "{word}");
    }
}

#[test]
fn the_longest_phrase_of_politeness_is_found_as_whole_words() {
    assert_eq!(courtesies("请问帮我查一下"), [0..2, 2..7]);
    assert_eq!(courtesies("Could you tell me why").first(), Some(&(0..17)));
    assert!(courtesies("this whip").is_empty(), "hi stands in both");
    assert_eq!(question_frames("CRM怎么用").first(), Some(&(3..6)));
}

#[test]
fn what_must_survive_is_found() {
    use ProtectedKind::{Code, FileName, Number, Quote, Url};
    let none = Glossary::default();
    let cases: &[(&str, &[(ProtectedKind, &str)])] = &[
        ("搜“客户 画像”的文档", &[(Quote, "客户 画像")]),
        ("《三体》和「流浪地球」", &[(Quote, "三体"), (Quote, "流浪地球")]),
        ("what is 'net revenue' here", &[(Quote, "net revenue")]),
        ("what's Stan's and the Beatles' best", &[]),
        ("run `cargo test`", &[(Quote, "cargo test")]),
        ("涨了3.5%到1,000元", &[(Number, "3.5%"), (Number, "1,000")]),
        ("最近三个月和两周", &[(Number, "三个月"), (Number, "两周")]),
        ("一下 一个 十分 万一 这两个", &[]),
        ("ERR-4012在v2.3.1里", &[(Code, "ERR-4012"), (Code, "v2.3.1")]),
        ("看https://a.com/b和a@b.cn", &[(Url, "https://a.com/b"), (Url, "a@b.cn")]),
        ("打开report_q2.xlsx", &[(FileName, "report_q2.xlsx")]),
        ("这是我的年报.pdf", &[(FileName, "年报.pdf")]),
        ("未闭合的“引号", &[]),
    ];
    for (query, expected) in cases {
        let expected: Vec<_> =
            expected.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect();
        assert_eq!(pieces(query, &none), expected, "{query}");
    }
}

#[test]
fn glossary_terms_are_found_as_whole_words_in_any_case() {
    let term = |term: &str, aliases: &[&str]| Term {
        id: term.to_owned(),
        term: term.to_owned(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        senses: Vec::new(),
    };
    let glossary = Glossary {
        terms: vec![term("客户画像", &["用户画像"]), term("ARR", &["annual revenue", "", " "])],
    };
    let found = |query| pieces(query, &glossary).into_iter().map(|item| item.1).collect::<Vec<_>>();
    assert_eq!(found("用户画像和arr"), ["用户画像", "arr"]);
    assert_eq!(found("array of Annual  Revenue"), ["Annual  Revenue"]);
    assert!(found("画像").is_empty());
}

#[test]
fn scripts_are_told_apart_only_where_they_differ() {
    assert_eq!("这国语".chars().map(script_of).collect::<Vec<_>>(), [Some(Script::Simplified); 3]);
    assert_eq!("這國語".chars().map(script_of).collect::<Vec<_>>(), [Some(Script::Traditional); 3]);
    for character in "的人里后台云面只系游准aé🙂".chars() {
        assert_eq!(script_of(character), None, "{character}");
    }
    assert_eq!("馬祖列島裡".chars().map(to_simplified).collect::<String>(), "马祖列岛里");
}

#[test]
fn units_cover_every_visible_character_once_whatever_the_text() {
    let mut random = Random(7);
    for _ in 0..3_000 {
        let text = random.text(12);
        let chars: Vec<char> = text.chars().collect();
        let mut covered = vec![0; chars.len()];
        let mut end = 0;
        for unit in units(&text) {
            assert!(end <= unit.span.start && unit.span.start < unit.span.end, "{text:?}");
            end = unit.span.end;
            assert_eq!(unit.text, chars[unit.span.clone()].iter().collect::<String>(), "{text:?}");
            covered[unit.span].iter_mut().for_each(|count| *count += 1);
        }
        for (character, count) in chars.iter().zip(covered) {
            let hidden = fold(*character).is_whitespace() || is_invisible(*character);
            assert!(count == 1 || hidden, "{character:?} in {text:?}");
        }
        for item in protected(&text, &Glossary::default()) {
            let span = item.span.start..item.span.end;
            assert_eq!(item.span.text, chars[span].iter().collect::<String>(), "{text:?}");
        }
        assert_eq!(normalise(&normalise(&text)), normalise(&text), "{text:?}");
        courtesies(&text);
        question_frames(&text);
    }
}
