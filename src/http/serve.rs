//! The accept loop. `axum::serve` of 0.8 has no deadline for a request's head or for the taking of
//! an answer and no limit on connections, so a few slow clients could hold the server.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::HttpSettings;
use super::outgoing::TimedWrites;
use super::problem::{MEDIA_TYPE, Problem};
use crate::error::{Error, Kind, Result};
use crate::store::new_id;
use crate::telemetry::metrics;

/// Pauses after an error of the whole listener, such as too many open files.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Clients over the limit that are told so at one time; the others are just cut off.
const MAX_REFUSALS: usize = 64;
/// For a refused client to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// More than any machine of ours can hold open.
const MAX_CONNECTIONS: usize = 1_000_000;
/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Where the server stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Open requests are ended, and no new ones taken.
    Draining,
    /// Time is up.
    Closing,
}

/// Serves until `shutdown` ends; then no connection is accepted any more, idle ones are closed,
/// and open requests have `settings.drain_timeout` to end.
///
/// # Errors
/// None at present: what goes wrong with one connection ends that connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: HttpSettings,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (phase, watched) = watch::channel(Phase::Serving);
    let n_connections = settings.max_connections.clamp(1, MAX_CONNECTIONS);
    let server = Server {
        n_connections,
        connections: Arc::new(Semaphore::new(n_connections)),
        refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        router,
        header_timeout: settings.header_timeout,
        write_timeout: settings.write_timeout,
        phase: watched,
    };
    tokio::select! {
        () = shutdown => {}
        () = server.accept(&listener) => {}
    }
    drop(listener);
    phase.send_replace(Phase::Draining);
    server.drain(settings.drain_timeout).await;
    phase.send_replace(Phase::Closing);
    Ok(())
}

struct Server {
    n_connections: usize,
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    router: Router,
    header_timeout: Duration,
    write_timeout: Duration,
    phase: watch::Receiver<Phase>,
}

impl Server {
    /// Accepts connections for ever. Errors of the listener itself, such as too many open files,
    /// pass by themselves, so it pauses and tries again.
    async fn accept(&self, listener: &TcpListener) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    backoff = MIN_BACKOFF;
                    self.admit(stream);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept connections");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Starts a connection, or refuses it when there are too many.
    fn admit(&self, stream: TcpStream) {
        // Without it, Nagle's algorithm holds the end of an answer back for up to 40 ms.
        let _ = stream.set_nodelay(true);
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            let (router, phase) = (self.router.clone(), self.phase.clone());
            let stream = TimedWrites::new(stream, self.write_timeout);
            tokio::spawn(connect(stream, router, self.header_timeout, phase, permit));
            return;
        }
        metrics::refused(503, "too_many_connections");
        if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                drop(permit);
            });
        }
    }

    /// Waits until every connection has given its permit back.
    async fn drain(&self, limit: Duration) {
        let n_connections = u32::try_from(self.n_connections).unwrap_or(u32::MAX);
        let all = self.connections.acquire_many(n_connections);
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("closing connections whose requests did not end in time");
        }
    }
}

/// Serves one connection to its end, holding its permit.
async fn connect(
    stream: TimedWrites<TcpStream>,
    router: Router,
    header_timeout: Duration,
    mut phase: watch::Receiver<Phase>,
    _permit: OwnedSemaphorePermit,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // A client that breaks off or sends no HTTP is no event of ours, so results are dropped.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase >= Phase::Draining) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
}

/// Tells a client that there are too many, and reads what it sends until it has read that:
/// closing a socket with unread bytes in it would throw the answer away.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    let error = Error::new(
        Kind::Unavailable,
        "too_many_connections",
        "The server has as many connections as `[http] max_connections` allows; come back soon.",
    );
    let request_id = new_id("req");
    let body = serde_json::to_string(&Problem::from(error).details(&request_id, ""))?;
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\nretry-after: 1\r\n\
         x-request-id: {request_id}\r\nserver-timing: total;dur=0.0\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use axum::routing::get;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    struct TestServer {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<Result<()>>,
    }

    async fn start(max_connections: usize) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "well" })).route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(400)).await;
                "late"
            }),
        );
        // More than the buffers of a connection hold.
        let router = router.route("/large", get(|| async { "x".repeat(64 << 20) }));
        let settings = HttpSettings {
            dev: false,
            max_body_bytes: 1_000,
            request_timeout: Duration::from_secs(5),
            max_response_bytes: 64 << 20,
            write_timeout: Duration::from_millis(300),
            header_timeout: Duration::from_millis(300),
            max_connections,
            drain_timeout: Duration::from_secs(3),
            limits: crate::config::Config::default().limits,
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, settings, async {
            let _ = stopped.await;
        }));
        TestServer { address, stop, task }
    }

    /// What comes back until the server closes the connection.
    async fn send(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn slow_and_idle_clients_are_cut_off() {
        let server = start(10).await;
        for half in ["", "GET / HTTP/1.1\r\nhost: loc", REQUEST] {
            let started = Instant::now();
            let answer = send(server.address, half).await;
            assert_eq!(answer.contains("well"), half == REQUEST, "{answer}");
            assert!(started.elapsed() < Duration::from_secs(2), "{half:?}");
        }
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_refused_at_once() {
        let server = start(1).await;
        let held = TcpStream::connect(server.address).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let started = Instant::now();
        let answer = send(server.address, REQUEST).await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"),
            "{answer}"
        );
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], "too_many_connections");
        assert!(started.elapsed() < Duration::from_millis(500));
        drop(held);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(send(server.address, REQUEST).await.contains("well"));
    }

    #[tokio::test]
    async fn a_client_that_stops_reading_is_cut_off() {
        let server = start(1).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        let large = REQUEST.replace("GET /", "GET /large");
        idle.write_all(large.as_bytes()).await.unwrap();
        // It holds the only connection that there may be, until it is cut off.
        let started = Instant::now();
        assert!(send(server.address, REQUEST).await.contains("too_many_connections"));
        while !send(server.address, REQUEST).await.contains("well") {
            assert!(started.elapsed() < Duration::from_secs(5), "it is still held");
        }
        assert!(started.elapsed() >= Duration::from_millis(200), "it had no time at all");
        let mut answer = Vec::new();
        let _ = idle.read_to_end(&mut answer).await;
        assert!(answer.len() < 64 << 20, "it is whole");
    }

    #[tokio::test]
    async fn what_is_no_http_ends_its_own_connection_only() {
        let server = start(10).await;
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
        for odd in ["\u{16}\u{3}\u{1}\0\0", "GET /\r\n\r\n", "\r\n\r\n\r\n", long.as_str()] {
            let answer = send(server.address, odd).await;
            assert!(!answer.contains("well"), "{answer}");
        }
        assert!(send(server.address, REQUEST).await.contains("well"));
    }

    #[tokio::test]
    async fn open_requests_end_before_the_server_does() {
        let server = start(10).await;
        let idle = TcpStream::connect(server.address).await.unwrap();
        let slow = REQUEST.replace("GET /", "GET /slow");
        let address = server.address;
        let asked = tokio::spawn(async move { send(address, &slow).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.send(()).unwrap();
        server.task.await.unwrap().unwrap();
        assert!(asked.await.unwrap().contains("late"));
        assert!(TcpStream::connect(address).await.is_err());
        drop(idle);
    }
}
