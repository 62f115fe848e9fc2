//! Changes to a tensor's own numbers, where a fresh tensor would cost memory for nothing.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::kernel::{add_scaled, is_plain, vectorised};

/// Elements that a thread takes at once.
const CHUNK: usize = 65_536;

/// `sum += x`, in the storage of `sum`.
pub fn add_in_place(sum: &mut Tensor, x: &Tensor) -> Result<()> {
    if is_plain(sum) && is_plain(x) && sum.is_contiguous() {
        sum.inplace_op2(&x.contiguous()?, &Add)
    } else {
        *sum = (&*sum + x)?;
        Ok(())
    }
}

/// `sum[rows[i]] += x[i]`, in the storage of `sum`. `sum`: `[n, width]`, `x`: `[rows, width]`.
pub fn add_rows_in_place(sum: &mut Tensor, rows: &[u32], x: &Tensor) -> Result<()> {
    if is_plain(sum) && is_plain(x) && sum.is_contiguous() {
        sum.inplace_op2(&x.contiguous()?, &AddRows(rows))
    } else {
        let rows = Tensor::new(rows, sum.device())?;
        *sum = sum.index_add(&rows, &x.to_dtype(sum.dtype())?.contiguous()?, 0)?;
        Ok(())
    }
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add-in-place"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        if layout.shape() != x_layout.shape() {
            bail!("{:?} cannot be added to {:?} in place", x_layout.shape(), layout.shape())
        }
        let (sum, x) = (slice_mut(sum, layout)?, slice(x, x_layout)?);
        let chunks = sum.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        chunks.for_each(|(sum, x)| {
            vectorised(
                #[inline(always)]
                || add_scaled(sum, 1.0, x),
            )
        });
        Ok(())
    }
}

struct AddRows<'a>(&'a [u32]);

impl InplaceOp2 for AddRows<'_> {
    fn name(&self) -> &'static str {
        "add-rows-in-place"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let (n_rows, width) = layout.shape().dims2()?;
        let (sum, x) = (slice_mut(sum, layout)?, slice(x, x_layout)?);
        if x.len() != self.0.len() * width || self.0.iter().any(|row| *row as usize >= n_rows) {
            bail!("{} rows of {width} cannot be added to {n_rows}: {:?}", self.0.len(), x_layout)
        }
        for (row, x) in self.0.iter().zip(x.chunks_exact(width)) {
            add_scaled(&mut sum[*row as usize * width..][..width], 1.0, x);
        }
        Ok(())
    }
}

/// The numbers of contiguous f32 on the CPU, to be changed.
pub(super) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("a change in place needs contiguous f32, got {layout:?}"),
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("a change in place needs contiguous f32, got {layout:?}"),
    }
}
