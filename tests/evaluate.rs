//! `querent eval` as people run it: on a fresh data directory, gone on with after a kill, the same
//! twice, and with rewriters that must not be promoted.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use axum::Router;
use axum::extract::State;
use serde_json::{Value, json};
use support::querent;

const SYSTEMS: [&str; 4] = ["raw", "always", "gated", "gold"];

fn eval(data_dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = querent(data_dir);
    command.arg("eval").args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// The line that `--json` prints.
fn eval_json(data_dir: &Path, arguments: &[&str]) -> Value {
    let output = eval(data_dir, &[arguments, &["--json"]].concat(), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn out_of(done: &Value) -> PathBuf {
    PathBuf::from(done["out"].as_str().unwrap())
}

#[test]
fn the_seed_cases_are_measured_once_and_the_same_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["seed-cases", "--limit", "12"];
    let first = eval_json(dir.path(), &arguments);
    assert_eq!((&first["turns"], &first["primary"]), (&json!(12), &json!("passed")));
    for system in SYSTEMS {
        let means = &first["systems"][system];
        assert!(means["passed"]["n"] == 12, "{system}: {first}");
        assert!(means["exact_match"]["mean"].is_number(), "{system}: {means}");
    }
    assert_eq!(first["systems"]["gold"]["passed"]["mean"], 1.0);
    assert_eq!(first["systems"]["gated"]["empty"]["mean"], 0.0);
    for file in ["json", "markdown", "html"] {
        let path = first["files"][file].as_str().unwrap();
        assert!(fs::metadata(path).unwrap().len() > 1_000, "{path}");
    }

    let run = out_of(&first).join("run.jsonl");
    let whole = lines(&run);
    assert_eq!(whole.len(), 13);
    // A kill in the middle of the seventh turn.
    let cut = format!("{}\n{}", whole[..7].join("\n"), &whole[7][..40]);
    fs::write(&run, cut).unwrap();
    let again = eval_json(dir.path(), &arguments);
    assert_eq!(again["digest"], first["digest"]);
    let resumed = lines(&run);
    // The times are part of a line: a turn that is asked again has others.
    assert_eq!(resumed[..7], whole[..7]);
    assert_eq!(resumed.len(), 13);
    assert_ne!(resumed[7..], whole[7..]);
    assert_eq!(eval_json(dir.path(), &arguments)["digest"], first["digest"]);
    assert_eq!(lines(&run), resumed, "a run that is done asks nothing");

    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(eval_json(elsewhere.path(), &arguments)["digest"], first["digest"]);
    let other_seed = eval_json(dir.path(), &["seed-cases", "--limit", "3", "--seed", "2"]);
    assert_ne!(other_seed["out"], first["out"]);
}

#[test]
fn the_product_docs_are_searched_raw_rewritten_and_by_the_gold() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a run");
    let arguments = ["product-docs", "--limit", "10", "--split", "test", "--out"];
    let arguments = [&arguments[..], &[out.to_str().unwrap()]].concat();
    let output = eval(dir.path(), &arguments, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    for word in [&SYSTEMS[..], &["ndcg@10", "regret", "bleu4", "over_rewrite", "kind="]].concat() {
        assert!(table.contains(word), "{word}: {table}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("ndcg@10"));
    let records: Vec<Value> = lines(&out.join("run.jsonl"))[1..]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 10);
    for record in &records {
        let turn = &record["turn"];
        assert_eq!(turn["slices"]["split"], "test");
        assert!(turn["features"].as_object().unwrap().len() > 10, "{turn}");
        for system in SYSTEMS {
            let ndcg = turn["values"][system]["ndcg@10"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&ndcg), "{turn}");
            assert!(record["times"]["latency_ms"][system]["total"].as_f64().unwrap() > 0.0);
        }
    }
    let gold: f64 =
        records.iter().map(|r| r["turn"]["values"]["gold"]["ndcg@10"].as_f64().unwrap()).sum();
    assert!(gold > 7.0, "{gold}");
    // Another suite must not go on with this run.
    let other =
        eval(dir.path(), &["seed-cases", "--limit", "2", "--out", out.to_str().unwrap()], &[]);
    assert!(!other.status.success());
    assert!(String::from_utf8_lossy(&other.stderr).contains("another run"));
}

#[test]
fn data_of_others_is_read_by_its_form() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dev.json");
    let rows = json!([
        {"Context": ["What is the Harbour lamp?", "A lamp for the desk."], "Question": "How much does it cost?",
         "Rewrite": "How much does the Harbour lamp cost?", "Conversation_no": 1, "Turn_no": 2},
        {"Context": [], "Question": "Who made the Harbour lamp?",
         "Rewrite": "Who made the Harbour lamp?", "Conversation_no": 2, "Turn_no": 1},
    ]);
    fs::write(&file, rows.to_string()).unwrap();
    let done = eval_json(dir.path(), &["auto", "--data", file.to_str().unwrap()]);
    assert_eq!((&done["suite"], &done["primary"]), (&json!("qrecc-dev"), &json!("bleu4")));
    assert_eq!(done["systems"]["gold"]["exact_match"]["mean"], 1.0);
    assert_eq!(done["systems"]["gated"]["over_rewrite"]["mean"], 0.0);
    let scores = done["corpus"].as_array().unwrap();
    assert!(scores.iter().any(|one| one["system"] == "raw" && one["bleu4"].as_f64() > Some(0.0)));
}

/// What a rewriter that must not be promoted says to a request.
type Bad = fn(query: &str, history: &[String]) -> String;

fn echoes(query: &str, history: &[String]) -> String {
    format!("{} {query}", history.join(" "))
}

fn invents(query: &str, _: &[String]) -> String {
    if is_chinese(query) {
        format!("泽菲尔海姆的{query}")
    } else {
        format!("Zephyrheim: {query}")
    }
}

fn answers_in_another_language(query: &str, _: &[String]) -> String {
    if is_chinese(query) {
        "How does the other one of the two work?".into()
    } else {
        "那另外一个是怎么用的呢？".into()
    }
}

/// The number that the conversation was about goes, and with it every other one.
fn drops_numbers(query: &str, history: &[String]) -> String {
    let topic = history.first().map_or("", String::as_str);
    let topic: String = topic.chars().take(12).collect();
    format!("{topic}{query}").chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
}

/// An OpenAI-compatible server that rewrites badly; it ends with the test's runtime.
async fn serve(bad: Bad) -> String {
    let router = Router::new().fallback(answer).with_state(bad);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn answer(State(bad): State<Bad>, body: axum::body::Bytes) -> axum::Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let asked = body["messages"].as_array().unwrap().last().unwrap();
    let asked: Value = serde_json::from_str(asked["content"].as_str().unwrap()).unwrap();
    let history = asked["history"].as_array().cloned().unwrap_or_default();
    let history: Vec<String> =
        history.iter().map(|turn| turn["content"].as_str().unwrap().to_owned()).collect();
    let text = bad(asked["query"].as_str().unwrap(), &history);
    axum::Json(json!({
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rewriters_fail_the_gate_and_the_verdict_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let suite = ["seed-cases", "--limit", "120", "--systems", "raw,gated", "--out"];
    let champion = dir.path().join("champion");
    let champion = champion.to_str().unwrap();
    let first = eval(dir.path(), &[&suite[..], &[champion]].concat(), &[]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    for (name, bad, why) in [
        ("echo", echoes as Bad, "repeats the history"),
        ("invent", invents, "invents words"),
        ("language", answers_in_another_language, "in another language"),
        ("numbers", drops_numbers, "drops protected spans"),
    ] {
        let url = serve(bad).await;
        let out = dir.path().join(name);
        let judged = ["--compare", champion, "--gate"];
        let arguments = [&suite[..], &[out.to_str().unwrap()], &judged].concat();
        let variables =
            [("QUERENT__REWRITER__URL", url.as_str()), ("QUERENT__REWRITER__REMOTE_MODEL", name)];
        let output = eval(dir.path(), &arguments, &variables);
        let table = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{name}: {table}");
        assert!(table.contains("The candidate is refused."), "{name}: {table}");
        assert!(table.contains(why), "{name}: {table}");
        let report: Value =
            serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["verdict"]["promoted"], false);
        assert!(fs::read_to_string(out.join("report.md")).unwrap().contains(why), "{name}");
        // Whatever it wrote, nobody is served a rewrite that breaks a promise.
        for measure in ["protected_loss", "unsupported_words", "empty"] {
            let broken = format!("guarantee `{measure}` is violated");
            assert!(!table.contains(&broken), "{name}: {table}");
        }
    }
}
