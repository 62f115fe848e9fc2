//! The learning rate of each step: the schedules of Hugging Face's `get_scheduler`, and a factor
//! that the guard may lower.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    Constant,
    /// To 0 at the last step, in a straight line.
    Linear,
    /// To 0 at the last step, along half a period of a cosine.
    Cosine,
}

/// How long the rate rises from 0 in a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUp {
    Steps(u64),
    /// Of all steps, from 0 to 1, rounded up.
    Ratio(f64),
}

/// The planned rate by the number of steps already taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    decay: Decay,
    peak: f64,
    n_warmup_steps: u64,
    n_steps: u64,
}

impl Schedule {
    /// `peak` is reached at the end of the warm-up; `n_steps` are all optimiser steps of the run.
    ///
    /// # Errors
    /// `learning_rate` or `warmup_ratio` for a number that is out of range.
    pub fn new(decay: Decay, peak: f64, warm_up: WarmUp, n_steps: u64) -> Result<Self> {
        if !(peak.is_finite() && peak >= 0.0) {
            return Err(Error::invalid(
                "learning_rate",
                format!("a learning rate of {peak} cannot be used; give a number above 0, as 1e-5"),
            ));
        }
        let n_warmup_steps = match warm_up {
            WarmUp::Steps(n_steps) => n_steps,
            WarmUp::Ratio(ratio) if (0.0..=1.0).contains(&ratio) => {
                // A run of few steps must not consist of its warm-up.
                ((n_steps as f64 * ratio).ceil() as u64).min(n_steps.saturating_sub(1))
            }
            WarmUp::Ratio(ratio) => {
                return Err(Error::invalid(
                    "warmup_ratio",
                    format!("a warm-up ratio of {ratio} cannot be used; give one from 0 to 1"),
                ));
            }
        };
        Ok(Self { decay, peak, n_warmup_steps, n_steps })
    }

    /// The rate of the step that follows `n_taken` steps. After the planned end it stays 0, or at
    /// the peak if constant.
    pub fn learning_rate(&self, n_taken: u64, slowdown: &Slowdown) -> f64 {
        self.peak * self.share(n_taken) * slowdown.share(n_taken)
    }

    fn share(&self, n_taken: u64) -> f64 {
        let (taken, warm_up) = (n_taken as f64, self.n_warmup_steps as f64);
        if n_taken < self.n_warmup_steps {
            return taken / warm_up.max(1.0);
        }
        let n_decay_steps = (self.n_steps as f64 - warm_up).max(1.0);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => ((self.n_steps as f64 - taken) / n_decay_steps).max(0.0),
            Decay::Cosine => {
                let progress = ((taken - warm_up) / n_decay_steps).min(1.0);
                0.5 * (1.0 + (PI * progress).cos())
            }
        }
    }
}

/// What the guard makes of the planned rate after it rolled a run back: a lower factor, reached
/// again in a straight line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slowdown {
    factor: f64,
    /// The number of steps taken where the new warm-up begins.
    from_step: u64,
    n_rewarm_steps: u64,
}

impl Default for Slowdown {
    fn default() -> Self {
        Self { factor: 1.0, from_step: 0, n_rewarm_steps: 0 }
    }
}

impl Slowdown {
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Multiplies the factor by `by`, but keeps it at `least` or more; the rate rises to it during
    /// the `n_rewarm_steps` steps that follow `from_step` taken steps.
    #[must_use]
    pub fn lowered(&self, by: f64, least: f64, from_step: u64, n_rewarm_steps: u64) -> Self {
        Self { factor: (self.factor * by).max(least), from_step, n_rewarm_steps }
    }

    fn share(&self, n_taken: u64) -> f64 {
        let n_since = n_taken.saturating_sub(self.from_step).saturating_add(1);
        if n_since >= self.n_rewarm_steps {
            return self.factor;
        }
        self.factor * n_since as f64 / self.n_rewarm_steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Reference {
        schedules: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        name: String,
        n_warmup_steps: u64,
        n_steps: u64,
        learning_rates: Vec<f64>,
    }

    fn never() -> Slowdown {
        Slowdown::default()
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let text = include_str!("../../tests/parity/fixtures/optimizer.json");
        let cases = serde_json::from_str::<Reference>(text).unwrap().schedules;
        assert!(cases.len() > 10);
        for case in cases {
            let decay = match case.name.as_str() {
                "linear" => Decay::Linear,
                "cosine" => Decay::Cosine,
                _ => Decay::Constant,
            };
            let warm_up = WarmUp::Steps(case.n_warmup_steps);
            let schedule = Schedule::new(decay, 1.0, warm_up, case.n_steps).unwrap();
            for (step, expected) in case.learning_rates.iter().enumerate() {
                if step as u64 > case.n_steps && decay == Decay::Cosine {
                    // Beyond the end transformers follows the cosine up again.
                    assert_eq!(schedule.learning_rate(step as u64, &never()), 0.0);
                    continue;
                }
                let rate = schedule.learning_rate(step as u64, &never());
                assert!((rate - expected).abs() < 1e-12, "{} {step}: {rate}", case.name);
            }
        }
    }

    #[test]
    fn a_ratio_is_rounded_up() {
        let schedule = Schedule::new(Decay::Constant, 1.0, WarmUp::Ratio(0.1), 25).unwrap();
        assert_eq!(schedule.n_warmup_steps, 3);
        assert!(Schedule::new(Decay::Constant, 1.0, WarmUp::Ratio(1.5), 25).is_err());
        assert!(Schedule::new(Decay::Constant, f64::NAN, WarmUp::Steps(0), 25).is_err());
    }

    #[test]
    fn a_slowdown_halves_the_rate_and_warms_up_again() {
        let schedule = Schedule::new(Decay::Constant, 8.0, WarmUp::Steps(0), 1000).unwrap();
        let once = never().lowered(0.5, 1.0 / 16.0, 100, 20);
        assert_eq!(schedule.learning_rate(100, &once), 8.0 * 0.5 / 20.0);
        assert_eq!(schedule.learning_rate(109, &once), 8.0 * 0.5 / 2.0);
        assert_eq!(schedule.learning_rate(119, &once), 4.0);
        assert_eq!(schedule.learning_rate(500, &once), 4.0);
        let least = (0..9).fold(once, |slowdown, _| slowdown.lowered(0.5, 1.0 / 16.0, 100, 20));
        assert_eq!(schedule.learning_rate(500, &least), 0.5);
    }
}
