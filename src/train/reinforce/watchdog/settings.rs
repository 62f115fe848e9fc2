//! When a figure counts as collapsed.

use serde::{Deserialize, Serialize};

use super::{Figure, refuse};
use crate::error::Result;

/// The limits. One that is 0 is not watched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchdogSettings {
    pub enabled: bool,
    /// Steps at the start of the run in which nothing trips.
    pub grace_steps: usize,
    /// First steps whose mean is what relative limits start from.
    pub start_steps: usize,
    /// Last steps whose mean is held against the limits.
    pub window_steps: usize,
    /// Steps in a row that the mean must be beyond a limit.
    pub patience_steps: usize,
    pub max_frac_scorer_failures: f64,
    pub max_frac_groups_without_variance: f64,
    /// Nats per token.
    pub max_kl: f64,
    /// Of the entropy at the start.
    pub min_entropy_share: f64,
    /// Above the share at the start.
    pub max_foreign_script_rise: f64,
    /// Above the share at the start.
    pub max_top_4gram_rise: f64,
    /// Above the share at the start.
    pub max_repetition_rise: f64,
    /// Times the mean length at the start.
    pub max_tokens_growth: f64,
    /// Of the mean length at the start.
    pub min_tokens_share: f64,
    /// Of the share at the start.
    pub min_stopped_share: f64,
    /// Below the mean reward at the start, in units of the reward.
    pub max_reward_fall: f64,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            grace_steps: 20,
            start_steps: 10,
            window_steps: 10,
            patience_steps: 5,
            max_frac_scorer_failures: 0.2,
            max_frac_groups_without_variance: 0.95,
            max_kl: 2.0,
            min_entropy_share: 0.05,
            max_foreign_script_rise: 0.1,
            max_top_4gram_rise: 0.4,
            max_repetition_rise: 0.15,
            max_tokens_growth: 3.0,
            min_tokens_share: 0.25,
            min_stopped_share: 0.5,
            max_reward_fall: 0.75,
        }
    }
}

/// What a figure must not be beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    Off,
    AtMost(f64),
    /// Above the start by more than this.
    Rise(f64),
    /// Above this many times the start.
    Growth(f64),
    /// Below this share of the start.
    LeastShare(f64),
    /// Below the start by more than this.
    Fall(f64),
}

impl WatchdogSettings {
    /// # Errors
    /// `watchdog_options` with the field, its value and what to set.
    pub fn validate(&self) -> Result<()> {
        for (field, steps) in [
            ("start_steps", self.start_steps),
            ("window_steps", self.window_steps),
            ("patience_steps", self.patience_steps),
        ] {
            if steps == 0 {
                return refuse(format!("watchdog.{field} is 0; give at least 1"));
            }
        }
        let shares = [
            ("max_frac_scorer_failures", self.max_frac_scorer_failures),
            ("max_frac_groups_without_variance", self.max_frac_groups_without_variance),
            ("min_entropy_share", self.min_entropy_share),
            ("max_foreign_script_rise", self.max_foreign_script_rise),
            ("max_top_4gram_rise", self.max_top_4gram_rise),
            ("max_repetition_rise", self.max_repetition_rise),
            ("min_tokens_share", self.min_tokens_share),
            ("min_stopped_share", self.min_stopped_share),
        ];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return refuse(format!(
                    "watchdog.{field} is {share}; give a share up to 1, or 0 not to watch it"
                ));
            }
        }
        self.validate_sizes()
    }

    pub(super) fn limit(&self, figure: Figure) -> Limit {
        let of = |value: f64, limit: fn(f64) -> Limit| match value {
            0.0 => Limit::Off,
            value => limit(value),
        };
        match figure {
            Figure::ScorerFailures => of(self.max_frac_scorer_failures, Limit::AtMost),
            Figure::GroupsWithoutVariance => {
                of(self.max_frac_groups_without_variance, Limit::AtMost)
            }
            Figure::Kl => of(self.max_kl, Limit::AtMost),
            Figure::Entropy => of(self.min_entropy_share, Limit::LeastShare),
            Figure::ForeignScript => of(self.max_foreign_script_rise, Limit::Rise),
            Figure::Template => of(self.max_top_4gram_rise, Limit::Rise),
            Figure::Repetition => of(self.max_repetition_rise, Limit::Rise),
            Figure::TokensGrown => of(self.max_tokens_growth, Limit::Growth),
            Figure::TokensShrunk => of(self.min_tokens_share, Limit::LeastShare),
            Figure::Stopped => of(self.min_stopped_share, Limit::LeastShare),
            Figure::Reward => of(self.max_reward_fall, Limit::Fall),
        }
    }

    fn validate_sizes(&self) -> Result<()> {
        let sizes = [
            ("max_kl", self.max_kl, 0.0),
            ("max_tokens_growth", self.max_tokens_growth, 1.0),
            ("max_reward_fall", self.max_reward_fall, 0.0),
        ];
        for (field, size, least) in sizes {
            if !(size == 0.0 || size.is_finite() && size > least) {
                return refuse(format!(
                    "watchdog.{field} is {size}; give a number above {least}, or 0 not to watch it"
                ));
            }
        }
        Ok(())
    }
}

impl Limit {
    /// The limit in the figure's own unit; none where it needs a start that is not known yet.
    pub(super) fn threshold(self, start: Option<f64>) -> Option<f64> {
        match self {
            Self::Off => None,
            Self::AtMost(most) => Some(most),
            Self::Rise(rise) => start.map(|start| start + rise),
            Self::Growth(times) => start.map(|start| start * times),
            Self::LeastShare(share) => start.map(|start| start * share),
            Self::Fall(fall) => start.map(|start| start - fall),
        }
    }

    pub(super) fn is_relative(self) -> bool {
        !matches!(self, Self::Off | Self::AtMost(_))
    }

    /// A value that is no number is beyond every limit.
    pub(super) fn is_beyond(self, value: f64, threshold: f64) -> bool {
        let is_within = match self {
            Self::LeastShare(_) | Self::Fall(_) => value >= threshold,
            Self::Off | Self::AtMost(_) | Self::Rise(_) | Self::Growth(_) => value <= threshold,
        };
        !is_within
    }
}
