//! The fit with its penalty and its threshold, both chosen out of fold.

use super::folds::{folds, others};
use super::logistic::{Logistic, LogisticRow, softplus};
use super::model::{ChoiceModel, Feature};
use super::{ChoiceSettings, Examples};
use crate::error::Result;

/// Gains that differ by less are equal.
const ROUNDING: f64 = 1e-12;

/// A row that was left out of the fit, with the chance that it was given.
#[derive(Debug, Clone, Copy)]
struct Told {
    chance: f64,
    /// What the rewrite brings, its cost taken off.
    gain: f64,
}

/// Fits the rows: per penalty the out-of-fold chances, of which the least loss wins, then the
/// threshold under which these gain most.
pub fn fit(examples: &Examples, rows: &[usize], settings: &ChoiceSettings) -> Result<ChoiceModel> {
    let folds = folds(examples, rows, settings.n_folds, settings.seed)?;
    let mut best: Option<(f64, f64, Vec<Told>)> = None;
    for &l2 in &settings.l2 {
        let told = out_of_fold(examples, &folds, l2, settings);
        let loss = loss(&told);
        // Of equal losses the first, so that the order of the settings decides.
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, l2, told));
        }
    }
    let (_, l2, told) = best.unwrap_or_default();
    let mut model = line(examples, rows, l2, settings);
    model.threshold = best_threshold(told);
    Ok(model)
}

fn out_of_fold(
    examples: &Examples,
    folds: &[Vec<usize>],
    l2: f64,
    settings: &ChoiceSettings,
) -> Vec<Told> {
    let mut told = Vec::new();
    for (fold_idx, fold) in folds.iter().enumerate() {
        let model = line(examples, &others(folds, fold_idx), l2, settings);
        told.extend(fold.iter().map(|&row| Told {
            chance: model.predict(&examples.rows[row].features),
            gain: gain(examples, row, settings),
        }));
    }
    told
}

/// The weights, without a threshold.
fn line(examples: &Examples, rows: &[usize], l2: f64, settings: &ChoiceSettings) -> ChoiceModel {
    let scales: Vec<(f64, f64)> =
        (0..examples.names.len()).map(|idx| scale(examples, rows, idx)).collect();
    let scaled = |row: usize| -> Vec<f64> {
        let values = examples.rows[row].features.iter().zip(&scales);
        values.map(|(value, (mean, scale))| (value - mean) / scale).collect()
    };
    let gains: Vec<(usize, f64)> =
        rows.iter().map(|&row| (row, gain(examples, row, settings))).collect();
    let n_moved = gains.iter().filter(|(_, gain)| *gain != 0.0).count();
    let moved: f64 = gains.iter().map(|(_, gain)| gain.abs()).sum();
    // Weights of mean 1, so that a penalty means the same for every measure.
    let unit = if moved > 0.0 { n_moved as f64 / moved } else { 1.0 };
    let weighted = gains.iter().filter(|(_, gain)| *gain != 0.0).map(|&(row, gain)| LogisticRow {
        features: scaled(row),
        happened: gain > 0.0,
        weight: gain.abs() * unit,
    });
    let fitted = Logistic::fit(&weighted.collect::<Vec<_>>(), l2);
    let weights = fitted.weights.iter().copied().chain(std::iter::repeat(0.0));
    let features = examples.names.iter().zip(&scales).zip(weights);
    let features = features.map(|((name, &(mean, scale)), weight)| Feature {
        name: name.clone(),
        mean,
        scale,
        weight,
    });
    ChoiceModel::new(features.collect(), fitted.bias, l2, &examples.metric, rows.len())
}

/// The mean and the deviation of a feature; the deviation of one that never differs is 1.
fn scale(examples: &Examples, rows: &[usize], idx: usize) -> (f64, f64) {
    let n = rows.len().max(1) as f64;
    let values = || rows.iter().map(|&row| examples.rows[row].features[idx]);
    let mean = values().sum::<f64>() / n;
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let deviation = variance.sqrt();
    (mean, if deviation > 1e-12 * mean.abs().max(1e-3) { deviation } else { 1.0 })
}

fn gain(examples: &Examples, row: usize, settings: &ChoiceSettings) -> f64 {
    let example = &examples.rows[row];
    example.rewritten - example.raw - settings.cost
}

/// The weighted log loss.
fn loss(told: &[Told]) -> f64 {
    let losses = told.iter().map(|row| {
        let chance = row.chance.clamp(1e-12, 1.0 - 1e-12);
        let logit = (chance / (1.0 - chance)).ln();
        row.gain.abs() * softplus(if row.gain > 0.0 { -logit } else { logit })
    });
    losses.sum()
}

/// The threshold that gains most; of equals the one nearest to an even chance, and nothing is
/// rewritten for no gain. Between two chances the middle is taken; 0 rewrites everything and 2
/// nothing.
fn best_threshold(mut told: Vec<Told>) -> f64 {
    told.sort_by(|one, other| other.chance.total_cmp(&one.chance));
    let mut best = (0.0, 2.0_f64);
    let mut total = 0.0;
    for (idx, row) in told.iter().enumerate() {
        total += row.gain;
        let threshold = match told.get(idx + 1) {
            Some(next) if next.chance == row.chance => continue,
            Some(next) => (row.chance + next.chance) / 2.0,
            None => 0.0,
        };
        let is_more = total > best.0 + ROUNDING;
        let is_equal = best.0 > ROUNDING && total > best.0 - ROUNDING;
        if is_more || is_equal && (threshold - 0.5).abs() < (best.1 - 0.5).abs() {
            best = (total, threshold);
        }
    }
    best.1
}
