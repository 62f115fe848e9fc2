//! A real server for tests: the program itself, in a data directory of its own, asked over HTTP.

pub mod postgres;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

use postgres::Schema;

/// For a server to start, or a task to end, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(10);
const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models");

/// A data directory for one test, and a schema when its database is PostgreSQL's.
pub struct DataDir {
    dir: TempDir,
    pub schema: Option<Schema>,
}

impl DataDir {
    /// With the database in a file in it.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), schema: None }
    }

    /// With the database on PostgreSQL; none where there is no server for tests.
    pub async fn on_postgres() -> Option<Self> {
        let schema = Schema::create().await?;
        let dir = Self { schema: Some(schema), ..Self::new() };
        dir.use_database(&dir.schema.as_ref()?.url());
        Some(dir)
    }

    /// Names the database in the settings that lie in the directory, where the program reads
    /// them: it is started there.
    pub fn use_database(&self, url: &str) {
        let settings = format!("[database]\nurl = '{url}'\n");
        std::fs::write(self.path().join("querent.toml"), settings).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The program with a data directory, and with no setting of whoever runs the tests.
pub fn querent(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_querent"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QUERENT") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("QUERENT__MODELS__DIR", MODELS);
    command.current_dir(data_dir).arg("--data-dir").arg(data_dir);
    command
}

/// What the program prints; it must succeed.
pub fn run(data_dir: &Path, arguments: &[&str]) -> String {
    let output = querent(data_dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a key of a tenant and gives its secret.
pub fn create_key(data_dir: &Path, tenant: &str, scopes: &str, expires: Option<&str>) -> String {
    let mut arguments = vec!["--tenant", tenant, "keys", "create", "--scope", scopes];
    arguments.extend(expires.into_iter().flat_map(|moment| ["--expires", moment]));
    run(data_dir, &arguments).trim().to_owned()
}

/// A running server; it is killed when it is dropped.
pub struct Server {
    process: Child,
    log: Arc<Mutex<String>>,
    /// Asks without a key.
    pub caller: Caller,
}

/// Asks a server, with a key or without one.
#[derive(Clone)]
pub struct Caller {
    client: reqwest::Client,
    url: String,
    key: Option<String>,
}

/// What came back. That it is what every answer has to be has been checked.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null when there is none.
    pub body: Value,
}

impl Server {
    /// Starts `serve --dev`.
    pub async fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &["--dev"], &[]).await
    }

    /// Starts `serve` with flags and environment variables and waits until it is ready.
    pub async fn start_with(data_dir: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let server = Self::launch(data_dir, flags, variables);
        let ready = server.caller.get("/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        server
    }

    /// Starts `serve` and waits until it listens, ready or not.
    pub fn launch(data_dir: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = querent(data_dir)
            .args(["serve", "--port", "0"])
            .args(flags)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = process.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let _ = found.send(rest.split([' ', '"']).next().unwrap().to_owned());
                }
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        let caller = Caller { client, url: String::new(), key: None };
        let mut server = Self { process, log, caller };
        let address = address.recv_timeout(PATIENCE);
        server.caller.url = address.unwrap_or_else(|_| panic!("no address in {}", server.log()));
        server
    }

    /// A caller with a key.
    pub fn with_key(&self, key: &str) -> Caller {
        Caller { key: Some(key.to_owned()), ..self.caller.clone() }
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `kill -9`, whatever it is at.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM, and the wait for the end; none when it takes longer than `limit`.
    pub fn terminate(mut self, limit: Duration) -> Option<ExitStatus> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

impl Caller {
    /// A request to be filled in, for what the methods below cannot say.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    /// Makes a collection.
    pub async fn make(&self, collection: &str) {
        let path = format!("/v1/collections/{collection}");
        let answer = send(self.request(Method::PUT, &path)).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
    }

    /// Uploads documents and waits until they are searchable.
    pub async fn ingest(&self, collection: &str, documents: Value) {
        let path = format!("/v1/collections/{collection}/documents");
        let accepted = self.post(&path, &serde_json::json!({ "documents": documents })).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        let task = self.wait_for(accepted.body["task"].as_str().unwrap()).await;
        assert_eq!(task["status"], "succeeded", "{task}");
    }

    /// A task, once it has ended.
    pub async fn wait_for(&self, task: &str) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get(&format!("/v1/tasks/{task}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            if !["queued", "running"].contains(&answer.body["status"].as_str().unwrap()) {
                return answer.body;
            }
            assert!(started.elapsed() < PATIENCE, "{answer:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Sends a request. Every answer, a refusal too, carries its request id and its timings; every
/// refusal is a problem document, or on a drop-in route what its owner defines; no request at all
/// makes the server fail.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let path = response.url().path().to_owned();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let answer = Answer { status, headers, body };
    assert!(status < 500, "{answer:?}");
    assert!(answer.header("server-timing").contains("total;dur="), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
    if status >= 400 {
        check_refusal(&path, &answer);
    }
    answer
}

fn check_refusal(path: &str, answer: &Answer) {
    let below = |root: &&str| path == *root || path.starts_with(&format!("{root}/"));
    let (body, mut media_type) = (&answer.body, "application/json");
    if ["/v1/embeddings", "/v1/models"].iter().any(&below) {
        let members: Vec<&String> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["message", "type", "param", "code"], "{answer:?}");
    } else if below(&"/v2/rerank") {
        assert_eq!(body["id"], answer.header("x-request-id"), "{answer:?}");
        assert!(body["message"].is_string(), "{answer:?}");
    } else if ["/embed", "/rerank", "/info"].iter().any(below) {
        assert!(body["error"].is_string() && body["error_type"].is_string(), "{answer:?}");
    } else {
        media_type = "application/problem+json";
        assert_eq!(body["status"], answer.status, "{answer:?}");
        assert_eq!(body["request_id"], answer.header("x-request-id"), "{answer:?}");
        for member in ["type", "title", "detail", "instance", "code"] {
            assert!(body[member].is_string(), "no {member}: {answer:?}");
        }
    }
    assert_eq!(answer.header("content-type"), media_type, "{answer:?}");
}

impl Answer {
    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What a refusal says, in whichever shape.
    pub fn detail(&self) -> &str {
        let body = &self.body;
        let texts = [&body["detail"], &body["message"], &body["error"]["message"], &body["error"]];
        texts.into_iter().find_map(Value::as_str).unwrap()
    }

    /// The fields that a refusal names.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}
