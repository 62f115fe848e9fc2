//! Each reward by hand-worked values, and what the mix must never do.

use super::*;

fn searched(rank: Option<usize>, raw: Option<usize>) -> Facts {
    Facts {
        gold: Reading::Known(Ranks::single(rank)),
        raw: Reading::Known(Ranks::single(raw)),
        ..Facts::default()
    }
}

fn share(part: usize, whole: usize) -> Reading<Share> {
    Reading::Known(Share { part, whole })
}

fn value(reward: Reward) -> f64 {
    reward.value().unwrap()
}

fn close(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-12, "{left} is not {right}");
}

fn only(weights: &[(RewardName, f64)]) -> RewardSet {
    RewardSet { weights: weights.iter().copied().collect(), ..RewardSet::default() }
}

#[test]
fn the_piecewise_form_is_that_of_the_paper() {
    // -x/9 + 19/9 up to rank 10, -x/90 + 10/9 up to rank 100.
    let cases = [(1, 2.0), (4, 15.0 / 9.0), (10, 1.0), (11, 89.0 / 90.0), (55, 0.5), (100, 0.0)];
    for (rank, expected) in cases {
        close(piecewise(Some(rank)), expected);
    }
    for rank in [None, Some(0), Some(101), Some(usize::MAX)] {
        close(piecewise(rank), 0.0);
    }
}

#[test]
fn ranks_are_kept_in_order_and_without_nonsense() {
    let ranks = Ranks::new(vec![7, 0, 2, 7], 1);
    assert_eq!((ranks.found(), ranks.n_gold(), ranks.best()), (&[2, 7][..], 2, Some(2)));
    let ranks = Ranks::among(&["a", "b", "c"], &["c", "a", "z"]);
    assert_eq!((ranks.found(), ranks.n_gold()), (&[1, 3][..], 3));
    assert_eq!(Ranks::single(None).best(), None);
}

#[test]
fn retrieval_rewards_are_worked_by_hand() {
    let facts = |found: &[usize], n_gold| Facts {
        gold: Reading::Known(Ranks::new(found.to_vec(), n_gold)),
        ..Facts::default()
    };
    close(value(ndcg(&facts(&[1], 1), 10)), 1.0);
    close(value(ndcg(&facts(&[3], 1), 10)), 0.5);
    close(value(ndcg(&facts(&[11], 1), 10)), 0.0);
    // Ranks 1 and 3 of 3 passages: (1 + 1/2) / (1 + 1/log2(3) + 1/2).
    close(value(ndcg(&facts(&[1, 3], 3), 10)), 1.5 / (1.5 + 1.0 / 3f64.log2()));
    // Only one of the three can stand in the first result.
    close(value(ndcg(&facts(&[1, 3], 3), 1)), 1.0);
    close(value(ndcg(&facts(&[], 0), 10)), 0.0);
    close(value(reciprocal_rank(&facts(&[4, 9], 2))), 0.25);
    close(value(reciprocal_rank(&facts(&[], 1))), 0.0);
    close(value(gold_rank(&facts(&[10, 40], 2))), 1.0);
}

#[test]
fn falling_behind_the_raw_query_costs_more_than_getting_ahead_of_it_wins() {
    close(value(gain(&searched(Some(1), Some(10)), 1.5)), 0.5);
    close(value(gain(&searched(Some(10), Some(1)), 1.5)), -0.75);
    close(value(gain(&searched(None, Some(1)), 1.0)), -1.0);
    close(value(gain(&searched(Some(3), Some(3)), 1.5)), 0.0);
    for worse in 2..=100 {
        assert!(value(gain(&searched(Some(worse), Some(worse - 1)), 1.5)) < 0.0, "{worse}");
    }
}

#[test]
fn what_is_unknown_says_nothing_and_what_broke_is_a_failure() {
    let nothing = Facts::default();
    for reward in [gold_rank, reciprocal_rank, faithfulness, protected, content, language, reranker]
    {
        assert_eq!(reward(&nothing), Reward::NotApplicable);
    }
    assert_eq!(gain(&nothing, 1.5), Reward::NotApplicable);
    let half = Facts { raw: Reading::NotAsked, ..searched(Some(1), None) };
    assert_eq!(gain(&half, 1.5), Reward::NotApplicable);
    let broken = Facts { raw: Reading::Failed, ..searched(Some(1), None) };
    assert_eq!(gain(&broken, 1.5), Reward::Failed);
    assert_eq!(value(gold_rank(&broken)), 2.0);
    let broken = Facts { gold: Reading::Failed, ..Facts::default() };
    assert_eq!([gold_rank(&broken), ndcg(&broken, 10), gain(&broken, 1.5)], [Reward::Failed; 3]);
    let no_number = Facts { reranker: Reading::Known(f64::NAN), ..Facts::default() };
    assert_eq!(reranker(&no_number), Reward::Failed);
}

#[test]
fn restraint_is_for_complete_queries_alone() {
    let facts = |is_complete, is_unchanged| Facts { is_complete, is_unchanged, ..Facts::default() };
    assert_eq!(restraint(&facts(Some(true), true)), Reward::Value(1.0));
    assert_eq!(restraint(&facts(Some(true), false)), Reward::Value(-1.0));
    for (is_complete, is_unchanged) in [(Some(false), true), (Some(false), false), (None, true)] {
        assert_eq!(restraint(&facts(is_complete, is_unchanged)), Reward::NotApplicable);
    }
}

#[test]
fn one_invention_cannot_be_thinned_out() {
    let of = |part, whole| {
        value(faithfulness(&Facts { unsupported: share(part, whole), ..Facts::default() }))
    };
    assert_eq!([of(0, 0), of(0, 9), of(1, 2), of(3, 3)], [0.0, 0.0, -0.75, -1.0]);
    assert!(of(1, 1_000) <= -0.5);
    let lost = Facts { lost_protected: share(1, 2), lost_content: share(2, 2), ..Facts::default() };
    assert_eq!([value(protected(&lost)), value(content(&lost))], [-0.75, -1.0]);
}

#[test]
fn language_and_length_only_cost() {
    let of = |kept| value(language(&Facts { writing: Reading::Known(kept), ..Facts::default() }));
    assert_eq!([Kept::Kept, Kept::OtherScript, Kept::OtherLanguage].map(of), [0.0, -0.5, -1.0]);
    let long = |n_tokens, n_query_tokens| {
        value(length(&Facts { n_tokens, n_query_tokens, ..Facts::default() }, 64))
    };
    assert_eq!([long(5, 9), long(9, 9), long(41, 9), long(900, 9)], [0.0, 0.0, -0.5, -1.0]);
    assert_eq!(value(format(&Facts::default())), 0.0);
    assert_eq!(value(format(&Facts::malformed())), -1.0);
}

#[test]
fn the_total_is_the_weighted_sum() {
    let set =
        only(&[(RewardName::GoldRank, 0.5), (RewardName::Gain, 1.0), (RewardName::Ndcg, 0.0)]);
    let scored = set.score(&searched(Some(1), Some(10)));
    close(scored.total.unwrap(), 0.5 * 2.0 + 0.5);
    let each: Vec<_> = scored.each.into_iter().collect();
    assert_eq!(each, [("gain", Some(0.5)), ("gold_rank", Some(2.0)), ("ndcg", Some(1.0))]);
}

#[test]
fn a_failed_scorer_is_never_a_zero() {
    let facts = Facts { raw: Reading::Failed, ..searched(Some(1), None) };
    let scored = RewardSet::default().score(&facts);
    assert_eq!((scored.total, scored.failed), (None, true));
    assert_eq!(scored.each["gain"], None);
    assert_eq!(scored.each["gold_rank"], Some(2.0));
    let mut tally = Tally::default();
    tally.add(&scored);
    tally.add(&RewardSet::default().score(&searched(Some(1), None)));
    assert_eq!(tally, Tally { n_scored: 1, n_failed: 1 });
    close(tally.frac_failed(), 0.5);
    // What is only logged leaves nothing out.
    let set = only(&[(RewardName::GoldRank, 1.0), (RewardName::Gain, 0.0)]);
    assert_eq!(set.score(&facts).total, Some(2.0));
}

/// Every combination of a completion's faults.
fn every_completion() -> Vec<Facts> {
    let mut all = Vec::new();
    for bits in 0..1u32 << 7 {
        let is = |bit: u32| bits & (1 << bit) != 0;
        let fault = |bit| share(usize::from(is(bit)), 1);
        let writing = if is(3) { Kept::OtherLanguage } else { Kept::Kept };
        all.push(Facts {
            is_complete: Some(is(4)),
            is_unchanged: is(5),
            unsupported: fault(0),
            lost_protected: fault(1),
            lost_content: fault(2),
            writing: Reading::Known(writing),
            n_tokens: 500,
            ..searched(is(6).then_some(1), Some(1))
        });
    }
    all
}

#[test]
fn breaking_the_form_never_pays() {
    let unweighted = RewardSet {
        weights: RewardSet::default()
            .weights
            .into_iter()
            .filter(|(name, _)| *name != RewardName::Format)
            .collect(),
        ..RewardSet::default()
    };
    for set in [RewardSet::default(), unweighted] {
        let malformed = set.score(&Facts { n_tokens: 500, ..Facts::malformed() });
        assert_eq!(malformed.total, Some(set.least()));
        assert!(!malformed.failed && set.least() < 0.0);
        for facts in every_completion() {
            let total = set.score(&facts).total.unwrap();
            assert!(total >= set.least(), "{facts:?}: {total}");
        }
    }
}

#[test]
fn a_malformed_completion_gets_its_penalty_alone() {
    let facts = Facts { is_well_formed: false, gold: Reading::Failed, ..searched(None, Some(1)) };
    let scored = RewardSet::default().score(&facts);
    assert_eq!((scored.total, scored.failed), (Some(-2.0), false));
    let said: Vec<_> = scored.each.iter().filter(|(_, value)| value.is_some()).collect();
    assert_eq!(said, [(&"format", &Some(-1.0))]);
}

#[test]
fn words_alone_earn_nothing() {
    let set = RewardSet::default();
    for facts in every_completion() {
        let facts = Facts {
            gold: Reading::NotAsked,
            raw: Reading::NotAsked,
            is_complete: Some(false),
            ..facts
        };
        assert!(set.score(&facts).total.unwrap() <= 0.0, "{facts:?}");
    }
}

#[test]
fn the_settings_are_read_strictly() {
    let read = |text: &str| serde_json::from_str::<RewardSet>(text).map_err(|e| e.to_string());
    let set = read(r#"{ "weights": { "ndcg": 1, "language": 0.5 }, "k": 5 }"#).unwrap();
    assert_eq!(
        set,
        RewardSet { k: 5, ..only(&[(RewardName::Ndcg, 1.0), (RewardName::Language, 0.5)]) }
    );
    assert!(set.needs_search() && !set.needs_raw_search() && !set.needs_reranker());
    assert!(RewardSet::default().needs_raw_search());
    assert!(!only(&[(RewardName::Language, 1.0)]).needs_search());
    assert_eq!(read("{}").unwrap(), RewardSet::default());
    RewardSet::default().validate().unwrap();
    assert!(
        read(r#"{ "weights": { "rank": 1 } }"#)
            .unwrap_err()
            .starts_with("there is no reward `rank`; there are gold_rank, ")
    );
    assert!(read(r#"{ "wieghts": {} }"#).unwrap_err().contains("unknown field"));
    let text = serde_json::to_string(&RewardSet::default()).unwrap();
    assert_eq!(read(&text).unwrap(), RewardSet::default());
    for name in RewardName::ALL {
        assert_eq!(serde_json::to_value(name).unwrap(), name.name());
        assert_eq!(RewardName::try_from(name.name().to_owned()), Ok(name));
    }
}

#[test]
fn the_mix_can_be_given_in_toml() {
    let read = |text: &str| {
        let source = config::File::from_str(text, config::FileFormat::Toml);
        let built = config::Config::builder().add_source(source).build().unwrap();
        built.try_deserialize::<RewardSet>()
    };
    let set = read("weights.gold_rank = 1\nweights.language = 0.5\nk = 5").unwrap();
    let weights = [(RewardName::GoldRank, 1.0), (RewardName::Language, 0.5)];
    assert_eq!(set, RewardSet { k: 5, ..only(&weights) });
    let error = read("weights.rank = 1").unwrap_err().to_string();
    assert!(error.contains("there is no reward `rank`"), "{error}");
}

#[test]
fn settings_without_a_meaning_are_refused_by_name_and_value() {
    let good = RewardSet::default;
    let cases = [
        (only(&[(RewardName::Gain, -1.0)]), "rewards.weights.gain is -1;"),
        (only(&[(RewardName::Gain, f64::NAN)]), "rewards.weights.gain is NaN;"),
        (only(&[(RewardName::Format, 1.0)]), "rewards.weights has no reward but"),
        (only(&[]), "rewards.weights has no reward but"),
        (RewardSet { k: 0, ..good() }, "rewards.k is 0;"),
        (RewardSet { depth: 5, ..good() }, "rewards.k is 10, but only rewards.depth = 5"),
        (RewardSet { regret_factor: 0.5, ..good() }, "rewards.regret_factor is 0.5;"),
        (RewardSet { length_room_tokens: 0, ..good() }, "rewards.length_room_tokens is 0;"),
    ];
    for (set, expected) in cases {
        let error = set.validate().unwrap_err();
        assert_eq!(error.code, "reward_options");
        assert!(error.message.starts_with(expected), "{error}");
    }
}
