//! `querent keys`: API keys in the database.

use clap::Subcommand;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Global, output};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::access::{Key, KeyLimits, NewKey, Scope};

#[derive(Debug, Subcommand)]
pub enum KeysRole {
    /// Make a key for the tenant; it is shown once.
    Create {
        /// What the key is for.
        #[arg(long)]
        name: Option<String>,
        /// What it may do; repeat or part by commas.
        #[arg(long = "scope", value_delimiter = ',', default_values = ["query", "corpus.read"])]
        scopes: Vec<String>,
        /// When it ends, RFC 3339.
        #[arg(long)]
        expires: Option<String>,
        /// Requests a minute; 0 for no limit, [limits] key_rate_per_minute by default.
        #[arg(long)]
        rate: Option<u32>,
        /// Requests at one time; 0 for no limit, [limits] key_max_concurrent by default.
        #[arg(long)]
        concurrency: Option<u32>,
    },
    /// List the tenant's keys, without their secrets: id, prefix, state, rate a minute, requests
    /// at one time, last use, scopes, name.
    List,
    /// End a key.
    Revoke { id: String },
}

pub async fn run(config: &Config, global: &Global, role: KeysRole) -> Result<()> {
    let tenant = global.tenant()?;
    let store = Store::open(&config.data.dir, &config.database.url).await?;
    match role {
        KeysRole::Create { name, scopes, expires, rate, concurrency } => {
            let new = NewKey {
                name,
                scopes: scopes.iter().map(|scope| scope.parse()).collect::<Result<_>>()?,
                expires_at: expires.as_deref().map(instant).transpose()?,
                limits: KeyLimits { rate_per_minute: rate, max_concurrent: concurrency },
            };
            let created = store.create_key(&tenant, new).await?;
            if global.json {
                let mut line = describe(&created.key);
                line["secret"] = created.secret.into();
                output::line(&line.to_string())?;
            } else {
                output::line(&created.secret)?;
            }
        }
        KeysRole::List => {
            let mut after = None;
            loop {
                let page = store.list_keys(&tenant, 100, after.as_deref()).await?;
                for key in &page.items {
                    let json = global.json.then(|| describe(key).to_string());
                    output::line(&json.unwrap_or_else(|| row(key)))?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        KeysRole::Revoke { id } => {
            store.revoke_key(&tenant, &id).await?;
            output::line(&match global.json {
                true => serde_json::json!({"id": id, "revoked": true}).to_string(),
                false => format!("{id} is revoked"),
            })?;
        }
    }
    store.close().await;
    Ok(())
}

fn instant(text: &str) -> Result<OffsetDateTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
        Error::invalid("expires", format!("`{text}` is no RFC 3339 time: {error}"))
    })?;
    if moment <= OffsetDateTime::now_utc() {
        return Err(Error::invalid("expires", format!("`{text}` is past; name a later time")));
    }
    Ok(moment)
}

/// The columns of a list, parted by tabs.
fn row(key: &Key) -> String {
    let now = OffsetDateTime::now_utc();
    let state = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(expiry)) if expiry <= now => "expired",
        _ => "active",
    };
    let limit = |value: Option<u32>| match value {
        None => "default".to_owned(),
        Some(0) => "none".to_owned(),
        Some(value) => value.to_string(),
    };
    [
        key.id.clone(),
        key.prefix.clone(),
        state.to_owned(),
        limit(key.limits.rate_per_minute),
        limit(key.limits.max_concurrent),
        time(key.last_used_at).unwrap_or_else(|| "never".to_owned()),
        key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(","),
        key.name.clone().unwrap_or_default(),
    ]
    .join("\t")
}

fn describe(key: &Key) -> serde_json::Value {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope: &Scope| scope.as_str()).collect();
    serde_json::json!({
        "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": scopes,
        "created_at": time(Some(key.created_at)),
        "expires_at": time(key.expires_at), "revoked_at": time(key.revoked_at),
        "rate_per_minute": key.limits.rate_per_minute,
        "max_concurrent": key.limits.max_concurrent,
        "last_used_at": time(key.last_used_at),
    })
}

fn time(moment: Option<OffsetDateTime>) -> Option<String> {
    moment.and_then(|at| at.format(&Rfc3339).ok())
}
