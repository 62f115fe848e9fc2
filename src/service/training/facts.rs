//! What is known of a completion, found out with the server's own rules: its parser, its evidence,
//! its protected pieces and its checks of language. What these refuse, the rewards punish.

use crate::retrieve::Probe;
use crate::rewrite::Gate;
use crate::rewrite::check::{self, Violation};
use crate::rewrite::conversation::{Conversation, SearchKind};
use crate::rewrite::evidence::{self, Addition};
use crate::rewrite::plan::Plan;
use crate::rewrite::text::{fold, protected, significant_units};
use crate::rewrite::verdict::conclude;
use crate::train::reward::{Facts, Kept, Ranks, Reading, Share};

#[cfg(test)]
mod tests;

/// Search queries of a rewrite, as requests have them by default.
const MAX_VARIANTS: usize = 3;

/// A query in its conversation, with what the rules say of it: worked out once for all
/// completions of it.
pub struct Subject {
    /// The conversation, and the replacements by rules (dates, senses, facts), which a completion
    /// may make too.
    plan: Plan,
    is_complete: Option<bool>,
    n_protected: usize,
    n_content: usize,
}

/// What a model wrote.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Raw, as it was generated.
    pub text: &'a str,
    /// Whether it ended by itself; what was cut off is no question.
    pub is_stopped: bool,
    pub n_tokens: usize,
    pub n_query_tokens: usize,
}

/// What searches found: with the completion and with the raw query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    pub gold: Reading<Ranks>,
    pub raw: Reading<Ranks>,
    /// Mean reranker score of what the completion finds, against the raw query, 0 to 1.
    pub reranker: Reading<f64>,
}

impl Subject {
    /// `is_complete` is what the data says of the query: that it was asked before it was made
    /// ambiguous, or that its rewrite [`says_the_same`]. Where it says nothing, only a query
    /// without a conversation is known to be complete. The gate is not asked: it lets half of the
    /// queries that people rewrote pass as complete, and would teach a model to do so.
    pub fn new(conversation: Conversation, is_complete: Option<bool>) -> Self {
        let plan = Plan::new(conversation, Gate::Always);
        let conversation = &plan.conversation;
        let n_protected = protected(&conversation.query, &conversation.glossary).len();
        let units = significant_units(&conversation.query);
        let n_content = units.iter().filter(|unit| unit.is_content()).count();
        let stands_alone = conversation.turns.is_empty() && plan.edits.is_empty();
        let is_complete = is_complete.or(stands_alone.then_some(true));
        Self { plan, is_complete, n_protected, n_content }
    }

    /// What people would be searched for with, had the model written this: the rewrite as checks
    /// and repairs leave it, and the raw query beside it where it is another one.
    pub fn served(&self, written: &Written<'_>, raw_weight: f32) -> Vec<Probe> {
        let model = self.plan.wants_model().then_some(written.text);
        let outcome = conclude(&self.plan, model, MAX_VARIANTS).outcome;
        let queries = outcome.search.into_iter().map(|query| Probe {
            query: 0,
            weight: query.weight,
            by_meaning: query.kind == SearchKind::Semantic,
            text: query.text,
        });
        let mut probes: Vec<Probe> = queries.collect();
        let query = &self.plan.conversation.query;
        if !probes.iter().any(|probe| probe.text == *query) {
            probes.push(Probe { weight: raw_weight, ..Probe::question(query.as_str()) });
        }
        probes
    }

    /// Whether the query needs no rewriting; none where nobody knows.
    #[cfg(test)]
    pub fn is_complete(&self) -> Option<bool> {
        self.is_complete
    }

    /// The question that the server's parser takes out of a completion: what is to be searched
    /// with. None where it takes none.
    pub fn read(&self, written: &Written<'_>) -> Option<String> {
        let query = &self.plan.conversation.query;
        let text = check::clean(written.text, query);
        let is_question =
            check::check_size(query, &text).and_then(|()| check::check_form(query, &text)).is_ok();
        (written.is_stopped && is_question).then_some(text)
    }

    /// All that the rewards ask about a completion.
    pub fn facts(&self, written: &Written<'_>, found: Found) -> Facts {
        let Some(text) = self.read(written) else { return Facts::malformed() };
        let additions = evidence::trace(&self.plan.conversation, &text, &self.plan.edits);
        let lost = check::lost_pieces(&self.plan.conversation, &text, &self.plan.edits).len();
        let content =
            evidence::lost_content(&self.plan.conversation, &text, &self.plan.edits, &additions)
                .len();
        Facts {
            is_well_formed: true,
            is_unchanged: says_the_same(&self.plan.conversation.query, &text),
            is_complete: self.is_complete,
            gold: found.gold,
            raw: found.raw,
            unsupported: Reading::Known(unsupported(&additions)),
            lost_protected: Reading::Known(Share { part: lost, whole: self.n_protected }),
            lost_content: Reading::Known(Share { part: content, whole: self.n_content }),
            writing: Reading::Known(self.writing(&text, &additions)),
            reranker: found.reranker,
            n_tokens: written.n_tokens,
            n_query_tokens: written.n_query_tokens,
        }
    }

    fn writing(&self, text: &str, additions: &[Addition]) -> Kept {
        match check::check_language(&self.plan.conversation, text, &self.plan.edits, additions) {
            Ok(()) => Kept::Kept,
            Err(Violation::WrongScript) => Kept::OtherScript,
            Err(_) => Kept::OtherLanguage,
        }
    }
}

/// Whether two texts have the same words in the same order, with no regard to punctuation, width,
/// case and spacing. Endings and the Chinese script count.
pub fn says_the_same(left: &str, right: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let units = significant_units(text).into_iter();
        units.map(|unit| unit.text.chars().map(fold).collect()).collect()
    };
    words(left) == words(right)
}

/// The words of the additions that nothing says, of all their words.
fn unsupported(additions: &[Addition]) -> Share {
    let n_words = |addition: &Addition| significant_units(&addition.span.text).len().max(1);
    let invented = additions.iter().filter(|addition| addition.evidence.is_none());
    Share { part: invented.map(n_words).sum(), whole: additions.iter().map(n_words).sum() }
}
