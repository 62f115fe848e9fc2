use serde_json::json;

use super::super::rows::Prompt;
use super::*;

fn read_as(
    row: Value,
    task: Task,
    entry: Option<&Entry>,
    options: &ReadOptions,
) -> Result<Outcome, String> {
    let source = RowSource { file: "x".into(), line: 1 };
    let reading = Reading { task, options, entry, passages: None };
    convert(row.as_object().unwrap(), &source, reading)
}

fn read(row: Value, task: Task) -> Result<Vec<String>, String> {
    match read_as(row, task, None, &ReadOptions::default())? {
        Outcome::Rows(rows) => Ok(rows.iter().map(shown).collect()),
        Outcome::Uncovered => Ok(Vec::new()),
    }
}

/// A row as `prompt>answers`.
fn shown(row: &Row) -> String {
    let (prompt, answer) = match row {
        Row::Completion(row) => (&row.prompt, row.answer.clone()),
        Row::Judged(row) => (&row.prompt, format!("{} {}", row.answer, row.desirable)),
        Row::Preference(row) => (&row.prompt, format!("{} {}", row.chosen, row.rejected)),
        Row::Pair(row) => return format!("{}>{:?} {:?}", row.query, row.positives, row.negatives),
        Row::Asked(row) => return format!("{:?} {}>{:?}", row.history, row.query, row.relevant),
    };
    let prompt = match prompt {
        Prompt::Chat(turns) => turns.iter().map(|turn| &*turn.text).collect::<Vec<_>>().join(" "),
        Prompt::Rewrite { history, query } => format!("{history:?} {query}"),
        Prompt::Text(text) => format!("text {text}"),
    };
    format!("{prompt}>{answer}")
}

fn entry(formatting: Formatting, kto_tag: bool) -> Entry {
    Entry {
        name: "d".to_owned(),
        file_name: "x".to_owned(),
        formatting,
        ranking: false,
        num_samples: None,
        has_subset: false,
        has_columns: false,
        columns: Columns { kto_tag: kto_tag.then(|| "tag".to_owned()), ..Columns::default() },
        tags: Tags::default(),
    }
}

fn sharegpt(answer: &str) -> Value {
    json!([{ "from": "human", "value": "h" }, { "from": "gpt", "value": answer }])
}

fn openai() -> Value {
    json!([{ "role": "user", "content": "h" }, { "role": "assistant", "content": "a" }])
}

#[test]
fn every_form_is_known_by_its_keys() {
    let cases = [
        (json!({ "conversations": sharegpt("a"), "system": "S" }), "S h>a"),
        (json!({ "messages": openai(), "system": "S" }), "S h>a"),
        (json!({ "messages": sharegpt("a") }), "h>a"),
        (json!({ "conversations": openai() }), "h>a"),
        (json!({ "instruction": "i", "input": "j", "output": "o", "system": "S" }), "S i\nj>o"),
        (json!({ "prompt": "p", "completion": "c" }), "text p>c"),
        (json!({ "history": ["a"], "query": "q", "rewrite": "r" }), "[\"a\"] q>r"),
    ];
    for (row, expected) in cases {
        assert_eq!(read(row, Task::Sft).unwrap(), [expected]);
    }
    let row = json!({ "query": "q", "positive": "p", "negative": "n" });
    assert_eq!(read(row, Task::Contrastive).unwrap(), ["q>[\"p\"] [\"n\"]"]);
}

#[test]
fn an_alpaca_history_is_learnt_too() {
    let row = json!({ "instruction": "c", "output": "d", "history": [["a", "b"]] });
    assert_eq!(read(row, Task::Sft).unwrap(), ["a>b", "a b c>d"]);
}

#[test]
fn a_leading_system_message_overrides_the_column() {
    let mut items = sharegpt("a");
    items.as_array_mut().unwrap().insert(0, json!({ "from": "system", "value": "own" }));
    let row = json!({ "conversations": items, "system": "column" });
    assert_eq!(read(row, Task::Sft).unwrap(), ["own h>a"]);
}

#[test]
fn preferences_have_many_forms() {
    let says = |text: &str| json!({ "from": "gpt", "value": text });
    let question = json!([{ "from": "human", "value": "h" }]);
    let cases = [
        (json!({ "conversations": question, "chosen": says("x"), "rejected": says("y") }), "h>x y"),
        (json!({ "instruction": "i", "chosen": "x", "rejected": "y" }), "i>x y"),
        (json!({ "prompt": "p", "chosen": "x", "rejected": "y" }), "text p>x y"),
        (json!({ "history": [], "query": "q", "chosen": "x", "rejected": "y" }), "[] q>x y"),
    ];
    for (row, expected) in cases {
        assert_eq!(read(row, Task::Preference).unwrap(), [expected]);
    }
}

/// LLaMA-Factory notices these too late and keeps the rows, or stops.
#[test]
fn a_ranked_answer_must_be_one() {
    let question = json!([{ "from": "human", "value": "h" }]);
    let good = json!({ "from": "gpt", "value": "y" });
    for (chosen, expected) in [
        (json!({ "from": "human", "value": "x" }), "the chosen answer is the user's"),
        (json!({ "from": "bot", "value": "x" }), "`chosen`: its role `bot` is none of"),
        (json!("x"), "`chosen`: it must be an object, it is a string"),
        (Value::Null, "`chosen`: it must be an object, it is null"),
    ] {
        let row = json!({ "conversations": question, "chosen": chosen, "rejected": good });
        let reason = read(row, Task::Preference).unwrap_err();
        assert!(reason.starts_with(expected), "{reason}");
    }
    let row = json!({ "conversations": sharegpt("a"), "chosen": good, "rejected": good });
    let reason = read(row, Task::Preference).unwrap_err();
    assert_eq!(reason, "its prompt ends with an answer");
    let row = json!({ "instruction": "i", "chosen": "x", "rejected": null });
    assert!(read(row, Task::Preference).unwrap_err().starts_with("it has no `rejected`"));
}

#[test]
fn verdicts_have_many_forms() {
    let cases = [
        (json!({ "conversations": sharegpt("a"), "kto_tag": true }), "h>a true"),
        (json!({ "messages": openai(), "label": false }), "h>a false"),
        (json!({ "instruction": "i", "output": "o", "kto_tag": false }), "i>o false"),
        (json!({ "prompt": "p", "completion": "c", "label": true }), "text p>c true"),
        (json!({ "history": [], "query": "q", "rewrite": "r", "desirable": true }), "[] q>r true"),
    ];
    for (row, expected) in cases {
        assert_eq!(read(row, Task::Kto).unwrap(), [expected]);
    }
}

/// LLaMA-Factory takes such rows for ordinary ones, or turns the verdict round.
#[test]
fn a_verdict_is_true_or_false_and_on_some_answer() {
    let row = json!({ "instruction": "i", "output": "o", "kto_tag": "true" });
    let reason = read(row, Task::Kto).unwrap_err();
    assert_eq!(reason, "`kto_tag` must be true or false, it is a string");
    for row in [
        json!({ "instruction": "i", "output": "", "kto_tag": true }),
        json!({ "conversations": sharegpt(""), "kto_tag": true }),
    ] {
        assert_eq!(read(row, Task::Kto).unwrap_err(), "the answer is empty");
    }
}

#[test]
fn judged_answers_are_not_imitated() {
    for row in [
        json!({ "prompt": "p", "completion": "c", "label": false }),
        json!({ "messages": openai(), "kto_tag": true }),
        json!({ "instruction": "i", "output": "o", "label": true }),
        json!({ "history": [], "query": "q", "rewrite": "r", "desirable": false }),
    ] {
        let reason = read(row, Task::Sft).unwrap_err();
        assert!(reason.ends_with("an answer with a verdict is for KTO, not for SFT"), "{reason}");
    }
    let row = json!({ "instruction": "i", "output": "o", "label": "positive" });
    assert_eq!(read(row, Task::Sft).unwrap(), ["i>o"]);
}

#[test]
fn rows_of_another_kind_are_named_by_their_keys() {
    for (row, task, expected) in [
        (json!({ "a": 1, "b": 2 }), Task::Sft, "its keys (`a`, `b`) are of no known form of SFT"),
        (json!({ "query": "q", "positive": "p" }), Task::Sft, "its keys (`query`, `positive`)"),
        (
            json!({ "query": "q", "rewrite": "r" }),
            Task::Contrastive,
            "its keys (`query`, `rewrite`)",
        ),
        (json!({}), Task::Kto, "its keys (none) are of no known form of KTO"),
        (
            json!({ "prompt": "p", "chosen": "x", "rejected": "y" }),
            Task::Sft,
            "it has no `completion`",
        ),
    ] {
        let reason = read(row, task).unwrap_err();
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn what_the_model_would_not_see_is_refused() {
    for (key, value) in [
        ("tools", json!("[{\"name\": \"f\"}]")),
        ("tools", json!([{ "name": "f" }])),
        ("images", json!(["a.png"])),
        ("videos", json!("a.mp4")),
        ("audios", json!({})),
    ] {
        let row = json!({ "messages": openai(), key: value });
        let reason = read(row, Task::Sft).unwrap_err();
        assert_eq!(reason, format!("it has `{key}`, which would not be shown to the model"));
    }
    let row = json!({ "messages": openai(), "tools": "[]", "images": [], "videos": null });
    assert_eq!(read(row, Task::Sft).unwrap(), ["h>a"]);
}

#[test]
fn uncovered_rows_are_dropped_unless_kept() {
    let row = json!({ "history": [], "query": "q", "rewrite": "r", "covered": false });
    let outcome = read_as(row.clone(), Task::Sft, None, &ReadOptions::default());
    assert_eq!(outcome, Ok(Outcome::Uncovered));
    let options = ReadOptions { drop_uncovered: false, ..ReadOptions::default() };
    let outcome = read_as(row, Task::Sft, None, &options);
    assert!(matches!(outcome, Ok(Outcome::Rows(_))), "{outcome:?}");
}

#[test]
fn the_description_outranks_the_shape() {
    let row = json!({ "instruction": "i", "output": "o", "system": "S", "history": [["a", "b"]],
        "conversations": sharegpt("a") });
    let read = |formatting| {
        let entry = entry(formatting, false);
        match read_as(row.clone(), Task::Sft, Some(&entry), &ReadOptions::default()) {
            Ok(Outcome::Rows(rows)) => rows.iter().map(shown).collect::<Vec<_>>(),
            other => unreachable!("{other:?}"),
        }
    };
    // The defaults name neither `system` nor `history`.
    assert_eq!(read(Formatting::Alpaca), ["i>o"]);
    assert_eq!(read(Formatting::ShareGpt), ["h>a"]);
}

#[test]
fn a_described_verdict_must_be_there() {
    let entry = entry(Formatting::Alpaca, true);
    let row = json!({ "instruction": "i", "output": "o", "label": true });
    let outcome = read_as(row, Task::Kto, Some(&entry), &ReadOptions::default());
    assert!(outcome.unwrap_err().starts_with("it has no `tag`"));
}

#[test]
fn the_nemotron_quirk_is_for_openai_and_on_request() {
    let options = ReadOptions { nemotron_thinking_off: true, ..ReadOptions::default() };
    let prompt = |row: Value, options: &ReadOptions| match read_as(row, Task::Sft, None, options) {
        Ok(Outcome::Rows(rows)) => shown(&rows[0]),
        other => unreachable!("{other:?}"),
    };
    let row = json!({ "messages": openai(), "system": "S" });
    assert_eq!(prompt(row.clone(), &ReadOptions::default()), "S h>a");
    assert_eq!(prompt(row, &options), "S\ndetailed thinking off h>a");
    assert_eq!(prompt(json!({ "messages": openai() }), &options), "detailed thinking off h>a");
    assert_eq!(prompt(json!({ "conversations": sharegpt("a") }), &options), "h>a");
}

/// Whatever stands in a field, the row is converted or refused with a reason.
#[test]
fn no_value_of_a_field_is_too_odd() {
    let says = |role: &str| json!({ "role": role, "content": "x" });
    let rows = [
        json!({ "conversations": sharegpt("a"), "system": "S", "kto_tag": true, "tools": "" }),
        json!({ "messages": openai(), "label": true, "chosen": says("assistant"),
            "rejected": says("assistant") }),
        json!({ "instruction": "i", "input": "j", "output": "o", "history": [["a", "b"]],
            "chosen": "x", "rejected": "y", "kto_tag": true }),
        json!({ "prompt": [says("user")], "completion": [says("assistant")], "label": true,
            "chosen": [says("assistant")], "rejected": [says("assistant")] }),
        json!({ "history": ["a"], "query": "q", "rewrite": "r", "covered": true, "context": {},
            "chosen": "x", "rejected": "y", "desirable": true }),
        json!({ "query": "q", "positives": ["p"], "negatives": [["t", "n"]] }),
    ];
    let odd = [
        json!(null),
        json!(true),
        json!(-1.5),
        json!(""),
        json!("x"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!(["x", 1]),
        json!([{}]),
        json!([{ "role": "user" }]),
        json!([{ "from": 1, "value": {} }]),
        json!({}),
        json!({ "text": [] }),
    ];
    let options = ReadOptions { nemotron_thinking_off: true, ..ReadOptions::default() };
    let tasks = [Task::Sft, Task::Preference, Task::Kto, Task::Contrastive];
    for row in &rows {
        for key in row.as_object().unwrap().keys() {
            for (value, task) in odd.iter().flat_map(|value| tasks.map(|task| (value, task))) {
                let mut row = row.clone();
                row[key] = value.clone();
                match read_as(row.clone(), task, None, &options) {
                    Ok(Outcome::Rows(rows)) => assert!(!rows.is_empty(), "{row}"),
                    Ok(Outcome::Uncovered) => assert_eq!(row["covered"], false, "{row}"),
                    Err(reason) => assert!(reason.len() > 10, "{row}: {reason}"),
                }
            }
        }
    }
}
