//! Learning by reward: what GRPO and PPO compute from rewards and log-probabilities.
//!
//! In reading order:
//! - [`options`], [`ppo_options`]: the settings.
//! - [`advantage`]: rewards of groups -> an advantage of each answer (GRPO).
//! - [`normaliser`]: the counts of an optimiser step, which answers and tokens count.
//! - [`mod@policy_loss`]: the losses of GRPO's family; [`figures`] are logged.
//! - [`gae`]: scores of answers -> an advantage and a return of each token (PPO).
//! - [`mod@ppo_loss`]: the losses of PPO's policy and value head.
//! - [`kl`]: estimates of a divergence; [`kl_control`]: coefficients that follow a target.
//! - [`judge`]: who says what an answer is worth; [`rollouts`]: answers drawn and judged.
//! - [`Grpo`], [`Ppo`]: the objectives, PPO's with a [`ValueHead`]; [`health`] and [`watchdog`]
//!   end a run that collapses.
//!
//! The mathematics are functions over f64 slices, one number for each token, that know no model: the
//! caller seeds the network's backward pass with the slopes that they return. A NaN that comes in as
//! a log-prob comes out in the loss, so that the guard sees it.

pub mod advantage;
mod demands;
pub mod figures;
pub mod gae;
mod grpo;
pub mod health;
pub mod judge;
pub mod kl;
pub mod kl_control;
pub mod normaliser;
pub mod options;
pub mod policy_loss;
mod ppo;
pub mod ppo_loss;
pub mod ppo_options;
mod rollouts;
#[cfg(test)]
mod tests;
mod value_head;
pub mod watchdog;

pub use advantage::{AdvantageOptions, Advantages, Group, advantages};
pub use figures::PolicyFigures;
pub use gae::{Estimates, Objective, Scored, estimate};
pub use grpo::Grpo;
pub use judge::{Judge, Judgement};
pub use kl::KlEstimator;
pub use kl_control::KlControl;
pub use normaliser::{Normaliser, loss_mask, overlong_penalty};
pub use options::{Aggregation, GrpoLoss, GrpoOptions, MissingReward, RatioLevel, ScaleRewards};
pub use policy_loss::{LossPart, PolicyPart, policy_loss};
pub use ppo::Ppo;
pub use ppo_loss::{PpoFigures, PpoLossPart, PpoPart, PpoStep, ppo_loss};
pub use ppo_options::{AdaptiveKlOptions, PenaltyOptions, PpoOptions, PpoVariant};
pub use rollouts::{Draw, PromptRow, Prompts};
pub use value_head::ValueHead;
pub use watchdog::{Watchdog, WatchdogSettings};
