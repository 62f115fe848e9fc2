//! Training on single answers that are marked desirable or not (KTO).

use super::{KtoLoss, KtoOptions, KtoScores, KtoTotals, kl_estimate, kto_loss};
use crate::error::{Error, Result};
use crate::model::host;
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds, Scores};
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use crate::train::policy::Policy;
use crate::train::sequence::{PackedBatch, Sequence};
use crate::train::sft::sum;

/// A marked answer, and where it came from.
#[derive(Debug, Clone)]
pub struct JudgedRow {
    pub sequence: Sequence,
    pub desirable: bool,
    pub source: RowSource,
}

/// KTO over marked answers. The batch's KL is estimated on the batch's own answers, each behind
/// its neighbour's prompt; a batch therefore has at least two rows.
pub struct Judgements {
    options: KtoOptions,
    train: Vec<JudgedRow>,
    validation: Vec<JudgedRow>,
    /// Sums by the reference, computed when a row is first needed.
    reference: Vec<Option<f64>>,
    micro_batch_tokens: usize,
    max_tokens: usize,
}

/// What a batch came to, forwards.
struct Forward {
    policy: Vec<f64>,
    reference: Vec<f64>,
    kl: f64,
}

impl Judgements {
    /// # Errors
    /// `kto_options`.
    pub fn new(
        options: KtoOptions,
        train: Vec<JudgedRow>,
        validation: Vec<JudgedRow>,
        micro_batch_tokens: usize,
        max_tokens: usize,
    ) -> Result<Self> {
        options.validate()?;
        let reference = vec![None; train.len()];
        Ok(Self { options, train, validation, reference, micro_batch_tokens, max_tokens })
    }

    /// Summed log-probabilities of the answers, by the policy or the reference.
    fn sums(&self, policy: &Policy, rows: &[&Sequence], is_reference: bool) -> Result<Vec<f64>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let mut sums = vec![0.0; rows.len()];
        for part in micro_batches(&lengths, self.micro_batch_tokens) {
            let batch = PackedBatch::pack(part.iter().map(|index| rows[*index]));
            let options = ScoreOptions::default();
            let scores = if is_reference {
                policy.reference_scores(&batch, &options)?
            } else {
                policy.scores(&batch, &options)?
            };
            for (index, sum) in part.iter().zip(batch.sums(&scores.log_probs)) {
                sums[*index] = sum;
            }
        }
        Ok(sums)
    }

    fn forward(
        &self,
        policy: &Policy,
        rows: &[&JudgedRow],
        known: Option<Vec<f64>>,
    ) -> Result<Forward> {
        let sequences: Vec<&Sequence> = rows.iter().map(|row| &row.sequence).collect();
        let reference = match known {
            Some(known) => known,
            None => self.sums(policy, &sequences, true)?,
        };
        let kl = match self.options.loss {
            KtoLoss::ApoZeroUnpaired => 0.0,
            KtoLoss::Kto => {
                let mismatched = self.mismatched(&sequences);
                let mismatched: Vec<&Sequence> = mismatched.iter().collect();
                let policy_sums = self.sums(policy, &mismatched, false)?;
                let reference_sums = self.sums(policy, &mismatched, true)?;
                kl_estimate(&host::vector(&policy_sums)?, &host::vector(&reference_sums)?)?
            }
        };
        Ok(Forward { policy: self.sums(policy, &sequences, false)?, reference, kl })
    }

    /// Each prompt with the answer of the row before it.
    fn mismatched(&self, rows: &[&Sequence]) -> Vec<Sequence> {
        let answers = rows.iter().cycle().skip(rows.len() - 1);
        let pairs = rows.iter().zip(answers);
        pairs
            .map(|(row, other)| {
                let (prompt, answer) =
                    (&row.tokens[..row.n_prompt], &other.tokens[other.n_prompt..]);
                Sequence::joined(prompt, answer, self.max_tokens).0
            })
            .collect()
    }
}

impl Objective for Judgements {
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
        _turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        if rows.len() < 2 {
            return Err(Error::invalid(
                "train_options",
                "kto estimates its KL within a batch and needs batch_rows of at least 2",
            ));
        }
        let unknown: Vec<usize> =
            rows.iter().copied().filter(|row| self.reference[*row].is_none()).collect();
        let of_unknown: Vec<&Sequence> =
            unknown.iter().map(|row| &self.train[*row].sequence).collect();
        for (row, sum) in unknown.iter().zip(self.sums(policy, &of_unknown, true)?) {
            self.reference[*row] = Some(sum);
        }
        let known = rows.iter().map(|row| self.reference[*row].unwrap_or(f64::NAN)).collect();
        let judged: Vec<&JudgedRow> = rows.iter().map(|row| &self.train[*row]).collect();
        let forward = self.forward(policy, &judged, Some(known))?;
        let variable = host::variable(&forward.policy)?;
        let desirable: Vec<bool> = judged.iter().map(|row| row.desirable).collect();
        let scores = KtoScores {
            policy: variable.as_tensor().clone(),
            reference: host::vector(&forward.reference)?,
            desirable: &desirable,
        };
        let loss = kto_loss(&scores, forward.kl, &self.options)?;
        let store = loss.backward()?;
        let seeds = match store.get(variable.as_tensor()) {
            Some(gradient) => gradient.to_vec1::<f64>()?,
            None => vec![0.0; rows.len()],
        };
        let mut totals = KtoTotals::default();
        totals.add(&scores, forward.kl, &self.options)?;
        let mut report = StepReport {
            loss: loss.to_scalar::<f64>()?,
            metrics: totals.metrics(),
            ..StepReport::default()
        };
        let lengths: Vec<usize> = judged.iter().map(|row| row.sequence.tokens.len()).collect();
        let options = ScoreOptions { statistics: true, ..ScoreOptions::default() };
        let mut means = MeanMetrics::default();
        for part in micro_batches(&lengths, self.micro_batch_tokens) {
            let batch = PackedBatch::pack(part.iter().map(|index| &judged[*index].sequence));
            let of_rows: Vec<f64> = part.iter().map(|index| seeds[*index]).collect();
            let spread = batch.spread(&of_rows);
            let asked = ScoreSeeds { log_probs: &spread, entropies: None };
            let pass = policy.forward(&batch)?;
            let scores = policy.backward(pass, &batch, &options, asked, gradients)?;
            report.n_tokens += batch.inputs.len();
            let kinds = part.iter().map(|index| judged[*index].desirable);
            take_in(&mut means, &batch, kinds, &scores);
        }
        report.metrics.append(&mut means.means());
        report.weights = weights(&desirable);
        Ok(report)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        if self.validation.len() < 2 {
            return Ok(Metrics::new());
        }
        let rows: Vec<&JudgedRow> = self.validation.iter().collect();
        let forward = self.forward(policy, &rows, None)?;
        let desirable: Vec<bool> = rows.iter().map(|row| row.desirable).collect();
        let scores = KtoScores {
            policy: host::vector(&forward.policy)?,
            reference: host::vector(&forward.reference)?,
            desirable: &desirable,
        };
        let loss = kto_loss(&scores, forward.kl, &self.options)?.to_scalar::<f64>()?;
        let mut totals = KtoTotals::default();
        totals.add(&scores, forward.kl, &self.options)?;
        let named =
            totals.metrics().into_iter().map(|(name, value)| (format!("eval_{name}"), value));
        Ok(named.chain([("eval_loss".to_owned(), loss)]).collect())
    }
}

/// Batches differ in how many answers of either kind they have.
fn weights(desirable: &[bool]) -> Metrics {
    let n_desirable = desirable.iter().filter(|desirable| **desirable).count();
    let counts = [("chosen", n_desirable), ("rejected", desirable.len() - n_desirable)];
    let of_kind = |(kind, n): (&str, usize)| {
        ["rewards", "logps", "logits"].map(|figure| (format!("{figure}/{kind}"), n as f64))
    };
    counts.into_iter().flat_map(of_kind).collect()
}

/// Means over tokens and the vocabulary, as TRL has them.
fn take_in(
    means: &mut MeanMetrics,
    batch: &PackedBatch,
    kinds: impl Iterator<Item = bool>,
    scores: &Scores,
) {
    for (span, desirable) in batch.spans.iter().zip(kinds) {
        let n = span.len().max(1) as f64;
        let mean = |values: &[f32]| sum(&values[span.clone()]) / n;
        let kind = if desirable { "chosen" } else { "rejected" };
        means.add(&format!("logits/{kind}"), mean(&scores.mean_scores), n);
        means.add("entropy", mean(&scores.entropies), n);
    }
}
