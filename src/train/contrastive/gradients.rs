//! The contrastive loss in pieces, so that memory does not bound the batch.

use candle_core::{Tensor, Var};

use super::loss::{ContrastiveBatch, check, sum_of_rows};
use super::masks::Places;
use super::options::ContrastiveOptions;
use crate::error::{Error, Result};

/// What the loss of a whole batch asks of its embeddings.
#[derive(Debug, Clone)]
pub struct ContrastiveGradients {
    /// The mean loss of the examples.
    pub loss: f64,
    /// The loss's gradient with respect to the queries, `[B, d]`.
    pub queries: Tensor,
    /// With respect to the documents, `[M, d]`.
    pub documents: Tensor,
}

/// The loss of [`contrastive_loss`](super::contrastive_loss) and its gradients, over
/// `rows_per_piece` examples at a time: at most `[rows_per_piece, M]` is held. The embeddings' own
/// graph is not followed.
///
/// This is the middle pass of GradCache (Gao et al. 2021, arXiv 2101.06983): embed every text
/// without a graph, call this, then embed again piece by piece and seed each piece's backward pass
/// with its rows.
///
/// # Errors
/// `contrastive_batch` as for the loss, and for pieces of no rows.
pub fn contrastive_gradients(
    batch: &ContrastiveBatch<'_>,
    options: &ContrastiveOptions,
    rows_per_piece: usize,
) -> Result<ContrastiveGradients> {
    check(batch, options)?;
    if rows_per_piece == 0 {
        return Err(Error::invalid("contrastive_batch", "pieces of 0 rows; give at least 1"));
    }
    let (queries, documents) =
        (Var::from_tensor(&batch.queries.detach())?, Var::from_tensor(&batch.documents.detach())?);
    let batch = ContrastiveBatch {
        queries: queries.as_tensor().clone(),
        documents: documents.as_tensor().clone(),
        ..batch.clone()
    };
    let places = Places::new(&batch)?;
    let n_queries = batch.queries.dim(0)?;
    let mut whole = ContrastiveGradients {
        loss: 0.0,
        queries: batch.queries.detach().zeros_like()?,
        documents: batch.documents.detach().zeros_like()?,
    };
    for start in (0..n_queries).step_by(rows_per_piece) {
        let rows = start..n_queries.min(start + rows_per_piece);
        let loss = (sum_of_rows(&batch, options, &places, &rows)? / n_queries as f64)?;
        let store = loss.backward()?;
        whole.loss += loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        if let Some(piece) = store.get(&batch.queries) {
            whole.queries = (whole.queries + piece)?;
        }
        if let Some(piece) = store.get(&batch.documents) {
            whole.documents = (whole.documents + piece)?;
        }
    }
    Ok(whole)
}
