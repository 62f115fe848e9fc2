//! State. SQL is the truth; the vector index is derived from it and can always be rebuilt.
//!
//! A document that [`Store::accept_documents`] has taken survives a crash at any point after.
//! Chunks carry their own outbox (`index_state`): they are written as pending together with
//! their vectors, applied to the index, and marked indexed only after the index has flushed.
//! Whatever is not marked is applied again, so applying twice must be harmless: a chunk's id is
//! never used twice and its content never changes.
//!
//! Every read and write names a [`TenantId`]; nothing here knows HTTP, models or chunking.
//!
//! The tables are in a SQLite file or in PostgreSQL; `sql` lets one text of a statement serve both.
//!
//! Decided 2026-11: on SQLite one writer connection whose transactions begin with
//! `BEGIN IMMEDIATE`. On PostgreSQL several, whose transactions take the row of the collection
//! that they write to before they read anything of it, and no other.

pub mod corpus;

pub mod access;
pub mod audit;
pub mod feedback;
pub mod glossary;
pub mod idempotency;
pub mod inspect;
pub mod outbox;
pub mod tasks;
pub mod vectors;

mod accept;
mod backlog;
mod database;
mod documents;
mod ingest;
mod last_known;
mod sql;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

pub use self::database::{AppliedMigration, DATABASE_UNAVAILABLE};
use self::last_known::LastKnown;
pub use self::last_known::Recalled;
use self::sql::{Pool, Transaction, query, query_as, query_scalar};
use crate::config::database::DatabaseUrl;
use crate::error::{Error, Result};

/// For the database to say that it is there.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_PAGE: usize = 100;

/// Whose data it is. A tenant comes from the key of the caller, never from a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(String);

impl TenantId {
    /// Accepts 1 to 64 of `a-z A-Z 0-9 _ -`; anything else is `Invalid`.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_name("tenant", &name)?;
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One page of a list. `next` is the opaque cursor of the page after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// What a start found unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Documents that wait for a worker.
    pub queued_documents: i64,
    /// Chunks that wait to enter the index.
    pub pending_upserts: i64,
    /// Chunks that wait to leave the index.
    pub pending_deletes: i64,
    /// Collections that are being deleted.
    pub deleting_collections: i64,
}

/// The database. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Pool,
    reader: Pool,
    data_dir: PathBuf,
    last_known: Arc<LastKnown>,
}

impl Store {
    /// Opens the database, by its URL or as the file `querent.db` in `data_dir`, which is created,
    /// and applies outstanding migrations.
    ///
    /// # Errors
    /// `database_unavailable` with the URL, without its password, when nothing answers there.
    pub async fn open(data_dir: &Path, url: &DatabaseUrl) -> Result<Self> {
        let writer = database::open_writer(data_dir, url).await?;
        database::migrate(&writer).await?;
        let reader = database::open_reader(data_dir, url).await?;
        let data_dir = data_dir.to_owned();
        Ok(Self { writer, reader, data_dir, last_known: Arc::default() })
    }

    /// Applies outstanding migrations and does nothing else. Returns those that were outstanding.
    pub async fn migrate(data_dir: &Path, url: &DatabaseUrl) -> Result<Vec<AppliedMigration>> {
        let writer = database::open_writer(data_dir, url).await?;
        let applied = database::migrate(&writer).await;
        writer.close().await;
        applied
    }

    /// The directory that holds the index, and the database when it is a file.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Tells whether the database answers.
    pub async fn check(&self) -> Result<()> {
        let asked = query("SELECT 1").execute(&self.reader);
        match tokio::time::timeout(CHECK_TIMEOUT, asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(database::unavailable()),
        };
        self.last_known.note_answer();
        Ok(())
    }

    /// Finishes what a stopped process left half done in SQL, and counts what the workers will
    /// find waiting. Work that was under way needs no reset: it is still queued or pending.
    pub async fn recover(&self) -> Result<Recovery> {
        let mut transaction = self.begin().await?;
        let unfinished: Vec<i64> =
            query_scalar("SELECT row_id FROM documents WHERE state IN ('indexing', 'deleting')")
                .fetch_all(&mut *transaction)
                .await?;
        outbox::finish_documents(&mut transaction, &unfinished).await?;
        transaction.commit().await?;
        let counts: (i64, i64, i64, i64) = query_as(
            "SELECT (SELECT count(*) FROM documents WHERE state = 'queued'),
                    (SELECT count(*) FROM chunks WHERE index_state = 'pending'),
                    (SELECT count(*) FROM chunks WHERE index_state IN ('retired', 'deleting')),
                    (SELECT count(*) FROM collections WHERE state = 'deleting')",
        )
        .fetch_one(&self.reader)
        .await?;
        Ok(Recovery {
            queued_documents: counts.0,
            pending_upserts: counts.1,
            pending_deletes: counts.2,
            deleting_collections: counts.3,
        })
    }

    /// Waits for the connections to finish and closes them.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction> {
        Ok(self.writer.begin().await?)
    }
}

/// A fresh id such as `ts_0190f3…`: the prefix and a time-ordered UUID.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::now_v7().simple())
}

/// Checks a name that a person chooses: 1 to 64 of `a-z A-Z 0-9 _ -`.
fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::invalid(
        "invalid_name",
        format!("The {what} name {shown:?} is not 1 to 64 of the characters a-z A-Z 0-9 _ -."),
    ))
}

/// Rows to fetch for a page: one more than asked, to learn whether another page follows.
fn page_rows(limit: usize) -> i64 {
    i64::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(1) + 1
}

/// Cuts the extra row off and turns the last one kept into the cursor.
fn page_of<R, T>(
    mut rows: Vec<R>,
    limit: usize,
    cursor: impl Fn(&R) -> String,
    item: impl Fn(R) -> Result<T>,
) -> Result<Page<T>> {
    let limit = limit.clamp(1, MAX_PAGE);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(cursor);
    Ok(Page { items: rows.into_iter().map(item).collect::<Result<_>>()?, next })
}

fn now_ms() -> i64 {
    to_ms(OffsetDateTime::now_utc())
}

fn to_ms(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

fn from_ms(ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
