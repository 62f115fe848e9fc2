//! Answers drawn in groups beside `transformers.generate` on the same processor, in turns within
//! one run: the same weights, the same prompts, f32, as many tokens for each answer.
//!
//! `cargo bench --bench rollout -- --python PYTHON [--model DIR] [--rounds N]`, where PYTHON has
//! the packages of `tests/parity/requirements.txt`. Without it only our own figures are printed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people to run")]

mod peer;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use peer::{Peer, shown};
use querent::model::ModelFolder;
use querent::model::device;
use querent::model::rollout::{RolloutOptions, complete};
use querent::model::sampling::Sampling;
use querent::model::threads;
use rand::{Rng, SeedableRng};
use serde_json::json;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, default_value = "models/starter-rewriter")]
    model: PathBuf,
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    #[arg(long, default_value_t = 8)]
    prompts: usize,
    /// Answers to each prompt.
    #[arg(long, default_value_t = 8)]
    group: usize,
    /// Tokens of the longest prompt; lengths are uniform from a third of it.
    #[arg(long, default_value_t = 96)]
    prompt: usize,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 24)]
    answer: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    threads::settle();
    let options = Options::parse();
    let folder = ModelFolder::open(&options.model).unwrap();
    let model = folder.load_qwen(&device::best().unwrap()).unwrap();
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let n_vocab = model.config().vocab_size as u32;
    let prompts: Vec<Vec<u32>> = (0..options.prompts)
        .map(|_| {
            let n_tokens = random.random_range(options.prompt / 3..=options.prompt);
            (0..n_tokens).map(|_| random.random_range(0..n_vocab)).collect()
        })
        .collect();
    let n_tokens = (options.prompts * options.group * options.answer) as f64;
    let task = json!({
        "model": options.model.canonicalize().unwrap(),
        "threads": std::thread::available_parallelism().unwrap().get(),
        "prompts": prompts,
        "group": options.group,
        "answer": options.answer,
    });
    let mut peer =
        options.python.as_deref().map(|python| Peer::start(python, "rollout_peer.py", &task));
    let (mut own, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let rollout = RolloutOptions {
            max_new_tokens: options.answer,
            sampling: Sampling { temperature: 1.0, seed: round as u64, ..Sampling::default() },
            n_completions: options.group,
            // Nothing ends an answer early, on either side.
            stop_tokens: Vec::new(),
        };
        let start = Instant::now();
        let groups = complete(&model, &prompts, &rollout).unwrap();
        let speed = n_tokens / start.elapsed().as_secs_f64();
        assert!(groups.iter().flatten().all(|answer| answer.tokens.len() == options.answer));
        let other = peer.as_mut().map(|peer| {
            let answer = peer.round("generate");
            n_tokens / answer["seconds"].as_f64().unwrap()
        });
        println!("round {round}: ours {speed:.0} tokens/s; generate {other:.0?}");
        // The first round warms up.
        if round > 0 {
            own.push(speed);
            others.extend(other);
            ratios.extend(other.map(|other| speed / other));
        }
    }
    shown("ours", &own, "tokens/s");
    if !others.is_empty() {
        shown("transformers.generate", &others, "tokens/s");
        shown("ours / transformers.generate", &ratios, "times");
    }
}
