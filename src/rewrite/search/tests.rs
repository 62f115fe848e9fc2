//! What the retriever is asked.

use std::sync::Arc;

use super::*;
use crate::rewrite::conversation::{Glossary, Sense};
use crate::rewrite::evidence::tests::conversation;
use crate::rewrite::text::tests::Random;

fn term(id: &str, name: &str, aliases: &[&str], labels: &[&str]) -> Term {
    let sense = |label: &&str| Sense {
        id: (*label).to_owned(),
        label: (*label).to_owned(),
        definition: String::new(),
    };
    Term {
        id: id.to_owned(),
        term: name.to_owned(),
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        senses: labels.iter().map(sense).collect(),
    }
}

fn glossary_chat(query: &str) -> Conversation {
    let mut chat = conversation(query, &[]);
    let terms = vec![
        term("profile", "客户画像", &["用户画像", "customer profile"], &[]),
        term("arr", "ARR", &["annual recurring revenue"], &["年度经常性收入"]),
        term("apple", "苹果", &["Apple"], &["苹果公司", "苹果（水果）"]),
    ];
    chat.glossary = Arc::new(Glossary { terms });
    chat
}

fn texts(chat: &Conversation, standalone: &str, limit: usize) -> Vec<String> {
    queries(chat, standalone, true, &[], limit).into_iter().map(|query| query.text).collect()
}

#[test]
fn keywords_are_what_is_left_without_frames_and_politeness() {
    let cases = [
        ("帮我查一下CRM系统的客户画像怎么用", "CRM 系统 客户画像"),
        ("请问开原有啥好吃的？", "开原 好吃"),
        ("這次活動的目的是什麼", "活動 目的"),
        ("為什麼訂單 ERR-4012 失敗了呢", "訂單 ERR-4012 失敗"),
        ("How do I use the customer profile in v2.3.1?", "use customer profile v2.3.1"),
        ("Can you tell me what is the refund policy, please", "refund policy"),
        ("歌曲《怎么办》的作者", "歌曲 怎么办 作者"),
        ("is it not supported", "not supported"),
        ("它怎么用呢", ""),
        ("what is it", ""),
    ];
    for (question, expected) in cases {
        assert_eq!(keywords(question), expected, "{question}");
    }
}

#[test]
fn the_question_leads_and_its_words_follow() {
    let chat = conversation("怎么用", &["客户画像是什么"]);
    let found = queries(&chat, "客户画像怎么用", true, &[], 3);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].kind, found[0].weight), (SearchKind::Semantic, 1.3));
    assert_eq!(found[0].text, "客户画像怎么用");
    assert_eq!((found[1].kind, found[1].weight), (SearchKind::Keyword, 1.0));
    assert_eq!(found[1].text, "客户画像");
}

#[test]
fn an_untouched_query_is_asked_as_it_is() {
    let chat = conversation("请问怎么退款", &[]);
    assert_eq!(queries(&chat, "别的", false, &[], 3)[0].text, "请问怎么退款");
    assert_eq!(queries(&chat, "  ", true, &[], 3)[0].text, "请问怎么退款");
}

#[test]
fn other_names_of_a_term_make_one_more_variant() {
    let chat = glossary_chat("客户画像怎么用");
    let expected = ["客户画像怎么用", "客户画像", "客户画像 用户画像 customer profile"];
    assert_eq!(texts(&chat, "客户画像怎么用", 3), expected);
    let found = texts(&chat, "what is arr growth", 3);
    assert_eq!(found[2], "arr growth annual recurring revenue 年度经常性收入");
    assert_eq!(texts(&chat, "array growth", 3).len(), 1, "arr is not in array");
}

#[test]
fn a_term_with_open_senses_is_not_widened() {
    let chat = glossary_chat("苹果价格");
    assert_eq!(texts(&chat, "苹果价格", 3), ["苹果价格"]);
    assert_eq!(texts(&chat, "苹果公司价格", 3)[1], "苹果公司价格 Apple");
}

#[test]
fn variants_are_limited_and_never_alike() {
    let chat = glossary_chat("客户画像");
    assert_eq!(texts(&chat, "客户画像", 0), ["客户画像"]);
    assert_eq!(texts(&chat, "客户画像怎么用", 1), ["客户画像怎么用"]);
    assert_eq!(texts(&chat, "客户画像", 3).len(), 2, "the keywords are the question");
}

#[test]
fn bounds_hold_for_any_text() {
    let mut random = Random(5);
    for round in 0..1_500 {
        let mut chat = glossary_chat(&random.text(8));
        if round % 50 == 0 {
            chat.query = "客户 画像 ".repeat(700);
        }
        let standalone = random.text(12);
        let limit = random.below(5);
        let found = queries(&chat, &standalone, round % 2 == 0, &[], limit);
        assert!(found.len() <= limit.max(1));
        assert!(!found.is_empty() || chat.query.trim().is_empty());
        for (index, query) in found.iter().enumerate() {
            assert!(!query.text.trim().is_empty() && query.text.chars().count() <= 2_000);
            let alike = |other: &SearchQuery| normalise(&other.text) == normalise(&query.text);
            assert!(!found[..index].iter().any(alike), "{found:?}");
        }
    }
}
