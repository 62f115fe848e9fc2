//! Every figure against the package it equals, on a thousand random cases and more. The cases are
//! computed by `tests/parity/make_metrics.py`.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::bleu::{BleuOptions, BleuScore, Smoothing};
use super::latency::Distribution;
use super::overlap::Overlap;
use super::ranking::{Ranking, trec_order};
use super::restoration::RestorationCounts;
use super::rouge::{Rouge, RougeUnit};
use super::tokens::{Tokenizer, characters};

const TOKENIZERS: [Tokenizer; 4] =
    [Tokenizer::Mteval13a, Tokenizer::Chinese, Tokenizer::Characters, Tokenizer::None];

/// Smoothing, its value, effective order, lowercase, longest n-grams.
type Options = (String, Option<f64>, u8, u8, usize);
type Text = (String, String, String, Vec<String>, Options, [f64; 4], [[f64; 3]; 3], Counts);
/// Matched, proposed, wanted of each order.
type Counts = Option<[[u64; 3]; 3]>;

fn cases<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/metrics");
    let text = fs_err::read_to_string(format!("{folder}/{name}.jsonl")).unwrap();
    text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn assert_near(value: f64, expected: f64, what: &str) {
    assert!((value - expected).abs() < 1e-6, "{value}, not {expected}: {what}");
}

fn options((smoothing, value, effective, lowercase, max_order): &Options) -> BleuOptions {
    let smoothing = match (smoothing.as_str(), value) {
        ("exp", None) => Smoothing::Exponential,
        ("none", None) => Smoothing::None,
        ("floor", Some(value)) => Smoothing::Floor(*value),
        ("add-k", Some(value)) => Smoothing::AddK(*value),
        other => panic!("{other:?}"),
    };
    BleuOptions {
        smoothing,
        max_order: *max_order,
        effective_order: *effective == 1,
        lowercase: *lowercase == 1,
        ..BleuOptions::default()
    }
}

fn corpus<'a>(options: &BleuOptions, texts: impl IntoIterator<Item = &'a Text>) -> BleuScore {
    options.corpus(texts.into_iter().map(|text| (text.2.as_str(), text.3.as_slice())))
}

#[test]
fn bleu_of_sentences_equals_sacrebleu() {
    for text in &cases::<Text>("texts") {
        for (tokenizer, expected) in TOKENIZERS.into_iter().zip(text.5) {
            let options = BleuOptions { tokenizer, ..options(&text.4) };
            let score = options.score(&options.statistics(&text.2, &text.3)).score;
            assert_near(score, expected, &format!("{options:?} of {text:?}"));
        }
    }
}

#[test]
fn bleu_of_corpora_equals_sacrebleu() {
    let texts: Vec<Text> = cases("texts");
    let corpora = cases::<(usize, usize, Tokenizer, Options, f64, f64, Vec<f64>)>("corpora");
    for (start, n_texts, tokenizer, given, score, penalty, precisions) in &corpora {
        let options = BleuOptions { tokenizer: *tokenizer, ..options(given) };
        let found = corpus(&options, &texts[*start..start + n_texts]);
        let what = format!("{options:?} of {n_texts} texts from {start}");
        assert_near(found.score, *score, &what);
        assert_near(found.brevity_penalty, *penalty, &what);
        assert_eq!(found.precisions.len(), precisions.len());
        for (found, expected) in found.precisions.iter().zip(precisions) {
            assert_near(*found, *expected, &what);
        }
    }
}

#[test]
fn bleu_equals_the_script_of_moses_to_its_two_decimals() {
    let texts: Vec<Text> = cases("texts");
    for (places, lowercase, expected) in cases::<(Vec<usize>, u8, f64)>("multi-bleu-detok") {
        let lowercase = lowercase == 1;
        let options = BleuOptions { lowercase, ..BleuOptions::multi_bleu_detok() };
        let segments = places.iter().map(|place| &texts[*place]);
        let statistics = segments.map(|text| {
            let references = [&text.3[0], &text.3[text.3.len() - 1]];
            options.statistics(&text.2, &references)
        });
        let score = options.score(&statistics.sum()).score;
        assert!((score - expected).abs() <= 0.005 + 1e-9, "{score}, not {expected}: {places:?}");
    }
}

#[test]
fn rouge_equals_rouge_score() {
    for text in &cases::<Text>("texts") {
        let unit = if text.0 == "zh" { RougeUnit::Characters } else { RougeUnit::Words };
        let Rouge { rouge_1, rouge_2, rouge_l } = Rouge::best(&text.3, &text.2, unit);
        for (found, expected) in [rouge_1, rouge_2, rouge_l].iter().zip(text.6) {
            let Overlap { precision, recall, f1 } = *found;
            for (found, expected) in [precision, recall, f1].into_iter().zip(expected) {
                assert_near(found, expected, &format!("{text:?}"));
            }
        }
    }
}

#[test]
fn restoration_equals_its_definition() {
    let mut n_left_out = 0;
    for text in &cases::<Text>("texts") {
        let split = |line: &str| {
            if text.0 == "zh" { characters(line) } else { Tokenizer::None.tokens(line) }
        };
        let found = RestorationCounts::of(&split(&text.1), &split(&text.3[0]), &split(&text.2));
        let columns = |counts: RestorationCounts| {
            [0, 1, 2].map(|n| [counts.matched[n], counts.proposed[n], counts.wanted[n]])
        };
        assert_eq!(found.map(columns), text.7, "{text:?}");
        n_left_out += usize::from(found.is_none());
    }
    assert!(n_left_out > 100);
}

#[test]
fn rankings_equal_trec_eval() {
    type Case = (Vec<(String, f64)>, HashMap<String, i32>, [f64; 10]);
    for (run, grades, expected) in &cases::<Case>("rankings") {
        let scored: Vec<_> = run.iter().map(|(name, score)| (name.as_str(), *score)).collect();
        let grades = grades.iter().map(|(name, grade)| (name.as_str(), *grade)).collect();
        let ranking = Ranking { found: &trec_order(&scored), grades: &grades };
        let found = [
            ranking.ndcg(1),
            ranking.ndcg(3),
            ranking.ndcg(10),
            ranking.ndcg(usize::MAX),
            ranking.recall(1),
            ranking.recall(3),
            ranking.recall(10),
            ranking.precision(3),
            ranking.average_precision(),
            ranking.reciprocal_rank(usize::MAX),
        ];
        for (place, (found, expected)) in found.into_iter().zip(*expected).enumerate() {
            assert_near(found, expected, &format!("measure {place} of {run:?} and {grades:?}"));
        }
    }
}

#[test]
fn percentiles_equal_numpy() {
    for (values, expected) in cases::<(Vec<f64>, [f64; 4])>("latencies") {
        let found = Distribution::of(values.iter().copied()).unwrap();
        let figures = [found.mean, found.p50, found.p95, found.p99];
        for (found, expected) in figures.into_iter().zip(expected) {
            assert_near(found, expected, &format!("{values:?}"));
        }
    }
}
