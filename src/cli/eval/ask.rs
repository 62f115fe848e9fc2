//! Asks what is left of a run, with a bar.

use serde_json::Map;
use time::OffsetDateTime;

use super::RUN_FILE;
use super::open::Opened;
use crate::cli::{Global, ingest, progress, with_app};
use crate::error::Result;
use crate::evaluate::run::{RunFile, RunRecord};
use crate::service::Services;
use crate::service::evaluation::{Session, SessionSettings, Suite};
use crate::store::TenantId;
use crate::store::corpus::NewDocument;

const COLLECTION: &str = "eval";

/// Goes on with the run until every turn is there. A run that is done starts nothing.
///
/// # Errors
/// Those of the run's file, of starting, and of the services.
pub async fn ask(opened: Opened, global: &Global) -> Result<RunRecord> {
    let Opened { suite, config, settings, header, out } = opened;
    let mut run = RunFile::open_or_resume(&out.join(RUN_FILE), header, OffsetDateTime::now_utc())?;
    if run.record().is_done() {
        return Ok(run.finish());
    }
    let tenant = global.tenant()?;
    with_app(config, async |app| ask_rest(&app.services, tenant, &suite, settings, &mut run).await)
        .await?;
    Ok(run.finish())
}

async fn ask_rest(
    services: &Services,
    tenant: TenantId,
    suite: &Suite,
    settings: SessionSettings,
    run: &mut RunFile,
) -> Result<()> {
    let mut session = Session::begin(services, tenant.clone(), COLLECTION, suite, settings).await?;
    if !suite.documents.is_empty() {
        ingest::hand_over(services, &tenant, COLLECTION, documents(suite)).await?;
    }
    let bar = progress::bar(suite.turns.len() as u64, "asking");
    for turn in &suite.turns {
        if !run.has(&turn.id) {
            run.append(session.turn(turn).await?)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn documents(suite: &Suite) -> Vec<NewDocument> {
    let documents = suite.documents.iter().map(|document| NewDocument {
        id: Some(document.id.clone()),
        title: document.title.clone(),
        uri: None,
        media_type: document.media_type.into(),
        content: document.content.clone(),
        metadata: Map::new(),
    });
    documents.collect()
}
