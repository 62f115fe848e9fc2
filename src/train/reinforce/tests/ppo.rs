//! PPO's slopes against finite differences, its clips, parts against the whole, and NaN.

use super::super::*;
use super::assert_near;

const N: usize = 10;

struct Drawn {
    mask: [bool; N],
    /// Log-probs, old log-probs, advantages, values, old values, returns.
    columns: [Vec<f64>; 6],
}

impl Drawn {
    fn new() -> Self {
        let wave = |scale: f64, speed: f64, shift: f64| -> Vec<f64> {
            (0..N).map(|token| scale * (token as f64 * speed + 0.3).sin() + shift).collect()
        };
        let columns = [
            wave(0.6, 1.7, -1.0),
            wave(0.5, 2.3, -1.1),
            wave(1.5, 0.9, 0.1),
            wave(0.7, 1.3, 0.0),
            wave(0.6, 1.9, 0.1),
            wave(0.8, 2.9, 0.2),
        ];
        let mut mask = [true; N];
        mask[4] = false;
        Self { mask, columns }
    }

    fn part(&self) -> PpoPart<'_> {
        let [log_probs, old_log_probs, advantages, values, old_values, returns] = &self.columns;
        PpoPart {
            mask: &self.mask,
            log_probs,
            old_log_probs,
            advantages,
            values,
            old_values,
            returns,
        }
    }

    fn loss(&self, options: &PpoOptions) -> PpoLossPart {
        ppo_loss(&self.part(), options, &STEP).unwrap()
    }
}

const STEP: PpoStep = PpoStep { n_tokens: N - 1, penalty_coefficient: 0.7 };

fn all_options() -> Vec<PpoOptions> {
    let base = PpoOptions { value_coefficient: 0.5, ..PpoOptions::default() };
    vec![
        base.clone(),
        PpoOptions { dual_clip: Some(1.3), ..base.clone() },
        PpoOptions { variant: PpoVariant::Penalty, ..base.clone() },
        PpoOptions { clip: 0.05, clip_value: 0.05, ..base },
    ]
}

#[test]
fn slopes_equal_finite_differences() {
    for options in all_options() {
        let mut drawn = Drawn::new();
        let found = drawn.loss(&options);
        for (column, gradients) in [(0, &found.policy_gradients), (3, &found.value_gradients)] {
            for (token, gradient) in gradients.iter().enumerate() {
                let start = drawn.columns[column][token];
                let mut at = |step: f64| {
                    drawn.columns[column][token] = start + step;
                    drawn.loss(&options).loss
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                drawn.columns[column][token] = start;
                assert_near(*gradient, slope, &format!("{options:?} {column} {token}"));
            }
        }
    }
}

#[test]
fn every_clip_is_met_and_counted() {
    let options = &all_options()[1];
    let figures = Drawn::new().loss(options).figures;
    assert!(
        figures.n_policy_clipped > 0 && figures.n_dual_clipped > 0 && figures.n_value_clipped > 0
    );
    assert_eq!(figures.n_tokens, N - 1);
    let without = PpoOptions { dual_clip: None, ..options.clone() };
    assert_eq!(Drawn::new().loss(&without).figures.n_dual_clipped, 0);
}

#[test]
fn micro_batches_add_up_to_the_step() {
    let drawn = Drawn::new();
    for options in all_options() {
        let whole = drawn.loss(&options);
        let (mut sum, mut figures, mut gradients) = (0.0, PpoFigures::default(), Vec::new());
        for tokens in [0..3, 3..N] {
            let [a, b, c, d, e, f] = &drawn.columns;
            let part = PpoPart {
                mask: &drawn.mask[tokens.clone()],
                log_probs: &a[tokens.clone()],
                old_log_probs: &b[tokens.clone()],
                advantages: &c[tokens.clone()],
                values: &d[tokens.clone()],
                old_values: &e[tokens.clone()],
                returns: &f[tokens],
            };
            let part = ppo_loss(&part, &options, &STEP).unwrap();
            sum += part.loss;
            gradients.extend(part.policy_gradients.into_iter().zip(part.value_gradients));
            figures.merge(&part.figures);
        }
        assert!((sum - whole.loss).abs() < 1e-14);
        let expected = whole.policy_gradients.into_iter().zip(whole.value_gradients);
        assert!(gradients.into_iter().eq(expected));
        for (name, value) in figures.metrics() {
            assert_near(value, whole.figures.metrics()[&name], &name);
        }
    }
}

#[test]
fn extremes_stay_finite_and_nan_comes_out() {
    for options in all_options() {
        for log_prob in [-900.0, 900.0] {
            let mut drawn = Drawn::new();
            drawn.columns[0][1] = log_prob;
            let found = drawn.loss(&options);
            assert!(found.loss.is_finite() && found.policy_gradients[1].is_finite(), "{options:?}");
        }
        for column in 0..6 {
            let mut drawn = Drawn::new();
            drawn.columns[column][1] = f64::NAN;
            assert!(drawn.loss(&options).loss.is_nan(), "{options:?} {column}");
            drawn.mask.fill(false);
            assert_eq!(drawn.loss(&options).loss, 0.0);
        }
    }
}

#[test]
fn passes_end_above_the_target() {
    let options = PpoOptions { target_kl: Some(0.02), ..PpoOptions::default() };
    let of =
        |sum: f64| PpoFigures { n_tokens: 10, approximate_kl_sum: sum, ..PpoFigures::default() };
    assert!(of(0.21).is_over(&options) && !of(0.19).is_over(&options));
    assert!(!of(9.0).is_over(&PpoOptions::default()));
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let drawn = Drawn::new();
    let options = PpoOptions::default();
    for column in 0..6 {
        let mut drawn = Drawn { columns: drawn.columns.clone(), ..drawn };
        drawn.columns[column].pop();
        let error = ppo_loss(&drawn.part(), &options, &STEP).unwrap_err();
        assert_eq!(error.code, "reinforce_scores");
    }
}
