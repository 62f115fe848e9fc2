//! What the choice is worth on turns that it has not seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::folds::{folds, others};
use super::{ChoiceSettings, Examples, threshold};
use crate::error::Result;
use crate::evaluate::significance::{
    self, Difference, Estimate, Observed, SignificanceSettings, TIE,
};

/// The learned choice beside those that need no learning, all over the same turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub metric: String,
    pub n_folds: usize,
    /// The query as it came.
    pub never: Estimate,
    /// The rewrite.
    pub always: Estimate,
    /// The rule that decides today, where every turn has its outcome.
    pub ruled: Option<Estimate>,
    /// Each turn decided by a model that was fitted to other conversations.
    pub learned: Estimate,
    /// The better of the two, turn by turn: no choice does better.
    pub oracle: Estimate,
    pub over_never: Difference,
    pub over_always: Difference,
    pub over_ruled: Option<Difference>,
    /// The share of turns that the learned choice rewrites.
    pub rewritten_share: f64,
    /// The share of turns on which its choice is the worse of the two.
    pub wrong_share: f64,
}

/// See [`super::cross_validate`].
pub fn cross_validate(examples: &Examples, settings: &ChoiceSettings) -> Result<Trial> {
    let chosen = out_of_fold(examples, settings)?;
    let rows = &examples.rows;
    let column = |of: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..rows.len()).map(of).collect() };
    let never = column(&|idx| rows[idx].raw);
    let always = column(&|idx| rows[idx].rewritten);
    let oracle = column(&|idx| rows[idx].raw.max(rows[idx].rewritten));
    let learned = column(&|idx| if chosen[idx] { always[idx] } else { never[idx] });
    let ruled: Option<Vec<f64>> = rows.iter().map(|row| row.ruled).collect();
    let judge = Judge::new(examples, settings);
    let n = rows.len() as f64;
    let n_wrong = learned.iter().zip(&oracle).filter(|(own, best)| **best - **own > TIE).count();
    Ok(Trial {
        metric: examples.metric.clone(),
        n_folds: settings.n_folds,
        never: judge.mean(&never)?,
        always: judge.mean(&always)?,
        ruled: ruled.as_ref().map(|ruled| judge.mean(ruled)).transpose()?,
        learned: judge.mean(&learned)?,
        oracle: judge.mean(&oracle)?,
        over_never: judge.gain(&learned, &never)?,
        over_always: judge.gain(&learned, &always)?,
        over_ruled: ruled.as_ref().map(|ruled| judge.gain(&learned, ruled)).transpose()?,
        rewritten_share: chosen.iter().filter(|chosen| **chosen).count() as f64 / n,
        wrong_share: n_wrong as f64 / n,
    })
}

/// Whether each row is rewritten, by a model that has not seen its conversation.
fn out_of_fold(examples: &Examples, settings: &ChoiceSettings) -> Result<Vec<bool>> {
    let rows: Vec<usize> = (0..examples.rows.len()).collect();
    let folds = folds(examples, &rows, settings.n_folds, settings.seed)?;
    // Other folds inside than outside, since a part of the rows is there.
    let inner = ChoiceSettings { seed: settings.seed.wrapping_add(1), ..settings.clone() };
    let mut chosen = vec![false; rows.len()];
    for (fold_idx, fold) in folds.iter().enumerate() {
        let model = threshold::fit(examples, &others(&folds, fold_idx), &inner)?;
        for &row in fold {
            chosen[row] = model.rewrites(&examples.rows[row].features);
        }
    }
    Ok(chosen)
}

/// Means and differences by conversation.
struct Judge {
    clusters: Vec<usize>,
    settings: SignificanceSettings,
}

impl Judge {
    fn new(examples: &Examples, settings: &ChoiceSettings) -> Self {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let clusters = examples.rows.iter().map(|row| {
            let n = numbers.len();
            *numbers.entry(row.conversation.as_str()).or_insert(n)
        });
        let clusters = clusters.collect();
        let settings = SignificanceSettings { seed: settings.seed, ..Default::default() };
        Self { clusters, settings }
    }

    fn mean(&self, values: &[f64]) -> Result<Estimate> {
        significance::estimate(self.observed(values), &self.settings)
    }

    fn gain(&self, learned: &[f64], other: &[f64]) -> Result<Difference> {
        let gains: Vec<f64> = learned.iter().zip(other).map(|(own, other)| own - other).collect();
        significance::difference(self.observed(&gains), 1.0, &self.settings)
    }

    fn observed<'a>(&'a self, values: &'a [f64]) -> Observed<'a> {
        Observed { values, clusters: Some(&self.clusters) }
    }
}
