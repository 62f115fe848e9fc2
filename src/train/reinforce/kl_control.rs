//! Coefficients of divergences that follow a target.

use serde::{Deserialize, Serialize};

use super::ppo_options::PpoOptions;

/// The largest error that the proportional control answers to.
const MAX_ERROR: f64 = 0.2;
/// The penalty's coefficient is doubled or halved where the divergence misses its target by more
/// than this factor.
const TOLERANCE: f64 = 1.5;
/// Where the penalty's coefficient stays.
const PENALTY_RANGE: [f64; 2] = [1e-6, 1e6];

/// The present coefficients; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KlControl {
    /// Of the divergence from the reference in the reward.
    pub kl_coefficient: f64,
    /// Of the divergence from the old policy in PPO-Penalty.
    pub penalty_coefficient: f64,
}

impl KlControl {
    pub fn new(options: &PpoOptions) -> Self {
        Self {
            kl_coefficient: options.kl_coefficient,
            penalty_coefficient: options.penalty.coefficient,
        }
    }

    /// Moves the reward's coefficient after rollouts (Ziegler et al. 2019, arXiv 1909.08593, §2.2):
    /// by the relative error, at most a fifth, times answers over the horizon. `kl` is
    /// [`super::gae::Objective::kl`]. Without `adaptive_kl`, or with a `kl` that is no number,
    /// nothing moves.
    pub fn after_rollouts(&mut self, kl: f64, n_answers: usize, options: &PpoOptions) {
        let Some(adaptive) = options.adaptive_kl.filter(|_| kl.is_finite()) else { return };
        let error = (kl / adaptive.target - 1.0).clamp(-MAX_ERROR, MAX_ERROR);
        // More answers than the horizon count as the horizon: the factor stays positive.
        let share = (n_answers as f64 / adaptive.horizon).min(1.0);
        self.kl_coefficient *= 1.0 + error * share;
    }

    /// Doubles or halves the penalty's coefficient after the passes over rollouts (Schulman et al.
    /// 2017, arXiv 1707.06347, §4). `kl` is [`super::ppo_loss::PpoFigures::old_kl`] of the last
    /// pass.
    pub fn after_update(&mut self, kl: f64, options: &PpoOptions) {
        let target = options.penalty.target;
        if kl > target * TOLERANCE {
            self.penalty_coefficient *= 2.0;
        } else if kl < target / TOLERANCE {
            self.penalty_coefficient /= 2.0;
        }
        let [least, most] = PENALTY_RANGE;
        self.penalty_coefficient = self.penalty_coefficient.clamp(least, most);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ppo_options::AdaptiveKlOptions;
    use super::*;

    fn adaptive() -> PpoOptions {
        let adaptive_kl = Some(AdaptiveKlOptions { target: 6.0, horizon: 1000.0 });
        PpoOptions { adaptive_kl, ..PpoOptions::default() }
    }

    #[test]
    fn the_coefficient_of_the_reward_moves_towards_the_target() {
        let after = |kl: f64, n_answers: usize| {
            let mut control = KlControl::new(&adaptive());
            control.after_rollouts(kl, n_answers, &adaptive());
            control.kl_coefficient / 0.05
        };
        assert!((after(6.6, 100) - 1.01).abs() < 1e-12);
        assert!((after(600.0, 100) - 1.02).abs() < 1e-12);
        assert!((after(0.0, 100) - 0.98).abs() < 1e-12);
        assert!((after(-5.0, 90_000) - 0.8).abs() < 1e-12);
        assert_eq!(after(f64::NAN, 100), 1.0);
    }

    #[test]
    fn without_a_target_it_stays() {
        let mut control = KlControl::new(&PpoOptions::default());
        control.after_rollouts(100.0, 100, &PpoOptions::default());
        assert_eq!(control.kl_coefficient, 0.05);
    }

    #[test]
    fn the_penalty_doubles_halves_and_stays_in_range() {
        let options = PpoOptions::default();
        let mut control = KlControl::new(&options);
        for (kl, expected) in [(0.016, 2.0), (0.014, 2.0), (0.0066, 1.0), (f64::NAN, 1.0)] {
            control.after_update(kl, &options);
            assert_eq!(control.penalty_coefficient, expected);
        }
        (0..200).for_each(|_| control.after_update(1.0, &options));
        assert_eq!(control.penalty_coefficient, 1e6);
    }

    #[test]
    fn the_state_goes_through_a_checkpoint() {
        let control = KlControl { kl_coefficient: 0.123, penalty_coefficient: 0.5 };
        let text = serde_json::to_string(&control).unwrap();
        assert_eq!(serde_json::from_str::<KlControl>(&text).unwrap(), control);
    }
}
