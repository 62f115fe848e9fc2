//! Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300) and its kin: answers to
//! one prompt are compared with one another, without a model of their value.

use std::collections::HashMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::figures::PolicyFigures;
use super::health::Health;
use super::rollouts::{
    Answer, DIFFERENCE_MAX, DIFFERENCE_MEAN, Draw, Prompts, Samples, Scorer, divergence, log_probs,
    mismatch, packed, parts, sampling_difference,
};
use super::watchdog::{Trip, Watchdog};
use super::{
    AdvantageOptions, Advantages, Aggregation, GrpoOptions, LossPart, Normaliser, PolicyPart,
    advantages, loss_mask, overlong_penalty, policy_loss,
};
use crate::error::Result;
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds};
use crate::model::sampling::Sampling;
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use crate::train::policy::Policy;
use crate::train::sequence::PackedBatch;
use crate::train::shuffle::{below, source};

/// Chooses the prompts that are drawn in place of groups without variance.
const RESAMPLE: u64 = 0x7265_7361;

/// The loss over groups of answers that the model itself gives.
pub struct Grpo {
    options: GrpoOptions,
    prompts: Prompts,
    watchdog: Watchdog,
    cycle: Option<Cycle>,
    is_explained: bool,
}

/// What one rollout leaves for the steps on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cycle {
    number: u64,
    answers: Vec<Answer>,
    /// One an answer.
    advantages: Vec<f32>,
    /// ln of each token's probability before the first of the steps; none where there is one step
    /// only, as the first step's own are the same.
    old: Option<Vec<Vec<f32>>>,
    /// By the reference, where the loss asks for it.
    reference: Option<Vec<Vec<f32>>>,
    /// The entropies before the first step, where only some tokens teach.
    entropies: Option<Vec<Vec<f32>>>,
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct State {
    cycle: Option<Cycle>,
    watchdog: Watchdog,
}

impl Grpo {
    /// # Errors
    /// `reinforce_options`.
    pub fn new(options: GrpoOptions, prompts: Prompts, watchdog: Watchdog) -> Result<Self> {
        options.validate()?;
        Ok(Self { options, prompts, watchdog, cycle: None, is_explained: false })
    }

    fn drawing(&self, seed: u64) -> Draw {
        let GrpoOptions { temperature, top_k, top_p, .. } = self.options;
        let (temperature, top_p) = (temperature as f32, top_p as f32);
        Draw {
            sampling: Sampling { temperature, top_k, top_p, seed },
            n_completions: self.options.n_generations,
            max_new_tokens: self.options.max_new_tokens,
        }
    }

    /// Draws and judges the answers that the steps of a cycle learn from.
    fn collect(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        number: u64,
    ) -> Result<(Cycle, Metrics, Option<Trip>)> {
        let seed = self.prompts.seed.wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut samples = self.prompts.draw(policy, rows, self.drawing(seed))?;
        let mut compared = self.compared(&samples)?;
        let n_generations = self.options.n_generations;
        let without = Some(compared.share_without_variance());
        let mut health = Health {
            frac_groups_without_variance: without,
            ..self.prompts.health(&samples, n_generations)
        };
        let mut means = MeanMetrics::default();
        means.add("frac_reward_zero_std", compared.share_without_variance(), 1.0);
        for round in 1..=self.options.n_resample_rounds as u64 {
            let flat = without_variance(&compared);
            if flat.is_empty() {
                break;
            }
            self.redraw(policy, &mut samples, &flat, seed.wrapping_add(round))?;
            compared = self.compared(&samples)?;
        }
        samples.measure(&mut means);
        means.add("reward_std", compared.reward_std(), 1.0);
        means.add("resampled/frac_reward_zero_std", compared.share_without_variance(), 1.0);
        let cycle = self.cycle_of(policy, number, samples, compared)?;
        health.kl = cycle.reference.as_ref().map(|reference| {
            let drawn = cycle.answers.iter().map(|answer| answer.drawn.as_slice());
            divergence(drawn.zip(reference.iter().map(Vec::as_slice)))
        });
        let trip = self.watchdog.observe(&health);
        let mut metrics = means.means();
        for (name, value) in health.figures() {
            metrics.insert(format!("health/{name}"), value);
        }
        if let Some(old) = &cycle.old {
            metrics.extend(sampling_difference(&cycle.answers, old));
        }
        Ok((cycle, metrics, trip))
    }

    /// Each answer's advantage in its group.
    fn compared(&self, samples: &Samples) -> Result<Advantages> {
        let cache = self.options.overlong_cache_tokens;
        let penalty = |answer: &Answer| {
            let n_tokens = answer.sequence.n_answer();
            overlong_penalty(n_tokens, self.options.max_new_tokens, cache)
        };
        let judged = samples.judgements.iter().zip(&samples.answers);
        let options = AdvantageOptions::from(&self.options);
        if self.options.aggregation == Aggregation::SumThenNormalize {
            let total = |total: Option<f64>, answer| vec![total.map(|it| it + penalty(answer))];
            let rewards: Vec<_> = judged.map(|(it, answer)| total(it.total, answer)).collect();
            return advantages(&rewards, &[1.0], &options);
        }
        let weights = self.prompts.judge.weights();
        let row = |(judgement, answer): (&super::judge::Judgement, &Answer)| {
            // A reward that says nothing of an answer adds nothing; a failed one leaves it out.
            let of = |name| match judgement.failed {
                true => None,
                false => Some(judgement.each.get(name).copied().flatten().unwrap_or(0.0)),
            };
            let own = weights.keys().map(|name| of(*name));
            own.chain([Some(penalty(answer))]).collect::<Vec<_>>()
        };
        let mut rewards: Vec<Vec<Option<f64>>> = judged.map(row).collect();
        hold_malformed(&mut rewards, samples, self.options.n_generations);
        let counts: Vec<f64> = weights.values().copied().chain([1.0]).collect();
        advantages(&rewards, &counts, &options)
    }

    /// Draws groups for other prompts, and puts those with variance in the places of flat ones
    /// (dynamic sampling, Yu et al. 2025, arXiv 2503.14476).
    fn redraw(
        &mut self,
        policy: &Policy,
        samples: &mut Samples,
        flat: &[usize],
        seed: u64,
    ) -> Result<()> {
        let n = self.options.n_generations;
        let n_rows = self.prompts.n_new.min(self.prompts.train.len());
        let mut random = source(seed, RESAMPLE);
        let rows: Vec<usize> = flat.iter().map(|_| below(n_rows, &mut random)).collect();
        let fresh = self.prompts.draw(policy, &rows, self.drawing(seed))?;
        let compared = self.compared(&fresh)?;
        samples.rollout_seconds += fresh.rollout_seconds;
        samples.reward_seconds += fresh.reward_seconds;
        for (group, place) in flat.iter().enumerate() {
            if compared.groups[group].has_variance() {
                let (from, to) = (group * n, place * n);
                samples.answers[to..to + n].clone_from_slice(&fresh.answers[from..from + n]);
                samples.judgements[to..to + n].clone_from_slice(&fresh.judgements[from..from + n]);
            }
        }
        Ok(())
    }

    fn cycle_of(
        &self,
        policy: &Policy,
        number: u64,
        samples: Samples,
        compared: Advantages,
    ) -> Result<Cycle> {
        let (options, budget) = (&self.options, self.prompts.micro_batch_tokens);
        let answers = samples.answers;
        let scores = |scorer| log_probs(policy, &answers, scorer, options.temperature, budget);
        let needs_old = options.n_iterations > 1;
        let old = needs_old.then(|| scores(Scorer::Policy)).transpose()?;
        let reference = options.needs_reference().then(|| scores(Scorer::Reference)).transpose()?;
        let entropies = match options.top_entropy_quantile < 1.0 {
            true => Some(self.entropies(policy, &answers)?),
            false => None,
        };
        let advantages = compared.values.iter().map(|value| *value as f32).collect();
        Ok(Cycle { number, answers, advantages, old, reference, entropies })
    }

    fn entropies(&self, policy: &Policy, answers: &[Answer]) -> Result<Vec<Vec<f32>>> {
        let options = self.scoring(true);
        let mut all = vec![Vec::new(); answers.len()];
        for part in parts(answers, self.prompts.micro_batch_tokens) {
            let batch = packed(answers, &part);
            let scores = policy.scores(&batch, &options)?;
            for (idx, span) in part.iter().zip(&batch.spans) {
                all[*idx] = scores.entropies[span.clone()].to_vec();
            }
        }
        Ok(all)
    }

    fn scoring(&self, statistics: bool) -> ScoreOptions {
        ScoreOptions { temperature: self.options.temperature, statistics }
    }

    /// The advantages, those of equal answers to a prompt gathered in the first of them: a model
    /// that is sure of itself gives the same answer often, and the loss is linear in what it
    /// counts. Only where nothing but the advantage counts.
    fn gathered(&self, cycle: &Cycle) -> Vec<f32> {
        let mut advantages = cycle.advantages.clone();
        if self.options.needs_reference() || self.options.entropy_coefficient != 0.0 {
            return advantages;
        }
        let n = self.options.n_generations;
        let mut first: HashMap<(usize, &[u32]), usize> = HashMap::new();
        for (idx, answer) in cycle.answers.iter().enumerate() {
            let place = *first.entry((idx / n, &answer.sequence.tokens)).or_insert(idx);
            if place != idx {
                advantages[place] += std::mem::take(&mut advantages[idx]);
            }
        }
        advantages
    }

    /// Whether an answer moves any weight.
    fn teaches(&self, advantage: f32) -> bool {
        advantage != 0.0
            || self.options.needs_reference()
            || self.options.entropy_coefficient != 0.0
    }

    /// The loss over a cycle's answers, and its gradient added.
    fn learn(
        &mut self,
        policy: &Policy,
        cycle: &Cycle,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let normaliser = self.normaliser(cycle)?;
        let advantages = self.gathered(cycle);
        let teaching: Vec<usize> =
            (0..cycle.answers.len()).filter(|idx| self.teaches(advantages[*idx])).collect();
        let mut report = StepReport { is_idle: teaching.is_empty(), ..StepReport::default() };
        let lengths: Vec<usize> =
            teaching.iter().map(|idx| cycle.answers[*idx].sequence.tokens.len()).collect();
        let parts = micro_batches(&lengths, self.prompts.micro_batch_tokens);
        let (mut figures, mut means) = (PolicyFigures::default(), MeanMetrics::default());
        let mut most_different = 0f64;
        for part in parts {
            let part: Vec<usize> = part.into_iter().map(|place| teaching[place]).collect();
            let batch = packed(&cycle.answers, &part);
            let of_part: Vec<f64> = part.iter().map(|idx| f64::from(advantages[*idx])).collect();
            let (loss, trained) =
                self.pass(policy, cycle, (&part, &of_part), &batch, &normaliser, gradients)?;
            report.n_tokens += batch.inputs.len();
            report.loss += loss.loss;
            figures.merge(&loss.figures);
            if cycle.old.is_none() {
                let drawn = part.iter().map(|idx| cycle.answers[*idx].drawn.as_slice());
                let trained = batch.spans.iter().map(|span| &trained[span.clone()]);
                let (mean, most) = mismatch(drawn.zip(trained));
                means.add(DIFFERENCE_MEAN, mean, batch.targets.len() as f64);
                most_different = most_different.max(most);
            }
        }
        report.metrics = means.means();
        if cycle.old.is_none() && !report.is_idle {
            report.metrics.insert(DIFFERENCE_MAX.into(), most_different);
        }
        if !report.is_idle {
            report.metrics.extend(figures.metrics(&self.options));
        }
        Ok(report)
    }

    fn normaliser(&self, cycle: &Cycle) -> Result<Normaliser> {
        let mut spans = Vec::with_capacity(cycle.answers.len());
        let mut n_tokens = 0;
        for answer in &cycle.answers {
            spans.push(n_tokens..n_tokens + answer.sequence.n_answer());
            n_tokens += answer.sequence.n_answer();
        }
        let is_cut: Vec<bool> = cycle.answers.iter().map(|answer| !answer.stopped).collect();
        let mask = loss_mask(&spans, &is_cut, n_tokens, &self.options);
        let entropies: Option<Vec<f64>> =
            cycle.entropies.as_ref().map(|it| it.iter().flatten().map(|v| f64::from(*v)).collect());
        Normaliser::of(&self.options, &spans, &mask, entropies.as_deref())
    }

    /// One pass through the model and back. Returns the loss and the tokens' log-probabilities.
    fn pass(
        &self,
        policy: &Policy,
        cycle: &Cycle,
        (part, advantages): (&[usize], &[f64]),
        batch: &PackedBatch,
        normaliser: &Normaliser,
        gradients: &mut Gradients,
    ) -> Result<(LossPart, Vec<f32>)> {
        let scoring = self.scoring(true);
        let pass = policy.forward(batch)?;
        let scores = policy.score(&pass, batch, &scoring)?;
        let is_cut: Vec<bool> = part.iter().map(|idx| !cycle.answers[*idx].stopped).collect();
        let mask = loss_mask(&batch.spans, &is_cut, batch.targets.len(), &self.options);
        let of_part = |all: &Vec<Vec<f32>>| -> Vec<f64> {
            part.iter().flat_map(|idx| &all[*idx]).map(|value| f64::from(*value)).collect()
        };
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let current = wide(&scores.log_probs);
        let old = cycle.old.as_ref().map_or_else(|| current.clone(), of_part);
        let reference = cycle.reference.as_ref().map(of_part);
        let entropies = cycle.entropies.as_ref().map_or_else(|| wide(&scores.entropies), of_part);
        let loss = policy_loss(
            &PolicyPart {
                spans: &batch.spans,
                mask: &mask,
                log_probs: &current,
                old_log_probs: &old,
                reference_log_probs: reference.as_deref(),
                entropies: &entropies,
                advantages,
            },
            &self.options,
            normaliser,
        )?;
        let narrow = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        let slopes = narrow(&loss.gradients);
        let by_entropy =
            (self.options.entropy_coefficient != 0.0).then(|| narrow(&loss.entropy_gradients));
        let seeds = ScoreSeeds { log_probs: &slopes, entropies: by_entropy.as_deref() };
        policy.backward(pass, batch, &scoring, seeds, gradients)?;
        Ok((loss, scores.log_probs))
    }

    fn explain(&mut self) {
        if !self.is_explained && self.options.n_iterations == 1 {
            self.is_explained = true;
            tracing::info!(
                "with one step on each rollout the loss is near 0 whatever is learnt, as the \
                 answers' advantages cancel out; look at reward, entropy and grad_norm instead"
            );
        }
    }
}

/// No answer that breaks the form is better in any reward than the worst of its group: most say
/// nothing of it, and breaking the form must not pay.
fn hold_malformed(rewards: &mut [Vec<Option<f64>>], samples: &Samples, n_generations: usize) {
    let groups = rewards.chunks_mut(n_generations);
    for (group, judgements) in groups.zip(samples.judgements.chunks(n_generations)) {
        let n_rewards = group.first().map_or(0, Vec::len);
        for reward in 0..n_rewards {
            let known = group.iter().filter_map(|row| row[reward]);
            let least = known.fold(f64::INFINITY, f64::min);
            for (row, judgement) in group.iter_mut().zip(judgements) {
                if !judgement.is_well_formed && row[reward].is_some() {
                    row[reward] = Some(least);
                }
            }
        }
    }
}

fn without_variance(compared: &Advantages) -> Vec<usize> {
    let groups = compared.groups.iter().enumerate();
    groups.filter(|(_, group)| !group.has_variance()).map(|(idx, _)| idx).collect()
}

impl Objective for Grpo {
    fn lengths(&self) -> Vec<usize> {
        self.prompts.train.iter().map(|row| row.prompt.len()).collect()
    }

    fn steps_per_batch(&self) -> u64 {
        self.options.n_iterations as u64
    }

    fn save(&self) -> Result<Option<serde_json::Value>> {
        let (cycle, watchdog) = (self.cycle.clone(), self.watchdog.clone());
        Ok(Some(serde_json::to_value(State { cycle, watchdog })?))
    }

    fn restore(&mut self, state: serde_json::Value) -> Result<()> {
        let State { cycle, watchdog } = serde_json::from_value(state)?;
        (self.cycle, self.watchdog) = (cycle, watchdog);
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
        self.explain();
        let number = turn.batch / self.steps_per_batch();
        let (mut metrics, mut trip) = (Metrics::new(), None);
        let known = self.cycle.take().filter(|cycle| cycle.number == number);
        let cycle = match known {
            Some(cycle) => cycle,
            None => {
                let (cycle, of_rollout, of_watchdog) = self.collect(policy, rows, number)?;
                (metrics, trip) = (of_rollout, of_watchdog);
                cycle
            }
        };
        let started = Instant::now();
        let mut report = self.learn(policy, &cycle, gradients)?;
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
