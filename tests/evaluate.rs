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

/// What a rewriter at a server says to a request.
type Rewriter = fn(query: &str, history: &[String]) -> String;

fn restores(query: &str, _: &[String]) -> String {
    query.replace("it", "the Harbour lamp").replace('它', "海港台灯")
}

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

fn drops_numbers(query: &str, history: &[String]) -> String {
    restores(query, history).chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

fn is_chinese(text: &str) -> bool {
    text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
}

/// A suite of 60 cases in which a lamp is asked about by a pronoun and with a number.
fn lamp_suite(dir: &Path) -> PathBuf {
    let suite = dir.join("lamps");
    fs::create_dir(&suite).unwrap();
    let description = "name = \"lamps\"\n[files]\ncases = \"cases.jsonl\"\n\
                       [primary]\nmetric = \"passed\"\n";
    fs::write(suite.join("suite.toml"), description).unwrap();
    let case = |lang: &str, n: usize| {
        let (history, query, gold, name) = match lang {
            "en" => (
                ["Tell me about the Harbour lamp", "The Harbour lamp stands on the desk."],
                format!("Does it cost {n} dollars?"),
                format!("Does the Harbour lamp cost {n} dollars?"),
                "Harbour lamp",
            ),
            _ => (
                ["介绍一下海港台灯", "海港台灯是放在书桌上的。"],
                format!("它卖{n}元吗？"),
                format!("海港台灯卖{n}元吗？"),
                "海港台灯",
            ),
        };
        json!({
            "id": format!("{lang}-{n}"), "lang": lang, "kind": "reference", "query": query,
            "messages": [{"role": "user", "content": history[0]},
                         {"role": "assistant", "content": history[1]}],
            "expect": {"action": "rewrite", "standalone": [gold],
                       "must_include": [name, n.to_string()]},
        })
        .to_string()
    };
    let cases: Vec<String> = (41..71).flat_map(|n| [case("en", n), case("zh", n)]).collect();
    fs::write(suite.join("cases.jsonl"), cases.join("\n")).unwrap();
    suite
}

/// An OpenAI-compatible server that rewrites so; it ends with the test's runtime.
async fn serve(rewriter: Rewriter) -> String {
    let router = Router::new().fallback(answer).with_state(rewriter);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn answer(State(rewriter): State<Rewriter>, body: axum::body::Bytes) -> axum::Json<Value> {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let asked = body["messages"].as_array().unwrap().last().unwrap();
    let asked: Value = serde_json::from_str(asked["content"].as_str().unwrap()).unwrap();
    let history = asked["history"].as_array().cloned().unwrap_or_default();
    let history: Vec<String> =
        history.iter().map(|turn| turn["content"].as_str().unwrap().to_owned()).collect();
    let text = rewriter(asked["query"].as_str().unwrap(), &history);
    axum::Json(json!({
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }))
}

/// Runs the lamps with a rewriter at a server.
async fn eval_lamps(
    dir: &Path,
    suite: &Path,
    name: &str,
    rewriter: Rewriter,
    more: &[&str],
) -> Output {
    let url = serve(rewriter).await;
    let out = dir.join(name);
    let paths = [suite.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let variables =
        [("QUERENT__REWRITER__URL", url.as_str()), ("QUERENT__REWRITER__REMOTE_MODEL", name)];
    eval(dir, &[&paths, more].concat(), &variables)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rewriters_fail_the_gate_and_the_verdict_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let suite = lamp_suite(dir.path());
    let first = eval_lamps(dir.path(), &suite, "champion", restores, &["--json"]).await;
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let first: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(first["systems"]["gated"]["passed"]["mean"], 1.0, "{first}");
    let champion = dir.path().join("champion");
    let judged = ["--compare", champion.to_str().unwrap(), "--gate"];
    for (name, bad, why) in [
        ("echo", echoes as Rewriter, "repeats the history"),
        ("invent", invents, "invents words"),
        ("language", answers_in_another_language, "in another language"),
        ("numbers", drops_numbers, "drops protected spans"),
    ] {
        let output = eval_lamps(dir.path(), &suite, name, bad, &judged).await;
        let table = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{name}: {table}");
        assert!(table.contains("The candidate is refused."), "{name}: {table}");
        assert!(table.contains(why), "{name}: {table}");
        let out = dir.path().join(name);
        let report: Value =
            serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
        assert_eq!(report["verdict"]["promoted"], false);
        assert!(fs::read_to_string(out.join("report.md")).unwrap().contains(why), "{name}");
        // Whatever it wrote, nobody is served a rewrite that breaks a promise.
        let reasons = report["verdict"]["reasons"].as_array().unwrap();
        let broken = |reason: &Value| reason["code"] == "guarantee_violated";
        assert!(!reasons.iter().any(broken), "{name}: {reasons:?}");
    }
}
