//! `querent eval choice`: the learned choice between a query and its rewrite, fitted to the paired
//! outcomes of a run.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::read_run;
use crate::cli::{Global, output};
use crate::error::Result;
use crate::evaluate::choice::{ChoiceSettings, Examples, Systems, Trial, cross_validate, fit};
use crate::evaluate::significance::{Difference, Estimate};

#[derive(Debug, Args)]
pub struct ChoiceArgs {
    /// The run's folder, with the systems raw, always and, to be compared with, gated.
    #[arg(long, value_name = "RUN_DIR")]
    run: PathBuf,
    /// Where the fitted choice goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The measure that decides which of the two was better.
    #[arg(long, default_value = "ndcg@10")]
    metric: String,
    /// What a rewrite must bring, in that measure, to be worth its time.
    #[arg(long, default_value_t = 0.0)]
    cost: f64,
    /// Of the folds.
    #[arg(long)]
    seed: Option<u64>,
}

/// # Errors
/// Those of reading the run and of fitting.
pub fn run(global: &Global, args: &ChoiceArgs) -> Result<()> {
    let run = read_run(&args.run)?;
    let ruled = run.systems().contains(&"gated").then_some("gated");
    let systems = Systems { raw: "raw", rewritten: "always", ruled };
    let examples = Examples::of_run(&run, systems, &args.metric)?;
    let mut settings = ChoiceSettings { cost: args.cost, ..ChoiceSettings::default() };
    settings.seed = args.seed.unwrap_or(settings.seed);
    let trial = cross_validate(&examples, &settings)?;
    let model = fit(&examples, &settings)?;
    model.save(&args.out)?;
    if global.json {
        let done = json!({"out": args.out, "n_turns": examples.rows.len(), "trial": trial});
        return output::line(&done.to_string());
    }
    output::line(&shown(&trial, examples.rows.len()))?;
    let mut features: Vec<_> = model.features.iter().collect();
    features.sort_by(|left, right| right.weight.abs().total_cmp(&left.weight.abs()));
    for feature in features {
        output::line(&format!("{:+.3}  {}", feature.weight, feature.name))?;
    }
    output::line(&format!("\nThe choice is {}.", args.out.display()))
}

fn shown(trial: &Trial, n_turns: usize) -> String {
    let mut lines = vec![format!(
        "{} on {n_turns} turns; `learned` decides each turn by a model that was fitted to other \
         conversations, {} folds\n",
        trial.metric, trial.n_folds
    )];
    let rows = [
        ("never", Some(&trial.never)),
        ("always", Some(&trial.always)),
        ("ruled", trial.ruled.as_ref()),
        ("learned", Some(&trial.learned)),
        ("oracle", Some(&trial.oracle)),
    ];
    for (name, estimate) in rows {
        lines.extend(estimate.map(|estimate| mean(name, estimate)));
    }
    let gains = [
        ("learned − never", Some(&trial.over_never)),
        ("learned − always", Some(&trial.over_always)),
        ("learned − ruled", trial.over_ruled.as_ref()),
    ];
    lines.push(String::new());
    for (name, gain) in gains {
        lines.extend(gain.map(|gain| difference(name, gain)));
    }
    lines.push(format!(
        "\nIt rewrites {:.1} % of the turns, and is wrong on {:.1} %. Weights:\n",
        100.0 * trial.rewritten_share,
        100.0 * trial.wrong_share
    ));
    lines.join("\n")
}

fn mean(name: &str, estimate: &Estimate) -> String {
    format!("{name:<8} {:.4} ({:.4} to {:.4})", estimate.mean, estimate.low, estimate.high)
}

fn difference(name: &str, difference: &Difference) -> String {
    let Estimate { mean, low, high, .. } = difference.estimate;
    let p_value = match difference.p_value {
        p_value if p_value < 0.001 => "p < 0.001".to_owned(),
        p_value => format!("p {p_value:.3}"),
    };
    format!("{name:<16} {mean:+.4} ({low:+.4} to {high:+.4}), {p_value}")
}
