//! Runs that were made up for the tests of the room.

use std::collections::BTreeMap;

use time::macros::datetime;

use super::compare::{CompareSettings, Comparison, Side, compare};
use super::measure::{EMPTY, LANGUAGE_KEPT, PRIMARY, PROTECTED_LOSS, UNSUPPORTED_WORDS};
use super::run::{CodeVersion, FORMAT, ModelHash, RunHeader, RunRecord, TurnRecord, Values};

pub const KINDS: [&str; 5] = ["incomplete", "vague", "ambiguous", "complete", "topic_switch"];
const N_CONVERSATIONS: usize = 60;

/// A run of 60 conversations with a turn of each kind, half of them Chinese: `raw` is good on
/// complete queries and new topics, `gated` mends half of what is open in the others and is never
/// worse. `change` may then spoil a turn.
pub fn run(change: impl Fn(usize, &mut TurnRecord)) -> RunRecord {
    let mut turns = Vec::new();
    for conversation_idx in 0..N_CONVERSATIONS {
        for (kind_idx, kind) in KINDS.iter().enumerate() {
            let turn_idx = turns.len();
            let mut turn = turn(conversation_idx, kind_idx, kind);
            change(turn_idx, &mut turn);
            turns.push(turn);
        }
    }
    let created_at = datetime!(2026-11-24 10:00:00 UTC);
    RunRecord { header: header(turns.len()), created_at, turns }
}

/// The champion: `gated` as it is.
pub fn champion() -> RunRecord {
    run(|_, _| {})
}

/// Adds to the system's primary measure, within 0 and 1.
pub fn gain(turn: &mut TurnRecord, points: f64) {
    let values = turn.values.get_mut("gated").unwrap();
    let value = values.get_mut(PRIMARY).unwrap();
    *value = (*value + points / 100.0).clamp(0.0, 1.0);
}

pub fn set(turn: &mut TurnRecord, metric: &str, value: f64) {
    turn.values.get_mut("gated").unwrap().insert(metric.into(), value);
}

pub fn is_kind(turn: &TurnRecord, kinds: &[&str]) -> bool {
    kinds.contains(&turn.slices["kind"].as_str())
}

/// The candidate's `gated` against the champion's.
pub fn compared(candidate: &RunRecord) -> Comparison {
    let champion = champion();
    let of = |run| Side { run, system: "gated" };
    let mut settings = CompareSettings::default();
    settings.significance.n_resamples = 1_000;
    settings.significance.n_permutations = 1_000;
    compare(of(candidate), of(&champion), &settings).unwrap()
}

fn header(n_turns: usize) -> RunHeader {
    let model = ModelHash { id: "starter".into(), sha256: "ab".repeat(32) };
    RunHeader {
        format: FORMAT,
        suite: "made-up".into(),
        seed: 1,
        models: BTreeMap::from([("rewriter".into(), model)]),
        data_sha256: "cd".repeat(32),
        code: CodeVersion { version: "0.1.0".into(), build: None },
        options: BTreeMap::new(),
        n_turns,
    }
}

fn turn(conversation_idx: usize, kind_idx: usize, kind: &str) -> TurnRecord {
    let lang = if conversation_idx.is_multiple_of(2) { "zh" } else { "en" };
    // Uneven, and the same each time.
    let noise = ((conversation_idx * 37 + kind_idx * 11) % 23) as f64 / 23.0 * 0.3;
    let is_open = kind_idx < 3;
    let raw = if is_open { 0.2 + noise } else { 0.6 + noise };
    let gated = if is_open { raw + 0.2 } else { raw };
    let latency = |ms: f64| BTreeMap::from([("rewrite".to_owned(), ms)]);
    let ms = 20.0 + (conversation_idx % 10) as f64;
    TurnRecord {
        id: format!("c{conversation_idx}-{kind}"),
        conversation: Some(format!("c{conversation_idx}")),
        slices: BTreeMap::from([
            ("kind".to_owned(), kind.to_owned()),
            ("lang".to_owned(), lang.to_owned()),
        ]),
        values: BTreeMap::from([
            ("raw".to_owned(), Values::from([(PRIMARY.to_owned(), raw)])),
            ("gated".to_owned(), answered(gated)),
        ]),
        features: Values::from([("is_open".to_owned(), f64::from(u8::from(is_open)))]),
        texts: BTreeMap::from([
            ("query".to_owned(), "how much is <it>?".to_owned()),
            ("gated".to_owned(), format!("how much is model {conversation_idx}?")),
        ]),
        latency_ms: BTreeMap::from([("gated".to_owned(), latency(ms))]),
    }
}

fn answered(primary: f64) -> Values {
    let kept =
        [(PROTECTED_LOSS, 0.0), (LANGUAGE_KEPT, 1.0), (UNSUPPORTED_WORDS, 0.0), (EMPTY, 0.0)];
    let kept = kept.into_iter().map(|(metric, value)| (metric.to_owned(), value));
    kept.chain([(PRIMARY.to_owned(), primary), ("recall@10".to_owned(), primary)]).collect()
}
