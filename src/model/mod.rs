//! Compute: weights, tokens, devices and batching. The only room that names a device. It knows
//! nothing of conversations, collections or requests, and never looks into the store.

pub mod device;
pub mod embedding_tokens;
pub mod encoder;
pub mod files;
pub mod generator;
pub mod host;
pub mod hub;
pub mod memory;
pub mod qwen;
pub mod reranker;
pub mod rollout;
pub mod sampling;
pub mod tensor_file;
pub mod threads;
pub mod tokenizer;

pub use embedding_tokens::{EmbeddingTokens, TextKind};
pub use encoder::Encoder;
pub use files::{ModelFolder, PromptForm};
pub use generator::{GenerateRequest, Generated, Generator, GeneratorOptions};
pub use reranker::Reranker;
pub use tokenizer::{ChatTokenizer, TemplateMessage};
