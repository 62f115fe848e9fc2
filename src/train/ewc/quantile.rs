//! An exact quantile of very many numbers without sorting or copying them: floats that are not
//! negative are in the order of their bits, so two rounds of counting, by the upper and then by
//! the lower sixteen bits, find it.

use candle_core::Tensor;

use crate::error::Result;
use crate::train::numbers::{Numbers, on_host, to_f32};

const N_BUCKETS: usize = 1 << 16;

/// The smallest of the numbers of all tensors that is not below the share `q` of them. They are
/// f32, finite and not negative.
pub(super) fn quantile(tensors: &[&Tensor], q: f64) -> Result<f32> {
    let n: usize = tensors.iter().map(|tensor| tensor.elem_count()).sum();
    let rank = ((n as f64 * q).ceil() as usize).clamp(1, n.max(1));
    let (upper, n_below) = bucket(&count(tensors, |bits| Some(bits >> 16))?, rank);
    let lower_of = |bits: u32| (bits >> 16 == upper).then_some(bits & 0xFFFF);
    let (lower, _) = bucket(&count(tensors, lower_of)?, rank - n_below);
    Ok(f32::from_bits(upper << 16 | lower))
}

/// The bucket that holds the number with this rank, counted from 1, and how many come before it.
fn bucket(counts: &[usize], rank: usize) -> (u32, usize) {
    let mut n_below = 0;
    for (bucket, count) in counts.iter().enumerate() {
        if n_below + count >= rank {
            return (bucket as u32, n_below);
        }
        n_below += count;
    }
    (0, 0)
}

fn count(tensors: &[&Tensor], bucket_of: impl Fn(u32) -> Option<u32>) -> Result<Vec<usize>> {
    let mut counts = vec![0; N_BUCKETS];
    let mut add = |values: &[f32]| {
        // `+ 0.0` turns -0, whose bits are the largest, into 0.
        for bucket in values.iter().filter_map(|value| bucket_of((value + 0.0).to_bits())) {
            counts[bucket as usize] += 1;
        }
    };
    for tensor in tensors {
        let was_read = on_host(tensor, |numbers| match numbers {
            Numbers::F32(values) => {
                add(values);
                true
            }
            _ => false,
        });
        if was_read != Some(true) {
            add(&to_f32(tensor)?);
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn it_is_what_sorting_finds() {
        let mut state = 9u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 65_536.0
        };
        let values: Vec<f32> = (0..3001).map(|_| next().powi(3)).collect();
        let first = Tensor::from_slice(&values[..1000], (10, 100), &Device::Cpu).unwrap();
        let second = Tensor::from_slice(&values[1000..], 2001, &Device::Cpu).unwrap();
        let mut sorted = values;
        sorted.sort_by(f32::total_cmp);
        for q in [0.0f64, 0.25, 0.5, 0.9, 0.999, 1.0] {
            let rank = (3001.0 * q).ceil().max(1.0) as usize;
            let found = quantile(&[&first.t().unwrap(), &second], q).unwrap();
            assert_eq!(found, sorted[rank - 1], "{q}");
        }
    }

    #[test]
    fn zeros_of_either_sign_are_the_least() {
        let values = Tensor::from_slice(&[-0.0f32, 0.0, 1.0], 3, &Device::Cpu).unwrap();
        assert_eq!(quantile(&[&values], 0.5).unwrap(), 0.0);
        assert_eq!(quantile(&[&values], 0.9).unwrap(), 1.0);
    }
}
