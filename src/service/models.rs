//! Which models answer, by which names, and what they can take.

use time::OffsetDateTime;

use super::Services;
use crate::error::{Error, Result};
use crate::model::{encoder, reranker};

/// The name that stands for whichever model is in use.
const CHAMPION: &str = "champion";
const MAX_SHOWN_CHARS: usize = 80;

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Rewrite,
    Embed,
    Rerank,
}

/// A model in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// `name@version`.
    pub id: String,
    pub task: Task,
    /// When this process had it loaded.
    pub loaded_at: OffsetDateTime,
}

/// What the embedder takes at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderLimits {
    pub id: String,
    pub dimension: usize,
    /// Longest text, in tokens.
    pub max_tokens: usize,
    /// Tokens of one computation.
    pub batch_tokens: usize,
    /// Requests that may wait.
    pub max_waiting: usize,
}

/// What orders texts by a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scorer {
    pub id: String,
    /// Whether it is a reranker; else it is the embedder, by the angle between its vectors.
    pub is_reranker: bool,
    /// Longest input in tokens: the query with a text for a reranker, else either.
    pub max_tokens: usize,
}

impl Services {
    /// The models in use; the rewriter and the reranker may be missing.
    pub fn served_models(&self) -> Vec<ServedModel> {
        let rewriter = self.rewriter.as_ref().map(|rewriter| (rewriter.id(), Task::Rewrite));
        let embedder = Some((self.retriever.encoder.id(), Task::Embed));
        let reranker =
            self.retriever.reranker.as_ref().map(|reranker| (reranker.id(), Task::Rerank));
        let served = |(id, task): (&str, Task)| ServedModel {
            id: id.to_owned(),
            task,
            loaded_at: self.started_at,
        };
        [rewriter, embedder, reranker].into_iter().flatten().map(served).collect()
    }

    /// The model that a name stands for: its id, its name without the version, or `champion`,
    /// which is the embedder.
    ///
    /// # Errors
    /// `model_not_found`.
    pub fn served_model(&self, name: &str) -> Result<ServedModel> {
        let models = self.served_models();
        let known = models.iter().map(|model| model.id.as_str()).collect::<Vec<_>>().join(", ");
        let is_meant = |model: &&ServedModel| match name {
            CHAMPION => model.task == Task::Embed,
            _ => is_name_of(name, &model.id),
        };
        let found = models.iter().find(is_meant).cloned();
        found.ok_or_else(|| not_found(name, &known))
    }

    /// What the embedder takes.
    pub fn embedder_limits(&self) -> EmbedderLimits {
        let encoder = &self.retriever.encoder;
        EmbedderLimits {
            id: encoder.id().to_owned(),
            dimension: encoder.dimension(),
            max_tokens: encoder.passage_tokens(),
            batch_tokens: encoder::SLICE_TOKENS,
            max_waiting: encoder::MAX_WAITING,
        }
    }

    /// What orders texts by a query: the reranker, or without one the embedder.
    pub fn scorer(&self) -> Scorer {
        let encoder = &self.retriever.encoder;
        match &self.retriever.reranker {
            Some(reranker) => Scorer {
                id: reranker.id().to_owned(),
                is_reranker: true,
                max_tokens: reranker::MAX_TOKENS,
            },
            None => Scorer {
                id: encoder.id().to_owned(),
                is_reranker: false,
                max_tokens: encoder.passage_tokens(),
            },
        }
    }
}

/// Refuses a name that does not stand for the model which an operation uses. No name is fine.
pub(super) fn check_name(asked: Option<&str>, id: &str) -> Result<()> {
    match asked {
        Some(name) if name != CHAMPION && !is_name_of(name, id) => Err(not_found(name, id)),
        _ => Ok(()),
    }
}

fn is_name_of(asked: &str, id: &str) -> bool {
    let name = id.rsplit_once('@').map_or(id, |(name, _version)| name);
    asked == id || asked == name
}

fn not_found(asked: &str, known: &str) -> Error {
    let shown: String = asked.chars().take(MAX_SHOWN_CHARS).collect();
    Error::not_found(
        "model_not_found",
        format!("The model {shown:?} does not answer here; use {known}, or `{CHAMPION}`."),
    )
    .with_field("/model", "names no model that answers here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_three_names() {
        for name in [None, Some("bge-m3@2"), Some("bge-m3"), Some("champion")] {
            assert!(check_name(name, "bge-m3@2").is_ok(), "{name:?}");
        }
        for name in ["bge-m3@1", "bge", "", "text-embedding-3-small", "candidate"] {
            let error = check_name(Some(name), "bge-m3@2").unwrap_err();
            assert_eq!(error.code, "model_not_found");
            assert!(error.message.contains("bge-m3@2"), "{error}");
        }
    }
}
