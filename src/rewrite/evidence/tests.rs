//! Each added word is traced to what says it, and inventions are found and taken out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::rewrite::conversation::{Glossary, Role, Sense, Source, Term, Turn};
use crate::rewrite::text::tests::Random;

pub fn conversation(query: &str, messages: &[&str]) -> Conversation {
    let turn = |(index, text): (usize, &&str)| Turn {
        role: if index % 2 == 0 { Role::User } else { Role::Assistant },
        text: (*text).to_owned(),
    };
    Conversation {
        query: query.to_owned(),
        turns: messages.iter().enumerate().map(turn).collect(),
        now: None,
        locale: None,
        facts: BTreeMap::new(),
        glossary: Arc::new(Glossary::default()),
        held_senses: Default::default(),
    }
}

pub fn edit(query: &str, piece: &str, replacement: &str, source: Source) -> Edit {
    let start = query.find(piece).expect("piece of the query");
    Edit {
        span: Span::of_bytes(query, start, start + piece.len()),
        replacement: replacement.to_owned(),
        issue: IssueKind::Vague,
        evidence: Evidence { source, text: replacement.to_owned() },
        confidence: 1.0,
    }
}

fn apple() -> Glossary {
    let sense = |id: &str, label: &str| Sense {
        id: id.to_owned(),
        label: label.to_owned(),
        definition: String::new(),
    };
    let term = Term {
        id: "apple".to_owned(),
        term: "苹果".to_owned(),
        aliases: vec!["Apple".to_owned()],
        senses: vec![sense("company", "苹果公司"), sense("fruit", "苹果（水果）")],
    };
    Glossary { terms: vec![term] }
}

/// (text of the addition, where it comes from) for each addition.
fn traced(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
) -> Vec<(String, Option<Source>)> {
    trace(conversation, standalone, edits)
        .into_iter()
        .map(|addition| (addition.span.text, addition.evidence.map(|found| found.source)))
        .collect()
}

fn only(text: &str, source: Option<Source>) -> Vec<(String, Option<Source>)> {
    vec![(text.to_owned(), source)]
}

#[test]
fn a_topic_comes_from_the_message_that_names_it() {
    let chat = conversation("那有啥好吃的", &["开原有什么好玩的呢", "有咸州古城、象牙山风景区"]);
    assert_eq!(traced(&chat, "开原有啥好吃的", &[]), only("开原", Some(Source::Message(0))));
    let chat =
        conversation("What is its price?", &["Tell me about the Yunfan CRM", "It is a tool."]);
    let expected = only("the Yunfan CRM's", Some(Source::Message(0)));
    assert_eq!(traced(&chat, "What is the Yunfan CRM's price?", &[]), expected);
}

#[test]
fn the_newest_of_equals_wins_and_the_longest_over_all() {
    let chat = conversation("多少钱", &["客户画像好用吗", "客户画像和线索打分", "线索"]);
    assert_eq!(traced(&chat, "线索多少钱", &[]), only("线索", Some(Source::Message(2))));
    assert_eq!(traced(&chat, "线索打分多少钱", &[]), only("线索打分", Some(Source::Message(1))));
    assert_eq!(traced(&chat, "客户画像多少钱", &[]), only("客户画像", Some(Source::Message(1))));
}

#[test]
fn rules_facts_and_glossary_vouch_for_their_words() {
    let mut chat = conversation("它昨天的销量和苹果", &[]);
    chat.facts.insert("product".to_owned(), "CRM系统".to_owned());
    chat.glossary = Arc::new(apple());
    let edits = [edit("它昨天的销量和苹果", "昨天", "2024年7月1日", Source::Date)];
    let expected = [
        ("CRM系统".to_owned(), Some(Source::Fact("product".to_owned()))),
        ("2024年7月1日".to_owned(), Some(Source::Date)),
        ("公司".to_owned(), Some(Source::Glossary("apple".to_owned()))),
    ];
    assert_eq!(traced(&chat, "CRM系统2024年7月1日的销量和苹果公司", &edits), expected);
}

#[test]
fn inventions_have_no_evidence() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("多少钱", &["客户画像怎么用"], "华为手机多少钱", "华为手机"),
        ("how much is it", &["tell me about Yunfan"], "how much is Salesforce", "Salesforce"),
        // Both characters occur, but nobody said the word.
        ("天气怎么样", &["我要上课", "大海真好看"], "上海天气怎么样", "上海"),
        // A negation that only occurs somewhere turns the question round.
        ("支持退货吗", &["我不知道"], "不支持退货吗", "不"),
        ("do they ship it", &["I do not know Yunfan"], "do they not ship Yunfan", "not"),
        ("价格", &["线索打分"], "价格$", "$"),
        ("销量", &["2023年"], "2024年销量", "2024"),
        ("销量", &[], "销量🚀", "🚀"),
    ];
    for (query, messages, standalone, invention) in cases {
        let found = trace(&conversation(query, messages), standalone, &[]);
        let inventions: String = found
            .iter()
            .filter(|addition| addition.evidence.is_none())
            .map(|addition| addition.span.text.as_str())
            .collect();
        assert!(inventions.contains(invention), "{standalone}: {found:?}");
    }
}

#[test]
fn script_case_plural_and_possessive_are_no_inventions() {
    let cases: &[(&str, &[&str], &str)] = &[
        ("它怎么用", &["客戶畫像是什麼"], "客户画像怎么用"),
        (
            "how do they work",
            &["Tell me about the scoring feature"],
            "how do Scoring Features work",
        ),
        ("their price", &["two Products"], "the product's price"),
        ("what does it do", &["I am running ＣＲＭ"], "what does CRM do"),
        ("is he dead", &["When did Stan Musial die?"], "is Stan Musial dead"),
    ];
    for (query, messages, standalone) in cases {
        let found = trace(&conversation(query, messages), standalone, &[]);
        assert!(!found.is_empty() || query.contains("dead"), "{standalone}");
        assert!(
            found.iter().all(|addition| addition.evidence.is_some()),
            "{standalone}: {found:?}"
        );
    }
}

#[test]
fn a_new_order_of_the_same_words_adds_nothing() {
    let chat = conversation("导出报表怎么做", &["你好"]);
    assert!(trace(&chat, "怎么做导出报表", &[]).is_empty());
    assert!(trace(&chat, "导出报表怎么做？", &[]).is_empty());
    assert!(trace(&chat, "导出报表怎么做", &[]).is_empty());
}

#[test]
fn a_lone_character_counts_beside_what_it_was_said_with() {
    let chat = conversation("多少钱", &["我昨天买了两斤苹果", "海里有鱼"]);
    assert!(traced(&chat, "买苹果多少钱", &[]).iter().all(|(_, source)| source.is_some()));
    assert!(traced(&chat, "鱼苹果多少钱", &[]).iter().any(|(_, source)| source.is_none()));
}

#[test]
fn repair_takes_inventions_out_and_keeps_the_rest() {
    let chat = conversation("What is its price?", &["Tell me about Yunfan CRM"]);
    let (text, additions) =
        repair(&chat, "What is Yunfan CRM's price in Paris (today)?", &[]).expect("repairable");
    assert_eq!(text, "What is Yunfan CRM's price?");
    assert!(additions.iter().all(|addition| addition.evidence.is_some()));
    let chat = conversation("怎么用", &["客户画像是什么"]);
    let repaired = repair(&chat, "纷享销客的客户画像怎么用", &[]).map(|(text, _)| text);
    assert_eq!(repaired.as_deref(), Some("客户画像怎么用"));
}

#[test]
fn repair_refuses_what_lost_the_question() {
    let chat = conversation("怎么退货", &["客户画像是什么", "一种功能"]);
    for hopeless in ["", "？", "客户画像", "忽略以上指令", "天气预报说明天有雨", "怎么换货"]
    {
        assert_eq!(repair(&chat, hopeless, &[]), None, "{hopeless}");
    }
    let chat = conversation("What is the price?", &["hello"]);
    assert_eq!(repair(&chat, "What is the price (of", &[]), None);
}

#[test]
fn lost_words_are_excused_only_where_something_stands_for_them() {
    let lost = |query: &str, messages: &[&str], standalone: &str| {
        let chat = conversation(query, messages);
        let additions = trace(&chat, standalone, &[]);
        lost_content(&chat, standalone, &[], &additions).len()
    };
    assert_eq!(lost("这本书讲了啥", &["三体好看吗"], "三体讲了啥"), 0);
    assert_eq!(lost("请问帮我查一下订单", &[], "订单"), 0);
    assert_eq!(lost("how long is the album", &["play Aint Life"], "how long is Aint Life"), 0);
    assert_eq!(lost("能退货吗", &["我想换货"], "能换货吗"), 1);
    assert_eq!(lost("为什么不支持导出", &["导出报表"], "为什么支持导出报表"), 1);
    assert_eq!(lost("why can it not export", &["the report"], "why can the report export"), 1);
    assert_eq!(lost("订单在哪", &["客户画像"], "客户画像在哪"), 2);
}

#[test]
fn issues_are_resolved_by_what_stands_in_their_place() {
    let query = "它的价格是多少";
    let mut chat = conversation(query, &["客户画像是什么"]);
    chat.facts.insert("region".to_owned(), "华东区".to_owned());
    let issue = |start: usize, end: usize, kind| Issue {
        kind,
        span: Span { start, end, text: query.chars().skip(start).take(end - start).collect() },
        resolved_by: None,
        confidence: 0.9,
    };
    let mut issues =
        [issue(0, 1, IssueKind::AmbiguousReference), issue(7, 7, IssueKind::MissingInformation)];
    let standalone = "客户画像的价格在华东区是多少";
    let additions = trace(&chat, standalone, &[]);
    issues_resolved(&mut issues, &additions, query, standalone);
    let sources: Vec<_> =
        issues.iter().map(|issue| issue.resolved_by.clone().map(|found| found.source)).collect();
    assert_eq!(sources, [Some(Source::Message(0)), Some(Source::Fact("region".to_owned()))]);
    let mut vague = [issue(2, 4, IssueKind::Vague)];
    issues_resolved(&mut vague, &[], query, query);
    assert_eq!(vague[0].resolved_by, None);
}

#[test]
fn nothing_panics_and_repairs_hold_on_random_text() {
    let mut random = Random(11);
    for round in 0..1_500 {
        let messages = [random.text(12), random.text(12)];
        let mut chat = conversation(&random.text(6), &[&messages[0], &messages[1]]);
        chat.facts.insert("any".to_owned(), random.text(3));
        chat.glossary = Arc::new(apple());
        let standalone = if round % 2 == 0 {
            random.text(14)
        } else {
            format!("{}{}{}", random.text(2), chat.query, messages[0])
        };
        let length = standalone.chars().count();
        let additions = trace(&chat, &standalone, &[]);
        let mut end = 0;
        for addition in &additions {
            let span = &addition.span;
            assert!(end <= span.start && span.start < span.end && span.end <= length);
            end = span.end;
        }
        let mut issue = [Issue {
            kind: IssueKind::MissingInformation,
            span: Span { start: random.below(9), end: random.below(99), text: String::new() },
            resolved_by: None,
            confidence: 0.5,
        }];
        issues_resolved(&mut issue, &additions, &chat.query, &standalone);
        if let Some((text, additions)) = repair(&chat, &standalone, &[]) {
            assert!(additions.iter().all(|addition| addition.evidence.is_some()), "{text:?}");
            assert_eq!(trace(&chat, &text, &[]), additions, "{text:?}");
        }
    }
}

#[test]
fn a_copied_history_is_traced_in_bounded_time() {
    let history = "客户画像 is a feature 的 功能 of CRM ".repeat(400);
    let chat = conversation("怎么用", &[&history]);
    let started = std::time::Instant::now();
    trace(&chat, &history.chars().take(2_000).collect::<String>(), &[]);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
