//! Which database it is: a SQLite file in the data directory, or PostgreSQL by URL. Opening it,
//! migrating it, telling that it is gone, and holding the index to the database it came from.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::sql::{Pool, query_scalar};
use super::{Store, vectors};
use crate::config::database::DatabaseUrl;
use crate::error::{Error, Kind, Result};

pub(super) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

pub(super) const DATABASE_FILE: &str = "querent.db";
/// In the index's directory: which database the index was derived from.
const ORIGIN_FILE: &str = "database";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection of PostgreSQL to be had; a restart that is shorter is not noticed.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// The code of errors that say that the database is gone, and of answers without it.
pub const DATABASE_UNAVAILABLE: &str = "database_unavailable";
const N_READERS: u32 = 8;
const N_WRITERS: u32 = 4;
/// A server that died without closing its connections must not hold a collection for ever.
const POSTGRES_WRITER: &str =
    "SET lock_timeout = '20s'; SET idle_in_transaction_session_timeout = '60s'";
const POSTGRES_READER: &str = "SET default_transaction_read_only = on";

/// A migration that has been applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    pub number: i64,
    pub description: String,
}

/// The connections that write: one for SQLite, which has one writer at a time.
pub(super) async fn open_writer(data_dir: &Path, url: &DatabaseUrl) -> Result<Pool> {
    if let Some(address) = url.postgres() {
        return open_postgres(url, address, N_WRITERS, POSTGRES_WRITER).await;
    }
    fs_err::tokio::create_dir_all(data_dir).await?;
    let options = SqlitePoolOptions::new().max_connections(1).idle_timeout(None);
    open_sqlite(options.max_lifetime(None), sqlite_options(data_dir)).await
}

/// The connections that read and can do nothing else.
pub(super) async fn open_reader(data_dir: &Path, url: &DatabaseUrl) -> Result<Pool> {
    if let Some(address) = url.postgres() {
        return open_postgres(url, address, N_READERS, POSTGRES_READER).await;
    }
    let options = SqlitePoolOptions::new().max_connections(N_READERS);
    open_sqlite(options, sqlite_options(data_dir).pragma("query_only", "on")).await
}

/// Applies what is outstanding and returns it.
pub(super) async fn migrate(writer: &Pool) -> Result<Vec<AppliedMigration>> {
    let applied = match writer {
        Pool::Sqlite(pool) => run(&SQLITE_MIGRATIONS, &mut *pool.acquire().await?).await,
        Pool::Postgres(pool) => run(&POSTGRES_MIGRATIONS, &mut *pool.acquire().await?).await,
    };
    applied.map_err(|error| Error::failed("migrate the database", error))
}

/// The database has gone away, or was never there.
pub(super) fn unavailable() -> Error {
    let message = "The database does not answer. Come back soon.";
    Error::new(Kind::Unavailable, DATABASE_UNAVAILABLE, message)
}

impl Store {
    /// Holds the index of the data directory to this database: ids of another one's chunks would
    /// pass for ids of its own. Call it while the index is locked.
    ///
    /// # Errors
    /// `Conflict` when the index was derived from another database.
    pub async fn claim_index(&self) -> Result<()> {
        let kind = match self.writer {
            Pool::Sqlite(_) => "sqlite",
            Pool::Postgres(_) => "postgres",
        };
        // The moment of the first migration, and what it took, tell one database from another.
        let made: String = query_scalar(
            "SELECT CAST(installed_on AS TEXT) || ' ' || CAST(execution_time AS TEXT)
             FROM _sqlx_migrations WHERE version = 1",
        )
        .fetch_one(&self.reader)
        .await?;
        let origin = format!("{kind} {made}\n");
        let directory = vectors::directory(&self.data_dir);
        let file = directory.join(ORIGIN_FILE);
        let known = match fs_err::tokio::read_to_string(&file).await {
            Ok(known) => known == origin,
            // An index that names no database is older than the choice of one.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                kind == "sqlite" || !vectors::holds_shards(&directory)?
            }
            Err(error) => return Err(error.into()),
        };
        if !known {
            return Err(foreign_index(&directory));
        }
        fs_err::tokio::create_dir_all(&directory).await?;
        Ok(fs_err::tokio::write(&file, origin).await?)
    }
}

fn sqlite_options(data_dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(data_dir.join(DATABASE_FILE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

async fn open_sqlite(pool: SqlitePoolOptions, options: SqliteConnectOptions) -> Result<Pool> {
    let pool = pool.connect_with(options).await;
    Ok(Pool::Sqlite(pool.map_err(|error| Error::failed("open the database", error))?))
}

async fn open_postgres(
    url: &DatabaseUrl,
    address: &str,
    n_connections: u32,
    session: &'static str,
) -> Result<Pool> {
    let mut options = PgConnectOptions::from_str(address).map_err(|error| {
        Error::invalid("config", format!("[database] url = `{url}` cannot be read"))
            .caused_by(error)
    })?;
    if options.get_application_name().is_none() {
        options = options.application_name(env!("CARGO_PKG_NAME"));
    }
    let pool = PgPoolOptions::new()
        .max_connections(n_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(session).execute(connection).await.map(|_| ()) })
        });
    let pool = pool.connect_with(options).await.map_err(|error| {
        let message = format!("failed to open the database {url}");
        Error::new(Kind::Unavailable, DATABASE_UNAVAILABLE, message).caused_by(error)
    })?;
    Ok(Pool::Postgres(pool))
}

async fn run<C: Migrate>(
    migrator: &Migrator,
    connection: &mut C,
) -> std::result::Result<Vec<AppliedMigration>, MigrateError> {
    // It fails where there is no table of migrations yet: then none was applied.
    let before = connection.list_applied_migrations(&migrator.table_name).await;
    let before: HashSet<i64> =
        before.unwrap_or_default().into_iter().map(|migration| migration.version).collect();
    migrator.run_direct(None, connection, false).await?;
    let outstanding = migrator.iter().filter(|migration| !before.contains(&migration.version));
    Ok(outstanding
        .map(|migration| AppliedMigration {
            number: migration.version,
            description: migration.description.to_string(),
        })
        .collect())
}

fn foreign_index(directory: &Path) -> Error {
    Error::new(
        Kind::Conflict,
        "index_of_another_database",
        format!(
            "The index in {} was built from another database. Set another [data] dir, or remove \
             that folder: it is built anew from the database.",
            directory.display()
        ),
    )
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        if is_outage(&source) {
            return unavailable().caused_by(source);
        }
        Self::failed("query the database", source)
    }
}

/// Whether the same statement may well succeed later, without anybody changing it.
fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_outage_code(&code)),
        _ => false,
    }
}

/// PostgreSQL's codes of five characters: lost connections, a lack of resources, a server that
/// stops or starts, a transaction that waited too long or lost to another, a standby.
fn is_outage_code(code: &str) -> bool {
    let classes = ["08", "53", "57P"];
    let codes = ["25006", "25P03", "40001", "40P01", "55P03"];
    code.len() == 5
        && (classes.iter().any(|class| code.starts_with(class)) || codes.contains(&code))
}
