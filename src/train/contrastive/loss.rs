//! InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) with in-batch and hard negatives, in every
//! direction.

use std::ops::Range;

use candle_core::{D, Tensor};

use super::masks::Places;
use super::options::{ContrastiveOptions, Direction, Margin, Partition};
use crate::error::{Error, Result};

/// A batch of B queries and M ≥ B documents; document `i < B` is the positive of query `i`.
#[derive(Debug, Clone)]
pub struct ContrastiveBatch<'a> {
    /// `[B, d]`, each of length 1.
    pub queries: Tensor,
    /// `[M, d]`, each of length 1: the positives, then the hard negatives.
    pub documents: Tensor,
    /// The query whose document each of the M is, 0 to B for the first B. None: the hard negatives
    /// come in columns of B in the order of the queries, so document `j` is `j mod B`'s.
    pub owners: Option<&'a [usize]>,
    /// None: nothing is known about equal texts, and equal ones count as negatives.
    pub texts: Option<TextHashes<'a>>,
    pub guide: Option<Guide<'a>>,
}

/// Hashes of the texts as they were embedded. An entry is left out of a denominator when its
/// document has the text of a positive of the query (or of a query with the same text); a query is
/// left out of another's when both have the same text or a positive in common.
#[derive(Debug, Clone, Copy)]
pub struct TextHashes<'a> {
    /// `[B]`
    pub queries: &'a [u64],
    /// `[M]`
    pub documents: &'a [u64],
}

/// Another embedder's embeddings of the same texts, each of length 1.
#[derive(Debug, Clone, Copy)]
pub struct Guide<'a> {
    /// `[B, any]`
    pub queries: &'a Tensor,
    /// `[M, any]`
    pub documents: &'a Tensor,
}

/// The mean loss of the batch's examples: a scalar with a graph that holds the whole `[B, M]`. For
/// large batches see [`contrastive_gradients`](super::contrastive_gradients).
///
/// # Errors
/// `contrastive_batch` when the parts do not fit together.
pub fn contrastive_loss(
    batch: &ContrastiveBatch<'_>,
    options: &ContrastiveOptions,
) -> Result<Tensor> {
    check(batch, options)?;
    let n_queries = batch.queries.dim(0)?;
    let sum = sum_of_rows(batch, options, &Places::new(batch)?, &(0..n_queries))?;
    Ok((sum / n_queries as f64)?)
}

/// Each row scaled to length 1. A row of zeros stays, with a finite gradient.
pub fn unit(embeddings: &Tensor) -> candle_core::Result<Tensor> {
    let squares = embeddings.sqr()?.sum_keepdim(D::Minus1)?;
    embeddings.broadcast_div(&(squares + 1e-24)?.sqrt()?)
}

/// The losses of the examples `rows`, added up: for each matryoshka dimension, weighted.
pub(super) fn sum_of_rows(
    batch: &ContrastiveBatch<'_>,
    options: &ContrastiveOptions,
    places: &Places<'_>,
    rows: &Range<usize>,
) -> Result<Tensor> {
    let guide = batch
        .guide
        .map(|guide| Sides::new(guide.queries.detach(), guide.documents.detach(), rows))
        .transpose()?;
    let whole = [(batch.queries.dim(1)?, 1.0)];
    let dimensions = if options.matryoshka.is_empty() { &whole[..] } else { &options.matryoshka };
    let mut total: Option<Tensor> = None;
    for &(n_dimensions, weight) in dimensions {
        let sides = Sides::new(
            truncated(&batch.queries, n_dimensions)?,
            truncated(&batch.documents, n_dimensions)?,
            rows,
        )?;
        let example = Examples { sides, guide: guide.as_ref(), options, places, rows };
        let sum = (example.sum()? * weight)?;
        total = Some(match total {
            Some(total) => (total + sum)?,
            None => sum,
        });
    }
    total.ok_or_else(|| Error::internal("a contrastive loss has no dimension"))
}

fn truncated(embeddings: &Tensor, n_dimensions: usize) -> candle_core::Result<Tensor> {
    if n_dimensions == embeddings.dim(1)? {
        return Ok(embeddings.clone());
    }
    unit(&embeddings.narrow(1, 0, n_dimensions)?)
}

/// Embeddings of a batch by one embedder, and those of the rows at hand.
struct Sides {
    queries: Tensor,
    documents: Tensor,
    row_queries: Tensor,
    row_positives: Tensor,
}

impl Sides {
    fn new(queries: Tensor, documents: Tensor, rows: &Range<usize>) -> candle_core::Result<Self> {
        let row_queries = queries.narrow(0, rows.start, rows.len())?;
        let row_positives = documents.narrow(0, rows.start, rows.len())?;
        Ok(Self { queries, documents, row_queries, row_positives })
    }

    /// The similarity of each row's positive pair, `[rows, 1]`.
    fn positives(&self) -> candle_core::Result<Tensor> {
        (&self.row_queries * &self.row_positives)?.sum_keepdim(1)
    }

    /// `[rows, B or M]`
    fn similarities(&self, direction: Direction) -> candle_core::Result<Tensor> {
        let (left, right) = match direction {
            Direction::QueryToDoc => (&self.row_queries, &self.documents),
            Direction::DocToQuery => (&self.row_positives, &self.queries),
            Direction::QueryToQuery => (&self.row_queries, &self.queries),
            Direction::DocToDoc => (&self.row_positives, &self.documents),
        };
        left.contiguous()?.matmul(&right.t()?)
    }
}

struct Examples<'a> {
    sides: Sides,
    guide: Option<&'a Sides>,
    options: &'a ContrastiveOptions,
    places: &'a Places<'a>,
    rows: &'a Range<usize>,
}

impl Examples<'_> {
    /// Σ over the rows of log Z − positive logit.
    fn sum(&self) -> candle_core::Result<Tensor> {
        let positives = self.sides.positives()?;
        let matrices = self
            .options
            .directions
            .iter()
            .map(|direction| self.logits(*direction, &positives))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let log_partition = match self.options.partition {
            Partition::Joint => log_sum_exp(&Tensor::cat(&matrices, 1)?)?,
            Partition::PerDirection => {
                let each =
                    matrices.iter().map(log_sum_exp).collect::<candle_core::Result<Vec<_>>>()?;
                Tensor::cat(&each, 1)?.mean_keepdim(1)?
            }
        };
        (log_partition - (positives / self.options.temperature)?)?.sum_all()
    }

    fn logits(&self, direction: Direction, positives: &Tensor) -> candle_core::Result<Tensor> {
        let similarities = self.sides.similarities(direction)?;
        let mut logits = (&similarities / self.options.temperature)?;
        if let (Some(hardness), Direction::QueryToDoc) = (self.options.hardness, direction) {
            let named = self.places.hardened(hardness.mode, self.rows, &similarities)?;
            logits = (logits + (similarities.detach() * named)?.affine(hardness.strength, 0.0)?)?;
        }
        if let Some(left_out) = self.places.left_out(direction, self.rows, &similarities)? {
            logits = (logits + left_out)?;
        }
        if let Some(margin) = self.options.self_margin {
            let limit = beyond(&positives.detach(), margin, 1.0)?;
            logits = (logits + self.above(&similarities.detach(), &limit, direction)?)?;
        }
        if let Some(guide) = self.guide {
            let limit = beyond(&guide.positives()?, self.options.guide_margin, -1.0)?;
            let above = self.above(&guide.similarities(direction)?, &limit, direction)?;
            logits = (logits + above.to_dtype(similarities.dtype())?)?;
        }
        Ok(logits)
    }

    /// −∞ where a similarity is above its row's limit, but never at the positive pair; else 0.
    fn above(
        &self,
        similarities: &Tensor,
        limit: &Tensor,
        direction: Direction,
    ) -> candle_core::Result<Tensor> {
        let zeros = similarities.zeros_like()?;
        let nothing = (&zeros + f64::NEG_INFINITY)?;
        let above = similarities.broadcast_gt(limit)?.where_cond(&nothing, &zeros)?;
        self.places.not_positive(direction, self.rows, similarities)?.where_cond(&above, &zeros)
    }
}

/// `positives` moved by the margin, up for `sign` 1 and down for −1.
fn beyond(positives: &Tensor, margin: Margin, sign: f64) -> candle_core::Result<Tensor> {
    match margin {
        Margin::Absolute(size) => positives + sign * size,
        Margin::Relative(share) => positives + (positives.abs()? * (sign * share))?,
    }
}

/// log Σ e^x of each row, `[rows, 1]`. Entries of −∞ weigh nothing; a row needs one that is not.
fn log_sum_exp(logits: &Tensor) -> candle_core::Result<Tensor> {
    let largest = logits.detach().max_keepdim(1)?;
    logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()? + largest
}

pub(super) fn check(batch: &ContrastiveBatch<'_>, options: &ContrastiveOptions) -> Result<()> {
    let (n_queries, n_dimensions) = batch.queries.dims2()?;
    let (n_documents, document_dimensions) = batch.documents.dims2()?;
    if n_queries == 0 || n_documents < n_queries || n_dimensions != document_dimensions {
        return refuse(format!(
            "{n_queries} queries of {n_dimensions} dimensions have {n_documents} documents of \
             {document_dimensions}; there must be at least one query, a positive for each, and one width"
        ));
    }
    if let Some(&(larger, _)) = options.matryoshka.iter().find(|(each, _)| *each > n_dimensions) {
        return refuse(format!(
            "matryoshka asks for {larger} dimensions and embeddings have {n_dimensions}; leave it out"
        ));
    }
    check_owners(batch.owners, n_queries, n_documents)?;
    let lengths = [
        batch.texts.map(|texts| (texts.queries.len(), texts.documents.len())),
        match batch.guide {
            Some(guide) => Some((guide.queries.dim(0)?, guide.documents.dim(0)?)),
            None => None,
        },
    ];
    match lengths.into_iter().flatten().find(|lengths| *lengths != (n_queries, n_documents)) {
        Some((queries, documents)) => refuse(format!(
            "hashes or guide speak of {queries} queries and {documents} documents; the batch has \
             {n_queries} and {n_documents}"
        )),
        None => Ok(()),
    }
}

fn check_owners(owners: Option<&[usize]>, n_queries: usize, n_documents: usize) -> Result<()> {
    match owners {
        None if n_documents.is_multiple_of(n_queries) => Ok(()),
        None => refuse(format!(
            "{n_documents} documents make no whole columns for {n_queries} queries; say whose each is"
        )),
        Some(owners) => {
            let positives_first = owners.len() == n_documents
                && owners.iter().take(n_queries).copied().eq(0..n_queries)
                && owners.iter().all(|owner| *owner < n_queries);
            if positives_first {
                return Ok(());
            }
            refuse(format!(
                "owners name {} documents of {n_documents}, or a query outside the {n_queries}, or do not \
                 begin with each query's positive in order",
                owners.len()
            ))
        }
    }
}

fn refuse<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::invalid("contrastive_batch", sentence))
}
