//! Estimates of the divergence KL(π ‖ π_ref) from a token that π drew (Schulman 2020, "Approximating
//! KL divergence"). With d = log π − log π_ref of the token, each has the divergence as its
//! expectation (k2 nearly), and k2 and k3 are never negative.

use serde::{Deserialize, Serialize};

/// Beyond this an exponent is held: e²⁰ is far over any ratio with a meaning, and infinities would
/// end the run.
pub(super) const MAX_EXPONENT: f64 = 20.0;

/// Which estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// d
    #[default]
    K1,
    /// d² / 2
    K2,
    /// e^−d + d − 1
    K3,
}

impl KlEstimator {
    pub fn of(self, log_prob: f64, reference: f64) -> f64 {
        let distance = log_prob - reference;
        match self {
            Self::K1 => distance,
            Self::K2 => 0.5 * distance * distance,
            Self::K3 => {
                let held = held(distance);
                (-held).exp_m1() + held
            }
        }
    }

    /// The slope of [`Self::of`] by `log_prob`.
    pub fn slope(self, log_prob: f64, reference: f64) -> f64 {
        let distance = log_prob - reference;
        match self {
            Self::K1 => 1.0,
            Self::K2 => distance,
            Self::K3 if distance < -MAX_EXPONENT => 0.0,
            Self::K3 => -(-distance).exp_m1(),
        }
    }
}

/// Only the side that overflows is held. On the other side k3 is linear, and its slope is what pulls
/// back a policy that grew sure of what the reference finds absurd.
fn held(distance: f64) -> f64 {
    distance.clamp(-MAX_EXPONENT, f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [KlEstimator; 3] = [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3];

    #[test]
    fn slopes_equal_finite_differences() {
        for estimator in ALL {
            for distance in [-30.0, -3.0, -0.2, 0.0, 0.4, 5.0, 40.0] {
                let at = |step: f64| estimator.of(-1.0 + step, -1.0 - distance);
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                let found = estimator.slope(-1.0, -1.0 - distance);
                let limit = 1e-6 * expected.abs().max(1.0);
                assert!(
                    (found - expected).abs() < limit,
                    "{estimator:?} {distance}: {found} {expected}"
                );
            }
        }
    }

    /// Over a distribution of three tokens the expectations are known exactly.
    #[test]
    fn k1_and_k3_have_the_divergence_as_their_mean() {
        let (policy, reference) = ([0.5_f64, 0.3, 0.2], [0.2_f64, 0.5, 0.3]);
        let mean = |estimator: KlEstimator| -> f64 {
            let of = |(p, q): (&f64, &f64)| p * estimator.of(p.ln(), q.ln());
            policy.iter().zip(&reference).map(of).sum()
        };
        let exact: f64 = policy.iter().zip(&reference).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((mean(KlEstimator::K1) - exact).abs() < 1e-12);
        assert!((mean(KlEstimator::K3) - exact).abs() < 1e-12);
        assert!((mean(KlEstimator::K2) - exact).abs() < 0.2 * exact);
    }

    #[test]
    fn extremes_stay_finite_and_nan_shows() {
        for estimator in ALL {
            assert!(estimator.of(-800.0, 0.0).is_finite() && estimator.of(0.0, -800.0).is_finite());
            assert!(estimator.of(f64::NAN, 0.0).is_nan());
        }
        assert_eq!(KlEstimator::K3.slope(0.0, -800.0), 1.0);
    }
}
