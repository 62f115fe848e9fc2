//! Models from the hub: pulled whole and checked, however the line breaks and whatever the server
//! says; used afterwards without any connection.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

#[path = "support/fake_hub.rs"]
mod fake_hub;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_hub::{COMMIT, FakeHub, Hub, git_blob, sha256};
use serde_json::Value;
use support::querent;

const TOKEN: &str = "hf_zitronenfalter";
const MODEL: &str = "lantern/fish";

fn starter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/starter-rewriter")
}

/// The program with a hub and a cache below `dir`, and with no other settings of a hub.
fn with_hub(dir: &Path, url: &str) -> Command {
    let mut command = querent(dir);
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("HF_") || upper.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    let models = dir.join("no-models");
    command.env("HF_HOME", dir.join("hf")).env("HF_ENDPOINT", url);
    command.env("QUERENT__MODELS__DIR", models);
    command
}

async fn output(mut command: Command) -> (Option<i32>, String, String) {
    let output: Output =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn pull(dir: &Path, hub: &FakeHub, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = with_hub(dir, &hub.url);
    command.args(["--json", "models", "pull"]).args(arguments);
    output(command).await
}

/// What a pull that must succeed prints.
async fn pulled(dir: &Path, hub: &FakeHub, arguments: &[&str]) -> Value {
    let (code, printed, log) = pull(dir, hub, arguments).await;
    assert_eq!(code, Some(0), "{log}");
    serde_json::from_str(&printed).unwrap()
}

/// The log of a pull that must fail, with the code that it gives.
async fn refused(dir: &Path, hub: &FakeHub, arguments: &[&str], code: &str) -> String {
    let (status, printed, log) = pull(dir, hub, arguments).await;
    assert!(status.is_some_and(|status| [1, 2].contains(&status)), "{status:?} {log}");
    assert!(printed.is_empty() && log.contains(code), "{code}: {log}");
    log
}

fn repo(dir: &Path) -> PathBuf {
    dir.join("hf/hub/models--lantern--fish")
}

/// All paths below a folder, without their folders.
fn all_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn a_pulled_model_is_laid_out_listed_and_used_without_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = Hub::of_folder(&starter());
    content.files.insert("modeling.py".into(), b"import os".to_vec());
    content.files.insert("1_Pooling/config.json".into(), b"{}".to_vec());
    content.token = Some(TOKEN.into());
    let weights = content.files["model.safetensors"].clone();
    let config = content.files["config.json"].clone();
    let hub = FakeHub::start(content).await;
    fs::create_dir_all(dir.path().join("hf")).unwrap();
    fs::write(dir.path().join("hf/token"), format!("{TOKEN}\n")).unwrap();

    let printed = pulled(dir.path(), &hub, &[MODEL]).await;
    assert_eq!((&printed["pulled"], &printed["commit"]), (&MODEL.into(), &COMMIT.into()));
    assert_eq!(printed["bytes"], printed["fetched_bytes"]);
    let repo = repo(dir.path());
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let snapshot = repo.join("snapshots").join(COMMIT);
    let link = fs::read_link(snapshot.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights)));
    let link = fs::read_link(snapshot.join("1_Pooling/config.json")).unwrap();
    assert_eq!(link, Path::new("../../../blobs").join(git_blob(b"{}")));
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights);
    assert_eq!(fs::read(repo.join("blobs").join(git_blob(&config))).unwrap(), config);
    assert!(!snapshot.join("modeling.py").exists(), "code was taken");

    let bearer = format!("Bearer {TOKEN}");
    {
        let hub = hub.hub();
        assert!(hub.hub_requests.iter().all(|headers| headers["authorization"] == bearer));
        assert_eq!(hub.cdn_requests.len(), 1);
        let leaked = format!("{:?}", hub.cdn_requests);
        assert!(!leaked.contains("authorization") && !leaked.contains(TOKEN), "{leaked}");
    }
    let again = pulled(dir.path(), &hub, &["lantern/fish@refs/pr/1"]).await;
    assert_eq!(again["fetched_bytes"], 0);
    assert_eq!(fs::read_to_string(repo.join("refs/refs/pr/1")).unwrap(), COMMIT);

    // From here on nobody is at the address.
    let nobody = "http://127.0.0.1:9";
    let mut list = with_hub(dir.path(), nobody);
    list.args(["models", "list"]);
    let (_, listed, _) = output(list).await;
    let names: Vec<&str> = listed.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["lantern/fish@main", "lantern/fish@refs/pr/1"], "{listed}");
    for (model, code) in [(MODEL, 0), ("lantern/fish@v2", 1), ("lantern/squid", 1)] {
        let mut rewrite = with_hub(dir.path(), nobody);
        rewrite.env("QUERENT__REWRITER__MODEL", model).env("QUERENT__MODELS__DIR", "models");
        rewrite.args(["--json", "rewrite", "--turn", "user: 开原有什么好玩的呢", "那有啥好吃的"]);
        rewrite.args(["--max-rewrite-ms", "20000"]);
        let (status, printed, log) = output(rewrite).await;
        assert_eq!(status, Some(code), "{log}");
        if code == 0 {
            let answer: Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(answer["model"]["rewriter"], "lantern/fish@0123456789ab", "{answer}");
            assert_eq!(answer["standalone"], "开原有啥好吃的", "{answer}");
        } else {
            assert!(log.contains(&format!("querent models pull {model}")), "{log}");
        }
    }
}

#[tokio::test]
async fn a_broken_line_is_taken_up_where_it_broke() {
    let dir = tempfile::tempdir().unwrap();
    let content = Hub::of_folder(&starter());
    let weights = content.files["model.safetensors"].clone();
    let hub = FakeHub::start(content).await;
    hub.hub().cuts = (3, 2 * 1024 * 1024);
    let printed = pulled(dir.path(), &hub, &[MODEL]).await;
    {
        let hub = hub.hub();
        assert_eq!(hub.n_cdn_bytes, weights.len(), "bytes came twice");
        let ranges: Vec<bool> =
            hub.cdn_requests.iter().map(|headers| headers.contains_key("range")).collect();
        assert_eq!(ranges, [false, true, true, true]);
    }
    assert_eq!(printed["fetched_bytes"], printed["bytes"]);

    // A pull that was killed left half of it behind.
    let blob = repo(dir.path()).join("blobs").join(sha256(&weights));
    fs::remove_file(&blob).unwrap();
    let half = weights.len() / 2;
    fs::write(blob.with_extension("incomplete"), &weights[..half]).unwrap();
    hub.hub().n_cdn_bytes = 0;
    let printed = pulled(dir.path(), &hub, &[MODEL]).await;
    assert_eq!(printed["fetched_bytes"], weights.len() - half);
    assert_eq!(hub.hub().n_cdn_bytes, weights.len() - half);
    assert_eq!(fs::read(&blob).unwrap(), weights);

    // And a host that knows no ranges sends all of it.
    fs::remove_file(&blob).unwrap();
    fs::write(blob.with_extension("incomplete"), &weights[..half]).unwrap();
    hub.hub().without_ranges = true;
    let printed = pulled(dir.path(), &hub, &[MODEL]).await;
    assert_eq!(printed["fetched_bytes"], weights.len());
    assert_eq!(fs::read(&blob).unwrap(), weights);
}

#[tokio::test]
async fn bytes_that_are_not_the_listed_ones_are_thrown_away() {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    hub.hub().is_damaged = true;
    let log = refused(dir.path(), &hub, &[MODEL], "hub_digest").await;
    assert!(log.contains("model.safetensors") && log.contains("pull again"), "{log}");
    let left = all_files(&repo(dir.path()).join("blobs"));
    assert!(left.iter().all(|path| path.extension().is_none()), "{left:?}");
    assert!(!repo(dir.path()).join("refs").exists(), "half a model got a name");
    let mut rewrite = with_hub(dir.path(), &hub.url);
    rewrite.env("QUERENT__REWRITER__MODEL", MODEL).args(["rewrite", "那呢"]);
    assert!(output(rewrite).await.2.contains("model_not_found"));
    hub.hub().is_damaged = false;
    pulled(dir.path(), &hub, &[MODEL]).await;
}

#[tokio::test]
async fn hostile_names_pickles_and_strange_models_are_refused_before_weights_come() {
    for name in ["../../escaped.json", "/tmp/escaped.json", "a\\..\\escaped.json", "a/./b.json"] {
        let dir = tempfile::tempdir().unwrap();
        let hub = FakeHub::start(Hub::of_folder(&starter())).await;
        hub.hub().listed_too = vec![name.to_owned()];
        refused(dir.path(), &hub, &[MODEL], "hub_file_name").await;
        let left = all_files(dir.path());
        assert!(left.iter().all(|path| path.ends_with("querent.lock")), "{left:?}");
        assert_eq!(hub.hub().hub_requests.len(), 1);
    }
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    let weights = hub.hub().files.remove("model.safetensors").unwrap();
    hub.hub().files.insert("pytorch_model.bin".into(), weights.clone());
    let log = refused(dir.path(), &hub, &[MODEL], "hub_pickle").await;
    assert!(log.contains("pytorch_model.bin") && log.contains("safetensors"), "{log}");

    for name in ["q4.gguf", "q8.gguf"] {
        hub.hub().files.insert(name.into(), weights.clone());
    }
    let log = refused(dir.path(), &hub, &[MODEL], "hub_which_file").await;
    assert!(log.contains("--file") && log.contains("q4.gguf, q8.gguf"), "{log}");
    refused(dir.path(), &hub, &[MODEL, "--file", "q5.gguf"], "hub_no_file").await;

    hub.hub().files.insert("model.safetensors".into(), weights);
    hub.hub().files.insert("config.json".into(), br#"{"model_type":"llama"}"#.to_vec());
    refused(dir.path(), &hub, &[MODEL], "model_config").await;
    assert_eq!(hub.hub().n_cdn_bytes, 0, "weights came");
}

#[tokio::test]
async fn a_gguf_is_used_though_a_config_stands_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures");
    let mut content = Hub::of_folder(&fixtures.join("qwen3-tiny"));
    content.files.insert("q4.gguf".into(), fs::read(fixtures.join("qwen3-tiny.gguf")).unwrap());
    let hub = FakeHub::start(content).await;
    pulled(dir.path(), &hub, &[MODEL, "--file", "q4.gguf"]).await;
    let snapshot = repo(dir.path()).join("snapshots").join(COMMIT);
    assert!(snapshot.join("config.json").exists() && snapshot.join("q4.gguf").exists());
    assert!(!snapshot.join("model.safetensors").exists());
    let mut list = with_hub(dir.path(), &hub.url);
    list.args(["models", "list"]);
    assert!(output(list).await.1.starts_with("lantern/fish@main"));
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    for (status, error_code, code, advice) in [
        (401, "GatedRepo", "hub_gated", "HF_TOKEN"),
        (403, "GatedRepo", "hub_gated", "/lantern/fish"),
        (401, "RepoNotFound", "hub_unauthorized", "HF_TOKEN"),
        (404, "RepoNotFound", "hub_not_found", "check the name"),
        (400, "", "hub_unavailable", "400"),
    ] {
        hub.hub().first = vec![(status, "x-error-code", error_code.to_owned())];
        hub.hub().hub_requests.clear();
        let log = refused(dir.path(), &hub, &[MODEL], code).await;
        assert!(log.contains(advice), "{log}");
        assert_eq!(hub.hub().hub_requests.len(), 1, "a refusal was asked for again");
    }
    let log = refused(dir.path(), &hub, &["lantern/fish@v9"], "hub_not_found").await;
    assert!(log.contains("no revision `v9`"), "{log}");
    for name in ["lantern", "../fish", "lantern/fish@../../x"] {
        let (status, _, log) = pull(dir.path(), &hub, &[name]).await;
        assert!(status == Some(2) && log.contains("ORG/NAME"), "{log}");
    }
}

#[tokio::test]
async fn what_may_pass_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    hub.hub().lists_names_only = true;
    let answer = |status, value: &str| (status, "retry-after", value.to_owned());
    hub.hub().first = vec![answer(503, ""), answer(429, "1"), answer(500, "")];
    let started = std::time::Instant::now();
    let printed = pulled(dir.path(), &hub, &[MODEL]).await;
    assert!(started.elapsed().as_millis() > 1_000, "it did not wait as it was asked to");
    assert_eq!(printed["fetched_bytes"], printed["bytes"]);
    hub.hub().first = vec![answer(429, "86400")];
    refused(dir.path(), &hub, &[MODEL], "hub_busy").await;
}

#[tokio::test]
async fn offline_makes_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    let offline = || {
        let mut command = with_hub(dir.path(), &hub.url);
        command.env("HF_HUB_OFFLINE", "1").args(["models", "pull", MODEL]);
        command
    };
    let (status, _, log) = output(offline()).await;
    assert!(status == Some(1) && log.contains("HF_HUB_OFFLINE"), "{log}");
    assert!(hub.hub().hub_requests.is_empty());
    pulled(dir.path(), &hub, &[MODEL]).await;
    hub.hub().hub_requests.clear();
    let (status, printed, log) = output(offline()).await;
    assert!(status == Some(0) && printed.contains(COMMIT), "{printed} {log}");
    assert!(hub.hub().hub_requests.is_empty());
}

#[tokio::test]
async fn two_processes_pull_a_model_once() {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Hub::of_folder(&starter())).await;
    let n_weights = hub.hub().files["model.safetensors"].len();
    let (one, other) =
        tokio::join!(pulled(dir.path(), &hub, &[MODEL]), pulled(dir.path(), &hub, &[MODEL]));
    assert_eq!(hub.hub().n_cdn_bytes, n_weights);
    let fetched = |printed: &Value| printed["fetched_bytes"].as_u64().unwrap();
    assert_eq!(fetched(&one).min(fetched(&other)), 0);
    assert_eq!(fetched(&one).max(fetched(&other)), one["bytes"].as_u64().unwrap());
}

#[tokio::test]
async fn a_model_beyond_the_memory_is_refused_with_both_figures() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("giant");
    fs::create_dir_all(&model).unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "querent.json"] {
        fs::copy(starter().join(name), model.join(name)).unwrap();
    }
    let n_numbers = 1_000_000_000_000u64;
    let header = format!(
        r#"{{"x":{{"dtype":"F32","shape":[{n_numbers}],"data_offsets":[0,{}]}}}}"#,
        4 * n_numbers
    );
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    fs::write(model.join("model.safetensors"), file).unwrap();
    let mut rewrite = with_hub(dir.path(), "http://127.0.0.1:9");
    rewrite.env("QUERENT__REWRITER__MODEL", &model).args(["rewrite", "那呢"]);
    let (status, _, log) = output(rewrite).await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("model_memory") && log.contains("4000.0 GB"), "{log}");
    assert!(log.contains("is available") && log.contains("[rewriter] url"), "{log}");
}
