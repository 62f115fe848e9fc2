//! `querent eval replay`: logged requests, rewritten by the model of the settings and by another,
//! side by side.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::open::{Opened, Wanted, open};
use super::{ask, show};
use crate::cli::{Global, output};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::evaluate::compare::{CompareSettings, Side, compare};
use crate::evaluate::measure::SOUND;
use crate::evaluate::report::{self, Report, ReportSettings};
use crate::evaluate::run::RunRecord;
use crate::service::evaluation::{Suite, replay};
use crate::store::Store;

const SYSTEM: &str = "gated";
/// Turns shown on which the two differ.
const N_SHOWN: usize = 10;

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The candidate: another rewriter than that of the settings.
    #[arg(long, value_name = "DIR")]
    model: String,
    /// Most requests, the newest.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// The folder of both runs and of the report.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// # Errors
/// `replay_empty`, and those of running.
pub async fn run(config: Config, global: &Global, args: &ReplayArgs) -> Result<()> {
    let store = Store::open(&config.data.dir, &config.database.url).await?;
    let suite = replay::suite(&store, &global.tenant()?, args.limit).await;
    store.close().await;
    let suite = suite?;
    let champion = side(&config, &suite, args, "champion", None)?;
    let candidate = side(&config, &suite, args, "candidate", Some(args.model.clone()))?;
    let champion = ask::ask(champion, global).await?;
    let candidate = ask::ask(candidate, global).await?;
    let settings = ReportSettings { primary: SOUND.to_owned(), ..ReportSettings::default() };
    let mut report = Report::new(&candidate, &settings)?;
    let settings = CompareSettings { primary: SOUND.to_owned(), ..CompareSettings::default() };
    let of = |run| Side { run, system: SYSTEM };
    report.comparisons.push(compare(of(&candidate), of(&champion), &settings)?);
    let written = report::write(&args.out, &report)?;
    show::show(global, &candidate, &report, &args.out, &written)?;
    differences(global, &champion, &candidate)
}

fn side(
    config: &Config,
    suite: &Suite,
    args: &ReplayArgs,
    name: &str,
    model: Option<String>,
) -> Result<Opened> {
    let wanted = Wanted {
        systems: vec!["raw".to_owned(), SYSTEM.to_owned()],
        max_rewrite_ms: 10_000,
        seed: 1,
        model,
        embedder: None,
        out: Some(args.out.join(name)),
    };
    open(config.clone(), suite.clone(), &wanted)
}

/// Where the two say something else: the report cannot know which of them is right.
fn differences(global: &Global, champion: &RunRecord, candidate: &RunRecord) -> Result<()> {
    let text = |run: &RunRecord, idx: usize| -> Result<String> {
        let turn = run.turns.get(idx).ok_or_else(|| Error::internal("a replayed turn is gone"))?;
        Ok(turn.texts.get(SYSTEM).cloned().unwrap_or_default())
    };
    let mut different = Vec::new();
    for (idx, turn) in champion.turns.iter().enumerate() {
        let (before, now) = (text(champion, idx)?, text(candidate, idx)?);
        if before != now {
            different.push(json!({"turn": turn.id, "query": turn.texts.get("query"),
                                  "champion": before, "candidate": now}));
        }
    }
    let (n, n_turns) = (different.len(), champion.turns.len());
    if global.json {
        return output::line(&json!({"n_turns": n_turns, "different": different}).to_string());
    }
    output::line(&format!("The two differ on {n} of {n_turns} requests."))?;
    for one in different.iter().take(N_SHOWN) {
        output::line(&format!(
            "  {}\n    champion   {}\n    candidate  {}",
            one["query"].as_str().unwrap_or_default(),
            one["champion"].as_str().unwrap_or_default(),
            one["candidate"].as_str().unwrap_or_default()
        ))?;
    }
    Ok(())
}
