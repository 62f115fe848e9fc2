//! The limits of what goes out: how long an answer may be, and how long a client may keep the
//! server waiting to take it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::problem::Answer;
use crate::error::{Error, Kind};

/// The layer: an answer that is known to be over the limit is refused, one that comes in pieces
/// is broken off there.
pub async fn limit_size(
    State(max_bytes): State<usize>,
    request: Request,
    next: Next,
) -> Answer<Response> {
    let response = next.run(request).await;
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    match response.body().size_hint().exact() {
        Some(n_bytes) if n_bytes > limit => {
            let message = format!(
                "The answer has {n_bytes} bytes, over the {max_bytes} of `[http] \
                 max_response_bytes`. Ask for less at a time."
            );
            Err(Error::new(Kind::TooLarge, "response_too_large", message).into())
        }
        Some(_) => Ok(response),
        None => Ok(response.map(|body| Body::new(CappedBody { body, n_left: limit }))),
    }
}

/// A body of unknown length that may not go on for ever.
struct CappedBody {
    body: Body,
    n_left: u64,
}

impl HttpBody for CappedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
        let n_bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.n_left.checked_sub(n_bytes) {
            Some(n_left) => {
                self.n_left = n_left;
                polled
            }
            None => {
                tracing::warn!("an answer was broken off at [http] max_response_bytes");
                Poll::Ready(Some(Err(axum::Error::new("the answer is too long"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose other side has to go on reading: once nothing more could be written for
/// `patience`, writing fails, and with it the connection ends.
pub struct TimedWrites<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits for the other side.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedWrites<S> {
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stalled: None }
    }

    fn time<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => {
                tracing::debug!("a client that has stopped reading was cut off");
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedWrites<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_pending() { self.time(context, flushed) } else { flushed }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::to_bytes;
    use axum::middleware::from_fn_with_state;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::io::AsyncWriteExt;
    use tower::ServiceExt;

    use super::*;
    use crate::http::problem::Problem;

    async fn ask(path: &str) -> Response {
        let pieces = || {
            let pieces = (0..10).map(|_| Ok::<_, io::Error>("0123456789"));
            Body::from_stream(futures::stream::iter(pieces)).into_response()
        };
        let router = Router::new()
            .route("/fits", get(|| async { "x".repeat(50) }))
            .route("/long", get(|| async { "x".repeat(51) }))
            .route("/pieces", get(move || async move { pieces() }))
            .layer(from_fn_with_state(50_usize, limit_size));
        let request = Request::get(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_refused_or_broken_off() {
        assert_eq!(to_bytes(ask("/fits").await.into_body(), 100).await.unwrap().len(), 50);
        let refused = ask("/long").await;
        assert_eq!(refused.extensions().get::<Problem>().unwrap().code(), "response_too_large");
        let mut body = ask("/pieces").await.into_body().into_data_stream();
        let mut n_bytes = 0;
        let mut has_failed = false;
        while let Some(piece) = futures::StreamExt::next(&mut body).await {
            has_failed = piece.is_err();
            n_bytes += piece.map_or(0, |piece| piece.len());
        }
        assert_eq!((n_bytes, has_failed), (50, true));
    }

    #[tokio::test]
    async fn a_write_waits_for_its_reader_so_long_and_no_longer() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = TimedWrites::new(near, Duration::from_millis(500));
        near.write_all(&[0; 16]).await.unwrap();
        // Any progress starts the time anew.
        for _ in 0..3 {
            let read = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                tokio::io::AsyncReadExt::read_exact(&mut far, &mut [0; 8]).await.unwrap();
            };
            let (written, ()) = tokio::join!(near.write_all(&[0; 8]), read);
            written.unwrap();
        }
        let started = tokio::time::Instant::now();
        let error = near.write_all(&[0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
        // Nothing to write is no reason to hurry.
        assert!(near.flush().await.is_ok());
    }
}
