//! Table-driven tests of the gate, and the reader of case tables for the other rules.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::rewrite::conversation::{Glossary, Sense, Term, Turn};

/// A conversation from a case: `query`, `history` (the user speaks first), `facts`, `glossary`.
pub(in crate::rewrite) fn conversation(case: &Value) -> Conversation {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    let turns = list(&case["history"]).into_iter().map(|turn| text(&turn)).zip(roles);
    let terms = list(&case["glossary"]).into_iter().map(|term| Term {
        id: text(&term["id"]),
        term: text(&term["term"]),
        aliases: list(&term["aliases"]).iter().map(text).collect(),
        senses: list(&term["senses"])
            .iter()
            .map(|sense| Sense {
                id: text(&sense["id"]),
                label: text(&sense["label"]),
                definition: text(&sense["definition"]),
            })
            .collect(),
    });
    let facts = case["facts"].as_object().cloned().unwrap_or_default();
    Conversation {
        query: text(&case["query"]),
        turns: turns.map(|(text, role)| Turn { role, text }).collect(),
        now: None,
        locale: None,
        facts: facts.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        glossary: Arc::new(Glossary { terms: terms.collect() }),
        held_senses: Default::default(),
    }
}

/// The cases of a table, with all failures reported at once.
pub(in crate::rewrite) fn check(table: &str, run: impl Fn(&Value) -> Result<(), String>) {
    let cases: Vec<Value> = serde_json::from_str(table).unwrap();
    assert!(!cases.is_empty());
    let failures: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn kind_name(kind: IssueKind) -> &'static str {
    match kind {
        IssueKind::MissingInformation => "missing_information",
        IssueKind::Vague => "vague",
        IssueKind::AmbiguousReference => "ambiguous_reference",
    }
}

#[test]
fn complete_queries_are_left_alone_after_any_history() {
    let tables: Value = serde_json::from_str(include_str!("../testdata/complete.json")).unwrap();
    let histories = [
        serde_json::json!([]),
        serde_json::json!(["CRM系统的报表怎么导出", "在报表中心点导出"]),
        serde_json::json!(["Tell me about the album and the server", "It was recorded in Paris."]),
    ];
    let facts =
        serde_json::json!({"product": "CRM系统", "region": "华东区", "period": "2024年6月"});
    let mut failures = Vec::new();
    for queries in tables.as_object().unwrap().values() {
        for query in queries.as_array().unwrap() {
            for history in &histories {
                let case = serde_json::json!({"query": query, "history": history, "facts": facts});
                let diagnosis = diagnose(&conversation(&case));
                if !diagnosis.complete()
                    || diagnosis.depends_on_history
                    || diagnosis.reason != "complete"
                {
                    failures.push(format!("{query}: {:?}", diagnosis.issues));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn troubled_queries_are_found_with_their_spans() {
    check(include_str!("../testdata/gate.json"), |case| {
        let conversation = conversation(case);
        let diagnosis = diagnose(&conversation);
        let found: Vec<Value> = diagnosis
            .issues
            .iter()
            .map(|issue| serde_json::json!([kind_name(issue.kind), issue.span.text]))
            .collect();
        let points_back = case["reason"] == "pronoun" || case["reason"] == "ellipsis";
        let has_history = !conversation.turns.is_empty();
        let right = Value::Array(found.clone()) == case["issues"]
            && case["reason"] == diagnosis.reason
            && diagnosis.depends_on_history == (points_back && has_history);
        let seen = format!("{} -> {} {found:?}", case["query"], diagnosis.reason);
        if right { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn spans_count_chars_and_hold_their_words() {
    let case =
        serde_json::json!({"query": "😀請問，這個功能怎麼用", "history": ["線索打分", "好"]});
    let diagnosis = diagnose(&conversation(&case));
    let span = &diagnosis.issues[0].span;
    assert_eq!((span.start, span.end, span.text.as_str()), (4, 8, "這個功能"));
}

#[test]
fn hostile_text_neither_panics_nor_hangs() {
    let pieces = [
        "那",
        "这",
        "第",
        "it",
        "the other",
        "“",
        "`",
        "2024-",
        "\u{200d}",
        "é",
        "😀",
        "、",
        "?",
        "呢",
        "\0",
        "𠮷",
        "'s",
        "的",
        "1.",
        "\n",
    ];
    for (index, first) in pieces.iter().enumerate() {
        for second in &pieces {
            let query =
                format!("{first}{second} {}{first}", pieces[(index * 7 + 3) % pieces.len()]);
            let case = serde_json::json!({"query": query, "history": [query.repeat(50), "1. \n2. a\n、、和"], "facts": {"": "", "时间": query}});
            let conversation = conversation(&case);
            let diagnosis = diagnose(&conversation);
            let length = query.chars().count();
            assert!(
                diagnosis
                    .issues
                    .iter()
                    .all(|issue| issue.span.start <= issue.span.end && issue.span.end <= length),
                "{query}"
            );
            let edits = [
                crate::rewrite::facts::fill(&conversation, &diagnosis),
                crate::rewrite::reference::resolve(&conversation, &diagnosis),
            ]
            .concat();
            assert!(edits.iter().all(|edit| edit.span.end <= length), "{query}");
        }
    }
}

#[test]
fn an_open_term_is_an_issue_and_a_decided_one_is_resolved() {
    let apple = serde_json::json!([{"id": "apple", "term": "苹果", "senses": [
        {"id": "company", "label": "苹果公司", "definition": "美国科技公司，生产iPhone"},
        {"id": "fruit", "label": "苹果（水果）", "definition": "蔷薇科植物的果实，可以食用"}]}]);
    let open = diagnose(&conversation(
        &serde_json::json!({"query": "苹果最近的行情怎么样？", "glossary": apple}),
    ));
    assert_eq!((open.reason, open.issues.len()), ("ambiguous_term", 1));
    assert!(open.issues[0].resolved_by.is_none() && !open.depends_on_history);
    let decided = serde_json::json!({"query": "苹果的股价行情怎么样？", "history": ["iPhone卖得好吗", "好"], "glossary": apple});
    let decided = diagnose(&conversation(&decided));
    assert!(decided.issues[0].resolved_by.is_some());
}
