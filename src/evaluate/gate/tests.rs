use super::*;
use crate::evaluate::measure::{EMPTY, LANGUAGE_KEPT, PROTECTED_LOSS, UNSUPPORTED_WORDS};
use crate::evaluate::run::{RunRecord, TurnRecord};
use crate::evaluate::tests::{champion, compared, gain, is_kind, run, set};

/// A candidate that is better on what was open; `spoil` may then make it a bad one.
fn candidate(spoil: impl Fn(usize, &mut TurnRecord)) -> RunRecord {
    run(|idx, turn| {
        if is_kind(turn, &["incomplete", "vague", "ambiguous"]) {
            gain(turn, 10.0);
        }
        spoil(idx, turn);
    })
}

fn verdict(run: &RunRecord) -> Verdict {
    judge(&compared(run), &GateSettings::default()).unwrap()
}

fn codes(verdict: &Verdict) -> Vec<ReasonCode> {
    verdict.reasons.iter().map(|reason| reason.code).collect()
}

fn of<'a>(verdict: &'a Verdict, code: ReasonCode, metric: &str) -> &'a Reason {
    let mut reasons = verdict.reasons.iter().filter(|reason| reason.code == code);
    reasons.find(|reason| reason.metric.as_deref() == Some(metric)).unwrap()
}

#[test]
fn a_better_candidate_is_promoted() {
    let verdict = verdict(&candidate(|_, _| {}));
    assert_eq!(verdict, Verdict { promoted: true, reasons: vec![], unjudged_slices: vec![] });
}

#[test]
fn equal_models_are_not_better_and_nothing_else() {
    let verdict = verdict(&champion());
    assert_eq!(codes(&verdict), [ReasonCode::NotBetter]);
    assert!(verdict.sentence().contains("not surely better"), "{}", verdict.sentence());
}

/// All of the history in the query finds more of what was meant, and drags old topics into new
/// ones: better on the whole, and still refused.
#[test]
fn an_echo_of_the_history_is_refused_for_the_slices_that_it_spoils() {
    let verdict = verdict(&candidate(|_, turn| {
        if is_kind(turn, &["complete", "topic_switch"]) {
            gain(turn, -4.0);
        }
    }));
    assert!(!verdict.promoted && !verdict.names(ReasonCode::NotBetter), "{verdict:?}");
    let named: Vec<String> = verdict
        .reasons
        .iter()
        .filter(|reason| reason.code == ReasonCode::SliceWorse)
        .map(|reason| reason.slice.as_ref().unwrap().to_string())
        .collect();
    let expected = [
        "kind=complete",
        "kind=topic_switch",
        "kind+lang=complete+en",
        "kind+lang=complete+zh",
        "kind+lang=topic_switch+en",
        "kind+lang=topic_switch+zh",
    ];
    assert_eq!(named, expected);
    assert!((verdict.reasons[0].value - 4.0).abs() < 1e-9, "{:?}", verdict.reasons[0]);
    assert!(verdict.names(ReasonCode::RegretUp));
    assert!(verdict.sentence().contains("on kind=topic_switch (60 turns)"));
    assert!(verdict.sentence().contains("the raw query does better on 40.0 % of the turns"));
}

#[test]
fn invented_entities_are_refused_however_well_they_retrieve() {
    let verdict = verdict(&candidate(|idx, turn| {
        if idx == 7 {
            set(turn, UNSUPPORTED_WORDS, 2.0);
        }
    }));
    assert_eq!(codes(&verdict), [ReasonCode::GuaranteeViolated]);
    let reason = of(&verdict, ReasonCode::GuaranteeViolated, UNSUPPORTED_WORDS);
    assert_eq!((reason.value, reason.turns.as_slice()), (1.0, &["c1-ambiguous".to_owned()][..]));
}

#[test]
fn another_language_is_refused_for_the_language_and_its_slice() {
    let verdict = verdict(&candidate(|_, turn| {
        if turn.slices["lang"] == "zh" {
            set(turn, LANGUAGE_KEPT, 0.0);
            gain(turn, -30.0);
        }
    }));
    let reason = of(&verdict, ReasonCode::GuaranteeViolated, LANGUAGE_KEPT);
    assert_eq!(reason.value, 150.0);
    assert!(reason.message.contains("another language"), "{}", reason.message);
    let is_chinese = |reason: &Reason| {
        reason
            .slice
            .as_ref()
            .is_some_and(|slice| (slice.key.as_str(), slice.value.as_str()) == ("lang", "zh"))
    };
    assert!(verdict.reasons.iter().any(is_chinese), "{verdict:?}");
    // All turns fall, too: that is no slice, and has a reason of its own.
    let is_all = |reason: &Reason| reason.slice.as_ref().is_some_and(Slice::is_all);
    assert!(verdict.names(ReasonCode::NotBetter) && !verdict.reasons.iter().any(is_all));
}

#[test]
fn dropped_numbers_and_empty_answers_are_refused() {
    for (metric, value, words) in
        [(PROTECTED_LOSS, 0.25, "lost protected spans"), (EMPTY, 1.0, "is empty")]
    {
        let verdict = verdict(&candidate(|idx, turn| {
            if idx % 100 == 0 {
                set(turn, metric, value);
            }
        }));
        assert_eq!(codes(&verdict), [ReasonCode::GuaranteeViolated]);
        let reason = of(&verdict, ReasonCode::GuaranteeViolated, metric);
        assert_eq!(reason.value, 3.0);
        assert!(reason.message.contains(words), "{}", reason.message);
    }
}

#[test]
fn what_was_not_measured_is_no_guarantee() {
    let bare = candidate(|_, turn| {
        turn.values.get_mut("gated").unwrap().remove(PROTECTED_LOSS);
        turn.values.remove("raw");
        turn.latency_ms.clear();
    });
    let expected = [
        ReasonCode::RegretUnmeasured,
        ReasonCode::GuaranteeUnmeasured,
        ReasonCode::LatencyUnmeasured,
    ];
    assert_eq!(codes(&verdict(&bare)), expected);
}

#[test]
fn a_slow_candidate_is_refused_by_its_95th_percentile() {
    let slow = candidate(|idx, turn| {
        if idx % 10 == 0 {
            turn.latency_ms.get_mut("gated").unwrap().insert("rewrite".into(), 301.0);
        }
    });
    let verdict = verdict(&slow);
    assert_eq!(codes(&verdict), [ReasonCode::TooSlow]);
    assert_eq!((verdict.reasons[0].value, verdict.reasons[0].limit), (301.0, 300.0));
}

#[test]
fn turns_that_the_candidate_leaves_out_count_against_it() {
    let mut fewer = candidate(|idx, turn| {
        if idx == 1 {
            turn.values.get_mut("gated").unwrap().remove("ndcg@10");
        }
    });
    fewer.turns.remove(0);
    let verdict = verdict(&fewer);
    assert_eq!(codes(&verdict), [ReasonCode::TurnsMissing]);
    assert_eq!(verdict.reasons[0].turns, ["c0-incomplete", "c0-vague"]);
}

#[test]
fn few_turns_and_small_slices_are_not_judged() {
    let mut few = candidate(|_, turn| {
        if is_kind(turn, &["complete"]) {
            gain(turn, -3.0);
        }
    });
    few.turns.truncate(45);
    let settings = GateSettings {
        max_missing_turns: 300,
        max_regret_rise_points: 100.0,
        ..Default::default()
    };
    let verdict = judge(&compared(&few), &settings).unwrap();
    let few_turns =
        verdict.reasons.iter().filter(|reason| reason.code == ReasonCode::TooFewTurns).count();
    assert_eq!(few_turns, 2, "{verdict:?}");
    assert!(!verdict.names(ReasonCode::SliceWorse), "{verdict:?}");
    assert!(verdict.unjudged_slices.iter().any(|slice| slice.to_string() == "kind=complete"));
}

#[test]
fn a_guarantee_of_the_gate_alone_is_measured_too() {
    let (good, champion) = (candidate(|_, _| {}), champion());
    let failing = candidate(|idx, turn| set(turn, "failed", f64::from(u8::from(idx == 3))));
    let of = |run| Side { run, system: "gated" };
    let mut settings = CompareSettings::default();
    settings.significance.n_resamples = 200;
    let mut gate = GateSettings::default();
    let (_, verdict) = examine(of(&good), of(&champion), &settings, &gate).unwrap();
    assert!(verdict.promoted, "{verdict:?}");
    gate.guarantees = vec!["failed".into()];
    let (_, verdict) = examine(of(&good), of(&champion), &settings, &gate).unwrap();
    assert_eq!(codes(&verdict), [ReasonCode::GuaranteeUnmeasured]);
    let (_, verdict) = examine(of(&failing), of(&champion), &settings, &gate).unwrap();
    assert_eq!(codes(&verdict), [ReasonCode::GuaranteeViolated]);
    assert_eq!(verdict.reasons[0].turns, ["c0-complete"]);
}

#[test]
fn settings_refuse_names_that_they_do_not_know_and_limits_that_are_none() {
    let parsed: Result<GateSettings, _> = serde_json::from_str(r#"{"max_slice_drop": 2.0}"#);
    assert!(parsed.unwrap_err().to_string().contains("max_slice_drop"));
    let settings: GateSettings = serde_json::from_str(r#"{"min_turns": 9}"#).unwrap();
    assert_eq!(settings, GateSettings { min_turns: 9, ..Default::default() });
    let settings = GateSettings { max_latency_p95_ms: f64::NAN, ..settings };
    assert_eq!(settings.validate().unwrap_err().code, "gate_options");
}

#[test]
fn a_model_that_is_caught_oftener_is_refused_for_what_it_does() {
    let with_faults = |every: usize| {
        candidate(move |idx, turn| {
            let is_fault = idx % every == 0;
            set(turn, "written_unsupported", if is_fault { 1.0 } else { 0.0 });
        })
    };
    let champion = run(|_, turn| set(turn, "written_unsupported", 0.0));
    fn side(run: &RunRecord) -> Side<'_> {
        Side { run, system: "gated" }
    }
    let judged = |candidate: &RunRecord| {
        let settings = crate::evaluate::compare::CompareSettings::default();
        let gate = GateSettings::default();
        examine(side(candidate), side(&champion), &settings, &gate).unwrap().1
    };
    let refused = judged(&with_faults(4));
    assert_eq!(codes(&refused), [ReasonCode::FaultsUp]);
    let sentence = refused.sentence();
    assert!(sentence.contains("invents words that nothing speaks for on 25.0 %"), "{sentence}");
    // One in sixty is sure, and within what is allowed.
    assert!(judged(&with_faults(60)).promoted);
}
