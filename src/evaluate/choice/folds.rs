//! Folds of whole conversations.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Examples;
use crate::error::{Error, Result};

/// The rows in folds, each conversation in one of them, in the order of the rows.
///
/// # Errors
/// `choice_input` when there are fewer conversations than folds.
pub fn folds(
    examples: &Examples,
    rows: &[usize],
    n_folds: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>> {
    let name = |row: usize| examples.rows[row].conversation.as_str();
    let distinct: BTreeSet<&str> = rows.iter().map(|&row| name(row)).collect();
    let mut names: Vec<&str> = distinct.into_iter().collect();
    if names.len() < n_folds {
        let n = names.len();
        return Err(Error::invalid(
            "choice_input",
            format!("{n} conversations are too few for {n_folds} folds; give more, or fewer folds"),
        ));
    }
    names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let fold_of: BTreeMap<&str, usize> =
        names.into_iter().enumerate().map(|(idx, name)| (name, idx % n_folds)).collect();
    let mut folds = vec![Vec::new(); n_folds];
    for &row in rows {
        folds[fold_of[name(row)]].push(row);
    }
    Ok(folds)
}

/// The rows of every fold but one.
pub fn others(folds: &[Vec<usize>], left_out: usize) -> Vec<usize> {
    let kept = folds.iter().enumerate().filter(|(idx, _)| *idx != left_out);
    kept.flat_map(|(_, fold)| fold.iter().copied()).collect()
}
