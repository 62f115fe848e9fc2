//! Looks at a data directory without changing it: for `querent doctor`, which may run beside a
//! server.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::database::{DATABASE_FILE, POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS};
use super::vectors::{INDEX_DIRECTORY, LOCK_FILE};
use crate::config::database::DatabaseUrl;
use crate::error::{Error, Result};

/// For a database server to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a database stands to this version's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// There is no database yet.
    Missing,
    /// It answers; `outstanding` migrations are applied when a server starts.
    Known { applied: usize, outstanding: usize },
    /// A migration was applied that this version does not know, or knows otherwise.
    Foreign { migration: i64 },
}

/// Who uses a data directory's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexUse {
    /// There is no index yet.
    Missing,
    Free,
    /// Another process, most likely a server, has it.
    Taken,
}

/// Reads which migrations a database has seen.
///
/// # Errors
/// When the database cannot be read, or does not answer within a few seconds.
pub async fn schema(data_dir: &Path, url: &DatabaseUrl) -> Result<Schema> {
    let (known, applied) = match url.postgres() {
        Some(address) => (&POSTGRES_MIGRATIONS, of_postgres(address).await?),
        None => (&SQLITE_MIGRATIONS, of_sqlite(&data_dir.join(DATABASE_FILE)).await?),
    };
    let Some(applied) = applied else { return Ok(Schema::Missing) };
    let is_known = |(version, checksum): &&(i64, Vec<u8>)| {
        known.iter().any(|known| known.version == *version && *known.checksum == **checksum)
    };
    match applied.iter().find(|migration| !is_known(migration)) {
        Some((migration, _)) => Ok(Schema::Foreign { migration: *migration }),
        None => Ok(Schema::Known {
            applied: applied.len(),
            outstanding: known.iter().count().saturating_sub(applied.len()),
        }),
    }
}

const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";

async fn of_sqlite(path: &Path) -> Result<Option<Vec<(i64, Vec<u8>)>>> {
    if !path.exists() {
        return Ok(None);
    }
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let mut connection = options.connect().await.map_err(opening)?;
    let applied = sqlx::query_as(APPLIED).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(Some(applied))
}

async fn of_postgres(address: &str) -> Result<Option<Vec<(i64, Vec<u8>)>>> {
    let options = PgConnectOptions::from_str(address).map_err(opening)?;
    let connecting = tokio::time::timeout(PATIENCE, options.connect()).await;
    let mut connection = connecting.map_err(opening)?.map_err(opening)?;
    let (is_there,): (bool,) = sqlx::query_as("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    let applied = match is_there {
        true => Some(sqlx::query_as(APPLIED).fetch_all(&mut connection).await?),
        false => None,
    };
    connection.close().await?;
    Ok(applied)
}

fn opening(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::failed("open the database", error)
}

/// Tells who has the index, by trying its lock and letting go at once.
///
/// # Errors
/// When the lock cannot be opened.
pub fn index_use(data_dir: &Path) -> Result<IndexUse> {
    let path = data_dir.join(INDEX_DIRECTORY).join(LOCK_FILE);
    if !path.exists() {
        return Ok(IndexUse::Missing);
    }
    match File::open(path)?.try_lock() {
        Ok(()) => Ok(IndexUse::Free),
        Err(TryLockError::WouldBlock) => Ok(IndexUse::Taken),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
