//! The figures that tell a collapse.

use serde::{Deserialize, Serialize};

use crate::train::reinforce::health::Health;

/// A figure that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    ScorerFailures,
    Kl,
    Entropy,
    GroupsWithoutVariance,
    ForeignScript,
    Repetition,
    Template,
    TokensGrown,
    TokensShrunk,
    Stopped,
    Reward,
}

impl Figure {
    /// Where several trip at once, the first is told: what says most about the cause. Without
    /// scores no other figure means much.
    pub const ALL: [Self; 11] = [
        Self::ScorerFailures,
        Self::Kl,
        Self::ForeignScript,
        Self::Repetition,
        Self::TokensGrown,
        Self::TokensShrunk,
        Self::Stopped,
        Self::Template,
        Self::Entropy,
        Self::GroupsWithoutVariance,
        Self::Reward,
    ];

    /// Its name in the log and in [`Health`].
    pub fn name(self) -> &'static str {
        match self {
            Self::ScorerFailures => "frac_scorer_failures",
            Self::Kl => "kl",
            Self::Entropy => "entropy",
            Self::GroupsWithoutVariance => "frac_groups_without_variance",
            Self::ForeignScript => "frac_foreign_script",
            Self::Repetition => "repetition",
            Self::Template => "top_4gram_share",
            Self::TokensGrown | Self::TokensShrunk => "mean_tokens",
            Self::Stopped => "frac_stopped",
            Self::Reward => "reward",
        }
    }

    pub(super) fn of(self, health: &Health) -> Option<f64> {
        match self {
            Self::ScorerFailures => health.frac_scorer_failures,
            Self::Kl => health.kl,
            Self::Entropy => health.entropy,
            Self::GroupsWithoutVariance => health.frac_groups_without_variance,
            Self::ForeignScript => health.frac_foreign_script,
            Self::Repetition => health.repetition,
            Self::Template => health.top_4gram_share,
            Self::TokensGrown | Self::TokensShrunk => health.mean_tokens,
            Self::Stopped => health.frac_stopped,
            Self::Reward => health.reward,
        }
    }

    /// Whether falling below the limit is what is wrong.
    pub(super) fn is_floor(self) -> bool {
        matches!(self, Self::Entropy | Self::TokensShrunk | Self::Stopped | Self::Reward)
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::ScorerFailures => "the share of completions that could not be scored",
            Self::Kl => "the KL divergence from the reference",
            Self::Entropy => "the policy's entropy",
            Self::GroupsWithoutVariance => "the share of groups whose rewards are all equal",
            Self::ForeignScript => {
                "the share of characters in scripts that the prompt does not use"
            }
            Self::Repetition => "the share of a completion's 4-grams that repeat",
            Self::Template => "the share of completions with the same 4-gram of their own",
            Self::TokensGrown | Self::TokensShrunk => "the mean length in tokens",
            Self::Stopped => "the share of completions that end by themselves",
            Self::Reward => "the mean reward",
        }
    }

    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::ScorerFailures => {
                "The rewards are at fault, not the model: see that the retriever or the reranker \
                 answers, then go on from the checkpoint."
            }
            Self::Kl => {
                "The policy ran away from its start: lower the learning rate, raise beta, or \
                 clip more tightly."
            }
            Self::Entropy => {
                "The policy is sure of everything and finds nothing new: raise the temperature or \
                 the entropy bonus, raise epsilon_high, or lower the learning rate."
            }
            Self::GroupsWithoutVariance => {
                "There is nothing left to learn from such groups: raise the temperature or the \
                 group size, resample groups, or take harder rows."
            }
            Self::ForeignScript => {
                "The policy writes gibberish: lower the learning rate, raise beta, and give \
                 `language` and `faithfulness` a weight."
            }
            Self::Repetition => {
                "The policy loops: lower the learning rate, raise beta, and give `format` and \
                 `length` a weight."
            }
            Self::Template => {
                "The policy answers everything with one template: the reward pays for wording \
                 alone. Give a reward of the retriever more weight, and `faithfulness` too."
            }
            Self::TokensGrown => {
                "Longer completions pay: give `length` and `faithfulness` more weight, or set an \
                 overlong penalty."
            }
            Self::TokensShrunk => {
                "The policy says next to nothing: lower the weight of `length`, and give `content` \
                 and a reward of the retriever more."
            }
            Self::Stopped => {
                "The policy no longer ends its answers: raise the token limit, set an overlong \
                 penalty, or lower the learning rate."
            }
            Self::Reward => {
                "The policy got worse at what it is paid for: lower the learning rate or raise beta."
            }
        }
    }
}
