//! `querent doctor` and `querent health`: settings with their origins, checks with their advice,
//! exit codes, and no secret in any of it.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::path::Path;

use serde_json::Value;
use support::{Server, querent};

const CANARY: &str = "hagebuttentee";

/// What came of a call.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

fn call(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let output = querent(dir).args(arguments).envs(variables.iter().copied()).output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Outcome {
    /// The line of `--json` that has this value under this name.
    fn line(&self, kind: &str, name: &str) -> Value {
        let lines = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found = lines.filter(|line| line[kind] == name);
        found.next().unwrap_or_else(|| panic!("no {kind} {name}\n{}{}", self.stdout, self.stderr))
    }
}

fn doctor(dir: &Path, variables: &[(&str, &str)]) -> Outcome {
    call(dir, &["doctor", "--json"], variables)
}

#[test]
fn settings_are_shown_with_where_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[http]\nport = 9001\n[embedder]\ndimension = 64\n";
    std::fs::write(dir.path().join("querent.toml"), file).unwrap();
    let outcome = doctor(dir.path(), &[("QUERENT__RERANKER__CANDIDATES", "7")]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    for (setting, value, origin, from) in [
        ("http.host", Value::from("127.0.0.1"), "default", "default"),
        ("http.port", 9001.into(), "file", "querent.toml"),
        ("embedder.dimension", 64.into(), "file", "querent.toml"),
        ("reranker.candidates", 7.into(), "environment", "QUERENT__RERANKER__CANDIDATES"),
        ("data.dir", dir.path().to_str().unwrap().into(), "flag", "a flag"),
    ] {
        let line = outcome.line("setting", setting);
        assert_eq!((&line["value"], &line["origin"]), (&value, &origin.into()), "{line}");
        assert!(line["from"].as_str().unwrap().ends_with(from), "{line}");
    }
    let text = call(dir.path(), &["doctor"], &[("QUERENT__RERANKER__CANDIDATES", "7")]);
    let line = text.stdout.lines().find(|line| line.starts_with("reranker.candidates")).unwrap();
    assert!(line.ends_with("  QUERENT__RERANKER__CANDIDATES"), "{line}");
}

#[test]
fn a_fresh_machine_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = doctor(dir.path(), &[]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    for check in [
        "data directory",
        "database",
        "index",
        "rewriter",
        "embedder",
        "reranker",
        "gpu",
        "threads",
        "clock",
    ] {
        assert_eq!(outcome.line("check", check)["status"], "ok", "{check}\n{}", outcome.stdout);
    }
    let rewriter = outcome.line("check", "rewriter");
    let detail = rewriter["detail"].as_str().unwrap();
    assert!(detail.contains("starter-rewriter@1 loads") && detail.contains("MiB"), "{detail}");
}

#[test]
fn no_data_directory_is_made() {
    let dir = tempfile::tempdir().unwrap();
    // The later of two variables and flags counts: this one is the flag's directory.
    let missing = dir.path().join("later");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_querent"));
    command.arg("doctor").arg("--json").arg("--data-dir").arg(&missing).current_dir(dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!missing.exists() && std::fs::read_dir(dir.path()).unwrap().count() == 0);
}

#[test]
fn what_is_broken_fails_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("querent.db"), "this is no database at all").unwrap();
    let outcome = doctor(dir.path(), &[("QUERENT__REWRITER__MODEL", "nowhere-to-be-found")]);
    assert_eq!(outcome.code, 1, "{}{}", outcome.stdout, outcome.stderr);
    for check in ["database", "rewriter"] {
        let line = outcome.line("check", check);
        assert_eq!(line["status"], "fail", "{line}");
        assert!(line["advice"].as_str().unwrap().len() > 10, "{line}");
    }
    assert!(outcome.stderr.contains("2 of ") && outcome.stderr.contains("database, rewriter"));
    assert_eq!(outcome.line("check", "embedder")["status"], "ok");
}

#[test]
fn secrets_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("[telemetry]\notlp_headers = 'authorization={CANARY}'\n");
    std::fs::write(dir.path().join("querent.toml"), file).unwrap();
    let endpoint = format!("http://me:{CANARY}@127.0.0.1:1/x?api_key={CANARY}");
    let variables = [("QUERENT__TELEMETRY__OTLP_ENDPOINT", endpoint.as_str())];
    for arguments in [&["doctor", "--json"][..], &["doctor"], &["doctor", "--log-json"]] {
        let outcome = call(dir.path(), arguments, &variables);
        // A collector that is away is no reason not to serve.
        assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
        let all = outcome.stdout + &outcome.stderr;
        assert!(!all.contains(CANARY), "{all}");
        assert!(all.contains("http://***@127.0.0.1:1/x?api_key=***"), "{all}");
    }
    let outcome = doctor(dir.path(), &variables);
    assert_eq!(outcome.line("setting", "telemetry.otlp_headers")["value"], "set");
    assert_eq!(outcome.line("check", "telemetry.otlp_endpoint")["status"], "warn");
    let without = doctor(tempfile::tempdir().unwrap().path(), &[]);
    assert_eq!(without.line("setting", "telemetry.otlp_headers")["value"], "not set");
}

#[tokio::test]
async fn a_running_server_is_seen_and_can_be_asked_for_its_health() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let outcome = doctor(dir.path(), &[]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    let index = outcome.line("check", "index");
    assert!(index["detail"].as_str().unwrap().contains("a running querent"), "{index}");
    let database = outcome.line("check", "database");
    assert!(database["detail"].as_str().unwrap().contains("migrations are applied"), "{database}");
    let port = server.log();
    let port = port.split("http://127.0.0.1:").nth(1).unwrap().split_whitespace().next().unwrap();
    let port = port.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let variables = [("QUERENT__HTTP__PORT", port.as_str())];
    let well = call(dir.path(), &["health"], &variables);
    assert_eq!((well.code, well.stdout.as_str()), (0, "ready\n"), "{}", well.stderr);
    let url = format!("http://127.0.0.1:{port}/nowhere");
    assert_eq!(call(dir.path(), &["health", &url], &[]).code, 1);
    server.kill();
    let gone = call(dir.path(), &["health"], &variables);
    assert_eq!((gone.code, gone.stdout.as_str()), (1, ""), "{}", gone.stderr);
}
