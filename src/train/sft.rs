//! Supervised fine-tuning: the mean negative log-probability of the answers' tokens. Prompts cost
//! no score. Figures have TRL's names.

use super::batches::micro_batches;
use super::data::RowSource;
use super::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use super::policy::Policy;
use super::sequence::{PackedBatch, Sequence};
use crate::error::Result;
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds, Scores};
use crate::model::rollout::{self, RolloutOptions};
use crate::model::sampling::Sampling;

/// Most tokens of an answer that an evaluation generates.
const MAX_ANSWER_TOKENS: usize = 96;

/// A sequence to learn, and where it came from.
#[derive(Debug, Clone)]
pub struct SftRow {
    pub sequence: Sequence,
    pub source: RowSource,
}

/// The loss over answers.
pub struct Sft {
    pub train: Vec<SftRow>,
    pub validation: Vec<SftRow>,
    /// Tokens in one pass.
    pub micro_batch_tokens: usize,
    /// How many validation rows are answered greedily and compared with the answer to learn.
    pub n_generated: usize,
    pub stop_tokens: Vec<u32>,
}

impl Objective for Sft {
    fn lengths(&self) -> Vec<usize> {
        self.train.iter().map(|row| row.sequence.tokens.len()).collect()
    }

    fn source(&self, row: usize) -> &RowSource {
        &self.train[row].source
    }

    fn step(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let n_answer_tokens: usize =
            rows.iter().map(|row| self.train[*row].sequence.n_answer()).sum();
        let seed = -1.0 / n_answer_tokens.max(1) as f32;
        let lengths = rows.iter().map(|row| self.train[*row].sequence.tokens.len());
        let parts = micro_batches(&lengths.collect::<Vec<_>>(), self.micro_batch_tokens);
        let mut report = StepReport::default();
        let mut means = MeanMetrics::default();
        for (part_idx, part) in parts.iter().enumerate() {
            policy.set_dropout_pattern(turn.pattern.wrapping_mul(4_096) + part_idx as u64 + 1);
            let batch =
                PackedBatch::pack(part.iter().map(|index| &self.train[rows[*index]].sequence));
            let seeds = vec![seed; batch.targets.len()];
            let seeds = ScoreSeeds { log_probs: &seeds, entropies: None };
            let options = ScoreOptions { statistics: true, ..ScoreOptions::default() };
            let pass = policy.forward(&batch)?;
            let scores = policy.backward(pass, &batch, &options, seeds, gradients)?;
            report.n_tokens += batch.inputs.len();
            report.loss += sum(&scores.log_probs) * f64::from(seed);
            take_in(&mut means, &scores);
        }
        policy.set_dropout_pattern(0);
        report.metrics = means.means();
        Ok(report)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        if self.validation.is_empty() {
            return Ok(Metrics::new());
        }
        let lengths: Vec<usize> =
            self.validation.iter().map(|row| row.sequence.tokens.len()).collect();
        let mut means = MeanMetrics::default();
        for part in micro_batches(&lengths, self.micro_batch_tokens) {
            let batch =
                PackedBatch::pack(part.iter().map(|index| &self.validation[*index].sequence));
            let scores = policy.scores(&batch, &ScoreOptions::default())?;
            let n = scores.log_probs.len() as f64;
            means.add("eval_loss", -sum(&scores.log_probs) / n, n);
            means.add("eval_mean_token_accuracy", accuracy(&scores), n);
        }
        let mut metrics = means.means();
        if self.n_generated > 0 {
            metrics.insert("eval_exact_match".into(), self.exact_match(policy)?);
        }
        Ok(metrics)
    }
}

impl Sft {
    /// Share of validation answers that greedy generation gives token by token.
    fn exact_match(&self, policy: &Policy) -> Result<f64> {
        let rows = &self.validation[..self.n_generated.min(self.validation.len())];
        let prompts: Vec<Vec<u32>> =
            rows.iter().map(|row| row.sequence.tokens[..row.sequence.n_prompt].to_vec()).collect();
        let options = RolloutOptions {
            max_new_tokens: MAX_ANSWER_TOKENS,
            sampling: Sampling::default(),
            n_completions: 1,
            stop_tokens: self.stop_tokens.clone(),
        };
        let completions = rollout::complete(&policy.model, &prompts, &options)?;
        let is_exact = |(row, group): (&SftRow, &Vec<rollout::Completion>)| {
            let answer = &row.sequence.tokens[row.sequence.n_prompt..];
            let end = answer.iter().position(|token| self.stop_tokens.contains(token));
            let answer = &answer[..end.unwrap_or(answer.len())];
            group.first().is_some_and(|completion| completion.tokens == answer)
        };
        let n_exact = rows.iter().zip(&completions).filter(|pair| is_exact(*pair)).count();
        Ok(n_exact as f64 / rows.len() as f64)
    }
}

fn take_in(means: &mut MeanMetrics, scores: &Scores) {
    let n = scores.log_probs.len() as f64;
    means.add("mean_token_accuracy", accuracy(scores), n);
    means.add("entropy", sum(&scores.entropies) / n.max(1.0), n);
}

fn accuracy(scores: &Scores) -> f64 {
    let n_best = scores.is_best.iter().filter(|is_best| **is_best).count();
    n_best as f64 / scores.is_best.len().max(1) as f64
}

pub(super) fn sum(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum()
}
