//! Hard negatives: documents near to a query that are not its positives, yet not so near that they
//! are likely unmarked positives. The rules are those of sentence-transformers'
//! `mine_hard_negatives`; a `relative_margin` of 0.05 is NV-Retriever's recipe (Moreira et al.
//! 2024, arXiv 2407.15831).

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::metrics::best_places;
use crate::error::{Error, Result};

/// Which of the candidates become negatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MiningStrategy {
    /// The nearest.
    #[default]
    Top,
    /// Any, with equal chance.
    Random,
}

/// How negatives are chosen; the defaults are those of sentence-transformers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningOptions {
    /// How many negatives a query gets, or fewer if there are no more candidates.
    pub num_negatives: usize,
    /// Leaves out so many of the nearest candidates.
    pub range_min: usize,
    /// Looks at so many of the nearest. None: enough for the negatives and the data's most
    /// positives, and ten times the negatives where a margin or `max_score` will thin them out.
    pub range_max: Option<usize>,
    /// Leaves out candidates with a similarity above this.
    pub max_score: Option<f64>,
    /// Leaves out candidates with a similarity below this.
    pub min_score: Option<f64>,
    /// Leaves out candidates with a similarity above `positive − margin`. With several positives
    /// the least similar counts, here and below.
    pub absolute_margin: Option<f64>,
    /// Leaves out candidates with a similarity above `positive − margin · |positive|`.
    pub relative_margin: Option<f64>,
    pub strategy: MiningStrategy,
    /// Of `random`.
    pub seed: u64,
}

impl Default for MiningOptions {
    fn default() -> Self {
        Self {
            num_negatives: 3,
            range_min: 0,
            range_max: None,
            max_score: None,
            min_score: None,
            absolute_margin: None,
            relative_margin: None,
            strategy: MiningStrategy::Top,
            seed: 42,
        }
    }
}

/// A negative and how similar it is to its query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinedNegative {
    pub document: usize,
    pub similarity: f64,
}

/// Mines the rows of a similarity matrix one by one.
#[derive(Debug, Clone)]
pub struct HardNegativeMiner {
    options: MiningOptions,
    range_max: usize,
    most_positives: usize,
}

impl HardNegativeMiner {
    /// `most_positives` is the largest number of positives that a query of the data has.
    ///
    /// # Errors
    /// `mining_options` with the value and what to set.
    pub fn new(options: MiningOptions, most_positives: usize) -> Result<Self> {
        let thinned = options.absolute_margin.is_some()
            || options.relative_margin.is_some()
            || options.max_score.is_some();
        let n_wanted = options.num_negatives * if thinned { 10 } else { 1 };
        let range_max = options.range_max.unwrap_or(options.range_min + n_wanted + most_positives);
        validate(&options, range_max)?;
        Ok(Self { options, range_max, most_positives })
    }

    /// The negatives of one query, nearest first: `similarities` to every document, the places of
    /// its `positives`, and the query's own number, by which `random` draws the same however rows
    /// are shared out.
    ///
    /// # Errors
    /// `mining_similarities` for a positive that is not among the documents, none at all, or a NaN.
    pub fn mine(
        &self,
        similarities: &[f32],
        positives: &[usize],
        query_number: u64,
    ) -> Result<Vec<MinedNegative>> {
        let least_positive = least_positive(similarities, positives)?;
        if let Some(place) = similarities.iter().position(|similarity| similarity.is_nan()) {
            return refuse(format!(
                "the similarity of document {place} is not a number; embed the texts again"
            ));
        }
        let nearest = best_places(similarities, self.range_max + self.most_positives);
        let candidates: Vec<MinedNegative> = nearest
            .into_iter()
            .filter(|document| !positives.contains(document))
            .map(|document| MinedNegative { document, similarity: similarities[document].into() })
            .filter(|candidate| self.keeps(candidate.similarity, least_positive))
            .take(self.range_max)
            .skip(self.options.range_min)
            .collect();
        Ok(self.choose(candidates, query_number))
    }

    fn keeps(&self, similarity: f64, positive: f64) -> bool {
        let options = &self.options;
        let within = |limit: Option<f64>| limit.is_none_or(|limit| similarity <= limit);
        options.absolute_margin.is_none_or(|margin| similarity + margin <= positive)
            && within(options.relative_margin.map(|margin| positive - positive.abs() * margin))
            && within(options.max_score)
            && options.min_score.is_none_or(|least| similarity >= least)
    }

    fn choose(&self, mut candidates: Vec<MinedNegative>, query_number: u64) -> Vec<MinedNegative> {
        let n_negatives = self.options.num_negatives;
        if self.options.strategy == MiningStrategy::Random && candidates.len() > n_negatives {
            let mut random = ChaCha8Rng::seed_from_u64(self.options.seed);
            random.set_stream(query_number);
            let mut drawn = sample(&mut random, candidates.len(), n_negatives).into_vec();
            drawn.sort_unstable();
            return drawn.into_iter().map(|place| candidates[place]).collect();
        }
        candidates.truncate(n_negatives);
        candidates
    }
}

fn validate(options: &MiningOptions, range_max: usize) -> Result<()> {
    let refuse = |sentence: String| Err(Error::invalid("mining_options", sentence));
    let MiningOptions { num_negatives, range_min, .. } = *options;
    if num_negatives == 0 {
        return refuse("num_negatives is 0; give at least 1".to_owned());
    }
    if range_min + num_negatives > range_max {
        return refuse(format!(
            "range_min {range_min} and range_max {range_max} leave no room for {num_negatives} negatives; \
             raise range_max or lower the others"
        ));
    }
    let named = [
        ("max_score", options.max_score),
        ("min_score", options.min_score),
        ("absolute_margin", options.absolute_margin),
        ("relative_margin", options.relative_margin),
    ];
    match named.iter().find(|(_, value)| value.is_some_and(|value| !value.is_finite())) {
        Some((name, _)) => {
            refuse(format!("{name} is not a finite number; give one, or leave it out"))
        }
        None => Ok(()),
    }
}

fn least_positive(similarities: &[f32], positives: &[usize]) -> Result<f64> {
    let mut least = f64::INFINITY;
    for &place in positives {
        match similarities.get(place) {
            Some(similarity) => least = least.min(f64::from(*similarity)),
            None => {
                return refuse(format!(
                    "document {place} is a positive and there are {} documents; add it to the corpus",
                    similarities.len()
                ));
            }
        }
    }
    if positives.is_empty() {
        return refuse(
            "a query without a positive has nothing to measure negatives by; leave it out"
                .to_owned(),
        );
    }
    Ok(least)
}

fn refuse<T>(sentence: String) -> Result<T> {
    Err(Error::invalid("mining_similarities", sentence))
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture;
    use super::*;

    #[derive(Deserialize)]
    struct Mining {
        similarities: Vec<Vec<f64>>,
        positives: Vec<Vec<usize>>,
        cases: Vec<MiningCase>,
    }

    #[derive(Deserialize)]
    struct MiningCase {
        options: MiningOptions,
        negatives: Vec<Vec<usize>>,
    }

    fn mined(mining: &Mining, options: MiningOptions) -> Vec<Vec<usize>> {
        let miner = HardNegativeMiner::new(options, 2).unwrap();
        let rows = mining.similarities.iter().zip(&mining.positives).enumerate();
        rows.map(|(query, (row, positives))| {
            let row: Vec<f32> = row.iter().map(|similarity| *similarity as f32).collect();
            let negatives = miner.mine(&row, positives, query as u64).unwrap();
            assert!(negatives.is_sorted_by(|left, right| left.similarity >= right.similarity));
            negatives.into_iter().map(|negative| negative.document).collect()
        })
        .collect()
    }

    #[test]
    fn mined_negatives_equal_sentence_transformers() {
        let mining: Mining = fixture("/mining");
        for case in &mining.cases {
            assert_eq!(mined(&mining, case.options.clone()), case.negatives, "{:?}", case.options);
        }
    }

    #[test]
    fn random_negatives_come_from_the_candidates_and_from_the_seed() {
        let mining: Mining = fixture("/mining");
        let with = |num_negatives, strategy, seed| {
            let range_max = Some(12);
            let options =
                MiningOptions { num_negatives, range_max, strategy, seed, ..Default::default() };
            mined(&mining, options)
        };
        let candidates = with(12, MiningStrategy::Top, 0);
        let drawn = with(4, MiningStrategy::Random, 7);
        for (drawn, candidates) in drawn.iter().zip(&candidates) {
            assert_eq!(drawn.len(), 4);
            assert!(drawn.iter().all(|document| candidates.contains(document)));
        }
        assert_eq!(drawn, with(4, MiningStrategy::Random, 7));
        assert_ne!(drawn, with(4, MiningStrategy::Random, 8));
        let options = MiningOptions {
            range_max: Some(12),
            strategy: MiningStrategy::Random,
            ..Default::default()
        };
        let miner = HardNegativeMiner::new(options, 1).unwrap();
        let row: Vec<f32> = (0..20u8).map(|place| 1.0 / f32::from(place + 1)).collect();
        let of = |query| miner.mine(&row, &[0], query).unwrap();
        assert!((1..6).any(|query| of(query) != of(0)), "each query draws for itself");
    }

    #[test]
    fn what_cannot_be_mined_is_refused() {
        let new = |options| HardNegativeMiner::new(options, 1).map(|_| ()).unwrap_err().message;
        assert!(
            new(MiningOptions { num_negatives: 0, ..Default::default() }).contains("at least 1")
        );
        assert!(
            new(MiningOptions { range_max: Some(2), ..Default::default() }).contains("no room")
        );
        assert!(
            new(MiningOptions { max_score: Some(f64::NAN), ..Default::default() })
                .contains("max_score")
        );
        let miner = HardNegativeMiner::new(MiningOptions::default(), 1).unwrap();
        let message =
            |row: &[f32], positives: &[usize]| miner.mine(row, positives, 0).unwrap_err().message;
        assert!(message(&[0.1, f32::NAN], &[0]).contains("document 1 is not a number"));
        assert!(message(&[0.1], &[4]).contains("document 4"));
        assert!(message(&[0.1], &[]).contains("without a positive"));
    }
}
