//! This project's own rows: `{history, query, rewrite}`, judged with `desirable`, or ranked with
//! `chosen` and `rejected`.

use serde_json::Value;

use super::ReadOptions;
use super::chat::ranked;
use super::fields::{Fields, filled_text, kind_of, present, required_flag, required_list};
use super::rows::{Completion, Judged, Prompt, Row, RowSource, Task};

/// Whether a row is marked as one whose rewrite adds words that its history lacks.
pub fn is_uncovered(row: &Fields) -> Result<bool, String> {
    match present(row, "covered") {
        None => Ok(false),
        Some(_) => Ok(!required_flag(row, "covered")?),
    }
}

/// The row that one of ours gives.
pub fn row(
    row: &Fields,
    task: Task,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Row, String> {
    let prompt = Prompt::Rewrite {
        history: history(row, options)?,
        query: filled_text(row, "query")?.to_owned(),
    };
    if task == Task::Preference {
        return ranked(prompt, filled_text(row, "chosen")?, filled_text(row, "rejected")?, source);
    }
    let answer = filled_text(row, "rewrite")?.to_owned();
    let source = source.clone();
    Ok(match task {
        Task::Kto => {
            let desirable = required_flag(row, "desirable")?;
            Row::Judged(Judged { prompt, answer, desirable, source })
        }
        _ => Row::Completion(Completion { prompt, answer, source }),
    })
}

/// The turns before the query, led by what is known beside them when that is wanted.
pub fn history(row: &Fields, options: &ReadOptions) -> Result<Vec<String>, String> {
    let mut history = context(row, options)?;
    for (idx, turn) in required_list(row, "history")?.iter().enumerate() {
        let Value::String(turn) = turn else {
            let kind = kind_of(turn);
            return Err(format!("turn {} of `history` must be a string, it is {kind}", idx + 1));
        };
        history.push(turn.clone());
    }
    Ok(history)
}

/// `context` holds facts that the rewrite may use; the model sees them only as turns.
fn context(row: &Fields, options: &ReadOptions) -> Result<Vec<String>, String> {
    let facts = match present(row, "context") {
        None => return Ok(Vec::new()),
        Some(Value::Object(facts)) => facts,
        Some(other) => {
            return Err(format!("`context` must be an object, it is {}", kind_of(other)));
        }
    };
    if !facts.is_empty() && !options.context_as_history {
        return Err("its `context` is not part of the prompt, so that the model would learn to invent it (`context_as_history` puts it there)".to_owned());
    }
    let line = |(name, fact): (&String, &Value)| match fact {
        Value::String(fact) => Ok(format!("{name}: {fact}")),
        other => Err(format!("`{name}` of `context` must be a string, it is {}", kind_of(other))),
    };
    facts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value, task: Task, options: &ReadOptions) -> Result<Row, String> {
        let source = RowSource { file: "x".into(), line: 1 };
        row(fields.as_object().unwrap(), task, &source, options)
    }

    fn prompt(history: &[&str]) -> Prompt {
        let history = history.iter().map(|turn| (*turn).to_owned()).collect();
        Prompt::Rewrite { history, query: "q".to_owned() }
    }

    #[test]
    fn each_task_has_its_form() {
        let options = ReadOptions::default();
        let fields = json!({ "id": "1", "lang": "zh", "history": ["a", "b"], "query": "q",
            "rewrite": "r", "kind": "x", "desirable": true, "chosen": "c", "rejected": "d" });
        let read = |task| read(fields.clone(), task, &options).unwrap();
        let Row::Completion(row) = read(Task::Sft) else { unreachable!() };
        assert_eq!((row.prompt, row.answer.as_str()), (prompt(&["a", "b"]), "r"));
        let Row::Judged(row) = read(Task::Kto) else { unreachable!() };
        assert!(row.desirable && row.answer == "r");
        let Row::Preference(row) = read(Task::Preference) else { unreachable!() };
        assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("c", "d"));
    }

    #[test]
    fn a_context_is_never_lost() {
        let fields = json!({ "history": ["a"], "query": "q", "rewrite": "r",
            "context": { "location": "michigan" } });
        let reason = read(fields.clone(), Task::Sft, &ReadOptions::default()).unwrap_err();
        assert!(reason.starts_with("its `context` is not part of the prompt"), "{reason}");
        let options = ReadOptions { context_as_history: true, ..ReadOptions::default() };
        let Row::Completion(row) = read(fields, Task::Sft, &options).unwrap() else {
            unreachable!()
        };
        assert_eq!(row.prompt, prompt(&["location: michigan", "a"]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (json!({ "query": "q", "rewrite": "r" }), Task::Sft, "it has no `history`"),
            (
                json!({ "history": "a", "query": "q", "rewrite": "r" }),
                Task::Sft,
                "`history` must be a list",
            ),
            (
                json!({ "history": [1], "query": "q", "rewrite": "r" }),
                Task::Sft,
                "turn 1 of `history` must be",
            ),
            (json!({ "history": [], "query": " ", "rewrite": "r" }), Task::Sft, "`query` is empty"),
            (
                json!({ "history": [], "query": "q", "rewrite": "" }),
                Task::Sft,
                "`rewrite` is empty",
            ),
            (
                json!({ "history": [], "query": "q", "rewrite": "r" }),
                Task::Kto,
                "it has no `desirable`",
            ),
            (
                json!({ "history": [], "query": "q", "chosen": "r" }),
                Task::Preference,
                "it has no `rejected`",
            ),
            (
                json!({ "history": [], "query": "q", "chosen": "r", "rejected": "r" }),
                Task::Preference,
                "the chosen and",
            ),
        ];
        for (fields, task, expected) in cases {
            let reason = read(fields, task, &ReadOptions::default()).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn covered_is_true_unless_it_says_otherwise() {
        let uncovered = |fields: Value| is_uncovered(fields.as_object().unwrap());
        assert_eq!(uncovered(json!({})), Ok(false));
        assert_eq!(uncovered(json!({ "covered": true })), Ok(false));
        assert_eq!(uncovered(json!({ "covered": false })), Ok(true));
        assert!(uncovered(json!({ "covered": "no" })).is_err());
    }
}
