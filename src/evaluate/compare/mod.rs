//! Two systems on the same turns: of two runs, or of one.

mod pairs;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measure::{self, Better};
use super::run::{RunHeader, RunRecord};
use super::significance::{self, Difference, Estimate, Observed, SignificanceSettings};
use super::summary::{Percentiles, Slice, latencies, slices};
use crate::error::{Error, Kind, Result};
use pairs::Pairs;

/// What is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareSettings {
    /// The measure that decides.
    pub primary: String,
    /// Measures that are compared beside it; none for all that both have.
    pub metrics: Vec<String>,
    /// What the turns are cut by, `kind` or `kind+lang`; none for every key that they have.
    pub slices: Vec<String>,
    /// The system that regret is counted against.
    pub raw_system: String,
    /// Measures that must not be violated on any turn.
    pub guarantees: Vec<String>,
    /// Compare the turns that both runs have, even when their data differ.
    pub intersect: bool,
    /// How many of the worst turns are kept with their texts.
    pub n_regressions: usize,
    pub significance: SignificanceSettings,
}

impl Default for CompareSettings {
    fn default() -> Self {
        Self {
            primary: measure::PRIMARY.to_owned(),
            metrics: Vec::new(),
            slices: Vec::new(),
            raw_system: "raw".to_owned(),
            guarantees: measure::GUARANTEES.map(str::to_owned).to_vec(),
            intersect: false,
            n_regressions: 20,
            significance: SignificanceSettings::default(),
        }
    }
}

/// A system of a run.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub run: &'a RunRecord,
    pub system: &'a str,
}

/// What was compared with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    pub header: RunHeader,
    pub system: String,
}

/// The whole comparison. Differences are candidate − champion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub candidate: Named,
    pub champion: Named,
    pub primary: String,
    pub n_pairs: usize,
    pub missing: Missing,
    /// By slice (all turns first) and measure.
    pub rows: Vec<Row>,
    /// By slice, all turns first; empty when no system is raw.
    pub regret: Vec<RegretRow>,
    /// The candidate's guarantees, over all of its turns.
    pub guarantees: Vec<Guarantee>,
    pub candidate_latency_ms: BTreeMap<String, Percentiles>,
    pub champion_latency_ms: BTreeMap<String, Percentiles>,
    /// The turns on which the candidate lost most by the primary measure, worst first.
    pub regressions: Vec<Regression>,
}

/// Turns that have no partner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// Turns of the champion that the candidate lacks.
    pub from_candidate: Vec<String>,
    /// Turns of the candidate that the champion lacks.
    pub from_champion: Vec<String>,
    /// Turns that both have, where the champion has the primary measure and the candidate lacks it.
    pub unmeasured: Vec<String>,
}

/// A measure over a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub metric: String,
    pub slice: Slice,
    pub better: Better,
    pub candidate: Estimate,
    pub champion: Estimate,
    pub difference: Difference,
}

impl Row {
    /// The mean gain in points (shares in hundredths), above 0 when the candidate is better.
    pub fn gain_points(&self) -> f64 {
        self.points(self.difference.estimate.mean)
    }

    /// The end of the gain's interval that is nearer to a loss.
    pub fn least_gain_points(&self) -> f64 {
        let Estimate { low, high, .. } = self.difference.estimate;
        self.points(low).min(self.points(high))
    }

    fn points(&self, value: f64) -> f64 {
        value * self.better.sign() * measure::factor(&self.metric)
    }
}

/// How often, and by how much, the raw query would have done better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegretRow {
    pub slice: Slice,
    pub candidate: Regret,
    pub champion: Regret,
    /// Of the shares.
    pub difference: Difference,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regret {
    /// The share of turns on which the raw query did better.
    pub share: Estimate,
    /// By how much it did better on these, in the primary measure; 0 for none.
    pub mean_size: f64,
}

/// A guarantee of the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    pub metric: String,
    pub n_measured: usize,
    /// The turns that violate it.
    pub violations: Vec<String>,
}

/// A turn on which the candidate did worse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    pub turn: String,
    pub slices: BTreeMap<String, String>,
    pub candidate: f64,
    pub champion: f64,
    /// `history`, `query`, `candidate`, `champion`, `raw`, `gold`: those that there are.
    pub texts: BTreeMap<String, String>,
}

/// Compares two systems on the turns that both have.
///
/// # Errors
/// `eval_data_differs` when the runs are of different data and this was not asked for,
/// `eval_no_pairs` when no turn is shared or the primary measure is missing,
/// `eval_system_missing`, `significance_options`.
pub fn compare(
    candidate: Side<'_>,
    champion: Side<'_>,
    settings: &CompareSettings,
) -> Result<Comparison> {
    settings.significance.validate()?;
    same_data(candidate, champion, settings)?;
    for side in [candidate, champion] {
        has_system(side)?;
    }
    let pairs = Pairs::new(candidate, champion);
    let rows = rows(&pairs, settings)?;
    if !rows.iter().any(|row| row.metric == settings.primary && row.slice.is_all()) {
        return Err(no_pairs(&pairs, settings));
    }
    let all: Vec<_> = candidate.run.turns.iter().collect();
    Ok(Comparison {
        candidate: named(candidate),
        champion: named(champion),
        primary: settings.primary.clone(),
        n_pairs: pairs.len(),
        missing: pairs.missing(&settings.primary),
        rows,
        regret: parts::regret(&pairs, settings)?,
        guarantees: parts::guarantees(&all, candidate.system, &settings.guarantees),
        candidate_latency_ms: latencies(&pairs.candidate, candidate.system),
        champion_latency_ms: latencies(&pairs.champion, champion.system),
        regressions: parts::regressions(&pairs, settings),
    })
}

fn rows(pairs: &Pairs<'_>, settings: &CompareSettings) -> Result<Vec<Row>> {
    let metrics = pairs.metrics(settings);
    let mut columns = Vec::new();
    for slice in slices(&pairs.candidate, &settings.slices) {
        let of_slice = metrics.iter().map(|metric| pairs.columns(&slice, metric));
        let named =
            of_slice.zip(&metrics).map(|(columns, metric)| (columns, metric, slice.clone()));
        columns.extend(named.filter(|(columns, ..)| !columns.clusters.is_empty()));
    }
    let draws = &settings.significance;
    let differences: Vec<Vec<f64>> =
        columns.iter().map(|(columns, ..)| columns.differences()).collect();
    let signed = columns.iter().zip(&differences).map(|((columns, metric, _), values)| {
        (columns.observed(values), Better::of(metric).sign())
    });
    let differences = significance::differences(&signed.collect::<Vec<_>>(), draws)?;
    let candidates = columns.iter().map(|(columns, ..)| columns.observed(&columns.candidate));
    let champions = columns.iter().map(|(columns, ..)| columns.observed(&columns.champion));
    let both: Vec<Observed<'_>> = candidates.chain(champions).collect();
    let means = significance::estimates(&both, draws)?;
    let (candidates, champions) = means.split_at(columns.len());
    let figures = candidates.iter().zip(champions).zip(differences);
    let rows = columns.iter().zip(figures);
    Ok(rows
        .map(|((_, metric, slice), ((candidate, champion), difference))| Row {
            metric: (*metric).clone(),
            slice: slice.clone(),
            better: Better::of(metric),
            candidate: *candidate,
            champion: *champion,
            difference,
        })
        .collect())
}

fn same_data(candidate: Side<'_>, champion: Side<'_>, settings: &CompareSettings) -> Result<()> {
    let (one, other) = (&candidate.run.header, &champion.run.header);
    if settings.intersect || (one.data_sha256 == other.data_sha256 && one.suite == other.suite) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "eval_data_differs",
        format!(
            "the runs are of different data (`{}` {} against `{}` {}); run the same suite, or ask \
             to intersect them",
            one.suite, one.data_sha256, other.suite, other.data_sha256
        ),
    ))
}

fn has_system(side: Side<'_>) -> Result<()> {
    let systems = side.run.systems();
    if systems.contains(&side.system) {
        return Ok(());
    }
    Err(Error::not_found(
        "eval_system_missing",
        format!("the run has no system `{}`, only {}", side.system, systems.join(", ")),
    ))
}

fn no_pairs(pairs: &Pairs<'_>, settings: &CompareSettings) -> Error {
    let (n, primary) = (pairs.len(), &settings.primary);
    Error::invalid(
        "eval_no_pairs",
        format!(
            "the runs share {n} turns, none with `{primary}` on both sides; name another measure"
        ),
    )
}

fn named(side: Side<'_>) -> Named {
    Named { header: side.run.header.clone(), system: side.system.to_owned() }
}
