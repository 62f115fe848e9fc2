//! Columns that are drawn together.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::draws::resampled_means;
use super::{Estimate, Observed, SignificanceSettings, percentile};
use crate::error::{Error, Result};

/// Columns that share their draws: enough to hide the cost of a draw, few enough to stay in a
/// processor's cache.
const N_TOGETHER: usize = 32;

/// The values of columns, added up by cluster.
#[derive(Debug)]
pub struct Clusters {
    /// Values of a cluster, in each column.
    pub counts: Vec<f64>,
    /// `[n_clusters, n_columns]`, row by row.
    pub sums: Vec<f64>,
    pub n_columns: usize,
}

/// A column after the draws.
pub struct Judged<'a> {
    /// Which of the columns it is.
    pub idx: usize,
    pub estimate: Estimate,
    pub sorted_means: &'a [f64],
    /// By cluster.
    pub sums: Vec<f64>,
}

/// Draws for every column and turns what comes of it into a figure, in the order of the columns.
///
/// # Errors
/// `significance_input`.
pub fn each<T: Send>(
    columns: &[Observed<'_>],
    settings: &SignificanceSettings,
    figure: impl Fn(Judged<'_>) -> T + Sync,
) -> Result<Vec<T>> {
    columns.iter().try_for_each(usable)?;
    // Equal clusters are equal draws; a column without clusters goes by its length.
    let mut alike: BTreeMap<(usize, Option<&[usize]>), Vec<usize>> = BTreeMap::new();
    for (idx, column) in columns.iter().enumerate() {
        alike.entry((column.values.len(), column.clusters)).or_default().push(idx);
    }
    let together: Vec<&[usize]> = alike.values().flat_map(|idxs| idxs.chunks(N_TOGETHER)).collect();
    let parts = together.into_par_iter().map(|idxs| judge(columns, idxs, settings, &figure));
    let mut figures: Vec<(usize, T)> = parts.flatten_iter().collect();
    figures.sort_by_key(|(idx, _)| *idx);
    Ok(figures.into_iter().map(|(_, figure)| figure).collect())
}

impl Clusters {
    /// Adds up columns of as many values over the same clusters.
    pub fn new(columns: &[Observed<'_>]) -> Self {
        let n_values = columns.first().map_or(0, |column| column.values.len());
        let names: Vec<usize> = match columns.first().and_then(|column| column.clusters) {
            Some(names) => names.to_vec(),
            None => (0..n_values).collect(),
        };
        let mut rows: BTreeMap<usize, usize> = names.iter().map(|&name| (name, 0)).collect();
        rows.values_mut().enumerate().for_each(|(idx, row)| *row = idx);
        let (n_columns, n_rows) = (columns.len(), rows.len());
        let (mut counts, mut sums) = (vec![0.0; n_rows], vec![0.0; n_rows * n_columns]);
        for (value_idx, name) in names.iter().enumerate() {
            let row = rows[name];
            counts[row] += 1.0;
            for (column_idx, column) in columns.iter().enumerate() {
                sums[row * n_columns + column_idx] += column.values[value_idx];
            }
        }
        Self { counts, sums, n_columns }
    }

    fn column(&self, idx: usize) -> Vec<f64> {
        self.sums.iter().skip(idx).step_by(self.n_columns).copied().collect()
    }
}

fn judge<T>(
    columns: &[Observed<'_>],
    idxs: &[usize],
    settings: &SignificanceSettings,
    figure: impl Fn(Judged<'_>) -> T,
) -> Vec<(usize, T)> {
    let alike: Vec<Observed<'_>> = idxs.iter().map(|&idx| columns[idx]).collect();
    let clusters = Clusters::new(&alike);
    let means = resampled_means(&clusters, settings);
    let tail = (1.0 - settings.confidence) / 2.0;
    let n = alike.first().map_or(0, |column| column.values.len());
    let judged = idxs.iter().zip(&means).enumerate().map(|(place, (&idx, sorted_means))| {
        let sums = clusters.column(place);
        let estimate = Estimate {
            n,
            n_clusters: sums.len(),
            mean: sums.iter().sum::<f64>() / n as f64,
            low: percentile(sorted_means, tail),
            high: percentile(sorted_means, 1.0 - tail),
        };
        (idx, figure(Judged { idx, estimate, sorted_means, sums }))
    });
    judged.collect()
}

fn usable(observed: &Observed<'_>) -> Result<()> {
    let refuse = |text: String| Err(Error::invalid("significance_input", text));
    let values = observed.values;
    if values.is_empty() {
        return refuse("there are no numbers to judge; measure some turns".into());
    }
    if let Some(idx) = values.iter().position(|value| !value.is_finite()) {
        return refuse(format!("number {idx} is {}; leave it out", values[idx]));
    }
    match observed.clusters.map(<[usize]>::len) {
        Some(n_ids) if n_ids != values.len() => {
            let n = values.len();
            refuse(format!("{n} numbers have {n_ids} clusters; give one for each"))
        }
        _ => Ok(()),
    }
}
