//! The numbers of one answer to one turn, by name. A number that does not apply is left out.

use std::collections::BTreeSet;

use super::judge::share;
use super::suite::SuiteTurn;
use super::systems::System;
use crate::evaluate::measure::PASSED;
use crate::evaluate::metrics::bleu::BleuOptions;
use crate::evaluate::metrics::overlap::Overlap;
use crate::evaluate::metrics::ranking::Ranking;
use crate::evaluate::metrics::ratio::Ratio;
use crate::evaluate::metrics::restoration::{RestorationCounts, is_exact_match};
use crate::evaluate::metrics::rewriting::{Done, Need, TurnFacts};
use crate::evaluate::metrics::rouge::{Rouge, RougeUnit};
use crate::evaluate::metrics::tokens::Tokenizer;
use crate::evaluate::run::{TurnRecord, Values};
use crate::rewrite::conversation::Action;
use crate::service::question::Found;

/// Depth of the measures that name one.
const DEPTH: usize = 10;
/// What an answering model usually reads.
const FEW: usize = 5;
/// Gains that differ by less are equal.
const TIE: f64 = 1e-9;

/// The figures of a standalone question against what it should be.
pub fn of_text(turn: &SuiteTurn, action: Action, standalone: &str) -> Values {
    let mut values = Values::new();
    if !turn.golds.is_empty() {
        against_golds(turn, standalone, &mut values);
    }
    if let Some(need) = turn.need() {
        by_need(need, action, &mut values);
    }
    if let Some(expect) = &turn.expect {
        let text = standalone.to_lowercase();
        let holds = |word: &String| text.contains(&word.to_lowercase());
        let passed = expect.actions.contains(&action)
            && expect.must_include.iter().all(holds)
            && !expect.must_not_include.iter().any(holds)
            && (action != Action::Pass || standalone == turn.query);
        values.insert(PASSED.to_owned(), share(passed));
    }
    values
}

fn against_golds(turn: &SuiteTurn, standalone: &str, values: &mut Values) {
    let golds = &turn.golds;
    let is_exact = golds.iter().any(|gold| is_exact_match(gold, standalone));
    values.insert("exact_match".to_owned(), share(is_exact));
    let tokenizer = if turn.is_chinese() { Tokenizer::Characters } else { Tokenizer::Mteval13a };
    for max_order in [1, 2, 4] {
        let options =
            BleuOptions { tokenizer, max_order, ..BleuOptions::default() }.for_sentences();
        let score = options.score(&options.statistics(standalone, golds)).score;
        values.insert(format!("bleu{max_order}"), score / 100.0);
    }
    let unit = if turn.is_chinese() { RougeUnit::Characters } else { RougeUnit::Words };
    let rouge = Rouge::best(golds, standalone, unit);
    for (name, overlap) in
        [("rouge1", rouge.rouge_1), ("rouge2", rouge.rouge_2), ("rougeL", rouge.rouge_l)]
    {
        values.insert(name.to_owned(), overlap.f1);
    }
    let query = unit.tokens(&turn.query);
    let rewrite = unit.tokens(standalone);
    // By the gold that the text is nearest to: it may be one that restores nothing.
    let nearness = |gold: &String| Rouge::of(gold, standalone, unit).rouge_l.f1;
    let nearest =
        golds.iter().reduce(|one, other| if nearness(other) > nearness(one) { other } else { one });
    let counts = nearest
        .and_then(|gold| RestorationCounts::of(&query, &unit.tokens(gold), &rewrite))
        .map(|counts| counts.scores());
    for (order, Overlap { f1, .. }) in (1..).zip(counts.into_iter().flatten()) {
        values.insert(format!("restored_f{order}"), f1);
    }
}

fn by_need(need: Need, action: Action, values: &mut Values) {
    let facts = TurnFacts {
        need,
        done: match action {
            Action::Pass => Done::Kept,
            Action::Rewrite => Done::Rewrote,
            Action::Clarify => Done::Asked,
        },
        n_evidence_given: 0,
        n_evidence_wanted: 0,
        n_evidence_right: 0,
        n_protected: 0,
        n_protected_lost: 0,
        is_language_kept: None,
    };
    for (name, ratio) in [
        ("over_rewrite", facts.over_rewrite()),
        ("under_rewrite", facts.under_rewrite()),
        ("clarify_precision", facts.clarify_precision()),
        ("clarify_recall", facts.clarify_recall()),
    ] {
        insert(values, name, ratio);
    }
}

/// How well the evidence that is named is that which is expected.
pub fn of_evidence(turn: &SuiteTurn, named: &BTreeSet<String>) -> Values {
    let mut values = Values::new();
    let Some(expect) = turn.expect.as_ref().filter(|expect| !expect.sources.is_empty()) else {
        return values;
    };
    let n_right = expect.sources.intersection(named).count() as u64;
    insert(&mut values, "evidence_precision", Ratio::new(n_right, named.len() as u64));
    insert(&mut values, "evidence_recall", Ratio::new(n_right, expect.sources.len() as u64));
    values
}

/// The figures of what was found; documents count once, at the rank of their best passage.
pub fn of_ranking(turn: &SuiteTurn, found: &Found) -> Values {
    let mut documents: Vec<String> = Vec::new();
    for passage in &found.results {
        if !documents.contains(&passage.document_id) {
            documents.push(passage.document_id.clone());
        }
    }
    let ranking = Ranking { found: &documents, grades: &turn.grades };
    Values::from([
        ("ndcg@10".to_owned(), ranking.ndcg(DEPTH)),
        ("ndcg@5".to_owned(), ranking.ndcg(FEW)),
        ("recall@5".to_owned(), ranking.recall(FEW)),
        ("recall@10".to_owned(), ranking.recall(DEPTH)),
        ("mrr@10".to_owned(), ranking.reciprocal_rank(DEPTH)),
        ("map".to_owned(), ranking.average_precision()),
    ])
}

/// Marks the systems that the raw query would have beaten.
pub fn add_regret(record: &mut TurnRecord) {
    let primary = ["ndcg@10", PASSED];
    let raw = System::Raw.name();
    let Some((metric, before)) =
        primary.into_iter().find_map(|name| Some((name, record.value(raw, name)?)))
    else {
        return;
    };
    for (_, values) in record.values.iter_mut().filter(|(system, _)| *system != raw) {
        if let Some(now) = values.get(metric) {
            let regret = share(before - now > TIE);
            values.insert("regret".to_owned(), regret);
        }
    }
}

fn insert(values: &mut Values, name: &str, ratio: Ratio) {
    if let Some(value) = ratio.value() {
        values.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::evaluation::suite::Expect;

    fn case() -> SuiteTurn {
        SuiteTurn {
            query: "那怎么导出".into(),
            golds: vec!["客户画像怎么导出".into(), "那客户画像怎么导出".into()],
            expect: Some(Expect {
                actions: vec![Action::Rewrite],
                must_include: vec!["客户画像".into()],
                must_not_include: vec!["详情".into()],
                sources: BTreeSet::from(["turn 0".to_owned(), "date".to_owned()]),
            }),
            ..SuiteTurn::default()
        }
    }

    #[test]
    fn a_case_is_passed_by_its_action_its_words_and_the_lack_of_others() {
        let passed = |action, text: &str| of_text(&case(), action, text)[PASSED];
        assert_eq!(passed(Action::Rewrite, "客户画像怎么导出"), 1.0);
        assert_eq!(passed(Action::Clarify, "客户画像怎么导出"), 0.0);
        assert_eq!(passed(Action::Rewrite, "画像怎么导出"), 0.0);
        assert_eq!(passed(Action::Rewrite, "客户画像详情怎么导出"), 0.0);
        let mut complete = case();
        complete.expect = Some(Expect { actions: vec![Action::Pass], ..Expect::default() });
        let pass = |text: &str| of_text(&complete, Action::Pass, text)[PASSED];
        assert_eq!((pass("那怎么导出"), pass("那怎么导出?")), (1.0, 0.0));
    }

    #[test]
    fn texts_are_measured_against_the_best_gold() {
        let values = of_text(&case(), Action::Rewrite, "那客户画像怎么导出");
        for name in ["exact_match", "bleu1", "bleu4", "rougeL", "restored_f1"] {
            assert!((values[name] - 1.0).abs() < 1e-9, "{name}: {values:?}");
        }
        assert_eq!((values["under_rewrite"], values.get("over_rewrite")), (0.0, None));
        let kept = of_text(&case(), Action::Pass, "那怎么导出");
        assert_eq!((kept["under_rewrite"], kept["restored_f1"]), (1.0, 0.0));
        assert!(kept["bleu4"] < values["bleu4"]);
    }

    #[test]
    fn evidence_is_right_where_it_is_expected() {
        let named = BTreeSet::from(["turn 0".to_owned(), "fact x".to_owned()]);
        let values = of_evidence(&case(), &named);
        assert_eq!((values["evidence_precision"], values["evidence_recall"]), (0.5, 0.5));
        assert!(!of_evidence(&case(), &BTreeSet::new()).contains_key("evidence_precision"));
        assert!(of_evidence(&SuiteTurn::default(), &named).is_empty());
    }

    #[test]
    fn regret_is_where_the_raw_query_was_better() {
        let of = |ndcg: f64| Values::from([("ndcg@10".to_owned(), ndcg)]);
        let mut record = TurnRecord::default();
        for (system, ndcg) in [("raw", 0.5), ("always", 0.4), ("gated", 0.5), ("gold", 1.0)] {
            record.values.insert(system.to_owned(), of(ndcg));
        }
        add_regret(&mut record);
        let regret = |system| record.value(system, "regret");
        assert_eq!((regret("raw"), regret("always")), (None, Some(1.0)));
        assert_eq!((regret("gated"), regret("gold")), (Some(0.0), Some(0.0)));
    }
}
