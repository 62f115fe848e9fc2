//! Chance that can be had again: the same seed and stream give the same order on any machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The source for one use of a seed; streams (an epoch's number, say) do not overlap.
pub(super) fn source(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut source = ChaCha8Rng::seed_from_u64(seed);
    source.set_stream(stream);
    source
}

/// A number below `n`; written out here so that no release of a library changes an order that a
/// checkpoint relies on. Its bias, n / 2⁶⁴, is nothing.
pub(super) fn below(n: usize, source: &mut ChaCha8Rng) -> usize {
    ((u128::from(source.next_u64()) * n as u128) >> 64) as usize
}

/// Fisher and Yates' shuffle, as Durstenfeld (1964) does it in place.
pub(super) fn shuffle<T>(items: &mut [T], source: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_fixed_for_ever() {
        let mut items: Vec<u32> = (0..8).collect();
        shuffle(&mut items, &mut source(42, 1));
        assert_eq!(items, [6, 3, 7, 0, 4, 2, 1, 5]);
    }

    #[test]
    fn every_order_is_about_as_frequent() {
        let mut counts = std::collections::HashMap::new();
        let mut source = source(7, 0);
        for _ in 0..6000 {
            let mut items = [0, 1, 2];
            shuffle(&mut items, &mut source);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
