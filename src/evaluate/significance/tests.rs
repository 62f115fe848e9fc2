use super::*;

const A: [f64; 10] = [0.31, -0.2, 0.05, 0.4, 0.0, 0.12, -0.07, 0.22, 0.3, 0.18];
const B: [f64; 15] =
    [1.0, -0.5, 0.25, 0.0, 0.75, -0.25, 0.5, -0.1, 0.6, 0.05, -0.4, 0.9, 0.3, -0.15, 0.2];
const C: [f64; 8] = [0.02, -0.04, 0.01, -0.03, 0.05, -0.01, 0.0, -0.02];

fn many() -> SignificanceSettings {
    SignificanceSettings { n_resamples: 200_000, n_permutations: 40_000, ..Default::default() }
}

fn alone(values: &[f64]) -> Observed<'_> {
    Observed { values, clusters: None }
}

fn assert_near(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected} ± {tolerance}");
}

/// `scipy.stats.bootstrap` (percentile, two million resamples), `permutation_test` (samples, all
/// flips) and `binomtest`: `tests/parity/make_significance.py`.
#[test]
fn intervals_and_p_values_are_those_of_scipy() {
    let golden: [(&[f64], f64, f64, f64, f64); 3] = [
        (&A, 0.018, 0.238, 0.0625, 0.179_687_5),
        (&B, -0.013_333_333_333_333_336, 0.44, 0.108_642_578_125, 0.423_950_195_312_5),
        (&C, -0.02, 0.0175, 0.906_25, 1.0),
    ];
    for (values, low, high, permutation, sign) in golden {
        let difference = difference(alone(values), 1.0, &many()).unwrap();
        assert_near(difference.estimate.low, low, 1.5e-3);
        assert_near(difference.estimate.high, high, 1.5e-3);
        assert_near(difference.permutation_p_value, permutation, 1e-12);
        assert_near(difference.sign_p_value, sign, 1e-12);
    }
}

/// `scipy.stats.bootstrap` over (sum, count) of each cluster, paired.
#[test]
fn whole_clusters_are_drawn() {
    let values = [0.2, 0.3, 0.1, -0.4, -0.2, 0.5, 0.6, 0.55, 0.0, -0.1, 0.35, 0.15];
    let clusters = [9, 9, 9, 1, 1, 2, 2, 2, 3, 3, 4, 5];
    let observed = Observed { values: &values, clusters: Some(&clusters) };
    let of_clusters = estimate(observed, &many()).unwrap();
    assert_near(of_clusters.mean, 0.170_833_333_333_333_3, 1e-12);
    assert_near(of_clusters.low, -0.095_833_333_333_333_37, 3e-3);
    assert_near(of_clusters.high, 0.41, 3e-3);
    assert_eq!((of_clusters.n, of_clusters.n_clusters), (12, 6));
    let of_turns = estimate(alone(&values), &many()).unwrap();
    assert!(of_turns.high - of_turns.low < of_clusters.high - of_clusters.low - 0.05);
}

#[test]
fn sign_tests_are_scipys_far_into_the_tail() {
    let golden = [
        (3, 9, 0.145_996_093_75),
        (40, 60, 0.056_887_933_640_980_71),
        (700, 801, 0.009_824_629_369_101_705),
        (5, 5, 1.0),
        (0, 6, 0.031_25),
        (1_200, 900, 6.337_277_315_775_641e-11),
        (0, 0, 1.0),
    ];
    for (n_win, n_loss, expected) in golden {
        assert_near(exact::sign_p_value(n_win, n_loss) / expected, 1.0, 1e-9);
    }
}

/// The quantiles of a normal distribution at the middles of n equal shares.
fn normal_values(n: usize, mean: f64, deviation: f64) -> Vec<f64> {
    let quantile = |share: f64| {
        let (mut low, mut high) = (-9.0_f64, 9.0_f64);
        for _ in 0..80 {
            let middle = (low + high) / 2.0;
            if normal_share_below(middle) < share { low = middle } else { high = middle }
        }
        low
    };
    (0..n).map(|idx| mean + deviation * quantile((idx as f64 + 0.5) / n as f64)).collect()
}

/// Simpson's rule over the density; exact to 1e-9 or so.
fn normal_share_below(x: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let (n, width) = (400, x / 400.0);
    let weight = |idx| if idx == 0 || idx == n { 1.0 } else { 2.0 + 2.0 * (idx % 2) as f64 };
    let sum: f64 = (0..=n).map(|idx| weight(idx) * density(idx as f64 * width)).sum();
    0.5 + sum * width / 3.0
}

#[test]
fn the_interval_of_normal_values_is_the_analytic_one() {
    let values = normal_values(400, 0.05, 0.3);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let half_width = 1.959_964 * (variance / n).sqrt();
    let difference = difference(alone(&values), 1.0, &many()).unwrap();
    assert_near(difference.estimate.low, mean - half_width, 4e-4);
    assert_near(difference.estimate.high, mean + half_width, 4e-4);
    // z = 3.34: both tests come to about 0.00085.
    let analytic = 2.0 * normal_share_below(-mean / (variance / n).sqrt());
    assert_near(difference.p_value, analytic, 4e-4);
    assert_near(difference.permutation_p_value, analytic, 5e-4);
}

#[test]
fn equal_settings_draw_equally_and_other_seeds_otherwise() {
    let settings = SignificanceSettings::default();
    let other = SignificanceSettings { seed: 1, ..settings.clone() };
    let first = difference(alone(&B), 1.0, &settings).unwrap();
    assert_eq!(first, difference(alone(&B), 1.0, &settings).unwrap());
    let means = |settings: &SignificanceSettings| {
        draws::resampled_means(&Clusters::new(&[alone(&B)]), settings)
    };
    assert_ne!(means(&settings), means(&other));
}

#[test]
fn what_is_equal_is_no_difference_and_one_conversation_proves_nothing() {
    let settings = SignificanceSettings::default();
    let none = difference(alone(&[0.0; 50]), 1.0, &settings).unwrap();
    assert_eq!((none.p_value, none.permutation_p_value, none.sign_p_value), (1.0, 1.0, 1.0));
    assert_eq!(none.outcomes, Outcomes { n_win: 0, n_tie: 50, n_loss: 0 });
    let one = Observed { values: &[0.5; 50], clusters: Some(&[0; 50]) };
    let one = difference(one, 1.0, &settings).unwrap();
    assert_eq!((one.p_value, one.permutation_p_value, one.estimate.n_clusters), (1.0, 1.0, 1));
}

#[test]
fn a_lower_is_better_measure_turns_wins_round() {
    let difference =
        difference(alone(&[-1.0, -1.0, 2.0, 0.0]), -1.0, &SignificanceSettings::default());
    let outcomes = difference.unwrap().outcomes;
    assert_eq!(outcomes, Outcomes { n_win: 2, n_tie: 1, n_loss: 1 });
}

#[test]
fn unusable_input_is_refused_with_a_sentence() {
    let settings = SignificanceSettings::default();
    for (values, clusters) in
        [(&[][..], None), (&[f64::NAN][..], None), (&[1.0, 2.0][..], Some(&[1][..]))]
    {
        let error = estimate(Observed { values, clusters }, &settings).unwrap_err();
        assert_eq!(error.code, "significance_input");
    }
    let settings = SignificanceSettings { confidence: 95.0, ..settings };
    assert_eq!(settings.validate().unwrap_err().code, "significance_options");
    assert_near(percentile(&[1.0, 2.0, 4.0], 0.75), 3.0, 1e-12);
}

/// 70 columns over two ways to cut them: more than are drawn together, out of order.
#[test]
fn many_together_come_to_what_each_alone_comes_to() {
    let settings = SignificanceSettings { n_resamples: 300, ..Default::default() };
    let clusters = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4];
    let columns: Vec<Vec<f64>> = (0..70)
        .map(|column| {
            (0..10).map(|row| f64::from((column * 7 + row * 3) % 11) / 11.0 - 0.4).collect()
        })
        .collect();
    let observed: Vec<(Observed<'_>, f64)> = columns
        .iter()
        .enumerate()
        .map(|(idx, values)| {
            let clusters = (idx % 2 == 0).then_some(&clusters[..]);
            (Observed { values, clusters }, if idx % 3 == 0 { -1.0 } else { 1.0 })
        })
        .collect();
    let together = differences(&observed, &settings).unwrap();
    for ((observed, sign), together) in observed.into_iter().zip(together) {
        assert_eq!(difference(observed, sign, &settings).unwrap(), together);
        assert_eq!(estimate(observed, &settings).unwrap(), together.estimate);
    }
}
