//! Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) with the retriever as the
//! judge: a value head on the shared trunk says what is still to come, and each token is held
//! against that.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::gae::{Estimates, Scored, estimate};
use super::health::Health;
use super::kl_control::KlControl;
use super::ppo_loss::{PpoFigures, PpoPart, PpoStep, ppo_loss};
use super::rollouts::{
    Answer, Draw, Prompts, Scorer, log_probs, packed, parts, sampling_difference,
};
use super::value_head::ValueHead;
use super::watchdog::{Trip, Watchdog};
use super::{PpoOptions, PpoVariant};
use crate::error::Result;
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds};
use crate::model::sampling::Sampling;
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use crate::train::policy::Policy;
use crate::train::shuffle::{shuffle, source};

/// Chooses which answers make which mini-batch.
const MINI_BATCHES: u64 = 0x6d69_6e69;

/// The losses of the policy and of its value head over answers that the model itself gives.
pub struct Ppo {
    options: PpoOptions,
    prompts: Prompts,
    watchdog: Watchdog,
    control: KlControl,
    cycle: Option<Cycle>,
}

/// Numbers of tokens, a list for each answer.
type PerToken = Vec<Vec<f32>>;

/// What one rollout leaves for the steps on it; lists have one list an answer, one number a token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cycle {
    number: u64,
    answers: Vec<Answer>,
    old_log_probs: Vec<Vec<f32>>,
    old_values: Vec<Vec<f32>>,
    advantages: Vec<Vec<f32>>,
    returns: Vec<Vec<f32>>,
    /// Answers that take part: those whose worth is known.
    takes_part: Vec<bool>,
    /// Whether the policy has gone as far from the old one as it may.
    is_over: bool,
    /// Sums over the pass under way of the divergence from the old policy, and its tokens.
    old_kl: (f32, u32),
}

/// What a checkpoint keeps; the coefficients to the bit.
#[derive(Serialize, Deserialize)]
struct State {
    cycle: Option<Cycle>,
    watchdog: Watchdog,
    kl_coefficient: u64,
    penalty_coefficient: u64,
}

impl Ppo {
    /// For a policy that trains [`ValueHead::parameters`] too.
    ///
    /// # Errors
    /// `reinforce_options`.
    pub fn new(options: PpoOptions, prompts: Prompts, watchdog: Watchdog) -> Result<Self> {
        options.validate()?;
        let control = KlControl::new(&options);
        Ok(Self { options, prompts, watchdog, control, cycle: None })
    }

    fn scoring(&self, statistics: bool) -> ScoreOptions {
        ScoreOptions { temperature: self.options.temperature, statistics }
    }

    /// Draws and judges answers, and estimates what each of their tokens is worth.
    fn collect(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        number: u64,
    ) -> Result<(Cycle, Metrics, Option<Trip>)> {
        let seed = self.prompts.seed.wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let temperature = self.options.temperature as f32;
        let draw = Draw {
            sampling: Sampling { temperature, seed, ..Sampling::default() },
            n_completions: 1,
            max_new_tokens: self.options.max_new_tokens,
        };
        let samples = self.prompts.draw(policy, rows, draw)?;
        let mut means = MeanMetrics::default();
        samples.measure(&mut means);
        let health = self.prompts.health(&samples, 1);
        let scores: Vec<Option<f64>> = samples.judgements.iter().map(|it| it.total).collect();
        let answers = samples.answers;
        let [old_log_probs, old_values] = self.scores_and_values(policy, &answers)?;
        let budget = self.prompts.micro_batch_tokens;
        let temperature = self.options.temperature;
        let reference = log_probs(policy, &answers, Scorer::Reference, temperature, budget)?;
        let estimates =
            self.estimates(&answers, &scores, &old_log_probs, &old_values, &reference)?;
        let objective = estimates.objective;
        let scored = old_log_probs.iter().zip(&scores).filter(|(_, score)| score.is_some());
        let n_tokens: usize = scored.map(|(tokens, _)| tokens.len()).sum();
        let kl = objective.n_answers as f64 * objective.kl / n_tokens.max(1) as f64;
        let trip = self.watchdog.observe(&Health { kl: Some(kl), ..health });
        let mut metrics = means.means();
        metrics.extend(objective.metrics());
        metrics.extend(sampling_difference(&answers, &old_log_probs));
        metrics.insert("objective/kl_coefficient".into(), self.control.kl_coefficient);
        for (name, value) in health.figures() {
            metrics.insert(format!("health/{name}"), value);
        }
        self.control.after_rollouts(objective.kl, objective.n_answers, &self.options);
        let of_answers = |values: &[f64]| by_answer(&answers, values);
        let cycle = Cycle {
            number,
            advantages: of_answers(&estimates.advantages),
            returns: of_answers(&estimates.returns),
            old_log_probs,
            old_values,
            takes_part: scores.iter().map(Option::is_some).collect(),
            answers,
            ..Cycle::default()
        };
        Ok((cycle, metrics, trip))
    }

    /// The log-probabilities of the answers' tokens, and what the value head expects before each.
    fn scores_and_values(&self, policy: &Policy, answers: &[Answer]) -> Result<[PerToken; 2]> {
        let head = ValueHead::of(policy)?;
        let mut log_probs = vec![Vec::new(); answers.len()];
        let mut values = vec![Vec::new(); answers.len()];
        for part in parts(answers, self.prompts.micro_batch_tokens) {
            let batch = packed(answers, &part);
            let (scores, states) = policy.scores_and_states(&batch, &self.scoring(false))?;
            let of_part = head.values(&states)?;
            for (idx, span) in part.iter().zip(&batch.spans) {
                log_probs[*idx] = scores.log_probs[span.clone()].to_vec();
                values[*idx] = of_part[span.clone()].iter().map(|value| *value as f32).collect();
            }
        }
        Ok([log_probs, values])
    }

    fn estimates(
        &self,
        answers: &[Answer],
        scores: &[Option<f64>],
        log_probs: &[Vec<f32>],
        values: &[Vec<f32>],
        reference: &[Vec<f32>],
    ) -> Result<Estimates> {
        let flat = |of: &[Vec<f32>]| -> Vec<f64> {
            of.iter().flatten().map(|value| f64::from(*value)).collect()
        };
        let mut n_tokens = 0;
        let mut span = |answer: &Answer| {
            let start = n_tokens;
            n_tokens += answer.sequence.n_answer();
            start..n_tokens
        };
        let spans: Vec<_> = answers.iter().map(&mut span).collect();
        let has_ended: Vec<bool> = answers.iter().map(|answer| answer.stopped).collect();
        let scored = Scored {
            spans: &spans,
            log_probs: &flat(log_probs),
            reference_log_probs: &flat(reference),
            values: &flat(values),
            scores,
            has_ended: &has_ended,
        };
        estimate(&scored, self.control.kl_coefficient, &self.options)
    }

    /// The answers of one mini-batch of one pass over a cycle.
    fn mini_batch(&self, cycle: &Cycle, phase: u64) -> Vec<usize> {
        let n = self.options.n_mini_batches as u64;
        let (pass, index) = (phase / n, (phase % n) as usize);
        let mut order: Vec<usize> =
            (0..cycle.answers.len()).filter(|idx| cycle.takes_part[*idx]).collect();
        let stream = MINI_BATCHES.wrapping_add(pass);
        shuffle(&mut order, &mut source(self.prompts.seed.wrapping_add(cycle.number), stream));
        let size = order.len().div_ceil(n as usize).max(1);
        order.chunks(size).nth(index).unwrap_or_default().to_vec()
    }

    fn learn(
        &self,
        policy: &Policy,
        cycle: &mut Cycle,
        phase: u64,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let chosen = self.mini_batch(cycle, phase);
        if chosen.is_empty() || cycle.is_over {
            return Ok(StepReport { is_idle: true, ..StepReport::default() });
        }
        let n_tokens = chosen.iter().map(|idx| cycle.answers[*idx].sequence.n_answer()).sum();
        let step = PpoStep { n_tokens, penalty_coefficient: self.control.penalty_coefficient };
        let lengths: Vec<usize> =
            chosen.iter().map(|idx| cycle.answers[*idx].sequence.tokens.len()).collect();
        let head = ValueHead::of(policy)?;
        let (mut report, mut figures) = (StepReport::default(), PpoFigures::default());
        let mut means = MeanMetrics::default();
        for part in micro_batches(&lengths, self.prompts.micro_batch_tokens) {
            let part: Vec<usize> = part.into_iter().map(|place| chosen[place]).collect();
            let (loss, of_part, n_inputs, entropy) =
                self.pass(policy, &head, cycle, &part, &step, gradients)?;
            report.loss += loss;
            report.n_tokens += n_inputs;
            means.add("policy/entropy_avg", entropy, of_part.n_tokens as f64);
            figures.merge(&of_part);
        }
        report.metrics = figures.metrics();
        report.metrics.append(&mut means.means());
        if figures.is_over(&self.options) {
            cycle.is_over = true;
            report.metrics.insert("policy/stopped_early".into(), 1.0);
        }
        let (sum, n) = cycle.old_kl;
        // A pass that the guard will refuse does not count.
        if figures.old_kl_sum.is_finite() {
            cycle.old_kl = (sum + figures.old_kl_sum as f32, n + figures.n_tokens as u32);
        }
        Ok(report)
    }

    /// One pass through the model and back: the loss, its figures, the tokens that went in, and
    /// the mean entropy.
    fn pass(
        &self,
        policy: &Policy,
        head: &ValueHead,
        cycle: &Cycle,
        part: &[usize],
        step: &PpoStep,
        gradients: &mut Gradients,
    ) -> Result<(f64, PpoFigures, usize, f64)> {
        let scoring = self.scoring(true);
        let batch = packed(&cycle.answers, part);
        let pass = policy.forward(&batch)?;
        let scores = policy.score(&pass, &batch, &scoring)?;
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let of_part = |all: &[Vec<f32>]| -> Vec<f64> {
            part.iter().flat_map(|idx| &all[*idx]).map(|value| f64::from(*value)).collect()
        };
        let loss = ppo_loss(
            &PpoPart {
                mask: &vec![true; batch.targets.len()],
                log_probs: &wide(&scores.log_probs),
                old_log_probs: &of_part(&cycle.old_log_probs),
                advantages: &of_part(&cycle.advantages),
                values: &head.values(&pass.scored)?,
                old_values: &of_part(&cycle.old_values),
                returns: &of_part(&cycle.returns),
            },
            &self.options,
            step,
        )?;
        let slopes: Vec<f32> = loss.policy_gradients.iter().map(|slope| *slope as f32).collect();
        let d_states = head.backward(&pass.scored, &loss.value_gradients, gradients)?;
        let seeds = ScoreSeeds { log_probs: &slopes, entropies: None };
        policy.backward_with(pass, &batch, &scoring, seeds, Some(&d_states), gradients)?;
        let n = scores.entropies.len().max(1) as f64;
        let entropy = scores.entropies.iter().map(|value| f64::from(*value)).sum::<f64>() / n;
        Ok((loss.loss, loss.figures, batch.inputs.len(), entropy))
    }

    /// Moves the penalty's coefficient once the last pass over a cycle is done.
    fn end_cycle(&mut self, cycle: &Cycle) {
        let (sum, n) = cycle.old_kl;
        if self.options.variant == PpoVariant::Penalty && n > 0 {
            self.control.after_update(f64::from(sum) / f64::from(n), &self.options);
        }
    }
}

/// Numbers of all tokens, one list an answer.
fn by_answer(answers: &[Answer], values: &[f64]) -> Vec<Vec<f32>> {
    let mut values = values.iter();
    let own = |answer: &Answer| {
        values.by_ref().take(answer.sequence.n_answer()).map(|value| *value as f32).collect()
    };
    answers.iter().map(own).collect()
}

impl Objective for Ppo {
    fn lengths(&self) -> Vec<usize> {
        self.prompts.train.iter().map(|row| row.prompt.len()).collect()
    }

    fn steps_per_batch(&self) -> u64 {
        (self.options.n_epochs * self.options.n_mini_batches) as u64
    }

    fn save(&self) -> Result<Option<serde_json::Value>> {
        let KlControl { kl_coefficient, penalty_coefficient } = self.control;
        Ok(Some(serde_json::to_value(State {
            cycle: self.cycle.clone(),
            watchdog: self.watchdog.clone(),
            kl_coefficient: kl_coefficient.to_bits(),
            penalty_coefficient: penalty_coefficient.to_bits(),
        })?))
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<()> {
        let state: State = serde_json::from_value(state)?;
        (self.cycle, self.watchdog) = (state.cycle, state.watchdog);
        self.control = KlControl {
            kl_coefficient: f64::from_bits(state.kl_coefficient),
            penalty_coefficient: f64::from_bits(state.penalty_coefficient),
        };
        Ok(())
    }

    fn source(&self, row: usize) -> &RowSource {
        &self.prompts.train[row].source
    }

    fn step(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let n_phases = self.steps_per_batch();
        let (number, phase) = (turn.batch / n_phases, turn.batch % n_phases);
        let (mut metrics, mut trip) = (Metrics::new(), None);
        let known = self.cycle.take().filter(|cycle| cycle.number == number);
        let mut cycle = match known {
            Some(cycle) => cycle,
            None => {
                let (cycle, of_rollout, of_watchdog) = self.collect(policy, rows, number)?;
                (metrics, trip) = (of_rollout, of_watchdog);
                cycle
            }
        };
        if phase % self.options.n_mini_batches as u64 == 0 && !cycle.is_over {
            cycle.old_kl = (0.0, 0);
        }
        let started = Instant::now();
        let mut report = self.learn(policy, &mut cycle, phase, gradients)?;
        if phase + 1 == n_phases {
            self.end_cycle(&cycle);
        }
        self.cycle = Some(cycle);
        metrics.insert("time/loss_seconds".into(), started.elapsed().as_secs_f64());
        report.metrics.append(&mut metrics);
        report.trip = trip.map(|trip| trip.to_string());
        Ok(report)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        self.prompts.evaluate(policy, self.options.max_new_tokens)
    }
}
