//! The ways in which a turn is answered.

use super::suite::SuiteTurn;
use crate::error::{Error, Result};
use crate::service::question::{Mode, Question};

/// A way of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum System {
    /// With the query as it came.
    Raw,
    /// With the rewrite, whatever the gate says.
    Always,
    /// As people are served: the gate decides.
    Gated,
    /// With the rewrite that a person wrote.
    Gold,
}

impl System {
    pub const ALL: [Self; 4] = [Self::Raw, Self::Always, Self::Gated, Self::Gold];

    /// Its name in records and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Always => "always",
            Self::Gated => "gated",
            Self::Gold => "gold",
        }
    }

    /// # Errors
    /// `eval_options` for a name that is none of the four.
    pub fn of_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name).ok_or_else(|| {
            let message =
                format!("no system is called `{name}`; there are raw, always, gated, gold");
            Error::invalid("eval_options", message)
        })
    }

    /// Whether the rewriter takes part.
    pub fn rewrites(self) -> bool {
        matches!(self, Self::Always | Self::Gated)
    }

    /// What is asked of the services; none where the turn has no gold rewrite to ask with.
    pub fn question(self, turn: &SuiteTurn, max_rewrite_ms: u64) -> Option<Question> {
        let mode = match self {
            Self::Raw | Self::Gold => Mode::Never,
            Self::Always => Mode::Always,
            Self::Gated => Mode::Auto,
        };
        let of_turn = Question {
            query: turn.query.clone(),
            messages: turn.history.clone(),
            now: turn.now,
            locale: turn.locale.clone(),
            facts: turn.facts.clone(),
            mode,
            max_variants: 3,
            max_rewrite_ms,
            ..Question::default()
        };
        if self != Self::Gold {
            return Some(of_turn);
        }
        let query = turn.golds.first()?.clone();
        // A gold rewrite says all by itself.
        Some(Question { query, messages: Vec::new(), facts: Default::default(), ..of_turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::conversation::Role;

    #[test]
    fn the_gold_system_asks_with_the_gold_rewrite_alone() {
        let turn = SuiteTurn {
            query: "and its price?".into(),
            history: vec![(Role::User, "the lamp".into())],
            golds: vec!["the lamp's price?".into()],
            ..SuiteTurn::default()
        };
        let gold = System::Gold.question(&turn, 5).unwrap();
        assert_eq!((gold.query.as_str(), gold.messages.len()), ("the lamp's price?", 0));
        assert_eq!(gold.mode, Mode::Never);
        let gated = System::Gated.question(&turn, 5).unwrap();
        assert_eq!((gated.query.as_str(), gated.messages.len()), ("and its price?", 1));
        let bare = SuiteTurn { golds: Vec::new(), ..turn };
        assert!(System::Gold.question(&bare, 5).is_none());
    }

    #[test]
    fn names_lead_back_to_their_systems() {
        for system in System::ALL {
            assert_eq!(System::of_name(system.name()).unwrap(), system);
        }
        assert_eq!(System::of_name("best").unwrap_err().code, "eval_options");
    }
}
