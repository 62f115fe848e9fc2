//! BLEU, equal to sacrebleu 2.6.
//!
//! Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (ACL 2002):
//! BLEU = 100 · BP · exp(Σ ln pₙ / N), where pₙ is the share of the hypotheses' n-grams that occur
//! in a reference, clipped at how often they do, and BP = min(1, exp(1 − r/c)) for c tokens of
//! hypotheses and r of the references closest in length. Post, "A Call for Clarity in Reporting BLEU
//! Scores" (WMT 2018), is why the options belong into every report: see [`BleuOptions::signature`].

use std::collections::HashMap;
use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::overlap::{n_in_common, ngram_counts};
use super::tokens::Tokenizer;

/// What stands in for an order of n-grams without a match (Chen and Cherry, "A Systematic Comparison
/// of Smoothing Techniques for Sentence-Level BLEU", WMT 2014). Orders that the hypotheses are too
/// short for are never filled, except by `AddK`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoothing {
    /// Nothing: the score is 0.
    None,
    /// This many matches (0.1 in the paper, method 1).
    Floor(f64),
    /// This much is added to the matches and the totals of all orders above 1 (1 in the paper,
    /// method 2).
    AddK(f64),
    /// Half a match, a quarter for the next such order, and so on (method 3, mteval-v13a.pl).
    #[default]
    #[serde(rename = "exp")]
    Exponential,
}

/// How BLEU is computed. The default is sacrebleu's for a corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BleuOptions {
    pub tokenizer: Tokenizer,
    pub smoothing: Smoothing,
    /// The longest n-grams, N: 4 for BLEU-4, at least 1.
    pub max_order: usize,
    /// Leave out the orders that the hypothesis is too short for: for single sentences.
    pub effective_order: bool,
    pub lowercase: bool,
}

impl Default for BleuOptions {
    fn default() -> Self {
        Self {
            tokenizer: Tokenizer::default(),
            smoothing: Smoothing::default(),
            max_order: 4,
            effective_order: false,
            lowercase: false,
        }
    }
}

/// What BLEU needs to know of a segment. Segments add up, so that any part of a corpus, or a sample
/// of it, can be scored without counting n-grams again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BleuStatistics {
    pub n_hypothesis_tokens: u64,
    /// Of the reference that is closest in length; of two as close, the shorter.
    pub n_reference_tokens: u64,
    /// By order from 1: n-grams of the hypothesis that the references have too.
    pub matched: Vec<u64>,
    /// By order from 1: n-grams of the hypothesis.
    pub total: Vec<u64>,
}

/// A score from 0 to 100 and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BleuScore {
    pub score: f64,
    /// By order from 1, after smoothing, from 0 to 100.
    pub precisions: Vec<f64>,
    pub brevity_penalty: f64,
}

impl BleuOptions {
    /// As multi-bleu-detok.perl scores (the script of the CANARD paper's table): `13a` inside, no
    /// smoothing, case-sensitive, BLEU-4. The script prints two decimals.
    pub fn multi_bleu_detok() -> Self {
        Self { smoothing: Smoothing::None, ..Self::default() }
    }

    /// As the papers on REWRITE and RESTORATION-200K score Chinese: by character and without
    /// smoothing; BLEU-1, 2 and 4 by `max_order`.
    pub fn chinese_characters(max_order: usize) -> Self {
        Self { tokenizer: Tokenizer::Characters, max_order, ..Self::multi_bleu_detok() }
    }

    /// The same for single sentences.
    pub fn for_sentences(self) -> Self {
        Self { effective_order: true, ..self }
    }

    /// Counts one segment against its references. Without a reference nothing matches and the
    /// reference's length is 0.
    pub fn statistics<S: AsRef<str>>(&self, hypothesis: &str, references: &[S]) -> BleuStatistics {
        let hypothesis = self.tokens(hypothesis);
        let references: Vec<_> = references.iter().map(|text| self.tokens(text.as_ref())).collect();
        let orders = 1..=self.max_order.max(1);
        let matched = |n| n_matched(&hypothesis, &references, n);
        let total = |n| hypothesis.windows(n).len() as u64;
        BleuStatistics {
            n_hypothesis_tokens: hypothesis.len() as u64,
            n_reference_tokens: closest_len(hypothesis.len(), &references) as u64,
            matched: orders.clone().map(matched).collect(),
            total: orders.map(total).collect(),
        }
    }

    /// The score of a segment, or of a corpus as the sum of its segments.
    pub fn score(&self, statistics: &BleuStatistics) -> BleuScore {
        let brevity_penalty = brevity_penalty(statistics);
        let mut precisions = vec![0.0; self.max_order.max(1)];
        if statistics.matched.iter().all(|n| *n == 0) {
            return BleuScore { score: 0.0, precisions, brevity_penalty };
        }
        let n_counted = self.fill(&mut precisions, statistics);
        let order = if self.effective_order { n_counted } else { precisions.len() };
        // ln 0 is −∞, and its exponential 0 again.
        let logs: f64 = precisions.iter().take(order).map(|precision| precision.ln()).sum();
        let score = brevity_penalty * (logs / order as f64).exp();
        BleuScore { score, precisions, brevity_penalty }
    }

    /// The score of a corpus: each hypothesis with its references.
    pub fn corpus<'a, S: AsRef<str> + 'a>(
        &self,
        segments: impl IntoIterator<Item = (&'a str, &'a [S])>,
    ) -> BleuScore {
        let statistics =
            segments.into_iter().map(|(text, references)| self.statistics(text, references));
        self.score(&statistics.sum())
    }

    /// The options in the form of sacrebleu's signature, without its version and the number of
    /// references.
    pub fn signature(&self) -> String {
        let case = if self.lowercase { "lc" } else { "mixed" };
        let effective = if self.effective_order { "yes" } else { "no" };
        let smoothing = match self.smoothing {
            Smoothing::None => "none".to_owned(),
            Smoothing::Floor(value) => format!("floor[{value:.2}]"),
            Smoothing::AddK(value) => format!("add-k[{value:.2}]"),
            Smoothing::Exponential => "exp".to_owned(),
        };
        format!("case:{case}|eff:{effective}|tok:{}|smooth:{smoothing}", self.tokenizer.name())
    }

    fn tokens(&self, text: &str) -> Vec<String> {
        if self.lowercase {
            self.tokenizer.tokens(&text.to_lowercase())
        } else {
            self.tokenizer.tokens(text)
        }
    }

    /// Writes the precisions, smoothed, and returns how many orders there are n-grams of.
    fn fill(&self, precisions: &mut [f64], statistics: &BleuStatistics) -> usize {
        let mut halved = 1.0;
        let counts = statistics.matched.iter().zip(&statistics.total);
        for ((order, precision), (matched, total)) in (0..).zip(&mut *precisions).zip(counts) {
            let added = match self.smoothing {
                Smoothing::AddK(value) if order > 0 => value,
                _ => 0.0,
            };
            let (matched, total) = (*matched as f64 + added, *total as f64 + added);
            if total == 0.0 {
                return order;
            }
            let share = match self.smoothing {
                _ if matched > 0.0 => matched,
                Smoothing::Exponential => {
                    halved /= 2.0;
                    halved
                }
                Smoothing::Floor(value) => value,
                _ => 0.0,
            };
            *precision = 100.0 * share / total;
        }
        precisions.len()
    }
}

impl AddAssign<&BleuStatistics> for BleuStatistics {
    /// An empty one, as `default` makes it, takes on the other's number of orders.
    fn add_assign(&mut self, other: &BleuStatistics) {
        let n_orders = self.total.len().max(other.total.len());
        self.n_hypothesis_tokens += other.n_hypothesis_tokens;
        self.n_reference_tokens += other.n_reference_tokens;
        for (sums, counts) in [(&mut self.matched, &other.matched), (&mut self.total, &other.total)]
        {
            sums.resize(n_orders, 0);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
}

impl Sum for BleuStatistics {
    fn sum<I: Iterator<Item = Self>>(segments: I) -> Self {
        segments.fold(Self::default(), |mut sum, segment| {
            sum += &segment;
            sum
        })
    }
}

/// An n-gram of the hypothesis counts at most as often as the reference that has it most often.
fn n_matched(hypothesis: &[String], references: &[Vec<String>], n: usize) -> u64 {
    let mut allowed: HashMap<&[String], u64> = HashMap::new();
    for reference in references {
        for (ngram, count) in ngram_counts(reference, n) {
            let most = allowed.entry(ngram).or_default();
            *most = count.max(*most);
        }
    }
    n_in_common(&ngram_counts(hypothesis, n), &allowed)
}

fn closest_len(len: usize, references: &[Vec<String>]) -> usize {
    let lens = references.iter().map(Vec::len);
    lens.min_by_key(|reference_len| (len.abs_diff(*reference_len), *reference_len)).unwrap_or(0)
}

fn brevity_penalty(statistics: &BleuStatistics) -> f64 {
    let (hypothesis, reference) = (statistics.n_hypothesis_tokens, statistics.n_reference_tokens);
    match (hypothesis, reference) {
        _ if hypothesis >= reference => 1.0,
        (0, _) => 0.0,
        _ => (1.0 - reference as f64 / hypothesis as f64).exp(),
    }
}
