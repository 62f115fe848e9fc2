//! What the guard is shown of a step, and what is written about a bad one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One optimiser step before it is taken, over all its micro-batches.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Optimiser steps taken so far.
    pub step: u64,
    /// Position of the batch in the order of the data.
    pub batch: u64,
    pub loss: f64,
    /// Of all gradients, before clipping.
    pub gradient_norm: f64,
    /// Whether the loss of every micro-batch was finite.
    pub loss_finite: bool,
    pub gradients_finite: bool,
    /// The first weight whose gradient was not finite.
    pub bad_gradient: Option<&'a str>,
    pub learning_rate: f64,
    pub rows: &'a [Row],
}

/// Where a row of a batch came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Row {
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u64,
    /// What the trainer noticed about the row itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<RowFault>,
}

/// Properties of a row that make a loss or gradient infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFault {
    /// No token to learn from: a mean over none.
    EmptyTarget,
    /// Every position is masked: attention or a mean over nothing.
    AllMasked,
    /// The reward is not finite, or missing.
    BadReward,
}

/// Why a step is bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    LossNotFinite,
    /// While the loss was finite.
    GradientNotFinite,
    LossSpike {
        deviations: f64,
    },
    GradientSpike {
        deviations: f64,
    },
}

impl Reason {
    pub fn is_spike(&self) -> bool {
        matches!(self, Self::LossSpike { .. } | Self::GradientSpike { .. })
    }
}

/// A line of `bad_batches.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BadBatch {
    pub step: u64,
    pub batch: u64,
    pub reason: Reason,
    pub loss: Reading,
    pub gradient_norm: Reading,
    pub learning_rate: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_gradient: Option<String>,
    pub rows: Vec<Row>,
}

impl BadBatch {
    pub(super) fn of(seen: &Observation<'_>, reason: Reason) -> Self {
        Self {
            step: seen.step,
            batch: seen.batch,
            reason,
            loss: Reading(seen.loss),
            gradient_norm: Reading(seen.gradient_norm),
            learning_rate: seen.learning_rate,
            bad_gradient: seen.bad_gradient.map(str::to_owned),
            rows: seen.rows.to_vec(),
        }
    }
}

/// A measured number that may be none. JSON has no such numbers, so they are words there.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Reading(pub f64);

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        self.0.total_cmp(&other.0).is_eq() || (self.0.is_nan() && other.0.is_nan())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

impl From<Reading> for Written {
    fn from(Reading(value): Reading) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Word(value.to_string()) }
    }
}

impl From<Written> for Reading {
    fn from(written: Written) -> Self {
        Self(match written {
            Written::Number(value) => value,
            Written::Word(word) => word.parse().unwrap_or(f64::NAN),
        })
    }
}
