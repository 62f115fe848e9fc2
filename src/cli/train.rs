//! `querent train`: a method, a model, data, and a folder for the results.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::collection::Collection;
use super::{Global, output};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::model::qwen::AdapterOptions;
use crate::service::training::{self, DryRun, TrainOutcome, TrainRequest};
use crate::train::data::ReadOptions;
use crate::train::options::{Method, TrainOptions};

/// As a shell tells of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;
/// Room for the frames of a deep model's passes.
const STACK_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MethodName {
    /// Supervised fine-tuning on answers.
    Sft,
    /// Preference pairs: DPO and its kin, ORPO, SimPO.
    Dpo,
    /// Single answers marked desirable or not.
    Kto,
    /// Contrastive training of an embedder (InfoNCE).
    Infonce,
    /// By reward: answers to one prompt are compared by what they find.
    Grpo,
    /// By reward, with an estimate of what each token leads to.
    Ppo,
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    method: MethodName,
    /// The model's folder, as Hugging Face or sentence-transformers store it.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows to train on: JSON or JSONL, or DIR/dataset_info.json#NAME. Repeat, or give several.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Rows to measure on; without them a share of the data is set aside.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    validation: Vec<PathBuf>,
    /// Rows of earlier training, mixed in by remember.replay_share.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    old_data: Vec<PathBuf>,
    /// Search rewrites in this collection of the data directory (grpo, ppo).
    #[arg(long, value_name = "NAME", conflicts_with = "corpus")]
    pub(super) collection: Option<String>,
    /// Search rewrites in these documents, as `ingest` takes them; their index goes below --out
    /// (grpo, ppo).
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub(super) corpus: Vec<PathBuf>,
    /// A Fisher file of earlier training, for remember.ewc_lambda.
    #[arg(long, value_name = "FILE")]
    fisher: Option<PathBuf>,
    /// Where checkpoints, logs and results go.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Settings of the run as TOML.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// One setting on top, such as learning_rate=1e-4 or dpo.beta=0.2. Repeat.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Train adapters of this rank on frozen weights.
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// Go on from the newest checkpoint in the folder of the results.
    #[arg(long)]
    resume: bool,
    /// Show counts, lengths and samples of the data; train nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The first row that cannot be used is an error.
    #[arg(long)]
    strict: bool,
    /// Take chats in which turns do not alternate.
    #[arg(long)]
    consecutive_roles: bool,
    /// Take chats with system messages in their middle.
    #[arg(long)]
    several_systems: bool,
    /// Learn only the last answer of a chat.
    #[arg(long)]
    mask_history: bool,
    /// Put facts that rows have under `context` before their history.
    #[arg(long)]
    context_as_history: bool,
    /// Keep rows that are marked `"covered": false`, which teach a rewriter to invent.
    #[arg(long)]
    keep_uncovered: bool,
}

pub async fn run(config: Config, global: &Global, args: TrainArgs) -> Result<()> {
    let request = request(&args)?;
    if !request.method.is_by_reward() {
        if args.collection.is_some() || !args.corpus.is_empty() {
            let message = format!(
                "{} searches nothing; leave out --collection and --corpus",
                request.method.name()
            );
            return Err(Error::invalid("train_options", message));
        }
        return train(global, request, args.dry_run).await;
    }
    if !args.dry_run {
        // Before anything is put beside another run.
        training::check_out(&request)?;
    }
    if args.corpus.is_empty() && args.collection.is_none() {
        return train(global, request, args.dry_run).await;
    }
    let collection = Collection::of(&args, config, global)?;
    collection
        .with(async |searched| {
            let request = TrainRequest { collection: Some(searched), ..request };
            train(global, request, args.dry_run).await
        })
        .await
}

async fn train(global: &Global, request: TrainRequest, is_dry: bool) -> Result<()> {
    let cancel = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&cancel);
    if !is_dry {
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                tracing::info!("ending after this step; once more ends at once");
                seen.store(true, Ordering::Relaxed);
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
    }
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("querent-train".into()).stack_size(STACK_BYTES).spawn(
        move || {
            let _ = done.send(if is_dry {
                training::prepare(&request).map(|prepared| Done::Dry(prepared.dry_run))
            } else {
                training::train(&request, &cancel).map(Done::Trained)
            });
        },
    )?;
    let done = result.await.map_err(|source| Error::failed("train", source))?;
    match done.map_err(Error::of_input)? {
        Done::Dry(dry_run) => show_dry_run(global, &dry_run),
        Done::Trained(outcome) => show_outcome(global, &outcome),
    }
}

enum Done {
    Dry(DryRun),
    Trained(TrainOutcome),
}

fn request(args: &TrainArgs) -> Result<TrainRequest> {
    let mut options = load_options(args.options.as_deref(), &args.settings)?;
    if let Some(rank) = args.lora {
        let alpha = 2.0 * rank as f64;
        let own = options.lora.take();
        let own = own.unwrap_or_else(|| AdapterOptions { alpha, ..AdapterOptions::default() });
        options.lora = Some(AdapterOptions { rank, ..own });
    }
    let read = ReadOptions {
        strict: args.strict,
        consecutive_roles: args.consecutive_roles,
        several_systems: args.several_systems,
        mask_history: args.mask_history,
        context_as_history: args.context_as_history,
        drop_uncovered: !args.keep_uncovered,
        seed: options.seed,
        ..ReadOptions::default()
    };
    let method = match args.method {
        MethodName::Sft => Method::Sft,
        MethodName::Dpo => Method::Dpo,
        MethodName::Kto => Method::Kto,
        MethodName::Infonce => Method::Infonce,
        MethodName::Grpo => Method::Grpo,
        MethodName::Ppo => Method::Ppo,
    };
    Ok(TrainRequest {
        method,
        model: args.model.clone(),
        data: args.data.clone(),
        validation: args.validation.clone(),
        old_data: args.old_data.clone(),
        collection: None,
        fisher: args.fisher.clone(),
        out: args.out.clone(),
        options,
        read,
        resume: args.resume,
        bar: true,
    })
}

/// The file, then the settings given one by one.
pub(super) fn load_options(file: Option<&Path>, settings: &[String]) -> Result<TrainOptions> {
    let mut builder = config::Config::builder();
    if let Some(path) = file {
        let text = fs_err::read_to_string(path)?;
        builder = builder.add_source(config::File::from_str(&text, config::FileFormat::Toml));
    }
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Error::invalid(
                "train_options",
                format!("`{setting}` is no setting; write KEY=VALUE, such as learning_rate=1e-4"),
            ));
        };
        // A bare word is a text.
        let is_word = value.starts_with(char::is_alphabetic) && !["true", "false"].contains(&value);
        let line =
            if is_word { format!("{key} = \"{value}\"") } else { format!("{key} = {value}") };
        builder = builder.add_source(config::File::from_str(&line, config::FileFormat::Toml));
    }
    let options = builder.build().and_then(config::Config::try_deserialize::<TrainOptions>);
    options.map_err(|error| Error::invalid("train_options", error.to_string()))
}

fn show_dry_run(global: &Global, dry_run: &DryRun) -> Result<()> {
    if global.json {
        return output::line(&serde_json::to_string(dry_run)?);
    }
    let lengths = dry_run.lengths;
    output::line(&format!(
        "{} rows to train on, {} to measure on; {} rejected, {} duplicates\n\
         tokens a row: {} to {}, median {}, 95 % up to {}; {} cut to {}\n\
         {} steps a pass over the data",
        dry_run.n_train,
        dry_run.n_validation,
        dry_run.n_rejected,
        dry_run.n_duplicates,
        lengths.least,
        lengths.most,
        lengths.median,
        lengths.p95,
        dry_run.n_cut,
        dry_run.max_tokens,
        dry_run.steps_per_epoch,
    ))?;
    for line in dry_run.rejected.iter().chain(&dry_run.notes) {
        output::line(line)?;
    }
    for (index, sample) in dry_run.samples.iter().enumerate() {
        output::line(&format!("--- sample {}\n{sample}", index + 1))?;
    }
    Ok(())
}

fn show_outcome(global: &Global, outcome: &TrainOutcome) -> Result<()> {
    let report = &outcome.report;
    let tokens_per_second = report.n_tokens as f64 / report.seconds.max(1e-9);
    if global.json {
        let line = json!({
            "steps": report.n_steps,
            "tokens": report.n_tokens,
            "seconds": report.seconds,
            "tokens_per_second": tokens_per_second,
            "cancelled": report.cancelled,
            "tripped": report.tripped,
            "before": report.before,
            "after": report.after,
            "written_step": outcome.step,
            "written": outcome.written,
            "rejected": outcome.data.n_rejected,
            "duplicates": outcome.data.n_duplicates,
            "cut": outcome.data.n_cut,
        });
        output::line(&line.to_string())?;
        return ended(outcome);
    }
    let what = if report.cancelled { "stopped at" } else { "trained" };
    output::line(&format!(
        "{what} {} steps, {} tokens in {:.0} s ({tokens_per_second:.0} a second)",
        report.n_steps, report.n_tokens, report.seconds
    ))?;
    for (name, after) in &report.after {
        let before = report.before.get(name).map_or(String::new(), |b| format!("{b:.4} -> "));
        output::line(&format!("{name}: {before}{after:.4}"))?;
    }
    for folder in &outcome.written {
        output::line(&format!("written of step {}: {}", outcome.step, folder.display()))?;
    }
    ended(outcome)
}

/// # Errors
/// `train_collapsed` and `train_cancelled`, so that what follows such a run in a script does not go on.
fn ended(outcome: &TrainOutcome) -> Result<()> {
    if let Some(reason) = &outcome.report.tripped {
        let message = format!("{reason} The weights of step {} were written.", outcome.step);
        return Err(Error::new(Kind::Conflict, "train_collapsed", message));
    }
    if !outcome.report.cancelled {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "train_cancelled",
        format!("stopped at step {}; --resume goes on from there", outcome.report.n_steps),
    ))
}
