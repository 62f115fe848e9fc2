use std::collections::BTreeSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::evaluate::tests::champion;

fn assert_near(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
}

/// Two turns a conversation, four features of which `of` makes the outcomes of raw and rewritten.
fn made(n: usize, of: impl Fn(&[f64], &mut ChaCha8Rng) -> (f64, f64)) -> Examples {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let rows = (0..n).map(|idx| {
        let features: Vec<f64> = (0..4).map(|_| random.random_range(-1.0..1.0)).collect();
        let (raw, rewritten) = of(&features, &mut random);
        let conversation = format!("c{}", idx / 2);
        Example { features, raw, rewritten, ruled: Some(raw), conversation }
    });
    let names = ["pronoun", "n_words", "shift", "constant"].map(str::to_owned).to_vec();
    Examples::new(names, rows.collect(), "ndcg@10").unwrap()
}

/// The rewrite helps where the first feature is above 0.2 or so, and harms elsewhere.
fn ruled() -> Examples {
    made(600, |features, random| {
        let gain = (features[0] - 0.2) * 0.4 + random.random_range(-0.05..0.05);
        (0.5, 0.5 + gain)
    })
}

/// scikit-learn 1.9.1's `LogisticRegression(C=1/l2, tol=1e-12)` with sample weights:
/// `tests/parity/make_significance.py`.
#[test]
fn the_fit_is_that_of_scikit_learn() {
    let rows: Vec<LogisticRow> = (0..40)
        .map(|i| {
            let feature = |j: usize| ((i * 7 + j * 13 + i * i * (j + 1)) % 17) as f64 / 17.0 - 0.5;
            let features: Vec<f64> = (0..3).map(feature).collect();
            let noise = ((i * 5) % 11) as f64 / 11.0 - 0.5;
            let happened = features[0] - 0.6 * features[1] + noise > 0.0;
            LogisticRow { features, happened, weight: 0.1 + ((i * 3) % 7) as f64 / 7.0 }
        })
        .collect();
    let golden = [
        (
            0.1,
            [2.089_569_633_537_116, -2.589_553_718_358_489, -0.419_069_427_722_030_5],
            -0.237_192_274_634_239_14,
        ),
        (
            1.0,
            [0.665_603_263_385_044_7, -0.850_277_504_342_648, -0.098_428_965_928_986_5],
            -0.064_281_575_479_150_14,
        ),
        (
            10.0,
            [0.090_199_618_107_287_85, -0.115_064_145_465_888_5, -0.011_375_580_470_993_683],
            -0.005_913_018_959_058_304,
        ),
    ];
    for (l2, weights, bias) in golden {
        let fitted = Logistic::fit(&rows, l2);
        for (actual, expected) in fitted.weights.iter().zip(weights) {
            assert_near(*actual, expected, 1e-6);
        }
        assert_near(fitted.bias, bias, 1e-6);
    }
}

#[test]
fn a_known_rule_is_found_and_named() {
    let model = fit(&ruled(), &ChoiceSettings::default()).unwrap();
    let weight = |name: &str| {
        let mut features = model.features.iter();
        features.find(|feature| feature.name == name).unwrap().weight
    };
    let most = ["n_words", "shift", "constant"].map(|name| weight(name).abs());
    assert!(weight("pronoun") > 8.0 * most.into_iter().fold(0.0, f64::max), "{model:?}");
    // The line between rewriting and not lies near 0.2.
    assert!(model.rewrites(&[0.3, 0.0, 0.0, 0.0]) && !model.rewrites(&[0.1, 0.0, 0.0, 0.0]));
}

#[test]
fn out_of_fold_it_is_between_the_better_constant_and_the_oracle() {
    let trial = cross_validate(&ruled(), &ChoiceSettings::default()).unwrap();
    let best = trial.always.mean.max(trial.never.mean);
    let share = (trial.learned.mean - best) / (trial.oracle.mean - best);
    assert!(share > 0.95 && share <= 1.0, "{trial:?}");
    assert!(trial.over_always.estimate.low > 0.0 && trial.over_never.p_value < 0.01);
    assert_near(trial.rewritten_share, 0.4, 0.07);
    assert!(trial.wrong_share < 0.1);
    assert_eq!(trial.ruled, Some(trial.never));
    assert_eq!(trial.never.n_clusters, 300);
}

/// Outcomes that the features say nothing of: an estimate within the fold would promise a gain.
#[test]
fn noise_is_not_taken_for_a_rule() {
    let noise = made(400, |_, random| (0.5, 0.5 + random.random_range(-0.2..0.2)));
    let trial = cross_validate(&noise, &ChoiceSettings::default()).unwrap();
    let gain = trial.learned.mean - trial.always.mean.max(trial.never.mean);
    assert!(gain < 0.004, "{trial:?}");
    assert!(trial.oracle.mean - trial.always.mean > 0.04);
}

/// Four of five rewrites lose a little, one gains a lot, and the features cannot tell which. The
/// most turns are right when nothing is rewritten; the most is retrieved when everything is.
#[test]
fn the_threshold_is_for_what_is_retrieved_not_for_how_often_it_is_right() {
    let examples = made(500, |_, random| (0.5, if random.random_bool(0.2) { 0.9 } else { 0.48 }));
    let model = fit(&examples, &ChoiceSettings::default()).unwrap();
    let n_rewritten = examples.rows.iter().filter(|row| model.rewrites(&row.features)).count();
    assert!(n_rewritten > 400, "{n_rewritten} of 500");
    let dear = ChoiceSettings { cost: 0.2, ..Default::default() };
    let model = fit(&examples, &dear).unwrap();
    let n_rewritten = examples.rows.iter().filter(|row| model.rewrites(&row.features)).count();
    assert!(n_rewritten < 100, "{n_rewritten} of 500");
}

#[test]
fn outcomes_of_one_kind_are_chosen_always_or_never() {
    for (rewritten, expected) in [(0.7, true), (0.3, false), (0.5, false)] {
        let examples = made(40, |_, _| (0.5, rewritten));
        let model = fit(&examples, &ChoiceSettings::default()).unwrap();
        for row in &examples.rows {
            assert_eq!(model.rewrites(&row.features), expected, "{model:?}");
        }
    }
}

#[test]
fn conversations_stay_together() {
    let examples = ruled();
    let rows: Vec<usize> = (0..examples.rows.len()).collect();
    let folds = folds::folds(&examples, &rows, 5, 1).unwrap();
    let names = |fold: &Vec<usize>| -> BTreeSet<String> {
        fold.iter().map(|&row| examples.rows[row].conversation.clone()).collect()
    };
    assert_eq!(folds.iter().map(Vec::len).sum::<usize>(), 600);
    assert_eq!(folds.iter().map(|fold| names(fold).len()).sum::<usize>(), 300);
    assert_ne!(folds, folds::folds(&examples, &rows, 5, 2).unwrap());
    let few = folds::folds(&examples, &[0, 1, 2], 5, 1).unwrap_err();
    assert!(few.message.starts_with("2 conversations are too few for 5 folds"), "{few}");
}

#[test]
fn a_model_is_the_same_each_time_and_after_its_file() {
    let model = fit(&ruled(), &ChoiceSettings::default()).unwrap();
    assert_eq!(model, fit(&ruled(), &ChoiceSettings::default()).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("choice.json");
    model.save(&path).unwrap();
    let loaded = ChoiceModel::load(&path).unwrap();
    let values = [0.3, 0.1, -0.4, 0.9];
    assert_near(loaded.predict(&values), model.predict(&values), 1e-12);
    let mut named: std::collections::BTreeMap<String, f64> =
        loaded.features.iter().map(|feature| feature.name.clone()).zip(values).collect();
    assert_eq!(loaded.predict_named(&named).unwrap(), loaded.predict(&values));
    named.remove("shift");
    let error = loaded.predict_named(&named).unwrap_err();
    assert!(error.message.contains("`shift` is missing"), "{error}");
    let text = fs_err::read_to_string(&path).unwrap();
    for (from, to) in [("\"format\": 1", "\"format\": 2"), ("\"scale\": 0.", "\"scale\": -0.")] {
        assert!(text.contains(from), "{text}");
        fs_err::write(&path, text.replacen(from, to, 1)).unwrap();
        assert_eq!(ChoiceModel::load(&path).unwrap_err().code, "choice_unusable");
    }
}

#[test]
fn a_run_with_features_is_enough() {
    let run = champion();
    let systems = Systems { raw: "raw", rewritten: "gated", ruled: None };
    let examples = Examples::of_run(&run, systems, "ndcg@10").unwrap();
    assert_eq!(
        (examples.names.as_slice(), examples.rows.len()),
        (&["is_open".to_owned()][..], 300)
    );
    let trial = cross_validate(&examples, &ChoiceSettings::default()).unwrap();
    assert_near(trial.learned.mean, trial.oracle.mean, 1e-12);
    let error = Examples::of_run(&run, systems, "map").unwrap_err();
    assert!(error.message.contains("map of `raw` and `gated`"), "{error}");
    let mut other = run.clone();
    other.turns[3].features.insert("new".into(), 1.0);
    assert!(Examples::of_run(&other, systems, "ndcg@10").is_err());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for settings in [
        ChoiceSettings { l2: vec![], ..Default::default() },
        ChoiceSettings { l2: vec![0.0], ..Default::default() },
        ChoiceSettings { n_folds: 1, ..Default::default() },
        ChoiceSettings { cost: -1.0, ..Default::default() },
    ] {
        assert_eq!(settings.validate().unwrap_err().code, "choice_options");
    }
}
