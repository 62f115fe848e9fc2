//! Retrieval that goes on without the database: with the collection and the passages as they were
//! known lately, and nowhere at all where they were not.

use super::Services;
use super::question::Search;
use crate::error::{Error, Result};
use crate::retrieve::{Lists, Probe, Ranked, Scope};
use crate::store::vectors::Filter;
use crate::store::{DATABASE_UNAVAILABLE, Recalled, TenantId};

impl Services {
    /// Where to search. `None`: the database is gone, and the collection is not known.
    ///
    /// # Errors
    /// `collection_missing`, `collection_not_found`, `invalid_filter`.
    pub(super) async fn scope(
        &self,
        tenant: &TenantId,
        search: &Search,
    ) -> Result<Recalled<Option<Scope>>> {
        let Some(name) = search.question.collection.as_deref() else {
            return Err(Error::invalid("collection_missing", "a search needs a `collection`")
                .with_field("/collection", "name the collection to search in"));
        };
        let collection = match self.store().recall_collection(tenant, name).await {
            Ok(recalled) => Some(recalled),
            Err(error) if error.code == DATABASE_UNAVAILABLE => None,
            Err(error) => return Err(error),
        };
        let filter = search.filter.as_ref().map(Filter::parse).transpose()?;
        let is_fresh = collection.as_ref().is_some_and(|recalled| recalled.is_fresh);
        let value = collection.map(|recalled| Scope {
            tenant: tenant.clone(),
            collection: recalled.value,
            filter,
        });
        Ok(Recalled { value, is_fresh })
    }

    /// Searches with every probe; nowhere, nothing is found.
    pub(super) async fn probe(&self, scope: Option<&Scope>, probes: &[Probe]) -> Result<Lists> {
        match scope {
            Some(scope) => self.retriever.probe(scope, probes).await,
            None => Ok(Lists::default()),
        }
    }

    /// The best passages of the lists, and a code among theirs when the database is gone: then
    /// only those are found whose text is known.
    pub(super) async fn rank(
        &self,
        scope: Option<&Scope>,
        lists: &mut Lists,
        top_k: usize,
    ) -> Result<Vec<Ranked>> {
        let ranked = match scope {
            Some(scope) => self.retriever.rank(scope, &lists.lists, top_k).await?,
            None => Recalled { value: Vec::new(), is_fresh: false },
        };
        if !ranked.is_fresh {
            lists.degraded.push(DATABASE_UNAVAILABLE);
        }
        Ok(ranked.value)
    }
}
