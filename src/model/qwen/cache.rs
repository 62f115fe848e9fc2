//! Keys and values of one row's earlier tokens.

use candle_core::{DType, Device, Tensor};

use super::config::QwenConfig;
use crate::error::Result;

/// Tokens by which a cache grows at least.
const GROWTH: usize = 64;

/// One row's cache: per layer two `[capacity, kv_heads, head_dim]`, filled up to `len`.
pub struct RowCache {
    layers: Vec<LayerCache>,
    len: usize,
}

struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl RowCache {
    /// An empty cache with room for `capacity` tokens; it grows when that is passed.
    pub fn new(
        config: &QwenConfig,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let shape = (capacity.max(1), config.n_kv_heads, config.head_dim);
        let layers = (0..config.n_layers)
            .map(|_| {
                Ok(LayerCache {
                    keys: Tensor::zeros(shape, dtype, device)?,
                    values: Tensor::zeros(shape, dtype, device)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers, len: 0 })
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all but the first `len` tokens: how rejected drafts are taken back.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy that holds the same tokens and has room for `capacity`.
    pub fn fork(&self, capacity: usize) -> Result<Self> {
        let layers = self
            .layers
            .iter()
            .map(|layer| {
                Ok(LayerCache {
                    keys: with_room(&layer.keys, self.len, capacity)?,
                    values: with_room(&layer.values, self.len, capacity)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers, len: self.len })
    }

    /// Writes a layer's keys and values, `[n, kv_heads, head_dim]`, behind the tokens held, and
    /// returns all of them, `[len + n, kv_heads, head_dim]`. [`Self::advance`] makes them stay.
    pub(super) fn append(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let len = self.len + keys.dim(0)?;
        let cache = &mut self.layers[layer];
        let capacity = cache.keys.dim(0)?;
        if len > capacity {
            let capacity = len.max(capacity * 2).max(GROWTH);
            cache.keys = with_room(&cache.keys, self.len, capacity)?;
            cache.values = with_room(&cache.values, self.len, capacity)?;
        }
        cache.keys.slice_set(&keys.contiguous()?, 0, self.len)?;
        cache.values.slice_set(&values.contiguous()?, 0, self.len)?;
        Ok((cache.keys.narrow(0, 0, len)?, cache.values.narrow(0, 0, len)?))
    }

    pub(super) fn advance(&mut self, n_tokens: usize) {
        self.len += n_tokens;
    }
}

/// A fresh tensor with the first `len` rows of `held` and room for `capacity`.
fn with_room(held: &Tensor, len: usize, capacity: usize) -> Result<Tensor> {
    let (_, n_kv_heads, head_dim) = held.dims3()?;
    let room = Tensor::zeros(
        (capacity.max(len).max(1), n_kv_heads, head_dim),
        held.dtype(),
        held.device(),
    )?;
    if len > 0 {
        room.slice_set(&held.narrow(0, 0, len)?.contiguous()?, 0, 0)?;
    }
    Ok(room)
}
