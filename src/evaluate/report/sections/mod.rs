//! The parts of a report, before they are set: words, tables, charts, turns.

mod compared;
mod run;

use serde::Serialize;

pub use compared::of as comparison;
pub use run::{by_slice, means};

use super::Report;

/// A part with its heading.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Section {
    pub heading: String,
    pub paragraphs: Vec<String>,
    /// SVG, set as it is.
    pub charts: Vec<Chart>,
    pub tables: Vec<Table>,
    pub turns: Vec<Turn>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Chart {
    pub caption: String,
    pub svg: String,
}

/// Rows of cells; the first column names them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Table {
    pub caption: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A turn to be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Turn {
    pub name: String,
    pub figures: String,
    /// Name and text.
    pub texts: Vec<(String, String)>,
}

/// Every section that the report has something for.
pub fn of(report: &Report) -> Vec<Section> {
    let mut sections = vec![run::means(report), run::by_slice(report)];
    for comparison in &report.comparisons {
        sections.extend(compared::of(comparison));
    }
    sections.extend(run::latency(report));
    sections.extend(report.trial.as_ref().map(run::trial));
    sections.push(run::origin(report));
    sections
}

fn table(caption: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Table { caption: caption.to_owned(), columns, rows }
}
