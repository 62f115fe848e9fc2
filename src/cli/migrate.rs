//! `querent migrate`: brings the database to this version's schema, before a server is started
//! or by somebody who may change tables where the server may not. `serve` does the same.

use super::{Global, output};
use crate::config::Config;
use crate::error::Result;
use crate::store::Store;

pub async fn run(config: &Config, global: &Global) -> Result<()> {
    let applied = Store::migrate(&config.data.dir, &config.database.url).await?;
    for migration in &applied {
        let (number, description) = (migration.number, &migration.description);
        output::line(&if global.json {
            serde_json::json!({"number": number, "description": description}).to_string()
        } else {
            format!("applied {number:04} {description}")
        })?;
    }
    if applied.is_empty() && !global.json {
        output::line("the database is up to date")?;
    }
    Ok(())
}
