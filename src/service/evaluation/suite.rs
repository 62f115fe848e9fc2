//! A suite: the turns to ask, what they should come to, and what is searched in.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::evaluate::metrics::rewriting::Need;
use crate::rewrite::conversation::{Action, Role};
use crate::rewrite::language::{self, Language};
use crate::store::glossary::GlossaryTerm;

/// Turns with all that is needed to ask and to judge them.
#[derive(Debug, Clone, Default)]
pub struct Suite {
    pub name: String,
    /// The measure that decides.
    pub primary: String,
    /// What is searched in; without documents only rewriting is measured.
    pub documents: Vec<SuiteDocument>,
    /// In force in every turn that has no glossary of its own.
    pub glossary: Vec<GlossaryTerm>,
    pub turns: Vec<SuiteTurn>,
    /// Over the bytes that the suite was read from, in hexadecimal.
    pub sha256: String,
}

/// A document of a suite's corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteDocument {
    pub id: String,
    pub title: Option<String>,
    pub media_type: &'static str,
    pub content: Vec<u8>,
}

/// A query in its conversation, and what it should come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SuiteTurn {
    pub id: String,
    pub conversation: Option<String>,
    /// `lang`, `kind`, `split`, …
    pub slices: BTreeMap<String, String>,
    /// Oldest first, without the query.
    pub history: Vec<(Role, String)>,
    pub query: String,
    pub facts: BTreeMap<String, String>,
    pub now: Option<OffsetDateTime>,
    pub locale: Option<String>,
    /// Its own glossary in place of the suite's.
    pub glossary: Option<Vec<GlossaryTerm>>,
    /// Good rewrites, the best first; none where nobody wrote one.
    pub golds: Vec<String>,
    /// Grades of documents by id; empty where nothing is searched.
    pub grades: HashMap<String, i32>,
    pub expect: Option<Expect>,
}

/// What a case expects of its answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// Those that are right, the best first.
    pub actions: Vec<Action>,
    pub must_include: Vec<String>,
    pub must_not_include: Vec<String>,
    /// Where the added words come from, each as [`super::judge::source_name`] writes it.
    pub sources: BTreeSet<String>,
}

impl Suite {
    /// The turns of which a slice has a value, such as `split` `test`.
    pub fn keep(&mut self, key: &str, value: &str) {
        self.turns.retain(|turn| turn.slices.get(key).is_some_and(|own| own == value));
    }

    /// About `limit` turns, in the suite's order: whole conversations, drawn by `seed`, until
    /// there are enough; the last one is cut short.
    pub fn limit(&mut self, limit: usize, seed: u64) {
        let mut conversations: Vec<([u8; 32], String)> = Vec::new();
        let mut seen = BTreeSet::new();
        for turn in &self.turns {
            let name = turn.conversation_name();
            if seen.insert(name.to_owned()) {
                let draw = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name);
                conversations.push((draw.finalize().into(), name.to_owned()));
            }
        }
        conversations.sort();
        let mut left = limit;
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for (_, name) in conversations {
            let n = self.turns.iter().filter(|turn| turn.conversation_name() == name).count();
            kept.insert(name, n.min(left));
            left = left.saturating_sub(n);
        }
        self.turns.retain(|turn| match kept.get_mut(turn.conversation_name()) {
            Some(n) if *n > 0 => {
                *n -= 1;
                true
            }
            _ => false,
        });
    }
}

impl SuiteTurn {
    /// The conversation, or the turn itself where it is alone.
    pub fn conversation_name(&self) -> &str {
        self.conversation.as_deref().unwrap_or(&self.id)
    }

    /// Whether it is scored by characters, not by words.
    pub fn is_chinese(&self) -> bool {
        match self.slices.get("lang") {
            Some(lang) => lang.starts_with("zh"),
            None => language::of(&self.query) == Language::Chinese,
        }
    }

    /// What the query needs, as far as the suite says.
    pub fn need(&self) -> Option<Need> {
        if let Some(expect) = &self.expect {
            return expect.actions.first().map(|action| match action {
                Action::Pass => Need::Nothing,
                Action::Rewrite => Need::Rewrite,
                Action::Clarify => Need::Clarify,
            });
        }
        let gold = self.golds.first()?;
        let is_same = super::judge::says_the_same(&self.query, gold);
        Some(if is_same { Need::Nothing } else { Need::Rewrite })
    }

    /// Fills in the language where the source does not say it.
    pub fn with_language(mut self) -> Self {
        let name = match language::of(&self.query) {
            Language::Chinese => "zh",
            Language::English => "en",
            Language::Other => "other",
        };
        self.slices.entry("lang".to_owned()).or_insert_with(|| name.to_owned());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(id: &str, conversation: &str) -> SuiteTurn {
        SuiteTurn {
            id: id.into(),
            conversation: Some(conversation.into()),
            query: "what about it?".into(),
            golds: vec!["what about the lamp?".into()],
            ..SuiteTurn::default()
        }
    }

    fn ids(suite: &Suite) -> Vec<&str> {
        suite.turns.iter().map(|turn| turn.id.as_str()).collect()
    }

    #[test]
    fn a_limit_draws_conversations_by_seed_and_keeps_their_order() {
        let all: Vec<SuiteTurn> =
            (0..40).map(|n| turn(&n.to_string(), &format!("c{}", n / 4))).collect();
        let limited = |limit, seed| {
            let mut suite = Suite { turns: all.clone(), ..Suite::default() };
            suite.limit(limit, seed);
            suite
        };
        let suite = limited(10, 1);
        assert_eq!(suite.turns.len(), 10);
        let numbers: Vec<usize> = ids(&suite).iter().map(|id| id.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        let conversations: BTreeSet<usize> = numbers.iter().map(|n| n / 4).collect();
        assert_eq!(conversations.len(), 3);
        assert_eq!(ids(&suite), ids(&limited(10, 1)));
        assert_ne!(ids(&suite), ids(&limited(10, 2)));
        assert_eq!(limited(99, 1).turns.len(), 40);
    }

    #[test]
    fn the_need_is_what_the_case_expects_or_what_the_gold_rewrite_changes() {
        let mut one = turn("1", "c");
        assert_eq!(one.need(), Some(Need::Rewrite));
        one.golds = vec!["What about it".into()];
        assert_eq!(one.need(), Some(Need::Nothing));
        one.expect = Some(Expect { actions: vec![Action::Clarify], ..Expect::default() });
        assert_eq!(one.need(), Some(Need::Clarify));
    }
}
