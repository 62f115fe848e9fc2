//! `querent eval`: a suite under the four systems, the run's file, the report beside it, the
//! comparison with an earlier run, and the verdict of the gate.

mod ask;
mod choice;
mod compare;
mod open;
mod replay;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use config::{ConfigBuilder, File, FileFormat, builder::DefaultState};
use serde::Deserialize;

use super::Global;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::evaluate::compare::CompareSettings;
use crate::evaluate::gate::GateSettings;
use crate::evaluate::report::{self, Report, ReportSettings};
use crate::evaluate::run::RunRecord;
use crate::service::evaluation::{Suite, folder, sets};
use open::Wanted;

/// The run's file in its folder.
pub(super) const RUN_FILE: &str = "run.jsonl";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EvalArgs {
    #[command(subcommand)]
    role: Option<EvalRole>,
    /// `seed-cases`, `product-docs`, the folder of a suite, or, with --data, the form of the data:
    /// auto, rows, canard, qrecc, cast, topiocqa, mtrag, restore, squad, beir.
    #[arg(required = true)]
    suite: Option<String>,
    /// A public set: its file, or its folder (beir).
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The run's folder; one below the data directory by default. A run that is there is gone on
    /// with.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Which of raw, always, gated, gold.
    #[arg(long, value_delimiter = ',', default_value = "raw,always,gated,gold")]
    systems: Vec<String>,
    /// Ask about this many turns: whole conversations, drawn by the seed.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only turns of this split, such as test.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of an earlier run to compare with.
    #[arg(long, value_name = "RUN_DIR")]
    compare: Option<PathBuf>,
    /// Judge this run as a candidate against the earlier one; refused exits 1.
    #[arg(long, requires = "compare")]
    gate: bool,
    /// The system that is compared and judged.
    #[arg(long, default_value = "gated")]
    system: String,
    /// Another rewriter than that of the settings.
    #[arg(long, value_name = "DIR")]
    model: Option<String>,
    /// Another embedder than that of the settings.
    #[arg(long, value_name = "DIR")]
    embedder: Option<String>,
    /// Thresholds as TOML, with the tables [gate], [compare], [report].
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Time for a rewrite; longer than serving gives, so that a slow machine measures the same.
    #[arg(long, default_value_t = 10_000)]
    max_rewrite_ms: u64,
}

#[derive(Debug, Subcommand)]
enum EvalRole {
    /// Fit the choice between a query and its rewrite to the outcomes of a run.
    Choice(choice::ChoiceArgs),
    /// Rewrite logged requests with another model beside that of the settings; nobody is
    /// answered.
    Replay(replay::ReplayArgs),
}

/// What may be set by file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Thresholds {
    gate: GateSettings,
    compare: CompareSettings,
    report: ReportSettings,
}

pub async fn run(config: Config, global: &Global, args: EvalArgs) -> Result<()> {
    match &args.role {
        Some(EvalRole::Choice(args)) => return choice::run(global, args),
        Some(EvalRole::Replay(args)) => return replay::run(config, global, args).await,
        None => {}
    }
    let mut thresholds = thresholds(args.thresholds.as_deref())?;
    let opened = open::open(config, suite(&args)?, &wanted(&args))?;
    thresholds.report.primary.clone_from(&opened.suite.primary);
    thresholds.compare.primary.clone_from(&opened.suite.primary);
    let champion = args.compare.as_deref().map(read_run).transpose()?;
    let out = opened.out.clone();
    let record = ask::ask(opened, global).await?;
    let mut report = Report::new(&record, &thresholds.report)?;
    compare::add(&mut report, &record, champion.as_ref(), &args, &thresholds)?;
    let written = report::write(&out, &report)?;
    show::show(global, &record, &report, &out, &written)?;
    match &report.verdict {
        Some(verdict) if args.gate && !verdict.promoted => {
            Err(Error::new(Kind::Unusable, "gate_refused", verdict.sentence()))
        }
        _ => Ok(()),
    }
}

fn suite(args: &EvalArgs) -> Result<Suite> {
    let name = args.suite.as_deref().unwrap_or_default();
    let mut suite = match &args.data {
        Some(data) => sets::open(name, data)?,
        None => folder::open(name)?,
    };
    if let Some(split) = &args.split {
        suite.keep("split", split);
    }
    if let Some(limit) = args.limit {
        suite.limit(limit, args.seed);
    }
    Ok(suite)
}

fn wanted(args: &EvalArgs) -> Wanted {
    Wanted {
        systems: args.systems.clone(),
        max_rewrite_ms: args.max_rewrite_ms,
        seed: args.seed,
        model: args.model.clone(),
        embedder: args.embedder.clone(),
        out: args.out.clone(),
    }
}

/// Reads a run by its folder, or by its file.
///
/// # Errors
/// `eval_run_missing`, `eval_run_damaged`.
fn read_run(path: &Path) -> Result<RunRecord> {
    let file = if path.is_dir() { path.join(RUN_FILE) } else { path.to_owned() };
    RunRecord::read(&file)
}

fn thresholds(path: Option<&Path>) -> Result<Thresholds> {
    let Some(path) = path else { return Ok(Thresholds::default()) };
    let text = fs_err::read_to_string(path)?;
    ConfigBuilder::<DefaultState>::default()
        .add_source(File::from_str(&text, FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| Error::invalid("eval_options", format!("{}: {error}", path.display())))
}
