//! Validation and wire shapes of asking.

use serde_json::{Value, json};
use time::macros::datetime;

use super::answer::RewriteResponse;
use super::request::{RewriteRequest, SearchRequest};
use crate::error::Error;
use crate::http::extract::parse_json;
use crate::rewrite::conversation::{
    Action, Evidence, Issue, IssueKind, Role, SearchKind, SearchQuery, Source, Span,
};
use crate::rewrite::{Outcome, Usage};
use crate::service::question::{Mode, ModelPair, RewriteTimings, Rewritten};

fn rewrite(body: &Value) -> RewriteRequest {
    parse_json(body.to_string().as_bytes()).unwrap()
}

fn refusal(body: &Value) -> Error {
    rewrite(body).check().expect_err(&body.to_string())
}

#[test]
fn the_whole_of_a_request_is_read() {
    let asked = rewrite(&json!({
        "query": "那有啥好吃的",
        "messages": [{"role": "user", "content": "开原有什么好玩的呢"},
                     {"role": "assistant", "content": "有咸州古城"}],
        "context": {"now": "2024-07-02T10:00:00+08:00", "locale": "zh-CN",
                    "facts": {"product": "CRM系统", "year": 2024, "rate": 0.5, "open": true}},
        "collection": "docs", "mode": "never", "max_variants": 8, "max_rewrite_ms": 60_000,
        "stream": false
    }))
    .check()
    .unwrap();
    let question = asked.question;
    assert_eq!(question.query, "那有啥好吃的");
    assert_eq!(question.messages[1], (Role::Assistant, "有咸州古城".to_owned()));
    assert_eq!(question.now, Some(datetime!(2024-07-02 10:00 +08:00)));
    assert_eq!(question.locale.as_deref(), Some("zh-CN"));
    let facts: Vec<(&str, &str)> =
        question.facts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [("open", "true"), ("product", "CRM系统"), ("rate", "0.5"), ("year", "2024")];
    assert_eq!(facts, expected);
    assert_eq!(question.mode, Mode::Never);
    assert_eq!((question.max_variants, question.max_rewrite_ms), (8, 60_000));
}

#[test]
fn defaults_and_nulls_are_the_same() {
    for body in [
        json!({"query": "refund?"}),
        json!({"query": "refund?", "messages": null, "context": null, "collection": null,
               "mode": null, "max_variants": null, "max_rewrite_ms": null, "stream": null}),
    ] {
        let question = rewrite(&body).check().unwrap().question;
        assert_eq!((question.max_variants, question.max_rewrite_ms), (3, 400));
        assert_eq!(question.mode, Mode::Auto);
    }
}

#[test]
fn the_last_user_message_can_be_the_query() {
    let asked = rewrite(&json!({"messages": [
        {"role": "developer", "content": "Be brief."},
        {"role": "tool", "content": "{}", "tool_call_id": "1"},
        {"role": "user", "content": [{"type": "text", "text": "退款"}, {"type": "text", "text": "规则"}]},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "user", "content": "那多久到账"},
        {"role": "assistant", "content": "…"}
    ]}))
    .check()
    .unwrap();
    assert_eq!(asked.question.query, "那多久到账");
    let texts: Vec<&str> = asked.question.messages.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["Be brief.", "退款\n规则"]);
    assert_eq!(asked.question.messages[0].0, Role::System);
    assert_eq!(asked.positions, [0, 2]);
}

#[test]
fn a_query_repeated_as_the_last_message_is_one_turn() {
    let messages = json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]);
    let asked = rewrite(&json!({"query": "b", "messages": messages})).check().unwrap();
    assert_eq!(asked.question.messages.len(), 1);
    let asked = rewrite(&json!({"query": "c", "messages": messages})).check().unwrap();
    assert_eq!(asked.question.messages.len(), 2);
}

#[test]
fn every_limit_is_held_and_named() {
    let long = |n: usize| "字".repeat(n);
    let messages = |n: usize| vec![json!({"role": "user", "content": "x"}); n];
    let facts = |n: usize| -> Value { (0..n).map(|i| (format!("k{i}"), json!(i))).collect() };
    for (field, good, bad, pointer) in [
        ("query", json!(long(8_000)), json!(long(8_001)), "/query"),
        ("messages", json!(messages(200)), json!(messages(201)), "/messages"),
        (
            "messages",
            json!([{"role": "user", "content": long(200_000)}]),
            json!([{"role": "user", "content": long(200_001)}]),
            "/messages",
        ),
        ("max_variants", json!(1), json!(0), "/max_variants"),
        ("max_variants", json!(8), json!(9), "/max_variants"),
        ("max_rewrite_ms", json!(1), json!(-5), "/max_rewrite_ms"),
        ("max_rewrite_ms", json!(60_000), json!(60_001), "/max_rewrite_ms"),
        ("context", json!({"facts": facts(64)}), json!({"facts": facts(65)}), "/context/facts"),
        (
            "context",
            json!({"facts": {"a": long(1_000)}}),
            json!({"facts": {"a": long(1_001)}}),
            "/context/facts/a",
        ),
    ] {
        let mut body = json!({"query": "q"});
        body[field] = good;
        assert!(rewrite(&body).check().is_ok(), "{field}");
        body[field] = bad;
        assert_eq!(refusal(&body).fields[0].pointer, pointer);
    }
}

#[test]
fn odd_values_are_refused_with_their_place() {
    for (body, pointer) in [
        (json!({}), "/query"),
        (json!({"query": " \n"}), "/query"),
        (json!({"query": "a\u{0}b"}), "/query"),
        (json!({"messages": [{"role": "assistant", "content": "a"}]}), "/query"),
        (
            json!({"query": "q", "messages": [{"role": "user", "content": 7}]}),
            "/messages/0/content",
        ),
        (
            json!({"query": "q", "messages": [{"role": "user", "content": "a\u{0}"}]}),
            "/messages/0/content",
        ),
        (
            json!({"query": "q", "messages": [{"role": "user", "content": [
                {"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}]}),
            "/messages/0/content/1",
        ),
        (json!({"query": "q", "context": {"now": "yesterday"}}), "/context/now"),
        (json!({"query": "q", "context": {"now": "2024-02-30T10:00:00Z"}}), "/context/now"),
        (json!({"query": "q", "context": {"now": "2024-07-02T10:00:00"}}), "/context/now"),
        (json!({"query": "q", "context": {"locale": "中文"}}), "/context/locale"),
        (json!({"query": "q", "context": {"facts": {"a/b": [1]}}}), "/context/facts/a~1b"),
        (json!({"query": "q", "context": {"facts": {"": "x"}}}), "/context/facts/"),
        (json!({"query": "q", "collection": ""}), "/collection"),
        (json!({"query": "q", "collection": "a\u{0}"}), "/collection"),
    ] {
        let error = refusal(&body);
        assert_eq!(error.fields[0].pointer, pointer, "{body}");
        assert_eq!(error.code, "invalid_request");
    }
}

#[test]
fn streams_are_asked_for_by_name() {
    for (body, wanted) in [
        (json!({"query": "q", "stream": true}), true),
        (json!({"query": "q", "stream": false}), false),
        (json!({"query": "q"}), false),
    ] {
        assert_eq!(rewrite(&body).check().unwrap().stream, wanted, "{body}");
    }
}

#[test]
fn misspelt_fields_are_named() {
    for (body, pointer) in [
        (r#"{"query": "q", "max_variant": 3}"#, "/max_variant"),
        (r#"{"query": "q", "context": {"today": ""}}"#, "/context/today"),
        (r#"{"query": "q", "mode": "sometimes"}"#, "/mode"),
        (r#"{"query": "q", "messages": [{"role": "bot", "content": "a"}]}"#, "/messages/0/role"),
        (r#"{"query": "q", "messages": [{"content": "a"}]}"#, "/messages/0/role"),
        (r#"{"query": "q", "messages": [["user", "a"]]}"#, "/messages/0"),
        (r#"{"query": "q", "context": [null]}"#, "/context"),
        (r#"{"query": "q", "max_variants": 1.5}"#, "/max_variants"),
        (r#"{"query": "q", "max_variants": 1e99}"#, "/max_variants"),
        (r#"{"query": "q", "top_k": 5}"#, "/top_k"),
    ] {
        let problem = parse_json::<RewriteRequest>(body.as_bytes()).unwrap_err();
        let document = serde_json::to_value(problem.details("r", "/")).unwrap();
        assert_eq!(document["status"], 422, "{document}");
        assert_eq!(document["errors"][0]["pointer"], pointer, "{document}");
    }
}

#[test]
fn searches_need_a_collection_and_have_their_own_limits() {
    let search =
        |body: Value| parse_json::<SearchRequest>(body.to_string().as_bytes()).unwrap().check();
    let found = search(json!({"query": "q", "collection": "docs"})).unwrap().search;
    assert_eq!((found.top_k, found.rerank, found.include_context), (10, true, false));
    assert_eq!(found.question.collection.as_deref(), Some("docs"));
    let error = search(json!({"query": "q", "top_k": 101, "max_variants": 0})).unwrap_err();
    let pointers: Vec<&str> = error.fields.iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(pointers, ["/collection", "/top_k", "/max_variants"]);
    assert!(parse_json::<SearchRequest>(br#"{"query": "q", "filter": []}"#).is_err());
}

#[test]
fn answers_have_the_documented_shape() {
    let rewritten = Rewritten {
        id: "rw_1".into(),
        query: "那有啥好吃的".into(),
        outcome: Outcome {
            action: Action::Rewrite,
            standalone: "开原有啥好吃的".into(),
            search: vec![SearchQuery {
                text: "开原有啥好吃的".into(),
                kind: SearchKind::Semantic,
                weight: 1.3,
            }],
            issues: vec![Issue {
                kind: IssueKind::AmbiguousReference,
                span: Span { start: 0, end: 1, text: "那".into() },
                resolved_by: Some(Evidence { source: Source::Message(1), text: "开原".into() }),
                confidence: 0.93,
            }],
            clarification: None,
            reason: "reference",
        },
        model: ModelPair { rewriter: None, embedder: "starter-embedder@1".into() },
        cache_hit: true,
        degraded: vec!["rewriter_missing".into()],
        timings: RewriteTimings { gate_ms: 0.2, total_ms: 41.600_04, ..Default::default() },
        usage: Usage { prompt_tokens: 38, completion_tokens: 9, draft_accepted_tokens: 5 },
    };
    // The first message of the request was a tool's, so the turns are its second and third.
    let text = serde_json::to_string(&RewriteResponse::new(rewritten, &[1, 2])).unwrap();
    let expected = concat!(
        r#"{"id":"rw_1","action":"rewrite","reason":"reference","query":"那有啥好吃的","#,
        r#""standalone":"开原有啥好吃的","#,
        r#""search":[{"text":"开原有啥好吃的","kind":"semantic","weight":1.3}],"#,
        r#""issues":[{"type":"ambiguous_reference","span":{"start":0,"end":1,"text":"那"},"#,
        r#""resolved_by":{"source":"message","index":2,"text":"开原"},"confidence":0.93}],"#,
        r#""clarification":null,"model":{"rewriter":null,"embedder":"starter-embedder@1"},"#,
        r#""cache":"hit","degraded":["rewriter_missing"],"#,
        r#""timings_ms":{"gate":0.2,"generate":0.0,"check":0.0,"total":41.6},"#,
        r#""usage":{"prompt_tokens":38,"completion_tokens":9,"draft_accepted_tokens":5}}"#
    );
    assert_eq!(text, expected);
}
