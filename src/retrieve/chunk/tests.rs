//! Chunks of real shapes, and the promises of [`chunk`] over random documents.

use std::cell::Cell;

use super::*;
use crate::retrieve::parse::{Format, Heading, parse};

const LIMITS: ChunkLimits = ChunkLimits { max_tokens: 60, min_tokens: 12, overlap_tokens: 0 };

/// Han characters one by one, other words 1.3 tokens each: about what tokenizers make of text.
fn count(text: &str) -> usize {
    let han = text.chars().filter(|c| *c >= '\u{2e80}').count();
    let is_gap = |c: char| c.is_whitespace() || c >= '\u{2e80}';
    let words = text.split(is_gap).filter(|word| !word.is_empty()).count();
    han + (words * 13).div_ceil(10)
}

fn chunk_markdown(markdown: &str, limits: ChunkLimits) -> Vec<Chunk> {
    let document = parse(Format::Markdown, markdown.as_bytes()).unwrap();
    let chunks = chunk(&document, "后备", limits, &count);
    check(&document, &chunks, limits, &count);
    chunks
}

fn texts(chunks: &[Chunk]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk.text.as_str()).collect()
}

/// Everything that holds for every document.
fn check(
    document: &ParsedDocument,
    chunks: &[Chunk],
    limits: ChunkLimits,
    count: &dyn Fn(&str) -> usize,
) {
    let chars: Vec<char> = document.text.chars().collect();
    let mut covered = vec![false; chars.len()];
    for (ordinal, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.ordinal, ordinal);
        let slice: String = chars[chunk.start..chunk.end].iter().collect();
        assert_eq!(chunk.text, slice);
        assert!(!chunk.text.trim().is_empty());
        let is_one = chunk.text.chars().count() == 1;
        assert!(is_one || count(&chunk.text) <= limits.max_tokens, "{limits:?} {chunk:?}");
        assert_eq!(chunk.hash, hash(&chunk.text));
        covered[chunk.start..chunk.end].fill(true);
    }
    for pair in chunks.windows(2) {
        assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end, "{pair:?}");
        assert!(limits.overlap_tokens > 0 || pair[0].end <= pair[1].start, "{pair:?}");
    }
    let missing = (0..chars.len()).find(|at| !covered[*at] && !chars[*at].is_whitespace());
    assert_eq!(missing, None, "{:?}", document.text);
}

#[test]
fn sentences_end_where_a_reader_would_end_them() {
    let cases: [(&str, &[&str]); 14] = [
        ("今天下雨。明天呢？好！走", &["今天下雨。", "明天呢？", "好！", "走"]),
        ("他说：“走吧。”然后走了。", &["他说：“走吧。”", "然后走了。"]),
        ("繁體中文；一樣可以。」好", &["繁體中文；", "一樣可以。」", "好"]),
        ("Use v1.2.3. Then 3.14 is ok.", &["Use v1.2.3. ", "Then 3.14 is ok."]),
        ("See e.g. Fig. 3 by J. Smith. Done!", &["See e.g. Fig. 3 by J. Smith. ", "Done!"]),
        ("Open https://a.com/x?y=1.2&z. Go", &["Open https://a.com/x?y=1.2&z. ", "Go"]),
        ("Really?! (Yes.) Ok...", &["Really?! ", "(Yes.) ", "Ok..."]),
        ("approx. five items. two", &["approx. five items. two"]),
        ("1. 安装\n2. 配置", &["1. 安装\n", "2. 配置"]),
        ("运行 foo.然后重启", &["运行 foo.", "然后重启"]),
        ("第3.2节。见file.txt文件", &["第3.2节。", "见file.txt文件"]),
        ("a\n\n\n  b", &["a\n\n\n  ", "b"]),
        ("。。。", &["。。。"]),
        ("", &[]),
    ];
    for (text, expected) in cases {
        let found: Vec<&str> = sentences(text).map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn sections_become_chunks_under_their_headings() {
    let body = "这里有足够多的文字可以单独成为一段。";
    let source = format!("# 手册\n\n## 安装\n\n{body}\n\n### Linux\n\n{body}\n\n## 卸载\n\n{body}");
    let chunks = chunk_markdown(&source, LIMITS);
    let titles: Vec<&str> = chunks.iter().map(|chunk| chunk.title.as_str()).collect();
    assert_eq!(titles, ["手册 › 安装", "手册 › 安装 › Linux", "手册 › 卸载"]);
    assert_eq!(chunks[0].text, format!("手册\n\n安装\n\n{body}"));
    assert_eq!(chunks[2].text, format!("卸载\n\n{body}"));
}

#[test]
fn headings_are_crossed_only_by_tiny_siblings_and_downwards() {
    let long = "一二三四五六七八九十一二三四五六七八九十。";
    let source = format!(
        "# D\n\n{long}\n\n## A\n\n短。\n\n## B\n\n短。\n\n## C\n\n{long}\n\n# E\n\n短。\n\n# F\n\n短。"
    );
    let chunks = chunk_markdown(&source, LIMITS);
    // The short first section joins the introduction above it; C is not tiny; E and F are.
    let expected = [
        format!("D\n\n{long}\n\nA\n\n短。"),
        "B\n\n短。".to_owned(),
        format!("C\n\n{long}"),
        "E\n\n短。\n\nF\n\n短。".to_owned(),
    ];
    assert_eq!(texts(&chunks), expected);
    assert_eq!(chunks[3].title, "D");
}

#[test]
fn long_sections_break_between_paragraphs_then_sentences() {
    let paragraph = |c: char| format!("{}。", c.to_string().repeat(39));
    let source = format!("# 题\n\n{}\n\n{}", paragraph('甲'), paragraph('乙'));
    let chunks = chunk_markdown(&source, LIMITS);
    assert_eq!(texts(&chunks), [format!("题\n\n{}", paragraph('甲')), paragraph('乙')]);

    let sentence = "这一句话一共有十五个汉字那么长。";
    let chunks = chunk_markdown(&sentence.repeat(9), LIMITS);
    assert!(chunks.len() >= 3);
    assert!(chunks.iter().all(|chunk| chunk.text.ends_with('。')), "{:?}", texts(&chunks));
    assert_eq!(chunks[0].title, "后备");
}

#[test]
fn a_sentence_that_is_too_long_is_cut_between_words_or_characters() {
    let words = "lorem ipsum dolor ".repeat(60);
    let chunks = chunk_markdown(&words, LIMITS);
    assert!(chunks.iter().all(|chunk| chunk.text.split(' ').all(|word| words.contains(word))));
    assert!(chunks.len() <= 6, "{}", chunks.len());
    let joiners = ['\u{200d}', '\u{301}'];
    for max_tokens in 8..40 {
        let limits = ChunkLimits { max_tokens, ..LIMITS };
        let chunks = chunk_markdown(&"👩‍💻e\u{301}".repeat(50), limits);
        assert!(chunks.iter().all(|it| !it.text.starts_with(joiners)), "{:?}", texts(&chunks));
    }
}

#[test]
fn code_and_tables_stay_whole_where_they_fit() {
    let prose = "说明文字说明文字说明文字说明文字说明文字。".repeat(2);
    let code = "fn main() {\n\n    let a = 1;\n    let b = 2;\n\n    println!(\"{a} {b}\");\n}";
    let table = "| 名 | 值 |\n|-|-|\n| 甲 | 一二三四五 |\n| 乙 | 一二三四五 |";
    let chunks =
        chunk_markdown(&format!("{prose}\n\n```\n{code}\n```\n\n{prose}\n\n{table}"), LIMITS);
    let rows = "名 | 值\n甲 | 一二三四五\n乙 | 一二三四五";
    let whole = |block: &str| chunks.iter().any(|chunk| chunk.text.contains(block));
    assert!(whole(code) && whole(rows), "{:?}", texts(&chunks));

    let code: String =
        (0..60).map(|line| format!("    let value_{line} = call({line});\n")).collect();
    let chunks = chunk_markdown(&format!("```\n{code}```"), LIMITS);
    assert!(chunks.len() > 3);
    assert!(
        chunks.iter().all(|chunk| chunk.text.starts_with("    let") && chunk.text.ends_with(';'))
    );
}

#[test]
fn what_leads_in_goes_with_what_follows() {
    let prose = "说明文字说明文字说明文字说明文字。";
    let code = "one two three four five six\n".repeat(5);
    let chunks =
        chunk_markdown(&format!("{prose}\n\n{prose}\n\n运行命令：\n\n```\n{code}```"), LIMITS);
    assert!(chunks[1].text.starts_with("运行命令：\n\none"), "{:?}", texts(&chunks));
    assert_eq!(chunks.len(), 2);

    let source = format!("# 长\n\n## 标题\n\n{}", "甲乙丙丁戊己庚辛壬癸。".repeat(12));
    let chunks = chunk_markdown(&source, LIMITS);
    assert!(
        chunks[0].text.chars().count() > 20,
        "no chunk of headings alone: {:?}",
        texts(&chunks)
    );
}

#[test]
fn a_short_rest_takes_from_the_chunk_before() {
    let sentence = "这里是一个十个字的句子。";
    let source = format!("{}\n\n尾巴。", [sentence; 5].join(""));
    let chunks = chunk_markdown(&source, LIMITS);
    assert_eq!(chunks.len(), 2);
    assert!(count(&chunks[1].text) >= LIMITS.min_tokens, "{:?}", texts(&chunks));
}

#[test]
fn overlap_repeats_whole_sentences_of_the_same_section() {
    let limits = ChunkLimits { overlap_tokens: 15, ..LIMITS };
    let sentence = |number: usize| format!("第{number}句一共十个汉字啊。");
    let source: String = (0..20).map(sentence).collect();
    let chunks = chunk_markdown(&format!("# 甲\n\n{source}\n\n# 乙\n\n{source}"), limits);
    let mut overlaps = 0;
    for pair in chunks.windows(2).filter(|pair| pair[1].start < pair[0].end) {
        assert_eq!(pair[0].title, pair[1].title);
        let shared: String = pair[1].text.chars().take(pair[0].end - pair[1].start).collect();
        assert!(shared.starts_with('第') && shared.ends_with('。'), "{shared}");
        overlaps += 1;
    }
    assert_eq!(overlaps, chunks.len() - 2, "all but the first of each section");

    let code = "one two\n".repeat(20);
    let chunks = chunk_markdown(&format!("```\n{code}```\n\n{source}"), limits);
    let prose = chunks.iter().find(|chunk| chunk.text.contains('第')).unwrap();
    assert!(prose.text.starts_with('第'), "code is not repeated: {prose:?}");
}

#[test]
fn offsets_that_make_no_sense_are_survived() {
    let heading = |at| Heading { level: 9, title: "题".into(), at };
    let document = ParsedDocument {
        title: None,
        text: "甲乙丙\n丁戊己\n\n庚辛壬癸。".into(),
        headings: vec![heading(4), heading(2), heading(2), heading(99), heading(usize::MAX)],
        kept_whole: vec![Range { start: 8, end: 3 }, 5..usize::MAX, 0..0, 1..6],
    };
    for max_tokens in [0, 1, 2, 5, 100] {
        for overlap_tokens in [0, 3, 1_000] {
            let limits = ChunkLimits { max_tokens, min_tokens: 50, overlap_tokens };
            check(&document, &chunk(&document, "", limits, &count), limits.sane(), &count);
        }
    }
    assert!(chunk(&ParsedDocument::default(), "t", LIMITS, &count).is_empty());
}

#[test]
fn titles_do_not_repeat_the_document_title() {
    let chunks = chunk_markdown("---\ntitle: 甲\n---\n# 甲\n\n文\n\n## 乙\n\n字", LIMITS);
    assert_eq!(chunks[0].title, "甲");
    let document = ParsedDocument { text: "x".into(), ..ParsedDocument::default() };
    assert_eq!(chunk(&document, " 后备 ", LIMITS, &count)[0].title, "后备");
}

/// Counters of different tempers: fair, one that adds special tokens, one by bytes, and one for
/// which the sum of the parts is less than the whole.
#[test]
fn random_documents_keep_every_promise() {
    let counters: [&dyn Fn(&str) -> usize; 4] = [
        &count,
        &|text| text.chars().count().div_ceil(2) + 2,
        &|text| text.len().div_ceil(3),
        &|text| text.chars().count() + text.chars().count().pow(2) / 200,
    ];
    let mut seed = 5_u64;
    for round in 0..600 {
        let document = parse(Format::Markdown, random_markdown(&mut seed).as_bytes()).unwrap();
        let counter = counters[round % 4];
        let max_tokens = 5 + next(&mut seed) % 120;
        let min_tokens = next(&mut seed) % 40;
        let overlap_tokens = if round % 3 == 0 { next(&mut seed) % 30 } else { 0 };
        let limits = ChunkLimits { max_tokens, min_tokens, overlap_tokens };
        let chunks = chunk(&document, "后备", limits, counter);
        check(&document, &chunks, limits.sane(), counter);
        assert_eq!(chunks, chunk(&document, "后备", limits, counter), "deterministic");
        check_headings(&document, &chunks, limits.sane());
    }
}

/// A heading inside a chunk is below the chunk's first heading, or the chunk is made of sections
/// that were all small.
fn check_headings(document: &ParsedDocument, chunks: &[Chunk], limits: ChunkLimits) {
    for chunk in chunks {
        let inside = |at: usize| (chunk.start..chunk.end).contains(&at);
        let levels: Vec<u8> =
            document.headings.iter().filter(|it| inside(it.at)).map(|it| it.level).collect();
        let first = levels.first().copied().unwrap_or(0);
        let crosses = levels.iter().skip(1).any(|level| *level <= first);
        let tiny = chunk.text.chars().count() <= limits.min_tokens * 2 * 3;
        assert!(!crosses || tiny, "{limits:?} {chunk:?}");
        assert!(levels.iter().all(|level| *level >= first), "{chunk:?}");
    }
}

#[test]
fn counting_stays_proportional_to_the_text() {
    let sources = [
        "字".repeat(300_000),
        "word ".repeat(100_000),
        "a. ".repeat(100_000),
        "x\n".repeat(100_000),
        format!("```\n{}```", "x\n".repeat(100_000)),
        "# a\n".repeat(30_000),
    ];
    for source in sources {
        let document = parse(Format::Markdown, source.as_bytes()).unwrap();
        let (calls, bytes) = (Cell::new(0), Cell::new(0));
        let counter = |text: &str| {
            calls.set(calls.get() + 1);
            bytes.set(bytes.get() + text.len());
            count(text)
        };
        let limits = ChunkLimits { max_tokens: 300, min_tokens: 40, overlap_tokens: 30 };
        let chunks = chunk(&document, "t", limits, &counter);
        let pieces = chunks.len() * 12 + document.headings.len();
        assert!(calls.get() <= pieces, "{} calls for {pieces} pieces", calls.get());
        assert!(bytes.get() <= document.text.len() * 8, "{} bytes", bytes.get());
    }
}

fn random_markdown(seed: &mut u64) -> String {
    let words =
        ["检索", "模型。", "gateway ", "v1.2 ", "e.g. ", "部署，", "ok! ", "👩‍💻", "；", "token "];
    let mut out = String::new();
    for _ in 0..next(seed) % 30 {
        let mut text = || -> String {
            (0..next(seed) % 25).map(|_| words[next(seed) % words.len()]).collect()
        };
        let (first, second) = (text(), text());
        out.push_str(&match next(seed) % 9 {
            0 => format!("{} {first}\n\n", "#".repeat(next(seed) % 4 + 1)),
            1 => format!("```\n{first}\n\n  {second}\n```\n\n"),
            2 => format!("| {first} | b |\n|-|-|\n| {second} | c |\n\n"),
            3 => format!("- {first}\n- {second}\n\n"),
            4 => format!("{first}：\n\n"),
            _ => format!("{first}{second}\n\n"),
        });
    }
    out
}

fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}
