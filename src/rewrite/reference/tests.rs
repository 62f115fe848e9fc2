//! Table-driven tests of the fallback.

use serde_json::json;

use super::*;
use crate::rewrite::edits;
use crate::rewrite::gate::diagnose;
use crate::rewrite::gate::tests::{check, conversation};

#[test]
fn pointers_and_gaps_take_the_words_of_the_conversation() {
    check(include_str!("../testdata/references.json"), |case| {
        let conversation = conversation(case);
        let edits = resolve(&conversation, &diagnose(&conversation));
        let text = edits::apply(&conversation.query, &edits);
        let evidence_fits = case["from"].as_u64().is_none_or(|turn| {
            let turn = usize::try_from(turn).unwrap();
            edits[..].first().is_some_and(|edit| {
                edit.evidence.source == Source::Message(turn)
                    && case["words"] == edit.evidence.text.as_str()
            })
        });
        let right = case["expect"] == text.as_str() && evidence_fits;
        if right {
            Ok(())
        } else {
            Err(format!("{} {} -> {text} {edits:?}", case["query"], case["history"]))
        }
    });
}

#[test]
fn evidence_is_copied_from_its_turn_word_for_word() {
    check(include_str!("../testdata/references.json"), |case| {
        let conversation = conversation(case);
        for edit in resolve(&conversation, &diagnose(&conversation)) {
            let Source::Message(turn) = edit.evidence.source else {
                return Err(format!("{edit:?}"));
            };
            if !conversation.turns[turn].text.contains(&edit.evidence.text)
                || !edit.replacement.contains(&edit.evidence.text)
            {
                return Err(format!("{edit:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn newer_and_named_things_come_first() {
    let case = json!({"query": "?", "history": ["ERP系统怎么收费", "按年收费", "《用户手册》在哪里下载", "在官网"], "facts": {"product": "云帆"}});
    let found = antecedents(&conversation(&case));
    let names: Vec<&str> = found.iter().map(|candidate| candidate.text.as_str()).collect();
    assert_eq!(names, vec!["用户手册", "ERP系统", "云帆"]);
    assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert_eq!(found[0].source, Source::Message(2));
    assert_eq!(found[2].source, Source::Fact("product".to_owned()));
}

#[test]
fn system_turns_are_no_source() {
    let mut told =
        conversation(&json!({"query": "它怎么收费？", "history": ["CRM系统有哪些功能"]}));
    told.turns[0].role = crate::rewrite::conversation::Role::System;
    assert!(antecedents(&told).is_empty());
}

#[test]
fn the_topic_stands_beside_what_leans_on_it() {
    let cases = [
        (
            "How do I apply?",
            ["Can I pay my rates in instalments?", "Yes."],
            "How do I apply (pay my rates in instalments)?",
        ),
        (
            "How much per hour?",
            ["Where can I park near the clinic?", "In the garage on Elm Street."],
            "How much per hour (In the garage on Elm Street)?",
        ),
        ("要带电脑吗？", ["请问少儿编程班几岁可以报名？", "7 岁起。"], "少儿编程班，要带电脑吗？"),
        (
            "多久浇一次水？",
            ["有没有适合新手的盆栽？", "推荐虎皮兰，耐旱。"],
            "虎皮兰，多久浇一次水？",
        ),
        (
            "What does ERR-4220 mean?",
            ["Can I pay my rates in instalments?", "Yes."],
            "What does ERR-4220 mean?",
        ),
    ];
    for (query, history, expected) in cases {
        let conversation = conversation(&json!({"query": query, "history": history}));
        let edit = beside(&conversation, &diagnose(&conversation));
        let text = edits::apply(query, edit.as_slice());
        assert_eq!(text, expected);
    }
}
