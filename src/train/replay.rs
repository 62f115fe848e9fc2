//! Replay: rows of an old task among those of the new one, the plainest remedy against forgetting.

use super::shuffle::{below, shuffle, source};
use crate::error::{Error, Result};

/// A row by its index in the old or the new data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pick {
    New(usize),
    Old(usize),
}

/// All new rows in their order, with old rows spread evenly among them so that these are `share`
/// of the whole. Old rows are drawn without return until all have been drawn. The same arguments
/// give the same mix; another `epoch` draws other old rows to other places.
///
/// # Errors
/// `replay_share` when it is not from 0 to below 1; `replay_empty` when there are no old rows.
pub fn mix(n_new: usize, n_old: usize, share: f64, seed: u64, epoch: u64) -> Result<Vec<Pick>> {
    if !(0.0..1.0).contains(&share) {
        return Err(Error::invalid(
            "replay_share",
            format!("a replay share of {share} cannot be used; give one from 0 to below 1, as 0.1"),
        ));
    }
    let n_drawn = (n_new as f64 * share / (1.0 - share)).round() as usize;
    if n_drawn > 0 && n_old == 0 {
        return Err(Error::invalid(
            "replay_empty",
            format!("a replay share of {share} was asked for, but the old data has no row"),
        ));
    }
    let mut source = source(seed, epoch);
    let mut drawn = Vec::with_capacity(n_drawn);
    while drawn.len() < n_drawn {
        let mut pass: Vec<usize> = (0..n_old).collect();
        shuffle(&mut pass, &mut source);
        drawn.extend(pass.into_iter().take(n_drawn - drawn.len()));
    }
    let n_all = n_new + n_drawn;
    // One old row at a place of its own in each of n_drawn stretches.
    let place = |index: usize| {
        let (start, end) = (index * n_all / n_drawn, (index + 1) * n_all / n_drawn);
        start + below(end - start, &mut source)
    };
    let places: Vec<usize> = (0..n_drawn).map(place).collect();
    let mut old = places.into_iter().zip(drawn).peekable();
    let mut new = 0..n_new;
    let pick = |at: usize| match old.next_if(|(place, _)| *place == at) {
        Some((_, row)) => Some(Pick::Old(row)),
        None => new.next().map(Pick::New),
    };
    Ok((0..n_all).filter_map(pick).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn old(picks: &[Pick]) -> Vec<usize> {
        let row = |pick: &Pick| match pick {
            Pick::Old(row) => Some(*row),
            Pick::New(_) => None,
        };
        picks.iter().filter_map(row).collect()
    }

    #[test]
    fn the_share_is_met_and_new_rows_keep_their_order() {
        let picks = mix(900, 50, 0.1, 1, 0).unwrap();
        assert_eq!(picks.len(), 1000);
        let drawn = old(&picks);
        assert_eq!(drawn.len(), 100);
        let new: Vec<_> = picks.iter().filter(|pick| matches!(pick, Pick::New(_))).collect();
        assert!(new.iter().enumerate().all(|(index, pick)| **pick == Pick::New(index)));
        // Each of the 50 twice, and never far from its share.
        let mut counts = HashMap::new();
        drawn.iter().for_each(|row| *counts.entry(row).or_insert(0) += 1);
        assert!(counts.len() == 50 && counts.values().all(|count| *count == 2));
        assert!(picks.chunks(100).all(|chunk| old(chunk).len() == 10));
    }

    #[test]
    fn the_same_seed_gives_the_same_mix() {
        let with = |seed, epoch| mix(90, 500, 0.25, seed, epoch).unwrap();
        assert_eq!(with(3, 1), with(3, 1));
        assert_ne!(with(3, 1), with(4, 1));
        assert_ne!(with(3, 1), with(3, 2));
    }

    #[test]
    fn nothing_to_mix_is_all_new_and_nonsense_is_refused() {
        assert_eq!(mix(2, 0, 0.0, 1, 0).unwrap(), [Pick::New(0), Pick::New(1)]);
        assert_eq!(mix(0, 5, 0.5, 1, 0).unwrap(), []);
        assert_eq!(mix(10, 0, 0.5, 1, 0).unwrap_err().code, "replay_empty");
        for share in [1.0, -0.1, f64::NAN] {
            assert_eq!(mix(10, 5, share, 1, 0).unwrap_err().code, "replay_share");
        }
    }
}
