//! The sections of a comparison.

use super::{Chart, Section, Table, Turn, table};
use crate::evaluate::compare::{Comparison, Named, Row};
use crate::evaluate::measure;
use crate::evaluate::report::chart::{self, Bar, Dot, Parts};
use crate::evaluate::report::figures;
use crate::evaluate::significance::Outcomes;
use crate::evaluate::summary::Slice;

/// Differences, regret, guarantees, and the turns to read.
pub fn of(comparison: &Comparison) -> Vec<Section> {
    let mut sections = vec![differences(comparison)];
    if !comparison.regret.is_empty() {
        sections.push(regret(comparison));
    }
    if !comparison.guarantees.is_empty() {
        sections.push(guarantees(comparison));
    }
    if !comparison.regressions.is_empty() {
        sections.push(worst(comparison));
    }
    sections
}

fn differences(comparison: &Comparison) -> Section {
    let of_primary: Vec<&Row> =
        comparison.rows.iter().filter(|row| row.metric == comparison.primary).collect();
    let of_all: Vec<&Row> = comparison.rows.iter().filter(|row| row.slice.is_all()).collect();
    let (candidate, champion) = (named(&comparison.candidate), named(&comparison.champion));
    let missing = &comparison.missing;
    let mut paragraphs = vec![format!(
        "Candidate: {candidate}. Champion: {champion}. {} turns that both have; differences are \
         candidate − champion. Each p-value is of its row alone: of twenty rows, one is below \
         0.05 by chance.",
        comparison.n_pairs
    )];
    for (ids, side) in
        [(&missing.from_candidate, "candidate"), (&missing.from_champion, "champion")]
    {
        if !ids.is_empty() {
            paragraphs.push(format!("The {side} lacks {} turns of the other.", ids.len()));
        }
    }
    if !missing.unmeasured.is_empty() {
        let (n, primary) = (missing.unmeasured.len(), &comparison.primary);
        paragraphs.push(format!("The candidate has no {primary} on {n} turns."));
    }
    let primary = &comparison.primary;
    Section {
        heading: format!("{} against {}", comparison.candidate.system, comparison.champion.system),
        paragraphs,
        charts: vec![dots(primary, &of_primary), outcomes(primary, &of_primary)],
        tables: vec![
            rows(&format!("{primary} by slice"), "slice", &of_primary, |row| row.slice.to_string()),
            rows("Every measure, all turns", "measure", &of_all, |row| row.metric.clone()),
        ],
        turns: Vec::new(),
    }
}

fn rows(caption: &str, first: &str, rows: &[&Row], name: impl Fn(&Row) -> String) -> Table {
    let columns = [
        first,
        "turns",
        "candidate",
        "champion",
        "difference",
        "p",
        "p (permutation)",
        "p (sign)",
        "win / tie / loss",
    ];
    let cells = |row: &&Row| {
        let (metric, difference) = (&row.metric, &row.difference);
        let Outcomes { n_win, n_tie, n_loss } = difference.outcomes;
        vec![
            name(row),
            difference.estimate.n.to_string(),
            figures::value(metric, row.candidate.mean),
            figures::value(metric, row.champion.mean),
            figures::signed_interval(metric, &difference.estimate),
            figures::p_value(difference.p_value),
            figures::p_value(difference.permutation_p_value),
            figures::p_value(difference.sign_p_value),
            format!("{n_win} / {n_tie} / {n_loss}"),
        ]
    };
    table(caption, &columns, rows.iter().map(cells).collect())
}

fn dots(primary: &str, rows: &[&Row]) -> Chart {
    let factor = measure::factor(primary);
    let dot = |row: &&Row| {
        let estimate = row.difference.estimate;
        Dot {
            label: short(&row.slice),
            mean: estimate.mean * factor,
            low: estimate.low * factor,
            high: estimate.high * factor,
            shown: figures::signed(estimate.mean * factor),
        }
    };
    let sign = rows.first().map_or(1.0, |row| row.better.sign());
    let caption = format!("Difference of {primary}, with its interval");
    let dots: Vec<Dot> = rows.iter().map(dot).collect();
    Chart { svg: chart::dots(&caption, sign, &dots), caption }
}

fn outcomes(primary: &str, rows: &[&Row]) -> Chart {
    let parts = |row: &&Row| {
        let Outcomes { n_win, n_tie, n_loss } = row.difference.outcomes;
        Parts { label: short(&row.slice), counts: [n_win, n_tie, n_loss] }
    };
    let caption = format!("Wins, ties and losses by {primary}");
    let parts: Vec<Parts> = rows.iter().map(parts).collect();
    Chart { svg: chart::outcomes(&caption, &parts), caption }
}

fn regret(comparison: &Comparison) -> Section {
    let mut bars = Vec::new();
    let mut cells = Vec::new();
    let primary = &comparison.primary;
    for row in &comparison.regret {
        let sides = [(&row.candidate, "candidate"), (&row.champion, "champion")];
        for (side, class) in sides {
            let label = if class == "candidate" { short(&row.slice) } else { String::new() };
            let share = side.share;
            bars.push(Bar {
                label,
                value: 100.0 * share.mean,
                interval: Some((100.0 * share.low, 100.0 * share.high)),
                shown: figures::percent(share.mean),
                class,
            });
        }
        cells.push(vec![
            row.slice.to_string(),
            row.candidate.share.n.to_string(),
            figures::percent(row.candidate.share.mean),
            figures::percent(row.champion.share.mean),
            figures::signed_interval(primary, &row.difference.estimate),
            figures::p_value(row.difference.p_value),
            figures::value(primary, row.candidate.mean_size),
            figures::value(primary, row.champion.mean_size),
        ]);
    }
    let columns = [
        "slice",
        "turns",
        "candidate",
        "champion",
        "difference",
        "p",
        "size, candidate",
        "size, champion",
    ];
    let caption = "Turns on which the raw query does better: candidate, then champion".to_owned();
    Section {
        heading: "Regret".into(),
        paragraphs: vec![format!(
            "The share of turns on which the raw query does better by {primary}, and by how much \
             it does on these."
        )],
        charts: vec![Chart { svg: chart::bars(&caption, &bars), caption }],
        tables: vec![table("Regret by slice", &columns, cells)],
        turns: Vec::new(),
    }
}

fn guarantees(comparison: &Comparison) -> Section {
    let cells = comparison.guarantees.iter().map(|guarantee| {
        let violations = &guarantee.violations;
        let named: Vec<&str> = violations.iter().take(5).map(String::as_str).collect();
        vec![
            guarantee.metric.clone(),
            guarantee.n_measured.to_string(),
            violations.len().to_string(),
            named.join(", "),
        ]
    });
    let columns = ["guarantee", "turns measured", "violations", "for example"];
    Section {
        heading: "Guarantees of the candidate".into(),
        tables: vec![table("Guarantees", &columns, cells.collect())],
        ..Section::default()
    }
}

fn worst(comparison: &Comparison) -> Section {
    let primary = &comparison.primary;
    let turns = comparison.regressions.iter().map(|turn| {
        let slices: Vec<String> =
            turn.slices.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let shown = |value| figures::value(primary, value);
        let order = ["history", "query", "champion", "candidate", "raw", "gold"];
        let texts = order
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), turn.texts.get(*name)?.clone())));
        Turn {
            name: turn.turn.clone(),
            figures: format!(
                "{primary}: candidate {}, champion {} ({})",
                shown(turn.candidate),
                shown(turn.champion),
                slices.join(", ")
            ),
            texts: texts.collect(),
        }
    });
    Section {
        heading: "Where the candidate lost most".into(),
        turns: turns.collect(),
        ..Section::default()
    }
}

/// The name of a slice beside a bar.
fn short(slice: &Slice) -> String {
    if slice.is_all() { slice.to_string() } else { slice.value.clone() }
}

fn named(side: &Named) -> String {
    let models: Vec<&str> = side.header.models.values().map(|model| model.id.as_str()).collect();
    format!("{} of {}", side.system, models.join(" + "))
}
