//! What is written beside the requests: the audit trail and the last use of keys.
//!
//! Entries go through a bounded queue to one writer, so that no request waits for a disk because
//! it was refused. An administrative call does wait until its row is on disk. Refusals are many
//! when somebody floods the server: each caller has so many a minute, and the queue keeps room
//! for administrative rows; what is dropped is counted and logged.
//!
//! The writer also purges, once an hour, what is kept for a time only.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::store::audit::NewAuditEntry;
use crate::telemetry::metrics::{self, Invariant};

const QUEUE: usize = 4_096;
/// Room in the queue that only administrative rows may take.
const RESERVED: usize = 1_024;
/// Entries written in one transaction.
const BATCH: usize = 256;
/// Refusals of one caller that are kept in a minute; all callers without a key are one.
const REFUSALS_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(119);
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// Pauses before a batch that could not be written is tried again.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

/// Where entries are handed in. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: mpsc::Sender<Entry>,
    refusals: Arc<DefaultKeyedRateLimiter<String>>,
    n_dropped: Arc<AtomicU64>,
}

/// The running writer; dropping it does not stop it, [`JournalWriter::stop`] does.
pub struct JournalWriter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Entry {
    Call(Box<NewAuditEntry>, Option<oneshot::Sender<()>>),
    KeyUse(String),
}

impl Journal {
    /// Starts the writer. Audit rows are kept for `audit_days`.
    pub fn start(store: Store, audit_days: u32) -> (Self, JournalWriter) {
        let (queue, entries) = mpsc::channel(QUEUE);
        let journal = Self {
            queue,
            refusals: Arc::new(DefaultKeyedRateLimiter::keyed(Quota::per_minute(
                REFUSALS_PER_MINUTE,
            ))),
            n_dropped: Arc::default(),
        };
        let stop = CancellationToken::new();
        let purging = purge_hourly(store.clone(), audit_days);
        let writer = Writer { store, entries, journal: journal.clone(), stop: stop.clone() };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::join!(writer.run(), stopped.run_until_cancelled(purging));
        });
        (journal, JournalWriter { stop, task })
    }

    /// Notes a refusal, or drops it when there are too many.
    pub fn note_refusal(&self, entry: NewAuditEntry) {
        let who = entry.key_id.clone().unwrap_or_default();
        if self.refusals.check_key(&who).is_err() || !self.offer(Entry::Call(Box::new(entry), None))
        {
            self.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the row of an administrative call, and returns when it is on disk.
    pub async fn record(&self, entry: NewAuditEntry) {
        let (written, is_written) = oneshot::channel();
        let what = format!("{} {}", entry.method, entry.route);
        let is_queued = self.queue.send(Entry::Call(Box::new(entry), Some(written))).await.is_ok();
        if !is_queued || is_written.await.is_err() {
            tracing::error!(what, "an administrative call was not written to the audit trail");
            metrics::violated(Invariant::AuditComplete, 1);
        }
    }

    /// Hands in the row of an administrative call whose caller has left, without waiting.
    pub fn record_later(&self, entry: NewAuditEntry) {
        let what = format!("{} {}", entry.method, entry.route);
        if self.queue.try_send(Entry::Call(Box::new(entry), None)).is_err() {
            tracing::error!(what, "an administrative call was not written to the audit trail");
            metrics::violated(Invariant::AuditComplete, 1);
        }
    }

    /// Notes that a key was used now.
    pub fn note_key_use(&self, key_id: &str) {
        // One that is lost is followed by another with the key's next request.
        self.offer(Entry::KeyUse(key_id.to_owned()));
    }

    /// Queues an entry if that leaves room for administrative ones.
    fn offer(&self, entry: Entry) -> bool {
        self.queue.capacity() > RESERVED && self.queue.try_send(entry).is_ok()
    }
}

impl JournalWriter {
    /// Writes what is queued and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the journal's writer ended badly");
        }
    }
}

struct Writer {
    store: Store,
    entries: mpsc::Receiver<Entry>,
    journal: Journal,
    stop: CancellationToken,
}

impl Writer {
    async fn run(mut self) {
        let mut report = interval(REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = self.entries.recv_many(&mut batch, BATCH) => self.write(batch).await,
                _ = report.tick() => self.report(),
            }
        }
        self.entries.close();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            if self.entries.recv_many(&mut batch, BATCH).await == 0 {
                break;
            }
            self.write(batch).await;
        }
        self.report();
    }

    async fn write(&self, batch: Vec<Entry>) {
        let (mut calls, mut waiting, mut keys) = (Vec::new(), Vec::new(), BTreeSet::new());
        for entry in batch {
            match entry {
                Entry::Call(call, written) => {
                    calls.push(*call);
                    waiting.extend(written);
                }
                Entry::KeyUse(key_id) => {
                    keys.insert(key_id);
                }
            }
        }
        if self.write_calls(&calls).await {
            for written in waiting {
                // Whoever asked may have left.
                let _ = written.send(());
            }
        }
        let keys: Vec<String> = keys.into_iter().collect();
        if let Err(error) = self.store.note_key_uses(&keys).await {
            tracing::warn!(error = %error, "the last use of keys was not written");
        }
    }

    /// Rows that the database does not take after some tries go to the log instead.
    async fn write_calls(&self, calls: &[NewAuditEntry]) -> bool {
        if calls.is_empty() {
            return true;
        }
        let mut pauses = RETRIES.into_iter();
        while let Err(error) = self.store.append_audit(calls).await {
            let Some(pause) = pauses.next().filter(|_| !self.stop.is_cancelled()) else {
                tracing::error!(error = %error, ?calls, "audit rows could not be written");
                return false;
            };
            tracing::warn!(error = %error, "audit rows were not written and will be tried again");
            tokio::time::sleep(pause).await;
        }
        true
    }

    fn report(&self) {
        let n_dropped = self.journal.n_dropped.swap(0, Ordering::Relaxed);
        if n_dropped > 0 {
            tracing::warn!(n_dropped, "refused calls were left out of the audit trail");
        }
        // Callers without a refusal in the last minute need no memory.
        self.journal.refusals.retain_recent();
        self.journal.refusals.shrink_to_fit();
    }
}

/// Removes what is kept for a time only, beside the writing: there may be much of it.
async fn purge_hourly(store: Store, audit_days: u32) {
    let age = time::Duration::days(i64::from(audit_days));
    let mut hour = interval(PURGE_EVERY);
    hour.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hour.tick().await;
        let before = OffsetDateTime::now_utc().checked_sub(age);
        let before = before.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (rows, answers) = (store.purge_audit(before).await, store.purge_idempotency().await);
        match rows.and_then(|n_rows| Ok((n_rows, answers?))) {
            Ok((n_rows, n_answers)) => tracing::debug!(n_rows, n_answers, "purged old rows"),
            Err(error) => tracing::error!(error = %error, "purging failed and will be tried again"),
        }
    }
}
