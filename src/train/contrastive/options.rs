//! What is contrasted with what, and how.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Whose similarities enter the denominator of an example (a query and its positive document).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The query against every document. Always needed: it holds the positive pair.
    QueryToDoc,
    /// The positive document against every query.
    DocToQuery,
    /// The query against every other query.
    QueryToQuery,
    /// The positive document against every document of other examples.
    DocToDoc,
}

/// How several directions make one loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// One softmax over all directions (Li et al. 2023, GTE, arXiv 2308.03281).
    #[default]
    Joint,
    /// One softmax for each direction, and the mean of their losses (symmetric InfoNCE).
    PerDirection,
}

/// Which negatives weigh more the nearer they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardnessMode {
    /// Other examples' documents (Lan et al. 2025, arXiv 2503.04812, Eq. 5; strength 9 there).
    InBatchNegatives,
    /// The example's own hard negatives (EmbeddingGemma, arXiv 2509.20354; strength 5 there).
    HardNegatives,
    /// Both.
    AllNegatives,
}

/// Adds `strength · similarity`, without a gradient, to the logits of negatives of `query_to_doc`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardness {
    pub mode: HardnessMode,
    pub strength: f64,
}

/// A distance from the positive pair's similarity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Margin {
    /// In units of the similarity.
    Absolute(f64),
    /// As a share of the similarity's size.
    Relative(f64),
}

/// The loss of a run. The defaults are those of sentence-transformers'
/// `MultipleNegativesRankingLoss`: temperature 0.05, the query against the documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveOptions {
    /// Similarities are divided by it.
    pub temperature: f64,
    pub directions: Vec<Direction>,
    pub partition: Partition,
    pub hardness: Option<Hardness>,
    /// Leaves out a negative that is nearer than the positive by more than this: with a similarity
    /// above `positive + margin` it is likely an unmarked positive.
    pub self_margin: Option<Margin>,
    /// With a guide: leaves out a negative whose similarity under the guide is above
    /// `positive − margin`, both by the guide (GISTEmbed, Solatorio 2024, arXiv 2402.16829).
    pub guide_margin: Margin,
    /// Dimensions and weights of the truncated embeddings whose losses are added up (Kusupati et
    /// al. 2022, arXiv 2205.13147). Empty: the whole embedding alone.
    pub matryoshka: Vec<(usize, f64)>,
}

impl Default for ContrastiveOptions {
    fn default() -> Self {
        Self {
            temperature: 0.05,
            directions: vec![Direction::QueryToDoc],
            partition: Partition::Joint,
            hardness: None,
            self_margin: None,
            guide_margin: Margin::Absolute(0.0),
            matryoshka: Vec::new(),
        }
    }
}

impl ContrastiveOptions {
    /// Refuses what has no meaning; call it once before a run.
    ///
    /// # Errors
    /// `contrastive_options` with the value and what to set.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refuse(format!(
                "temperature is {}; give a positive number, 0.01 to 0.1 is usual",
                self.temperature
            ));
        }
        self.validate_directions()?;
        self.validate_margins()?;
        self.validate_matryoshka()
    }

    fn validate_directions(&self) -> Result<()> {
        if !self.directions.contains(&Direction::QueryToDoc) {
            return refuse("directions lack query_to_doc, which holds the positive pair; add it");
        }
        for (index, direction) in self.directions.iter().enumerate() {
            if self.directions[..index].contains(direction) {
                return refuse(format!("the direction {direction:?} is named twice; name it once"));
            }
            let without_positive =
                matches!(direction, Direction::QueryToQuery | Direction::DocToDoc);
            if self.partition == Partition::PerDirection && without_positive {
                return refuse(format!(
                    "the direction {direction:?} has no positive pair, so a softmax of its own has \
                     no meaning; set partition to joint"
                ));
            }
        }
        Ok(())
    }

    fn validate_margins(&self) -> Result<()> {
        if let Some(Hardness { strength, .. }) = self.hardness
            && !(strength.is_finite() && strength >= 0.0)
        {
            return refuse(format!("the hardness strength is {strength}; give 0 or more"));
        }
        for margin in [self.self_margin, Some(self.guide_margin)].into_iter().flatten() {
            let (Margin::Absolute(size) | Margin::Relative(size)) = margin;
            if !(size.is_finite() && size >= 0.0) {
                return refuse(format!("a margin is {size}; give 0 or more"));
            }
        }
        Ok(())
    }

    fn validate_matryoshka(&self) -> Result<()> {
        for (index, &(dimensions, weight)) in self.matryoshka.iter().enumerate() {
            if dimensions == 0 || !(weight.is_finite() && weight > 0.0) {
                return refuse(format!(
                    "matryoshka has {dimensions} dimensions with the weight {weight}; both must be \
                     above 0"
                ));
            }
            if self.matryoshka[..index].iter().any(|(earlier, _)| *earlier == dimensions) {
                return refuse(format!("matryoshka names {dimensions} dimensions twice"));
            }
        }
        Ok(())
    }
}

fn refuse<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::invalid("contrastive_options", sentence))
}
