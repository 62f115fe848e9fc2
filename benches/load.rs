//! How fast the server answers on this machine: starts the release binary on a data directory
//! that `querent ingest` filled, asks it over HTTP as callers do, and prints Markdown.
//!
//! `cargo bench --bench load -- --data-dir DIR --collection docs`
//!
//! Searches pass by the rewriter (`mode: never`); rewrites are forced (`mode: always`) and never
//! come from the cache, because every request has a day of its own as `now`. The callers take a
//! share of the machine, so the times are on the safe side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

type Outcome<T> = Result<T, Box<dyn Error>>;

const BINARY: &str = env!("CARGO_BIN_EXE_querent");
/// The server's first look at its index after a crash may take long.
const START_LIMIT: Duration = Duration::from_secs(300);
const WARM_UP: Duration = Duration::from_secs(3);
/// `/proc` counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Asked when no files are given: Chinese and English, about manuals and about anything.
const QUESTIONS: &str = include_str!("load.json");

/// Measures searches and rewrites of a running server.
#[derive(Debug, Parser)]
struct Args {
    /// Holds the collection.
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long, default_value = "docs")]
    collection: String,
    /// Length of each of the three runs, beside warming up.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Callers at once, in the runs that have several.
    #[arg(long, default_value_t = 4)]
    callers: usize,
    #[arg(long, default_value_t = 10)]
    top_k: usize,
    #[arg(long, default_value_t = 400)]
    max_rewrite_ms: u64,
    /// Lines of `{"query"}`.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Lines of `{"history": [], "query"}`, oldest first.
    #[arg(long)]
    conversations: Option<PathBuf>,
    /// `cargo bench` gives it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Deserialize)]
struct Conversation {
    #[serde(default)]
    history: Vec<String>,
    query: String,
}

#[derive(Debug, Deserialize)]
struct Questions {
    queries: Vec<String>,
    conversations: Vec<Conversation>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let Questions { queries, conversations } = questions(&args)?;
    let mut out = std::io::stdout();
    out.write_all(describe_machine()?.as_bytes())?;
    let server = Server::start(&args.data_dir)?;
    let target = Target { client: Client::new(), server, n_sent: Cell::new(0) };
    out.write_all(describe_settings(&args, &target).await?.as_bytes())?;
    let search = |serial: usize| search_body(&args, &queries[serial % queries.len()]);
    let searches = target.measure("/v1/search", args.callers, &args, search).await?;
    out.write_all(searches.table("Search, mode never", args.callers).as_bytes())?;
    let rewrite = |serial: usize| {
        rewrite_body(&conversations[serial % conversations.len()], args.max_rewrite_ms, serial)
    };
    for callers in [1, args.callers] {
        let rewrites = target.measure("/v1/rewrite", callers, &args, rewrite).await?;
        out.write_all(rewrites.table("Rewrite, mode always", callers).as_bytes())?;
    }
    writeln!(out, "\nServer memory at its highest: {}", target.server.peak_memory()?)?;
    Ok(())
}

fn questions(args: &Args) -> Outcome<Questions> {
    let mut questions: Questions = serde_json::from_str(QUESTIONS)?;
    if let Some(path) = &args.queries {
        questions.queries = read_lines(path)?.into_iter().map(|line| line.query).collect();
    }
    if let Some(path) = &args.conversations {
        questions.conversations = read_lines(path)?;
    }
    // Without a history there is nothing for the model to do.
    questions.conversations.retain(|conversation| !conversation.history.is_empty());
    if questions.queries.is_empty() || questions.conversations.is_empty() {
        return Err("there is nothing to ask".into());
    }
    Ok(questions)
}

fn read_lines(path: &Path) -> Outcome<Vec<Conversation>> {
    let text = fs_err::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn search_body(args: &Args, query: &str) -> Value {
    let (collection, top_k) = (&args.collection, args.top_k);
    json!({"query": query, "collection": collection, "mode": "never", "top_k": top_k})
}

fn rewrite_body(conversation: &Conversation, max_rewrite_ms: u64, serial: usize) -> Value {
    let n_turns = conversation.history.len();
    let turn = |(position, text): (usize, &String)| {
        let role = if (n_turns - position) % 2 == 1 { "assistant" } else { "user" };
        json!({"role": role, "content": text})
    };
    let messages: Vec<Value> = conversation.history.iter().enumerate().map(turn).collect();
    json!({
        "query": conversation.query,
        "messages": messages,
        "context": {"now": day(serial)},
        "mode": "always",
        "max_rewrite_ms": max_rewrite_ms,
    })
}

/// A day for every request, from 1900 on; after 2 million days they begin again.
fn day(serial: usize) -> String {
    let first = OffsetDateTime::UNIX_EPOCH - time::Duration::days(25_567);
    let n_days = i64::try_from(serial % 2_000_000).unwrap_or_default();
    let now = first + time::Duration::days(n_days);
    now.format(&Rfc3339).unwrap_or_default()
}

/// The server under test; it ends with this value.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(data_dir: &Path) -> Outcome<Self> {
        let mut process = Command::new(BINARY)
            .args(["serve", "--dev", "--log-json", "--port", "0", "--data-dir"])
            .arg(data_dir)
            .stderr(Stdio::piped())
            .spawn()?;
        let log = process.stderr.take().ok_or("the server has no stderr")?;
        let (sender, receiver) = channel();
        // Read to the end, or the server would stand still before a full pipe.
        std::thread::spawn(move || watch(BufReader::new(log), &sender));
        let mut server = Self { process, address: String::new() };
        server.address = receiver.recv_timeout(START_LIMIT).map_err(|_| "no server came up")?;
        Ok(server)
    }

    /// Seconds of processor time so far.
    fn processor_seconds(&self) -> Outcome<f64> {
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The name in parentheses may hold spaces; 11 fields lie between it and the times.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat cannot be read")?;
        let times: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Ok(times.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    fn peak_memory(&self) -> Outcome<String> {
        let path = format!("/proc/{}/status", self.process.id());
        Ok(field(&fs_err::read_to_string(path)?, "VmHWM"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Sends the address that the log names.
fn watch(log: impl BufRead, address: &Sender<String>) {
    for line in log.lines().map_while(Result::ok) {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(found) = entry.pointer("/fields/address").and_then(Value::as_str) {
            let _ = address.send(found.to_owned());
        }
        if entry.get("level").and_then(Value::as_str) == Some("ERROR") {
            let _ = writeln!(std::io::stderr(), "server: {line}");
        }
    }
}

/// Where requests go.
struct Target {
    client: Client,
    server: Server,
    /// Requests so far: each has a number of its own.
    n_sent: Cell<usize>,
}

impl Target {
    /// A run after one that warms the server up.
    async fn measure(
        &self,
        path: &str,
        callers: usize,
        args: &Args,
        body: impl Fn(usize) -> Value,
    ) -> Outcome<Run> {
        self.run(path, callers, WARM_UP, &body).await?;
        self.run(path, callers, Duration::from_secs(args.seconds), &body).await
    }

    /// Lets callers ask one request after another until `length` is over. A failed request is
    /// counted and not timed.
    async fn run(
        &self,
        path: &str,
        callers: usize,
        length: Duration,
        body: &impl Fn(usize) -> Value,
    ) -> Outcome<Run> {
        let run = RefCell::new(Run::default());
        let (started, processor) = (Instant::now(), self.server.processor_seconds()?);
        let caller = async || {
            while started.elapsed() < length {
                let serial = self.n_sent.replace(self.n_sent.get() + 1);
                let reply = self.ask(path, &body(serial)).await;
                run.borrow_mut().add(reply);
            }
        };
        futures::future::join_all((0..callers).map(|_| caller())).await;
        let mut run = run.into_inner();
        run.seconds = started.elapsed().as_secs_f64();
        run.processor_seconds = self.server.processor_seconds()? - processor;
        Ok(run)
    }

    async fn ask(&self, path: &str, body: &Value) -> Outcome<Reply> {
        let url = format!("http://{}{path}", self.server.address);
        let started = Instant::now();
        let response = self.client.post(url).json(body).send().await?.error_for_status()?;
        let timing = response.headers().get("server-timing").cloned();
        let body = response.bytes().await?;
        let mut times = vec![("caller".to_owned(), started.elapsed().as_secs_f64() * 1e3)];
        times.extend(server_times(timing.as_ref().and_then(|timing| timing.to_str().ok())));
        let body: Value = serde_json::from_slice(&body)?;
        let generated = body.pointer("/timings_ms/generate").and_then(Value::as_f64);
        times.extend(generated.map(|ms| ("generate".to_owned(), ms)));
        let codes = body["degraded"].as_array().into_iter().flatten();
        let mut notes: Vec<String> = codes.filter_map(Value::as_str).map(str::to_owned).collect();
        if body["cache"] == "hit" {
            notes.push("cache_hit".to_owned());
        }
        Ok(Reply { times, notes })
    }
}

/// `embed;dur=4.1, total;dur=9.0` as pairs.
fn server_times(header: Option<&str>) -> Vec<(String, f64)> {
    let part = |part: &str| {
        let (name, ms) = part.trim().split_once(";dur=")?;
        Some((format!("server {name}"), ms.parse().ok()?))
    };
    header.unwrap_or_default().split(',').filter_map(part).collect()
}

struct Reply {
    /// Milliseconds by name.
    times: Vec<(String, f64)>,
    /// What was out of the ordinary, by code.
    notes: Vec<String>,
}

/// All replies of a run.
#[derive(Default)]
struct Run {
    seconds: f64,
    processor_seconds: f64,
    n_replies: usize,
    n_errors: usize,
    last_error: Option<String>,
    times: Vec<(String, Vec<f64>)>,
    notes: BTreeMap<String, usize>,
}

impl Run {
    fn add(&mut self, reply: Outcome<Reply>) {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.n_errors += 1;
                self.last_error = Some(error.to_string());
                return;
            }
        };
        self.n_replies += 1;
        for note in reply.notes {
            *self.notes.entry(note).or_default() += 1;
        }
        for (name, ms) in reply.times {
            match self.times.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(ms),
                None => self.times.push((name, vec![ms])),
            }
        }
    }

    fn table(mut self, title: &str, callers: usize) -> String {
        let n_asked = (self.n_replies + self.n_errors).max(1);
        let mut text = format!(
            "\n### {title}, callers: {callers}\n{} answers in {:.1} s, {:.1} a second; {} errors; \
             {:.1} ms of processor time of the server a request",
            self.n_replies,
            self.seconds,
            self.n_replies as f64 / self.seconds.max(f64::EPSILON),
            self.n_errors,
            self.processor_seconds * 1e3 / n_asked as f64,
        );
        for (note, count) in &self.notes {
            let _ = write!(text, "; {count} {note}");
        }
        if let Some(error) = &self.last_error {
            let _ = write!(text, "; last error: {error}");
        }
        text.push_str("\n\n| ms | p50 | p90 | p99 | max |\n|---|---:|---:|---:|---:|\n");
        self.times.retain(|(_, all)| all.iter().any(|ms| *ms > 0.0));
        for (name, all) in &mut self.times {
            all.sort_by(f64::total_cmp);
            let [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1.0].map(|share| quantile(all, share));
            let _ = writeln!(text, "| {name} | {p50:.1} | {p90:.1} | {p99:.1} | {max:.1} |");
        }
        text
    }
}

/// The smallest value that `share` of the sorted values do not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn describe_machine() -> Outcome<String> {
    let processors = fs_err::read_to_string("/proc/cpuinfo")?;
    let n_cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory = field(&fs_err::read_to_string("/proc/meminfo")?, "MemTotal");
    let load = fs_err::read_to_string("/proc/loadavg")?;
    let model = field(&processors, "model name");
    Ok(format!("- Machine: {model}, {n_cores} cores, {memory}; load before: {load}"))
}

/// The value behind `name:` in a file of `/proc`.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
}

async fn describe_settings(args: &Args, target: &Target) -> Outcome<String> {
    let url = format!("http://{}/v1/collections/{}", target.server.address, args.collection);
    let collection = target.client.get(url).send().await?.error_for_status()?;
    let collection: Value = serde_json::from_slice(&collection.bytes().await?)?;
    let doctor = Command::new(BINARY).args(["--json", "doctor"]).output()?;
    // One object a line: settings, then checks.
    let lines = String::from_utf8(doctor.stdout)?;
    let lines: Vec<Value> = lines.lines().flat_map(serde_json::from_str).collect();
    let mut text = format!(
        "- Collection: {}, embedder {}\n- Asked: {} s a run after {} s of warming up, top_k {}, \
         max_rewrite_ms {}\n- Settings:",
        collection["counts"],
        collection["embedder"],
        args.seconds,
        WARM_UP.as_secs(),
        args.top_k,
        args.max_rewrite_ms,
    );
    for line in &lines {
        let name = line["setting"].as_str().unwrap_or_default();
        let is_of_interest = ["embedder.", "rewriter.", "reranker.", "retrieval.", "limits."]
            .iter()
            .any(|section| name.starts_with(section));
        if is_of_interest {
            let _ = write!(text, " {name}={}", line["value"]);
        }
    }
    text.push('\n');
    Ok(text)
}
