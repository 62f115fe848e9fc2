//! What a rewriter did against what each turn needed. The caller decides the facts of a turn (what
//! counts as changed, as evidence, as protected, as the same language); here they are counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ratio::Ratio;

/// What a query needed before it could be searched with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Nothing: it is complete by itself.
    Nothing,
    /// What the conversation, the facts or the glossary say.
    Rewrite,
    /// The person's answer: nothing at hand resolves it.
    Clarify,
}

/// What was done with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It was passed on as it came.
    Kept,
    Rewrote,
    /// The person was asked what is meant.
    Asked,
}

/// The facts of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFacts {
    pub need: Need,
    pub done: Done,
    /// The pieces of evidence that the rewrite names.
    pub n_evidence_given: u64,
    /// The pieces that it should name.
    pub n_evidence_wanted: u64,
    /// The pieces that it names and should.
    pub n_evidence_right: u64,
    /// Spans of the query that must survive: numbers, names, quotes, negations.
    pub n_protected: u64,
    /// Those of them that did not.
    pub n_protected_lost: u64,
    /// Whether the result is in the query's language. `None`: there is no result to judge.
    pub is_language_kept: Option<bool>,
}

/// The figures of some turns, each with its counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RewritingScores {
    pub n_turns: u64,
    /// Of the complete queries, those that were rewritten.
    pub over_rewrite: Ratio,
    /// Of the queries that needed rewriting, those that were passed on as they came.
    pub under_rewrite: Ratio,
    /// Of the questions asked back, those that were needed.
    pub clarify_precision: Ratio,
    /// Of the queries that only the person could resolve, those that were asked about.
    pub clarify_recall: Ratio,
    /// Of the evidence named, what is right.
    pub evidence_precision: Ratio,
    /// Of the evidence wanted, what is named.
    pub evidence_recall: Ratio,
    /// Of the protected spans, those that were lost.
    pub protected_loss: Ratio,
    /// Of the turns with protected spans, those that lost any.
    pub turns_with_loss: Ratio,
    pub language_kept: Ratio,
}

impl RewritingScores {
    pub fn of<'a>(turns: impl IntoIterator<Item = &'a TurnFacts>) -> Self {
        let mut scores = Self::default();
        for turn in turns {
            scores.add(turn);
        }
        scores
    }

    pub fn add(&mut self, turn: &TurnFacts) {
        self.n_turns += 1;
        self.over_rewrite += turn.over_rewrite();
        self.under_rewrite += turn.under_rewrite();
        self.clarify_precision += turn.clarify_precision();
        self.clarify_recall += turn.clarify_recall();
        self.evidence_precision += Ratio::new(turn.n_evidence_right, turn.n_evidence_given);
        self.evidence_recall += Ratio::new(turn.n_evidence_right, turn.n_evidence_wanted);
        self.protected_loss += Ratio::new(turn.n_protected_lost, turn.n_protected);
        self.turns_with_loss += one_if(turn.n_protected > 0, turn.n_protected_lost > 0);
        let kept = turn.is_language_kept;
        self.language_kept += one_if(kept.is_some(), kept == Some(true));
    }

    /// The figures by name, for tables and comparisons.
    pub fn by_name(&self) -> BTreeMap<&'static str, Ratio> {
        BTreeMap::from([
            ("over_rewrite", self.over_rewrite),
            ("under_rewrite", self.under_rewrite),
            ("clarify_precision", self.clarify_precision),
            ("clarify_recall", self.clarify_recall),
            ("evidence_precision", self.evidence_precision),
            ("evidence_recall", self.evidence_recall),
            ("protected_loss", self.protected_loss),
            ("turns_with_loss", self.turns_with_loss),
            ("language_kept", self.language_kept),
        ])
    }
}

/// One turn's share of each figure; a whole of 0 where the turn does not count.
impl TurnFacts {
    pub fn over_rewrite(&self) -> Ratio {
        one_if(self.need == Need::Nothing, self.done == Done::Rewrote)
    }

    pub fn under_rewrite(&self) -> Ratio {
        one_if(self.need == Need::Rewrite, self.done == Done::Kept)
    }

    pub fn clarify_precision(&self) -> Ratio {
        one_if(self.done == Done::Asked, self.need == Need::Clarify)
    }

    pub fn clarify_recall(&self) -> Ratio {
        one_if(self.need == Need::Clarify, self.done == Done::Asked)
    }
}

/// How often each need met each deed: the table behind the rates.
pub fn confusion<'a>(
    turns: impl IntoIterator<Item = &'a TurnFacts>,
) -> BTreeMap<(Need, Done), u64> {
    let mut counts = BTreeMap::new();
    for turn in turns {
        *counts.entry((turn.need, turn.done)).or_default() += 1;
    }
    counts
}

fn one_if(counts: bool, is_part: bool) -> Ratio {
    if counts { Ratio::one(is_part) } else { Ratio::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(need: Need, done: Done) -> TurnFacts {
        TurnFacts {
            need,
            done,
            n_evidence_given: 0,
            n_evidence_wanted: 0,
            n_evidence_right: 0,
            n_protected: 0,
            n_protected_lost: 0,
            is_language_kept: None,
        }
    }

    #[test]
    fn each_rate_divides_by_the_turns_it_is_about() {
        use {Done::*, Need::*};
        // As many turns of a kind as no other kind has, so that a mistaken count shows.
        let table = [
            (Nothing, Kept, 1),
            (Nothing, Rewrote, 2),
            (Nothing, Asked, 4),
            (Rewrite, Kept, 8),
            (Rewrite, Rewrote, 16),
            (Rewrite, Asked, 32),
            (Clarify, Kept, 64),
            (Clarify, Rewrote, 128),
            (Clarify, Asked, 256),
        ];
        let turns: Vec<_> =
            table.iter().flat_map(|(need, done, n)| vec![turn(*need, *done); *n]).collect();
        let scores = RewritingScores::of(&turns);
        assert_eq!(scores.n_turns, 511);
        assert_eq!(scores.over_rewrite, Ratio::new(2, 7));
        assert_eq!(scores.under_rewrite, Ratio::new(8, 56));
        assert_eq!(scores.clarify_precision, Ratio::new(256, 292));
        assert_eq!(scores.clarify_recall, Ratio::new(256, 448));
        assert_eq!(scores.language_kept.value(), None);
        assert_eq!(confusion(&turns)[&(Rewrite, Asked)], 32);
    }

    #[test]
    fn evidence_spans_and_language_are_counted_over_all_turns() {
        let base = turn(Need::Rewrite, Done::Rewrote);
        let turns = [
            TurnFacts {
                n_evidence_given: 3,
                n_evidence_wanted: 2,
                n_evidence_right: 1,
                n_protected: 4,
                n_protected_lost: 2,
                is_language_kept: Some(true),
                ..base
            },
            TurnFacts { n_evidence_given: 1, n_evidence_wanted: 5, n_evidence_right: 1, ..base },
            TurnFacts { n_protected: 1, is_language_kept: Some(false), ..base },
        ];
        let scores = RewritingScores::of(&turns).by_name();
        let counts = |name| (scores[name].part, scores[name].whole);
        assert_eq!(counts("evidence_precision"), (2, 4));
        assert_eq!(counts("evidence_recall"), (2, 7));
        assert_eq!(counts("protected_loss"), (2, 5));
        assert_eq!(counts("turns_with_loss"), (1, 2));
        assert_eq!(counts("language_kept"), (1, 2));
    }
}
