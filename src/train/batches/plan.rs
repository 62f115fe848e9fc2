//! The steps of an epoch, and the micro-batches of a step.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{BatchSettings, Order};
use crate::train::shuffle::{shuffle, source};

/// The rows of each step of one epoch.
pub(super) fn plan_epoch(
    settings: &BatchSettings,
    lengths: &[usize],
    keys: Option<&[Vec<u64>]>,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let mut source = source(settings.seed, epoch);
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    if settings.order == Order::Shuffled {
        shuffle(&mut rows, &mut source);
    }
    let is_bucketed = settings.bucket_steps > 1;
    if is_bucketed {
        let bucket = settings.rows_per_step.saturating_mul(settings.bucket_steps);
        // Rows of one length stay in their shuffled order.
        rows.chunks_mut(bucket).for_each(|rows| rows.sort_by_key(|row| Reverse(lengths[*row])));
    }
    let mut steps = match keys {
        None => rows.chunks(settings.rows_per_step).map(<[usize]>::to_vec).collect(),
        Some(keys) => cut_unique(&rows, settings.rows_per_step, keys),
    };
    if settings.drop_last {
        steps.retain(|rows| rows.len() == settings.rows_per_step);
    }
    if is_bucketed {
        shuffle(&mut steps, &mut source);
    }
    steps
}

/// Puts each row into the first step that has room and none of the row's keys.
fn cut_unique(rows: &[usize], rows_per_step: usize, keys: &[Vec<u64>]) -> Vec<Vec<usize>> {
    let mut steps: Vec<Vec<usize>> = Vec::new();
    let mut last_step_with: HashMap<u64, usize> = HashMap::new();
    let mut first_open = 0;
    for row in rows {
        let used = keys[*row].iter().filter_map(|key| last_step_with.get(key)).max();
        let mut at = used.map_or(0, |step| step + 1).max(first_open);
        while steps.get(at).is_some_and(|step| step.len() == rows_per_step) {
            at += 1;
        }
        if at == steps.len() {
            steps.push(Vec::with_capacity(rows_per_step));
        }
        steps[at].push(*row);
        last_step_with.extend(keys[*row].iter().map(|key| (*key, at)));
        while steps.get(first_open).is_some_and(|step| step.len() == rows_per_step) {
            first_open += 1;
        }
    }
    steps
}

/// Parts of a step that hold at most the budget of tokens each; a longer row is alone. Where the
/// order does not matter, the longest rows come first, so that memory fails at once or never, and
/// each goes to the first part with room (first-fit decreasing).
pub(super) fn micro_batches(
    rows: &[usize],
    lengths: &[usize],
    settings: &BatchSettings,
) -> Vec<Vec<usize>> {
    let Some(budget) = settings.micro_batch_tokens else { return vec![rows.to_vec()] };
    let is_sequential = settings.order == Order::Sequential;
    let mut rows = rows.to_vec();
    if !is_sequential {
        rows.sort_by_key(|row| Reverse(lengths[*row]));
    }
    let mut parts: Vec<(usize, Vec<usize>)> = Vec::new();
    for row in rows {
        let length = lengths[row];
        let from = if is_sequential { parts.len().saturating_sub(1) } else { 0 };
        match parts[from..].iter_mut().find(|(tokens, _)| tokens + length <= budget) {
            Some((tokens, part)) => {
                *tokens += length;
                part.push(row);
            }
            None => parts.push((length, vec![row])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}
