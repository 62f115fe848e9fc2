//! The checks, one a rule.

use super::{GateSettings, Reason, ReasonCode};
use crate::evaluate::compare::{Comparison, Guarantee, Row};
use crate::evaluate::measure;

/// How many turns a reason names.
const N_NAMED_TURNS: usize = 5;
/// Differences below this are of rounding.
const ROUNDING: f64 = 1e-9;

/// The primary measure by slice, all turns first.
pub fn primary_rows(comparison: &Comparison) -> impl Iterator<Item = &Row> {
    comparison.rows.iter().filter(|row| row.metric == comparison.primary)
}

/// Enough turns, and none that only the champion could answer.
pub fn turns(comparison: &Comparison, settings: &GateSettings) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (n, n_conversations) = primary_rows(comparison)
        .next()
        .map_or((0, 0), |row| (row.difference.estimate.n, row.difference.estimate.n_clusters));
    for (n, least, what) in [
        (n, settings.min_turns, "turns"),
        (n_conversations, settings.min_conversations, "conversations"),
    ] {
        if n < least {
            let message =
                format!("Only {n} {what} were compared; a verdict needs {least} or more.");
            reasons.push(reason(ReasonCode::TooFewTurns, n as f64, least as f64, message));
        }
    }
    let missing = &comparison.missing;
    let lacking: Vec<String> =
        missing.from_candidate.iter().chain(&missing.unmeasured).cloned().collect();
    let (n, most) = (lacking.len(), settings.max_missing_turns);
    if n > most {
        let message = format!("The candidate has no result on {n} turns of the champion's.");
        let missing = reason(ReasonCode::TurnsMissing, n as f64, most as f64, message);
        reasons.push(Reason { turns: named(&lacking), ..missing });
    }
    reasons
}

/// The interval of the gain lies above the least gain.
pub fn gain(comparison: &Comparison, settings: &GateSettings) -> Option<Reason> {
    let row = primary_rows(comparison).find(|row| row.slice.is_all())?;
    let least = row.least_gain_points();
    if least > settings.min_gain_points {
        return None;
    }
    let message = format!(
        "{} is not surely better: it changes by {:+.2} points, and the interval of the gain begins \
         at {least:+.2}, not above {}.",
        row.metric,
        row.gain_points(),
        settings.min_gain_points
    );
    let not_better = reason(ReasonCode::NotBetter, least, settings.min_gain_points, message);
    Some(Reason { metric: Some(row.metric.clone()), ..not_better })
}

/// No slice that is large enough falls too far; the slice is named.
pub fn slices(comparison: &Comparison, settings: &GateSettings) -> Vec<Reason> {
    let most = settings.max_slice_drop_points;
    let judged = primary_rows(comparison)
        .filter(|row| !row.slice.is_all() && row.difference.estimate.n >= settings.min_slice_turns);
    let fallen = judged.filter(|row| -row.gain_points() > most + ROUNDING);
    fallen
        .map(|row| {
            let (drop, n) = (-row.gain_points(), row.difference.estimate.n);
            let message = format!(
                "{} falls by {drop:.2} points on {} ({n} turns), more than the {most} allowed.",
                row.metric, row.slice
            );
            Reason {
                metric: Some(row.metric.clone()),
                slice: Some(row.slice.clone()),
                ..reason(ReasonCode::SliceWorse, drop, most, message)
            }
        })
        .collect()
}

/// The raw query does not do better on more turns than before.
pub fn regret(comparison: &Comparison, settings: &GateSettings) -> Option<Reason> {
    let most = settings.max_regret_rise_points;
    let Some(row) = comparison.regret.iter().find(|row| row.slice.is_all()) else {
        let message =
            "Regret was not measured: the runs have no results of the raw query.".to_owned();
        return Some(reason(ReasonCode::RegretUnmeasured, 0.0, most, message));
    };
    let (now, before) = (100.0 * row.candidate.share.mean, 100.0 * row.champion.share.mean);
    if now - before <= most + ROUNDING {
        return None;
    }
    let message = format!(
        "Regret is up: the raw query does better on {now:.1} % of the turns, with the champion on \
         {before:.1} %."
    );
    let up = reason(ReasonCode::RegretUp, now - before, most, message);
    Some(Reason { metric: Some(comparison.primary.clone()), ..up })
}

/// Every guarantee was measured and is kept on every turn.
pub fn guarantees(comparison: &Comparison, settings: &GateSettings) -> Vec<Reason> {
    let judged = settings.guarantees.iter().filter_map(|metric| {
        let measured = comparison.guarantees.iter().find(|guarantee| guarantee.metric == *metric);
        match measured {
            Some(guarantee) if guarantee.n_measured > 0 => violated(guarantee),
            _ => Some(unmeasured(metric)),
        }
    });
    judged.collect()
}

/// The model itself does not go wrong much oftener than the champion's, whatever the rules make
/// of it: a rewriter that is always caught is no better than none.
pub fn faults(comparison: &Comparison, settings: &GateSettings) -> Vec<Reason> {
    let most = settings.max_fault_rise_points;
    let judged = comparison
        .rows
        .iter()
        .filter(|row| row.slice.is_all() && measure::FAULTS.contains(&row.metric.as_str()));
    let risen = judged.filter(|row| {
        let is_sure = row.difference.estimate.low > 0.0;
        is_sure && -row.gain_points() > most + ROUNDING
    });
    risen
        .map(|row| {
            let (now, before) = (100.0 * row.candidate.mean, 100.0 * row.champion.mean);
            let message = format!(
                "{} on {now:.1} % of the {} turns on which it was asked, the champion's on \
                 {before:.1} %.",
                fault(&row.metric),
                row.difference.estimate.n
            );
            let up = reason(ReasonCode::FaultsUp, now - before, most, message);
            Reason { metric: Some(row.metric.clone()), ..up }
        })
        .collect()
}

/// The stage's 95th percentile is within the budget.
pub fn latency(comparison: &Comparison, settings: &GateSettings) -> Option<Reason> {
    let (stage, budget) = (&settings.latency_stage, settings.max_latency_p95_ms);
    let of_stage = |code, value, message| Reason {
        metric: Some(stage.clone()),
        ..reason(code, value, budget, message)
    };
    match comparison.candidate_latency_ms.get(stage) {
        None => {
            let message = format!("No latency of the stage `{stage}` was measured.");
            Some(of_stage(ReasonCode::LatencyUnmeasured, 0.0, message))
        }
        Some(ms) if ms.p95 > budget => {
            let message = format!(
                "The stage `{stage}` takes {:.1} ms at the 95th percentile, over the budget of \
                 {budget} ms.",
                ms.p95
            );
            Some(of_stage(ReasonCode::TooSlow, ms.p95, message))
        }
        Some(_) => None,
    }
}

fn violated(guarantee: &Guarantee) -> Option<Reason> {
    let n = guarantee.violations.len();
    if n == 0 {
        return None;
    }
    let message = format!(
        "{} on {n} of {} turns, and none is allowed.",
        broken(&guarantee.metric),
        guarantee.n_measured
    );
    Some(Reason {
        metric: Some(guarantee.metric.clone()),
        turns: named(&guarantee.violations),
        ..reason(ReasonCode::GuaranteeViolated, n as f64, 0.0, message)
    })
}

fn unmeasured(metric: &str) -> Reason {
    let message = format!("The guarantee `{metric}` was not measured on any turn.");
    let unmeasured = reason(ReasonCode::GuaranteeUnmeasured, 0.0, 0.0, message);
    Reason { metric: Some(metric.to_owned()), ..unmeasured }
}

/// What a violation of the guarantee is, as the beginning of a sentence.
fn broken(metric: &str) -> String {
    match metric {
        measure::PROTECTED_LOSS => {
            "The rewrite lost protected spans (numbers, codes, names)".into()
        }
        measure::LANGUAGE_KEPT => "The rewrite is in another language than the query".into(),
        measure::UNSUPPORTED_WORDS => "The rewrite has words that nothing speaks for".into(),
        measure::EMPTY => "The rewrite is empty".into(),
        _ => format!("The guarantee `{metric}` is violated"),
    }
}

/// What the model did, as the beginning of a sentence.
fn fault(metric: &str) -> &str {
    match metric {
        "written_malformed" => "The model writes what is no question",
        "written_lost" => "The model drops protected spans (numbers, codes, names)",
        "written_other_language" => "The model writes in another language than the query",
        "written_unsupported" => "The model invents words that nothing speaks for",
        "history_echo" => "The model repeats the history",
        other => other,
    }
}

fn reason(code: ReasonCode, value: f64, limit: f64, message: String) -> Reason {
    Reason { code, metric: None, slice: None, value, limit, message, turns: Vec::new() }
}

fn named(turns: &[String]) -> Vec<String> {
    turns.iter().take(N_NAMED_TURNS).cloned().collect()
}
