//! Figures that papers give over a whole set: BLEU of the set, by its counts, is not the mean of
//! its turns' BLEU. Against the first gold rewrite.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::evaluate::metrics::bleu::{BleuOptions, BleuStatistics};
use crate::evaluate::metrics::tokens::Tokenizer;
use crate::evaluate::run::{RunRecord, TurnRecord};

/// The scores of one system on the turns of one language.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorpusScores {
    pub system: String,
    pub lang: String,
    pub n_turns: usize,
    /// 0 to 100, as papers write them.
    pub bleu1: f64,
    pub bleu2: f64,
    pub bleu4: f64,
    /// How BLEU-4 was computed, in the form of sacrebleu's signature.
    pub signature: String,
}

/// The scores of the raw query and of each system that wrote a text, by language.
pub fn of_run(run: &RunRecord) -> Vec<CorpusScores> {
    let mut groups: BTreeMap<(String, &str), Vec<(&str, &str)>> = BTreeMap::new();
    for turn in &run.turns {
        let Some(gold) = turn.texts.get("gold") else { continue };
        let lang = turn.slices.get("lang").cloned().unwrap_or_default();
        for (system, key) in [("raw", "query"), ("always", "always"), ("gated", "gated")] {
            if let Some(text) = measured(turn, system, key) {
                groups.entry((lang.clone(), system)).or_default().push((text, gold));
            }
        }
    }
    let scores = groups.into_iter().map(|((lang, system), pairs)| scored(system, lang, &pairs));
    scores.collect()
}

fn measured<'a>(turn: &'a TurnRecord, system: &str, key: &str) -> Option<&'a str> {
    turn.values.get(system)?;
    turn.texts.get(key).map(String::as_str)
}

fn scored(system: &str, lang: String, pairs: &[(&str, &str)]) -> CorpusScores {
    let is_chinese = lang.starts_with("zh");
    let options = |max_order| match is_chinese {
        true => BleuOptions::chinese_characters(max_order),
        false => BleuOptions {
            tokenizer: Tokenizer::Mteval13a,
            max_order,
            ..BleuOptions::multi_bleu_detok()
        },
    };
    let bleu = |max_order| {
        let options = options(max_order);
        let counts = pairs.iter().map(|(text, gold)| options.statistics(text, &[*gold]));
        options.score(&counts.sum::<BleuStatistics>()).score
    };
    CorpusScores {
        system: system.to_owned(),
        n_turns: pairs.len(),
        bleu1: bleu(1),
        bleu2: bleu(2),
        bleu4: bleu(4),
        signature: options(4).signature(),
        lang,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::run::{CodeVersion, FORMAT, RunHeader};

    fn turn(id: &str, lang: &str, texts: [&str; 3]) -> TurnRecord {
        let named = ["query", "gated", "gold"].into_iter().zip(texts);
        let empty = ["raw", "gated"].map(|system| (system.to_owned(), Default::default()));
        TurnRecord {
            id: id.into(),
            slices: BTreeMap::from([("lang".to_owned(), lang.to_owned())]),
            texts: named.map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
            values: BTreeMap::from(empty),
            ..TurnRecord::default()
        }
    }

    #[test]
    fn a_set_is_scored_by_its_counts_and_each_language_by_its_tokens() {
        let turns = vec![
            turn(
                "1",
                "en",
                ["how much is it", "how much is the red lamp", "how much is the red lamp"],
            ),
            turn("2", "en", ["why", "why not", "why is it so cold in the far north"]),
            turn("3", "zh", ["那呢", "线索打分呢", "线索打分呢"]),
        ];
        let header = RunHeader {
            format: FORMAT,
            suite: "s".into(),
            seed: 1,
            models: BTreeMap::new(),
            data_sha256: String::new(),
            code: CodeVersion { version: "1".into(), build: None },
            options: BTreeMap::new(),
            n_turns: turns.len(),
        };
        let run = RunRecord { header, created_at: time::OffsetDateTime::UNIX_EPOCH, turns };
        let scores = of_run(&run);
        let of = |system: &str, lang: &str| {
            scores.iter().find(|one| one.system == system && one.lang == lang).unwrap()
        };
        assert_eq!(scores.len(), 4, "{scores:?}");
        assert!((of("gated", "zh").bleu4 - 100.0).abs() < 1e-9);
        // All that is said is right, and 8 tokens are said for 15: exp(1 - 15 / 8).
        let en = of("gated", "en");
        let expected = 100.0 * (7.0_f64 / 8.0) * (1.0 - 15.0_f64 / 8.0).exp();
        assert!((en.bleu1 - expected).abs() < 1e-9, "{} {expected}", en.bleu1);
        assert!(of("raw", "en").bleu1 < en.bleu1);
        assert_eq!(en.n_turns, 2);
        assert!(en.signature.contains("13a"), "{}", en.signature);
    }
}
