//! `querent fisher`: how much each weight of a model matters for data that it must not forget.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Global, output, progress};
use crate::error::{Error, Result};
use crate::service::training::{FisherRequest, fisher};
use crate::train::data::ReadOptions;

#[derive(Debug, Args)]
pub struct FisherArgs {
    /// The model's folder.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows that the model must still do well, as for `train sft`.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Rows that are looked at.
    #[arg(long, default_value_t = 512)]
    rows: usize,
    /// Take the data's answers instead of answers drawn from the model.
    #[arg(long)]
    empirical: bool,
    /// The Fisher file of earlier tasks, to be added to.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// What the earlier tasks count, from 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    gamma: f64,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

pub async fn run(global: &Global, args: FisherArgs) -> Result<()> {
    let request = FisherRequest {
        model: args.model,
        data: args.data,
        read: ReadOptions { seed: args.seed, ..ReadOptions::default() },
        out: args.out.clone(),
        n_rows: args.rows,
        empirical: args.empirical,
        previous: args.previous,
        gamma: args.gamma,
        seed: args.seed,
    };
    let bar = progress::bar(args.rows as u64, "fisher");
    let of_thread = bar.clone();
    let work = move || fisher(&request, || of_thread.inc(1));
    let facts = tokio::task::spawn_blocking(work).await;
    bar.finish_and_clear();
    let facts = facts.map_err(|source| Error::failed("compute", source))?;
    let facts = facts.map_err(Error::of_input)?;
    if global.json {
        return output::line(&json!({ "out": args.out, "facts": facts }).to_string());
    }
    output::line(&format!("{} sequences in {}", facts.n_sequences, args.out.display()))
}
