//! Learning embeddings by contrast: the loss over a batch of queries and documents, the mining of
//! hard negatives, and the measures of a ranking.
//!
//! Nothing here knows a model or a text: embeddings, similarities and hashes of texts come in,
//! numbers go out. A NaN that comes in comes out in the loss, so that the guard sees it.

mod gradients;
pub mod loss;
mod masks;
pub mod metrics;
pub mod mining;
mod options;
mod passages;
#[cfg(test)]
mod tests;

pub use gradients::{ContrastiveGradients, contrastive_gradients};
pub use loss::{ContrastiveBatch, Guide, TextHashes, contrastive_loss, unit};
pub use metrics::{Ranking, RankingMeans};
pub use mining::{HardNegativeMiner, MinedNegative, MiningOptions, MiningStrategy};
pub use options::{ContrastiveOptions, Direction, Hardness, HardnessMode, Margin, Partition};
pub use passages::{PassageRow, Passages, RetrievalSet, Text, embed, measure};
