//! Settings, one struct a concern: built-in defaults < `querent.toml` < `QUERENT__SECTION__KEY`
//! < flags. Unknown keys are errors, so that a misspelt setting never passes in silence.

pub mod database;
pub mod origin;
mod secret;
mod vectors;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::database::DatabaseConfig;
pub use self::secret::Secret;
pub use self::vectors::{Quantization, VectorsConfig};
use crate::error::{Error, Result};

/// Prefix of the environment variables; sections and keys are parted by two underscores.
const ENVIRONMENT_PREFIX: &str = "QUERENT";
/// Read from the working directory when no other file is named.
const DEFAULT_FILE: &str = "querent.toml";

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data: DataConfig,
    pub database: DatabaseConfig,
    pub http: HttpConfig,
    pub limits: LimitsConfig,
    pub models: ModelsConfig,
    pub rewriter: RewriterConfig,
    pub embedder: EmbedderConfig,
    pub reranker: RerankerConfig,
    pub retrieval: RetrievalConfig,
    pub ingest: IngestConfig,
    pub log: LogConfig,
    pub feedback: FeedbackConfig,
    pub metrics: MetricsConfig,
    pub telemetry: TelemetryConfig,
    pub audit: AuditConfig,
    pub vectors: VectorsConfig,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Where the index lives, and the database when `[database] url` is empty.
    pub dir: PathBuf,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    pub host: String,
    pub port: u16,
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Largest answer; one in pieces is broken off there.
    pub max_response_bytes: usize,
    /// Longest time for a whole request.
    pub request_timeout_ms: u64,
    /// Longest time for the request's head to arrive.
    pub header_timeout_ms: u64,
    /// Longest time for a client to take nothing more of its answer.
    pub write_timeout_ms: u64,
    pub max_connections: usize,
}

/// `[limits]`: what is refused when there is too much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests in a minute of a key without a rate of its own, which it may also make at once;
    /// 0 is none.
    pub key_rate_per_minute: u32,
    /// Requests at one time of a key without a limit of its own; 0 is none.
    pub key_max_concurrent: u32,
    /// Streams of events that are open at a time.
    pub max_streams: usize,
    /// Requests that compute at a time; 0: twice the number of cores, and 32 times with
    /// `[rewriter] url`.
    pub max_concurrent: usize,
    /// Tokens of the requests that compute, estimated from the length of their bodies.
    pub max_tokens_in_flight: usize,
    /// Room for all bodies together.
    pub max_body_mib_in_flight: usize,
    /// How long a request may wait to be admitted.
    pub queue_ms: u64,
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsConfig {
    /// One folder a model. The starters that are built in are used where it lacks them.
    pub dir: PathBuf,
}

/// `[rewriter]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewriterConfig {
    /// A name in `[models] dir`, a path, or a pulled `ORG/NAME[@rev]`; empty for none.
    pub model: String,
    /// An OpenAI-compatible server that rewrites instead of `model`, with or without `/v1`; empty
    /// for none.
    pub url: String,
    /// Sent to that server as a bearer token; empty for none.
    pub api_key: Secret,
    /// The model's name at that server.
    pub remote_model: String,
    /// History given to that server, in tokens by a rough estimate.
    pub context_tokens: usize,
    /// Requests to that server at once; one more is answered without it.
    pub max_concurrent: usize,
    /// Answers kept; 0 keeps none.
    pub cache_entries: u64,
    pub cache_seconds: u64,
}

/// `[embedder]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderConfig {
    pub model: String,
    /// Leading dimensions kept (Matryoshka); none keeps all.
    pub dimension: Option<usize>,
}

/// A century: more would leave the calendar.
const MAX_RETENTION_DAYS: u32 = 36_500;

/// `[reranker]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankerConfig {
    /// A Qwen3-Reranker's name or path; empty for none.
    pub model: String,
    /// Passages given to it.
    pub candidates: usize,
}

/// `[retrieval]`: the weights of reciprocal rank fusion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalConfig {
    /// The constant of reciprocal rank fusion.
    pub rrf_k: f32,
    pub dense_weight: f32,
    pub sparse_weight: f32,
    /// Weight of the query as it was asked, beside a rewrite.
    pub raw_weight: f32,
    /// Passages taken from each list.
    pub candidates: usize,
    /// Most passages of one document among the results.
    pub per_document: usize,
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// Longest chunk, in tokens of the embedder.
    pub chunk_tokens: usize,
    /// Neighbouring sections shorter than this are joined.
    pub min_chunk_tokens: usize,
    pub overlap_tokens: usize,
    pub max_document_bytes: usize,
    /// Documents read at once, each in a process of its own where the format is not trusted.
    pub parsers: usize,
    /// Most memory of such a process, beyond what it starts with.
    pub parser_memory_bytes: u64,
    /// Most computing time of such a process.
    pub parser_cpu_seconds: u64,
}

/// `[log]`: what is kept of questions and answers in the database. The log on stderr never holds
/// a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub queries: QueryLog,
    /// Days until a kept request is deleted, unless there is feedback on it.
    pub retention_days: u32,
}

/// How much of every request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryLog {
    /// Nothing.
    Off,
    /// Ids, counts and salted hashes of the texts.
    Hashed,
    Plain,
}

/// `[feedback]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackConfig {
    /// Whether the request that feedback is about is kept with it, in plain text: what training
    /// learns from.
    pub keep_request: bool,
    /// Minutes after an answer within which feedback on it is taken, where requests are not kept.
    pub window_minutes: u32,
    /// Days until feedback is deleted; 0 keeps it.
    pub retention_days: u32,
}

/// `[metrics]`: Prometheus' metrics, on a listener of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// On an address that is not loopback, a key with the scope `metrics` is asked for.
    pub host: String,
    /// 0 for no metrics; 9464 is what exporters use.
    pub port: u16,
}

/// `[telemetry]`: traces.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// A collector that takes OTLP over HTTP, such as `http://localhost:4318`; empty for none.
    pub otlp_endpoint: String,
    /// `name=value`, parted by commas, sent with every batch. Secret.
    pub otlp_headers: String,
    /// Share of the traces that begin here and are kept, 0 to 1.
    pub sampling_ratio: f64,
}

impl std::fmt::Debug for TelemetryConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("TelemetryConfig");
        shown.field("sampling_ratio", &self.sampling_ratio).finish_non_exhaustive()
    }
}

/// `[audit]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// How long rows are kept.
    pub days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: DataConfig { dir: "querent-data".into() },
            database: DatabaseConfig::default(),
            http: HttpConfig {
                host: "127.0.0.1".into(),
                port: 8080,
                max_body_bytes: 16 * 1024 * 1024,
                max_response_bytes: 64 * 1024 * 1024,
                request_timeout_ms: 30_000,
                header_timeout_ms: 10_000,
                write_timeout_ms: 30_000,
                max_connections: 8_192,
            },
            limits: LimitsConfig {
                key_rate_per_minute: 0,
                key_max_concurrent: 0,
                max_streams: 1_000,
                max_concurrent: 0,
                max_tokens_in_flight: 65_536,
                max_body_mib_in_flight: 256,
                queue_ms: 20,
            },
            models: ModelsConfig { dir: "models".into() },
            rewriter: RewriterConfig {
                model: "starter-rewriter".into(),
                url: String::new(),
                api_key: Secret::default(),
                remote_model: String::new(),
                context_tokens: 2_048,
                max_concurrent: 64,
                cache_entries: 10_000,
                cache_seconds: 600,
            },
            embedder: EmbedderConfig { model: "starter-embedder".into(), dimension: None },
            reranker: RerankerConfig { model: String::new(), candidates: 20 },
            // Set on the demo's twelve questions only: BM25 leads because the starter embedder is weak.
            retrieval: RetrievalConfig {
                rrf_k: 20.0,
                dense_weight: 0.2,
                sparse_weight: 1.0,
                raw_weight: 0.25,
                candidates: 50,
                per_document: 3,
            },
            ingest: IngestConfig {
                chunk_tokens: 512,
                min_chunk_tokens: 96,
                overlap_tokens: 0,
                max_document_bytes: 8 * 1024 * 1024,
                parsers: 2,
                parser_memory_bytes: 512 * 1024 * 1024,
                parser_cpu_seconds: 20,
            },
            log: LogConfig { queries: QueryLog::Off, retention_days: 30 },
            feedback: FeedbackConfig { keep_request: true, window_minutes: 60, retention_days: 0 },
            // Off: two servers on one machine would want the same port.
            metrics: MetricsConfig { host: "127.0.0.1".into(), port: 0 },
            telemetry: TelemetryConfig {
                otlp_endpoint: String::new(),
                otlp_headers: String::new(),
                sampling_ratio: 1.0,
            },
            audit: AuditConfig { days: 90 },
            vectors: VectorsConfig::default(),
        }
    }
}

impl Config {
    /// Reads all layers below the flags; `file` must exist when it is named.
    ///
    /// # Errors
    /// `config` with the key and its place.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        let config: Self = Self::layers(file)?.try_deserialize().map_err(unusable)?;
        config.checked()
    }

    /// The layers below the flags, each value with where it came from.
    fn layers(file: Option<&Path>) -> Result<config::Config> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let builder = config::Config::builder()
            .add_source(config::Config::try_from(&Self::default()).map_err(unusable)?)
            .add_source(
                config::File::from(path).format(config::FileFormat::Toml).required(file.is_some()),
            )
            .add_source(
                config::Environment::with_prefix(ENVIRONMENT_PREFIX)
                    .prefix_separator("__")
                    .separator("__")
                    .try_parsing(true),
            );
        builder.build().map_err(unusable)
    }

    /// The settings themselves when their values make sense together.
    pub fn checked(self) -> Result<Self> {
        self.database.url.check()?;
        let retrieval = &self.retrieval;
        for (key, value) in [
            ("rrf_k", retrieval.rrf_k),
            ("dense_weight", retrieval.dense_weight),
            ("sparse_weight", retrieval.sparse_weight),
            ("raw_weight", retrieval.raw_weight),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(unusable(format!("[retrieval] {key} = {value} must not be negative")));
            }
        }
        if self.ingest.chunk_tokens < 16 || self.ingest.min_chunk_tokens > self.ingest.chunk_tokens
        {
            return Err(unusable(
                "[ingest] chunk_tokens must be at least 16 and min_chunk_tokens not above it",
            ));
        }
        let ingest = &self.ingest;
        if ingest.parsers == 0 || ingest.parser_memory_bytes == 0 || ingest.parser_cpu_seconds == 0
        {
            return Err(unusable(
                "[ingest] parsers, parser_memory_bytes and parser_cpu_seconds must be above 0",
            ));
        }
        if self.log.retention_days.max(self.feedback.retention_days) > MAX_RETENTION_DAYS {
            return Err(unusable(format!(
                "[log] and [feedback] retention_days must be at most {MAX_RETENTION_DAYS}; 0 keeps \
                 feedback for ever"
            )));
        }
        let http = &self.http;
        if [http.max_body_bytes, http.max_response_bytes, http.max_connections].contains(&0) {
            return Err(unusable(
                "[http] max_body_bytes, max_response_bytes and max_connections must be above 0",
            ));
        }
        self.rewriter.check()?;
        if !(0.0..=1.0).contains(&self.telemetry.sampling_ratio) {
            return Err(unusable("[telemetry] sampling_ratio must be between 0 and 1"));
        }
        self.vectors.check().map_err(unusable)?;
        Ok(self)
    }
}

impl RewriterConfig {
    fn check(&self) -> Result<()> {
        if self.url.is_empty() {
            return Ok(());
        }
        if self.remote_model.is_empty() {
            return Err(unusable("[rewriter] url needs remote_model, the model's name there"));
        }
        if self.max_concurrent == 0 {
            return Err(unusable("[rewriter] max_concurrent must be above 0"));
        }
        Ok(())
    }
}

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::invalid("config", format!("the settings cannot be used: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("querent.toml");
        std::fs::write(&path, toml).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn a_file_overrides_defaults_key_by_key() {
        let config = load("[http]\nport = 9000\n[embedder]\ndimension = 128\n").unwrap();
        assert_eq!((config.http.port, config.embedder.dimension), (9000, Some(128)));
        assert_eq!(config.http.host, "127.0.0.1");
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_named() {
        for (toml, named) in [
            ("[http]\nprot = 1\n", "prot"),
            ("[retrieval]\nraw_weight = -1.0\n", "raw_weight"),
            ("[ingest]\nchunk_tokens = 3\n", "chunk_tokens"),
            ("[ingest]\nparsers = 0\n", "parsers"),
            ("[http]\nport = 'x'\n", "port"),
            ("[database]\nurl = 'mysql://db/q'\n", "mysql://db/q"),
            ("[rewriter]\nurl = 'http://127.0.0.1:1'\n", "remote_model"),
            ("[vectors]\nshards = 0\n", "shards"),
            ("[vectors]\nquantization = 'ternary'\n", "ternary"),
        ] {
            let error = load(toml).unwrap_err();
            assert!(error.to_string().contains(named), "{toml}: {error}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        assert!(Config::load(Some(Path::new("/nowhere/querent.toml"))).is_err());
    }
}
