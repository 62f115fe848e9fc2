//! Table-driven tests of the facts.

use super::*;
use crate::rewrite::edits;
use crate::rewrite::gate::diagnose;
use crate::rewrite::gate::tests::{check, conversation};

#[test]
fn facts_go_where_the_query_has_a_gap_and_nowhere_else() {
    check(include_str!("../testdata/facts.json"), |case| {
        let conversation = conversation(case);
        let edits = fill(&conversation, &diagnose(&conversation));
        let text = edits::apply(&conversation.query, &edits);
        let sources: Vec<&str> = edits
            .iter()
            .map(|edit| match &edit.evidence.source {
                Source::Fact(key) => key.as_str(),
                _ => "no fact",
            })
            .collect();
        let right = case["expect"] == text && serde_json::json!(sources) == case["sources"];
        if right { Ok(()) } else { Err(format!("{} -> {text} {sources:?}", case["query"])) }
    });
}

#[test]
fn evidence_holds_the_words_of_the_fact() {
    check(include_str!("../testdata/facts.json"), |case| {
        let conversation = conversation(case);
        for edit in fill(&conversation, &diagnose(&conversation)) {
            let Source::Fact(key) = &edit.evidence.source else { return Err("no fact".into()) };
            let value = conversation.facts[key].trim();
            if edit.evidence.text != value || !edit.replacement.contains(value) {
                return Err(format!("{edit:?}"));
            }
        }
        Ok(())
    });
}
