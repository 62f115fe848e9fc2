//! What has to be done beside requests: writing the log of queries, deleting what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Services;
use super::requests::Remembered;

const PURGE_EVERY: Duration = Duration::from_secs(3_600);
/// Requests written in one transaction.
const REQUESTS_AT_ONCE: usize = 256;
/// A moment to gather requests in, so that they share a transaction.
const GATHER: Duration = Duration::from_millis(200);

/// The running housekeeper.
pub struct Housekeeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Housekeeper {
    /// Starts the loop; none when there is one already.
    pub fn start(services: Arc<Services>) -> Option<Self> {
        let mut unwritten = services.take_unwritten()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut purge = tokio::time::interval(PURGE_EVERY);
            let mut requests = Vec::with_capacity(REQUESTS_AT_ONCE);
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    _ = purge.tick() => services.purge().await,
                    n = unwritten.recv_many(&mut requests, REQUESTS_AT_ONCE) => {
                        if n == 0 {
                            break;
                        }
                        tokio::time::sleep(GATHER).await;
                        write(&services, &mut unwritten, &mut requests).await;
                    }
                }
            }
            write(&services, &mut unwritten, &mut requests).await;
        });
        Some(Self { stop, task })
    }

    /// Writes what is left and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the housekeeper ended badly");
        }
    }
}

async fn write(
    services: &Services,
    unwritten: &mut mpsc::Receiver<Arc<Remembered>>,
    requests: &mut Vec<Arc<Remembered>>,
) {
    loop {
        while requests.len() < REQUESTS_AT_ONCE {
            let Ok(request) = unwritten.try_recv() else { break };
            requests.push(request);
        }
        if requests.is_empty() {
            return;
        }
        services.write_requests(requests).await;
        requests.clear();
    }
}

impl Services {
    async fn purge(&self) {
        match self.purge_feedback().await {
            Ok(0) => {}
            Ok(n_rows) => tracing::info!(n_rows, "deleted expired feedback and requests"),
            Err(error) => tracing::error!(error = %error, "expired rows were not deleted"),
        }
    }
}
