//! The rewriter at an OpenAI-compatible server (vLLM, llama.cpp, Ollama): the same prompt, the
//! same deadline and the same checks as for the local model. What the server does wrong costs a
//! request its rewrite and never its answer, and a server that is down costs no time at all.

mod breaker;
mod estimate;
mod server;

use std::time::Instant;

use tokio::sync::Semaphore;

use super::conversation::Conversation;
use super::prompt::{self, Tokens};
use super::rewriter::Completion;
use crate::config::RewriterConfig;
use crate::error::{Error, Kind, Result};
use crate::model::PromptForm;
use breaker::Breaker;
use estimate::Estimate;
use server::Server;

/// The code of a request that the server was spared, because it has just failed in a row.
pub const SKIPPED: &str = "rewriter_skipped";

/// A model at a server.
pub struct RemoteRewriter {
    id: String,
    server: Server,
    context_tokens: usize,
    permits: Semaphore,
    breaker: Breaker,
}

impl RemoteRewriter {
    /// Takes the settings; the server is not asked before the first request.
    ///
    /// # Errors
    /// `config` for a URL or a key that cannot be used.
    pub fn new(config: &RewriterConfig) -> Result<Self> {
        Ok(Self {
            id: format!("remote:{}", config.remote_model),
            server: Server::new(config)?,
            context_tokens: config.context_tokens,
            permits: Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS)),
            breaker: Breaker::default(),
        })
    }

    /// `remote:` and the model's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model's reading of the query, unchecked. Dropping the future ends the request.
    ///
    /// # Errors
    /// `rewriter_busy`, `rewriter_unavailable`, [`SKIPPED`], `rewrite_timeout`, and
    /// `rewrite_failed` for an answer that is none.
    pub async fn complete(
        &self,
        conversation: &Conversation,
        deadline: Instant,
    ) -> Result<Completion> {
        let Ok(_permit) = self.permits.try_acquire() else {
            let message = "too many requests are with the rewriter's server; see max_concurrent";
            return Err(Error::new(Kind::Busy, "rewriter_busy", message));
        };
        let Some(attempt) = self.breaker.attempt(deadline) else {
            let message = "the rewriter's server has failed several times in a row";
            return Err(Error::new(Kind::Unavailable, SKIPPED, message));
        };
        let max_new_tokens = prompt::max_new_tokens(Estimate.count(&conversation.query)?);
        let form = PromptForm::Instruct;
        let messages = prompt::messages(conversation, form, self.context_tokens, &Estimate)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = self.server.ask(&messages, max_new_tokens);
        let Ok(answer) = tokio::time::timeout(left, asked).await else {
            // Dropping the attempt behind its deadline counts it.
            let message = "the rewriter's server did not answer in time";
            return Err(Error::new(Kind::Timeout, "rewrite_timeout", message));
        };
        match &answer {
            Ok(_) => attempt.succeeded(),
            // The server is well; it is this one request that it would not take.
            Err(error) if matches!(error.kind, Kind::Busy | Kind::Invalid) => attempt.pardoned(),
            Err(_) => attempt.failed(),
        }
        answer
    }
}
