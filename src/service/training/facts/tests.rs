//! What the server's rules say of completions in Chinese and in English.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::macros::datetime;

use super::*;
use crate::rewrite::conversation::{Glossary, Role, Turn};
use crate::train::reward::RewardSet;

fn conversation(query: &str, messages: &[&str]) -> Conversation {
    let turn = |(idx, text): (usize, &&str)| Turn {
        role: if idx % 2 == 0 { Role::User } else { Role::Assistant },
        text: (*text).to_owned(),
    };
    Conversation {
        query: query.to_owned(),
        turns: messages.iter().enumerate().map(turn).collect(),
        now: None,
        locale: None,
        facts: BTreeMap::new(),
        glossary: Arc::new(Glossary::default()),
        held_senses: BTreeMap::new(),
    }
}

fn chinese() -> Subject {
    let messages = ["云帆CRM的客户画像是什么？", "客户画像汇总了客户的基本信息和行为数据。"];
    Subject::new(conversation("它的价格是多少？", &messages), None)
}

fn english() -> Subject {
    let messages = ["What is the Falcon 9 rocket?", "Falcon 9 is a launch vehicle by SpaceX."];
    Subject::new(conversation("How many of them flew in 2021?", &messages), None)
}

fn written(text: &str) -> Written<'_> {
    Written { text, is_stopped: true, n_tokens: 12, n_query_tokens: 8 }
}

fn facts(subject: &Subject, text: &str) -> Facts {
    subject.facts(&written(text), Found::default())
}

fn share(reading: &Reading<Share>) -> Share {
    match reading {
        Reading::Known(share) => *share,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_rewrite_has_no_fault() {
    let cases = [
        (chinese(), "云帆CRM的价格是多少？"),
        (english(), "How many Falcon 9 rockets flew in 2021?"),
    ];
    for (subject, text) in cases {
        let facts = facts(&subject, text);
        assert!(facts.is_well_formed && !facts.is_unchanged, "{text}: {facts:?}");
        assert_eq!(share(&facts.unsupported).part, 0, "{text}: {facts:?}");
        assert!(share(&facts.unsupported).whole > 0, "{text}: {facts:?}");
        assert_eq!(share(&facts.lost_protected).part, 0, "{text}: {facts:?}");
        assert_eq!(share(&facts.lost_content).part, 0, "{text}: {facts:?}");
        assert_eq!(facts.writing, Reading::Known(Kept::Kept), "{text}");
        let scored = RewardSet::default().score(&facts);
        assert!(scored.total.unwrap() > -0.1, "{scored:?}");
    }
}

#[test]
fn inventions_are_counted() {
    let cases = [
        (chinese(), "云帆CRM企业版在上海的价格是多少？"),
        (english(), "How many Falcon 9 rockets of NASA flew in 2021 from Florida?"),
    ];
    for (subject, text) in cases {
        let share = share(&facts(&subject, text).unsupported);
        assert!(share.part > 0 && share.part < share.whole, "{text}: {share:?}");
    }
}

#[test]
fn lost_pieces_are_counted() {
    let lost = facts(&english(), "How many Falcon 9 rockets flew?");
    assert_eq!(share(&lost.lost_protected), Share { part: 1, whole: 1 });
    let subject = Subject::new(
        conversation("它在“客户画像”里报ERR-4012怎么办？", &["云帆CRM怎么用？", "先登录。"]),
        None,
    );
    let kept = facts(&subject, "云帆CRM在“客户画像”里报ERR-4012怎么办？");
    assert_eq!(share(&kept.lost_protected), Share { part: 0, whole: 2 });
    let lost = facts(&subject, "云帆CRM在“客户画像”里报错怎么办？");
    assert_eq!(share(&lost.lost_protected), Share { part: 1, whole: 2 });
    let subject = Subject::new(
        conversation("它的价格和上市日期是多少？", &["云帆CRM怎么用？", "先登录。"]),
        None,
    );
    let lost = facts(&subject, "云帆CRM的价格是多少？");
    assert_eq!(share(&lost.lost_content).part, 4, "上市日期: {lost:?}");
}

#[test]
fn another_language_or_script_is_seen() {
    let cases = [
        (chinese(), "What does Yunfan CRM cost, and how can you get it?", Kept::OtherLanguage),
        (chinese(), "雲帆CRM的價格是多少？", Kept::OtherScript),
        (english(), "2021年猎鹰九号火箭飞了多少次？", Kept::OtherLanguage),
        (english(), "How many Falcon 9 rockets flew in 2021?", Kept::Kept),
    ];
    for (subject, text, expected) in cases {
        assert_eq!(facts(&subject, text).writing, Reading::Known(expected), "{text}");
    }
}

#[test]
fn what_the_parser_cannot_read_is_malformed() {
    let cut = Written { is_stopped: false, ..written("云帆CRM的价格") };
    assert_eq!(chinese().facts(&cut, Found::default()), Facts::malformed());
    for text in ["", " \n", "？？", "<think>它是", "<|im_start|>云帆CRM", "云帆云帆云帆云帆"]
    {
        assert_eq!(chinese().read(&written(text)), None, "{text}");
        assert_eq!(facts(&chinese(), text), Facts::malformed(), "{text}");
    }
}

#[test]
fn wrapping_that_the_server_takes_off_is_no_fault() {
    let raw = "<think>\n\n</think>改写后的问题：“云帆CRM的价格是多少？”\n备注：指代已消解";
    assert_eq!(chinese().read(&written(raw)).unwrap(), "云帆CRM的价格是多少？");
    assert!(facts(&chinese(), raw).is_well_formed);
}

#[test]
fn a_query_is_complete_where_the_data_says_so_or_nothing_was_said_before_it() {
    let query = "How many Falcon 9 rockets flew in 2021?";
    let complete = Subject::new(conversation(query, &["Hello", "Hello!"]), Some(true));
    let same = facts(&complete, "how many falcon 9 rockets flew in 2021");
    assert_eq!((same.is_unchanged, same.is_complete), (true, Some(true)));
    assert!(!facts(&complete, "How many Falcon 9 rocket flew in 2021?").is_unchanged);
    let unknown = Subject::new(conversation(query, &["Hello", "Hello!"]), None);
    assert_eq!(facts(&unknown, query).is_complete, None);
    let alone = Subject::new(conversation(query, &[]), None);
    assert_eq!(alone.is_complete(), Some(true));
    let told = Subject::new(conversation(query, &[]), Some(false));
    assert_eq!(told.is_complete(), Some(false));
}

#[test]
fn spelling_and_punctuation_change_nothing_but_script_does() {
    assert!(says_the_same("云帆CRM的价格是多少?", "云帆crm的价格是多少？"));
    assert!(!says_the_same("云帆CRM的价格是多少？", "雲帆CRM的價格是多少？"));
    assert!(!says_the_same("云帆CRM的价格是多少？", "云帆的价格是多少？"));
}

#[test]
fn a_rule_is_evidence_too() {
    let mut asked = conversation("昨天的销售额是多少？", &[]);
    asked.now = Some(datetime!(2024-06-12 10:00 UTC));
    let subject = Subject::new(asked, None);
    let facts = facts(&subject, "2024年6月11日的销售额是多少？");
    assert_eq!(share(&facts.unsupported).part, 0, "{facts:?}");
    assert_eq!(share(&facts.lost_content).part, 0, "{facts:?}");
}

#[test]
fn what_searches_found_is_handed_on() {
    let found = Found {
        gold: Reading::Known(Ranks::single(Some(3))),
        raw: Reading::Failed,
        reranker: Reading::Known(0.5),
    };
    let facts = chinese().facts(&written("云帆CRM的价格是多少？"), found.clone());
    assert_eq!((facts.gold, facts.raw, facts.reranker), (found.gold, found.raw, found.reranker));
    assert_eq!((facts.n_tokens, facts.n_query_tokens), (12, 8));
}

#[test]
fn people_are_served_what_the_checks_leave_with_the_raw_query_beside_it() {
    let texts = |probes: Vec<Probe>| -> Vec<String> {
        probes.into_iter().map(|probe| probe.text).collect()
    };
    let good = chinese().served(&written("云帆CRM的价格是多少？"), 0.25);
    assert_eq!(good[0].text, "云帆CRM的价格是多少？");
    let raw = good.last().unwrap();
    assert_eq!((raw.text.as_str(), raw.weight, raw.by_meaning), ("它的价格是多少？", 0.25, true));
    // Of what nobody said nothing is searched with, and the raw query is not there twice.
    let invented = texts(english().served(&written("How many Saturn rockets did NASA fly?"), 0.25));
    assert!(!invented.iter().any(|text| text.contains("NASA")), "{invented:?}");
    let raw = |text: &&String| *text == "How many of them flew in 2021?";
    assert_eq!(invented.iter().filter(raw).count(), 1, "{invented:?}");
}
