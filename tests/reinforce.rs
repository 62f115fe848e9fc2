//! Training by reward as a person runs it: rewrites are drawn, searched with and judged, on the
//! starter models and a collection made of files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/starter-rewriter");

fn querent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_querent")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write_lines(path: &Path, rows: impl Iterator<Item = Value>) -> String {
    let lines: Vec<String> = rows.map(|row| row.to_string()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Things that are asked about, with a page on each.
const PLACES: [&str; 8] = ["长城", "故宫", "西湖", "泰山", "黄山", "莫高窟", "兵马俑", "鼓浪屿"];

struct Files {
    dir: tempfile::TempDir,
    data: String,
    corpus: String,
}

fn files() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let page = |(index, place): (usize, &&str)| {
        let text =
            format!("{place}的门票是{index}0元。{place}早上{index}点开门。去{place}可以坐地铁。");
        json!({ "id": format!("page-{index}"), "title": place, "text": text })
    };
    let corpus = write_lines(&dir.path().join("corpus.jsonl"), PLACES.iter().enumerate().map(page));
    let row = |index: usize| {
        let place = PLACES[index % PLACES.len()];
        let (query, complete) = match index / PLACES.len() {
            0 => ("它的门票多少钱".to_owned(), false),
            1 => ("几点开门".to_owned(), false),
            2 => ("怎么去那里".to_owned(), false),
            _ => (format!("{place}的门票多少钱"), true),
        };
        json!({
            "history": [format!("我想去{place}玩"), format!("{place}很有名")],
            "query": query,
            "relevant": [format!("page-{}", index % PLACES.len())],
            "complete": complete,
        })
    };
    let data = write_lines(&dir.path().join("rows.jsonl"), (0..32).map(row));
    Files { dir, data, corpus }
}

impl Files {
    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a training of few small steps.
    fn train(&self, method: &str, out: &Path, more: &[&str]) -> Output {
        let settings = [
            "max_steps=4",
            "epochs=5",
            "batch_rows=4",
            "validation_share=0.25",
            "log_steps=1",
            "learning_rate=1e-5",
            "grpo.n_generations=4",
            "rewards.depth=10",
        ];
        let mut args = vec!["--json", "train", method, "--model", MODEL, "--data", &self.data];
        args.extend(["--corpus", &self.corpus, "--out", out.to_str().unwrap()]);
        args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        args.extend(more);
        querent(&args)
    }
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn grpo_runs_from_files_to_a_model_that_loads_and_goes_on() {
    let files = files();
    let out = files.out("grpo");
    let first = report(&files.train("grpo", &out, &["--set", "grpo.n_iterations=2"]));
    assert_eq!(first["steps"], 4);
    for name in ["eval_ndcg@10", "eval_raw_ndcg@10", "eval_regret", "eval_reward"] {
        assert!(first["after"][name].is_number(), "{name}: {first}");
    }
    // A pronoun finds its page by luck alone; the starter restores most of these.
    let of = |name: &str| first["before"][name].as_f64().unwrap();
    assert!(of("eval_ndcg@10") > of("eval_raw_ndcg@10") + 0.1, "{first}");
    let log = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    for name in [
        "rewards/gold_rank/mean",
        "rewards/faithfulness/mean",
        "health/top_4gram_share",
        "time/rollout_seconds",
        "time/reward_seconds",
        "time/loss_seconds",
        "completions/clipped_ratio",
        "frac_reward_zero_std",
    ] {
        assert!(log.contains(name), "{name} is not logged");
    }
    let again = report(&files.train("grpo", &out, &["--set", "grpo.n_iterations=2", "--resume"]));
    assert_eq!(again["steps"], 4);
    let model = out.join("model");
    let next = files.out("next");
    let mut args = vec!["--json", "train", "grpo", "--model", model.to_str().unwrap()];
    args.extend(["--data", &files.data, "--corpus", &files.corpus, "--dry-run"]);
    args.extend(["--out", next.to_str().unwrap()]);
    let dry_run = report(&querent(&args));
    assert!(dry_run["samples"][0].as_str().unwrap().contains("门"), "{dry_run}");
}

#[test]
fn ppo_saves_its_value_head_and_goes_on_with_it() {
    let files = files();
    let out = files.out("ppo");
    let settings = ["--set", "ppo.n_epochs=2", "--set", "batch_rows=8"];
    let first = report(&files.train("ppo", &out, &settings));
    assert_eq!(first["steps"], 4);
    let head = out.join("model/value_head.safetensors");
    let bytes = std::fs::read(&head).unwrap();
    assert!(text(&bytes[8..200]).contains("v_head.summary.weight"));
    let log = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    for name in ["objective/kl", "val/clipfrac_avg", "policy/approxkl_avg", "loss/value_avg"] {
        assert!(log.contains(name), "{name} is not logged");
    }
    // The next run takes it up: a head of another shape is refused, which shows that it is read.
    let model = out.join("model");
    let next = files.out("next");
    let mut args = vec!["train", "ppo", "--model", model.to_str().unwrap(), "--data", &files.data];
    args.extend(["--corpus", &files.corpus, "--out", next.to_str().unwrap()]);
    args.extend(["--set", "max_steps=1", "--set", "batch_rows=4", "--set", "rewards.depth=10"]);
    let output = querent(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    std::fs::write(&head, b"no tensors").unwrap();
    let third = files.out("third");
    let place = args.iter().position(|arg| *arg == next.to_str().unwrap()).unwrap();
    args[place] = third.to_str().unwrap();
    let output = querent(&args);
    assert!(!output.status.success());
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn a_reward_that_tells_nothing_apart_trips_the_watchdog_and_the_start_is_kept() {
    let files = files();
    let out = files.out("tripped");
    // Every rewrite keeps the language, so that no group has anything to learn from.
    let settings = [
        "--set",
        "rewards.weights={language=1.0}",
        "--set",
        "max_steps=20",
        "--set",
        "watchdog.grace_steps=1",
        "--set",
        "watchdog.start_steps=1",
        "--set",
        "watchdog.window_steps=2",
        "--set",
        "watchdog.patience_steps=2",
    ];
    let output = files.train("grpo", &out, &settings);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let sentence = text(&output.stderr);
    assert!(sentence.contains("frac_groups_without_variance"), "{sentence}");
    assert!(out.join("model/model.safetensors").exists(), "the best weights are written");
    let log = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"tripped\"")), "{log}");
}

#[test]
fn mined_preferences_are_rows_that_dpo_and_kto_take() {
    let files = files();
    let out = files.out("mined");
    let mut args = vec!["--json", "data", "mine-preferences", "--model", MODEL];
    args.extend(["--data", &files.data, "--corpus", &files.corpus]);
    args.extend(["--out", out.to_str().unwrap(), "--samples", "6", "--temperature", "1.3"]);
    args.extend(["--set", "rewards.as_served=true"]);
    let mined = report(&querent(&args));
    assert_eq!(mined["prompts"], 32);
    assert_eq!(mined["failed"], 0);
    assert!(mined["pairs"].as_u64().unwrap() > 0, "{mined}");
    for (method, name) in [("dpo", "pairs.jsonl"), ("kto", "judged.jsonl")] {
        let data = out.join(name);
        let target = files.out(method);
        let mut args = vec!["--json", "train", method, "--model", MODEL, "--strict", "--dry-run"];
        args.extend(["--data", data.to_str().unwrap(), "--out", target.to_str().unwrap()]);
        let dry_run = report(&querent(&args));
        assert!(dry_run["n_train"].as_u64().unwrap() > 0, "{dry_run}");
    }
    let lines = std::fs::read_to_string(out.join("pairs.jsonl")).unwrap();
    for line in lines.lines() {
        let pair: Value = serde_json::from_str(line).unwrap();
        let reward = |name: &str| pair[name].as_f64().unwrap();
        assert!(reward("chosen_reward") > reward("rejected_reward"), "{pair}");
    }
    args.extend(["--set", "rewards.k=0"]);
    let output = querent(&args);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("rewards.k is 0"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_judged_is_said() {
    let files = files();
    let out = files.out("out");
    let out_text = out.to_str().unwrap();
    let base = ["train", "grpo", "--model", MODEL, "--data", &files.data, "--out", out_text];
    let output = querent(&base);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--collection"), "{}", text(&output.stderr));

    let strange = files.dir.path().join("strange.jsonl");
    let row = json!({ "history": ["a"], "query": "b", "relevant": ["nowhere"] });
    let strange = write_lines(&strange, [row].into_iter());
    let mut args = vec!["train", "grpo", "--model", MODEL, "--data", &strange, "--out", out_text];
    args.extend(["--corpus", &files.corpus]);
    let output = querent(&args);
    let sentence = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{sentence}");
    assert!(sentence.contains("relevant"), "{sentence}");
    assert!(!sentence.contains("panicked"), "{sentence}");

    let mut args = base.to_vec();
    args.extend(["--corpus", &files.corpus, "--set", "grpo.n_generations=1"]);
    let output = querent(&args);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("n_generations is 1"), "{}", text(&output.stderr));
}
