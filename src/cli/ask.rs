//! `querent rewrite` and `querent search`: one question from the command line. The context is
//! the request body of the HTTP API, so what works there works here.

use std::io::Read;

use clap::Args;

use super::{Global, output, with_app};
use crate::config::Config;
use crate::error::Result;
use crate::http::query::{RewriteRequest, RewriteResponse, SearchRequest, SearchResponse};

#[derive(Debug, Args)]
pub struct RewriteArgs {
    /// The query; `-` reads a whole request body as JSON from stdin.
    query: String,
    #[command(flatten)]
    context: ContextArgs,
}

#[derive(Debug, Args)]
pub struct SearchArgs {
    /// The query; `-` reads a whole request body as JSON from stdin.
    query: String,
    #[command(flatten)]
    context: ContextArgs,
    /// Passages wanted.
    #[arg(long, default_value_t = 10)]
    top_k: usize,
}

#[derive(Debug, Args)]
struct ContextArgs {
    /// An earlier turn, `user: …` or `assistant: …`; repeat, oldest first.
    #[arg(long = "turn", value_name = "ROLE: TEXT")]
    turns: Vec<String>,
    /// A known fact; repeat.
    #[arg(long = "fact", value_name = "KEY=VALUE")]
    facts: Vec<String>,
    /// The asker's clock, RFC 3339.
    #[arg(long)]
    now: Option<String>,
    /// The collection to take the glossary from, and to search.
    #[arg(long, short)]
    collection: Option<String>,
    /// auto, always or never.
    #[arg(long, default_value = "auto")]
    mode: String,
    /// Time for the rewrite.
    #[arg(long, default_value_t = 2_000)]
    max_rewrite_ms: u64,
}

impl ContextArgs {
    /// The request body that these flags stand for.
    fn body(&self, query: &str) -> serde_json::Value {
        let messages: Vec<_> = self
            .turns
            .iter()
            .map(|turn| {
                let (role, text) = turn.split_once(':').unwrap_or(("user", turn));
                serde_json::json!({"role": role.trim(), "content": text.trim()})
            })
            .collect();
        let facts: serde_json::Map<_, _> = self
            .facts
            .iter()
            .filter_map(|fact| fact.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().into()))
            .collect();
        let mut context = serde_json::Map::new();
        context.insert("facts".into(), facts.into());
        if let Some(now) = &self.now {
            context.insert("now".into(), now.as_str().into());
        }
        let mut body = serde_json::json!({
            "query": query, "messages": messages, "context": context,
            "mode": self.mode, "max_rewrite_ms": self.max_rewrite_ms,
        });
        if let Some(collection) = &self.collection {
            body["collection"] = collection.as_str().into();
        }
        body
    }
}

/// The body from stdin for `-`, else from the flags.
fn body(query: &str, context: &ContextArgs) -> Result<serde_json::Value> {
    if query != "-" {
        return Ok(context.body(query));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

pub async fn rewrite(config: Config, global: &Global, args: RewriteArgs) -> Result<()> {
    let tenant = global.tenant()?;
    let request: RewriteRequest = serde_json::from_value(body(&args.query, &args.context)?)?;
    let asked = request.check()?;
    let rewritten =
        with_app(config, async |app| app.services.rewrite(&tenant, asked.question).await).await?;
    if global.json {
        return output::line(&serde_json::to_string(&RewriteResponse::new(
            rewritten,
            &asked.positions,
        ))?);
    }
    output::line(&rewritten.outcome.standalone)
}

pub async fn search(config: Config, global: &Global, args: SearchArgs) -> Result<()> {
    let tenant = global.tenant()?;
    let mut body = body(&args.query, &args.context)?;
    if body.get("top_k").is_none() {
        body["top_k"] = args.top_k.into();
    }
    let request: SearchRequest = serde_json::from_value(body)?;
    let asked = request.check()?;
    let (search, positions) = (asked.search, asked.positions);
    let found = with_app(config, async |app| app.services.search(&tenant, search).await).await?;
    if global.json {
        return output::line(&serde_json::to_string(&SearchResponse::new(found, &positions))?);
    }
    output::line(&found.rewritten.outcome.standalone)?;
    for (index, passage) in found.results.iter().enumerate() {
        let title = passage.title.as_deref().unwrap_or_default();
        let start: String = passage.text.chars().take(120).collect();
        let start = start.replace('\n', " ");
        output::line(&format!("{:>2}. {title} ({})\n    {start}", index + 1, passage.document_id))?;
    }
    Ok(())
}
