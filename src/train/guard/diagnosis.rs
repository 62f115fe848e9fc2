//! Why a run could not be saved, from what its bad batches have in common.
//!
//! The causes are those that users of other trainers report: a target without tokens or a row that
//! is masked whole (0/0), f16 for a model made in bf16, a reward that is no number, weights that
//! are not finite to begin with, and, most often, too large a learning rate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::{BadBatch, Reason, Row, RowFault};
use super::{Counts, Slowdown};

/// Kinds of methods, by what can go wrong in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Learns target tokens: SFT.
    Supervised,
    /// Compares answers: DPO, KTO and their kin.
    Preference,
    /// Compares texts: InfoNCE.
    Contrastive,
    /// Learns from rewards: PPO, GRPO.
    Reinforcement,
}

/// The type that the model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    F32,
    Bf16,
    F16,
}

/// What the diagnosis must know of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    pub method: Method,
    pub precision: Precision,
    /// Whether only LoRA adapters are trained.
    pub lora: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    LearningRate,
    /// Numbers beyond 65 504, the largest of f16.
    HalfRange,
    EmptyTarget,
    MaskedRow,
    BadReward,
    /// The same row is in the bad batches, for a reason that is not known.
    Row,
    /// The model, or the first batches, were bad before anything was learnt.
    Start,
}

/// The likely cause, and a message that also gives the evidence and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub cause: Cause,
    pub message: String,
}

/// What the bad batches show together.
struct Evidence<'a> {
    facts: &'a RunFacts,
    bad: &'a [BadBatch],
    not_finite: Vec<&'a BadBatch>,
    counts: &'a Counts,
    factor: f64,
}

pub(super) fn of(
    facts: &RunFacts,
    bad: &[BadBatch],
    counts: &Counts,
    slowdown: &Slowdown,
) -> Diagnosis {
    let not_finite = bad.iter().filter(|batch| !batch.reason.is_spike()).collect();
    let factor = slowdown.factor();
    let evidence = Evidence { facts, bad, not_finite, counts, factor };
    let (cause, why_and_fix) = evidence.cause();
    let message = format!("{} {why_and_fix}", evidence.summary());
    Diagnosis { cause, message }
}

impl Evidence<'_> {
    /// From the surest evidence to the least.
    fn cause(&self) -> (Cause, String) {
        if let Some((fault, row)) = self.common_fault() {
            return fault_message(fault, row);
        }
        if let Some((row, n_batches)) = self.common_row() {
            return (
                Cause::Row,
                format!(
                    "Line {} of {} is in {n_batches} of these batches, so that row is the likely \
                     cause: look at it, correct or remove it, and start again.",
                    row.line, row.file
                ),
            );
        }
        if !self.not_finite.is_empty() && self.facts.precision == Precision::F16 {
            return (
                Cause::HalfRange,
                "The model computes in f16, which ends at 65504; models made in bf16, as Qwen, \
                 exceed that inside. Train in bf16, or in f32 where the hardware has no bf16."
                    .to_owned(),
            );
        }
        let n_losses = self.not_finite.iter().filter(|b| b.reason == Reason::LossNotFinite).count();
        if self.counts.n_steps == 0 && n_losses > 0 {
            return self.bad_start();
        }
        (Cause::LearningRate, self.learning_rate_message(n_losses))
    }

    fn summary(&self) -> String {
        let mut kinds = BTreeMap::new();
        for batch in self.bad {
            *kinds.entry(kind(batch.reason)).or_insert(0usize) += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} × {kind}")).collect();
        let last = self.bad.last().map_or(0, |batch| batch.step);
        format!(
            "Training stopped at step {last} after {} good steps and {} rollbacks; among the last \
             {} bad batches: {}.",
            self.counts.n_steps,
            self.counts.n_rollbacks,
            self.bad.len(),
            kinds.join(", ")
        )
    }

    /// A fault that a row of at least half of the batches that were not finite has: the most
    /// frequent, with the first row that has it.
    fn common_fault(&self) -> Option<(RowFault, &Row)> {
        let mut seen: BTreeMap<RowFault, (usize, &Row)> = BTreeMap::new();
        for batch in &self.not_finite {
            let mut counted = Vec::new();
            for row in &batch.rows {
                let Some(fault) = row.fault.filter(|fault| !counted.contains(fault)) else {
                    continue;
                };
                counted.push(fault);
                seen.entry(fault).or_insert((0, row)).0 += 1;
            }
        }
        let (fault, (n_batches, row)) = seen.into_iter().max_by_key(|(_, (n, _))| *n)?;
        (2 * n_batches >= self.not_finite.len()).then_some((fault, row))
    }

    /// A row that is in at least two, and at least half, of the batches that were not finite, but
    /// not in all batches there are: then it would say nothing.
    fn common_row(&self) -> Option<(&Row, usize)> {
        let mut seen: BTreeMap<&Row, usize> = BTreeMap::new();
        for row in self.not_finite.iter().flat_map(|batch| &batch.rows) {
            *seen.entry(row).or_default() += 1;
        }
        let (row, n_batches) = seen.iter().max_by_key(|(_, n)| **n)?;
        let n_as_often = seen.values().filter(|n| *n == n_batches).count();
        let n_batches = *n_batches;
        let is_telling = n_batches >= 2 && 2 * n_batches >= self.not_finite.len();
        (is_telling && n_as_often == 1).then_some((*row, n_batches))
    }

    fn bad_start(&self) -> (Cause, String) {
        if self.facts.method == Method::Reinforcement {
            return (
                Cause::BadReward,
                "The loss was not finite from the first step, before a weight had changed, so the \
                 learning rate is not the cause. Look at the rewards: a reward function that \
                 returns NaN or an infinite number, or divides by a spread of 0, does this."
                    .to_owned(),
            );
        }
        let data = match self.facts.method {
            Method::Contrastive => "texts that are empty, or a temperature near 0",
            Method::Preference => "answers without tokens, or reference log-probabilities of -inf",
            _ => "targets without tokens",
        };
        (
            Cause::Start,
            format!(
                "The loss was not finite from the first step, before a weight had changed, so the \
                 learning rate is not the cause. Check that the model answers as it should before \
                 training (a damaged download holds such numbers), and look in the first rows for \
                 {data}."
            ),
        )
    }

    fn learning_rate_message(&self, n_losses: usize) -> String {
        let rate = self.bad.first().map_or(0.0, |batch| batch.learning_rate);
        let what = if self.not_finite.is_empty() {
            "Loss or gradients kept leaping far above their recent values".to_owned()
        } else if n_losses == 0 {
            let weight = self.not_finite.iter().find_map(|batch| batch.bad_gradient.as_deref());
            let at = weight.map_or_else(String::new, |name| format!(", first that of {name}"));
            format!("The losses were finite and only gradients were not{at}")
        } else {
            "The losses were finite at first and then were not".to_owned()
        };
        let alpha = if self.facts.lora { ", a smaller LoRA alpha" } else { "" };
        let tried = if self.factor < 1.0 {
            format!(" Lowering it to {} of its value did not help.", self.factor)
        } else {
            String::new()
        };
        format!(
            "{what}, which is what too large a learning rate does (it was {rate:e} at the first of \
             these).{tried} Start again with a tenth of it, a longer warm-up{alpha} or a smaller \
             norm to clip at."
        )
    }
}

fn kind(reason: Reason) -> &'static str {
    match reason {
        Reason::LossNotFinite => "loss not finite",
        Reason::GradientNotFinite => "gradient not finite with a finite loss",
        Reason::LossSpike { .. } => "leap of the loss",
        Reason::GradientSpike { .. } => "leap of the gradient norm",
    }
}

fn fault_message(fault: RowFault, row: &Row) -> (Cause, String) {
    let at = format!("line {} of {}", row.line, row.file);
    match fault {
        RowFault::EmptyTarget => (
            Cause::EmptyTarget,
            format!(
                "They hold rows without a token to learn from, as {at}: a mean over none is not a \
                 number. Remove rows with an empty answer, and raise the length limit where \
                 truncation cuts the answer off."
            ),
        ),
        RowFault::AllMasked => (
            Cause::MaskedRow,
            format!(
                "They hold rows of which every token is masked, as {at}: attention over nothing is \
                 not a number. Remove these rows, or correct the mask that their template gives."
            ),
        ),
        RowFault::BadReward => (
            Cause::BadReward,
            format!(
                "They hold rows whose reward is missing or not finite, as {at}. Make the reward \
                 function return a finite number for every answer."
            ),
        ),
    }
}
