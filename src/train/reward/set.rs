//! The mix of rewards of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Facts, Reward, retrieval, words};
use crate::error::{Error, Result};

/// A reward, under its name in the settings and the log.
///
/// Read as a text, as not every format of settings takes enums for the keys of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RewardName {
    GoldRank,
    Ndcg,
    ReciprocalRank,
    Gain,
    Restraint,
    Faithfulness,
    Protected,
    Content,
    Language,
    Length,
    Format,
    Reranker,
}

impl RewardName {
    pub const ALL: [Self; 12] = [
        Self::GoldRank,
        Self::Ndcg,
        Self::ReciprocalRank,
        Self::Gain,
        Self::Restraint,
        Self::Faithfulness,
        Self::Protected,
        Self::Content,
        Self::Language,
        Self::Length,
        Self::Format,
        Self::Reranker,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::GoldRank => "gold_rank",
            Self::Ndcg => "ndcg",
            Self::ReciprocalRank => "reciprocal_rank",
            Self::Gain => "gain",
            Self::Restraint => "restraint",
            Self::Faithfulness => "faithfulness",
            Self::Protected => "protected",
            Self::Content => "content",
            Self::Language => "language",
            Self::Length => "length",
            Self::Format => "format",
            Self::Reranker => "reranker",
        }
    }
}

/// Which rewards count how much, and their constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardSet {
    /// The mix: naming one replaces the whole of it. At weight 0 a reward is logged only; one that
    /// is not named is not computed.
    pub weights: BTreeMap<RewardName, f64>,
    /// Whether the search for an answer is the one that people would be served: the rewrite as the
    /// server's checks and repairs leave it, its keywords, and the raw query beside it. Otherwise
    /// it is the answer's question alone.
    pub as_served: bool,
    /// Results that `ndcg` looks at.
    pub k: usize,
    /// Results that are looked through for the gold passages.
    pub depth: usize,
    /// How much more a rank lost to the raw query counts than one won (`gain`).
    pub regret_factor: f64,
    /// Tokens beyond the query's own at which `length` costs all it can.
    pub length_room_tokens: usize,
}

/// A completion's rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The weighted sum; none when a reward with a weight failed: leave the sample out.
    pub total: Option<f64>,
    /// Each reward of the mix, before its weight; none where it failed or says nothing.
    pub each: BTreeMap<&'static str, Option<f64>>,
    /// Whether a reward with a weight failed.
    pub failed: bool,
}

/// How often scoring failed and succeeded, over many completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub n_scored: usize,
    pub n_failed: usize,
}

impl Default for RewardSet {
    fn default() -> Self {
        let weights = BTreeMap::from([
            (RewardName::GoldRank, 0.5),
            (RewardName::Gain, 1.0),
            (RewardName::Restraint, 0.5),
            (RewardName::Faithfulness, 0.5),
            (RewardName::Protected, 0.5),
            (RewardName::Content, 0.25),
            (RewardName::Language, 0.5),
            (RewardName::Length, 0.05),
            (RewardName::Format, 2.0),
        ]);
        let as_served = false;
        Self { weights, as_served, k: 10, depth: 100, regret_factor: 1.5, length_room_tokens: 64 }
    }
}

impl RewardSet {
    /// Refuses what has no meaning; call it once before a run.
    ///
    /// # Errors
    /// `reward_options` with the field, its value and what to set.
    pub fn validate(&self) -> Result<()> {
        self.validate_weights()?;
        for (field, value) in
            [("k", self.k), ("depth", self.depth), ("length_room_tokens", self.length_room_tokens)]
        {
            if value == 0 {
                return refuse(format!("rewards.{field} is 0; give at least 1"));
            }
        }
        if self.k > self.depth {
            let (k, depth) = (self.k, self.depth);
            return refuse(format!(
                "rewards.k is {k}, but only rewards.depth = {depth} results are looked at; raise \
                 depth or lower k"
            ));
        }
        let factor = self.regret_factor;
        if !(factor.is_finite() && factor >= 1.0) {
            return refuse(format!("rewards.regret_factor is {factor}; give a number from 1 on"));
        }
        Ok(())
    }

    /// Scores one completion. A malformed one gets the penalty for its form alone, and no other
    /// gets less: breaking the form must not pay. Without a weight for `format` a malformed
    /// completion is worth what the worst is, the sum of all penalties.
    pub fn score(&self, facts: &Facts) -> Scored {
        let rewards: Vec<(RewardName, f64, Reward)> = self
            .weights
            .iter()
            .map(|(&name, &weight)| (name, weight, self.reward(name, facts)))
            .collect();
        let is_failure =
            |(_, weight, reward): &(_, f64, Reward)| *weight != 0.0 && *reward == Reward::Failed;
        let failed = rewards.iter().any(is_failure);
        let sum: f64 =
            rewards.iter().filter_map(|(_, weight, reward)| Some(weight * reward.value()?)).sum();
        let least = self.least();
        let total = if facts.is_well_formed { sum.max(least) } else { least };
        let each =
            rewards.into_iter().map(|(name, _, reward)| (name.name(), reward.value())).collect();
        Scored { total: (!failed).then_some(total), each, failed }
    }

    /// What a malformed completion is worth, the least there is.
    pub fn least(&self) -> f64 {
        let format = self.weights.get(&RewardName::Format).copied().unwrap_or(0.0);
        if format > 0.0 { -format } else { -self.weights.values().sum::<f64>() }
    }

    /// Whether the completion must be searched with.
    pub fn needs_search(&self) -> bool {
        self.names_any(&[
            RewardName::GoldRank,
            RewardName::Ndcg,
            RewardName::ReciprocalRank,
            RewardName::Gain,
            RewardName::Reranker,
        ])
    }

    /// Whether the raw query must be searched with.
    pub fn needs_raw_search(&self) -> bool {
        self.names_any(&[RewardName::Gain])
    }

    pub fn needs_reranker(&self) -> bool {
        self.names_any(&[RewardName::Reranker])
    }

    fn names_any(&self, names: &[RewardName]) -> bool {
        names.iter().any(|name| self.weights.contains_key(name))
    }

    fn reward(&self, name: RewardName, facts: &Facts) -> Reward {
        if name != RewardName::Format && !facts.is_well_formed {
            return Reward::NotApplicable;
        }
        match name {
            RewardName::GoldRank => retrieval::gold_rank(facts),
            RewardName::Ndcg => retrieval::ndcg(facts, self.k),
            RewardName::ReciprocalRank => retrieval::reciprocal_rank(facts),
            RewardName::Gain => retrieval::gain(facts, self.regret_factor),
            RewardName::Restraint => words::restraint(facts),
            RewardName::Faithfulness => words::faithfulness(facts),
            RewardName::Protected => words::protected(facts),
            RewardName::Content => words::content(facts),
            RewardName::Language => words::language(facts),
            RewardName::Length => words::length(facts, self.length_room_tokens),
            RewardName::Format => words::format(facts),
            RewardName::Reranker => retrieval::reranker(facts),
        }
    }

    fn validate_weights(&self) -> Result<()> {
        for (name, weight) in &self.weights {
            if !(weight.is_finite() && *weight >= 0.0) {
                let name = name.name();
                return refuse(format!(
                    "rewards.weights.{name} is {weight}; give a number from 0 on, as penalties \
                     are negative already"
                ));
            }
        }
        let earns = |name: &RewardName| !matches!(name, RewardName::Format | RewardName::Length);
        if !self.weights.iter().any(|(name, weight)| earns(name) && *weight > 0.0) {
            return refuse(
                "rewards.weights has no reward but `format` and `length` with a weight above 0; \
                 name at least one more, for example `gold_rank`",
            );
        }
        Ok(())
    }
}

impl TryFrom<String> for RewardName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::ALL.into_iter().find(|name| name.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no reward `{text}`; there are {names}")
        })
    }
}

impl From<RewardName> for String {
    fn from(name: RewardName) -> Self {
        name.name().to_owned()
    }
}

impl Tally {
    pub fn add(&mut self, scored: &Scored) {
        self.n_scored += usize::from(!scored.failed);
        self.n_failed += usize::from(scored.failed);
    }

    /// Share of the completions that could not be scored; 0 without any.
    pub fn frac_failed(&self) -> f64 {
        self.n_failed as f64 / (self.n_scored + self.n_failed).max(1) as f64
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid("reward_options", message))
}
