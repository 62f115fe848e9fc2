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
