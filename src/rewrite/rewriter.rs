//! The rewriter, local or remote behind the same functions; and the local model as one: its
//! folder, its tokenizer, its compute thread and its prompt.

use std::time::Instant;

use candle_core::Device;

use super::Usage;
use super::conversation::{Conversation, Glossary};
use super::folding::Folding;
use super::listen::{Heard, Listener};
use super::prompt::{self, MAX_CONTEXT_TOKENS, PROMPT_OVERHEAD_TOKENS};
use super::remote::RemoteRewriter;
use crate::error::{Error, Kind, Result};
use crate::model::files::ModelCard;
use crate::model::generator::{Event, Finish, Generated};
use crate::model::memory;
use crate::model::qwen::QwenConfig;
use crate::model::{
    ChatTokenizer, GenerateRequest, Generator, GeneratorOptions, ModelFolder, PromptForm,
};

/// Rows computed together, and requests that may wait.
const MAX_ROWS: usize = 16;
const MAX_WAITING: usize = 256;
/// Room for a query and its answer, without which a model cannot serve.
const MIN_ROOM_TOKENS: usize = 192;

/// What writes: a model of this process, or a server elsewhere.
pub enum Rewriter {
    Local(Box<LocalRewriter>),
    Remote(Box<RemoteRewriter>),
}

impl Rewriter {
    /// `name@version`, or `remote:name`.
    pub fn id(&self) -> &str {
        match self {
            Self::Local(local) => local.id(),
            Self::Remote(remote) => remote.id(),
        }
    }

    /// The model's reading of the query, unchecked. Dropping the future cancels the work.
    pub async fn complete(
        &self,
        conversation: &Conversation,
        deadline: Instant,
        listener: Option<Listener<'_>>,
    ) -> Result<Completion> {
        match self {
            Self::Local(local) => local.complete(conversation, deadline, listener).await,
            Self::Remote(remote) => {
                let completion = remote.complete(conversation, deadline).await?;
                if let Some(listener) = listener {
                    listener(Heard::Delta(completion.text.clone()));
                }
                Ok(completion)
            }
        }
    }
}

/// A loaded model that rewrites.
pub struct LocalRewriter {
    id: String,
    card: ModelCard,
    tokenizer: ChatTokenizer,
    generator: Generator,
}

/// What the model wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    pub usage: Usage,
}

impl LocalRewriter {
    /// Loads a model folder and starts its compute thread.
    ///
    /// # Errors
    /// `model_…` codes for a folder that cannot be used, `model_window` when its window is too
    /// small for the prompt.
    pub fn load(folder: &ModelFolder) -> Result<Self> {
        let card = folder.card()?;
        let tokenizer = ChatTokenizer::load(folder)?;
        let model = folder.load_qwen(&Device::Cpu)?;
        let model = model.with_blocks_by_columns()?.with_head_by_columns()?;
        let shared_prefix = shared_prefix(card.prompt, &tokenizer)?;
        let (needed, window) = (shared_prefix.len() + MIN_ROOM_TOKENS, model.config().window);
        if window < needed {
            return Err(Error::invalid(
                "model_window",
                format!(
                    "{} has a window of {window} tokens; its prompt needs at least {needed}",
                    folder.name()
                ),
            ));
        }
        let max_rows = rows_in_memory(model.config());
        let generator = Generator::start(
            model,
            GeneratorOptions {
                max_rows,
                max_waiting: MAX_WAITING,
                shared_prefix,
                stop_tokens: tokenizer.stop_tokens().to_vec(),
            },
        )?;
        Ok(Self { id: folder.id()?, card, tokenizer, generator })
    }

    /// `name@version`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model's reading of the query, unchecked. Dropping the future cancels the row.
    pub async fn complete(
        &self,
        conversation: &Conversation,
        deadline: Instant,
        listener: Option<Listener<'_>>,
    ) -> Result<Completion> {
        let folding = self.folding(conversation);
        let folded = folding.as_ref().map(|folding| folding.fold(conversation));
        let conversation = folded.as_ref().unwrap_or(conversation);
        let n_query = self.tokenizer.encode(&conversation.query)?.len();
        let max_new_tokens = prompt::max_new_tokens(n_query);
        let room = self.generator.window().saturating_sub(n_query + max_new_tokens);
        let prompt = prompt::tokens(conversation, &self.card, room, &self.tokenizer)?;
        let mut request = GenerateRequest::greedy(prompt, max_new_tokens);
        request.deadline = Some(deadline);
        let generated = self.generate(request, folding.as_ref(), listener).await?;
        match generated.finish {
            // Half a sentence is no reading.
            Finish::Deadline => {
                let message = "the rewriter did not end in time";
                return Err(Error::new(Kind::Timeout, "rewrite_timeout", message));
            }
            Finish::Loop | Finish::Length => {
                tracing::debug!(finish = ?generated.finish, "the rewriter did not end by itself");
            }
            Finish::Stop | Finish::Cancelled => {}
        }
        let mut text = self.tokenizer.decode(&generated.tokens)?;
        if let Some(folding) = &folding {
            text = folding.unfold(&text);
        }
        Ok(Completion {
            text,
            usage: Usage {
                prompt_tokens: generated.n_prompt_tokens,
                completion_tokens: generated.tokens.len(),
                draft_accepted_tokens: generated.n_drafts_accepted,
            },
        })
    }

    /// Generates to the end; a listener hears each piece of text that is whole.
    async fn generate(
        &self,
        request: GenerateRequest,
        folding: Option<&Folding>,
        listener: Option<Listener<'_>>,
    ) -> Result<Generated> {
        let Some(listener) = listener else { return self.generator.generate(request).await };
        let mut events = self.generator.stream(request)?;
        let (mut tokens, mut n_told) = (Vec::new(), 0);
        while let Some(event) = events.recv().await {
            match event {
                Event::Finished(generated) => return Ok(generated),
                Event::Failed(error) => return Err(error),
                Event::Tokens(new) => {
                    tokens.extend(new);
                    let mut text = self.tokenizer.decode(&tokens)?;
                    // The bytes of one character may come in several tokens.
                    text.truncate(text.trim_end_matches(char::REPLACEMENT_CHARACTER).len());
                    if let Some(delta) = text.get(n_told..).filter(|delta| !delta.is_empty()) {
                        listener(Heard::Delta(
                            folding.map_or_else(|| delta.to_owned(), |f| f.unfold(delta)),
                        ));
                        n_told = text.len();
                    }
                }
            }
        }
        Err(Error::new(Kind::Unavailable, "rewriter_gone", "the rewriter has stopped"))
    }

    /// A restoring model knows simplified characters alone: traditional ones are folded for it
    /// and put back in what it copied.
    fn folding(&self, conversation: &Conversation) -> Option<Folding> {
        (self.card.prompt == PromptForm::Restore).then(|| Folding::of(conversation)).flatten()
    }
}

/// How many rows of full length half of the free memory holds: others need some of it too.
fn rows_in_memory(config: &QwenConfig) -> usize {
    let n_tokens = config.window.min(MAX_CONTEXT_TOKENS + PROMPT_OVERHEAD_TOKENS);
    let of_row = memory::cache_bytes(config, n_tokens).max(1);
    let Some(free) = memory::available_bytes() else { return MAX_ROWS };
    usize::try_from(free / 2 / of_row).unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS)
}

/// The tokens that every prompt of a form begins with: what two unlike conversations share.
fn shared_prefix(form: PromptForm, tokenizer: &ChatTokenizer) -> Result<Vec<u32>> {
    let tokens_of = |query: &str| -> Result<Vec<u32>> {
        let conversation = Conversation {
            query: query.to_owned(),
            turns: Vec::new(),
            now: None,
            locale: None,
            facts: [(query.to_owned(), query.to_owned())].into(),
            glossary: Glossary::default().into(),
            held_senses: Default::default(),
        };
        let messages = prompt::messages(&conversation, form, 64, tokenizer)?;
        tokenizer.encode(&tokenizer.render(&messages)?)
    };
    let (first, second) = (tokens_of("one")?, tokens_of("另")?);
    let n_shared = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    Ok(first[..n_shared].to_vec())
}
