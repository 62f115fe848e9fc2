//! What a run came to, on the terminal or as one line of JSON.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{Global, output};
use crate::error::Result;
use crate::evaluate::report::{self, Report, Written};
use crate::evaluate::run::RunRecord;
use crate::service::evaluation::corpus_scores::{self, CorpusScores};

/// Prints the means, the scores over the whole set, the comparison with an earlier run, and the
/// places of the files.
pub fn show(
    global: &Global,
    run: &RunRecord,
    report: &Report,
    out: &Path,
    written: &Written,
) -> Result<()> {
    let scores = corpus_scores::of_run(run);
    if global.json {
        return output::line(&as_json(report, &scores, out, written).to_string());
    }
    output::line(&report::means_in_columns(report))?;
    if !scores.is_empty() {
        output::line(&of_corpus(&scores))?;
    }
    let earlier = report.comparisons.iter().filter(|one| one.champion.header != run.header);
    for comparison in earlier {
        output::line(&report::in_columns(comparison))?;
    }
    if let Some(verdict) = &report.verdict {
        output::line(&verdict.sentence())?;
    }
    output::line(&format!("The report is {} (.md, .json).", written.html.display()))
}

fn of_corpus(scores: &[CorpusScores]) -> String {
    let mut lines = vec!["Over the whole set, as papers score it\n".to_owned()];
    for one in scores {
        lines.push(format!(
            "{:<7} {:<5} {:>5} turns  BLEU-1 {:>6.2}  BLEU-2 {:>6.2}  BLEU-4 {:>6.2}  ({})",
            one.system, one.lang, one.n_turns, one.bleu1, one.bleu2, one.bleu4, one.signature
        ));
    }
    lines.join("\n") + "\n"
}

fn as_json(report: &Report, scores: &[CorpusScores], out: &Path, written: &Written) -> Value {
    let mut systems: BTreeMap<&str, BTreeMap<&str, Value>> = BTreeMap::new();
    for standing in report.standings.iter().filter(|standing| standing.slice.is_all()) {
        let estimate = &standing.estimate;
        let shown = json!({
            "mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n,
        });
        systems.entry(&standing.system).or_default().insert(&standing.metric, shown);
    }
    json!({
        "suite": report.header.suite,
        "out": out,
        "turns": report.n_turns,
        "digest": report.digest,
        "primary": report.primary,
        "systems": systems,
        "corpus": scores,
        "verdict": report.verdict,
        "files": {"json": written.json, "markdown": written.markdown, "html": written.html},
    })
}
