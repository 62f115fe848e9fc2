use super::*;
use crate::evaluate::significance::Outcomes;
use crate::evaluate::tests::{champion, compared, gain, is_kind, run};

fn quick() -> CompareSettings {
    let mut settings = CompareSettings::default();
    settings.significance.n_resamples = 500;
    settings
}

fn row<'a>(comparison: &'a Comparison, metric: &str, slice: &str) -> &'a Row {
    let named = |row: &&Row| row.metric == metric && row.slice.to_string() == slice;
    comparison.rows.iter().find(named).unwrap()
}

#[test]
fn means_differences_and_outcomes_are_by_slice() {
    let candidate = run(|_, turn| match turn.slices["kind"].as_str() {
        "vague" => gain(turn, 5.0),
        "complete" => gain(turn, -2.5),
        _ => {}
    });
    let comparison = compared(&candidate);
    let all = row(&comparison, "ndcg@10", "all turns");
    assert_eq!(all.difference.outcomes, Outcomes { n_win: 60, n_tie: 180, n_loss: 60 });
    assert!((all.gain_points() - 0.5).abs() < 1e-9);
    assert_eq!((all.difference.estimate.n, all.difference.estimate.n_clusters), (300, 60));
    let vague = row(&comparison, "ndcg@10", "kind+lang=vague+zh");
    assert!((vague.gain_points() - 5.0).abs() < 1e-9);
    assert_eq!(vague.difference.estimate.n, 30);
    assert_eq!(row(&comparison, "recall@10", "all turns").difference.p_value, 1.0);
    assert!((vague.candidate.mean - vague.champion.mean - 0.05).abs() < 1e-12);
}

#[test]
fn regret_counts_the_turns_that_the_raw_query_does_better_on() {
    let candidate = run(|idx, turn| {
        if is_kind(turn, &["complete"]) && idx % 4 == 0 {
            gain(turn, -10.0);
        }
    });
    let comparison = compared(&candidate);
    let of =
        |slice: &str| comparison.regret.iter().find(|row| row.slice.to_string() == slice).unwrap();
    // A quarter of the 60 complete queries, of 300 turns.
    assert!((of("all turns").candidate.share.mean - 15.0 / 300.0).abs() < 1e-12);
    assert!((of("kind=complete").candidate.share.mean - 0.25).abs() < 1e-12);
    assert!((of("kind=complete").candidate.mean_size - 0.1).abs() < 1e-12);
    assert_eq!(of("all turns").champion.share.mean, 0.0);
    assert_eq!(of("kind=vague").candidate.share.mean, 0.0);
    assert_eq!(of("all turns").difference.outcomes.n_loss, 15);
}

#[test]
fn the_worst_turns_come_first_with_their_texts() {
    let candidate = run(|idx, turn| match idx {
        3 => gain(turn, -10.0),
        4 => gain(turn, -30.0),
        _ => {}
    });
    let regressions = compared(&candidate).regressions;
    let turns: Vec<&str> = regressions.iter().map(|turn| turn.turn.as_str()).collect();
    assert_eq!(turns, ["c0-topic_switch", "c0-complete"]);
    assert_eq!(regressions[0].texts["candidate"], "how much is model 0?");
    assert_eq!(regressions[0].texts["query"], "how much is <it>?");
}

#[test]
fn runs_of_other_data_are_refused_unless_they_are_to_be_intersected() {
    let (candidate, mut other) = (champion(), champion());
    other.header.data_sha256 = "ef".into();
    other.turns.truncate(100);
    other.turns[0].id = "new".into();
    let of = |run| Side { run, system: "gated" };
    let error = compare(of(&candidate), of(&other), &quick()).unwrap_err();
    assert_eq!(error.code, "eval_data_differs");
    let settings = CompareSettings { intersect: true, ..quick() };
    let comparison = compare(of(&candidate), of(&other), &settings).unwrap();
    assert_eq!(comparison.n_pairs, 99);
    assert_eq!(comparison.missing.from_candidate, ["new"]);
    assert_eq!(comparison.missing.from_champion.len(), 201);
    assert_eq!(comparison.missing.from_champion[0], "c0-incomplete");
}

#[test]
fn two_systems_of_one_run_can_be_compared() {
    let run = champion();
    let comparison =
        compare(Side { run: &run, system: "gated" }, Side { run: &run, system: "raw" }, &quick());
    let comparison = comparison.unwrap();
    assert!((row(&comparison, "ndcg@10", "kind=vague").gain_points() - 20.0).abs() < 1e-9);
    assert!(comparison.rows.iter().all(|row| row.metric == "ndcg@10"));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let run = champion();
    let of = |system| Side { run: &run, system };
    let error = compare(of("gated"), of("always"), &quick()).unwrap_err();
    assert_eq!(error.code, "eval_system_missing");
    assert!(error.message.contains("gated, raw"), "{}", error.message);
    let settings = CompareSettings { primary: "map".into(), ..quick() };
    assert_eq!(compare(of("gated"), of("raw"), &settings).unwrap_err().code, "eval_no_pairs");
}

#[test]
fn equal_runs_give_equal_comparisons() {
    let candidate = run(|idx, turn| gain(turn, (idx % 7) as f64 - 3.0));
    assert_eq!(compared(&candidate), compared(&candidate));
}

#[test]
fn turns_are_cut_by_what_tells_them_apart_or_by_what_was_asked_for() {
    let same = run(|_, turn| {
        turn.slices.insert("lang".into(), "zh".into());
    });
    let of = |system| Side { run: &same, system };
    let keys = |settings: &CompareSettings| {
        let comparison = compare(of("gated"), of("raw"), settings).unwrap();
        let mut keys: Vec<String> = comparison.rows.into_iter().map(|row| row.slice.key).collect();
        keys.dedup();
        keys
    };
    assert_eq!(keys(&quick()), ["", "kind"]);
    let asked = CompareSettings { slices: vec!["lang".into()], ..quick() };
    assert_eq!(keys(&asked), ["", "lang"]);
    let comparison = compare(of("gated"), of("raw"), &asked).unwrap();
    assert_eq!(comparison.rows[1].slice.to_string(), "lang=zh");
}
