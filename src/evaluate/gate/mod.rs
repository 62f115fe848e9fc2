//! Whether a candidate may take the champion's place, and if not, for which reasons.
//!
//! What could not be judged counts against the candidate: a guarantee that nobody measured is not
//! a guarantee.

mod checks;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::compare::{CompareSettings, Comparison, Side, compare};
use super::measure;
use super::summary::Slice;
use crate::error::{Error, Result};

/// The thresholds of the gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// The least turns and conversations that a verdict may rest on.
    pub min_turns: usize,
    pub min_conversations: usize,
    /// The interval of the gain must begin above this many points.
    pub min_gain_points: f64,
    /// How far a slice may fall, in points of the primary measure.
    pub max_slice_drop_points: f64,
    /// Smaller slices are named, not judged.
    pub min_slice_turns: usize,
    /// How far the share of turns on which the raw query does better may rise, in points.
    pub max_regret_rise_points: f64,
    /// Measures that no turn may violate, nor go without being measured at all.
    pub guarantees: Vec<String>,
    /// How much oftener than the champion the candidate may write what the rules have to refuse or
    /// repair, in points; each kind of fault by itself, and only a rise that is sure counts.
    pub max_fault_rise_points: f64,
    /// The stage whose 95th percentile is held to the budget.
    pub latency_stage: String,
    pub max_latency_p95_ms: f64,
    /// How many turns of the champion the candidate may lack.
    pub max_missing_turns: usize,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            min_turns: 50,
            min_conversations: 10,
            min_gain_points: 0.0,
            max_slice_drop_points: 1.0,
            min_slice_turns: 20,
            max_regret_rise_points: 0.0,
            guarantees: measure::GUARANTEES.map(str::to_owned).to_vec(),
            max_fault_rise_points: 2.0,
            latency_stage: "rewrite".to_owned(),
            max_latency_p95_ms: 300.0,
            max_missing_turns: 0,
        }
    }
}

impl GateSettings {
    /// # Errors
    /// `gate_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        let limits = [
            ("min_gain_points", self.min_gain_points),
            ("max_slice_drop_points", self.max_slice_drop_points),
            ("max_regret_rise_points", self.max_regret_rise_points),
            ("max_fault_rise_points", self.max_fault_rise_points),
            ("max_latency_p95_ms", self.max_latency_p95_ms),
        ];
        match limits.iter().find(|(_, limit)| !(limit.is_finite() && *limit >= 0.0)) {
            Some((name, limit)) => Err(Error::invalid(
                "gate_options",
                format!("{name} is {limit}; give a number that is not negative"),
            )),
            None => Ok(()),
        }
    }
}

/// Why a candidate is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    TooFewTurns,
    TurnsMissing,
    NotBetter,
    SliceWorse,
    RegretUp,
    RegretUnmeasured,
    GuaranteeViolated,
    GuaranteeUnmeasured,
    FaultsUp,
    TooSlow,
    LatencyUnmeasured,
}

/// One reason, with the figure and the limit that it broke.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub code: ReasonCode,
    /// The measure, or the stage of a latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
    pub value: f64,
    pub limit: f64,
    /// A sentence for a person.
    pub message: String,
    /// Some of the turns that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<String>,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub promoted: bool,
    /// None when promoted.
    pub reasons: Vec<Reason>,
    /// Slices with too few turns to be judged.
    pub unjudged_slices: Vec<Slice>,
}

impl Verdict {
    /// The verdict in words: each reason a sentence.
    pub fn sentence(&self) -> String {
        if self.promoted {
            return "The candidate may be promoted.".to_owned();
        }
        let reasons: Vec<&str> =
            self.reasons.iter().map(|reason| reason.message.as_str()).collect();
        format!("The candidate is refused. {}", reasons.join(" "))
    }

    /// Whether it was refused for this.
    pub fn names(&self, code: ReasonCode) -> bool {
        self.reasons.iter().any(|reason| reason.code == code)
    }
}

/// Compares a candidate with the champion and judges it; the guarantees of both settings count.
///
/// # Errors
/// Those of [`compare`] and [`judge`].
pub fn examine(
    candidate: Side<'_>,
    champion: Side<'_>,
    settings: &CompareSettings,
    gate: &GateSettings,
) -> Result<(Comparison, Verdict)> {
    let mut settings = settings.clone();
    settings.guarantees.extend(gate.guarantees.iter().cloned());
    settings.guarantees.sort();
    settings.guarantees.dedup();
    let comparison = compare(candidate, champion, &settings)?;
    let verdict = judge(&comparison, gate)?;
    Ok((comparison, verdict))
}

/// Judges the candidate of a comparison. Every check is made, so that all reasons are named.
///
/// # Errors
/// `gate_options`.
pub fn judge(comparison: &Comparison, settings: &GateSettings) -> Result<Verdict> {
    settings.validate()?;
    let mut reasons = Vec::new();
    reasons.extend(checks::turns(comparison, settings));
    reasons.extend(checks::gain(comparison, settings));
    reasons.extend(checks::slices(comparison, settings));
    reasons.extend(checks::regret(comparison, settings));
    reasons.extend(checks::guarantees(comparison, settings));
    reasons.extend(checks::faults(comparison, settings));
    reasons.extend(checks::latency(comparison, settings));
    let unjudged_slices = checks::primary_rows(comparison)
        .filter(|row| row.difference.estimate.n < settings.min_slice_turns)
        .map(|row| row.slice.clone())
        .collect();
    Ok(Verdict { promoted: reasons.is_empty(), reasons, unjudged_slices })
}
