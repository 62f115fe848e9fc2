//! Answers drawn from the model as it is, judged: what an update learns from.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::health::{Health, Sample};
use super::judge::{Asked, Judge, Judgement};
use crate::error::Result;
use crate::model::qwen::ScoreOptions;
use crate::model::rollout::{self, Completion, RolloutOptions};
use crate::model::sampling::Sampling;
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{MeanMetrics, Metrics};
use crate::train::policy::Policy;
use crate::train::sequence::{PackedBatch, Sequence};

/// A prompt to answer, as tokens, and where it came from.
#[derive(Debug, Clone)]
pub struct PromptRow {
    pub prompt: Vec<u32>,
    pub source: RowSource,
}

/// What is answered, and by whom the answers are judged.
pub struct Prompts {
    pub train: Vec<PromptRow>,
    pub validation: Vec<PromptRow>,
    pub stop_tokens: Vec<u32>,
    pub judge: Box<dyn Judge>,
    /// Training prompts from here on are old ones, which are drawn as the batches say.
    pub n_new: usize,
    /// Tokens in one pass.
    pub micro_batch_tokens: usize,
    pub seed: u64,
}

/// How answers are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    pub sampling: Sampling,
    pub n_completions: usize,
    pub max_new_tokens: usize,
}

/// A drawn answer behind its prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Index of its prompt.
    pub row: usize,
    /// With the token that ended it.
    pub sequence: Sequence,
    /// Whether it ended by itself.
    pub stopped: bool,
    /// ln of each token's probability when it was drawn.
    pub drawn: Vec<f32>,
}

/// Answers with their judgements, those to one prompt one behind another.
#[derive(Debug, Default)]
pub struct Samples {
    pub answers: Vec<Answer>,
    pub judgements: Vec<Judgement>,
    pub rollout_seconds: f64,
    pub reward_seconds: f64,
}

impl Prompts {
    /// Answers the rows' prompts, `n_completions` each.
    ///
    /// # Errors
    /// `model_input` for a prompt without room behind it, and those of the judge.
    pub fn draw(&mut self, policy: &Policy, rows: &[usize], draw: Draw) -> Result<Samples> {
        self.draw_of(policy, rows, draw, false)
    }

    fn draw_of(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        draw: Draw,
        is_validation: bool,
    ) -> Result<Samples> {
        let started = Instant::now();
        let all = if is_validation { &self.validation } else { &self.train };
        let prompts: Vec<Vec<u32>> = rows.iter().map(|row| all[*row].prompt.clone()).collect();
        let options = RolloutOptions {
            max_new_tokens: draw.max_new_tokens,
            sampling: draw.sampling,
            n_completions: draw.n_completions,
            stop_tokens: self.stop_tokens.clone(),
        };
        let groups = rollout::complete(&policy.model, &prompts, &options)?;
        let rollout_seconds = started.elapsed().as_secs_f64();
        let drawn: Vec<(usize, usize, Completion)> = groups
            .into_iter()
            .enumerate()
            .flat_map(|(idx, group)| group.into_iter().map(move |it| (idx, rows[idx], it)))
            .collect();
        let asked: Vec<Asked<'_>> = drawn
            .iter()
            .map(|(_, row, completion)| Asked {
                row: *row,
                is_validation,
                tokens: &completion.tokens,
                stopped: completion.end.is_some(),
            })
            .collect();
        let started = Instant::now();
        let judgements = self.judge.judge(&asked)?;
        let reward_seconds = started.elapsed().as_secs_f64();
        let answer = |(idx, row, completion): (usize, usize, Completion)| {
            let stopped = completion.end.is_some();
            let mut tokens = prompts[idx].clone();
            tokens.extend(completion.tokens);
            tokens.extend(completion.end);
            let sequence = Sequence { tokens, n_prompt: prompts[idx].len() };
            Answer { row, sequence, stopped, drawn: completion.log_probs }
        };
        let answers = drawn.into_iter().map(answer).collect();
        Ok(Samples { answers, judgements, rollout_seconds, reward_seconds })
    }

    /// What the answers tell of how well the policy is; `n` of them share a prompt.
    pub fn health(&self, samples: &Samples, n: usize) -> Health {
        let all = samples.answers.iter().zip(&samples.judgements).enumerate();
        let observed: Vec<Sample<'_>> = all
            .map(|(idx, (answer, judgement))| Sample {
                group: idx / n.max(1),
                prompt: self.judge.evidence(answer.row),
                text: &judgement.written,
                n_tokens: answer.sequence.n_answer(),
                is_stopped: answer.stopped,
                reward: judgement.total,
            })
            .collect();
        Health { entropy: Some(samples.entropy()), ..Health::of(&observed) }
    }

    /// Figures of the greedy answers to the prompts set aside, their names beginning with `eval_`.
    pub fn evaluate(&mut self, policy: &Policy, max_new_tokens: usize) -> Result<Metrics> {
        let rows: Vec<usize> = (0..self.validation.len()).collect();
        if rows.is_empty() {
            return Ok(Metrics::new());
        }
        let draw = Draw { sampling: Sampling::default(), n_completions: 1, max_new_tokens };
        let samples = self.draw_of(policy, &rows, draw, true)?;
        let mut means = MeanMetrics::default();
        samples.measure(&mut means);
        Ok(means.means().into_iter().map(|(name, mean)| (format!("eval_{name}"), mean)).collect())
    }
}

impl Samples {
    /// Figures of the answers, by TRL's names where it has them.
    pub fn measure(&self, means: &mut MeanMetrics) {
        let n = self.answers.len();
        let lengths: Vec<f64> =
            self.answers.iter().map(|answer| answer.sequence.n_answer() as f64).collect();
        let n_stopped = self.answers.iter().filter(|answer| answer.stopped).count();
        let of_stopped = || {
            let stopped = self.answers.iter().zip(&lengths).filter(|(answer, _)| answer.stopped);
            stopped.map(|(_, length)| *length)
        };
        means.add("completions/mean_length", lengths.iter().sum::<f64>() / n.max(1) as f64, 1.0);
        means.add("completions/min_length", lengths.iter().copied().fold(f64::MAX, f64::min), 1.0);
        means.add("completions/max_length", lengths.iter().copied().fold(0.0, f64::max), 1.0);
        means.add("completions/clipped_ratio", (n - n_stopped) as f64 / n.max(1) as f64, 1.0);
        if n_stopped > 0 {
            let mean = of_stopped().sum::<f64>() / n_stopped as f64;
            means.add("completions/mean_terminated_length", mean, 1.0);
        }
        let mut each: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for judgement in &self.judgements {
            let rewards = judgement.each.iter();
            for (name, value) in rewards.filter_map(|(name, value)| Some((name, (*value)?))) {
                each.entry(name).or_default().push(value);
            }
            for (name, value) in &judgement.measures {
                means.add(name, *value, 1.0);
            }
            if let Some(total) = judgement.total {
                means.add("reward", total, 1.0);
            }
        }
        for (name, values) in each {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            means.add(&format!("rewards/{name}/mean"), mean, n);
            means.add(&format!("rewards/{name}/std"), (square / (n - 1.0).max(1.0)).sqrt(), n);
        }
        means.add("scorer_failures", self.failures(), 1.0);
        means.add("time/rollout_seconds", self.rollout_seconds, 1.0);
        means.add("time/reward_seconds", self.reward_seconds, 1.0);
    }

    /// Share of the answers whose worth could not be found out.
    pub fn failures(&self) -> f64 {
        let n_failed = self.judgements.iter().filter(|judgement| judgement.failed).count();
        n_failed as f64 / self.judgements.len().max(1) as f64
    }

    /// The mean of `-ln p` of the drawn tokens: an estimate of the entropy that costs nothing.
    pub fn entropy(&self) -> f64 {
        let log_probs = || self.answers.iter().flat_map(|answer| &answer.drawn);
        let sum: f64 = log_probs().map(|log_prob| -f64::from(*log_prob)).sum();
        sum / log_probs().count().max(1) as f64
    }
}

/// Of which model log-probabilities are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scorer {
    Policy,
    Reference,
}

/// ln of the probability of each answer's tokens, at a temperature, by the training path.
pub fn log_probs(
    policy: &Policy,
    answers: &[Answer],
    scorer: Scorer,
    temperature: f64,
    micro_batch_tokens: usize,
) -> Result<Vec<Vec<f32>>> {
    let options = ScoreOptions { temperature, statistics: false };
    let mut all = vec![Vec::new(); answers.len()];
    for part in parts(answers, micro_batch_tokens) {
        let batch = packed(answers, &part);
        let scores = match scorer {
            Scorer::Policy => policy.scores(&batch, &options)?,
            Scorer::Reference => policy.reference_scores(&batch, &options)?,
        };
        for (idx, span) in part.iter().zip(&batch.spans) {
            all[*idx] = scores.log_probs[span.clone()].to_vec();
        }
    }
    Ok(all)
}

/// The answers cut into passes, by index.
pub fn parts(answers: &[Answer], micro_batch_tokens: usize) -> Vec<Vec<usize>> {
    let lengths: Vec<usize> = answers.iter().map(|it| it.sequence.tokens.len()).collect();
    micro_batches(&lengths, micro_batch_tokens)
}

/// A pass over some of the answers.
pub fn packed(answers: &[Answer], part: &[usize]) -> PackedBatch {
    PackedBatch::pack(part.iter().map(|idx| &answers[*idx].sequence))
}

/// TRL's names of how far the sampler is from the training path.
pub const DIFFERENCE_MEAN: &str = "sampling/sampling_logp_difference/mean";
pub const DIFFERENCE_MAX: &str = "sampling/sampling_logp_difference/max";

/// The two figures for answers whose log-probabilities by the training path are known.
pub fn sampling_difference(answers: &[Answer], trained: &[Vec<f32>]) -> Metrics {
    let drawn = answers.iter().map(|answer| answer.drawn.as_slice());
    let (mean, most) = mismatch(drawn.zip(trained.iter().map(Vec::as_slice)));
    Metrics::from([(DIFFERENCE_MEAN.into(), mean), (DIFFERENCE_MAX.into(), most)])
}

/// The mean over tokens of `ln p - ln p_ref`: k1 of the divergence from the reference.
pub fn divergence<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> f64 {
    let (mut sum, mut n) = (0.0, 0usize);
    for (drawn, reference) in pairs.flat_map(|(drawn, other)| drawn.iter().zip(other)) {
        (sum, n) = (sum + f64::from(drawn - reference), n + 1);
    }
    sum / n.max(1) as f64
}

/// How far the sampler's log-probabilities are from the training path's: mean and most. They are
/// computed in other orders, so that they differ in their last digits.
pub fn mismatch<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> (f64, f64) {
    let (mut sum, mut most, mut n) = (0.0, 0f64, 0usize);
    for (drawn, trained) in pairs {
        for (drawn, trained) in drawn.iter().zip(trained) {
            let gap = f64::from(drawn - trained).abs();
            (sum, most, n) = (sum + gap, most.max(gap), n + 1);
        }
    }
    (sum / n.max(1) as f64, most)
}
