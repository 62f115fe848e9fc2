//! The operations of a Qwen block that candle either lacks or gives no gradient for, each with its
//! backward pass beside it. The same functions serve and train.
//!
//! On the CPU each is one pass over contiguous f32 rows. For other devices and types each is also
//! written as a composition of candle's own operations, which is the reference that the tests hold
//! the passes to.
//!
//! A backward function takes what the forward one took, and the gradient of the loss by its
//! result; it returns the gradient by each input that has one.

mod attention;
mod cached_attention;
mod in_place;
pub mod kernel;
mod rms_norm;
mod rope;
mod score;
mod swiglu;
#[cfg(test)]
mod tests;

pub use attention::{AttentionRecord, attention_backward, packed_attention};
pub use cached_attention::{AttendedRow, cached_attention};
pub use in_place::{add_in_place, add_rows_in_place};
pub use rms_norm::{rms_norm, rms_norm_backward};
pub use rope::{rope, rope_backward};
pub use score::{ScoreOptions, ScoreSeeds, Scores, score, score_with_gradient};
pub use swiglu::{swiglu, swiglu_backward};
