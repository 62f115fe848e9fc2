//! Speaks to the server: one POST of a chat, one answer, both bounded. Neither the key nor what
//! the server wrote is ever in an error, because errors are logged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::{Deserialize, Serialize};

use crate::config::RewriterConfig;
use crate::error::{Error, Kind, Result};
use crate::model::TemplateMessage;
use crate::rewrite::Usage;
use crate::rewrite::rewriter::Completion;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A rewrite of 320 tokens with its usage is a few kilobytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Ends of a turn, for servers that were not told the model's own; OpenAI allows four.
const STOPS: [&str; 3] = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"];

/// A server with one model.
pub struct Server {
    client: Client,
    url: Url,
    model: String,
    /// Whether the server takes `chat_template_kwargs`, which switches Qwen3's thinking off.
    takes_template_options: AtomicBool,
}

#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    messages: &'a [TemplateMessage],
    temperature: f32,
    max_tokens: usize,
    stop: [&'static str; STOPS.len()],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_template_kwargs: Option<TemplateOptions>,
}

#[derive(Serialize)]
struct TemplateOptions {
    enable_thinking: bool,
}

#[derive(Deserialize)]
struct ChatAnswer {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<ChatUsage>,
}

#[derive(Deserialize)]
struct Choice {
    message: ChatMessage,
}

#[derive(Deserialize)]
struct ChatMessage {
    content: Option<String>,
}

#[derive(Deserialize, Default)]
struct ChatUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

impl Server {
    /// # Errors
    /// `config` for a URL or a key that cannot be used.
    pub fn new(config: &RewriterConfig) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if !config.api_key.is_empty() {
            let bearer = format!("Bearer {}", config.api_key.expose());
            let mut bearer = HeaderValue::try_from(bearer)
                .map_err(|_| unusable("api_key has characters that no header may have"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("querent/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(config.max_concurrent)
            // What people wrote goes to the server that was named, and to no other.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::failed("prepare for the rewriter's server", error))?;
        Ok(Self {
            client,
            url: chat_url(&config.url)?,
            model: config.remote_model.clone(),
            takes_template_options: AtomicBool::new(true),
        })
    }

    /// The model's answer to the messages.
    ///
    /// # Errors
    /// `rewriter_unavailable`, `rewriter_busy`, and `rewrite_failed` for an answer that is none;
    /// of kind `Invalid` when it is only this request that was refused.
    pub async fn ask(&self, messages: &[TemplateMessage], max_tokens: usize) -> Result<Completion> {
        let with_options = self.takes_template_options.load(Ordering::Relaxed);
        let mut response = self.send(messages, max_tokens, with_options).await?;
        if with_options && is_refused(response.status()) {
            // A strict server refuses a field that it does not know.
            response = self.send(messages, max_tokens, false).await?;
            if response.status().is_success() {
                self.takes_template_options.store(false, Ordering::Relaxed);
            }
        }
        check_status(response.status())?;
        let answer = read_limited(response).await?;
        let answer: ChatAnswer = serde_json::from_slice(&answer).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            failed(format!("no chat completion came (line {line}, column {column})"))
        })?;
        let Some(choice) = answer.choices.into_iter().next() else {
            return Err(failed("a chat completion without choices came"));
        };
        let usage = answer.usage.unwrap_or_default();
        Ok(Completion {
            text: choice.message.content.unwrap_or_default(),
            usage: Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                draft_accepted_tokens: 0,
            },
        })
    }

    async fn send(
        &self,
        messages: &[TemplateMessage],
        max_tokens: usize,
        with_options: bool,
    ) -> Result<Response> {
        let request = ChatRequest {
            model: &self.model,
            messages,
            temperature: 0.0,
            max_tokens,
            stop: STOPS,
            stream: false,
            chat_template_kwargs: with_options
                .then_some(TemplateOptions { enable_thinking: false }),
        };
        let sent = self.client.post(self.url.clone()).json(&request).send().await;
        sent.map_err(|error| unavailable("cannot be reached").caused_by(error.without_url()))
    }
}

/// Where chats are posted at a server that was named with or without `/v1`.
fn chat_url(base: &str) -> Result<Url> {
    // The URL is not repeated in an error, as it may hold a secret by mistake.
    let mut url = Url::parse(base).map_err(|error| unusable(format!("url: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(unusable("url must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(unusable("url must hold no user, password or query; use api_key"));
    }
    let path = url.path().trim_end_matches('/');
    let versioned = if path.ends_with("/v1") { path.to_owned() } else { format!("{path}/v1") };
    url.set_path(&format!("{versioned}/chat/completions"));
    url.set_fragment(None);
    Ok(url)
}

/// Whether the request itself was not understood.
fn is_refused(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 422)
}

fn check_status(status: StatusCode) -> Result<()> {
    let code = status.as_u16();
    match code {
        200..=299 => Ok(()),
        300..=399 => Err(unavailable(format!(
            "redirects ({code}), which is not followed; set [rewriter] url to where it leads"
        ))),
        401 | 403 => Err(unavailable(format!("refuses the key ({code}); set [rewriter] api_key"))),
        404 => Err(unavailable(
            "knows no such model or route (404); check [rewriter] url and remote_model",
        )),
        429 => {
            let message = "the rewriter's server has too much to do (429)";
            Err(Error::new(Kind::Busy, "rewriter_busy", message))
        }
        _ if is_refused(status) => {
            Err(Error::invalid("rewrite_failed", format!("the prompt was refused ({code})")))
        }
        _ => Err(unavailable(format!("failed ({code})"))),
    }
}

async fn read_limited(mut response: Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| unavailable("broke off").caused_by(error.without_url()))?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(failed(format!("an answer of over {MAX_ANSWER_BYTES} bytes came")));
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn unusable(message: impl std::fmt::Display) -> Error {
    Error::invalid("config", format!("the settings cannot be used: [rewriter] {message}"))
}

fn unavailable(what: impl std::fmt::Display) -> Error {
    let message = format!("the rewriter's server {what}");
    Error::new(Kind::Unavailable, "rewriter_unavailable", message)
}

fn failed(what: impl std::fmt::Display) -> Error {
    let message = format!("the rewriter's server: {what}");
    Error::new(Kind::Internal, "rewrite_failed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_with_and_without_its_version() {
        for (base, chats) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("https://h/models/v1/", "https://h/models/v1/chat/completions"),
            ("https://h/models", "https://h/models/v1/chat/completions"),
        ] {
            assert_eq!(chat_url(base).unwrap().as_str(), chats);
        }
    }

    #[test]
    fn a_url_with_a_secret_or_another_scheme_is_refused_and_not_repeated() {
        for base in ["localhost:8000", "file:///etc/passwd", "http://", "h", "ftp://h"] {
            assert_eq!(chat_url(base).unwrap_err().code, "config", "{base}");
        }
        for base in
            ["http://user:canary@h", "http://canary@h", "ftp://canary@h", "http://h/?k=canary"]
        {
            let error = chat_url(base).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
