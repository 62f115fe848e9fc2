//! Texts as an embedding model reads them: the prompt in front, the end token behind.

use serde::Deserialize;
use tokenizers::{PaddingDirection, PaddingParams, Tokenizer, TruncationParams};

use super::files::ModelFolder;
use crate::error::{Error, Result};

/// Texts put in front, from `config_sentence_transformers.json`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Prompts {
    #[serde(default)]
    query: String,
    #[serde(default, alias = "passage")]
    document: String,
}

impl Prompts {
    pub(super) fn of(&self, kind: TextKind) -> &str {
        match kind {
            TextKind::Query => &self.query,
            TextKind::Passage => &self.document,
        }
    }
}

/// What a text is embedded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    Query,
    Passage,
}

/// A model folder's tokenizer and prompts, for training what is served.
pub struct EmbeddingTokens {
    tokenizer: Tokenizer,
    prompts: Prompts,
}

impl EmbeddingTokens {
    /// Texts are cut to `max_tokens`, the end token among them.
    ///
    /// # Errors
    /// `model_embedder` for a folder without a usable tokenizer.
    pub fn open(folder: &ModelFolder, max_tokens: usize) -> Result<Self> {
        let mut tokenizer = tokenizer(folder, max_tokens)?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, prompts: prompts(folder)? })
    }

    /// The tokens that the text is embedded as, and whether it had to be cut.
    pub fn tokens(&self, kind: TextKind, text: &str) -> Result<(Vec<u32>, bool)> {
        let text = format!("{}{text}", self.prompts.of(kind));
        let encoding = self.tokenizer.encode_fast(text, true).map_err(unusable)?;
        Ok((encoding.get_ids().to_vec(), !encoding.get_overflowing().is_empty()))
    }

    /// The text of tokens, special ones written out: for people who look at it.
    pub fn shown(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, false).map_err(unusable)
    }
}

/// The folder's tokenizer, padding on the left as last-token pooling needs it.
pub(super) fn tokenizer(folder: &ModelFolder, max_length: usize) -> Result<Tokenizer> {
    let bytes = folder
        .json("tokenizer.json")?
        .ok_or_else(|| unusable("the embedder's folder has no tokenizer.json"))?;
    let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(unusable)?;
    tokenizer.with_padding(Some(PaddingParams {
        direction: PaddingDirection::Left,
        ..PaddingParams::default()
    }));
    tokenizer
        .with_truncation(Some(TruncationParams { max_length, ..TruncationParams::default() }))
        .map_err(unusable)?;
    Ok(tokenizer)
}

pub(super) fn prompts(folder: &ModelFolder) -> Result<Prompts> {
    #[derive(Deserialize)]
    struct SentenceTransformers {
        #[serde(default)]
        prompts: Prompts,
    }
    match folder.json("config_sentence_transformers.json")? {
        None => Ok(Prompts::default()),
        Some(bytes) => Ok(serde_json::from_slice::<SentenceTransformers>(&bytes)?.prompts),
    }
}

pub(super) fn unusable(source: impl std::fmt::Display) -> Error {
    Error::invalid("model_embedder", format!("the embedder cannot be used: {source}"))
}
