//! The sections of one run.

use std::collections::BTreeSet;

use time::format_description::well_known::Rfc3339;

use super::{Chart, Section, Table, table};
use crate::evaluate::choice::Trial;
use crate::evaluate::measure;
use crate::evaluate::report::chart::{self, Bar};
use crate::evaluate::report::{Report, figures};
use crate::evaluate::significance::{Difference, Estimate};
use crate::evaluate::summary::{Slice, Standing};

/// Colours of systems, by their place.
const CLASSES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];

/// Every measure over all turns: a row each, a column per system.
pub fn means(report: &Report) -> Section {
    let of_all: Vec<&Standing> =
        report.standings.iter().filter(|standing| standing.slice.is_all()).collect();
    let systems = systems(report);
    let metrics = metrics(report, &of_all);
    let cell = |metric: &str, system: &str| {
        let found = of_all.iter().find(|one| one.metric == metric && one.system == system);
        found.map_or_else(String::new, |one| figures::interval(metric, &one.estimate))
    };
    let rows = metrics.iter().map(|metric| {
        let cells = systems.iter().map(|system| cell(metric, system));
        [metric.clone()].into_iter().chain(cells).collect()
    });
    let columns = ["measure".to_owned()].into_iter().chain(systems.iter().cloned()).collect();
    let charts = metrics.iter().map(|metric| {
        let standings = of_all.iter().copied().filter(|one| one.metric == *metric);
        system_chart(metric, metric, &systems, standings)
    });
    Section {
        heading: "All turns".into(),
        paragraphs: vec![format!(
            "{} turns. Shares are in hundredths; ranges and whiskers are 95 % intervals by the \
             bootstrap over conversations, unless the settings say otherwise.",
            report.n_turns
        )],
        charts: charts.collect(),
        tables: vec![Table { caption: "Means".into(), columns, rows: rows.collect() }],
        turns: Vec::new(),
    }
}

/// The primary measure by slice: a row each, a column per system.
pub fn by_slice(report: &Report) -> Section {
    let primary = &report.primary;
    let of_primary: Vec<&Standing> =
        report.standings.iter().filter(|standing| standing.metric == *primary).collect();
    let systems = systems(report);
    let mut slices: Vec<&Slice> = Vec::new();
    for standing in &report.standings {
        if !slices.contains(&&standing.slice) {
            slices.push(&standing.slice);
        }
    }
    let found = |slice: &Slice, system: &str| {
        of_primary.iter().find(|one| one.slice == *slice && one.system == system)
    };
    let rows = slices.iter().map(|slice| {
        let n = systems.iter().filter_map(|system| found(slice, system));
        let n = n.map(|one| one.estimate.n).max().unwrap_or(0);
        let cells = systems.iter().map(|system| {
            found(slice, system)
                .map_or_else(String::new, |one| figures::interval(primary, &one.estimate))
        });
        [slice.to_string(), n.to_string()].into_iter().chain(cells).collect()
    });
    let columns = ["slice", "turns"].map(str::to_owned).into_iter().chain(systems.iter().cloned());
    // The table has the slices by several keys, too; as charts they are too many to be looked at.
    let charted = slices.iter().filter(|slice| !slice.is_all() && !slice.key.contains('+'));
    let charts = charted.map(|slice| {
        let standings = of_primary.iter().copied().filter(|one| one.slice == **slice);
        system_chart(&slice.to_string(), primary, &systems, standings)
    });
    Section {
        heading: format!("{primary} by slice"),
        charts: charts.filter(|chart| !chart.svg.is_empty()).collect(),
        tables: vec![Table {
            caption: primary.clone(),
            columns: columns.collect(),
            rows: rows.collect(),
        }],
        ..Section::default()
    }
}

/// None when nothing was timed.
pub fn latency(report: &Report) -> Option<Section> {
    let mut rows = Vec::new();
    let mut by_stage: std::collections::BTreeMap<&String, Vec<Bar>> = Default::default();
    for system in systems(report) {
        let class = class(&systems(report), &system);
        for (stage, at) in report.latency_ms.get(&system).into_iter().flatten() {
            let shown = [at.p50, at.p95, at.p99].map(figures::milliseconds);
            let cells = [system.clone(), stage.clone(), at.n.to_string()];
            rows.push(cells.into_iter().chain(shown.clone()).collect());
            let points = [("p50", at.p50), ("p95", at.p95), ("p99", at.p99)];
            let bars = points.into_iter().zip(shown).map(|((name, value), shown)| Bar {
                label: format!("{system} {name}"),
                value,
                interval: None,
                shown,
                class,
            });
            by_stage.entry(stage).or_default().extend(bars);
        }
    }
    let charts = by_stage.into_iter().map(|(stage, bars)| {
        let caption = format!("{stage}, milliseconds");
        Chart { svg: chart::bars(&caption, &bars), caption }
    });
    let charts = charts.collect();
    let columns = ["system", "stage", "turns", "p50", "p95", "p99"];
    (!rows.is_empty()).then(|| Section {
        heading: "Latency".into(),
        charts,
        tables: vec![table("Milliseconds", &columns, rows)],
        ..Section::default()
    })
}

/// The learned choice against those that need no learning.
pub fn trial(trial: &Trial) -> Section {
    let metric = &trial.metric;
    let mut chosen: Vec<(&str, &Estimate, Option<&Difference>)> = vec![
        ("never", &trial.never, Some(&trial.over_never)),
        ("always", &trial.always, Some(&trial.over_always)),
        ("learned", &trial.learned, None),
        ("oracle", &trial.oracle, None),
    ];
    if let Some(ruled) = &trial.ruled {
        chosen.insert(2, ("rule", ruled, trial.over_ruled.as_ref()));
    }
    let rows = chosen.iter().map(|(name, mean, gain)| {
        let over =
            gain.map_or_else(String::new, |gain| figures::signed_interval(metric, &gain.estimate));
        let p = gain.map_or_else(String::new, |gain| figures::p_value(gain.p_value));
        vec![(*name).to_owned(), figures::interval(metric, mean), over, p]
    });
    let rows = rows.collect();
    let bars: Vec<Bar> = chosen
        .iter()
        .zip(CLASSES)
        .map(|((name, mean, _), class)| bar(name, metric, mean, class))
        .collect();
    let caption = format!("{metric} by who chooses");
    Section {
        heading: "The learned choice".into(),
        paragraphs: vec![format!(
            "Out of fold ({} folds of conversations): it rewrites {} of the turns, and takes the \
             worse of the two on {}.",
            trial.n_folds,
            figures::percent(trial.rewritten_share),
            figures::percent(trial.wrong_share)
        )],
        charts: vec![Chart { svg: chart::bars(&caption, &bars), caption }],
        tables: vec![table(metric, &["choice", "mean", "learned over it", "p"], rows)],
        turns: Vec::new(),
    }
}

/// What the run was made of.
pub fn origin(report: &Report) -> Section {
    let header = &report.header;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("suite", header.suite.clone()),
        row("turns", format!("{} of {}", report.n_turns, header.n_turns)),
        row("seed", header.seed.to_string()),
        row("data", header.data_sha256.clone()),
        row("program", header.code.version.clone()),
    ];
    rows.extend(header.code.build.iter().map(|build| row("build", build.clone())));
    for (part, model) in &header.models {
        rows.push(row(part, format!("{} {}", model.id, model.sha256)));
    }
    rows.extend(header.options.iter().map(|(name, value)| row(name, value.to_string())));
    rows.push(row("results", report.digest.clone()));
    let started = report.created_at.format(&Rfc3339).unwrap_or_default();
    rows.push(row("started", started));
    Section {
        heading: "Where this comes from".into(),
        tables: vec![table("The run", &["what", "value"], rows)],
        ..Section::default()
    }
}

/// A bar per system, in the order of the systems.
fn system_chart<'a>(
    caption: &str,
    metric: &str,
    systems: &[String],
    standings: impl Iterator<Item = &'a Standing>,
) -> Chart {
    let mut standings: Vec<&Standing> = standings.collect();
    standings.sort_by_key(|one| systems.iter().position(|system| *system == one.system));
    let bars: Vec<Bar> = standings
        .iter()
        .map(|one| bar(&one.system, metric, &one.estimate, class(systems, &one.system)))
        .collect();
    let svg = if bars.is_empty() { String::new() } else { chart::bars(caption, &bars) };
    Chart { caption: caption.to_owned(), svg }
}

fn bar(label: &str, metric: &str, mean: &Estimate, class: &'static str) -> Bar {
    let factor = measure::factor(metric);
    Bar {
        label: label.to_owned(),
        value: mean.mean * factor,
        interval: Some((mean.low * factor, mean.high * factor)),
        shown: figures::value(metric, mean.mean),
        class,
    }
}

fn class(systems: &[String], system: &str) -> &'static str {
    let place = systems.iter().position(|one| one == system).unwrap_or(0);
    CLASSES[place % CLASSES.len()]
}

fn systems(report: &Report) -> Vec<String> {
    let measured = report.standings.iter().map(|standing| standing.system.clone());
    figures::ordered(measured.chain(report.latency_ms.keys().cloned()))
}

/// The primary measure first, then the others by their names.
fn metrics(report: &Report, standings: &[&Standing]) -> Vec<String> {
    let distinct: BTreeSet<&String> = standings.iter().map(|standing| &standing.metric).collect();
    let (first, others): (Vec<_>, Vec<_>) =
        distinct.into_iter().partition(|metric| **metric == report.primary);
    first.into_iter().chain(others).cloned().collect()
}
