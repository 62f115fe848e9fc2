//! Training from files to weights: reads and tokenises the data as the model is served, runs the
//! method's objective, and writes what others load. Blocking; nothing of a server is needed.

mod collection;
mod facts;
mod fisher;
mod judge;
mod mine;
mod prepare;
mod report;
mod reward;
mod run;
mod tokens;
mod write;

use std::path::PathBuf;

pub use collection::SearchedCollection;
pub use fisher::{FisherRequest, fisher};
pub use mine::{MineRequest, Mined, mine_preferences};
pub use prepare::{Prepared, prepare};
pub use report::{DryRun, Lengths};
pub use run::{TrainOutcome, check_out, train};

use crate::train::data::ReadOptions;
use crate::train::options::{Method, TrainOptions};

/// What is trained on what, and where the results go.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    pub method: Method,
    /// The model's folder, as Hugging Face or sentence-transformers store it.
    pub model: PathBuf,
    pub data: Vec<PathBuf>,
    /// Rows to measure on; without them a share of the data is set aside.
    pub validation: Vec<PathBuf>,
    /// Rows of earlier training, for replay.
    pub old_data: Vec<PathBuf>,
    /// Where rewrites are searched with, for methods by reward.
    pub collection: Option<SearchedCollection>,
    /// A Fisher file, for EWC.
    pub fisher: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    pub options: TrainOptions,
    pub read: ReadOptions,
    /// Go on from the run's newest checkpoint.
    pub resume: bool,
    /// Draw a bar when stderr is a terminal.
    pub bar: bool,
}
