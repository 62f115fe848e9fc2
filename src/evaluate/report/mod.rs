//! What was found, for programs (JSON), for reviews (Markdown) and for people (one HTML page that
//! needs no network and runs no script).
//!
//! The sections are made once, of plain words, tables and charts; Markdown and HTML only set them.
//! Texts of turns are strangers' texts: they are escaped wherever they are set.

mod chart;
mod figures;
mod html;
mod markdown;
mod plain;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::choice::Trial;
use super::compare::Comparison;
use super::gate::Verdict;
use super::measure;
use super::run::{RunHeader, RunRecord, TurnRecord};
use super::significance::SignificanceSettings;
use super::summary::{Percentiles, Standing, latencies, summarise};
use crate::error::Result;
use crate::model::tensor_file::write_failed;

/// What a report shows of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSettings {
    /// The measure that is shown by slice.
    pub primary: String,
    /// As in [`super::compare::CompareSettings`].
    pub slices: Vec<String>,
    pub significance: SignificanceSettings,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            primary: measure::PRIMARY.to_owned(),
            slices: Vec::new(),
            significance: SignificanceSettings::default(),
        }
    }
}

/// A run, what it was compared with, and what follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub header: RunHeader,
    /// [`RunRecord::digest`] of the run.
    pub digest: String,
    pub n_turns: usize,
    pub primary: String,
    pub standings: Vec<Standing>,
    /// The gate's word on the first comparison.
    pub verdict: Option<Verdict>,
    pub comparisons: Vec<Comparison>,
    /// What the learned choice is worth.
    pub trial: Option<Trial>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// By system and stage.
    pub latency_ms: BTreeMap<String, BTreeMap<String, Percentiles>>,
}

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub json: PathBuf,
    pub markdown: PathBuf,
    pub html: PathBuf,
}

impl Report {
    /// The means of the run. Comparisons, verdict and trial are set by who has them.
    ///
    /// # Errors
    /// `significance_options`, `significance_input`.
    pub fn new(run: &RunRecord, settings: &ReportSettings) -> Result<Self> {
        settings.significance.validate()?;
        let turns: Vec<&TurnRecord> = run.turns.iter().collect();
        let of_system = |system: &str| (system.to_owned(), latencies(&turns, system));
        let latency_ms = run.systems().into_iter().map(of_system);
        Ok(Self {
            header: run.header.clone(),
            digest: run.digest()?,
            n_turns: run.turns.len(),
            primary: settings.primary.clone(),
            standings: summarise(run, &settings.slices, &settings.significance)?,
            verdict: None,
            comparisons: Vec::new(),
            trial: None,
            created_at: run.created_at,
            latency_ms: latency_ms.filter(|(_, stages)| !stages.is_empty()).collect(),
        })
    }

    /// Everything, for programs.
    ///
    /// # Errors
    /// When a number cannot be written.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The sections, for a review or a README.
    pub fn markdown(&self) -> String {
        let verdict = self.verdict.as_ref().map(Verdict::sentence);
        markdown::render(&self.title(), verdict.as_deref(), &sections::of(self))
    }

    /// One page with charts, for a browser that is offline.
    ///
    /// # Errors
    /// When the page's template does not fit it: a fault of ours.
    pub fn html(&self) -> Result<String> {
        html::render(&self.title(), self.verdict.as_ref(), &sections::of(self))
    }

    fn title(&self) -> String {
        format!("Evaluation of {}", self.header.suite)
    }
}

/// A comparison in columns, for a terminal: differences, p-values, wins, ties and losses, regret.
pub fn in_columns(comparison: &Comparison) -> String {
    plain::render(&sections::comparison(comparison))
}

/// The means of a run, over all turns and by slice, in columns for a terminal.
pub fn means_in_columns(report: &Report) -> String {
    plain::render(&[sections::means(report), sections::by_slice(report)])
}

/// Writes `report.json`, `report.md` and `report.html` into a folder, which is made if need be.
///
/// # Errors
/// `disk_full`, `disk_write`.
pub fn write(dir: &Path, report: &Report) -> Result<Written> {
    fs_err::create_dir_all(dir).map_err(|source| write_failed(dir, source))?;
    let put = |name: &str, text: String| -> Result<PathBuf> {
        let path = dir.join(name);
        fs_err::write(&path, text).map_err(|source| write_failed(&path, source))?;
        Ok(path)
    };
    Ok(Written {
        json: put("report.json", report.json()?)?,
        markdown: put("report.md", report.markdown())?,
        html: put("report.html", report.html()?)?,
    })
}
