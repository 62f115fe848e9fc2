//! Which entries of a similarity matrix are no negatives: told by their place and by hashes of
//! their texts.

use std::collections::HashMap;
use std::ops::Range;

use candle_core::{DType, Result, Tensor};

use super::loss::ContrastiveBatch;
use super::options::{Direction, HardnessMode};

/// Places and texts of a batch.
pub struct Places<'a> {
    n_queries: usize,
    n_documents: usize,
    owners: Option<&'a [usize]>,
    texts: Option<Texts<'a>>,
}

struct Texts<'a> {
    queries: &'a [u64],
    documents: &'a [u64],
    /// The hashes of all positives of each distinct query.
    positives: HashMap<u64, Vec<u64>>,
}

impl<'a> Places<'a> {
    pub fn new(batch: &ContrastiveBatch<'a>) -> Result<Self> {
        let texts = batch.texts.map(|hashes| {
            let mut positives: HashMap<u64, Vec<u64>> = HashMap::new();
            for (query, document) in hashes.queries.iter().zip(hashes.documents) {
                positives.entry(*query).or_default().push(*document);
            }
            Texts { queries: hashes.queries, documents: hashes.documents, positives }
        });
        Ok(Self {
            n_queries: batch.queries.dim(0)?,
            n_documents: batch.documents.dim(0)?,
            owners: batch.owners,
            texts,
        })
    }

    /// 0 for what stays and −∞ for what is left out of `direction`, `[rows, columns]` in `like`'s
    /// type and place; None where nothing is left out by place and there are no texts.
    pub fn left_out(
        &self,
        direction: Direction,
        rows: &Range<usize>,
        like: &Tensor,
    ) -> Result<Option<Tensor>> {
        let holds_positive = matches!(direction, Direction::QueryToDoc | Direction::DocToQuery);
        if holds_positive && self.texts.is_none() {
            return Ok(None);
        }
        let value = |row, column| {
            if self.is_left_out(direction, row, column) { f32::NEG_INFINITY } else { 0.0 }
        };
        self.matrix(direction, rows, like, value).map(Some)
    }

    /// 1 at every entry but the positive pair's, of a margin's mask, which must spare it.
    pub fn not_positive(
        &self,
        direction: Direction,
        rows: &Range<usize>,
        like: &Tensor,
    ) -> Result<Tensor> {
        let value = |row, column| {
            let positive = matches!(direction, Direction::QueryToDoc | Direction::DocToQuery);
            f32::from(u8::from(!(positive && row == column)))
        };
        self.matrix(direction, rows, like, value)?.to_dtype(DType::U8)
    }

    /// 1 at the negatives of `query_to_doc` that `mode` names, else 0.
    pub fn hardened(
        &self,
        mode: HardnessMode,
        rows: &Range<usize>,
        like: &Tensor,
    ) -> Result<Tensor> {
        let value = |row, column| {
            let own = self.owner(column) == row;
            let named = match mode {
                HardnessMode::InBatchNegatives => !own,
                HardnessMode::HardNegatives => own && column != row,
                HardnessMode::AllNegatives => column != row,
            };
            f32::from(u8::from(named))
        };
        self.matrix(Direction::QueryToDoc, rows, like, value)
    }

    fn matrix(
        &self,
        direction: Direction,
        rows: &Range<usize>,
        like: &Tensor,
        value: impl Fn(usize, usize) -> f32,
    ) -> Result<Tensor> {
        let n_columns = match direction {
            Direction::QueryToDoc | Direction::DocToDoc => self.n_documents,
            Direction::DocToQuery | Direction::QueryToQuery => self.n_queries,
        };
        let value = &value;
        let values: Vec<f32> = rows
            .clone()
            .flat_map(|row| (0..n_columns).map(move |column| value(row, column)))
            .collect();
        Tensor::from_vec(values, (rows.len(), n_columns), like.device())?.to_dtype(like.dtype())
    }

    fn owner(&self, document: usize) -> usize {
        match self.owners {
            Some(owners) => owners[document],
            None => document % self.n_queries,
        }
    }

    fn is_left_out(&self, direction: Direction, row: usize, column: usize) -> bool {
        match direction {
            Direction::QueryToDoc => column != row && self.answers(row, column),
            Direction::DocToQuery => column != row && self.answers(column, row),
            Direction::QueryToQuery => column == row || self.asks_the_same(row, column),
            Direction::DocToDoc => self.owner(column) == row || self.answers(row, column),
        }
    }

    /// Whether the document has the text of a positive of the query, or of a query of the same
    /// text.
    fn answers(&self, query: usize, document: usize) -> bool {
        self.texts.as_ref().is_some_and(|texts| {
            let positives = texts.positives.get(&texts.queries[query]);
            positives.is_some_and(|positives| positives.contains(&texts.documents[document]))
        })
    }

    /// Whether the other query has the same text, or a positive in common.
    fn asks_the_same(&self, query: usize, other: usize) -> bool {
        self.texts.as_ref().is_some_and(|texts| texts.queries[query] == texts.queries[other])
            || self.answers(query, other)
    }
}
