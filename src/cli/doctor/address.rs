//! The check that other servers can be reached: every setting that names an address.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{Check, Status};
use crate::config::origin::shown;

const TIMEOUT: Duration = Duration::from_secs(3);
/// Sections without whose server nothing can be answered.
const NEEDED: [&str; 2] = ["database", "vectors"];

/// Tries to connect. None for an address that names no server.
pub async fn reachable(key: &str, url: &str) -> Option<Check> {
    let place = match place(url) {
        Place::Local => return None,
        Place::Unreadable => {
            let advice = "write it as scheme://host:port";
            return Some(Check::fail(key, "the address has no host, or no port", advice));
        }
        Place::Remote(host, port) => (host, port),
    };
    let address = shown(key, &url.into());
    let address = address.as_str().unwrap_or_default();
    let problem = match tokio::time::timeout(TIMEOUT, TcpStream::connect(place)).await {
        Ok(Ok(_)) => return Some(Check::ok(key, format!("{address} takes connections"))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
    };
    let section = key.split('.').next().unwrap_or_default();
    let status = if NEEDED.contains(&section) { Status::Fail } else { Status::Warn };
    let advice = "see that the server there runs and that this machine may reach it";
    Some(Check::new(key, status, format!("{address}: {problem}"), advice))
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Remote(String, u16),
    /// A file.
    Local,
    Unreadable,
}

/// Host and port of an address; the port of its scheme when it names none.
fn place(url: &str) -> Place {
    let Some((scheme, rest)) = url.split_once("://") else {
        return if url.starts_with("sqlite:") { Place::Local } else { Place::Unreadable };
    };
    let default_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "postgres" | "postgresql" => Some(5432),
        "sqlite" | "file" => return Place::Local,
        _ => None,
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // The colons of an IPv6 address stand in brackets.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, default_port),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    match port {
        Some(port) if !name.is_empty() => Place::Remote(name.to_owned(), port),
        _ => Place::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read() {
        for (url, host, port) in [
            ("http://qdrant:6334", "qdrant", 6334),
            ("https://a.example/v1?x=y", "a.example", 443),
            ("postgres://me:p/a@ss@db/querent", "db", 5432),
            ("http://[::1]:8000/v1", "::1", 8000),
            ("http://[::1]", "::1", 80),
        ] {
            assert_eq!(place(url), Place::Remote(host.into(), port), "{url}");
        }
        for (url, expected) in [
            ("sqlite://querent.db", Place::Local),
            ("sqlite::memory:", Place::Local),
            ("qdrant:6334", Place::Unreadable),
            ("http://:80", Place::Unreadable),
            ("http://a:port", Place::Unreadable),
            ("grpc://a", Place::Unreadable),
        ] {
            assert_eq!(place(url), expected, "{url}");
        }
    }
}
