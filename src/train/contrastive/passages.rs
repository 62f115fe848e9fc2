//! Training the embedder: queries near their passages and far from the others, as last-token
//! embeddings of length 1.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};

use super::metrics::best_places;
use super::{
    ContrastiveBatch, ContrastiveOptions, HardNegativeMiner, MinedNegative, MiningOptions, Ranking,
    RankingMeans, TextHashes, contrastive_gradients, unit,
};
use crate::error::Result;
use crate::model::qwen::{Gradients, Qwen, Recording};
use crate::train::batches::micro_batches;
use crate::train::data::RowSource;
use crate::train::objective::{Metrics, Objective, StepReport, Turn};
use crate::train::policy::Policy;

/// Examples whose similarities are held at one time.
const ROWS_PER_PIECE: usize = 256;
/// How far down recall looks.
const RECALL_AT: [usize; 3] = [1, 10, 100];

/// A text's tokens with the prompt and the end token, and a hash that tells equal texts.
#[derive(Debug, Clone)]
pub struct Text {
    pub tokens: Vec<u32>,
    pub hash: u64,
}

/// A query, the passage that answers it, and passages that do not.
#[derive(Debug, Clone)]
pub struct PassageRow {
    pub query: Text,
    pub positive: Text,
    pub negatives: Vec<Text>,
    pub source: RowSource,
}

/// What embeddings are measured on: queries, passages, and which passages answer each query.
#[derive(Debug, Clone, Default)]
pub struct RetrievalSet {
    pub queries: Vec<Text>,
    pub passages: Vec<Text>,
    pub relevant: Vec<Vec<usize>>,
}

/// InfoNCE over rows.
pub struct Passages {
    options: ContrastiveOptions,
    mining: Option<MiningOptions>,
    train: Vec<PassageRow>,
    validation: RetrievalSet,
    /// Tokens in one pass. A batch of more is embedded twice (GradCache), so that memory does not
    /// bound how many negatives a query has.
    micro_batch_tokens: usize,
}

impl Passages {
    /// # Errors
    /// `contrastive_options`.
    pub fn new(
        options: ContrastiveOptions,
        mining: Option<MiningOptions>,
        train: Vec<PassageRow>,
        validation: RetrievalSet,
        micro_batch_tokens: usize,
    ) -> Result<Self> {
        options.validate()?;
        Ok(Self { options, mining, train, validation, micro_batch_tokens })
    }

    /// Gives every row the hard negatives that the model finds for its query among all positives
    /// (Moreira et al. 2024, NV-Retriever, arXiv 2407.15831, with its relative margin).
    fn mine(&mut self, model: &Qwen, options: &MiningOptions) -> Result<()> {
        let known = Known::of(&self.train);
        let most_positives = known.positives.values().map(Vec::len).max().unwrap_or(1);
        let miner = HardNegativeMiner::new(options.clone(), most_positives)?;
        let documents =
            embed(model, &known.documents, self.micro_batch_tokens)?.t()?.contiguous()?;
        let queries: Vec<&Text> = self.train.iter().map(|row| &row.query).collect();
        let queries = embed(model, &queries, self.micro_batch_tokens)?;
        let mut mined = Vec::with_capacity(self.train.len());
        for start in (0..self.train.len()).step_by(ROWS_PER_PIECE) {
            let n = ROWS_PER_PIECE.min(self.train.len() - start);
            let similarities = queries.narrow(0, start, n)?.matmul(&documents)?.to_vec2::<f32>()?;
            for (offset, row) in similarities.iter().enumerate() {
                let query = start + offset;
                let positives = &known.positives[&self.train[query].query.hash];
                let negatives = miner.mine(row, positives, query as u64)?;
                let text = |negative: &MinedNegative| known.documents[negative.document].clone();
                mined.push(negatives.iter().map(text).collect::<Vec<Text>>());
            }
        }
        for (row, mut negatives) in self.train.iter_mut().zip(mined) {
            row.negatives.append(&mut negatives);
        }
        Ok(())
    }
}

/// The positives of some rows, each once, and which of them belong to each query.
struct Known<'a> {
    documents: Vec<&'a Text>,
    positives: HashMap<u64, Vec<usize>>,
}

impl<'a> Known<'a> {
    fn of(rows: &'a [PassageRow]) -> Self {
        let mut known = Self { documents: Vec::new(), positives: HashMap::new() };
        let mut places: HashMap<u64, usize> = HashMap::new();
        for row in rows {
            let place = *places.entry(row.positive.hash).or_insert_with(|| {
                known.documents.push(&row.positive);
                known.documents.len() - 1
            });
            let positives = known.positives.entry(row.query.hash).or_default();
            if !positives.contains(&place) {
                positives.push(place);
            }
        }
        known
    }
}

impl Objective for Passages {
    fn prepare(&mut self, policy: &Policy) -> Result<()> {
        match self.mining.take() {
            Some(mining) => self.mine(&policy.model, &mining),
            None => Ok(()),
        }
    }

    fn lengths(&self) -> Vec<usize> {
        let n_tokens = |row: &PassageRow| {
            let negatives: usize = row.negatives.iter().map(|text| text.tokens.len()).sum();
            row.query.tokens.len() + row.positive.tokens.len() + negatives
        };
        self.train.iter().map(n_tokens).collect()
    }

    fn keys(&self) -> Option<Vec<Vec<u64>>> {
        Some(self.train.iter().map(|row| vec![row.query.hash, row.positive.hash]).collect())
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
        let batch = Batch::of(rows.iter().map(|row| &self.train[*row]));
        let parts = batch.parts(self.micro_batch_tokens);
        let mut kept = None;
        let raw = if let [part] = parts.as_slice() {
            let (recording, raw) = record(policy, &batch.texts, part)?;
            kept = Some(recording);
            in_order(&raw, part)?
        } else {
            embed_raw(&policy.model, &batch.texts, &parts)?
        };
        let raw = Var::from_tensor(&raw.to_dtype(DType::F32)?)?;
        let embeddings = unit(raw.as_tensor())?;
        let n_rows = rows.len();
        let hashes: Vec<u64> = batch.texts.iter().map(|text| text.hash).collect();
        let (queries, documents) = hashes.split_at(n_rows);
        let loss = contrastive_gradients(
            &ContrastiveBatch {
                queries: embeddings.narrow(0, 0, n_rows)?,
                documents: embeddings.narrow(0, n_rows, documents.len())?,
                owners: Some(&batch.owners),
                texts: Some(TextHashes { queries, documents }),
                guide: None,
            },
            &self.options,
            ROWS_PER_PIECE,
        )?;
        let seeds = Tensor::cat(&[loss.queries, loss.documents], 0)?;
        let store = (embeddings * seeds)?.sum_all()?.backward()?;
        let d_raw = match store.get(raw.as_tensor()) {
            Some(gradient) => gradient.clone(),
            None => raw.zeros_like()?,
        };
        for part in &parts {
            let recording = match kept.take() {
                Some(recording) => recording,
                None => record(policy, &batch.texts, part)?.0,
            };
            let places: Vec<u32> = part.iter().map(|index| *index as u32).collect();
            let d = d_raw.index_select(&Tensor::new(places, d_raw.device())?, 0)?;
            let n_inputs: usize = part.iter().map(|index| batch.texts[*index].tokens.len()).sum();
            let d = d.to_dtype(policy.model.dtype())?;
            let d = policy.model.spread(&ends(&batch.texts, part), &d, n_inputs)?;
            policy.model.backward(recording, &d, gradients)?;
        }
        let n_tokens = batch.texts.iter().map(|text| text.tokens.len()).sum();
        Ok(StepReport { loss: loss.loss, n_tokens, ..StepReport::default() })
    }

    fn evaluate(&mut self, policy: &Policy) -> Result<Metrics> {
        if self.validation.queries.is_empty() {
            return Ok(Metrics::new());
        }
        let measured = measure(&policy.model, &self.validation, self.micro_batch_tokens)?;
        Ok(measured.into_iter().map(|(name, value)| (format!("eval_{name}"), value)).collect())
    }
}

/// The texts of some rows: queries, then their positives, then all hard negatives.
struct Batch<'a> {
    texts: Vec<&'a Text>,
    /// The row of each document.
    owners: Vec<usize>,
}

impl<'a> Batch<'a> {
    fn of(rows: impl Iterator<Item = &'a PassageRow>) -> Self {
        let rows: Vec<&PassageRow> = rows.collect();
        let mut texts: Vec<&Text> = rows.iter().map(|row| &row.query).collect();
        texts.extend(rows.iter().map(|row| &row.positive));
        let mut owners: Vec<usize> = (0..rows.len()).collect();
        for (index, row) in rows.iter().enumerate() {
            texts.extend(&row.negatives);
            owners.extend(row.negatives.iter().map(|_| index));
        }
        Self { texts, owners }
    }

    fn parts(&self, micro_batch_tokens: usize) -> Vec<Vec<usize>> {
        let lengths: Vec<usize> = self.texts.iter().map(|text| text.tokens.len()).collect();
        micro_batches(&lengths, micro_batch_tokens)
    }
}

/// Each text's place of its last token in a pass over `part`.
fn ends(texts: &[&Text], part: &[usize]) -> Vec<u32> {
    let mut end = 0;
    part.iter()
        .map(|index| {
            end += texts[*index].tokens.len();
            (end - 1) as u32
        })
        .collect()
}

fn inputs(texts: &[&Text], part: &[usize]) -> (Vec<u32>, Vec<usize>) {
    let tokens = part.iter().flat_map(|index| texts[*index].tokens.iter().copied()).collect();
    (tokens, part.iter().map(|index| texts[*index].tokens.len()).collect())
}

/// A recorded pass over a part's texts, and their last hidden states, `[part, hidden]`.
fn record(policy: &Policy, texts: &[&Text], part: &[usize]) -> Result<(Recording, Tensor)> {
    let (tokens, lengths) = inputs(texts, part);
    let recording = policy.model.record(&tokens, &lengths, policy.checkpointing)?;
    let raw = last(&recording.hidden, &ends(texts, part))?;
    Ok((recording, raw))
}

fn last(hidden: &Tensor, ends: &[u32]) -> Result<Tensor> {
    Ok(hidden.index_select(&Tensor::new(ends, hidden.device())?, 0)?)
}

/// Rows that stand in the order of `part`, in the order of the texts.
fn in_order(raw: &Tensor, part: &[usize]) -> Result<Tensor> {
    let mut places = vec![0u32; part.len()];
    for (place, index) in part.iter().enumerate() {
        places[*index] = place as u32;
    }
    Ok(raw.index_select(&Tensor::new(places, raw.device())?, 0)?)
}

/// Last hidden states of all texts, `[texts, hidden]`; nothing is kept of the passes.
fn embed_raw(model: &Qwen, texts: &[&Text], parts: &[Vec<usize>]) -> Result<Tensor> {
    let mut raw = Vec::with_capacity(parts.len());
    for part in parts {
        let (tokens, lengths) = inputs(texts, part);
        raw.push(last(&model.hidden(&tokens, &lengths)?, &ends(texts, part))?);
    }
    in_order(&Tensor::cat(&raw, 0)?.to_dtype(DType::F32)?, &parts.concat())
}

/// Embeddings of length 1, `[texts, hidden]`.
pub fn embed(model: &Qwen, texts: &[&Text], micro_batch_tokens: usize) -> Result<Tensor> {
    let lengths: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
    let parts = micro_batches(&lengths, micro_batch_tokens);
    Ok(unit(&embed_raw(model, texts, &parts)?)?)
}

/// Figures of exact search over all passages: `ndcg@10`, `mrr@10`, `map` and recalls.
pub fn measure(model: &Qwen, set: &RetrievalSet, micro_batch_tokens: usize) -> Result<Metrics> {
    let all = |texts: &[Text]| {
        let texts: Vec<&Text> = texts.iter().collect();
        embed(model, &texts, micro_batch_tokens)
    };
    let (queries, passages) = (all(&set.queries)?, all(&set.passages)?.t()?.contiguous()?);
    let mut means = RankingMeans::default();
    for start in (0..set.queries.len()).step_by(ROWS_PER_PIECE) {
        let n = ROWS_PER_PIECE.min(set.queries.len() - start);
        let similarities = queries.narrow(0, start, n)?.matmul(&passages)?.to_vec2::<f32>()?;
        for (row, relevant) in similarities.iter().zip(&set.relevant[start..]) {
            let ranked = best_places(row, 1_000);
            let relevant: HashMap<usize, f64> =
                relevant.iter().map(|passage| (*passage, 1.0)).collect();
            means.add(&Ranking { ranked: &ranked, relevant: &relevant }, &RECALL_AT);
        }
    }
    Ok(means.means())
}
