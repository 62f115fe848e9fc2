//! Tests of mentions and senses.

use serde_json::{Value, json};

use super::*;
use crate::rewrite::conversation::Source;
use crate::rewrite::edits;
use crate::rewrite::gate::tests::{check, conversation};
use crate::rewrite::language::Language;

fn glossary() -> Value {
    json!([
        {"id": "apple", "term": "苹果", "aliases": ["Apple"], "senses": [
            {"id": "company", "label": "苹果公司", "definition": "美国的科技公司，生产iPhone、Mac等手机和电脑"},
            {"id": "fruit", "label": "苹果（水果）", "definition": "蔷薇科植物的果实，一种常见的水果，可以食用"}]},
        {"id": "mercury", "term": "mercury", "aliases": [], "senses": [
            {"id": "planet", "label": "Mercury (planet)", "definition": "The smallest planet, closest to the Sun"},
            {"id": "element", "label": "mercury (element)", "definition": "A liquid metal used in thermometers"}]},
        {"id": "pod", "term": "pod", "aliases": [], "senses": [
            {"id": "k8s", "label": "group of containers", "definition": "The smallest unit that Kubernetes schedules"},
            {"id": "botany", "label": "seed case", "definition": "The fruit of a legume such as a pea"}]},
        {"id": "roi", "term": "ROI", "aliases": [], "senses": [
            {"id": "finance", "label": "投资回报率", "definition": "收益与投资成本之比"},
            {"id": "vision", "label": "感兴趣区域", "definition": "图像处理中选出的区域"}]},
        {"id": "crm", "term": "CRM系统", "aliases": ["CRM"], "senses": []},
        {"id": "c++", "term": "C++", "aliases": [], "senses": []},
        {"id": "score", "term": "线索", "aliases": [], "senses": []},
        {"id": "lead-score", "term": "线索打分", "aliases": [], "senses": []},
        {"id": "empty", "term": " ", "aliases": [""], "senses": []}
    ])
}

#[test]
fn the_company_that_a_term_keeps_decides_its_sense() {
    check(include_str!("../testdata/senses.json"), |case| {
        let mut case = case.clone();
        case["glossary"] = glossary();
        let conversation = conversation(&case);
        let choice = choose_senses(&conversation);
        let text = edits::apply(&conversation.query, &choice.edits);
        let right = match case["expect"].as_str() {
            Some(expected) => choice.open.is_none() && text == expected,
            None => choice.open.is_some() && choice.edits.is_empty(),
        };
        if right {
            Ok(())
        } else {
            Err(format!("{} {} -> {text} {choice:?}", case["query"], case["history"]))
        }
    });
}

#[test]
fn the_longest_name_wins_and_latin_names_are_whole_words() {
    let case = json!({"query": "", "glossary": glossary()});
    let glossary = &conversation(&case).glossary;
    let found = |text: &str| -> Vec<(String, String)> {
        let found = mentions(text, glossary);
        found.into_iter().map(|m| (m.span.text, glossary.terms[m.term_idx].id.clone())).collect()
    };
    let pair = |text: &str, id: &str| (text.to_owned(), id.to_owned());
    assert_eq!(
        found("crm系统的线索打分和线索"),
        vec![pair("crm系统", "crm"), pair("线索打分", "lead-score"), pair("线索", "score")]
    );
    assert_eq!(
        found("用CRM管理線索打分"),
        vec![pair("CRM", "crm"), pair("線索打分", "lead-score")]
    );
    assert_eq!(
        found("scrm, podium, Apple's pod; C++ and c"),
        vec![pair("Apple", "apple"), pair("pod", "pod"), pair("C++", "c++")]
    );
    assert_eq!(found(""), vec![]);
    assert_eq!(mentions("😀苹果", glossary)[0].span.start, 1);
}

#[test]
fn the_only_sense_that_the_collection_holds_decides_what_nothing_else_does() {
    let case = json!({"query": "苹果多少钱", "glossary": glossary()});
    let mut held = conversation(&case);
    held.held_senses.insert("apple".to_owned(), 1);
    let choice = choose_senses(&held);
    assert_eq!(edits::apply(&held.query, &choice.edits), "苹果（水果）多少钱");
    assert_eq!(choice.edits[0].evidence.source, Source::Glossary("apple".to_owned()));
    // What was said weighs more than what the documents hold.
    let case = json!({"query": "苹果多少钱", "history": ["iPhone好用吗"], "glossary": glossary()});
    let mut said = conversation(&case);
    said.held_senses.insert("apple".to_owned(), 1);
    assert_eq!(edits::apply(&said.query, &choose_senses(&said).edits), "苹果公司多少钱");
    held.held_senses.insert("apple".to_owned(), 9);
    assert!(choose_senses(&held).open.is_some());
}

#[test]
fn a_text_names_a_sense_by_its_label_or_by_the_labels_parts() {
    for (text, label, named) in [
        ("蘋果公司发布了新手机", "苹果公司", true),
        ("红富士苹果是常见的水果", "苹果（水果）", true),
        ("苹果手机", "苹果（水果）", false),
        ("The planet Mercury has no moon", "Mercury (planet)", true),
        ("Mercury rules planets", "Mercury (planet)", false),
        ("anything", "()", false),
    ] {
        assert_eq!(names_sense(text, label), named, "{text} / {label}");
    }
}

#[test]
fn evidence_names_the_term_and_the_words_come_from_its_label() {
    let case = json!({"query": "苹果怎么样", "history": ["iPhone好用吗"], "glossary": glossary()});
    let edit = &choose_senses(&conversation(&case)).edits[0];
    assert_eq!(edit.evidence.source, Source::Glossary("apple".to_owned()));
    assert_eq!(edit.evidence.text, "苹果公司");
    assert!(edit.confidence > 0.5 && edit.confidence < 1.0);
}

#[test]
fn an_open_term_is_asked_about_in_the_language_of_the_query() {
    let case = json!({"query": "苹果多少钱", "glossary": glossary()});
    let open = choose_senses(&conversation(&case)).open.unwrap();
    assert_eq!(open.term_id, "apple");
    let asked = clarification(&open, Language::Chinese);
    assert_eq!(asked.question, "您说的“苹果”指的是哪一个？");
    assert_eq!(asked.options, vec!["苹果公司", "苹果（水果）"]);
    assert_eq!(clarification(&open, Language::English).question, "Which “苹果” do you mean?");
}
