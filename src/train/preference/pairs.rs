//! Training on preference pairs: a chosen and a rejected answer to each prompt.

use candle_core::Tensor;

use super::{PairScores, PreferenceOptions, metrics, preference_loss};
use crate::error::Result;
use crate::model::host;
use crate::model::qwen::{Gradients, ScoreOptions, ScoreSeeds, Scores};
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{MeanMetrics, Metrics, Objective, StepReport, Turn};
use crate::train::policy::{Pass, Policy};
use crate::train::sequence::{PackedBatch, Sequence};
use crate::train::sft::sum;

/// A pair, and where it came from.
#[derive(Debug, Clone)]
pub struct PairRow {
    pub chosen: Sequence,
    pub rejected: Sequence,
    pub source: RowSource,
}

impl PairRow {
    fn n_tokens(&self) -> usize {
        self.chosen.tokens.len() + self.rejected.tokens.len()
    }
}

/// The losses over pairs. The reference's log-probabilities are computed once a row, when the row
/// is first needed.
pub struct Pairs {
    options: PreferenceOptions,
    train: Vec<PairRow>,
    validation: Vec<PairRow>,
    reference: Vec<Option<[f64; 2]>>,
    validation_reference: Vec<Option<[f64; 2]>>,
    /// Tokens in one pass.
    micro_batch_tokens: usize,
}

/// Summed log-probabilities of the chosen and the rejected answers, one of each a row.
struct Sums {
    chosen: Vec<f64>,
    rejected: Vec<f64>,
}

impl Pairs {
    /// # Errors
    /// `preference_options`.
    pub fn new(
        options: PreferenceOptions,
        train: Vec<PairRow>,
        validation: Vec<PairRow>,
        micro_batch_tokens: usize,
    ) -> Result<Self> {
        options.validate()?;
        let reference = vec![None; train.len()];
        let validation_reference = vec![None; validation.len()];
        Ok(Self { options, train, validation, reference, validation_reference, micro_batch_tokens })
    }

    fn parts(&self, rows: &[&PairRow]) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.n_tokens()).collect();
        micro_batches(&lengths, self.micro_batch_tokens)
    }

    /// The rows' sums by the reference; zeros where no loss asks for them.
    fn reference_sums(
        &self,
        policy: &Policy,
        rows: &[&PairRow],
        known: &mut [Option<[f64; 2]>],
    ) -> Result<Sums> {
        if self.options.is_reference_free() {
            let zeros = vec![0.0; rows.len()];
            return Ok(Sums { chosen: zeros.clone(), rejected: zeros });
        }
        let unknown: Vec<usize> = (0..rows.len()).filter(|index| known[*index].is_none()).collect();
        let of_unknown: Vec<&PairRow> = unknown.iter().map(|index| rows[*index]).collect();
        for part in self.parts(&of_unknown) {
            let batch = packed(part.iter().map(|index| of_unknown[*index]));
            let scores = policy.reference_scores(&batch, &ScoreOptions::default())?;
            let sums = batch.sums(&scores.log_probs);
            for (index, pair) in part.iter().zip(sums.chunks_exact(2)) {
                known[unknown[*index]] = Some([pair[0], pair[1]]);
            }
        }
        let of_side = |side: usize| {
            known.iter().map(|sums| sums.map_or(f64::NAN, |sums| sums[side])).collect()
        };
        Ok(Sums { chosen: of_side(0), rejected: of_side(1) })
    }

    fn pair_scores(
        &self,
        rows: &[&PairRow],
        reference: &Sums,
        chosen: Tensor,
        rejected: Tensor,
    ) -> Result<PairScores> {
        let n_tokens = |pick: fn(&PairRow) -> &Sequence| {
            let counts: Vec<f64> = rows.iter().map(|row| pick(row).n_answer() as f64).collect();
            host::vector(&counts)
        };
        Ok(PairScores {
            policy_chosen: chosen,
            policy_rejected: rejected,
            reference_chosen: host::vector(&reference.chosen)?,
            reference_rejected: host::vector(&reference.rejected)?,
            chosen_tokens: n_tokens(|row| &row.chosen)?,
            rejected_tokens: n_tokens(|row| &row.rejected)?,
            weights: None,
            plain_chosen: None,
        })
    }

    /// The loss over all rows, its gradients by the chosen and the rejected sums, and figures.
    fn loss(
        &self,
        rows: &[&PairRow],
        reference: &Sums,
        sums: &Sums,
    ) -> Result<(f64, Sums, Metrics)> {
        let chosen = host::variable(&sums.chosen)?;
        let rejected = host::variable(&sums.rejected)?;
        let scores = self.pair_scores(
            rows,
            reference,
            chosen.as_tensor().clone(),
            rejected.as_tensor().clone(),
        )?;
        let loss = preference_loss(&scores, &self.options)?;
        let store = loss.backward()?;
        let gradient = |by: &Tensor| match store.get(by) {
            Some(gradient) => gradient.to_vec1::<f64>(),
            // A loss of the chosen answers alone does not touch the others.
            None => Ok(vec![0.0; rows.len()]),
        };
        let seeds = Sums {
            chosen: gradient(chosen.as_tensor())?,
            rejected: gradient(rejected.as_tensor())?,
        };
        Ok((loss.to_scalar::<f64>()?, seeds, metrics(&scores, &self.options)?))
    }
}

/// Chosen, rejected, chosen, rejected and so on.
fn packed<'a>(rows: impl Iterator<Item = &'a PairRow>) -> PackedBatch {
    PackedBatch::pack(rows.flat_map(|row| [&row.chosen, &row.rejected]))
}

impl Objective for Pairs {
    fn lengths(&self) -> Vec<usize> {
        self.train.iter().map(PairRow::n_tokens).collect()
    }

    fn source(&self, row: usize) -> &RowSource {
        &self.train[row].source
    }

    /// The loss is over all rows at once, as some losses rank the whole batch: where they do not
    /// fit one pass, a first round of passes finds the sums, and a second goes back through them.
    fn step(
        &mut self,
        policy: &Policy,
        rows: &[usize],
        _turn: Turn,
        gradients: &mut Gradients,
    ) -> Result<StepReport> {
        let pairs: Vec<&PairRow> = rows.iter().map(|row| &self.train[*row]).collect();
        let mut known: Vec<_> = rows.iter().map(|row| self.reference[*row]).collect();
        let reference = self.reference_sums(policy, &pairs, &mut known)?;
        let parts = self.parts(&pairs);
        let options = ScoreOptions { statistics: true, ..ScoreOptions::default() };
        let mut sums = Sums { chosen: vec![0.0; rows.len()], rejected: vec![0.0; rows.len()] };
        let mut kept: Option<Pass> = None;
        for part in &parts {
            let batch = packed(part.iter().map(|index| pairs[*index]));
            let scores = if parts.len() == 1 {
                let pass = policy.forward(&batch)?;
                let scores = policy.score(&pass, &batch, &options)?;
                kept = Some(pass);
                scores
            } else {
                policy.scores(&batch, &options)?
            };
            for (index, pair) in part.iter().zip(batch.sums(&scores.log_probs).chunks_exact(2)) {
                (sums.chosen[*index], sums.rejected[*index]) = (pair[0], pair[1]);
            }
        }
        let (loss, seeds, metrics) = self.loss(&pairs, &reference, &sums)?;
        let mut means = MeanMetrics::default();
        let mut report = StepReport { loss, ..StepReport::default() };
        for part in &parts {
            let batch = packed(part.iter().map(|index| pairs[*index]));
            let of_pairs: Vec<f64> = part
                .iter()
                .flat_map(|index| [seeds.chosen[*index], seeds.rejected[*index]])
                .collect();
            let spread = batch.spread(&of_pairs);
            let asked = ScoreSeeds { log_probs: &spread, entropies: None };
            let pass = match kept.take() {
                Some(pass) => pass,
                None => policy.forward(&batch)?,
            };
            let scores = policy.backward(pass, &batch, &options, asked, gradients)?;
            report.n_tokens += batch.inputs.len();
            take_in(&mut means, &batch, &scores);
        }
        for (row, sums) in rows.iter().zip(known) {
            self.reference[*row] = sums;
        }
        report.metrics = metrics;
        report.metrics.append(&mut means.means());
        Ok(report)
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        if self.validation.is_empty() {
            return Ok(Metrics::new());
        }
        let rows: Vec<&PairRow> = self.validation.iter().collect();
        let mut known = self.validation_reference.clone();
        let reference = self.reference_sums(policy, &rows, &mut known)?;
        let mut sums = Sums { chosen: vec![0.0; rows.len()], rejected: vec![0.0; rows.len()] };
        for part in self.parts(&rows) {
            let batch = packed(part.iter().map(|index| rows[*index]));
            let scores = policy.scores(&batch, &ScoreOptions::default())?;
            for (index, pair) in part.iter().zip(batch.sums(&scores.log_probs).chunks_exact(2)) {
                (sums.chosen[*index], sums.rejected[*index]) = (pair[0], pair[1]);
            }
        }
        let (loss, _, metrics) = self.loss(&rows, &reference, &sums)?;
        self.validation_reference = known;
        let named = metrics.into_iter().map(|(name, value)| (format!("eval_{name}"), value));
        Ok(named.chain([("eval_loss".to_owned(), loss)]).collect())
    }
}

/// Means over tokens and the vocabulary, as TRL has them.
fn take_in(means: &mut MeanMetrics, batch: &PackedBatch, scores: &Scores) {
    let mean = |values: &[f32]| sum(values) / values.len().max(1) as f64;
    for (span, side) in batch.spans.iter().zip(["chosen", "rejected"].iter().cycle()) {
        let n = span.len() as f64;
        means.add(&format!("logits/{side}"), mean(&scores.mean_scores[span.clone()]), n);
        if *side == "chosen" {
            let best = &scores.is_best[span.clone()];
            let n_best = best.iter().filter(|is_best| **is_best).count() as f64;
            means.add("mean_token_accuracy", n_best / n.max(1.0), n);
            means.add("entropy", mean(&scores.entropies[span.clone()]), n);
        }
    }
}
