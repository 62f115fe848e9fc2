//! The order of the data: which rows make which optimiser step, and how a step's rows are cut into
//! passes. Everything follows from the seed and the number of the batch, so that a run can go on,
//! or skip a stretch, anywhere.

use std::collections::HashSet;

use super::objective::Objective;
use super::options::{Method, TrainOptions};
use super::replay::{Pick, mix};
use super::shuffle::{shuffle, source};
use crate::error::{Error, Result};

/// Batches whose rows are sorted by length together: within them a batch has rows of like length,
/// so that its passes have like sizes, while every epoch still mixes all rows.
const BATCHES_PER_BUCKET: usize = 16;

/// The batches of a run, any number of epochs long.
#[derive(Debug)]
pub struct Batches {
    seed: u64,
    lengths: Vec<usize>,
    keys: Option<Vec<Vec<u64>>>,
    batch_rows: usize,
    /// Steps in a row on the same rows.
    steps_per_batch: u64,
    /// Rows that a step needs.
    least: usize,
    /// Rows from here on are old ones, of which each epoch has a share.
    n_new: usize,
    replay_share: f64,
    /// The epoch whose order is at hand.
    epoch: Option<(u64, Vec<Vec<usize>>)>,
}

impl Batches {
    /// The objective's rows are new ones up to `n_new`, then old ones.
    ///
    /// # Errors
    /// `train_data` when there are too few rows for a step of the method, `replay_empty` for a
    /// share of old rows where there are none.
    pub fn plan(
        objective: &dyn Objective,
        n_new: usize,
        options: &TrainOptions,
        method: Method,
    ) -> Result<Self> {
        let lengths = objective.lengths();
        let n_new = n_new.min(lengths.len());
        let least = if matches!(method, Method::Kto | Method::Infonce) { 2 } else { 1 };
        if n_new < least {
            return Err(Error::invalid(
                "train_data",
                format!(
                    "{n_new} rows are left to train on; {} needs at least {least}",
                    method.name()
                ),
            ));
        }
        let replay_share = options.remember.replay_share;
        mix(n_new, lengths.len() - n_new, replay_share, options.seed, 0)?;
        Ok(Self {
            seed: options.seed,
            batch_rows: options.batch_rows.clamp(least, n_new),
            least,
            steps_per_batch: objective.steps_per_batch().max(1),
            keys: objective.keys(),
            lengths,
            n_new,
            replay_share,
            epoch: None,
        })
    }

    /// Optimiser steps of one pass over the data. The last batch may have fewer rows; too few for
    /// a step join the one before.
    pub fn per_epoch(&self) -> u64 {
        let n_old = self.n_new as f64 * self.replay_share / (1.0 - self.replay_share);
        let n_rows = self.n_new + n_old.round() as usize;
        let (n_full, n_left) = (n_rows / self.batch_rows, n_rows % self.batch_rows);
        (n_full + usize::from(n_left >= self.least)).max(1) as u64 * self.steps_per_batch
    }

    /// The rows of the run's batch number `batch`.
    pub fn rows(&mut self, batch: u64) -> Vec<usize> {
        let (epoch, index) = (batch / self.per_epoch(), batch % self.per_epoch());
        let index = (index / self.steps_per_batch) as usize;
        if self.epoch.as_ref().is_none_or(|(at_hand, _)| *at_hand != epoch) {
            self.epoch = Some((epoch, self.order(epoch)));
        }
        let order = self.epoch.as_ref().map(|(_, order)| order);
        order.and_then(|order| order.get(index).cloned()).unwrap_or_default()
    }

    fn order(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut random = source(self.seed, epoch);
        let mut new: Vec<usize> = (0..self.n_new).collect();
        shuffle(&mut new, &mut random);
        let n_old = self.lengths.len() - self.n_new;
        // That the share can be met was checked when the run was planned.
        let picks = mix(self.n_new, n_old, self.replay_share, self.seed, epoch).unwrap_or_default();
        let row = |pick| match pick {
            Pick::New(index) => new[index],
            Pick::Old(index) => self.n_new + index,
        };
        let mut rows: Vec<usize> = picks.into_iter().map(row).collect();
        let mut batches = match &self.keys {
            Some(keys) => self.without_duplicates(rows, keys),
            None => {
                for bucket in rows.chunks_mut(self.batch_rows * BATCHES_PER_BUCKET) {
                    bucket.sort_by_key(|row| self.lengths[*row]);
                }
                rows.chunks(self.batch_rows).map(<[usize]>::to_vec).collect()
            }
        };
        if batches.len() > 1
            && batches.last().is_some_and(|last| last.len() < self.least)
            && let Some(last) = batches.pop()
            && let Some(before) = batches.last_mut()
        {
            before.extend(last);
        }
        shuffle(&mut batches, &mut random);
        batches
    }

    /// Batches in which no key comes twice: a row that would bring one waits for the next. Where
    /// nothing else is left such rows do meet, and the loss masks what is equal in them.
    fn without_duplicates(&self, rows: Vec<usize>, keys: &[Vec<u64>]) -> Vec<Vec<usize>> {
        let mut batches = Vec::new();
        let mut waiting: Vec<usize> = rows.into_iter().rev().collect();
        while !waiting.is_empty() {
            let (mut batch, mut later) = (Vec::new(), Vec::new());
            let mut seen: HashSet<u64> = HashSet::new();
            while batch.len() < self.batch_rows {
                let Some(row) = waiting.pop() else { break };
                if keys[row].iter().any(|key| seen.contains(key)) {
                    later.push(row);
                } else {
                    seen.extend(&keys[row]);
                    batch.push(row);
                }
            }
            while batch.len() < self.batch_rows {
                let Some(row) = later.pop() else { break };
                batch.push(row);
            }
            waiting.extend(later.into_iter().rev());
            batches.push(batch);
        }
        batches
    }
}

/// Cuts sequences into passes of at most `max_tokens` tokens, longest first, so that a pass has
/// sequences of like length; a longer sequence has a pass of its own. Returns their indices.
pub fn micro_batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut n_tokens = usize::MAX;
    for index in order {
        n_tokens = n_tokens.saturating_add(lengths[index]);
        match parts.last_mut() {
            Some(part) if n_tokens <= max_tokens => part.push(index),
            _ => {
                parts.push(vec![index]);
                n_tokens = lengths[index];
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(lengths: Vec<usize>, keys: Option<Vec<Vec<u64>>>, batch_rows: usize) -> Batches {
        let n_new = lengths.len();
        Batches {
            seed: 7,
            lengths,
            keys,
            batch_rows,
            steps_per_batch: 1,
            least: 1,
            n_new,
            replay_share: 0.0,
            epoch: None,
        }
    }

    #[test]
    fn an_epoch_has_every_row_once_and_the_next_another_order() {
        let mut all = batches((0..40).collect(), None, 4);
        let epoch = |all: &mut Batches, number: u64| -> Vec<usize> {
            (number * 10..number * 10 + 10).flat_map(|batch| all.rows(batch)).collect()
        };
        let (first, second) = (epoch(&mut all, 0), epoch(&mut all, 1));
        for order in [&first, &second] {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..40).collect::<Vec<_>>());
        }
        assert_ne!(first, second);
        assert_eq!(epoch(&mut all, 0), first, "going back gives the same order");
    }

    #[test]
    fn no_row_is_left_out_whatever_the_sizes() {
        for (n_rows, batch_rows, least) in [(63, 32, 1), (500, 32, 2), (33, 32, 2), (5, 32, 2)] {
            for keys in [None, Some((0..n_rows as u64).map(|row| vec![row]).collect())] {
                let lengths = (0..n_rows).collect();
                let mut all = Batches { least, ..batches(lengths, keys, batch_rows.min(n_rows)) };
                let epoch: Vec<Vec<usize>> =
                    (0..all.per_epoch()).map(|batch| all.rows(batch)).collect();
                assert!(epoch.iter().all(|rows| rows.len() >= least), "{epoch:?}");
                let mut rows = epoch.concat();
                rows.sort_unstable();
                assert_eq!(rows, (0..n_rows).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn several_steps_are_taken_on_the_same_rows_where_the_method_asks_for_it() {
        let mut all = Batches { steps_per_batch: 3, ..batches((0..8).collect(), None, 4) };
        assert_eq!(all.per_epoch(), 6);
        let rows: Vec<Vec<usize>> = (0..7).map(|batch| all.rows(batch)).collect();
        assert!(rows[0] == rows[2] && rows[3] == rows[5] && rows[0] != rows[3], "{rows:?}");
    }

    #[test]
    fn old_rows_have_their_share_of_an_epoch() {
        let mut all = Batches { n_new: 40, replay_share: 0.2, ..batches(vec![1; 45], None, 5) };
        assert_eq!(all.per_epoch(), 10);
        let rows: Vec<usize> = (0..10).flat_map(|batch| all.rows(batch)).collect();
        assert_eq!(rows.len(), 50);
        assert_eq!(rows.iter().filter(|row| **row >= 40).count(), 10);
        assert_eq!(rows.iter().collect::<HashSet<_>>().len(), 45, "old rows come twice each");
    }

    #[test]
    fn rows_of_like_length_come_together() {
        let lengths: Vec<usize> = (0..64).map(|row| (row * 37) % 64).collect();
        let mut all = batches(lengths.clone(), None, 4);
        for batch in 0..16 {
            let of_batch: Vec<usize> =
                all.rows(batch).into_iter().map(|row| lengths[row]).collect();
            let (least, most) = (of_batch.iter().min().unwrap(), of_batch.iter().max().unwrap());
            assert!(most - least <= 4, "{of_batch:?}");
        }
    }

    #[test]
    fn rows_with_a_common_key_do_not_meet() {
        let keys: Vec<Vec<u64>> = (0..40).map(|row| vec![row, 100 + row % 10]).collect();
        let mut all = batches(vec![1; 40], Some(keys.clone()), 5);
        let n_mixed = (0..8)
            .filter(|batch| {
                let rows = all.rows(*batch);
                assert_eq!(rows.len(), 5);
                let of_rows = rows.iter().flat_map(|row| keys[*row].clone());
                of_rows.collect::<HashSet<u64>>().len() < 10
            })
            .count();
        assert!(n_mixed <= 1, "{n_mixed} of 8 batches have rows with a common key");
    }

    #[test]
    fn passes_hold_a_budget_and_every_sequence_once() {
        assert_eq!(micro_batches(&[3, 9, 4, 2], 7), [vec![1], vec![2, 0], vec![3]]);
        assert!(micro_batches(&[], 7).is_empty());
    }
}
