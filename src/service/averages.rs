//! BM25 weighs a chunk's length against the average of its collection. That average is taken
//! when the first document comes, and one document may be unlike the rest. So once a collection
//! has grown tenfold it is taken again, and where it was wrong the index is built anew: searches
//! go on with the old one meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Services;
use crate::error::Result;
use crate::store::TenantId;
use crate::store::corpus::CollectionRef;

const GROWTH: u64 = 10;
/// Chunks that a collection counts for at least: below, building anew is not worth a thought.
const LEAST_CHUNKS: u64 = 50;
/// How far an average may be off, as a ratio: less moves no result.
const TOLERANCE: f64 = 1.25;

/// How collections have grown since their average was last looked at, by their id.
#[derive(Debug, Default)]
pub(super) struct Growth(Mutex<HashMap<i64, Grown>>);

#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    chunks_then: u64,
    added_since: u64,
}

impl Growth {
    /// Counts chunks that came in; true when the collection is to be looked at.
    fn add(&self, collection: i64, chunks: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = all.entry(collection).or_default();
        grown.added_since += chunks;
        grown.added_since >= (GROWTH - 1) * grown.chunks_then.max(LEAST_CHUNKS)
    }

    fn looked_at(&self, collection: i64, chunks: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(collection, Grown { chunks_then: chunks, added_since: 0 });
    }
}

impl Services {
    /// Takes the average length anew where a collection has outgrown it.
    pub(super) async fn keep_average(
        &self,
        tenant: &TenantId,
        collection: &CollectionRef,
        added: u64,
    ) -> Result<()> {
        if !self.growth.add(collection.id(), added) {
            return Ok(());
        }
        let (chunks, average) = self.store().measure_terms(tenant, collection).await?;
        let known = collection.average_terms();
        if is_off(known, average) {
            tracing::info!(collection = collection.id(), known, average, "average length is off");
            self.rebuild(tenant, collection).await?;
        }
        self.growth.looked_at(collection.id(), chunks);
        Ok(())
    }
}

fn is_off(known: f64, average: f64) -> bool {
    known / average > TOLERANCE || average / known > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::{Growth, is_off};

    #[test]
    fn a_collection_is_looked_at_when_it_has_grown_tenfold() {
        let growth = Growth::default();
        assert!(!growth.add(1, 449));
        assert!(!growth.add(2, 1), "each collection by itself");
        assert!(growth.add(1, 1));
        assert!(growth.add(1, 0), "until it was looked at");
        growth.looked_at(1, 1_000);
        assert!(!growth.add(1, 8_999));
        assert!(growth.add(1, 1));
    }

    #[test]
    fn small_differences_are_let_be() {
        assert!(!is_off(100.0, 120.0) && !is_off(120.0, 100.0));
        assert!(is_off(100.0, 130.0) && is_off(130.0, 100.0));
    }
}
