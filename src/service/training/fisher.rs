//! Which weights of a model old data need.

use std::path::PathBuf;

use super::tokens::Sequences;
use crate::error::{Error, Result};
use crate::model::{ModelFolder, device};
use crate::train::data::{self, Portion, ReadOptions, Rows, Task};
use crate::train::ewc::{Fisher, FisherFacts, Labels};
use crate::train::policy::Policy;
use crate::train::remember;
use crate::train::sequence::Sequence;

/// Longest sequence that is looked at.
const MAX_TOKENS: usize = 1_024;

/// A model, what it must still do, and where the file goes.
#[derive(Debug, Clone)]
pub struct FisherRequest {
    pub model: PathBuf,
    /// Rows as for supervised fine-tuning.
    pub data: Vec<PathBuf>,
    pub read: ReadOptions,
    pub out: PathBuf,
    /// Rows that are looked at, chosen by the seed.
    pub n_rows: usize,
    /// Take the data's answers instead of answers drawn from the model.
    pub empirical: bool,
    /// The Fisher file of earlier tasks, and what it counts.
    pub previous: Option<PathBuf>,
    pub gamma: f64,
    pub seed: u64,
}

/// Computes and writes the file; `each` is called after each sequence.
///
/// # Errors
/// `train_options` for a gamma outside 0 to 1, those of reading, and of the previous file.
pub fn fisher(request: &FisherRequest, each: impl FnMut()) -> Result<FisherFacts> {
    if !(0.0..=1.0).contains(&request.gamma) || request.n_rows == 0 {
        return Err(Error::invalid(
            "train_options",
            format!(
                "gamma is {} and the number of rows {}; gamma is from 0 to 1, rows at least 1",
                request.gamma, request.n_rows
            ),
        ));
    }
    if let Some(parent) = request.out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs_err::create_dir_all(parent)?;
    }
    let folder = ModelFolder::open(&request.model)?;
    let device = device::best()?;
    // In the type that training computes in: the file belongs to these very numbers.
    let dtype = device::training_dtype(&device, None);
    let model = folder.load_trainable(false, dtype, &device)?;
    let policy = Policy::new(model, None, false, request.seed)?;
    let sequences = sequences(request, &folder, policy.model.config().window)?;
    let labels = if request.empirical { Labels::Empirical } else { Labels::Sampled };
    let mut fisher = remember::fisher(&policy, &sequences, labels, request.seed, each)?;
    if let Some(path) = &request.previous {
        let previous = Fisher::load_earlier(path, &policy.model.parameters()?)?;
        fisher = fisher.accumulated(&previous, request.gamma)?;
    }
    fisher.save(&request.out)?;
    Ok(fisher.facts().clone())
}

fn sequences(
    request: &FisherRequest,
    folder: &ModelFolder,
    window: usize,
) -> Result<Vec<Sequence>> {
    let rows = data::read(&request.data, Task::Sft, &request.read)?.rows;
    let rows = if rows.len() > request.n_rows {
        data::split(rows, Portion::Count(request.n_rows), request.seed)?.1
    } else {
        rows
    };
    let Rows::Completions(rows) = rows else {
        return Err(Error::internal("the rows are not of the task"));
    };
    let mut sequences = Sequences::open(folder, window.min(MAX_TOKENS))?;
    rows.iter().map(|row| sequences.of(&row.prompt, &row.answer, &row.source)).collect()
}
