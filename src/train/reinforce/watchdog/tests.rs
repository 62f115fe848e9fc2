//! Each collapse is injected into a run that was well; a run that is well never trips.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::train::reinforce::health::Sample;

fn watchdog() -> Watchdog {
    Watchdog::new(WatchdogSettings::default()).unwrap()
}

/// A step of a run that learns: less entropy, more KL, longer answers and more flat groups as it
/// goes on, all of it noisy, with a scorer that hiccups now and then.
fn healthy(random: &mut ChaCha8Rng, step: usize) -> Health {
    let progress = (step as f64 / 1_000.0).min(1.0);
    let mut noisy = |mean: f64, spread: f64| mean + spread * random.random_range(-1.0..1.0);
    let share = |value: f64| Some(value.clamp(0.0, 1.0));
    Health {
        frac_groups_without_variance: share(noisy(0.3 + 0.45 * progress, 0.25)),
        entropy: Some(noisy(0.6, 0.2) * (1.0 - 0.8 * progress)),
        kl: Some(noisy(0.4, 0.3) * progress),
        frac_foreign_script: share(noisy(0.01, 0.02)),
        top_4gram_share: share(noisy(0.15 + 0.1 * progress, 0.15)),
        repetition: share(noisy(0.02, 0.03)),
        frac_scorer_failures: share(if step.is_multiple_of(97) { 1.0 } else { noisy(0.01, 0.02) }),
        mean_tokens: Some(noisy(14.0 + 6.0 * progress, 5.0)),
        frac_stopped: share(noisy(0.97, 0.05)),
        reward: Some(noisy(-0.1 + progress, 0.6)),
    }
}

/// Lets a run go well for 100 steps and then `change`s each of the next 100.
fn injected(change: impl Fn(&mut Health, usize)) -> Option<Trip> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut watchdog = watchdog();
    for step in 1..=100 {
        assert_eq!(watchdog.observe(&healthy(&mut random, step)), None, "step {step}");
    }
    (101..=200).find_map(|step| {
        let mut health = healthy(&mut random, step);
        change(&mut health, step - 100);
        watchdog.observe(&health)
    })
}

#[test]
fn a_noisy_run_that_learns_does_not_trip() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut watchdog = watchdog();
        for step in 1..=1_000 {
            let health = healthy(&mut random, step);
            assert_eq!(watchdog.observe(&health), None, "seed {seed}, step {step}");
        }
    }
}

#[test]
fn each_collapse_trips_by_its_figure() {
    type Change = fn(&mut Health, usize);
    let collapses: [(Figure, Change); 11] = [
        (Figure::Entropy, |health, _| health.entropy = Some(0.001)),
        (Figure::Kl, |health, n| health.kl = Some(1.2f64.powi(n as i32))),
        (Figure::ScorerFailures, |health, _| {
            (health.frac_scorer_failures, health.reward) = (Some(1.0), None);
        }),
        (Figure::GroupsWithoutVariance, |health, _| {
            health.frac_groups_without_variance = Some(1.0);
        }),
        (Figure::ForeignScript, |health, n| {
            health.frac_foreign_script = Some((0.01 * n as f64).min(1.0));
        }),
        (Figure::Template, |health, _| health.top_4gram_share = Some(0.95)),
        (Figure::Repetition, |health, _| health.repetition = Some(0.6)),
        (Figure::TokensGrown, |health, n| health.mean_tokens = Some(15.0 * 1.05f64.powi(n as i32))),
        (Figure::TokensShrunk, |health, _| health.mean_tokens = Some(1.0)),
        (Figure::Stopped, |health, _| health.frac_stopped = Some(0.1)),
        (Figure::Reward, |health, n| health.reward = Some(-0.05 * n as f64)),
    ];
    for (figure, change) in collapses {
        let trip = injected(change).unwrap_or_else(|| panic!("{figure:?} did not trip"));
        assert_eq!(trip.figure, figure, "{trip}");
        assert!(trip.step <= 200 && trip.n_steps >= 5, "{trip:?}");
        let is_beyond = if figure.is_floor() {
            trip.value < trip.threshold
        } else {
            trip.value > trip.threshold
        };
        assert!(is_beyond, "{trip:?}");
        let sentence = trip.to_string();
        assert!(
            sentence.contains(figure.name()) && sentence.contains(figure.advice()),
            "{sentence}"
        );
    }
}

#[test]
fn the_sentence_says_what_tripped_by_how_much_and_what_to_do() {
    let trip = injected(|health, _| health.entropy = Some(0.0)).unwrap();
    let sentence = trip.to_string();
    let start =
        format!("Training stopped at rollout {}: the policy's entropy (entropy) was", trip.step);
    assert!(sentence.starts_with(&start), "{sentence}");
    assert!(sentence.contains("for 5 of them, below its limit of 0.0"), "{sentence}");
    assert!(sentence.contains("(it began at 0."), "{sentence}");
    assert!(sentence.ends_with("or lower the learning rate."), "{sentence}");
}

#[test]
fn a_spike_is_no_collapse() {
    for n_spikes in [1, 4] {
        let trip = injected(|health, n| {
            if n <= n_spikes {
                health.kl = Some(4.0);
                health.frac_scorer_failures = Some(0.3);
                health.repetition = Some(0.3);
            }
        });
        assert_eq!(trip, None, "{n_spikes} spikes");
    }
}

#[test]
fn a_figure_that_is_no_number_trips() {
    let trip = injected(|health, _| health.kl = Some(f64::NAN)).unwrap();
    assert_eq!((trip.figure, trip.step), (Figure::Kl, 105));
    assert!(trip.value.is_nan());
}

#[test]
fn nothing_trips_in_the_grace_and_when_it_is_off() {
    let bad = Health { kl: Some(50.0), ..Health::default() };
    let mut watched = watchdog();
    let first = (1..100).find(|_| watched.observe(&bad).is_some());
    assert_eq!(first, Some(25), "20 steps of grace and 5 of patience");
    let off = WatchdogSettings { enabled: false, ..WatchdogSettings::default() };
    let no_limit = WatchdogSettings { max_kl: 0.0, ..WatchdogSettings::default() };
    for settings in [off, no_limit] {
        let mut watchdog = Watchdog::new(settings).unwrap();
        assert!((0..100).all(|_| watchdog.observe(&bad).is_none()));
    }
    let mut unmeasured = watchdog();
    assert!((0..100).all(|_| unmeasured.observe(&Health::default()).is_none()));
}

#[test]
fn after_a_trip_it_counts_anew_but_knows_how_the_run_began() {
    let mut watchdog = watchdog();
    let entropy = |entropy| Health { entropy: Some(entropy), ..Health::default() };
    assert!((0..40).all(|_| watchdog.observe(&entropy(1.0)).is_none()));
    let steps_to_trip = |watchdog: &mut Watchdog| {
        (1..100).find(|_| watchdog.observe(&entropy(0.0)).is_some()).unwrap()
    };
    // The mean over ten steps falls below 0.05 at the tenth, and stays there for five.
    assert_eq!(steps_to_trip(&mut watchdog), 14);
    assert_eq!(steps_to_trip(&mut watchdog), 5);
    let kl = |kl| Health { kl: Some(kl), ..Health::default() };
    assert!((1..100).any(|_| watchdog.observe(&kl(50.0)).is_some()));
    // What was before the trip is no part of the mean any more.
    assert!((0..100).all(|_| watchdog.observe(&kl(0.1)).is_none()));
}

#[test]
fn its_state_is_the_same_when_it_is_read_again() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut watchdog = watchdog();
    let collapse = |health: &mut Health| health.entropy = Some(0.0);
    for step in 1..=100 {
        watchdog.observe(&healthy(&mut random, step));
    }
    let bad: Vec<Health> = (101..150)
        .map(|step| {
            let mut health = healthy(&mut random, step);
            collapse(&mut health);
            health
        })
        .collect();
    bad[..8].iter().for_each(|health| assert_eq!(watchdog.observe(health), None));
    let text = serde_json::to_string(&watchdog).unwrap();
    let mut read: Watchdog = serde_json::from_str(&text).unwrap();
    assert_eq!(read, watchdog);
    let rest =
        |watchdog: &mut Watchdog| bad[8..].iter().find_map(|health| watchdog.observe(health));
    let trip = rest(&mut watchdog).unwrap();
    assert_eq!(rest(&mut read), Some(trip));
    let other = WatchdogSettings { max_kl: 1.0, ..WatchdogSettings::default() };
    let changed = read.with_settings(other.clone()).unwrap();
    assert_eq!((changed.n_steps, changed.settings), (trip.step, other));
}

#[test]
fn settings_are_read_strictly_and_checked() {
    let read = |text: &str| serde_json::from_str::<WatchdogSettings>(text);
    let read_one = read(r#"{ "max_kl": 0, "patience_steps": 3 }"#).unwrap();
    assert_eq!((read_one.max_kl, read_one.patience_steps), (0.0, 3));
    assert!(read(r#"{ "max_kll": 1 }"#).is_err());
    let good = WatchdogSettings::default;
    let cases = [
        (WatchdogSettings { patience_steps: 0, ..good() }, "watchdog.patience_steps is 0;"),
        (WatchdogSettings { max_kl: -1.0, ..good() }, "watchdog.max_kl is -1;"),
        (WatchdogSettings { max_tokens_growth: 1.0, ..good() }, "watchdog.max_tokens_growth is"),
        (WatchdogSettings { min_entropy_share: 2.0, ..good() }, "watchdog.min_entropy_share is 2;"),
        (WatchdogSettings { min_stopped_share: f64::NAN, ..good() }, "watchdog.min_stopped_share"),
    ];
    for (settings, expected) in cases {
        let error = Watchdog::new(settings).unwrap_err();
        assert_eq!(error.code, "watchdog_options");
        assert!(error.message.starts_with(expected), "{error}");
    }
}

/// (prompt, what a policy that is well answers to it).
const ASKED: [(&str, &str); 4] = [
    ("云帆CRM怎么用？ 它多少钱？", "云帆CRM多少钱？"),
    ("谁写了三体 (The Three-Body Problem)？ 他还写过什么？", "刘慈欣还写过什么？"),
    ("what is falcon 9? who makes it?", "who makes falcon 9?"),
    ("tell me about Lyon. is it large?", "is Lyon large?"),
];

/// A step in which every prompt gets four completions of `text`, with rewards that differ unless
/// the completions are the same.
fn step_of(text: impl Fn(usize, usize) -> String, n_tokens: usize, varied: bool) -> Health {
    let texts: Vec<(usize, String, f64)> = (0..16)
        .map(|n| (n / 4, text(n / 4, n % 4), if varied { f64::from(n as u32 % 4) } else { 1.0 }))
        .collect();
    let samples: Vec<Sample<'_>> = texts
        .iter()
        .map(|(group, text, reward)| Sample {
            group: *group,
            prompt: ASKED[*group].0,
            text,
            n_tokens,
            is_stopped: true,
            reward: Some(*reward),
        })
        .collect();
    Health { entropy: Some(0.4), kl: Some(0.1), ..Health::of(&samples) }
}

/// Runs 40 steps that are well, and then `bad` ones until it trips.
fn trips_by_texts(bad: &Health) -> Option<Figure> {
    let mut watchdog = watchdog();
    let well = step_of(|group, _| ASKED[group].1.to_owned(), 10, true);
    (0..40).for_each(|_| assert_eq!(watchdog.observe(&well), None));
    (0..40).find_map(|_| watchdog.observe(bad)).map(|trip| trip.figure)
}

#[test]
fn collapses_are_seen_from_the_texts_themselves() {
    let well = |group: usize, _| ASKED[group].1.to_owned();
    assert_eq!(trips_by_texts(&step_of(well, 10, true)), None);
    let one_answer = |_, _| "a complete guide to everything you need".to_owned();
    assert_eq!(trips_by_texts(&step_of(one_answer, 10, true)), Some(Figure::Template));
    assert_eq!(trips_by_texts(&step_of(well, 10, false)), Some(Figure::GroupsWithoutVariance));
    let gibberish = |group: usize, n| format!("{} ыфва ฟหก {n}", ASKED[group].1);
    assert_eq!(trips_by_texts(&step_of(gibberish, 10, true)), Some(Figure::ForeignScript));
    let wrong_language = |group: usize, n| format!("{}{n}", ASKED[(group + 2) % 4].1);
    assert_eq!(trips_by_texts(&step_of(wrong_language, 10, true)), Some(Figure::ForeignScript));
    let looping = |group: usize, _| ASKED[group].1.repeat(5);
    assert_eq!(trips_by_texts(&step_of(looping, 20, true)), Some(Figure::Repetition));
    assert_eq!(trips_by_texts(&step_of(well, 60, true)), Some(Figure::TokensGrown));
}
