//! Text to tokens and back, and the model folder's own chat template.

use std::collections::BTreeSet;

use candle_core::Device;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::files::ModelFolder;
use super::qwen::GgufWeights;
use crate::error::{Error, Result};

/// The tag that ends a turn in every Qwen template.
const END_OF_TURN: &str = "<|im_end|>";

/// One message as a chat template sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateMessage {
    pub role: String,
    pub content: String,
}

/// A tokenizer with its chat template and the tokens that end an answer.
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    template: Option<Environment<'static>>,
    stop_tokens: Vec<u32>,
    special_texts: Vec<String>,
    /// Those of them that open and end turns; others, such as `<think>`, may be said.
    turn_texts: Vec<String>,
}

impl ChatTokenizer {
    /// Reads `tokenizer.json`, or the tokenizer inside a GGUF file without one.
    ///
    /// # Errors
    /// `model_tokenizer` when neither can be used.
    pub fn load(folder: &ModelFolder) -> Result<Self> {
        let gguf = match folder.gguf() {
            Some(path) => Some(GgufWeights::open(path, &Device::Cpu)?),
            None => None,
        };
        let tokenizer = match folder.json("tokenizer.json")? {
            Some(bytes) => Tokenizer::from_bytes(&bytes).map_err(unusable)?,
            None => match &gguf {
                Some(gguf) => Tokenizer::from_gguf(gguf.content()).map_err(unusable)?,
                None => return Err(unusable("the model's folder has no tokenizer.json")),
            },
        };
        let source = template_source(folder, gguf.as_ref())?;
        let template = source.map(environment).transpose()?;
        let special_texts = tokenizer
            .get_added_tokens_decoder()
            .values()
            .map(|token| token.content.clone())
            .filter(|text| !text.trim().is_empty())
            .collect();
        let turn_texts = tokenizer
            .get_added_tokens_decoder()
            .values()
            .filter(|token| token.special && !token.content.trim().is_empty())
            .map(|token| token.content.clone())
            .collect();
        let stop_tokens = stop_tokens(folder, gguf.as_ref(), &tokenizer)?;
        Ok(Self { tokenizer, template, stop_tokens, special_texts, turn_texts })
    }

    /// The tokens of a text; special tokens written out in it are recognised, as a rendered
    /// prompt needs.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(unusable)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of tokens, without special ones.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, true).map_err(unusable)
    }

    /// The text of tokens, special ones written out: for people who look at a prompt.
    pub fn decode_whole(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, false).map_err(unusable)
    }

    /// The token that ends an answer of the model's own.
    ///
    /// # Errors
    /// `model_tokenizer` when the folder names none.
    pub fn end_of_answer(&self) -> Result<u32> {
        let end = self.tokenizer.token_to_id(END_OF_TURN).or(self.stop_tokens.first().copied());
        end.ok_or_else(|| unusable("neither the tokenizer nor the configs name an end token"))
    }

    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop_tokens
    }

    /// The same text with every special token broken up by a space, so that what a person wrote
    /// can never end or open a turn.
    pub fn neutralise(&self, text: &str) -> String {
        broken_up(text, &self.special_texts)
    }

    /// The same for what a model may say itself: only tokens that open or end a turn are broken
    /// up, and not `<think>` or `<tool_call>`.
    pub fn neutralise_turns(&self, text: &str) -> String {
        broken_up(text, &self.turn_texts)
    }

    /// The prompt that the model's template makes of the messages, thinking switched off, ready
    /// for the answer.
    ///
    /// # Errors
    /// `model_template` when the folder has no template or it refuses the messages.
    pub fn render(&self, messages: &[TemplateMessage]) -> Result<String> {
        self.render_with(messages, false)
    }

    /// [`Self::render`] with Qwen3's thinking on or off.
    pub fn render_with(&self, messages: &[TemplateMessage], thinking: bool) -> Result<String> {
        let template = self
            .template
            .as_ref()
            .ok_or_else(|| Error::invalid("model_template", "the model has no chat template"))?;
        let template = template.get_template("chat").map_err(unrenderable)?;
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => true,
                enable_thinking => thinking,
            })
            .map_err(unrenderable)
    }
}

/// The text with each of the given tokens broken up by a space.
fn broken_up(text: &str, tokens: &[String]) -> String {
    let mut text = text.to_owned();
    for token in tokens {
        if text.contains(token.as_str()) {
            let mut broken = token.clone();
            let first_len = broken.chars().next().map_or(0, char::len_utf8);
            broken.insert(first_len, ' ');
            text = text.replace(token.as_str(), &broken);
        }
    }
    text
}

/// A Jinja environment set up as transformers sets up its own.
fn environment(source: String) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| {
        Err::<String, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_template_owned("chat", source).map_err(unrenderable)?;
    Ok(environment)
}

/// `tokenizer_config.json` may hold one template or several by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum TemplateField {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<TemplateField>,
}

fn template_source(folder: &ModelFolder, gguf: Option<&GgufWeights>) -> Result<Option<String>> {
    if let Some(bytes) = folder.json("chat_template.jinja")? {
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    if let Some(bytes) = folder.json("tokenizer_config.json")? {
        let config: TokenizerConfig = serde_json::from_slice(&bytes).map_err(unusable)?;
        match config.chat_template {
            Some(TemplateField::One(source)) => return Ok(Some(source)),
            Some(TemplateField::Named(named)) => {
                let default = named.into_iter().find(|template| template.name == "default");
                return Ok(default.map(|template| template.template));
            }
            None => {}
        }
    }
    let from_gguf = gguf.and_then(|gguf| gguf.content().metadata.get("tokenizer.chat_template"));
    Ok(from_gguf.and_then(|value| value.to_string().ok()).cloned())
}

/// The end tokens named by the generation config, the GGUF metadata and the turn's own tag.
fn stop_tokens(
    folder: &ModelFolder,
    gguf: Option<&GgufWeights>,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(u32),
        Many(Vec<u32>),
    }
    #[derive(Deserialize)]
    struct EndTokens {
        eos_token_id: Option<OneOrMany>,
    }
    let mut stops = BTreeSet::new();
    for name in ["generation_config.json", "config.json"] {
        let Some(bytes) = folder.json(name)? else { continue };
        let ends: EndTokens = serde_json::from_slice(&bytes).map_err(unusable)?;
        match ends.eos_token_id {
            Some(OneOrMany::One(token)) => stops.extend([token]),
            Some(OneOrMany::Many(tokens)) => stops.extend(tokens),
            None => {}
        }
    }
    let from_gguf = gguf
        .and_then(|gguf| gguf.content().metadata.get("tokenizer.ggml.eos_token_id"))
        .and_then(|value| value.to_u32().ok());
    stops.extend(from_gguf);
    stops.extend(tokenizer.token_to_id(END_OF_TURN));
    Ok(stops.into_iter().collect())
}

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::invalid("model_tokenizer", format!("the tokenizer cannot be used: {source}"))
}

fn unrenderable(source: minijinja::Error) -> Error {
    Error::invalid("model_template", format!("the chat template failed: {source:#}"))
}
