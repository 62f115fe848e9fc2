//! What is wrong with a rewrite, by the server's own rules: whether the one that was served keeps
//! the guarantees, and what the model had written before the rules made it good.

use std::sync::Arc;

use crate::evaluate::measure;
use crate::evaluate::run::Values;
use crate::rewrite::Gate;
use crate::rewrite::check;
use crate::rewrite::conversation::{Conversation, Edit, Glossary, Sense, Source, Term, Turn};
use crate::rewrite::evidence::{self, Addition};
use crate::rewrite::plan::Plan;
use crate::rewrite::text::{fold, protected, significant_units};
use crate::service::evaluation::suite::SuiteTurn;
use crate::store::glossary::GlossaryTerm;

/// A turn of the history this long, in words or Chinese characters, is not said again by chance.
const ECHO_UNITS: usize = 4;

/// A query in its conversation with what the rules make of it.
pub struct Judge {
    conversation: Conversation,
    /// Replacements that the rules have worked out, and a rewrite may make too.
    edits: Vec<Edit>,
    n_protected: usize,
}

impl Judge {
    pub fn new(conversation: Conversation) -> Self {
        let Plan { conversation, edits, .. } = Plan::new(conversation, Gate::Always);
        let n_protected = protected(&conversation.query, &conversation.glossary).len();
        Self { conversation, edits, n_protected }
    }

    /// The guarantees, of the question that was served.
    pub fn guarantees(&self, standalone: &str) -> Values {
        let additions = self.additions(standalone);
        let n_lost = self.n_lost(standalone);
        let lost = if n_lost == 0 { 0.0 } else { n_lost as f64 / self.n_protected as f64 };
        let invented = additions.iter().filter(|addition| addition.evidence.is_none());
        let n_words = |addition: &Addition| significant_units(&addition.span.text).len().max(1);
        Values::from([
            (measure::PROTECTED_LOSS.to_owned(), lost),
            (measure::LANGUAGE_KEPT.to_owned(), share(self.keeps_language(standalone, &additions))),
            (measure::UNSUPPORTED_WORDS.to_owned(), invented.map(n_words).sum::<usize>() as f64),
            (measure::EMPTY.to_owned(), share(standalone.trim().is_empty())),
        ])
    }

    /// What is wrong with what the model wrote, before any of it was refused or repaired: 1 where
    /// it is, else 0.
    pub fn faults(&self, written: &str) -> Values {
        let query = &self.conversation.query;
        let text = check::clean(written, query);
        let is_question =
            check::check_size(query, &text).and_then(|()| check::check_form(query, &text)).is_ok();
        let additions = self.additions(&text);
        let invents = additions.iter().any(|addition| addition.evidence.is_none());
        let other_language = is_question && !self.keeps_language(&text, &additions);
        let faults = [
            !is_question,
            is_question && self.n_lost(&text) > 0,
            other_language,
            is_question && invents,
            self.echoes(&text),
        ];
        let named = measure::FAULTS.into_iter().zip(faults);
        named.map(|(name, is_there)| (name.to_owned(), share(is_there))).collect()
    }

    fn additions(&self, text: &str) -> Vec<Addition> {
        evidence::trace(&self.conversation, text, &self.edits)
    }

    fn n_lost(&self, text: &str) -> usize {
        check::lost_pieces(&self.conversation, text, &self.edits).len()
    }

    fn keeps_language(&self, text: &str, additions: &[Addition]) -> bool {
        let is_query = text == self.conversation.query;
        is_query || check::check_language(&self.conversation, text, &self.edits, additions).is_ok()
    }

    /// Whether a whole turn of the history is said again that the query does not say.
    fn echoes(&self, text: &str) -> bool {
        let (text, query) = (words(text), words(&self.conversation.query));
        let says = |all: &[String], turn: &[String]| all.windows(turn.len()).any(|at| at == turn);
        self.conversation.turns.iter().any(|turn| {
            let turn = words(&turn.text);
            turn.len() >= ECHO_UNITS && says(&text, &turn) && !says(&query, &turn)
        })
    }
}

/// The turn as the rewriter takes it.
pub fn conversation(turn: &SuiteTurn, glossary: &[GlossaryTerm]) -> Conversation {
    let turns = turn.history.iter().map(|(role, text)| Turn { role: *role, text: text.clone() });
    Conversation {
        query: turn.query.clone(),
        turns: turns.collect(),
        now: turn.now,
        locale: turn.locale.clone(),
        facts: turn.facts.clone(),
        glossary: Arc::new(Glossary { terms: glossary.iter().map(term).collect() }),
        held_senses: Default::default(),
    }
}

/// A source in one line, as expectations name it.
pub fn source_name(source: &Source) -> String {
    match source {
        Source::Message(idx) => format!("turn {idx}"),
        Source::Fact(key) => format!("fact {key}"),
        Source::Glossary(id) => format!("glossary {id}"),
        Source::Date => "date".to_owned(),
    }
}

/// Whether two texts have the same words in the same order, with no regard to punctuation, width,
/// case and spacing.
pub fn says_the_same(left: &str, right: &str) -> bool {
    words(left) == words(right)
}

fn words(text: &str) -> Vec<String> {
    let units = significant_units(text).into_iter();
    units.map(|unit| unit.text.chars().map(fold).collect()).collect()
}

fn term(term: &GlossaryTerm) -> Term {
    let senses = term.senses.iter().map(|sense| Sense {
        id: sense.id.clone(),
        label: sense.label.clone(),
        definition: sense.definition.clone(),
    });
    Term {
        id: term.id.clone(),
        term: term.term.clone(),
        aliases: term.aliases.clone(),
        senses: senses.collect(),
    }
}

pub fn share(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::conversation::Role;

    fn judge(query: &str, history: &[&str]) -> Judge {
        let turn = SuiteTurn {
            query: query.into(),
            history: history.iter().map(|text| (Role::User, (*text).to_owned())).collect(),
            ..SuiteTurn::default()
        };
        Judge::new(conversation(&turn, &[]))
    }

    fn faulty(judge: &Judge, written: &str) -> Vec<String> {
        let faults = judge.faults(written).into_iter();
        faults.filter(|(_, value)| *value > 0.0).map(|(name, _)| name).collect()
    }

    #[test]
    fn each_fault_of_a_model_has_its_name() {
        let judge = judge("does it cost 49?", &["Tell me about the Harbour lamp from Ningbo"]);
        assert_eq!(faulty(&judge, "does the Harbour lamp cost 49?"), [""; 0]);
        assert_eq!(faulty(&judge, "does the Harbour lamp cost?"), ["written_lost"]);
        assert_eq!(faulty(&judge, "does the Zephyr turbine cost 49?"), ["written_unsupported"]);
        let echo = faulty(&judge, "Tell me about the Harbour lamp from Ningbo does it cost 49?");
        assert!(echo.contains(&"history_echo".to_owned()), "{echo:?}");
        let other = faulty(&judge, "海港灯要 49 吗？");
        assert!(other.contains(&"written_other_language".to_owned()), "{other:?}");
        assert_eq!(faulty(&judge, "<think>hm"), ["written_malformed"]);
    }

    #[test]
    fn the_query_itself_keeps_every_guarantee_and_a_bad_rewrite_does_not() {
        let judge = judge("does it cost 49?", &["Tell me about the Harbour lamp"]);
        let broken = |text: &str| -> Vec<String> {
            let values = judge.guarantees(text).into_iter();
            values
                .filter(|(name, value)| measure::is_violation(name, *value))
                .map(|(n, _)| n)
                .collect()
        };
        assert_eq!(broken("does it cost 49?"), [""; 0]);
        assert_eq!(broken("does the Harbour lamp cost 49?"), [""; 0]);
        assert_eq!(broken("does the Harbour lamp cost?"), ["protected_loss"]);
        assert_eq!(broken("does the Zephyr turbine cost 49?"), ["unsupported_words"]);
        assert_eq!(judge.guarantees("does the Zephyr turbine cost 49?")["unsupported_words"], 3.0);
    }
}
