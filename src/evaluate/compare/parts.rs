//! Regret, guarantees and the worst turns.

use std::collections::BTreeMap;

use super::pairs::{Columns, Pairs};
use super::{CompareSettings, Guarantee, Regression, Regret, RegretRow};
use crate::error::Result;
use crate::evaluate::measure::{Better, is_violation};
use crate::evaluate::run::TurnRecord;
use crate::evaluate::significance::{self, Observed, SignificanceSettings, TIE};
use crate::evaluate::summary::{Slice, slices};

/// By slice, on the turns where both sides and their raw queries have the primary measure.
pub fn regret(pairs: &Pairs<'_>, settings: &CompareSettings) -> Result<Vec<RegretRow>> {
    let mut rows = Vec::new();
    for slice in slices(&pairs.candidate, &settings.slices) {
        let sizes = regret_sizes(pairs, &slice, settings);
        if !sizes.clusters.is_empty() {
            rows.push(regret_row(slice, &sizes, &settings.significance)?);
        }
    }
    Ok(rows)
}

/// The candidate's own promises, over every turn that it answered.
pub fn guarantees(turns: &[&TurnRecord], system: &str, metrics: &[String]) -> Vec<Guarantee> {
    let guarantee = |metric: &String| {
        let measured: Vec<(&str, f64)> = turns
            .iter()
            .filter_map(|turn| Some((turn.id.as_str(), turn.value(system, metric)?)))
            .collect();
        let violations = measured.iter().filter(|(_, value)| is_violation(metric, *value));
        Guarantee {
            metric: metric.clone(),
            n_measured: measured.len(),
            violations: violations.map(|(id, _)| (*id).to_owned()).collect(),
        }
    };
    metrics.iter().map(guarantee).collect()
}

/// The turns on which the candidate lost most, worst first; equal losses in the order of their ids.
pub fn regressions(pairs: &Pairs<'_>, settings: &CompareSettings) -> Vec<Regression> {
    let [own, others] = pairs.systems;
    let sign = Better::of(&settings.primary).sign();
    let mut worse: Vec<(f64, Regression)> = pairs
        .iter()
        .filter_map(|(turn, other, _)| {
            let candidate = turn.value(own, &settings.primary)?;
            let champion = other.value(others, &settings.primary)?;
            let loss = (champion - candidate) * sign;
            let texts = texts(turn, other, pairs.systems, &settings.raw_system);
            let slices = turn.slices.clone();
            let regression =
                Regression { turn: turn.id.clone(), slices, candidate, champion, texts };
            (loss > TIE).then_some((loss, regression))
        })
        .collect();
    worse.sort_by(|one, other| {
        other.0.total_cmp(&one.0).then_with(|| one.1.turn.cmp(&other.1.turn))
    });
    worse.into_iter().take(settings.n_regressions).map(|(_, regression)| regression).collect()
}

/// By how much each side's raw query did better, 0 where it did not.
fn regret_sizes(pairs: &Pairs<'_>, slice: &Slice, settings: &CompareSettings) -> Columns {
    let [own, others] = pairs.systems;
    let sign = Better::of(&settings.primary).sign();
    let size = |turn: &TurnRecord, system: &str| {
        let raw = turn.value(&settings.raw_system, &settings.primary)?;
        let loss = (raw - turn.value(system, &settings.primary)?) * sign;
        Some(if loss > TIE { loss } else { 0.0 })
    };
    let mut sizes = Columns::default();
    for (candidate, champion, cluster) in pairs.iter().filter(|(turn, ..)| slice.holds(turn)) {
        if let (Some(one), Some(other)) = (size(candidate, own), size(champion, others)) {
            sizes.candidate.push(one);
            sizes.champion.push(other);
            sizes.clusters.push(cluster);
        }
    }
    sizes
}

fn regret_row(slice: Slice, sizes: &Columns, settings: &SignificanceSettings) -> Result<RegretRow> {
    let shares = Columns {
        candidate: happened(&sizes.candidate),
        champion: happened(&sizes.champion),
        clusters: sizes.clusters.clone(),
    };
    let of = |values| Observed { values, clusters: Some(&shares.clusters) };
    Ok(RegretRow {
        slice,
        candidate: regret_of(of(&shares.candidate), &sizes.candidate, settings)?,
        champion: regret_of(of(&shares.champion), &sizes.champion, settings)?,
        difference: significance::difference(of(&shares.differences()), -1.0, settings)?,
    })
}

fn regret_of(
    shares: Observed<'_>,
    sizes: &[f64],
    settings: &SignificanceSettings,
) -> Result<Regret> {
    let n_regrets: f64 = shares.values.iter().sum();
    let mean_size = sizes.iter().sum::<f64>() / n_regrets.max(1.0);
    Ok(Regret { share: significance::estimate(shares, settings)?, mean_size })
}

/// 1 where there is a regret, else 0.
fn happened(sizes: &[f64]) -> Vec<f64> {
    sizes.iter().map(|&size| if size > 0.0 { 1.0 } else { 0.0 }).collect()
}

fn texts(
    turn: &TurnRecord,
    other: &TurnRecord,
    [own, others]: [&str; 2],
    raw: &str,
) -> BTreeMap<String, String> {
    let wanted = [
        ("history", turn, "history"),
        ("query", turn, "query"),
        ("candidate", turn, own),
        ("champion", other, others),
        ("raw", turn, raw),
        ("gold", turn, "gold"),
    ];
    let found = wanted
        .into_iter()
        .filter_map(|(name, turn, key)| Some((name.to_owned(), turn.texts.get(key)?.clone())));
    found.collect()
}
