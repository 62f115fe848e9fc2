//! Whether weights are finite, as is asked before each checkpoint.

use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::error::Result;
use crate::model::qwen::Parameter;
use crate::train::numbers::{CHUNK, Numbers, on_host, read_scalars};

/// The first parameter, in the order given, that holds a number that is not finite.
///
/// # Errors
/// When a weight cannot be read.
pub fn all_finite(parameters: &[Parameter]) -> Result<Option<String>> {
    let mut is_bad = vec![false; parameters.len()];
    let mut elsewhere = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        match on_host(&parameter.tensor, is_finite) {
            Some(finite) => is_bad[index] = !finite,
            None => elsewhere.push((index, zero_if_finite(&parameter.tensor)?)),
        }
    }
    let (indices, scalars): (Vec<usize>, Vec<Tensor>) = elsewhere.into_iter().unzip();
    for (index, sum) in indices.into_iter().zip(read_scalars(&scalars)?) {
        is_bad[index] = sum != 0.0;
    }
    let first = is_bad.iter().position(|is_bad| *is_bad);
    Ok(first.map(|index| parameters[index].name.clone()))
}

fn is_finite(numbers: Numbers<'_>) -> bool {
    match numbers {
        Numbers::F32(values) => all(values, |value| value.is_finite()),
        Numbers::Bf16(values) => all(values, |value| value.is_finite()),
        Numbers::F16(values) => all(values, |value| value.is_finite()),
    }
}

/// Whole chunks are looked through without a branch, which is faster than to stop at the first.
fn all<T: Sync>(values: &[T], test: impl Fn(&T) -> bool + Sync + Send) -> bool {
    values.par_chunks(CHUNK).all(|chunk| chunk.iter().fold(true, |all, value| all & test(value)))
}

/// Σ 0·x: 0, or NaN when one number is not finite.
fn zero_if_finite(tensor: &Tensor) -> Result<Tensor> {
    Ok((tensor.to_dtype(DType::F32)? * 0.0)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use half::f16;

    use super::*;

    fn parameter(name: &str, tensor: Tensor) -> Parameter {
        Parameter { name: name.to_owned(), tensor, decays: true }
    }

    #[test]
    fn the_first_bad_weight_is_named_in_every_type_and_layout() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                let mut values = vec![0.5f32; 2 * CHUNK];
                let good = Tensor::from_slice(&values, (2, CHUNK), &Device::Cpu).unwrap();
                values[2 * CHUNK - 1] = bad;
                let bad = Tensor::from_slice(&values, (2, CHUNK), &Device::Cpu).unwrap();
                let (good, bad) = (good.to_dtype(dtype).unwrap(), bad.to_dtype(dtype).unwrap());
                let named = [parameter("a", good.clone()), parameter("b", bad.clone())];
                assert_eq!(all_finite(&named).unwrap().as_deref(), Some("b"));
                assert_eq!(all_finite(&named[..1]).unwrap(), None);
                // Not in one piece: the way of other devices.
                let named = [parameter("c", good.t().unwrap()), parameter("d", bad.t().unwrap())];
                assert_eq!(all_finite(&named).unwrap().as_deref(), Some("d"));
            }
        }
        assert!(!f16::from_f32(1e5).is_finite());
    }
}
