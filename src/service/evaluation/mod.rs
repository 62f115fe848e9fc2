//! Runs a suite through the services as people would use them, turn by turn and under several
//! systems, and records what each turn came to. What follows from the records is for
//! [`crate::evaluate`] to say.
//!
//! In reading order:
//!
//! - [`suite`]: turns, documents and a glossary, wherever they come from.
//! - [`folder`]: a suite as a folder with `suite.toml`; [`sets`]: public sets as their publishers
//!   give them; [`replay`]: what people asked, where that is logged.
//! - [`systems`]: the ways in which a turn is answered: raw, always, gated, gold.
//! - [`session`]: asks the services, and puts a turn's record together.
//! - [`figures`], [`judge`], [`features`]: the numbers of an answer, of a rewrite, of a query.
//! - [`header`]: the hashes of all that a run was made of.
//! - [`corpus_scores`]: figures that papers give over a whole set, not as a mean over turns.

pub mod corpus_scores;
mod features;
mod figures;
pub mod folder;
pub mod header;
mod judge;
pub mod replay;
pub mod session;
pub mod sets;
pub mod suite;
pub mod systems;

pub use session::{Session, SessionSettings};
pub use suite::{Suite, SuiteDocument, SuiteTurn};
pub use systems::System;
