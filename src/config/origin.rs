//! Each setting with where its value came from, as `querent doctor` shows it. Works on the
//! settings' serialised tree, so a new setting is shown without a line here; what may be secret is
//! told by its name and never shown.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Config, ENVIRONMENT_PREFIX, unusable};
use crate::error::Result;

/// Words of a key that make its value a secret. `tokens`, as in `chunk_tokens`, is none of them.
const SECRET_WORDS: [&str; 8] =
    ["token", "password", "secret", "headers", "credential", "credentials", "apikey", "passphrase"];
/// What stands in place of what is not shown.
const HIDDEN: &str = "***";

/// The layer that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The settings file, as it was named.
    File(String),
    /// An environment variable, by its name.
    Variable(String),
    Flag,
}

/// One setting, fit to be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// A secret is `set` or `not set`; an address has no user and no password.
    pub shown: Value,
    pub origin: Origin,
}

impl Config {
    /// All settings in force in the order of their sections. `file` is the one they were loaded
    /// with; what differs from it came from a flag.
    ///
    /// # Errors
    /// `config` when the layers cannot be read again.
    pub fn settings(&self, file: Option<&Path>) -> Result<Vec<Setting>> {
        let layers = Self::layers(file)?;
        let below_flags: Self = layers.clone().try_deserialize().map_err(unusable)?;
        let below_flags = below_flags.leaves()?;
        let collected = config::Source::collect(&layers).map_err(unusable)?;
        let origin = |key: &str, value: &Value| match below_flags.get(key) {
            Some(below) if below == value => origin(&collected, key),
            _ => Origin::Flag,
        };
        let settings = self.leaves()?.into_iter().map(|(key, value)| Setting {
            origin: origin(&key, &value),
            shown: shown(&key, &value),
            key,
        });
        Ok(settings.collect())
    }

    /// Addresses that settings name, by key, with all that is in them. Not to be shown.
    ///
    /// # Errors
    /// When the settings cannot be serialised.
    pub fn addresses(&self) -> Result<BTreeMap<String, String>> {
        let address = |(key, value): (String, Value)| match value {
            Value::String(text) if is_address(&key) && !text.is_empty() => Some((key, text)),
            _ => None,
        };
        Ok(self.leaves()?.into_iter().filter_map(address).collect())
    }

    /// Every value that is no table, by its dotted key.
    fn leaves(&self) -> Result<serde_json::Map<String, Value>> {
        let mut leaves = serde_json::Map::new();
        // By way of text, so that 0.2 of 32 bits stays 0.2.
        let tree = serde_json::from_str(&serde_json::to_string(self)?)?;
        collect("", tree, &mut leaves);
        Ok(leaves)
    }
}

/// A value as it may be shown.
pub fn shown(key: &str, value: &Value) -> Value {
    if is_secret(key) {
        let is_set = !matches!(value, Value::Null) && value.as_str() != Some("");
        return if is_set { "set" } else { "not set" }.into();
    }
    match value {
        Value::String(text) => without_user(key, text).into(),
        Value::Array(items) => items.iter().map(|item| shown(key, item)).collect(),
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    let name = last(key);
    let words: Vec<&str> = name.split('_').collect();
    words.iter().any(|word| SECRET_WORDS.contains(word)) || words.last() == Some(&"key")
}

fn is_address(key: &str) -> bool {
    matches!(last(key).rsplit('_').next(), Some("url" | "endpoint" | "uri"))
}

/// The setting's own name, lower-case, without its sections.
fn last(key: &str) -> String {
    key.rsplit('.').next().unwrap_or(key).to_lowercase()
}

/// An address without what stands before its `@` and without the values of its parameters.
fn without_user(key: &str, text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if is_address(key) => (String::new(), text),
        None => return text.to_owned(),
    };
    // A password may hold a slash that nobody escaped, so the last `@` counts.
    let rest = match rest.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => rest.to_owned(),
    };
    match rest.split_once('?') {
        None => scheme + &rest,
        Some((address, parameters)) => {
            let hide = |parameter: &str| match parameter.split_once('=') {
                Some((name, _)) => format!("{name}={HIDDEN}"),
                None => HIDDEN.to_owned(),
            };
            let parameters: Vec<String> = parameters.split('&').map(hide).collect();
            format!("{scheme}{address}?{}", parameters.join("&"))
        }
    }
}

fn collect(path: &str, value: Value, leaves: &mut serde_json::Map<String, Value>) {
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                collect(&path, value, leaves);
            }
        }
        leaf => {
            leaves.insert(path.to_owned(), leaf);
        }
    }
}

/// The layer that a key was last set in.
fn origin(collected: &config::Map<String, config::Value>, key: &str) -> Origin {
    let mut names = key.split('.');
    let first = names.next().and_then(|name| collected.get(name));
    let value = names.fold(first, |value, name| match &value?.kind {
        config::ValueKind::Table(table) => table.get(name),
        _ => None,
    });
    match (value.and_then(config::Value::origin), variable(key)) {
        (Some("the environment"), Some(name)) => Origin::Variable(name),
        (Some(file), _) => Origin::File(file.to_owned()),
        (None, _) => Origin::Default,
    }
}

/// The variable that sets a key, in the letters that it was written in.
fn variable(key: &str) -> Option<String> {
    let wanted = format!("{ENVIRONMENT_PREFIX}__{}", key.replace('.', "__")).to_lowercase();
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.into_iter().find(|name| name.to_lowercase() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, value: &str) -> String {
        shown(key, &value.into()).as_str().unwrap().to_owned()
    }

    #[test]
    fn secrets_are_told_by_their_names() {
        for key in [
            "rewriter.api_key",
            "vectors.API_KEY",
            "models.token",
            "hub.access_token",
            "x.key",
            "telemetry.otlp_headers",
            "database.password",
            "a.client_secret",
        ] {
            assert_eq!((of(key, "x").as_str(), of(key, "").as_str()), ("set", "not set"), "{key}");
            assert_eq!(shown(key, &Value::Null), "not set", "{key}");
        }
        for key in ["ingest.chunk_tokens", "rewriter.model", "keys.cache_seconds", "data.dir"] {
            assert_eq!(of(key, "x"), "x", "{key}");
        }
    }

    #[test]
    fn addresses_lose_their_users_and_the_values_of_their_parameters() {
        for (text, kept) in [
            ("postgres://me:pa@db:5432/q", "postgres://***@db:5432/q"),
            (
                "postgres://me:p/a@ss@db/q?sslmode=on&password=x",
                "postgres://***@db/q?sslmode=***&password=***",
            ),
            ("http://db:6334", "http://db:6334"),
            ("me:pa@db", "***@db"),
            ("https://db/q?secret", "https://db/q?***"),
        ] {
            assert_eq!(of("database.url", text), kept);
        }
        assert_eq!(of("rewriter.model", "a@b"), "a@b");
        assert_eq!(of("rewriter.model", "https://a:b@c"), "https://***@c");
        assert_eq!(
            shown("a.urls", &serde_json::json!(["http://a:b@c", 1])),
            serde_json::json!(["http://***@c", 1])
        );
    }

    #[test]
    fn origins_are_those_of_the_layers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        std::fs::write(&path, "[http]\nport = 9000\n").unwrap();
        let mut config = Config::load(Some(&path)).unwrap();
        config.data.dir = "/elsewhere".into();
        let settings = config.settings(Some(&path)).unwrap();
        let origin = |key: &str| settings.iter().find(|s| s.key == key).unwrap().origin.clone();
        assert!(matches!(origin("http.port"), Origin::File(file) if file.ends_with("mine.toml")));
        assert_eq!(origin("http.host"), Origin::Default);
        assert_eq!(origin("embedder.dimension"), Origin::Default);
        assert_eq!(origin("data.dir"), Origin::Flag);
        let weight = settings.iter().find(|s| s.key == "retrieval.dense_weight").unwrap();
        assert_eq!(weight.shown.to_string(), "0.2");
    }

    #[test]
    fn addresses_are_found_by_name() {
        assert!(is_address("rewriter.url") && is_address("telemetry.otlp_endpoint"));
        assert!(!is_address("rewriter.model") && !is_address("a.curl"));
    }
}
