//! `querent data`: training data made from what is there.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::collection::Collection;
use super::train::load_options;
use super::{Global, output, progress};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::service::training::{MineRequest, Mined, TrainRequest, mine_preferences};
use crate::train::data::ReadOptions;
use crate::train::options::{Method, TrainOptions};
use crate::train::reward::mine::MineOptions;

#[derive(Debug, Subcommand)]
pub enum DataRole {
    /// Draw rewrites, rank them by what they find, and write pairs for DPO and verdicts for KTO.
    MinePreferences(MineArgs),
}

#[derive(Debug, Args)]
pub struct MineArgs {
    /// The rewriter's folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Questions with the documents that answer: `{history, query, relevant}`.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Search in this collection of the data directory.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "corpus",
        required_unless_present = "corpus"
    )]
    collection: Option<String>,
    /// Search in these documents, as `ingest` takes them; their index goes below --out.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    corpus: Vec<PathBuf>,
    /// Where `pairs.jsonl` and `judged.jsonl` go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Rewrites of each question.
    #[arg(long, default_value_t = 8)]
    samples: usize,
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Least difference of the rewards of a pair.
    #[arg(long, default_value_t = MineOptions::default().min_margin)]
    min_margin: f64,
    /// Pairs of one question.
    #[arg(long, default_value_t = MineOptions::default().max_pairs)]
    max_pairs: usize,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// A file with settings of training as TOML; those of the rewards count here.
    #[arg(long, value_name = "FILE")]
    options: Option<PathBuf>,
    /// One setting on top, such as rewards.as_served=true. Repeat.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub async fn run(config: Config, global: &Global, role: DataRole) -> Result<()> {
    let DataRole::MinePreferences(args) = role;
    let below = args.corpus.first().map(|_| args.out.join("corpus"));
    let (name, paths) = (args.collection.clone(), args.corpus.clone());
    let collection = Collection::new(config, global, name, paths, below)?;
    let mut request = request(&args)?;
    let mined = collection.with(async |searched| {
        request.train.collection = Some(searched);
        mine(request).await
    });
    show(global, &mined.await?)
}

fn request(args: &MineArgs) -> Result<MineRequest> {
    let given = load_options(args.options.as_deref(), &args.settings)?;
    let mut options = TrainOptions { seed: args.seed, validation_share: 0.0, ..given };
    options.grpo.n_generations = args.samples;
    options.grpo.temperature = args.temperature;
    Ok(MineRequest {
        train: TrainRequest {
            method: Method::Grpo,
            model: args.model.clone(),
            data: args.data.clone(),
            validation: Vec::new(),
            old_data: Vec::new(),
            collection: None,
            fisher: None,
            out: args.out.clone(),
            read: ReadOptions { seed: args.seed, ..ReadOptions::default() },
            options,
            resume: false,
            bar: true,
        },
        options: MineOptions {
            min_margin: args.min_margin,
            max_pairs: args.max_pairs,
            ..MineOptions::default()
        },
    })
}

async fn mine(request: MineRequest) -> Result<Mined> {
    let bar = progress::bar(0, "mining");
    let of_thread = bar.clone();
    let work = move || {
        mine_preferences(&request, |n_rows| {
            of_thread.inc_length(n_rows as u64);
            of_thread.inc(n_rows as u64);
        })
    };
    let mined = tokio::task::spawn_blocking(work).await;
    bar.finish_and_clear();
    mined.map_err(|source| Error::failed("mine", source))?.map_err(Error::of_input)
}

fn show(global: &Global, mined: &Mined) -> Result<()> {
    let Mined { n_prompts, n_pairs, n_judged, n_failed, mean_reward, written } = mined;
    if global.json {
        let line = json!({
            "prompts": n_prompts,
            "pairs": n_pairs,
            "judged": n_judged,
            "failed": n_failed,
            "mean_reward": mean_reward,
            "written": written,
        });
        return output::line(&line.to_string());
    }
    output::line(&format!(
        "{n_prompts} questions: {n_pairs} pairs, {n_judged} verdicts, mean reward \
         {mean_reward:.3}; {n_failed} rewrites could not be judged"
    ))?;
    written.iter().try_for_each(|path| output::line(&format!("written: {}", path.display())))
}
