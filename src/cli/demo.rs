//! `querent demo`: the whole main job on the bundled corpus, offline: ingest, ask twelve
//! ambiguous questions with and without rewriting, show what that changed, then serve.

use std::collections::BTreeMap;

use clap::Args;
use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Global, output, progress, serve, with_app};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::rewrite::conversation::{Action, IssueKind, Role};
use crate::service::Services;
use crate::service::question::{Found, Mode, Question, Search};
use crate::store::TenantId;
use crate::store::corpus::NewDocument;
use crate::store::glossary::GlossaryTerm;

static SUITE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/evals/product-docs");
const COLLECTION: &str = "demo";
/// Ranks beyond this count as not found; the first [`TOP`] are what an answering model reads.
const TOP_K: usize = 10;
const TOP: usize = 5;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Stop after the table instead of serving.
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    address: serve::Address,
}

/// One of the twelve, as `demo.json` has them.
#[derive(Debug, Deserialize)]
struct DemoQuestion {
    query: String,
    messages: Vec<DemoMessage>,
    context: DemoContext,
    /// Path of the page that answers.
    gold: String,
}

#[derive(Debug, Deserialize)]
struct DemoMessage {
    role: String,
    content: String,
}

#[derive(Debug, Deserialize)]
struct DemoContext {
    now: String,
    facts: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct DemoGlossary {
    terms: Vec<GlossaryTerm>,
}

/// A line of `--json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    query: &'a str,
    action: &'static str,
    standalone: &'a str,
    issues: Vec<&'static str>,
    rank_before: Option<usize>,
    rank_after: Option<usize>,
    found: bool,
}

pub async fn run(mut config: Config, global: &Global, args: DemoArgs) -> Result<()> {
    args.address.apply(&mut config);
    let tenant = global.tenant()?;
    let json = global.json;
    let exit = args.exit;
    with_app(config, async |app| {
        let services = &app.services;
        ingest(services, &tenant).await?;
        ask_all(services, &tenant, json).await?;
        if exit { Ok(()) } else { serve::until_stopped(services, true).await }
    })
    .await
}

/// Puts the corpus and the glossary in; a second run finds them there and does nothing.
async fn ingest(services: &Services, tenant: &TenantId) -> Result<()> {
    services.put_collection(tenant, COLLECTION, Some("The sample corpus".into())).await?;
    let glossary: DemoGlossary = read("glossary.json")?;
    services.store().put_glossary(tenant, COLLECTION, glossary.terms).await?;
    let mut pages = Vec::new();
    if let Some(corpus) = SUITE.get_dir("corpus") {
        collect(corpus, &mut pages);
    }
    let bar = progress::bar(pages.len() as u64, "ingesting");
    let accepted = services.accept_documents(tenant, COLLECTION, pages).await?;
    progress::wait(services, tenant, &accepted.task_id, &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

fn collect(dir: &Dir<'_>, pages: &mut Vec<NewDocument>) {
    for file in dir.files() {
        let path = file.path().strip_prefix("corpus").unwrap_or(file.path());
        pages.push(NewDocument {
            id: Some(path.to_string_lossy().into_owned()),
            title: None,
            uri: None,
            media_type: "text/markdown".into(),
            content: file.contents().to_vec(),
            metadata: serde_json::Map::new(),
        });
    }
    for dir in dir.dirs() {
        collect(dir, pages);
    }
}

async fn ask_all(services: &Services, tenant: &TenantId, json: bool) -> Result<()> {
    let questions: Vec<DemoQuestion> = read("demo.json")?;
    let (mut n_before, mut n_after) = (0, 0);
    for (index, question) in questions.iter().enumerate() {
        let before = services.search(tenant, search(question, Mode::Never)?).await?;
        let after = services.search(tenant, search(question, Mode::Auto)?).await?;
        let (rank_before, rank_after) = (rank(&before, question), rank(&after, question));
        let in_top = |rank: Option<usize>| rank.is_some_and(|rank| rank <= TOP);
        n_before += usize::from(in_top(rank_before));
        n_after += usize::from(in_top(rank_after));
        if json {
            let line = Line {
                query: &question.query,
                action: action(&after),
                standalone: &after.rewritten.outcome.standalone,
                issues: issues(&after),
                rank_before,
                rank_after,
                found: in_top(rank_after),
            };
            output::line(&serde_json::to_string(&line)?)?;
        } else {
            output::line(&block(index, question, &before, &after))?;
        }
    }
    if !json {
        output::line(&format!(
            "The page that answers is in the top {TOP} for {n_before} of {total} questions as \
             asked, and for {n_after} of {total} with rewriting.",
            total = questions.len()
        ))?;
    }
    Ok(())
}

fn search(question: &DemoQuestion, mode: Mode) -> Result<Search> {
    let now = OffsetDateTime::parse(&question.context.now, &Rfc3339)
        .map_err(|error| Error::failed("read the demo's clock", error))?;
    let role = |name: &str| if name == "assistant" { Role::Assistant } else { Role::User };
    let messages = question.messages.iter();
    Ok(Search {
        question: Question {
            query: question.query.clone(),
            messages: messages.map(|turn| (role(&turn.role), turn.content.clone())).collect(),
            now: Some(now),
            facts: question.context.facts.clone(),
            collection: Some(COLLECTION.into()),
            mode,
            max_variants: 3,
            // Nobody waits for the demo, so a slow machine shows the same table.
            max_rewrite_ms: 10_000,
            ..Question::default()
        },
        top_k: TOP_K,
        ..Search::default()
    })
}

/// The rank of the first passage of the page that answers.
fn rank(found: &Found, question: &DemoQuestion) -> Option<usize> {
    let place = found.results.iter().position(|passage| passage.document_id == question.gold)?;
    Some(place + 1)
}

fn block(index: usize, question: &DemoQuestion, before: &Found, after: &Found) -> String {
    let top = |found: &Found| {
        let first = found.results.first();
        first.map_or_else(
            || "nothing".to_owned(),
            |passage| {
                let title = passage.title.as_deref().unwrap_or_default();
                format!("{title} ({})", passage.document_id)
            },
        )
    };
    let rank = |found: &Found| rank(found, question).map_or("–".into(), |rank| rank.to_string());
    format!(
        "{number:>2}  {query}\n    {action:<8} {standalone}\n    issues   {issues}\n    \
         before   rank {rank_before:<3} top: {top_before}\n    \
         after    rank {rank_after:<3} top: {top_after}\n",
        number = index + 1,
        query = question.query,
        action = action(after),
        standalone = after.rewritten.outcome.standalone,
        issues = issues(after).join(", "),
        rank_before = rank(before),
        top_before = top(before),
        rank_after = rank(after),
        top_after = top(after),
    )
}

fn action(found: &Found) -> &'static str {
    match found.rewritten.outcome.action {
        Action::Pass => "pass",
        Action::Rewrite => "rewrite",
        Action::Clarify => "clarify",
    }
}

fn issues(found: &Found) -> Vec<&'static str> {
    let issues = found.rewritten.outcome.issues.iter();
    issues
        .map(|issue| match issue.kind {
            IssueKind::MissingInformation => "missing_information",
            IssueKind::Vague => "vague",
            IssueKind::AmbiguousReference => "ambiguous_reference",
        })
        .collect()
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> Result<T> {
    let file = SUITE
        .get_file(name)
        .ok_or_else(|| Error::internal(format!("the binary lacks evals/product-docs/{name}")))?;
    Ok(serde_json::from_slice(file.contents())?)
}
