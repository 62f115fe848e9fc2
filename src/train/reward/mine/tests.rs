//! Which pairs and verdicts come out, and that `train::data` reads what is written of them.

use std::path::PathBuf;

use super::*;
use crate::train::data::{self, Prompt, ReadOptions, Rows, Task};

fn candidates(scored: &[(&str, f64)]) -> Vec<Candidate> {
    let candidate = |&(text, reward): &(&str, f64)| Candidate {
        text: text.to_owned(),
        reward: Some(reward),
        n_tokens: text.chars().count(),
    };
    scored.iter().map(candidate).collect()
}

fn options() -> MineOptions {
    MineOptions { max_pairs: 9, max_judged: 9, ..MineOptions::default() }
}

#[test]
fn the_best_goes_against_the_worst_while_the_margin_holds() {
    let found = candidates(&[("a", 0.5), ("b", 2.0), ("c", 0.45), ("d", -1.0), ("e", 0.6)]);
    assert_eq!(pairs(&found, &options()), [(1, 3), (4, 2)]);
    assert_eq!(pairs(&found, &MineOptions { min_margin: 0.2, ..options() }), [(1, 3)]);
    assert_eq!(pairs(&found, &MineOptions { max_pairs: 1, ..options() }), [(1, 3)]);
    assert_eq!(pairs(&found, &MineOptions { min_margin: 3.5, ..options() }), []);
    let picky = MineOptions { min_chosen_reward: Some(1.0), ..options() };
    assert_eq!(pairs(&found, &picky), [(1, 3)]);
    assert_eq!(pairs(&found[..1], &options()), []);
    assert_eq!(pairs(&[], &options()), []);
}

#[test]
fn equal_rewards_are_told_apart_by_length() {
    let found = candidates(&[
        ("long best", 1.0),
        ("best", 1.0),
        ("a far longer worst", 0.0),
        ("worst", 0.0),
        ("x", 0.0),
    ]);
    assert_eq!(pairs(&found, &options()), [(1, 3), (0, 4)]);
}

#[test]
fn a_text_is_taken_once_and_blank_or_failed_ones_never() {
    let mut found =
        candidates(&[("same", 1.0), ("same ", 1.0), (" ", -9.0), ("bad", 0.0), ("bad", 0.0)]);
    found.push(Candidate { text: "failed".to_owned(), reward: None, n_tokens: 1 });
    found.push(Candidate { text: "nan".to_owned(), reward: Some(f64::NAN), n_tokens: 1 });
    assert_eq!(pairs(&found, &options()), [(0, 3)]);
    assert_eq!(verdicts(&found, 0.5, &options()), [(0, true), (3, false)]);
}

#[test]
fn verdicts_leave_out_what_is_near_the_mean() {
    let found = candidates(&[("a", 0.5), ("b", 2.0), ("c", 0.54), ("d", -1.0), ("e", 0.6)]);
    assert_eq!(verdicts(&found, 0.5, &options()), [(1, true), (4, true), (3, false)]);
    let one = MineOptions { max_judged: 1, ..options() };
    assert_eq!(verdicts(&found, 0.5, &one), [(1, true), (3, false)]);
    let picky = MineOptions { min_chosen_reward: Some(1.0), ..options() };
    assert_eq!(verdicts(&found, 0.5, &picky), [(1, true), (3, false)]);
}

#[test]
fn the_mean_is_over_what_was_scored() {
    let mut found = candidates(&[("a", 1.0), ("b", 2.0)]);
    found.push(Candidate { text: "c".to_owned(), reward: None, n_tokens: 1 });
    assert_eq!(mean_reward(&found), Some(1.5));
    assert_eq!(mean_reward(&found[2..]), None);
}

#[test]
fn settings_without_a_meaning_are_refused() {
    options().validate().unwrap();
    let cases = [
        (MineOptions { min_margin: 0.0, ..options() }, "min_margin is 0;"),
        (MineOptions { judged_margin: -1.0, ..options() }, "judged_margin is -1;"),
        (
            MineOptions { min_chosen_reward: Some(f64::NAN), ..options() },
            "min_chosen_reward is NaN",
        ),
        (MineOptions { max_pairs: 0, ..options() }, "max_pairs is 0;"),
        (MineOptions { max_judged: 0, ..options() }, "max_judged is 0;"),
    ];
    for (options, expected) in cases {
        let error = options.validate().unwrap_err();
        assert_eq!(error.code, "mine_options");
        assert!(error.message.starts_with(expected), "{error}");
    }
}

/// Reads records back as the trainers do.
fn read_back(records: &[impl Serialize], task: Task) -> Rows {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("mined.jsonl");
    let lines: Vec<String> =
        records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    fs_err::write(&path, lines.join("\n")).unwrap();
    let options = ReadOptions { strict: true, ..ReadOptions::default() };
    data::read(&[path], task, &options).unwrap().rows
}

fn prompt() -> Prompt {
    Prompt::Rewrite {
        history: vec!["云帆CRM怎么用？".to_owned()], query: "它多少钱？".to_owned()
    }
}

#[test]
fn pairs_are_rows_that_dpo_reads() {
    let record = PreferenceRecord {
        history: vec!["云帆CRM怎么用？".to_owned()],
        query: "它多少钱？".to_owned(),
        chosen: "云帆CRM多少钱？".to_owned(),
        rejected: "它多少钱？".to_owned(),
        chosen_reward: 1.5,
        rejected_reward: -0.25,
    };
    let Rows::Preferences(rows) = read_back(&[record], Task::Preference) else { panic!() };
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].prompt, prompt());
    assert_eq!((&*rows[0].chosen, &*rows[0].rejected), ("云帆CRM多少钱？", "它多少钱？"));
}

#[test]
fn verdicts_are_rows_that_kto_reads() {
    let record = |rewrite: &str, desirable| JudgedRecord {
        history: vec!["云帆CRM怎么用？".to_owned()],
        query: "它多少钱？".to_owned(),
        rewrite: rewrite.to_owned(),
        desirable,
        reward: 0.5,
    };
    let records = [record("云帆CRM多少钱？", true), record("它多少钱？", false)];
    let Rows::Judged(rows) = read_back(&records, Task::Kto) else { panic!() };
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].prompt, prompt());
    assert_eq!((rows[0].desirable, rows[1].desirable), (true, false));
    assert_eq!(rows[1].answer, "它多少钱？");
}
