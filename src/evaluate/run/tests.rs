use std::collections::BTreeMap;
use std::io::Write;

use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-24 10:00:00 UTC);

fn header() -> RunHeader {
    let model = |id: &str| ModelHash { id: id.into(), sha256: "ab".repeat(32) };
    RunHeader {
        format: FORMAT,
        suite: "seed-cases".into(),
        seed: 7,
        models: BTreeMap::from([("rewriter".into(), model("starter-rewriter"))]),
        data_sha256: "cd".repeat(32),
        code: CodeVersion { version: "0.1.0".into(), build: None },
        options: BTreeMap::from([("k".into(), 10.into())]),
        n_turns: 3,
    }
}

fn turn(id: &str, ms: f64) -> TurnRecord {
    let values = Values::from([("ndcg@10".into(), 0.1 + 0.2)]);
    let latency = BTreeMap::from([("rewrite".into(), ms)]);
    TurnRecord {
        id: id.into(),
        conversation: Some("c1".into()),
        slices: BTreeMap::from([("lang".into(), "zh".into())]),
        values: BTreeMap::from([("gated".into(), values)]),
        features: Values::from([("n_words".into(), 3.0)]),
        texts: BTreeMap::from([("query".into(), "它\n多少钱".into())]),
        latency_ms: BTreeMap::from([("gated".into(), latency)]),
    }
}

type Change = fn(&mut RunHeader);

/// The lines without their times.
fn measured(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|mut line| {
            assert!(line.as_object_mut().unwrap().remove("times").is_some());
            line
        })
        .collect()
}

#[test]
fn a_run_that_was_cut_short_is_gone_on_with_and_equals_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, cut) = (dir.path().join("whole.jsonl"), dir.path().join("cut.jsonl"));
    let mut run = RunFile::open_or_resume(&whole, header(), NOW).unwrap();
    for id in ["a", "b", "c"] {
        run.append(turn(id, 1.0)).unwrap();
    }
    let whole_run = run.finish();
    assert!(whole_run.is_done());

    let mut run = RunFile::open_or_resume(&cut, header(), NOW).unwrap();
    run.append(turn("a", 2.0)).unwrap();
    drop(run);
    let mut file = fs_err::OpenOptions::new().append(true).open(&cut).unwrap();
    file.write_all(br#"{"turn":{"id":"b","sli"#).unwrap();
    assert_eq!(RunRecord::read(&cut).unwrap().turns.len(), 1);
    let later = datetime!(2027-01-01 00:00:00 UTC);
    let mut run = RunFile::open_or_resume(&cut, header(), later).unwrap();
    assert!(run.has("a") && !run.has("b"));
    assert_eq!(run.record().created_at, NOW);
    run.append(turn("b", 3.0)).unwrap();
    run.append(turn("c", 4.0)).unwrap();
    assert_eq!(measured(&whole), measured(&cut));
    let (whole, cut) = (RunRecord::read(&whole).unwrap(), RunRecord::read(&cut).unwrap());
    assert_eq!(whole.digest().unwrap(), cut.digest().unwrap());
    assert_eq!(cut.turns[1].latency_ms["gated"]["rewrite"], 3.0);
    assert_ne!(whole, cut);
}

#[test]
fn another_run_in_the_file_is_refused_with_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    RunFile::open_or_resume(&path, header(), NOW).unwrap();
    let changes: [(&str, Change); 6] = [
        ("models.rewriter.sha256", |header| {
            header.models.get_mut("rewriter").unwrap().sha256 = "ef".into();
        }),
        ("data_sha256", |header| header.data_sha256 = "ef".into()),
        ("code.build", |header| header.code.build = Some("ef".into())),
        ("options.k", |header| {
            header.options.insert("k".into(), 5.into());
        }),
        ("options.new", |header| {
            header.options.insert("new".into(), true.into());
        }),
        ("seed", |header| header.seed = 8),
    ];
    for (name, change) in changes {
        let mut other = header();
        change(&mut other);
        let error = RunFile::open_or_resume(&path, other, NOW).unwrap_err();
        assert_eq!(error.code, "eval_run_differs");
        assert!(error.message.contains(name), "{name}: {}", error.message);
    }
}

#[test]
fn a_run_in_memory_is_the_run_in_its_file_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let mut run = RunFile::open_or_resume(&path, header(), NOW).unwrap();
    for idx in 0..200 {
        let mut turn = turn(&idx.to_string(), 1.0 / f64::from(idx + 1));
        let values = turn.values.get_mut("gated").unwrap();
        for measure in 0..50 {
            let value = f64::from(idx * 50 + measure).sin() / 3.0;
            values.insert(format!("m{measure}"), value);
        }
        run.append(turn).unwrap();
    }
    let (kept, read) = (run.finish(), RunRecord::read(&path).unwrap());
    assert_eq!(kept.digest().unwrap(), read.digest().unwrap());
    assert_eq!(kept, read);
}

#[test]
fn a_header_that_was_cut_short_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    fs_err::write(&path, br#"{"run":{"format":1"#).unwrap();
    let mut run = RunFile::open_or_resume(&path, header(), NOW).unwrap();
    run.append(turn("a", 1.0)).unwrap();
    drop(run);
    let record = RunRecord::read(&path).unwrap();
    assert_eq!((record.header, record.turns.len()), (header(), 1));
}

#[test]
fn what_is_no_run_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs_err::write(&path, "my notes\nmore of them").unwrap();
    let error = RunFile::open_or_resume(&path, header(), NOW).unwrap_err();
    assert_eq!(error.code, "eval_run_damaged");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), "my notes\nmore of them");
    let missing = RunRecord::read(&dir.path().join("none")).unwrap_err();
    assert_eq!(missing.code, "eval_run_missing");
}

#[test]
fn a_file_has_one_writer_and_a_turn_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let mut run = RunFile::open_or_resume(&path, header(), NOW).unwrap();
    let busy = RunFile::open_or_resume(&path, header(), NOW).unwrap_err();
    assert_eq!(busy.code, "eval_run_busy");
    run.append(turn("a", 1.0)).unwrap();
    assert_eq!(run.append(turn("a", 1.0)).unwrap_err().code, "eval_turn_twice");
    let mut endless = turn("b", 1.0);
    endless.values.get_mut("gated").unwrap().insert("mrr".into(), f64::NAN);
    let error = run.append(endless).unwrap_err();
    assert!(error.message.contains("mrr of `gated` in turn `b` is NaN"), "{}", error.message);
    assert_eq!(run.finish().turns.len(), 1);
}
