//! querent turns the ambiguous queries of a chat into faithful standalone questions and ranked
//! passages.
//!
//! The rooms, in reading order; **imports only point downwards** (`tests/architecture.rs`):
//!
//! - [`cli`]: the command line, roles as subcommands.
//! - [`http`]: the only room that knows axum, JSON on the wire and status codes.
//! - [`app`]: builds every part once, in order, and takes them down again.
//! - [`service`]: use cases, one a file; no axum, no SQL text.
//! - [`rewrite`]: a conversation -> a faithful standalone question and search queries.
//! - [`retrieve`]: queries -> ranked passages, documents -> chunks.
//! - [`train`]: data -> weights: SFT, preferences, rewards, InfoNCE, and what a run needs to be
//!   trusted.
//! - [`evaluate`]: is a model better: figures, their certainty, the gate, reports.
//! - [`model`]: compute: Qwen, its generator, the embedder, the reranker, model folders.
//! - [`store`]: state: SQL is the truth, the vector index is derived from it.
//! - [`config`], [`error`], [`telemetry`].
//!
//! `rewrite`, `retrieve`, `train` and `evaluate` never import one another, `model` never imports `store`.
//!
//! # Three walkthroughs
//!
//! Ask: `http/query` -> `service/ask` -> `rewrite` (-> `model/generator`) and, beside it,
//! `retrieve` (-> `model/encoder`, `store/vectors`) -> fusion -> `http/query/answer`.
//!
//! Ingest: `http/corpus` -> `service/collections` -> `store` (one transaction: the
//! acknowledgement) -> `service/ingest` (parse, chunk, embed, chunks in SQL, then the index).
//! What a stranger's file could subvert is parsed by this program again, as a child that has given
//! up all it does not need (`retrieve/parse/parsers`, `confine`).
//!
//! Learn: `cli/train` -> `service/training` (rows as the tokens that are served) -> `train/run`
//! (-> an objective -> `model/qwen/training`, guard, optimiser, checkpoints) -> `train/export`.
//!
//! # Invariants
//!
//! Only `http` serialises for the wire. Only `store` contains SQL. Only `model` names a device.
//! Every function of `store/vectors` and of the corpus takes a `TenantId`. Nothing blocks a
//! runtime thread for over 500 µs: compute runs on threads of its own. Search answers with the
//! rewriter, the reranker or the index gone. One definition of Qwen serves, embeds and trains.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

pub mod cli;
pub mod http;

pub mod app;
pub mod service;

pub mod rewrite;

pub mod retrieve;

pub mod train;

pub mod evaluate;

pub mod model;
pub mod store;

pub mod config;
pub mod error;
pub mod telemetry;
