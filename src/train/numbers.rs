//! The numbers of tensors, read and written where they lie: what the optimiser, the guard and the
//! penalties share.

use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Numbers that one thread handles at a time. Sums are formed chunk by chunk in this size, so they
/// do not depend on the number of threads.
pub(super) const CHUNK: usize = 16_384;

/// A tensor's numbers in host memory, row by row.
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

/// What `read` makes of the numbers; none when they do not lie in host memory in one piece, or are
/// of another type.
pub(super) fn on_host<R>(tensor: &Tensor, read: impl FnOnce(Numbers<'_>) -> R) -> Option<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) = layout.contiguous_offsets()?;
    let Storage::Cpu(storage) = &*storage else { return None };
    match storage {
        CpuStorage::F32(values) => Some(read(Numbers::F32(&values[start..end]))),
        CpuStorage::BF16(values) => Some(read(Numbers::Bf16(&values[start..end]))),
        CpuStorage::F16(values) => Some(read(Numbers::F16(&values[start..end]))),
        _ => None,
    }
}

/// All numbers as f32, row by row.
pub(super) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Puts `values` into the storage of `tensor`, so that all that share it see them. They take the
/// tensor's type.
///
/// # Errors
/// When the shapes differ or the tensor does not lie in one piece.
pub(super) fn write_in_place(tensor: &Tensor, values: &Tensor) -> Result<()> {
    if !tensor.is_contiguous() || tensor.dims() != values.dims() {
        return Err(Error::internal(format!(
            "cannot write numbers of shape {:?} into a tensor of shape {:?} and strides {:?}; \
             weights to train must lie in one piece",
            values.dims(),
            tensor.dims(),
            tensor.stride()
        )));
    }
    let values = values.to_dtype(tensor.dtype())?.contiguous()?.flatten_all()?;
    // A view of a tensor that lies in one piece shares its storage.
    Ok(tensor.flatten_all()?.slice_set(&values, 0, 0)?)
}

/// Σ over chunks of `sum_of(chunk)`, added in order: the same on any number of threads.
pub(super) fn sum_chunks<T: Sync>(values: &[T], sum_of: impl Fn(&[T]) -> f64 + Send + Sync) -> f64 {
    let sums: Vec<f64> = values.par_chunks(CHUNK).map(sum_of).collect();
    sums.iter().sum()
}

/// Σ value², in f64: squares of f32 cannot overflow there, so that the sum is finite exactly when
/// all values are.
pub(super) fn sum_squares(values: &[f32]) -> f64 {
    sum_chunks(values, |chunk| {
        let mut lanes = [0f64; 8];
        let mut eights = chunk.chunks_exact(8);
        for eight in &mut eights {
            for (lane, value) in lanes.iter_mut().zip(eight) {
                *lane += f64::from(*value) * f64::from(*value);
            }
        }
        let rest: f64 = eights.remainder().iter().map(|value| f64::from(*value).powi(2)).sum();
        lanes.iter().sum::<f64>() + rest
    })
}

/// One number each of several one-element f32 tensors, in one read.
pub(super) fn read_scalars(scalars: &[Tensor]) -> Result<Vec<f64>> {
    if scalars.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<f32> = Tensor::stack(scalars, 0)?.flatten_all()?.to_vec1()?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// A sum of products over many tensors: in f64 where they lie in host memory; in f32 elsewhere,
/// read all at once at the end.
#[derive(Default)]
pub(super) struct Sum {
    on_host: f64,
    elsewhere: Vec<Tensor>,
}

impl Sum {
    /// Adds Σ `left`·`right`; both are f32 of one shape.
    pub(super) fn add_dot(&mut self, left: &Tensor, right: &Tensor) -> Result<()> {
        match dot_on_host(left, right) {
            Some(sum) => self.on_host += sum,
            None => self.elsewhere.push((left * right)?.sum_all()?),
        }
        Ok(())
    }

    pub(super) fn value(self) -> Result<f64> {
        Ok(self.on_host + read_scalars(&self.elsewhere)?.iter().sum::<f64>())
    }
}

fn dot_on_host(left: &Tensor, right: &Tensor) -> Option<f64> {
    let dot = |left: &[f32], right: &[f32]| {
        let chunks = left.par_chunks(CHUNK).zip(right.par_chunks(CHUNK));
        let product = |(left, right): (&f32, &f32)| f64::from(*left) * f64::from(*right);
        let sums: Vec<f64> =
            chunks.map(|(left, right)| left.iter().zip(right).map(product).sum()).collect();
        sums.iter().sum()
    };
    let with_left = |numbers: Numbers<'_>| match numbers {
        Numbers::F32(left) => on_host(right, |numbers| match numbers {
            Numbers::F32(right) => Some(dot(left, right)),
            _ => None,
        }),
        _ => None,
    };
    on_host(left, with_left).flatten().flatten()
}
