//! Models from the Hugging Face hub, into the cache layout that its own tools share. Only data is
//! taken (safetensors, GGUF, JSON, text), everything is checked against the hub's digests, and
//! nothing is ever fetched but by [`pull`]. The crate `hf-hub` 1.0 was left out: with aws-lc and
//! xet it brings 590 crates for these few requests.

mod cache;
mod client;
mod digest;
mod download;
mod listing;
mod pull;
mod repo;
mod settings;

pub use cache::{CachedModel, cached, find};
pub use pull::{Progress, PullRequest, Pulled, pull};
pub use repo::ModelRef;
pub use settings::HubSettings;
