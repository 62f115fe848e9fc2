//! Keys and values of one row's earlier tokens.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use super::config::QwenConfig;
use crate::error::Result;

/// Tokens by which a cache grows at least.
const GROWTH: usize = 64;

/// One row's cache: per layer two `[capacity, kv_heads, head_dim]`. What it shares with other rows
/// comes before its own.
pub struct RowCache {
    shared: Option<SharedCache>,
    /// Tokens of the shared part that count.
    n_shared: usize,
    /// Filled up to `len - n_shared`.
    layers: Vec<LayerCache>,
    len: usize,
}

/// The start of many rows, computed once and changed no more.
#[derive(Clone)]
pub struct SharedCache {
    layers: Arc<Vec<LayerCache>>,
    len: usize,
}

struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

impl LayerCache {
    fn zeros(shape: (usize, usize, usize), dtype: DType, device: &Device) -> Result<Self> {
        let zeros = || Tensor::zeros(shape, dtype, device);
        Ok(Self { keys: zeros()?, values: zeros()? })
    }

    /// A fresh one with the first `len` tokens and room for `capacity`.
    fn with_room(&self, len: usize, capacity: usize) -> Result<Self> {
        let keys = with_room(&self.keys, len, capacity)?;
        Ok(Self { keys, values: with_room(&self.values, len, capacity)? })
    }

    fn first(&self, len: usize) -> Result<(Tensor, Tensor)> {
        Ok((self.keys.narrow(0, 0, len)?, self.values.narrow(0, 0, len)?))
    }
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
            .map(|_| LayerCache::zeros(shape, dtype, device))
            .collect::<Result<_>>()?;
        Ok(Self { shared: None, n_shared: 0, layers, len: 0 })
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
        self.n_shared = self.n_shared.min(len);
    }

    /// Its tokens as the start of other rows.
    pub fn into_shared(self) -> Result<SharedCache> {
        let n_own = self.len - self.n_shared;
        let layers = match &self.shared {
            None => self.layers,
            Some(shared) => {
                let layers = shared.layers.iter().zip(&self.layers).map(|(shared, own)| {
                    let both = shared.with_room(self.n_shared, self.len)?;
                    put(&both.keys, &own.keys.narrow(0, 0, n_own)?, self.n_shared)?;
                    put(&both.values, &own.values.narrow(0, 0, n_own)?, self.n_shared)?;
                    Ok(both)
                });
                layers.collect::<Result<_>>()?
            }
        };
        Ok(SharedCache { layers: Arc::new(layers), len: self.len })
    }

    /// Writes a layer's keys and values, `[n, kv_heads, head_dim]`, behind the tokens held, and
    /// returns those of all tokens, the earliest first, in pieces of `[len, kv_heads, head_dim]`.
    /// [`Self::advance`] makes them stay.
    pub(super) fn append(
        &mut self,
        layer: usize,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Vec<(Tensor, Tensor)>> {
        let n_held = self.len - self.n_shared;
        let n_own = n_held + keys.dim(0)?;
        let cache = &mut self.layers[layer];
        let capacity = cache.keys.dim(0)?;
        if n_own > capacity {
            *cache = cache.with_room(n_held, n_own.max(capacity * 2).max(GROWTH))?;
        }
        put(&cache.keys, keys, n_held)?;
        put(&cache.values, values, n_held)?;
        let mut parts = Vec::with_capacity(2);
        if let Some(shared) = self.shared.as_ref().filter(|_| self.n_shared > 0) {
            parts.push(shared.layers[layer].first(self.n_shared)?);
        }
        parts.push(cache.first(n_own)?);
        Ok(parts)
    }

    pub(super) fn advance(&mut self, n_tokens: usize) {
        self.len += n_tokens;
    }
}

impl SharedCache {
    /// A row that goes on from here, with room for `n_more` tokens. On the CPU it reads the shared
    /// tokens where they are; elsewhere, where attention wants them in one piece, it copies them.
    pub fn row(&self, n_more: usize) -> Result<RowCache> {
        let stays = self.len > 0 && self.layers.iter().all(|layer| layer.keys.device().is_cpu());
        let layers = self.layers.iter().map(|layer| match stays {
            true => layer.with_room(0, n_more),
            false => layer.with_room(self.len, self.len + n_more),
        });
        let layers = layers.collect::<Result<_>>()?;
        let shared = stays.then(|| self.clone());
        Ok(RowCache { shared, n_shared: if stays { self.len } else { 0 }, layers, len: self.len })
    }
}

/// A fresh tensor with the first `len` rows of `held` and room for `capacity`.
fn with_room(held: &Tensor, len: usize, capacity: usize) -> Result<Tensor> {
    let (_, n_kv_heads, head_dim) = held.dims3()?;
    let shape = (capacity.max(len).max(1), n_kv_heads, head_dim);
    let room = Tensor::zeros(shape, held.dtype(), held.device())?;
    if len > 0 {
        put(&room, &held.narrow(0, 0, len)?, 0)?;
    }
    Ok(room)
}

fn put(to: &Tensor, rows: &Tensor, start: usize) -> Result<()> {
    Ok(to.slice_set(&rows.contiguous()?, 0, start)?)
}
