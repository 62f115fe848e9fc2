//! `querent train` and `querent fisher` as a person runs them: from files to folders that load,
//! through kills and bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/qwen3-tiny");
const EMBEDDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/embedder-tiny");
/// Few tokens a row and large steps, so that a tiny model learns within seconds.
const QUICK: [&str; 10] = [
    "--set",
    "learning_rate=1e-2",
    "--set",
    "epochs=40",
    "--set",
    "batch_rows=12",
    "--set",
    "validation_share=0.2",
    "--set",
    "save_steps=5",
];

fn querent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_querent")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The JSON line of a training that must succeed.
fn trained(args: &[&str]) -> Value {
    let output = querent(&[&["--json", "train"], args].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The sentence of a training that must fail with this exit code, and leave no model behind.
fn refused(out: &Path, code: i32, args: &[&str]) -> String {
    let out_text = out.to_str().unwrap();
    let output = querent(&[&["train"], args, &["--out", out_text]].concat());
    let sentence = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{sentence}");
    assert!(!sentence.contains("panicked"), "{sentence}");
    assert!(!out.join("model").exists());
    let leftovers = std::fs::read_dir(out).map_or(0, |entries| {
        let is_half = |name: String| name.starts_with("tmp") || name.starts_with("checkpoint");
        entries
            .filter(|entry| is_half(text(entry.as_ref().unwrap().file_name().as_encoded_bytes())))
            .count()
    });
    assert_eq!(leftovers, 0, "half-written folders in {}", out.display());
    sentence
}

fn write_lines(path: &Path, rows: impl Iterator<Item = Value>) {
    let lines: Vec<String> = rows.map(|row| row.to_string()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

/// Rows in this project's own form.
fn rewrites(dir: &Path) -> String {
    let path = dir.join("rewrites.jsonl");
    let row = |index: usize| {
        let name = ["alpha", "beta", "gamma", "delta"][index % 4];
        let verb = ["sort", "find", "open", "close", "move"][index % 5];
        json!({
            "history": [format!("tell me of {name} {index}")],
            "query": format!("{verb} it"),
            "rewrite": format!("{verb} {name}"),
        })
    };
    write_lines(&path, (0..60).map(row));
    path.to_str().unwrap().to_owned()
}

/// Rows with short prompts, for tests that take many steps.
fn completions(dir: &Path) -> String {
    let path = dir.join("completions.jsonl");
    let row = |index: usize| {
        let word = ["alpha", "beta", "gamma", "delta"][index % 4];
        json!({"prompt": format!("{word} {index}:"), "completion": format!("{word} done")})
    };
    write_lines(&path, (0..60).map(row));
    path.to_str().unwrap().to_owned()
}

fn out(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

#[test]
fn a_rewriter_is_trained_to_folders_that_load() {
    let dir = tempfile::tempdir().unwrap();
    let data = rewrites(dir.path());
    for lora in [false, true] {
        let out = out(dir.path(), if lora { "lora" } else { "full" });
        let out_text = out.to_str().unwrap();
        let mut args = vec!["sft", "--model", MODEL, "--data", &data, "--out", out_text];
        args.extend(QUICK);
        args.extend(["--set", "epochs=6", "--set", "n_generated=4"]);
        if lora {
            args.extend(["--lora", "8"]);
        }
        let report = trained(&args);
        let loss = |when: &str| report[when]["eval_loss"].as_f64().unwrap();
        assert!(loss("after") < 0.8 * loss("before"), "{report}");
        let first = loss("before");
        assert_eq!(report["steps"], 24);
        for file in ["model/model.safetensors", "model/config.json", "events.jsonl"] {
            assert!(out.join(file).is_file(), "{file}");
        }
        assert_eq!(out.join("adapter/adapter_model.safetensors").is_file(), lora);
        assert_eq!(std::fs::read_dir(out.join("runs")).unwrap().count(), 1);

        // What was written is a model like any other: it is trained on, and measured first.
        let model = out.join("model");
        let again = dir.path().join(format!("again-{lora}"));
        let report = trained(&[
            "sft",
            "--model",
            model.to_str().unwrap(),
            "--data",
            &data,
            "--validation",
            &data,
            "--out",
            again.to_str().unwrap(),
            "--set",
            "max_steps=1",
        ]);
        let again = report["before"]["eval_loss"].as_f64().unwrap();
        assert!(again < 0.9 * first, "{first} before the training: {report}");
        let imported = Command::new(env!("CARGO_BIN_EXE_querent"))
            .env("QUERENT__MODELS__DIR", dir.path().join(format!("models-{lora}")))
            .args(["models", "import", model.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", text(&imported.stderr));
    }
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let args = |out: &Path| -> Vec<String> {
        let mut args: Vec<String> =
            ["--json", "train", "sft", "--model", MODEL, "--data", &data, "--resume", "--out"]
                .map(str::to_owned)
                .to_vec();
        args.push(out.to_str().unwrap().to_owned());
        args.extend(QUICK.map(str::to_owned));
        args
    };
    let run = |out: &Path| {
        let args = args(out);
        let output = querent(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let (whole, killed) = (out(dir.path(), "whole"), out(dir.path(), "killed"));
    run(&whole);
    let mut child = Command::new(env!("CARGO_BIN_EXE_querent"))
        .args(args(&killed))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !killed.join("checkpoint-10").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint was written");
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!killed.join("model").exists());
    run(&killed);
    let weights = |out: &Path| std::fs::read(out.join("model/model.safetensors")).unwrap();
    assert_eq!(weights(&whole), weights(&killed));
}

#[test]
fn preferences_and_judgements_are_trained_from_the_forms_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = dir.path().join("pairs.jsonl");
    write_lines(&pairs, (0..40).map(|index| {
        json!({"prompt": format!("say {index}"), "chosen": "good words", "rejected": "bad noise"})
    }));
    let judged = dir.path().join("judged.jsonl");
    write_lines(
        &judged,
        (0..40).map(|index| {
            let good = index % 2 == 0;
            let completion = if good { "good words" } else { "bad noise" };
            json!({"prompt": format!("say {index}"), "completion": completion, "label": good})
        }),
    );
    for (method, data, setting) in [
        ("dpo", &pairs, "dpo.losses=[[\"sigmoid\",0.8],[\"sft\",0.2]]"),
        ("dpo", &pairs, "dpo.losses=[[\"simpo\",1.0]]"),
        ("kto", &judged, "kto.beta=0.2"),
    ] {
        let out = dir.path().join(format!("{method}-{}", setting.len()));
        let mut args = vec![
            method,
            "--model",
            MODEL,
            "--data",
            data.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--set",
            setting,
        ];
        args.extend(QUICK);
        args.extend(["--set", "max_steps=20"]);
        let report = trained(&args);
        let margin = |when: &str| report[when]["eval_rewards/margins"].as_f64().unwrap();
        assert!(margin("after") > margin("before") + 0.2, "{setting}: {report}");
    }
}

#[test]
fn an_embedder_is_trained_and_its_hard_negatives_are_mined() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = dir.path().join("pairs.jsonl");
    write_lines(&pairs, (0..48).map(|index| {
        json!({"query": format!("where is item {index}"), "positive": format!("item {index} lies on shelf {}", index * 7 % 48)})
    }));
    let out = dir.path().join("out");
    let report = trained(&[
        "infonce",
        "--model",
        EMBEDDER,
        "--data",
        pairs.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--set",
        "learning_rate=3e-3",
        "--set",
        "epochs=30",
        "--set",
        "batch_rows=16",
        "--set",
        "validation_share=0.25",
        "--set",
        "micro_batch_tokens=300",
        "--set",
        "mining.num_negatives=2",
        "--set",
        "infonce.matryoshka=[[32,1.0],[16,0.5]]",
    ]);
    let ndcg = |when: &str| report[when]["eval_ndcg@10"].as_f64().unwrap();
    assert!(ndcg("after") > ndcg("before"), "{report}");
    for file in ["model/model.safetensors", "model/modules.json", "model/1_Pooling/config.json"] {
        assert!(out.join(file).is_file(), "{file}");
    }

    // What was written embeds what is ingested, like any other embedder.
    let page = dir.path().join("page.md");
    std::fs::write(&page, "# Shelf 7\n\nItem 1 lies on shelf 7.").unwrap();
    let ingested = Command::new(env!("CARGO_BIN_EXE_querent"))
        .env("QUERENT__EMBEDDER__MODEL", out.join("model"))
        .args(["--data-dir", dir.path().join("data").to_str().unwrap(), "ingest"])
        .args([page.to_str().unwrap(), "--collection", "shelves"])
        .output()
        .unwrap();
    assert!(ingested.status.success(), "{}", text(&ingested.stderr));
}

#[test]
fn elastic_weights_need_the_fisher_file_of_their_model() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let file = dir.path().join("fisher.safetensors");
    let file_text = file.to_str().unwrap();
    let output = querent(&[
        "--json", "fisher", "--model", MODEL, "--data", &data, "--out", file_text, "--rows", "16",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(facts["facts"]["labels"], "sampled");
    let out = out(dir.path(), "out");
    trained(&[
        "sft",
        "--model",
        MODEL,
        "--data",
        &data,
        "--out",
        out.to_str().unwrap(),
        "--fisher",
        file_text,
        "--set",
        "remember.ewc_lambda=0.5",
        "--set",
        "max_steps=3",
        "--set",
        "log_steps=1",
        "--lora",
        "4",
    ]);
    let log = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
    assert!(log.contains("ewc/penalty"), "{log}");
    let model = out.join("model");
    let sentence = refused(
        &dir.path().join("other"),
        1,
        &[
            "sft",
            "--model",
            model.to_str().unwrap(),
            "--data",
            &data,
            "--fisher",
            file_text,
            "--set",
            "remember.ewc_lambda=0.5",
        ],
    );
    assert!(sentence.contains("belongs to other weights"), "{sentence}");
    let sentence = refused(
        &dir.path().join("none"),
        2,
        &["sft", "--model", MODEL, "--data", &data, "--set", "remember.ewc_lambda=0.5"],
    );
    assert!(sentence.contains("--fisher"), "{sentence}");
}

#[test]
fn a_dry_run_shows_the_data_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("mixed.jsonl");
    let rows = [
        json!({"history": ["tell me of alpha"], "query": "open it", "rewrite": "open alpha"}),
        json!({"history": ["tell me of alpha"], "query": "open it", "rewrite": "open alpha"}),
        json!({"history": "no list", "query": "open it", "rewrite": "open alpha"}),
        json!({"history": ["tell me of beta"], "query": "close it", "rewrite": "close beta"}),
    ];
    write_lines(&data, rows.into_iter());
    let out = out(dir.path(), "out");
    let args = [
        "--json",
        "train",
        "sft",
        "--model",
        MODEL,
        "--data",
        data.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--dry-run",
    ];
    let output = querent(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["n_rejected"], &shown["n_duplicates"]), (&json!(1), &json!(1)), "{shown}");
    assert!(shown["rejected"][0].as_str().unwrap().contains("mixed.jsonl"), "{shown}");
    let sample = shown["samples"][0].as_str().unwrap();
    assert!(sample.contains("<|im_start|>") && sample.contains("<|im_end|>"), "{sample}");
    assert!(!out.exists());
    let sentence = refused(&out, 1, &[&args[2..7], &["--strict"]].concat());
    assert!(sentence.contains("mixed.jsonl"), "{sentence}");
}

#[test]
fn bad_input_is_one_sentence_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let data = rewrites(dir.path());
    let file = |name: &str, content: &str| -> String {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty.jsonl", "");
    let other = file("other.jsonl", "{\"colour\": \"red\"}\n");
    let cases: [(&str, &str, &str); 4] = [
        (MODEL, empty.as_str(), "empty.jsonl"),
        (MODEL, other.as_str(), "colour"),
        (MODEL, "/nowhere/rows.jsonl", "/nowhere/rows.jsonl"),
        ("/nowhere/model", data.as_str(), "/nowhere/model"),
    ];
    for (model, data, named) in cases {
        let sentence =
            refused(&dir.path().join("out"), 1, &["sft", "--model", model, "--data", data]);
        assert!(sentence.contains(named), "{sentence}");
    }

    let sharded = dir.path().join("sharded");
    std::fs::create_dir(&sharded).unwrap();
    let source =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/qwen2-tiny-sharded-bf16");
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().contains("00002-of") {
            std::fs::copy(&path, sharded.join(path.file_name().unwrap())).unwrap();
        }
    }
    let sentence = refused(
        &dir.path().join("out"),
        1,
        &["sft", "--model", sharded.to_str().unwrap(), "--data", &data],
    );
    assert!(sentence.contains("00002-of"), "{sentence}");

    let long = "word ".repeat(2_000);
    let long = file("long.jsonl", &json!({"prompt": "say it", "completion": long}).to_string());
    let shown = querent(&[
        "--json",
        "train",
        "sft",
        "--model",
        MODEL,
        "--data",
        &long,
        "--out",
        "/nowhere/out",
        "--dry-run",
    ]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["n_cut"], 1, "a row longer than the window is cut and counted: {shown}");

    for (setting, named) in [
        ("learning_rat=1", "learning_rat"),
        ("batch_rows=0", "batch_rows"),
        ("max_tokens=100000", "max_tokens"),
        ("dpo.beta=-1", "beta"),
    ] {
        let method = if setting.starts_with("dpo") { "dpo" } else { "sft" };
        let sentence = refused(
            &dir.path().join("out"),
            2,
            &[method, "--model", MODEL, "--data", &data, "--set", setting],
        );
        assert!(sentence.contains(named), "{setting}: {sentence}");
    }
}

#[test]
fn a_folder_with_a_run_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let out = out(dir.path(), "out");
    let out_text = out.to_str().unwrap();
    let args =
        ["sft", "--model", MODEL, "--data", &data, "--out", out_text, "--set", "max_steps=2"];
    trained(&args);
    let output = querent(&[&["train"], &args[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--resume"), "{}", text(&output.stderr));
    assert!(out.join("model").is_dir());
}

#[test]
fn what_is_no_result_of_the_run_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let project = dir.path().join("project");
    let own = project.join("model");
    std::fs::create_dir_all(&own).unwrap();
    for entry in std::fs::read_dir(MODEL).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, own.join(path.file_name().unwrap())).unwrap();
    }
    for model in [own.to_str().unwrap(), MODEL] {
        let output = querent(&[
            "train",
            "sft",
            "--model",
            model,
            "--data",
            &data,
            "--out",
            project.to_str().unwrap(),
            "--resume",
            "--set",
            "max_steps=1",
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("written over"), "{}", text(&output.stderr));
        assert!(own.join("model.safetensors").is_file());
    }
}

#[test]
fn rows_that_are_not_taken_are_told_by_a_real_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("mixed.jsonl");
    write_lines(&data, (0..30).map(|index| {
        if index % 3 == 0 {
            return json!({"history": [], "query": "open it"});
        }
        let rewrite = format!("open alpha {index}");
        json!({"history": [format!("tell me of alpha {index}")], "query": "open it", "rewrite": rewrite})
    }));
    let out = out(dir.path(), "out");
    let output = querent(&[
        "--json",
        "train",
        "sft",
        "--model",
        MODEL,
        "--data",
        data.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--set",
        "max_steps=2",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rejected"], 10, "{report}");
    let logged = text(&output.stderr);
    assert_eq!(logged.matches("mixed.jsonl").count(), 10, "{logged}");
}

#[test]
fn a_run_is_not_gone_on_with_on_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let (own, other) = (out(dir.path(), "own"), out(dir.path(), "other"));
    let train = |model: &Path, out: &Path| {
        querent(&[
            "train",
            "sft",
            "--model",
            model.to_str().unwrap(),
            "--data",
            &data,
            "--out",
            out.to_str().unwrap(),
            "--resume",
            "--lora",
            "4",
            "--set",
            "max_steps=2",
        ])
    };
    for out in [&own, &other] {
        let output = train(Path::new(MODEL), out);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let output = train(&other.join("model"), &own);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("another model"), "{}", text(&output.stderr));
}

/// A disk of 64 kB: the run says so in a sentence and leaves nothing half-written.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let data = completions(dir.path());
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk.to_str().unwrap()])
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // Only root may mount; the mapping of the error is tested in the room itself. Past the
        // capture of output, which hides what a passing test prints.
        let said = b"the test on a full disk was skipped: no disk can be mounted here\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said);
        return;
    }
    let output = querent(&[
        "train",
        "sft",
        "--model",
        MODEL,
        "--data",
        &data,
        "--out",
        disk.to_str().unwrap(),
        "--set",
        "max_steps=5",
        "--set",
        "save_steps=2",
    ]);
    let sentence = text(&output.stderr);
    let half = std::fs::read_dir(&disk).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        text(name.as_encoded_bytes()).starts_with("checkpoint")
    });
    let n_half = half.count();
    Command::new("umount").arg(&disk).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{sentence}");
    assert!(sentence.contains("full"), "{sentence}");
    assert_eq!(n_half, 0);
}
