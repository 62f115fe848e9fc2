//! `querent keys`: API keys in the database.

use clap::Subcommand;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Global, output};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::store::Store;
use crate::store::access::{Key, NewKey, Scope};

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
    },
    /// List the tenant's keys, without their secrets.
    List,
    /// End a key.
    Revoke { id: String },
}

pub async fn run(config: &Config, global: &Global, role: KeysRole) -> Result<()> {
    let tenant = global.tenant()?;
    let store = Store::open(&config.data.dir, &config.database.url).await?;
    match role {
        KeysRole::Create { name, scopes, expires } => {
            let new = NewKey {
                name,
                scopes: scopes.iter().map(|scope| scope.parse()).collect::<Result<_>>()?,
                expires_at: expires.as_deref().map(instant).transpose()?,
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
                    output::line(&describe(key).to_string())?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        KeysRole::Revoke { id } => {
            store.revoke_key(&tenant, &id).await?;
            output::line(&format!("{id} is revoked"))?;
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

fn describe(key: &Key) -> serde_json::Value {
    let time = |moment: Option<OffsetDateTime>| moment.and_then(|at| at.format(&Rfc3339).ok());
    let scopes: Vec<&str> = key.scopes.iter().map(|scope: &Scope| scope.as_str()).collect();
    serde_json::json!({
        "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": scopes,
        "expires_at": time(key.expires_at), "revoked_at": time(key.revoked_at),
    })
}
