//! The choice as it is shipped: a line over named features, and a threshold.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::model::tensor_file::write_failed;

/// The layout of the file.
const FORMAT: u32 = 1;

/// A feature, how it is scaled, and what it weighs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: String,
    /// What is taken off.
    pub mean: f64,
    /// What the rest is divided by; 1 for a feature that never differed.
    pub scale: f64,
    pub weight: f64,
}

/// Rewrite, if the chance that the rewrite retrieves better is at least the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceModel {
    format: u32,
    pub features: Vec<Feature>,
    pub bias: f64,
    /// 0 rewrites always, above 1 never.
    pub threshold: f64,
    /// The strength of the L2 penalty that it was fitted with.
    pub l2: f64,
    /// The measure that the threshold was chosen for.
    pub metric: String,
    pub n_turns: usize,
}

impl ChoiceModel {
    pub(super) fn new(
        features: Vec<Feature>,
        bias: f64,
        l2: f64,
        metric: &str,
        n_turns: usize,
    ) -> Self {
        let metric = metric.to_owned();
        Self { format: FORMAT, features, bias, threshold: 0.5, l2, metric, n_turns }
    }

    /// The chance that the rewrite retrieves better, by features in the model's order. One that is
    /// missing counts as the mean.
    pub fn predict(&self, values: &[f64]) -> f64 {
        let parts = self.features.iter().zip(values);
        let sum: f64 = parts.map(|(feature, value)| feature.part(*value)).sum();
        super::logistic::sigmoid(sum + self.bias)
    }

    /// The same by the names of the features. Those that the model does not know are not looked
    /// at.
    ///
    /// # Errors
    /// `choice_features` with the name of one that is missing.
    pub fn predict_named(&self, values: &BTreeMap<String, f64>) -> Result<f64> {
        let ordered = self.features.iter().map(|feature| {
            values.get(&feature.name).copied().ok_or_else(|| {
                Error::invalid(
                    "choice_features",
                    format!("the feature `{}` is missing; compute it, or refit", feature.name),
                )
            })
        });
        Ok(self.predict(&ordered.collect::<Result<Vec<f64>>>()?))
    }

    /// Whether to rewrite.
    pub fn rewrites(&self, values: &[f64]) -> bool {
        self.predict(values) >= self.threshold
    }

    /// # Errors
    /// `disk_full`, `disk_write`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs_err::write(path, text).map_err(|source| write_failed(path, source))
    }

    /// # Errors
    /// `choice_unusable` for a file that is none, is of another layout, or scales by 0.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path)?;
        let unusable = |why: &str| {
            let shown = path.display();
            let text = format!("{shown} is no choice model: {why}; fit it again");
            Error::new(Kind::Unusable, "choice_unusable", text)
        };
        let model: Self = serde_json::from_str(&text)
            .map_err(|error| unusable("its JSON does not fit").caused_by(error))?;
        let good_scale = |feature: &Feature| feature.scale.is_finite() && feature.scale > 0.0;
        if model.format != FORMAT {
            Err(unusable("it is of another format"))
        } else if !model.features.iter().all(good_scale) {
            Err(unusable("a scale is not positive"))
        } else {
            Ok(model)
        }
    }
}

impl Feature {
    fn part(&self, value: f64) -> f64 {
        self.weight * (value - self.mean) / self.scale
    }
}
