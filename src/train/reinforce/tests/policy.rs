//! Slopes against finite differences, parts against the whole, and NaN.

use std::ops::Range;

use super::super::*;
use super::assert_near;

/// Three answers of 5, 1 and 4 tokens with a token between them that belongs to none, and a cut one.
struct Drawn {
    spans: Vec<Range<usize>>,
    mask: Vec<bool>,
    log_probs: Vec<f64>,
    old: Vec<f64>,
    reference: Vec<f64>,
    entropies: Vec<f64>,
    advantages: Vec<f64>,
}

impl Drawn {
    fn new() -> Self {
        let spans = vec![0..5, 6..7, 7..11, 11..14];
        let mut mask = vec![true; 14];
        mask[5] = false;
        mask[8] = false;
        mask[11..14].fill(false);
        let wave = |scale: f64, speed: f64| -> Vec<f64> {
            (0..14).map(|token| scale * (f64::from(token) * speed + 0.3).sin()).collect()
        };
        let log_probs: Vec<f64> = wave(0.9, 1.7).iter().map(|value| value - 1.5).collect();
        let shifted = |noise: Vec<f64>| {
            log_probs.iter().zip(noise).map(|(value, noise)| value + noise).collect::<Vec<f64>>()
        };
        let (old, reference) = (shifted(wave(0.5, 2.3)), shifted(wave(0.8, 0.9)));
        let entropies = wave(0.5, 3.1).iter().map(|value| value + 0.6).collect();
        Self {
            spans,
            mask,
            log_probs,
            old,
            reference,
            entropies,
            advantages: vec![0.8, -1.1, -0.4, 2.0],
        }
    }

    fn part(&self) -> PolicyPart<'_> {
        PolicyPart {
            spans: &self.spans,
            mask: &self.mask,
            log_probs: &self.log_probs,
            old_log_probs: &self.old,
            reference_log_probs: Some(&self.reference),
            entropies: &self.entropies,
            advantages: &self.advantages,
        }
    }

    fn normaliser(&self, options: &GrpoOptions) -> Normaliser {
        Normaliser::of(options, &self.spans, &self.mask, Some(&self.entropies)).unwrap()
    }

    fn loss(&self, options: &GrpoOptions) -> LossPart {
        policy_loss(&self.part(), options, &self.normaliser(options)).unwrap()
    }
}

const LOSSES: [GrpoLoss; 6] = [
    GrpoLoss::Grpo,
    GrpoLoss::Bnpo,
    GrpoLoss::DrGrpo,
    GrpoLoss::Dapo,
    GrpoLoss::Cispo,
    GrpoLoss::Sapo,
];

fn all_options() -> Vec<GrpoOptions> {
    let mut all = Vec::new();
    for loss_type in LOSSES {
        for (ratio_level, epsilon) in [(RatioLevel::Token, 0.2), (RatioLevel::Sequence, 0.05)] {
            for (beta, use_bias_correction_kl) in [(0.0, false), (0.04, false), (0.3, true)] {
                for (quantile, entropy_coefficient) in [(1.0, 0.0), (0.45, 0.02)] {
                    all.push(GrpoOptions {
                        loss_type,
                        ratio_level,
                        epsilon,
                        epsilon_high: (loss_type == GrpoLoss::Cispo).then_some(1.2),
                        beta,
                        use_bias_correction_kl,
                        top_entropy_quantile: quantile,
                        entropy_coefficient,
                        ..GrpoOptions::default()
                    });
                }
            }
        }
    }
    let clipped =
        |options: &&GrpoOptions| !matches!(options.loss_type, GrpoLoss::Cispo | GrpoLoss::Sapo);
    let two_sided: Vec<_> = all
        .iter()
        .filter(clipped)
        .map(|options| GrpoOptions { delta: Some(options.epsilon + 1.1), ..options.clone() })
        .collect();
    all.extend(two_sided);
    all
}

#[test]
fn slopes_equal_finite_differences() {
    for options in all_options() {
        options.validate().unwrap();
        let mut drawn = Drawn::new();
        let found = drawn.loss(&options);
        let normaliser = drawn.normaliser(&options);
        for token in 0..14 {
            let what = format!("{options:?} token {token}");
            let start = drawn.log_probs[token];
            let mut at = |step: f64| {
                drawn.log_probs[token] = start + step;
                let part = policy_loss(&drawn.part(), &options, &normaliser).unwrap();
                // What is a constant in the loss is one here: CISPO's weights do not move.
                match options.loss_type {
                    GrpoLoss::Cispo => {
                        part.loss - cispo_weight_shift(&found, &part, &drawn, &options)
                    }
                    _ => part.loss,
                }
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            drawn.log_probs[token] = start;
            assert_near(found.gradients[token], slope, &what);
            let start = drawn.entropies[token];
            // A step so small that no token crosses the threshold, but for the one that lies on it.
            let mut at = |step: f64| {
                drawn.entropies[token] = start + step;
                policy_loss(&drawn.part(), &options, &normaliser).unwrap().loss
            };
            let slope = (at(2e-6) - at(1e-6)) / 1e-6;
            drawn.entropies[token] = start;
            assert_near(found.entropy_gradients[token], slope, &what);
        }
    }
}

/// How much of the loss's change comes from CISPO's weights, which the gradient leaves out.
fn cispo_weight_shift(_: &LossPart, _: &LossPart, drawn: &Drawn, options: &GrpoOptions) -> f64 {
    let original = Drawn::new();
    let weights = |drawn: &Drawn| {
        let bare = GrpoOptions { beta: 0.0, entropy_coefficient: 0.0, ..options.clone() };
        policy_loss(&drawn.part(), &bare, &original.normaliser(options)).unwrap().gradients
    };
    let (before, after) = (weights(&original), weights(drawn));
    let shift = |token: usize| (after[token] - before[token]) * drawn.log_probs[token];
    (0..14).map(shift).sum()
}

#[test]
fn micro_batches_add_up_to_the_step() {
    let drawn = Drawn::new();
    for options in all_options() {
        let (whole, normaliser) = (drawn.loss(&options), drawn.normaliser(&options));
        let mut sum = 0.0;
        let mut gradients = Vec::new();
        let mut figures = PolicyFigures::default();
        for (answers, tokens) in [(0..1, 0..6), (1..4, 6..14)] {
            let spans: Vec<_> = drawn.spans[answers.clone()]
                .iter()
                .map(|span| span.start - tokens.start..span.end - tokens.start)
                .collect();
            let part = PolicyPart {
                spans: &spans,
                mask: &drawn.mask[tokens.clone()],
                log_probs: &drawn.log_probs[tokens.clone()],
                old_log_probs: &drawn.old[tokens.clone()],
                reference_log_probs: Some(&drawn.reference[tokens.clone()]),
                entropies: &drawn.entropies[tokens.clone()],
                advantages: &drawn.advantages[answers.clone()],
            };
            let part = policy_loss(&part, &options, &normaliser).unwrap();
            sum += part.loss;
            gradients.extend(part.gradients);
            figures.merge(&part.figures);
        }
        let what = format!("{options:?}");
        assert!((sum - whole.loss).abs() < 1e-14, "{what}");
        assert_eq!(gradients, whole.gradients, "{what}");
        let (found, expected) = (figures.metrics(&options), whole.figures.metrics(&options));
        assert_eq!(found.len(), expected.len());
        found.iter().for_each(|(name, value)| assert_near(*value, expected[name], name));
    }
}

#[test]
fn on_the_policy_the_slope_is_the_advantage_and_the_loss_its_mean() {
    let mut drawn = Drawn::new();
    drawn.old = drawn.log_probs.clone();
    let options = GrpoOptions { loss_type: GrpoLoss::Bnpo, ..GrpoOptions::default() };
    let found = drawn.loss(&options);
    // Nine tokens count: five of the first answer, one of the second, three of the third.
    assert_near(found.loss, -(5.0 * 0.8 - 1.1 - 3.0 * 0.4) / 9.0, "loss");
    assert_near(found.gradients[0], -0.8 / 9.0, "first answer");
    assert_near(found.gradients[6], 1.1 / 9.0, "second answer");
    assert_eq!((found.gradients[5], found.gradients[8], found.gradients[12]), (0.0, 0.0, 0.0));
}

#[test]
fn a_step_in_which_nothing_counts_has_loss_zero() {
    let mut drawn = Drawn::new();
    drawn.mask.fill(false);
    for options in all_options() {
        let found = drawn.loss(&options);
        assert_eq!(found.loss, 0.0, "{options:?}");
        assert!(found.gradients.iter().all(|slope| *slope == 0.0));
        assert!(found.figures.metrics(&options).values().all(|value| value.is_finite()));
    }
}

#[test]
fn extreme_ratios_stay_finite_and_nan_comes_out() {
    for options in all_options() {
        for log_prob in [-900.0, 900.0] {
            let mut drawn = Drawn::new();
            drawn.log_probs[6] = log_prob;
            let found = drawn.loss(&options);
            assert!(found.loss.is_finite(), "{options:?}");
            assert!(found.gradients.iter().all(|slope| slope.is_finite()), "{options:?}");
        }
        let mut drawn = Drawn::new();
        drawn.log_probs[2] = f64::NAN;
        assert!(drawn.loss(&options).loss.is_nan(), "{options:?}");
        let mut drawn = Drawn::new();
        drawn.old[2] = f64::NAN;
        assert!(drawn.loss(&options).loss.is_nan(), "{options:?}");
        let mut drawn = Drawn::new();
        drawn.reference[2] = f64::NAN;
        assert_eq!(drawn.loss(&options).loss.is_nan(), options.needs_reference(), "{options:?}");
        let mut drawn = Drawn::new();
        drawn.advantages[0] = f64::NAN;
        assert!(drawn.loss(&options).loss.is_nan(), "{options:?}");
    }
}

/// Where the log-ratio is held the loss is flat, and a step there must not follow e²⁰.
#[test]
fn a_held_ratio_has_no_slope() {
    for ratio_level in [RatioLevel::Token, RatioLevel::Sequence] {
        let mut drawn = Drawn::new();
        // A bad answer of one token, which no clip holds.
        drawn.old[6] = drawn.log_probs[6] - 25.0;
        let options =
            GrpoOptions { loss_type: GrpoLoss::Grpo, ratio_level, ..GrpoOptions::default() };
        let found = drawn.loss(&options);
        assert_eq!(found.gradients[6], 0.0);
        assert!(found.gradients[0] != 0.0 && found.loss > 1e7);
    }
}

#[test]
fn scores_that_do_not_fit_are_refused() {
    let drawn = Drawn::new();
    let options = GrpoOptions { beta: 0.1, ..GrpoOptions::default() };
    let normaliser = drawn.normaliser(&options);
    let whole = drawn.part();
    for part in [
        PolicyPart { reference_log_probs: None, ..whole },
        PolicyPart { log_probs: &drawn.log_probs[1..], ..whole },
        PolicyPart { entropies: &[], ..whole },
        PolicyPart { advantages: &drawn.advantages[1..], ..whole },
        PolicyPart { mask: &drawn.mask[..10], ..whole },
    ] {
        let error = policy_loss(&part, &options, &normaliser).unwrap_err();
        assert_eq!(error.code, "reinforce_scores");
    }
}
