//! What training leaves behind, in the forms that other programs load unchanged: PEFT adapters,
//! Hugging Face checkpoints and sentence-transformers folders. `tests/parity/check_outputs.py`
//! holds them to the Python packages. A folder is written whole or not at all, and never over
//! another.

pub mod hugging_face;
pub mod peft;
pub mod sentence_transformers;

#[cfg(test)]
mod tests;

pub use hugging_face::{WeightOptions, write_model};
pub use peft::{Adapter, AdapterModule, AdapterTask, read_adapter, write_adapter};
pub use sentence_transformers::{EmbedderOptions, write_embedder};

use serde_json::Value;

use crate::error::Result;

/// JSON as the peers write it: indented, with a line's end.
fn pretty(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
