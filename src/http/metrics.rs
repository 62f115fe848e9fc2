//! Metrics on a listener of their own, so that whoever may ask queries need not see them, and the
//! other way round. On a loopback address anybody of this machine may read; elsewhere a key with
//! the scope `metrics` is needed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::OPERATIONS;
use super::shed::Shed;
use super::{Controls, HttpSettings, layered, serve};
use crate::error::Result;
use crate::service::Services;
use crate::store::access::Scope;
use crate::telemetry::metrics;

/// Prometheus' text form.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Histograms are folded this often when nobody reads them.
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// Readers at one time; scrapers are few.
const MAX_CONNECTIONS: usize = 16;

/// Serves `/metrics` until `shutdown` ends; metrics are kept in order meanwhile.
///
/// # Errors
/// Those of [`serve::serve`], and of a listener that has no address.
pub async fn serve_metrics(
    listener: TcpListener,
    services: Arc<Services>,
    settings: &HttpSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let settings =
        HttpSettings { dev: is_loopback, max_connections: MAX_CONNECTIONS, ..settings.clone() };
    let router = router(services, &settings);
    let tidying = async {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            metrics::tidy();
        }
    };
    tokio::select! {
        served = serve::serve(listener, router, settings, shutdown) => served,
        () = tidying => Ok(()),
    }
}

fn router(services: Arc<Services>, settings: &HttpSettings) -> Router {
    let (routes, api) = OpenApiRouter::new().routes(routes!(get_metrics)).split_for_parts();
    let shed = Shed::new(&settings.limits, settings.max_body_bytes, false, &api);
    let controls = Controls::new(services.store(), services.journal(), shed, &api, settings);
    layered(routes.with_state(services), controls, settings)
}

/// Gives all metrics out.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = OPERATIONS,
    security(("key" = [Scope::Metrics])),
    responses((status = 200, description = "Prometheus' text form", body = String))
)]
async fn get_metrics(State(services): State<Arc<Services>>) -> Response {
    if let Err(error) = services.measure().await {
        tracing::warn!(error = %error, "the backlog is not measured");
    }
    ([(CONTENT_TYPE, MEDIA_TYPE)], metrics::render()).into_response()
}
