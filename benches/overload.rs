//! What happens to callers when there are too many of them, and when slow clients hold sockets:
//! starts the release binary on a data directory that `querent ingest` filled, and prints Markdown.
//!
//! `cargo bench --bench overload -- --data-dir DIR --collection docs`
//!
//! First, one caller at a time on an idle server, then requests at four times the measured
//! capacity, sent by the clock whether or not the earlier ones were answered. Then one caller at a
//! time again, alone and beside open streams and half-open sockets, in turns. The callers take a
//! share of the machine, so the times are on the safe side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BINARY: &str = env!("CARGO_BIN_EXE_querent");
const START_LIMIT: Duration = Duration::from_secs(300);
const QUESTIONS: &str = include_str!("load.json");
/// An answer that takes longer counts as none.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Measures a server that has too much to do.
#[derive(Debug, Parser)]
struct Args {
    /// Holds the collection.
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long, default_value = "docs")]
    collection: String,
    /// Length of the overload; the other runs take a quarter of it.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Times the capacity.
    #[arg(long, default_value_t = 4.0)]
    factor: f64,
    #[arg(long, default_value_t = 100)]
    streams: usize,
    #[arg(long, default_value_t = 2_000)]
    sockets: usize,
    /// Turns of the comparison beside streams and sockets.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// `cargo bench` gives it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    tokio::task::LocalSet::new().run_until(measure(args)).await
}

async fn measure(args: Args) -> Outcome<()> {
    let mut out = std::io::stdout();
    overload(&args, &mut out).await?;
    beside(&args, &mut out).await
}

/// Searches on a server with the settings that it has by default, idle, full and overrun.
async fn overload(args: &Args, out: &mut impl std::io::Write) -> Outcome<()> {
    let target = Rc::new(Target::new(args, Server::start(args, &[])?)?);
    let quarter = Duration::from_secs(args.seconds.div_ceil(4));
    target.closed(1, Duration::from_secs(3)).await;
    let idle = target.closed(1, quarter).await;
    let full = target.closed(4, quarter).await;
    let before = target.server.memory_kib()?;
    let rate = full.rate() * args.factor;
    let over = target.open(rate, Duration::from_secs(args.seconds)).await;
    let after = target.server.memory_kib()?;
    writeln!(
        out,
        "| searches | a second | admitted p50 | p99 | refused | p50 | p99 | max | no answer |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for (name, run) in [("1 caller", &idle), ("4 callers", &full), ("overload", &over)] {
        writeln!(out, "{}", run.row(name))?;
    }
    let ratio = quantile(&over.admitted, 0.99) / quantile(&idle.admitted, 0.99);
    writeln!(
        out,
        "\nAt {:.0} requests a second, {} times the capacity: admitted p99 is {ratio:.2} times the \
         idle one; memory {before} KiB before, {after} KiB after ({:+.1} %).",
        rate,
        args.factor,
        (after as f64 / before as f64 - 1.0) * 100.0
    )?;
    Ok(())
}

/// One caller at a time, alone and beside open streams and half-open sockets, in turns. Streams
/// stay open because they wait for a model that never answers, and each is an admitted request.
async fn beside(args: &Args, out: &mut impl std::io::Write) -> Outcome<()> {
    let silent = silent_model().await?;
    let settings = [
        ("QUERENT__REWRITER__URL", silent.as_str()),
        ("QUERENT__REWRITER__REMOTE_MODEL", "silent"),
        ("QUERENT__REWRITER__MAX_CONCURRENT", "1000"),
        ("QUERENT__LIMITS__MAX_CONCURRENT", "1000"),
    ];
    let target = Rc::new(Target::new(args, Server::start(args, &settings)?)?);
    let length = Duration::from_secs(args.seconds.div_ceil(4));
    target.closed(1, Duration::from_secs(3)).await;
    let mut ratios = Vec::new();
    for _ in 0..args.turns {
        let alone = target.closed(1, length).await;
        let held = hold(args, &target).await?;
        let crowded = target.closed(1, length).await;
        let [alone, crowded] = [alone, crowded].map(|run| quantile(&run.admitted, 0.99));
        ratios.push(crowded / alone);
        writeln!(
            out,
            "Beside {} open streams and {} half-open sockets: p99 {crowded:.1} ms, alone \
             {alone:.1} ms",
            held.streams.len(),
            held.sockets.len()
        )?;
    }
    ratios.sort_by(f64::total_cmp);
    writeln!(out, "Ratio of the two, least to most: {ratios:.3?}")?;
    let started = Instant::now();
    let held = hold(args, &target).await?;
    let ended = target.server.terminate()?;
    writeln!(
        out,
        "SIGTERM with {} open streams: {} after {:.1} s",
        held.streams.len(),
        if ended { "ended" } else { "still there" },
        started.elapsed().as_secs_f64()
    )?;
    Ok(())
}

struct Held {
    streams: Vec<reqwest::Response>,
    sockets: Vec<TcpStream>,
}

async fn hold(args: &Args, target: &Target) -> Outcome<Held> {
    let mut held = Held { streams: Vec::new(), sockets: Vec::new() };
    for serial in 0..args.streams {
        let body = json!({
            "query": format!("它的第{serial}项怎么用"), "mode": "always", "stream": true,
            "max_rewrite_ms": 60_000,
            "messages": [{"role": "user", "content": "客户画像是什么"}]
        });
        let request = target.client.post(target.url("/v1/rewrite")).json(&body);
        held.streams.push(request.send().await?.error_for_status()?);
    }
    for _ in 0..args.sockets {
        let mut socket = TcpStream::connect(&target.server.address).await?;
        socket.write_all(b"POST /v1/search HTTP/1.1\r\nhost: loc").await?;
        held.sockets.push(socket);
    }
    Ok(held)
}

/// A model that takes requests and never answers, so that streams stay open.
async fn silent_model() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::task::spawn_local(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    Ok(format!("http://{address}"))
}

/// The server under test; it ends with this value.
struct Server {
    process: RefCell<Child>,
    address: String,
}

impl Server {
    fn start(args: &Args, settings: &[(&str, &str)]) -> Outcome<Self> {
        let mut process = Command::new(BINARY)
            .args(["serve", "--dev", "--log-json", "--port", "0", "--data-dir"])
            .arg(&args.data_dir)
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = process.stderr.take().ok_or("the server has no stderr")?;
        let (sender, receiver) = channel();
        // Read to the end, or the server would stand still before a full pipe.
        std::thread::spawn(move || {
            let mut log = BufReader::new(log);
            for line in log.by_ref().lines().map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(found) = entry.pointer("/fields/address").and_then(Value::as_str) {
                    let _ = sender.send(found.to_owned());
                    break;
                }
            }
            let _ = std::io::copy(&mut log, &mut std::io::sink());
        });
        let address = receiver.recv_timeout(START_LIMIT).map_err(|_| "no server came up")?;
        Ok(Self { process: RefCell::new(process), address })
    }

    fn memory_kib(&self) -> Outcome<u64> {
        let path = format!("/proc/{}/status", self.process.borrow().id());
        let text = fs_err::read_to_string(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?.parse()?)
    }

    /// SIGTERM; whether the process has ended within ten seconds.
    fn terminate(&self) -> Outcome<bool> {
        let mut process = self.process.borrow_mut();
        Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if process.try_wait()?.is_some() {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut();
        // It may have ended by itself; there is nobody to tell.
        let _ = process.kill().and_then(|()| process.wait());
    }
}

struct Target {
    client: Client,
    server: Server,
    collection: String,
    queries: Vec<String>,
}

impl Target {
    fn new(args: &Args, server: Server) -> Outcome<Self> {
        let questions: Value = serde_json::from_str(QUESTIONS)?;
        Ok(Self {
            client: Client::builder().timeout(ANSWER_LIMIT).no_proxy().build()?,
            server,
            collection: args.collection.clone(),
            queries: serde_json::from_value(questions["queries"].clone())?,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address)
    }

    /// One search: its status, 0 for none, and milliseconds.
    async fn ask(&self, serial: usize) -> (u16, f64) {
        let query = &self.queries[serial % self.queries.len()];
        let body = json!({"query": query, "collection": self.collection, "mode": "never"});
        let started = Instant::now();
        let sent = self.client.post(self.url("/v1/search")).json(&body).send().await;
        let status = match sent {
            Ok(response) => {
                let status = response.status().as_u16();
                if response.bytes().await.is_ok() { status } else { 0 }
            }
            Err(_) => 0,
        };
        (status, started.elapsed().as_secs_f64() * 1e3)
    }

    /// Callers that ask one question after another.
    async fn closed(self: &Rc<Self>, callers: usize, length: Duration) -> Run {
        let run = RefCell::new(Run::default());
        let started = Instant::now();
        let caller = async |first: usize| {
            let mut serial = first;
            while started.elapsed() < length {
                let (status, ms) = self.ask(serial).await;
                run.borrow_mut().add(status, ms);
                serial += callers;
            }
        };
        futures::future::join_all((0..callers).map(caller)).await;
        run.into_inner().finish(started.elapsed())
    }

    /// Requests by the clock, answered or not.
    async fn open(self: &Rc<Self>, rate: f64, length: Duration) -> Run {
        let run = Rc::new(RefCell::new(Run::default()));
        let started = Instant::now();
        let mut asked = Vec::new();
        let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        while started.elapsed() < length {
            clock.tick().await;
            let (target, run, serial) = (Rc::clone(self), Rc::clone(&run), asked.len());
            asked.push(tokio::task::spawn_local(async move {
                let (status, ms) = target.ask(serial).await;
                run.borrow_mut().add(status, ms);
            }));
        }
        futures::future::join_all(asked).await;
        let all = std::mem::take(&mut *run.borrow_mut());
        all.finish(started.elapsed())
    }
}

#[derive(Default)]
struct Run {
    seconds: f64,
    /// Milliseconds.
    admitted: Vec<f64>,
    refused: Vec<f64>,
    others: BTreeMap<u16, usize>,
}

impl Run {
    fn add(&mut self, status: u16, ms: f64) {
        match status {
            200 => self.admitted.push(ms),
            429 | 503 => self.refused.push(ms),
            other => *self.others.entry(other).or_default() += 1,
        }
    }

    fn finish(mut self, length: Duration) -> Self {
        self.seconds = length.as_secs_f64();
        self.admitted.sort_by(f64::total_cmp);
        self.refused.sort_by(f64::total_cmp);
        self
    }

    /// Answers a second.
    fn rate(&self) -> f64 {
        self.admitted.len() as f64 / self.seconds.max(f64::EPSILON)
    }

    fn row(&self, name: &str) -> String {
        let [a50, a99] = [0.5, 0.99].map(|share| quantile(&self.admitted, share));
        let [r50, r99, most] = [0.5, 0.99, 1.0].map(|share| quantile(&self.refused, share));
        format!(
            "| {name} | {:.1} | {a50:.1} | {a99:.1} | {} | {r50:.1} | {r99:.1} | {most:.1} | {:?} |",
            self.rate(),
            self.refused.len(),
            self.others
        )
    }
}

/// The smallest value that `share` of the sorted values do not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
