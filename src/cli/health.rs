//! `querent health`: whether a server is ready, for images that have no other client in them.

use std::net::IpAddr;
use std::time::Duration;

use super::output;
use crate::config::{Config, HttpConfig};
use crate::error::{Error, Kind, Result};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks a server whether it is ready; the one of the settings when no address is given.
///
/// # Errors
/// `not_healthy` when it is not ready, or does not answer.
pub async fn run(config: &Config, url: Option<String>) -> Result<()> {
    let url = url.unwrap_or_else(|| default_url(&config.http));
    let unhealthy = |what: String| Error::new(Kind::Unavailable, "not_healthy", what);
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
    let client = client.map_err(|error| Error::failed("make a client", error))?;
    let answer = client.get(&url).send().await.map_err(|error| {
        unhealthy("the server does not answer".to_owned()).caused_by(error.without_url())
    })?;
    let status = answer.status();
    if status.is_success() {
        return output::line("ready");
    }
    Err(unhealthy(format!("the server answers with status {}", status.as_u16())))
}

/// Readiness at the address that the server of these settings listens on.
fn default_url(http: &HttpConfig) -> String {
    // A server that listens on all addresses is asked on this machine's own.
    let host = match http.host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => "localhost".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => http.host.clone(),
    };
    format!("http://{host}:{}/readyz", http.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_address_of_the_settings() {
        let url = |host: &str| {
            let mut http = Config::default().http;
            http.host = host.to_owned();
            default_url(&http)
        };
        assert_eq!(url("0.0.0.0"), "http://localhost:8080/readyz");
        assert_eq!(url("::"), "http://localhost:8080/readyz");
        assert_eq!(url("::1"), "http://[::1]:8080/readyz");
        assert_eq!(url("querent.example"), "http://querent.example:8080/readyz");
    }
}
