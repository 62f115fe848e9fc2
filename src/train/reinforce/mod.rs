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
//!
//! All of these are functions over f64 slices, one number for each token, that know no model: the
//! caller seeds the network's backward pass with the slopes that they return. A NaN that comes in as
//! a log-prob comes out in the loss, so that the guard sees it.

pub mod advantage;
mod demands;
pub mod figures;
pub mod gae;
pub mod kl;
pub mod kl_control;
pub mod normaliser;
pub mod options;
pub mod policy_loss;
pub mod ppo_loss;
pub mod ppo_options;
#[cfg(test)]
mod tests;

pub use advantage::{AdvantageOptions, Advantages, Group, advantages};
pub use figures::PolicyFigures;
pub use gae::{Estimates, Objective, Scored, estimate};
pub use kl::KlEstimator;
pub use kl_control::KlControl;
pub use normaliser::{Normaliser, loss_mask, overlong_penalty};
pub use options::{Aggregation, GrpoLoss, GrpoOptions, MissingReward, RatioLevel, ScaleRewards};
pub use policy_loss::{LossPart, PolicyPart, policy_loss};
pub use ppo_loss::{PpoFigures, PpoLossPart, PpoPart, PpoStep, ppo_loss};
pub use ppo_options::{AdaptiveKlOptions, PenaltyOptions, PpoOptions, PpoVariant};
