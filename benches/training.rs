//! Training steps beside transformers and torch on the same processor, in turns within one run:
//! the same weights, the same batches, f32, AdamW with clipping.
//!
//! `cargo bench --bench training -- --python PYTHON [--model DIR] [--rounds N]`, where PYTHON has
//! the packages of `tests/parity/requirements.txt`. Without it only our own figures are printed.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people to run")]

use std::path::{Path, PathBuf};
use std::time::Instant;

mod peer;

use clap::Parser;
use peer::{Peer, shown};
use querent::model::ModelFolder;
use querent::model::device;
use querent::model::qwen::Gradients;
use querent::model::threads;
use querent::train::data::RowSource;
use querent::train::objective::{Objective, Turn};
use querent::train::optimizer::{AdamW, AdamWSettings, global_norm};
use querent::train::policy::Policy;
use querent::train::sequence::Sequence;
use querent::train::sft::{Sft, SftRow};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

const LEARNING_RATE: f64 = 1e-4;
const STEPS_PER_ROUND: usize = 3;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, default_value = "models/starter-rewriter")]
    model: PathBuf,
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = 32)]
    rows: usize,
    /// Tokens of the longest prompt and of the longest answer.
    #[arg(long, default_value_t = 96)]
    prompt: usize,
    #[arg(long, default_value_t = 32)]
    answer: usize,
    #[arg(long)]
    checkpointing: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows of random tokens; lengths are uniform from a third of the longest.
fn batches(options: &Options, n_vocab: u32) -> Vec<Vec<Sequence>> {
    let mut random = rand::rngs::StdRng::seed_from_u64(1);
    let mut row = || {
        let n_prompt = random.random_range(options.prompt / 3..=options.prompt);
        let n_answer = random.random_range(options.answer / 3..=options.answer);
        let tokens = (0..n_prompt + n_answer).map(|_| random.random_range(0..n_vocab)).collect();
        Sequence { tokens, n_prompt }
    };
    (0..STEPS_PER_ROUND).map(|_| (0..options.rows).map(|_| row()).collect()).collect()
}

struct Own {
    policy: Policy,
    optimizer: AdamW,
    batches: Vec<Sft>,
}

impl Own {
    fn new(options: &Options, batches: &[Vec<Sequence>]) -> Self {
        let folder = ModelFolder::open(&options.model).unwrap();
        let model = folder.load_qwen(&device::best().unwrap()).unwrap();
        let policy = Policy::new(model, None, options.checkpointing, 1).unwrap();
        let source = RowSource { file: "random".into(), line: 1 };
        let batch = |rows: &Vec<Sequence>| Sft {
            train: rows
                .iter()
                .map(|sequence| SftRow { sequence: sequence.clone(), source: source.clone() })
                .collect(),
            validation: Vec::new(),
            micro_batch_tokens: 8_192,
            n_generated: 0,
            stop_tokens: Vec::new(),
        };
        let batches = batches.iter().map(batch).collect();
        Self { policy, optimizer: AdamW::new(AdamWSettings::default()), batches }
    }

    /// Seconds of a round's steps, and the last loss.
    fn round(&mut self) -> (f64, f64) {
        let start = Instant::now();
        let turn = Turn { batch: 0, pattern: 0 };
        let mut loss = 0.0;
        for batch in &mut self.batches {
            let mut gradients = Gradients::of(&self.policy.trained);
            let rows: Vec<usize> = (0..batch.train.len()).collect();
            loss = batch.step(&self.policy, &rows, turn, &mut gradients).unwrap().loss;
            let norm = global_norm(&gradients, &self.policy.trained).unwrap();
            let scale = norm.clip_scale(1.0);
            self.optimizer
                .step_scaled(&self.policy.trained, &gradients, LEARNING_RATE, scale)
                .unwrap();
        }
        (start.elapsed().as_secs_f64(), loss)
    }
}

fn start_peer(python: &Path, options: &Options, batches: &[Vec<Sequence>]) -> Peer {
    let rows = |rows: &Vec<Sequence>| -> Vec<Value> {
        rows.iter().map(|row| json!({ "tokens": row.tokens, "n_prompt": row.n_prompt })).collect()
    };
    let task = json!({
        "model": options.model.canonicalize().unwrap(),
        "threads": std::thread::available_parallelism().unwrap().get(),
        "learning_rate": LEARNING_RATE,
        "batches": batches.iter().map(rows).collect::<Vec<_>>(),
    });
    Peer::start(python, "training_peer.py", &task)
}

fn peak_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn main() {
    threads::settle();
    let options = Options::parse();
    let folder = ModelFolder::open(&options.model).unwrap();
    let n_vocab = folder.config(&device::cpu()).unwrap().vocab_size as u32;
    let batches = batches(&options, n_vocab);
    let n_tokens: usize = batches.iter().flatten().map(|row| row.tokens.len()).sum();
    println!("{} steps of {} rows, {n_tokens} tokens a round", STEPS_PER_ROUND, options.rows);
    let mut own = Own::new(&options, &batches);
    let mut peer = options.python.as_deref().map(|python| start_peer(python, &options, &batches));
    let (mut own_speed, mut whole, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ratio_whole, mut ratio_answers) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let (seconds, loss) = own.round();
        let speed = n_tokens as f64 / seconds;
        let mut line = format!("round {round}: ours {speed:.0} tokens/s, loss {loss:.4}");
        let mut peers = [0.0; 2];
        if let Some(peer) = &mut peer {
            for (speed, kind) in peers.iter_mut().zip(["whole", "answers"]) {
                let answer = peer.round(kind);
                *speed = n_tokens as f64 / answer["seconds"].as_f64().unwrap();
                line += &format!(
                    "; torch ({kind}) {speed:.0}, peak {:.0} MB",
                    answer["peak_bytes"].as_f64().unwrap() / 1e6
                );
            }
        }
        println!("{line}");
        // The first round warms up.
        if round > 0 {
            own_speed.push(speed);
            if peer.is_some() {
                whole.push(peers[0]);
                answers.push(peers[1]);
                ratio_whole.push(speed / peers[0]);
                ratio_answers.push(speed / peers[1]);
            }
        }
    }
    shown("ours", &own_speed, "tokens/s");
    println!("ours: peak memory {:.0} MB", peak_bytes() / 1e6);
    if peer.is_some() {
        shown("transformers as it is", &whole, "tokens/s");
        shown("transformers, scores of answers only", &answers, "tokens/s");
        shown("ours / transformers as it is", &ratio_whole, "times");
        shown("ours / transformers, scores of answers only", &ratio_answers, "times");
    }
}
