//! What may be concluded from paired numbers: intervals by the bootstrap, p-values three ways.
//!
//! Turns of a conversation are alike, so that conversations are drawn, not turns (the cluster
//! bootstrap: Davison and Hinkley 1997, *Bootstrap Methods and their Application*, §3.8). Every
//! draw comes from the seed.

mod batch;
mod draws;
mod exact;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use batch::Clusters;

/// Differences of no more than this are ties.
pub const TIE: f64 = 1e-9;

/// How the draws are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignificanceSettings {
    pub n_resamples: usize,
    /// Sign flips of the permutation test; where all of them are no more than this, all are made.
    pub n_permutations: usize,
    /// The share of an interval, 0.95 for 95 %.
    pub confidence: f64,
    pub seed: u64,
}

impl Default for SignificanceSettings {
    fn default() -> Self {
        Self { n_resamples: 10_000, n_permutations: 10_000, confidence: 0.95, seed: 20_261_124 }
    }
}

impl SignificanceSettings {
    /// # Errors
    /// `significance_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::invalid("significance_options", text));
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return refuse(format!("confidence is {}; give 0.95 or so", self.confidence));
        }
        match self.n_resamples.min(self.n_permutations) {
            0..100 => refuse(format!(
                "n_resamples is {} and n_permutations {}; give at least 100 of each",
                self.n_resamples, self.n_permutations
            )),
            _ => Ok(()),
        }
    }
}

/// A mean with its percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Turns.
    pub n: usize,
    /// Conversations that they are of.
    pub n_clusters: usize,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// How the turns went, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcomes {
    pub n_win: usize,
    pub n_tie: usize,
    pub n_loss: usize,
}

/// The mean of paired differences, and how surely it is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Of candidate − champion, with its interval.
    pub estimate: Estimate,
    /// Two-sided, from the bootstrap: twice the share of resampled means on the other side of 0.
    pub p_value: f64,
    /// Two-sided, of the permutation test: signs of whole conversations flipped at random.
    pub permutation_p_value: f64,
    /// Two-sided, of the exact sign test over the turns that are no ties.
    pub sign_p_value: f64,
    pub outcomes: Outcomes,
}

/// Values with the clusters that they are of; without clusters, each is one of its own.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    pub values: &'a [f64],
    pub clusters: Option<&'a [usize]>,
}

/// The mean of the values, with its interval. With one cluster the interval has no width: nothing
/// is known of how conversations differ.
///
/// # Errors
/// `significance_input` when there are none, when their clusters are not as many, or when one is
/// not finite.
pub fn estimate(observed: Observed<'_>, settings: &SignificanceSettings) -> Result<Estimate> {
    let estimates = estimates(&[observed], settings)?;
    estimates.into_iter().next().ok_or_else(|| Error::internal("a mean was lost"))
}

/// [`estimate`] of each; those over the same clusters are drawn together, which is much faster.
///
/// # Errors
/// As [`estimate`].
pub fn estimates(
    observed: &[Observed<'_>],
    settings: &SignificanceSettings,
) -> Result<Vec<Estimate>> {
    batch::each(observed, settings, |judged| judged.estimate)
}

/// The mean of the paired differences, candidate − champion; `sign` is −1 for a measure that is
/// better when it is lower, which turns wins and losses round and nothing else.
///
/// # Errors
/// As [`estimate`].
pub fn difference(
    differences: Observed<'_>,
    sign: f64,
    settings: &SignificanceSettings,
) -> Result<Difference> {
    let judged = self::differences(&[(differences, sign)], settings)?;
    judged.into_iter().next().ok_or_else(|| Error::internal("a difference was lost"))
}

/// [`difference`] of each, drawn together like [`estimates`].
///
/// # Errors
/// As [`estimate`].
pub fn differences(
    differences: &[(Observed<'_>, f64)],
    settings: &SignificanceSettings,
) -> Result<Vec<Difference>> {
    let observed: Vec<Observed<'_>> = differences.iter().map(|(observed, _)| *observed).collect();
    batch::each(&observed, settings, |judged| {
        let (observed, sign) = differences[judged.idx];
        let outcomes = outcomes(observed.values, sign);
        Difference {
            estimate: judged.estimate,
            p_value: bootstrap_p_value(judged.sorted_means, judged.sums.len()),
            permutation_p_value: draws::permutation_p_value(&judged.sums, settings),
            sign_p_value: exact::sign_p_value(outcomes.n_win, outcomes.n_loss),
            outcomes,
        }
    })
}

/// How many of the differences are for the candidate, neither, against it.
pub fn outcomes(differences: &[f64], sign: f64) -> Outcomes {
    let count = |is: fn(f64) -> bool| differences.iter().filter(|&&d| is(d * sign)).count();
    let (n_win, n_loss) = (count(|gain| gain > TIE), count(|gain| gain < -TIE));
    Outcomes { n_win, n_tie: differences.len() - n_win - n_loss, n_loss }
}

/// The value below which a share of the sorted values lies, straight lines between them (the
/// definition of R's type 7 and NumPy's default). 0 for none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last_idx) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last_idx as f64;
    let idx = place.floor() as usize;
    let next = sorted[(idx + 1).min(last_idx)];
    sorted[idx] + (next - sorted[idx]) * (place - idx as f64)
}

/// Twice the smaller tail beyond 0, each counted with one draw more, so that it is never 0
/// (Davison and Hinkley 1997, §4.2). One cluster says nothing.
fn bootstrap_p_value(sorted_means: &[f64], n_clusters: usize) -> f64 {
    if n_clusters < 2 {
        return 1.0;
    }
    let n_low = sorted_means.partition_point(|&mean| mean <= 0.0);
    let n_high = sorted_means.len() - sorted_means.partition_point(|&mean| mean < 0.0);
    let tail = (n_low.min(n_high) + 1) as f64 / (sorted_means.len() + 1) as f64;
    (2.0 * tail).min(1.0)
}
