//! What a caller may hear while a rewrite is being made.

use super::conversation::Issue;

/// A step of a rewrite that is worth telling.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// What the gate found, before any model was asked.
    Gate(GateFinding),
    /// More of what the model writes, unchecked: the outcome alone holds the guarantees.
    Delta(String),
}

/// The gate's word on a query.
#[derive(Debug, Clone, PartialEq)]
pub struct GateFinding {
    /// `complete`, `pronoun`, `ellipsis`, `vague`, …
    pub reason: &'static str,
    pub issues: Vec<Issue>,
    /// Whether the model is asked.
    pub asks_model: bool,
}

/// Takes steps as they come; must return at once.
pub type Listener<'a> = &'a (dyn Fn(Heard) + Send + Sync);
