//! One text of a statement for both databases: queries that run on SQLite or on PostgreSQL,
//! whichever the pool or the transaction belongs to. The calls read as sqlx's own.
//!
//! What a text may rely on: placeholders are `$1, $2, …`; whole numbers are 64 bits (`BIGINT`),
//! others `DOUBLE PRECISION`; truth is `TRUE` and `FALSE`; and a list of ids is one parameter, a
//! JSON array that `json_each` turns into rows: SQLite has that function, and PostgreSQL gets it
//! by the first migration.
//!
//! Decided 2026-11: not sqlx's `Any`, which keeps no types of nulls, and has no place where a
//! text can be made one that PostgreSQL stores.

use std::ops::{Deref, DerefMut};

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::sqlite::{SqliteArguments, SqlitePool, SqliteRow};
use sqlx::{
    Arguments, Database, Encode, FromRow, PgConnection, Postgres, Sqlite, SqliteConnection, Type,
};

/// Connections to one database.
#[derive(Debug, Clone)]
pub enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// The connection of a transaction.
pub enum Connection {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// A transaction; dropping it undoes what it did.
pub struct Transaction(Connection);

/// A statement with its parameters; its rows are read as `R` and given as `T`.
pub struct Query<R, T = R> {
    text: &'static str,
    values: Vec<Value>,
    take: fn(R) -> T,
}

/// What a row can be read as, from either database.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// A parameter. Nulls have types: PostgreSQL asks for them.
#[derive(Debug)]
pub enum Value {
    Integer(Option<i64>),
    Real(Option<f64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// Where a statement runs.
pub enum Target<'c> {
    SqlitePool(&'c SqlitePool),
    Sqlite(&'c mut SqliteConnection),
    PostgresPool(&'c PgPool),
    Postgres(&'c mut PgConnection),
}

/// What a statement without rows has done.
pub struct Executed(u64);

/// A statement whose rows do not matter.
pub fn query(text: &'static str) -> Query<()> {
    query_as(text)
}

/// A statement that gives records.
pub fn query_as<R>(text: &'static str) -> Query<R> {
    Query { text, values: Vec::new(), take: |record| record }
}

/// A statement that gives one column.
pub fn query_scalar<T>(text: &'static str) -> Query<(T,), T> {
    Query { text, values: Vec::new(), take: |(value,)| value }
}

impl Pool {
    /// Begins a transaction that goes on to write.
    ///
    /// SQLite takes the right to write at once: a transaction that turns into a write later
    /// fails with `SQLITE_BUSY`, whatever the busy timeout says.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        Ok(Transaction(match self {
            Self::Sqlite(pool) => Connection::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Connection::Postgres(pool.begin().await?),
        }))
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Self::Sqlite(pool) => pool.is_closed(),
            Self::Postgres(pool) => pool.is_closed(),
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Transaction {
    pub async fn commit(self) -> sqlx::Result<()> {
        match self.0 {
            Connection::Sqlite(transaction) => transaction.commit().await,
            Connection::Postgres(transaction) => transaction.commit().await,
        }
    }
}

impl Executed {
    pub fn rows_affected(&self) -> u64 {
        self.0
    }
}

/// Runs the same call of sqlx on whichever database it is.
macro_rules! run {
    ($target:expr, $values:expr, |$executor:ident, $arguments:ident| $call:expr) => {
        match $target.into() {
            Target::SqlitePool($executor) => {
                let $arguments: SqliteArguments = arguments($values)?;
                $call
            }
            Target::Sqlite($executor) => {
                let $arguments: SqliteArguments = arguments($values)?;
                $call
            }
            Target::PostgresPool($executor) => {
                let $arguments: PgArguments = arguments(storable($values))?;
                $call
            }
            Target::Postgres($executor) => {
                let $arguments: PgArguments = arguments(storable($values))?;
                $call
            }
        }
    };
}

impl<R, T> Query<R, T> {
    /// Adds the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    pub async fn execute<'c>(self, target: impl Into<Target<'c>>) -> sqlx::Result<Executed> {
        let Self { text, values, .. } = self;
        Ok(Executed(run!(target, values, |executor, arguments| {
            sqlx::query_with(text, arguments).execute(executor).await?.rows_affected()
        })))
    }
}

impl<R: Record, T> Query<R, T> {
    pub async fn fetch_all<'c>(self, target: impl Into<Target<'c>>) -> sqlx::Result<Vec<T>> {
        let Self { text, values, take } = self;
        let records: Vec<R> = run!(target, values, |executor, arguments| {
            sqlx::query_as_with(text, arguments).fetch_all(executor).await?
        });
        Ok(records.into_iter().map(take).collect())
    }

    pub async fn fetch_optional<'c>(
        self,
        target: impl Into<Target<'c>>,
    ) -> sqlx::Result<Option<T>> {
        let Self { text, values, take } = self;
        let record: Option<R> = run!(target, values, |executor, arguments| {
            sqlx::query_as_with(text, arguments).fetch_optional(executor).await?
        });
        Ok(record.map(take))
    }

    pub async fn fetch_one<'c>(self, target: impl Into<Target<'c>>) -> sqlx::Result<T> {
        self.fetch_optional(target).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// PostgreSQL has no NUL in a text. The character that stands for one that cannot be shown takes
/// its place, so that spans still count the same.
fn storable(mut values: Vec<Value>) -> Vec<Value> {
    for value in &mut values {
        if let Value::Text(Some(text)) = value
            && text.contains('\0')
        {
            *text = text.replace('\0', "\u{fffd}");
        }
    }
    values
}

fn arguments<A: Arguments>(values: Vec<Value>) -> sqlx::Result<A>
where
    Option<i64>: for<'q> Encode<'q, A::Database> + Type<A::Database>,
    Option<f64>: for<'q> Encode<'q, A::Database> + Type<A::Database>,
    Option<String>: for<'q> Encode<'q, A::Database> + Type<A::Database>,
    Option<Vec<u8>>: for<'q> Encode<'q, A::Database> + Type<A::Database>,
    A::Database: Database,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Integer(value) => arguments.add(value),
            Value::Real(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl<'c> From<&'c Pool> for Target<'c> {
    fn from(pool: &'c Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => Self::SqlitePool(pool),
            Pool::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'c> From<&'c mut Connection> for Target<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        match connection {
            Connection::Sqlite(transaction) => Self::Sqlite(transaction),
            Connection::Postgres(transaction) => Self::Postgres(transaction),
        }
    }
}

macro_rules! value_from {
    ($($source:ty => $kind:ident($value:ident) $owned:expr),+ $(,)?) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                Self::$kind($owned)
            }
        })+
    };
}

value_from! {
    i64 => Integer(value) Some(value),
    Option<i64> => Integer(value) value,
    f64 => Real(value) Some(value),
    Option<f64> => Real(value) value,
    String => Text(value) Some(value),
    &String => Text(value) Some(value.clone()),
    &str => Text(value) Some(value.to_owned()),
    Option<String> => Text(value) value,
    &Option<String> => Text(value) value.clone(),
    Option<&str> => Text(value) value.map(str::to_owned),
    Vec<u8> => Bytes(value) Some(value),
    &Vec<u8> => Bytes(value) Some(value.clone()),
    &[u8] => Bytes(value) Some(value.to_vec()),
    &Option<Vec<u8>> => Bytes(value) value.clone(),
}
