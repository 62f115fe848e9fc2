//! A schema of PostgreSQL for one test, made where `QUERENT_TEST_POSTGRES_URL` names a database
//! to make it in, and dropped with the test. The tests of the store use this file too.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

const VARIABLE: &str = "QUERENT_TEST_POSTGRES_URL";
static SKIPPED: Once = Once::new();
static N_SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A schema, empty at first.
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// None, and one line that says so, where no database is named.
    pub async fn create() -> Option<Self> {
        let Some(server) = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()) else {
            // Past the capture of output, which hides what a passing test prints.
            SKIPPED.call_once(|| {
                let _ = writeln!(
                    std::io::stderr(),
                    "tests on PostgreSQL were skipped: {VARIABLE} is not set"
                );
            });
            return None;
        };
        let number = N_SCHEMAS.fetch_add(1, Ordering::Relaxed);
        let schema = Self { server, name: format!("test_{}_{number}", std::process::id()) };
        schema.run(format!("CREATE SCHEMA {}", schema.name)).await.unwrap();
        Some(schema)
    }

    /// Where a server finds the schema.
    pub fn url(&self) -> String {
        self.url_at(&self.server)
    }

    /// The same by another address of the same server, `host:port`.
    pub fn url_by(&self, address: &str) -> String {
        let mut url = reqwest::Url::parse(&self.server).unwrap();
        let (host, port) = address.rsplit_once(':').unwrap();
        url.set_host(Some(host)).unwrap();
        url.set_port(Some(port.parse().unwrap())).unwrap();
        self.url_at(url.as_str())
    }

    /// `host:port` of the server.
    pub fn address(&self) -> String {
        let url = reqwest::Url::parse(&self.server).unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432))
    }

    /// All that is kept of requests.
    pub async fn details(&self) -> String {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let details = sqlx::query_scalar("SELECT detail FROM requests");
        let details: Vec<String> = details.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        details.concat()
    }

    fn url_at(&self, server: &str) -> String {
        let mark = if server.contains('?') { '&' } else { '?' };
        format!("{server}{mark}options[search_path]={0}&application_name={0}", self.name)
    }

    async fn run(&self, statement: String) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(&self.server).await?;
        sqlx::raw_sql("SET lock_timeout = '10s'").execute(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // A connection that nobody can close any more may be in the middle of a transaction.
        let statement = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE application_name = '{0}'; DROP SCHEMA {0} CASCADE",
            self.name
        );
        // A runtime may be under way on this thread, and it cannot be waited for.
        let dropped = std::thread::scope(|scope| {
            let drop = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(self.run(statement))
            };
            scope.spawn(drop).join()
        });
        if !matches!(dropped, Ok(Ok(()))) {
            let _ = writeln!(std::io::stderr(), "{} is left behind: {dropped:?}", self.name);
        }
    }
}
