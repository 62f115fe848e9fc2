use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::error::Error;

/// A folder with JSONL files, one value a line; `dataset_info.json` is written as it is.
fn folder(files: &[(&str, Vec<Value>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, rows) in files {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs_err::write(folder.path().join(name), lines.join("\n")).unwrap();
    }
    folder
}

fn describe(folder: &TempDir, info: &Value) {
    fs_err::write(folder.path().join("dataset_info.json"), info.to_string()).unwrap();
}

fn read_names(
    folder: &Path,
    names: &[&str],
    task: Task,
    options: &ReadOptions,
) -> Result<Dataset, Error> {
    let files: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
    read(&files, task, options)
}

fn read_one(folder: &TempDir, name: &str, task: Task) -> Result<Dataset, Error> {
    read_names(folder.path(), &[name], task, &ReadOptions::default())
}

fn ours(query: &str) -> Value {
    json!({ "history": [], "query": query, "rewrite": "r" })
}

fn alpaca(instruction: &str) -> Value {
    json!({ "instruction": instruction, "output": "o" })
}

fn sources(dataset: &Dataset) -> Vec<usize> {
    let Rows::Completions(rows) = &dataset.rows else { unreachable!() };
    rows.iter().map(|row| row.source.line).collect()
}

/// Every row read is accounted for.
fn assert_complete(dataset: &Dataset) {
    for counts in dataset.counts_by_file() {
        let n_known = counts.n_rejected + counts.n_uncovered + counts.n_left_out + counts.n_used;
        assert_eq!(counts.n_read, n_known, "{counts:?}");
        let n_kept = counts.n_rows + counts.n_repeated - counts.n_duplicates;
        assert_eq!(counts.n_kept, n_kept, "{counts:?}");
    }
    let n_kept: usize = dataset.counts_by_file().iter().map(|counts| counts.n_kept).sum();
    assert_eq!((n_kept, n_kept), (dataset.rows.len(), dataset.report.n_kept));
}

#[test]
fn every_row_is_accounted_for() {
    let uncovered = json!({ "history": [], "query": "u", "rewrite": "r", "covered": false });
    let chat = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" },
        { "role": "user", "content": "c" }, { "role": "assistant", "content": "d" }]);
    let folder = folder(&[
        ("a.jsonl", vec![ours("1"), ours("1"), ours(""), uncovered, json!({ "x": 1 })]),
        ("b.jsonl", vec![ours("1"), json!({ "messages": chat })]),
    ]);
    let options = ReadOptions::default();
    let dataset = read_names(folder.path(), &["a.jsonl", "b.jsonl"], Task::Sft, &options).unwrap();
    assert_complete(&dataset);
    assert_eq!(sources(&dataset), [1, 2, 2]);
    let report = &dataset.report;
    assert_eq!((report.n_read, report.n_kept, report.n_duplicates), (7, 3, 2));
    let rejected: Vec<(usize, &str)> =
        report.rejected.iter().map(|row| (row.source.line, row.reason.as_str())).collect();
    assert_eq!(rejected[0], (3, "`query` is empty"));
    assert_eq!(rejected[1].0, 5);
    let [first, second] = dataset.counts_by_file() else { unreachable!() };
    assert!(first.file.ends_with("a.jsonl"));
    let counts = (first.n_read, first.n_rejected, first.n_uncovered, first.n_used, first.n_kept);
    assert_eq!(counts, (5, 2, 1, 2, 1));
    let counts = (second.n_read, second.n_used, second.n_rows, second.n_duplicates, second.n_kept);
    assert_eq!(counts, (2, 2, 3, 1, 2));
}

#[test]
fn strictness_makes_the_first_bad_row_an_error() {
    let folder = folder(&[("a.jsonl", vec![ours("1"), ours(""), json!({ "x": 1 })])]);
    let strict = ReadOptions { strict: true, ..ReadOptions::default() };
    let error = read_names(folder.path(), &["a.jsonl"], Task::Sft, &strict).unwrap_err();
    assert_eq!(error.code, "data_row_rejected");
    assert!(error.message.contains("a.jsonl, row 2: `query` is empty; 1 more row is"), "{error}");
}

#[test]
fn duplicates_stay_when_wanted() {
    let folder = folder(&[("a.jsonl", vec![ours("1"), ours("1")])]);
    let options = ReadOptions { deduplicate: false, ..ReadOptions::default() };
    let dataset = read_names(folder.path(), &["a.jsonl"], Task::Sft, &options).unwrap();
    assert_eq!((dataset.rows.len(), dataset.report.n_duplicates), (2, 0));
    assert_complete(&dataset);
}

#[test]
fn equal_files_have_equal_hashes_and_other_options_others() {
    let rows = vec![ours("1"), ours("2"), ours("1")];
    let (one, two) = (folder(&[("a.jsonl", rows.clone())]), folder(&[("b.jsonl", rows)]));
    let (one, two) = (read_one(&one, "a.jsonl", Task::Sft), read_one(&two, "b.jsonl", Task::Sft));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.report.sha256, two.report.sha256);
    assert_eq!(one.report.sha256, sha256(&one.rows));
}

#[test]
fn a_json_array_gives_indices() {
    let folder = tempfile::tempdir().unwrap();
    let text = serde_json::to_string_pretty(&json!([ours("1"), 3, ours("2")])).unwrap();
    fs_err::write(folder.path().join("a.json"), text).unwrap();
    let dataset = read_one(&folder, "a.json", Task::Sft).unwrap();
    assert_eq!(sources(&dataset), [1, 3]);
    assert_eq!(dataset.report.rejected[0].source.line, 2);
}

#[test]
fn files_without_use_are_errors() {
    let folder = folder(&[
        ("pairs.jsonl", vec![json!({ "query": "q", "positive": "p" }); 2]),
        ("empty.jsonl", vec![]),
        ("a.csv", vec![json!(1)]),
        (
            "uncovered.jsonl",
            vec![json!({ "history": [], "query": "u", "rewrite": "r", "covered": false })],
        ),
    ]);
    let error = |name: &str| read_one(&folder, name, Task::Sft).unwrap_err();
    let message = error("pairs.jsonl").to_string();
    let expected = "pairs.jsonl has no row that can be used for SFT training: 2 are rejected, the \
                    first (row 1) because its keys (`query`, `positive`) are of no known form";
    assert!(message.contains(expected), "{message}");
    assert_eq!(error("empty.jsonl").code, "data_file_empty");
    assert_eq!(error("missing.jsonl").code, "data_file_missing");
    assert_eq!(error("a.csv").code, "data_file_type");
    let message = error("uncovered.jsonl").to_string();
    assert!(message.contains("all 1 are marked as not covered"), "{message}");
    let none = read(&[], Task::Sft, &ReadOptions::default()).unwrap_err();
    assert_eq!(none.code, "data_missing");
}

/// Trap 1 of `dataset_info.json`.
#[test]
fn a_columns_object_takes_the_other_columns_away() {
    let folder = folder(&[("a.jsonl", vec![json!({ "q": "x", "input": "i", "output": "o" })])]);
    describe(
        &folder,
        &json!({
            "lost": { "file_name": "a.jsonl", "columns": { "prompt": "q" } },
            "kept": { "file_name": "a.jsonl", "columns": { "prompt": "q", "response": "output" } },
        }),
    );
    let error = read_one(&folder, "dataset_info.json#lost", Task::Sft).unwrap_err();
    assert!(error.message.contains("its `columns` must name `response`"), "{error}");
    let dataset = read_one(&folder, "dataset_info.json#kept", Task::Sft).unwrap();
    let Rows::Completions(rows) = &dataset.rows else { unreachable!() };
    let Prompt::Chat(turns) = &rows[0].prompt else { unreachable!() };
    assert_eq!((turns.len(), &*turns[0].text), (1, "x"));
    let note = "a.jsonl has columns that dataset `kept` does not use: `input`";
    assert!(dataset.report.notes[0].ends_with(note), "{:?}", dataset.report.notes);
}

/// Trap 2 of `dataset_info.json`, and the same for `kto_tag`.
#[test]
fn a_dataset_must_be_for_the_task() {
    let folder = folder(&[("a.jsonl", vec![alpaca("1")])]);
    let columns = json!({ "prompt": "instruction", "response": "output", "kto_tag": "t",
        "chosen": "c", "rejected": "d" });
    describe(
        &folder,
        &json!({
            "plain": { "file_name": "a.jsonl" },
            "ranked": { "file_name": "a.jsonl", "ranking": true },
            "full": { "file_name": "a.jsonl", "ranking": true, "columns": columns },
            "judged": { "file_name": "a.jsonl", "columns": columns },
            "tags": { "file_name": "a.jsonl", "formatting": "sharegpt", "tags": { "role_tag": "r" } },
            "chat": { "file_name": "a.jsonl", "formatting": "sharegpt", "columns": columns },
        }),
    );
    let cases = [
        ("plain", Task::Preference, "preference training needs `\"ranking\": true`"),
        ("ranked", Task::Sft, "`ranking` is true, which is for preferences, not for SFT"),
        ("ranked", Task::Kto, "`ranking` is true, which is for preferences, not for KTO"),
        ("ranked", Task::Preference, "its `columns` must name `chosen`"),
        ("plain", Task::Kto, "KTO needs `kto_tag` among its `columns`"),
        ("judged", Task::Sft, "it names a `kto_tag`, which is for KTO"),
        ("plain", Task::Contrastive, "it describes chats"),
        ("tags", Task::Sft, "its `tags` must name `content_tag`"),
        ("chat", Task::Kto, "its `columns` must name `messages`"),
    ];
    for (name, task, expected) in cases {
        let error = read_one(&folder, &format!("dataset_info.json#{name}"), task).unwrap_err();
        assert!(error.message.contains(expected), "{name}: {error}");
        assert!(error.message.starts_with(&format!("dataset `{name}` of")), "{error}");
    }
    let error = read_one(&folder, "dataset_info.json#full", Task::Preference).unwrap_err();
    assert_eq!(error.code, "data_column_missing");
}

#[test]
fn a_missing_column_is_named_with_those_that_are_there() {
    let folder = folder(&[("a.jsonl", vec![alpaca("1"), json!({ "b": 1 })])]);
    let columns = json!({ "prompt": "question", "response": "output" });
    describe(&folder, &json!({ "d": { "file_name": "a.jsonl", "columns": columns } }));
    let error = read_one(&folder, "dataset_info.json#d", Task::Sft).unwrap_err();
    assert_eq!(error.code, "data_column_missing");
    let expected = "a.jsonl has no column `question`, which dataset `d` names as `prompt`; its \
                    columns: `b`, `instruction`, `output`";
    assert!(error.message.ends_with(expected), "{error}");
}

#[test]
fn a_file_is_read_as_the_description_beside_it_says() {
    let row = json!({ "q": "x", "a": "y", "c": "z" });
    let folder = folder(&[("a.jsonl", vec![row]), ("b.jsonl", vec![alpaca("1")])]);
    let sft = json!({ "file_name": "a.jsonl", "columns": { "prompt": "q", "response": "a" } });
    let ranked = json!({ "file_name": "a.jsonl", "ranking": true,
        "columns": { "prompt": "q", "chosen": "a", "rejected": "c" } });
    describe(&folder, &json!({ "sft": sft, "ranked": ranked }));
    assert_eq!(read_one(&folder, "a.jsonl", Task::Sft).unwrap().rows.len(), 1);
    let dataset = read_one(&folder, "a.jsonl", Task::Preference).unwrap();
    let Rows::Preferences(rows) = &dataset.rows else { unreachable!() };
    assert_eq!((rows[0].chosen.as_str(), rows[0].rejected.as_str()), ("y", "z"));
    assert_eq!(read_one(&folder, "b.jsonl", Task::Sft).unwrap().rows.len(), 1);
    let error = read_one(&folder, "a.jsonl", Task::Kto).unwrap_err();
    assert_eq!(error.code, "dataset_info");
    describe(&folder, &json!({ "one": sft, "two": sft }));
    let error = read_one(&folder, "a.jsonl", Task::Sft).unwrap_err();
    assert!(error.message.contains("name a.jsonl: `one`, `two`; say which"), "{error}");
}

#[test]
fn a_dataset_info_needs_a_name() {
    let folder = folder(&[("a.jsonl", vec![alpaca("1")])]);
    describe(&folder, &json!({ "d": { "file_name": "a.jsonl" } }));
    let error = read_one(&folder, "dataset_info.json", Task::Sft).unwrap_err();
    assert!(error.message.ends_with("dataset_info.json#NAME; it has `d`"), "{error}");
    let error = read_one(&folder, "dataset_info.json#e", Task::Sft).unwrap_err();
    assert!(error.message.contains("has no dataset `e`"), "{error}");
}

/// Trap 4: a dataset may be a folder.
#[test]
fn a_dataset_may_be_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("many");
    fs_err::create_dir(&inner).unwrap();
    for name in ["b.jsonl", "a.jsonl", ".hidden"] {
        fs_err::write(inner.join(name), alpaca(name).to_string()).unwrap();
    }
    describe(&folder, &json!({ "d": { "file_name": "many", "subset": "x" } }));
    let dataset = read_one(&folder, "dataset_info.json#d", Task::Sft).unwrap();
    let files: Vec<&str> = dataset.counts_by_file().iter().map(|counts| &*counts.file).collect();
    assert!(files.len() == 2 && files[0].ends_with("a.jsonl"), "{files:?}");
    assert!(dataset.report.notes[0].contains("`subset` of dataset `d`"));
    assert_eq!(read_one(&folder, "many", Task::Sft).unwrap().rows.len(), 2);
    fs_err::write(inner.join("c.parquet"), "x").unwrap();
    let error = read_one(&folder, "dataset_info.json#d", Task::Sft).unwrap_err();
    assert_eq!(error.code, "data_file_type");
}

/// Trap 3: more samples than rows.
#[test]
fn samples_are_drawn_once_unless_asked_otherwise() {
    let rows: Vec<Value> = (0..20).map(|idx| alpaca(&idx.to_string())).collect();
    let folder = folder(&[("a.jsonl", rows)]);
    describe(
        &folder,
        &json!({
            "few": { "file_name": "a.jsonl", "num_samples": 5 },
            "many": { "file_name": "a.jsonl", "num_samples": 30 },
        }),
    );
    let read = |name: &str, options: &ReadOptions| {
        read_names(folder.path(), &[&format!("dataset_info.json#{name}")], Task::Sft, options)
            .unwrap()
    };
    let few = read("few", &ReadOptions::default());
    assert_complete(&few);
    assert_eq!((few.rows.len(), few.counts_by_file()[0].n_left_out), (5, 15));
    assert!(sources(&few).is_sorted());
    assert_eq!(sources(&few), sources(&read("few", &ReadOptions::default())));
    let other = ReadOptions { seed: 1, ..ReadOptions::default() };
    assert_ne!(sources(&few), sources(&read("few", &other)));
    let many = read("many", &ReadOptions::default());
    assert_eq!(many.rows.len(), 20);
    assert!(many.report.notes[0].starts_with("`num_samples` is 30, but there are 20 rows"));
    let again = read("many", &ReadOptions { resample: true, ..ReadOptions::default() });
    assert_complete(&again);
    assert_eq!((again.rows.len(), again.counts_by_file()[0].n_repeated), (30, 10));
}

#[test]
fn queries_find_their_passages() {
    let folder = folder(&[
        (
            "x_queries.jsonl",
            vec![
                json!({ "id": "1", "query": "a", "positive": "p1", "negatives": ["p2"] }),
                json!({ "id": "2", "query": "b", "positive": "p9" }),
            ],
        ),
        (
            "x_passages.jsonl",
            vec![
                json!({ "id": "p1", "title": "T", "text": "one" }),
                json!({ "id": "p2", "title": "", "text": "two" }),
            ],
        ),
        ("y_queries.jsonl", vec![json!({ "query": "a", "positive": "p1" })]),
        ("z_passages.jsonl", vec![json!({ "id": "p1", "text": "one" })]),
    ]);
    for names in [&["x_queries.jsonl"][..], &["x_passages.jsonl", "x_queries.jsonl"]] {
        let options = ReadOptions::default();
        let dataset = read_names(folder.path(), names, Task::Contrastive, &options).unwrap();
        let Rows::Pairs(rows) = &dataset.rows else { unreachable!() };
        assert_eq!((rows.len(), &rows[0].positives[0][..]), (1, "T\none"));
        assert_eq!(rows[0].negatives, ["two"]);
        let reason = &dataset.report.rejected[0].reason;
        assert_eq!(reason, "`positive`: there is no passage with the id `p9`");
        assert_eq!(dataset.counts_by_file().len(), 2);
    }
    let error = read_one(&folder, "x_passages.jsonl", Task::Contrastive).unwrap_err();
    assert!(error.message.contains("x_passages.jsonl has passages only; name "), "{error}");
    for name in ["y_queries.jsonl", "z_passages.jsonl"] {
        let error = read_one(&folder, name, Task::Contrastive).unwrap_err();
        assert_eq!(error.code, "data_file_missing", "{error}");
    }
}
