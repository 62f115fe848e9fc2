//! The command line: roles as subcommands, one file a role. Data to stdout, logs to stderr.

mod ask;
mod audit;
mod collection;
mod data;
mod demo;
mod doctor;
mod eval;
mod fisher;
mod health;
mod ingest;
mod keys;
mod migrate;
mod models;
mod output;
mod parse_document;
mod progress;
mod serve;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::TenantId;
use crate::telemetry::traces::TraceSettings;

/// Turns the ambiguous queries of a chat into faithful questions and ranked passages.
#[derive(Debug, Parser)]
#[command(name = "querent", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    role: Role,
}

/// What every role understands.
#[derive(Debug, Args)]
pub struct Global {
    /// Settings file; `querent.toml` of the working directory by default.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the index lives, and the database unless [database] url names one; [data] dir.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The tenant that a local role acts for.
    #[arg(long, global = true, default_value = "default")]
    tenant: String,
    /// One JSON object a line instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Logs as JSON.
    #[arg(long, global = true)]
    pub log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Serve HTTP.
    Serve(serve::ServeArgs),
    /// Ingest the sample corpus, ask twelve ambiguous questions, then serve.
    Demo(demo::DemoArgs),
    /// Rewrite one query.
    Rewrite(ask::RewriteArgs),
    /// Rewrite one query and search a collection.
    Search(ask::SearchArgs),
    /// Put files, folders or NDJSON documents into a collection.
    Ingest(ingest::IngestArgs),
    /// API keys.
    #[command(subcommand)]
    Keys(keys::KeysRole),
    /// Print refused and administrative calls, newest first.
    Audit(audit::AuditArgs),
    /// Local models.
    #[command(subcommand)]
    Models(models::ModelsRole),
    /// Train a rewriter or an embedder.
    Train(Box<train::TrainArgs>),
    /// Make training data.
    #[command(subcommand)]
    Data(data::DataRole),
    /// Measure which weights of a model its old data need, for elastic weight consolidation.
    Fisher(fisher::FisherArgs),
    /// Score a rewriter and an embedder on a suite, compare runs, and judge a candidate.
    Eval(Box<eval::EvalArgs>),
    /// Bring the database to this version's schema.
    Migrate,
    /// Print the OpenAPI document.
    Openapi,
    /// Print each setting with where it came from, and check that a server can run with them.
    Doctor,
    /// Ask a server whether it is ready; the one of the settings by default.
    Health { url: Option<String> },
    /// Read one document, confined. The program calls itself this way.
    #[command(hide = true)]
    ParseDocument(parse_document::ParseDocumentArgs),
}

impl Cli {
    /// Where the traces of a role that serves go. Settings that do not load send none anywhere;
    /// the role says what is wrong with them.
    pub fn traces(&self) -> TraceSettings {
        let serves = matches!(self.role, Role::Serve(_) | Role::Demo(_));
        match self.global.load_config() {
            Ok(Config { telemetry, .. }) if serves => TraceSettings {
                endpoint: telemetry.otlp_endpoint,
                headers: telemetry.otlp_headers,
                sampling_ratio: telemetry.sampling_ratio,
            },
            _ => TraceSettings::default(),
        }
    }
}

impl Global {
    /// The settings with the flags on top.
    fn load_config(&self) -> Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(dir) = &self.data_dir {
            config.data.dir.clone_from(dir);
        }
        Ok(config)
    }

    fn tenant(&self) -> Result<TenantId> {
        TenantId::new(self.tenant.as_str())
    }
}

/// Runs a role that has the process for itself: no logs, no settings and no other thread. None
/// when another role was asked for.
pub fn run_alone(cli: &Cli) -> Option<ExitCode> {
    match &cli.role {
        Role::ParseDocument(args) => Some(parse_document::run(args)),
        _ => None,
    }
}

/// Runs the role that was asked for.
pub async fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    let config = global.load_config()?;
    match cli.role {
        Role::Serve(args) => serve::run(config, args).await,
        Role::Demo(args) => demo::run(config, global, args).await,
        Role::Rewrite(args) => ask::rewrite(config, global, args).await,
        Role::Search(args) => ask::search(config, global, args).await,
        Role::Ingest(args) => ingest::run(config, global, args).await,
        Role::Keys(role) => keys::run(&config, global, role).await,
        Role::Audit(args) => audit::run(&config, global, args).await,
        Role::Models(role) => models::run(&config, global, role).await,
        Role::Train(args) => train::run(config, global, *args).await,
        Role::Data(role) => data::run(config, global, role).await,
        Role::Fisher(args) => fisher::run(global, args).await,
        Role::Eval(args) => eval::run(config, global, *args).await,
        Role::Migrate => migrate::run(&config, global).await,
        Role::Openapi => output::line(&crate::http::openapi().to_pretty_json()?),
        Role::Doctor => doctor::run(config, global).await,
        Role::Health { url } => health::run(&config, url).await,
        Role::ParseDocument(_) => Err(Error::internal("this role needs a process of its own")),
    }
}

/// Starts the app, runs `work`, and shuts down whatever came of it.
async fn with_app<T>(config: Config, work: impl AsyncFnOnce(&App) -> Result<T>) -> Result<T> {
    let app = App::start(config).await?;
    let result = work(&app).await;
    app.shutdown().await;
    result
}
