//! `querent audit`: the audit trail in the local database.

use clap::Args;
use time::format_description::well_known::Rfc3339;

use super::{Global, output};
use crate::config::Config;
use crate::error::Result;
use crate::store::Store;
use crate::store::audit::{AuditEntry, AuditFilter};

const PAGE: usize = 100;

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The calls of nobody's: without a valid key. HTTP shows them to no one.
    #[arg(long)]
    unauthenticated: bool,
    /// A key's id or visible prefix.
    #[arg(long)]
    key: Option<String>,
    #[arg(long)]
    status: Option<u16>,
    /// Most rows to print.
    #[arg(long, default_value_t = PAGE)]
    limit: usize,
}

pub async fn run(config: &Config, global: &Global, args: AuditArgs) -> Result<()> {
    let tenant = global.tenant()?;
    let store = Store::open(&config.data.dir, &config.database.url).await?;
    let filter = AuditFilter { key: args.key, status: args.status, since: None };
    let (mut n_left, mut after) = (args.limit, None);
    while n_left > 0 {
        let (limit, from) = (n_left.min(PAGE), after.as_deref());
        let page = match args.unauthenticated {
            true => store.list_unauthenticated_audit(&filter, limit, from).await?,
            false => store.list_audit(&tenant, &filter, limit, from).await?,
        };
        for entry in &page.items {
            output::line(&if global.json { describe(entry) } else { row(entry) })?;
        }
        n_left -= page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    store.close().await;
    Ok(())
}

/// Time, status, method and route, code, target, key, request, parted by tabs.
fn row(entry: &AuditEntry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    [
        time(entry),
        entry.status.to_string(),
        format!("{} {}", entry.method, entry.route),
        text(&entry.code),
        text(&entry.target),
        text(&entry.key_prefix),
        entry.request_id.clone(),
    ]
    .join("\t")
}

fn describe(entry: &AuditEntry) -> String {
    let line = serde_json::json!({
        "id": entry.id, "at": time(entry), "key_id": entry.key_id,
        "key_prefix": entry.key_prefix, "method": entry.method, "route": entry.route,
        "status": entry.status, "code": entry.code, "request_id": entry.request_id,
        "target": entry.target,
    });
    line.to_string()
}

fn time(entry: &AuditEntry) -> String {
    entry.at.format(&Rfc3339).unwrap_or_default()
}
