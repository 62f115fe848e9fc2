//! `[database]`: where the truth is kept. The URL may hold a password, so nothing prints it whole.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};

const POSTGRES_SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// `[database]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Empty for a SQLite file in `[data] dir`; `postgres://user:password@host:5432/database` for
    /// PostgreSQL. The vector index stays in `[data] dir` with both, and it is derived from the
    /// database, so each data directory belongs to one database, and one server alone may use a
    /// database: a second one would not learn what the first has put into its index.
    pub url: DatabaseUrl,
}

/// A database's URL. Printed and serialised without the password and the parameters.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, none for the SQLite file. It may hold a password.
    pub fn postgres(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|url| !url.is_empty())
    }

    /// # Errors
    /// `config` when it is neither empty nor PostgreSQL's.
    pub fn check(&self) -> Result<()> {
        let is_postgres = POSTGRES_SCHEMES.iter().any(|scheme| self.0.starts_with(scheme));
        if self.0.is_empty() || is_postgres {
            return Ok(());
        }
        Err(Error::invalid(
            "config",
            format!(
                "[database] url = `{self}` is no database that is served: leave it empty for \
                 SQLite, or begin with postgres://"
            ),
        ))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), self.0.as_str()),
        };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        match place.rsplit_once('@') {
            // Which part of it is the password is anybody's guess.
            _ if parameters.contains('@') => write!(formatter, "{scheme}…"),
            Some((user, place)) => {
                let name = user.split(':').next().filter(|_| !scheme.is_empty());
                write!(formatter, "{scheme}{}@{place}", name.unwrap_or("…"))
            }
            None => write!(formatter, "{scheme}{place}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("", ""),
            ("postgres://db.example:5432/querent", "postgres://db.example:5432/querent"),
            ("postgres://querent:geheim@db/querent", "postgres://querent@db/querent"),
            ("postgres://querent:ge@heim@db/q?sslmode=require", "postgres://querent@db/q"),
            ("postgres://querent:ge?heim@db/q", "postgres://…"),
            ("postgres://db/q?user=u&password=geheim", "postgres://db/q"),
            ("mysql://root:geheim@db/q", "mysql://root@db/q"),
            ("root:geheim@db/q", "…@db/q"),
        ] {
            let url = DatabaseUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }

    #[test]
    fn only_postgres_and_nothing_are_served() {
        for good in ["", "postgres://db/q", "postgresql://u:p@db:5432/q"] {
            DatabaseUrl::new(good).check().unwrap();
        }
        for bad in ["mysql://root:geheim@db/q", "querent.db", "sqlite://querent.db", "postgres:db"]
        {
            let error = DatabaseUrl::new(bad).check().unwrap_err();
            assert_eq!(error.code, "config");
            assert!(!error.message.contains("geheim"), "{error}");
            assert!(error.message.contains(bad.split(':').next().unwrap()), "{error}");
        }
    }
}
