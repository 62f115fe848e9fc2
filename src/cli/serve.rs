//! `querent serve`.

use std::net::IpAddr;

use clap::Args;
use tokio::net::TcpListener;

use super::with_app;
use crate::config::{Config, MetricsConfig};
use crate::error::{Error, Result};
use crate::http::{self, HttpSettings};
use crate::service::Services;
use crate::telemetry;
use std::sync::Arc;

/// Where to listen.
#[derive(Debug, Args)]
pub struct Address {
    /// [http] host.
    #[arg(long)]
    host: Option<String>,
    /// [http] port; 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,
}

impl Address {
    pub fn apply(&self, config: &mut Config) {
        if let Some(host) = &self.host {
            config.http.host.clone_from(host);
        }
        if let Some(port) = self.port {
            config.http.port = port;
        }
    }
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Ask for no key. Loopback only.
    #[arg(long)]
    dev: bool,
    #[command(flatten)]
    address: Address,
}

pub async fn run(mut config: Config, args: ServeArgs) -> Result<()> {
    args.address.apply(&mut config);
    if args.dev {
        check_loopback(&config.http.host)?;
    }
    with_app(config, async |app| until_stopped(&app.services, args.dev).await).await
}

/// Listens until SIGINT or SIGTERM.
pub async fn until_stopped(services: &Arc<Services>, dev: bool) -> Result<()> {
    let settings = &services.config().http;
    if dev {
        check_loopback(&settings.host)?;
    }
    let (api_stopped, metrics_stopped) = (stopped(), stopped());
    let of_metrics = metrics_listener(&services.config().metrics).await?;
    let listener = listen("http", &settings.host, settings.port).await?;
    let address = listener.local_addr()?;
    // A socket is a file: the usual limit of 1,024 is less than what is meant to be held open.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    tracing::info!(%address, "listening on http://{address}");
    if dev {
        tracing::warn!("--dev: every caller may do everything; no key is asked for");
    }
    let settings = HttpSettings::new(services.config(), dev);
    let router = http::router(Arc::clone(services), settings.clone());
    let metrics = async {
        match of_metrics {
            None => Ok(()),
            Some(listener) => {
                let services = Arc::clone(services);
                http::metrics::serve_metrics(listener, services, &settings, metrics_stopped).await
            }
        }
    };
    let api = http::serve::serve(listener, router, settings.clone(), api_stopped);
    tokio::try_join!(api, metrics).map(|_| ())
}

/// The listener of the metrics and the counting itself, when they are wanted.
async fn metrics_listener(settings: &MetricsConfig) -> Result<Option<TcpListener>> {
    if settings.port == 0 {
        return Ok(None);
    }
    telemetry::metrics::install()?;
    let listener = listen("metrics", &settings.host, settings.port).await?;
    tracing::info!(address = %listener.local_addr()?, "metrics at /metrics");
    Ok(Some(listener))
}

/// A listener, or an error that names the setting that asked for it.
async fn listen(section: &str, host: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((host, port))
        .await
        .map_err(|error| Error::failed(&format!("listen on {host}:{port} ([{section}])"), error))
}

/// Without keys only this machine may call.
fn check_loopback(host: &str) -> Result<()> {
    let loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if loopback {
        return Ok(());
    }
    Err(Error::invalid(
        "dev_address",
        format!("--dev asks for no key and is refused on {host}; use 127.0.0.1, or make keys"),
    ))
}

/// Resolves when the process is asked to stop. From this call on such a request is waited for,
/// and no longer ends the process at once: a server has to call it before it listens.
fn stopped() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
