//! The seeded draws: clusters with replacement, and signs.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Clusters, SignificanceSettings};

/// The means of the resamples, sorted, by column. Each draws as many clusters as there are, with
/// replacement (Efron 1979), and takes the means over all values of the drawn ones. Equal settings
/// and counts draw the same clusters, whatever the values.
pub fn resampled_means(clusters: &Clusters, settings: &SignificanceSettings) -> Vec<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let (n, n_columns) = (clusters.counts.len() as u64, clusters.n_columns);
    let mut means = vec![Vec::with_capacity(settings.n_resamples); n_columns];
    let mut totals = vec![0.0; n_columns];
    for _ in 0..settings.n_resamples {
        let mut n_values = 0.0;
        totals.fill(0.0);
        for _ in 0..n {
            // The high half of a product: even to within n/2³², which no interval shows.
            let idx = ((u64::from(random.next_u32()) * n) >> 32) as usize;
            n_values += clusters.counts[idx];
            let sums = &clusters.sums[idx * n_columns..][..n_columns];
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += sum;
            }
        }
        for (column, total) in means.iter_mut().zip(&totals) {
            column.push(total / n_values);
        }
    }
    for column in &mut means {
        column.sort_unstable_by(f64::total_cmp);
    }
    means
}

/// The share of the sign flips whose sum is at least as far from 0 as the sum itself: the paired
/// permutation test (Fisher 1935). All flips where they are few, else seeded ones and the sum
/// itself.
pub fn permutation_p_value(sums: &[f64], settings: &SignificanceSettings) -> f64 {
    let moving: Vec<f64> = sums.iter().copied().filter(|&sum| sum != 0.0).collect();
    let total: f64 = moving.iter().sum();
    let all: f64 = moving.iter().map(|sum| sum.abs()).sum();
    // Sums in another order differ by rounding, and ties count as far enough.
    let far = total.abs() - all * 1e-12;
    let n_all = 1_usize.checked_shl(moving.len() as u32).filter(|_| moving.len() < 63);
    match n_all {
        Some(n_all) if n_all <= settings.n_permutations => {
            let n_far = (0..n_all).filter(|&flips| flipped(&moving, flips).abs() >= far).count();
            n_far as f64 / n_all as f64
        }
        _ => {
            let mut random = ChaCha8Rng::seed_from_u64(settings.seed ^ 0x5157_u64);
            let n_far = (0..settings.n_permutations)
                .filter(|_| randomly_flipped(&moving, &mut random).abs() >= far)
                .count();
            (n_far + 1) as f64 / (settings.n_permutations + 1) as f64
        }
    }
}

/// The sum with the signs of the set bits turned.
fn flipped(sums: &[f64], flips: usize) -> f64 {
    // Turning the sign bit needs no branch, which random flips would mispredict.
    let turned = |(idx, sum): (usize, &f64)| {
        f64::from_bits(sum.to_bits() ^ ((flips as u64 >> idx & 1) << 63))
    };
    sums.iter().enumerate().map(turned).sum()
}

fn randomly_flipped(sums: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let parts = sums.chunks(32).map(|part| flipped(part, random.next_u32() as usize));
    parts.sum()
}
