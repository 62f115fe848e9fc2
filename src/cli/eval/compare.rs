//! The comparisons of a report: with the champion's run where one is named, and with the raw
//! query of the run itself.

use super::{EvalArgs, Thresholds};
use crate::error::Result;
use crate::evaluate::compare::{CompareSettings, Side, compare};
use crate::evaluate::gate;
use crate::evaluate::report::Report;
use crate::evaluate::run::RunRecord;

/// Adds them to the report, the champion's first.
///
/// # Errors
/// Those of comparing, for the champion's run.
pub fn add(
    report: &mut Report,
    run: &RunRecord,
    champion: Option<&RunRecord>,
    args: &EvalArgs,
    thresholds: &Thresholds,
) -> Result<()> {
    let candidate = Side { run, system: &args.system };
    if let Some(champion) = champion {
        let champion = Side { run: champion, system: &args.system };
        let (comparison, verdict) =
            gate::examine(candidate, champion, &thresholds.compare, &thresholds.gate)?;
        report.comparisons.push(comparison);
        report.verdict = args.gate.then_some(verdict);
    }
    let has = |system: &str| run.systems().contains(&system);
    let settings: &CompareSettings = &thresholds.compare;
    for system in ["gated", "always"] {
        if has(system) && has(&settings.raw_system) {
            let raw = Side { run, system: &settings.raw_system };
            report.comparisons.push(compare(Side { run, system }, raw, settings)?);
        }
    }
    Ok(())
}
