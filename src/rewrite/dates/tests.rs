//! Every row of `cases.tsv` (`now`, query, query after its edits), hostile text, protected
//! spans, and the shape of the edits.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;

use super::*;
use crate::rewrite::edits;

/// A Tuesday in the second half of a leap year.
const NOW: OffsetDateTime = datetime!(2024-07-02 10:00 +8);

fn resolved(query: &str, now: OffsetDateTime, protected: &[Span]) -> String {
    edits::apply(query, &resolve(query, now, protected))
}

fn span_of(query: &str, piece: &str) -> Span {
    let start = query.find(piece).expect("the piece is in the query");
    Span::of_bytes(query, start, start + piece.len())
}

#[test]
fn every_case_reads_as_expected() {
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in include_str!("cases.tsv").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        let [now, query, expected] = columns[..] else { panic!("three columns: {line}") };
        let now =
            if now == "-" { NOW } else { OffsetDateTime::parse(now, &Rfc3339).expect("a time") };
        let actual = resolved(query, now, &[]);
        if actual != expected {
            wrong.push(format!("{query}\n  expected {expected}\n  actual   {actual}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows >= 150, "{rows} rows");
}

#[test]
fn an_edit_carries_its_words_and_its_evidence() {
    let edits = resolve("What sold in the last 7 days?", NOW, &[]);
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].span, Span { start: 10, end: 28, text: "in the last 7 days".to_owned() });
    assert_eq!(edits[0].replacement, "during June 26 – July 2, 2024");
    assert_eq!(edits[0].issue, IssueKind::Vague);
    let date = Evidence { source: Source::Date, text: "June 26 – July 2, 2024".to_owned() };
    assert_eq!(edits[0].evidence, date);
}

#[test]
fn spans_count_chars() {
    let edits = resolve("🙂𠮷昨天和前天", NOW, &[]);
    let spans: Vec<(usize, usize)> =
        edits.iter().map(|edit| (edit.span.start, edit.span.end)).collect();
    assert_eq!(spans, [(2, 4), (5, 7)]);
    assert_eq!(edits[1].span.text, "前天");
    assert_eq!(edits[0].evidence.text, "2024年7月1日");
}

#[test]
fn open_readings_are_less_sure() {
    let confidence = |query: &str| resolve(query, NOW, &[])[0].confidence;
    assert!(confidence("昨天") > confidence("两周前"));
    assert!(confidence("两周前") > confidence("上半年"));
    assert!(confidence("last month") > confidence("next Friday"));
}

#[test]
fn the_local_date_of_the_zone_counts() {
    // One moment, two calendars.
    assert_eq!(resolved("今天", datetime!(2024-07-01 00:30 +8), &[]), "2024年7月1日");
    assert_eq!(resolved("今天", datetime!(2024-06-30 11:30 -5), &[]), "2024年6月30日");
    assert_eq!(resolved("上个月", datetime!(2024-07-01 00:30 +8), &[]), "2024年6月");
    assert_eq!(resolved("上个月", datetime!(2024-06-30 11:30 -5), &[]), "2024年5月");
    assert_eq!(resolved("last year", datetime!(2024-01-01 02:00 +8), &[]), "2023");
    assert_eq!(resolved("last year", datetime!(2023-12-31 13:00 -5), &[]), "2022");
}

#[test]
fn protected_text_is_not_touched() {
    let kept = |query: &str, piece: &str| resolved(query, NOW, &[span_of(query, piece)]);
    assert_eq!(kept("今天国际昨天的股价", "今天国际"), "今天国际2024年7月1日的股价");
    assert_eq!(kept("去年今天国际的营收", "今天国际"), "2023年今天国际的营收");
    assert_eq!(kept("明天系的公司", "明天系"), "明天系的公司");
    assert_eq!(kept("大前天的单", "天"), "大前天的单");
    assert_eq!(kept("大前天的单", "大"), "大2024年6月30日的单");
    assert_eq!(kept("上周三的单", "三"), "上周三的单");
    assert_eq!(kept("3天前的单", "3"), "3天前的单");
    assert_eq!(kept("sales last month", "month"), "sales last month");
    assert_eq!(kept("the song \"Yesterday\" yesterday", "\"Yesterday\""), {
        "the song \"Yesterday\" on July 1, 2024"
    });
    assert_eq!(kept("in the last 7 days", "in"), "in the last 7 days");
    assert_eq!(kept("昨天和今天", "昨天和今天"), "昨天和今天");
}

#[test]
fn odd_protected_spans_do_no_harm() {
    let odd = |start, end| Span { start, end, text: String::new() };
    let spans = [odd(9, 3), odd(0, 0), odd(50, 90), odd(usize::MAX, usize::MAX), odd(2, 3)];
    assert_eq!(resolved("昨天和今天", NOW, &spans), "2024年7月1日和2024年7月2日");
}

#[test]
fn the_first_relative_date_is_found_without_a_clock() {
    let first = has_relative_date("请问上週三和昨天哪天多").expect("a relative date");
    assert_eq!(first, Span { start: 2, end: 5, text: "上週三".to_owned() });
    let first = has_relative_date("sales Last Month, please").expect("a relative date");
    assert_eq!(first.text, "Last Month");
    for query in ["", "最新的政策", "recent orders", "昆明天气", "2024年6月", "this may work"]
    {
        assert_eq!(has_relative_date(query), None, "{query}");
    }
    // It is relative even where no calendar reaches it.
    assert!(has_relative_date("1000000000天前").is_some());
}

#[test]
fn dates_outside_the_calendar_are_left_alone() {
    let first_day = datetime!(0001-01-01 00:00 UTC);
    let last_day = datetime!(9999-12-31 23:00 UTC);
    for query in ["昨天", "上周", "上个月", "去年", "前天晚上", "last month", "the past 2 days"]
    {
        assert_eq!(resolved(query, first_day, &[]), query);
    }
    for query in ["明天", "下周", "下个月", "明年", "tomorrow", "next year", "next June"] {
        assert_eq!(resolved(query, last_day, &[]), query);
    }
    for count in
        ["1000000000", "999999999999", "9999999999999999999999", "九千亿", "9223372036854775807"]
    {
        for unit in ["天", "周", "个月", "年", "个季度"] {
            let query = format!("最近{count}{unit}和{count}{unit}前和{count}{unit}后");
            assert_eq!(resolved(&query, NOW, &[]), query);
        }
        let query = format!("{count} weeks ago, the last {count} years, {count} months from now");
        assert_eq!(resolved(&query, NOW, &[]), query);
    }
}

#[test]
fn hostile_text_neither_panics_nor_stalls() {
    let pieces = [
        "昨天",
        "上",
        "下",
        "上周",
        "上周三到",
        "今年",
        "去年的",
        "最近",
        "近",
        "三",
        "9",
        "亿",
        "半年",
        "year-to-",
        "today/",
        "today ",
        "last ",
        "in ",
        "a couple of ",
        "Today",
        "the day before ",
        "\u{301}",
        "today\u{301}",
        "昨天\u{301}",
        "'s",
        "“",
        "\u{200D}",
        "🙂",
        "\u{0}",
        "\n",
        "as of ",
        "３天前",
        "天",
        "\u{10FFFF}",
        "İ",
        "ß today ",
    ];
    let started = std::time::Instant::now();
    for piece in pieces {
        let query: String = piece.chars().cycle().take(10_000).collect();
        let edits = resolve(&query, NOW, &[]);
        assert!(edits.windows(2).all(|pair| pair[0].span.end <= pair[1].span.start), "{piece}");
        let text = edits::apply(&query, &edits);
        assert!(!text.is_empty());
    }
    for first in pieces {
        for second in pieces {
            for third in ["前", " week", "last year"] {
                let query = format!("{first}{second}{third}");
                let length = query.chars().count();
                for edit in resolve(&query, NOW, &[Span { start: 1, end: 2, text: String::new() }])
                {
                    assert!(edit.span.start < edit.span.end && edit.span.end <= length, "{query}");
                    assert!(edit.span.start >= 2 || edit.span.end <= 1, "{query}");
                }
            }
        }
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    assert_eq!(resolve("", NOW, &[]), []);
    assert_eq!(resolved("today\u{301} 昨天\u{301}", NOW, &[]), "today\u{301} 昨天\u{301}");
}

#[test]
fn every_traditional_form_has_its_simplified_one() {
    let folded: String = "後個這週禮過兩內萬億號當際國務備續".chars().map(chinese::fold).collect();
    assert_eq!(folded, "后个这周礼过两内万亿号当际国务备续");
    assert_eq!(chinese::TRADITIONAL.chars().count(), chinese::SIMPLIFIED.chars().count());
    assert_eq!("０９昨A".chars().map(chinese::fold).collect::<String>(), "09昨A");
}
