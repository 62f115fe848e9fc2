//! What a run needs to go on that is not a tensor. Numbers with a fraction are stored as text in
//! the shortest form that reads back to the same bits: a JSON reader may be one unit in the last
//! place off, and a resumed run has to equal the uninterrupted one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The form of `state.json` written here.
const VERSION: u32 = 1;

/// A run between two steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    pub version: u32,
    /// Optimiser steps done.
    pub step: u64,
    /// Whole passes over the data done.
    pub epoch: u64,
    pub data_cursor: DataCursor,
    /// The state of each random number generator, by what it is used for.
    #[serde(with = "hexadecimal")]
    pub rng_states: BTreeMap<String, Vec<u8>>,
    /// What the guard multiplies the schedule's learning rate with; 1 unless it stepped in.
    #[serde(with = "exact")]
    pub learning_rate_scale: f64,
    pub best_metric: Option<BestMetric>,
    /// Tokens trained on since the first step.
    pub seen_tokens: u64,
    /// The guard's own memory.
    pub guard: serde_json::Value,
    /// What the objective keeps between steps, such as samples that are still to be learnt from.
    #[serde(default)]
    pub objective: serde_json::Value,
    /// SHA-256 of the settings that decide the result, in hexadecimal.
    pub config_sha256: String,
    /// SHA-256 of the data as they were read, in hexadecimal.
    pub data_sha256: String,
}

/// Where in the data the next batch begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataCursor {
    /// Which shuffle of the rows is being read.
    pub shuffle_seed: u64,
    /// Batches of this epoch that have been read.
    pub n_batches: u64,
    /// Rows of this epoch that have been read.
    pub n_rows: u64,
}

/// The best evaluation so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestMetric {
    pub name: String,
    #[serde(with = "exact")]
    pub value: f64,
    pub step: u64,
}

impl Default for TrainingState {
    fn default() -> Self {
        Self {
            version: VERSION,
            step: 0,
            epoch: 0,
            data_cursor: DataCursor::default(),
            rng_states: BTreeMap::new(),
            learning_rate_scale: 1.0,
            best_metric: None,
            seen_tokens: 0,
            guard: serde_json::Value::Null,
            objective: serde_json::Value::Null,
            config_sha256: String::new(),
            data_sha256: String::new(),
        }
    }
}

/// Numbers as text that reads back to the same bits, NaN and infinities with them. For
/// `#[serde(with = …)]`, also of what others put into a checkpoint.
pub mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom(format!("`{text}` is no number")))
    }
}

/// Bytes as pairs of hexadecimal digits.
mod hexadecimal {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub fn serialize<S: Serializer>(
        states: &BTreeMap<String, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let states: BTreeMap<&String, String> =
            states.iter().map(|(name, bytes)| (name, text(bytes))).collect();
        states.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let states = BTreeMap::<String, String>::deserialize(deserializer)?;
        let read = |(name, text): (String, String)| match bytes(&text) {
            Some(bytes) => Ok((name, bytes)),
            None => Err(de::Error::custom(format!("the state of `{name}` is not hexadecimal"))),
        };
        states.into_iter().map(read).collect()
    }

    fn bytes(text: &str) -> Option<Vec<u8>> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
        let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
        rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_to_the_bit() {
        // Neighbours of these are what an inexact reader would give.
        let values = [1e-7 / 3.0, 0.1 + 0.2, f64::MIN_POSITIVE / 3.0, 1.797e308, f64::INFINITY];
        for value in values {
            let state = TrainingState {
                step: u64::MAX,
                learning_rate_scale: value,
                best_metric: Some(BestMetric { name: "eval_loss".into(), value, step: 3 }),
                rng_states: BTreeMap::from([("dropout".into(), (0..=255).collect())]),
                guard: serde_json::json!({"window": [1, 2]}),
                ..TrainingState::default()
            };
            let text = serde_json::to_string(&state).unwrap();
            let read: TrainingState = serde_json::from_str(&text).unwrap();
            assert_eq!(read, state);
            assert_eq!(read.learning_rate_scale.to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_state_with_a_strange_field_or_half_a_byte_is_refused() {
        let good = serde_json::to_value(TrainingState::default()).unwrap();
        for (field, value) in [
            ("colour", serde_json::json!("red")),
            ("rng_states", serde_json::json!({"dropout": "abc"})),
            ("rng_states", serde_json::json!({"dropout": "zz"})),
            ("learning_rate_scale", serde_json::json!("much")),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(serde_json::from_value::<TrainingState>(bad).is_err(), "{field}");
        }
    }
}
