//! Local models: what is imported and refused, and that a bad rewriter costs nobody an answer.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{Server, querent};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures").join(name)
}

/// A copy of the random tiny Qwen3 with a window of `n_tokens`.
fn tiny_model(dir: &Path, n_tokens: usize) -> PathBuf {
    let target = dir.join("tiny");
    fs::create_dir_all(&target).unwrap();
    for entry in fs::read_dir(fixture("qwen3-tiny")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
    }
    let config = fs::read(target.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["max_position_embeddings"] = n_tokens.into();
    fs::write(target.join("config.json"), config.to_string()).unwrap();
    target
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_import_takes_data_and_leaves_code() {
    let dir = tempfile::tempdir().unwrap();
    let source = tiny_model(dir.path(), 512);
    for name in ["modeling.py", "pytorch_model.bin", "run.sh"] {
        fs::write(source.join(name), "import os").unwrap();
    }
    let models = dir.path().join("models");
    let mut import = querent(dir.path());
    import.env("QUERENT__MODELS__DIR", &models).args(["models", "import"]).arg(&source);
    let output = import.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let taken = names(&models.join("tiny"));
    assert!(taken.contains(&"model.safetensors".to_owned()), "{taken:?}");
    let is_data = |name: &String| {
        [".json", ".safetensors", ".jinja"].iter().any(|ending| name.ends_with(ending))
    };
    assert!(taken.iter().all(is_data), "{taken:?}");

    let mut list = querent(dir.path());
    let listed = list.env("QUERENT__MODELS__DIR", &models).args(["models", "list"]).output();
    assert!(String::from_utf8(listed.unwrap().stdout).unwrap().starts_with("tiny@1"));

    let mut again = querent(dir.path());
    again.env("QUERENT__MODELS__DIR", &models).args(["models", "import"]).arg(&source);
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a taken name is a conflict");
}

#[test]
fn an_import_refuses_what_it_cannot_read_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let pickled = dir.path().join("pickled");
    fs::create_dir_all(&pickled).unwrap();
    fs::copy(fixture("qwen3-tiny/config.json"), pickled.join("config.json")).unwrap();
    fs::write(pickled.join("pytorch_model.bin"), "not read").unwrap();
    let torn = tiny_model(dir.path(), 512);
    let weights = fs::read(torn.join("model.safetensors")).unwrap();
    fs::write(torn.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    for source in [pickled, torn, dir.path().join("nothing")] {
        let mut import = querent(dir.path());
        import.env("QUERENT__MODELS__DIR", &models).args(["models", "import"]).arg(&source);
        let output = import.output().unwrap();
        assert!(!output.status.success(), "{}", source.display());
        assert!(names(&models).is_empty(), "{:?}", names(&models));
    }
}

#[test]
fn a_gguf_file_is_imported_alone() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let mut import = querent(dir.path());
    import.env("QUERENT__MODELS__DIR", &models);
    import.args(["models", "import"]).arg(fixture("qwen3-tiny.gguf"));
    let output = import.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let taken = names(&models.join("qwen3-tiny"));
    let ggufs: Vec<&String> = taken.iter().filter(|name| name.ends_with(".gguf")).collect();
    assert_eq!(ggufs, ["qwen3-tiny.gguf"]);
}

#[test]
fn a_window_too_small_for_the_prompt_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny_model(dir.path(), 256);
    let mut rewrite = querent(dir.path());
    rewrite.env("QUERENT__REWRITER__MODEL", &model).args(["rewrite", "那怎么导出呢"]);
    let output = rewrite.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("window of 256 tokens") && log.contains("at least"), "{log}");
}

#[tokio::test]
async fn a_rewriter_that_writes_noise_costs_nobody_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny_model(dir.path(), 8_192);
    let variables = [("QUERENT__REWRITER__MODEL", model.to_str().unwrap())];
    let server = Server::start_with(dir.path(), &["--dev"], &variables).await;
    for query in ["那订单 ERR-4012 呢？", "What about ERR-4012 then?"] {
        let body = json!({
            "query": query,
            "messages": [
                {"role": "user", "content": "最近有哪些事情比较重要？"},
                {"role": "assistant", "content": "有很多。"},
            ],
            "mode": "always", "max_rewrite_ms": 20_000,
        });
        let answer = server.caller.post("/v1/rewrite", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let standalone = answer.body["standalone"].as_str().unwrap();
        assert!(standalone.contains("ERR-4012"), "{standalone}");
        assert!(standalone.chars().all(|c| c.is_alphanumeric() || "-？? ".contains(c)));
        assert!(answer.body["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{answer:?}");
        assert!(!answer.body["degraded"].as_array().unwrap().is_empty(), "{answer:?}");
    }
}
