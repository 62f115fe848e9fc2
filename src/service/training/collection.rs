//! The collection that rewrites are searched in while a model learns by reward: the same search
//! that answers questions, called from a thread that trains.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::error::{Kind, Result};
use crate::retrieve::{Probe, Retriever, Scope};
use crate::service::Services;
use crate::store::corpus::ChunkRow;
use crate::store::{Store, TenantId};

/// Searches whose results are remembered.
const MAX_REMEMBERED: usize = 50_000;
/// Chunks that are kept with their texts.
const MAX_CHUNKS: usize = 50_000;
/// Documents asked for at a time.
const PAGE_ROWS: usize = 1_000;

/// A collection of documents, open for searching.
#[derive(Clone)]
pub struct SearchedCollection {
    retriever: Retriever,
    scope: Scope,
    runtime: Handle,
    /// What the raw query counts beside a rewrite.
    raw_weight: f32,
    /// Of the documents by id and content.
    contents_sha256: String,
}

impl SearchedCollection {
    /// Opens a tenant's collection. To be called on the runtime that serves it.
    ///
    /// # Errors
    /// `collection_not_found`.
    pub async fn open(services: &Arc<Services>, tenant: &TenantId, name: &str) -> Result<Self> {
        let collection = services.store().get_collection(tenant, name).await?;
        let contents_sha256 = contents(services.store(), tenant, name).await?;
        let scope = Scope { tenant: tenant.clone(), collection, filter: None };
        let retriever = services.retriever().clone();
        let raw_weight = services.config().retrieval.raw_weight;
        Ok(Self { retriever, scope, runtime: Handle::current(), raw_weight, contents_sha256 })
    }

    /// Whether the collection has a document.
    ///
    /// # Errors
    /// Failures of the database.
    pub fn has(&self, id: &str) -> Result<bool> {
        let (tenant, name) = (&self.scope.tenant, &self.scope.collection.name);
        let found = self.retriever.store.get_document(tenant, name, id);
        match self.runtime.block_on(found) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What identifies the collection's contents and how it is searched.
    pub fn fingerprint(&self) -> String {
        let Scope { tenant, collection, .. } = &self.scope;
        let weights = self.retriever.weights;
        format!(
            "{} {} {} {} {weights:?} {}",
            tenant.as_str(),
            collection.name,
            self.contents_sha256,
            self.retriever.encoder.id(),
            self.raw_weight
        )
    }
}

/// A hash of a collection's documents by id and content.
async fn contents(store: &Store, tenant: &TenantId, name: &str) -> Result<String> {
    let mut hash = Sha256::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list_documents(tenant, name, PAGE_ROWS, after.as_deref()).await?;
        for document in &page.items {
            hash.update(format!("{} {}\n", document.id, document.content_hash));
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}

impl fmt::Debug for SearchedCollection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SearchedCollection({})", self.scope.collection.name)
    }
}

/// Makes many searches, each once.
pub struct Searches {
    collection: SearchedCollection,
    depth: usize,
    chunks: HashMap<i64, ChunkRow>,
    found: HashMap<String, Arc<[String]>>,
}

impl Searches {
    /// Searches that look `depth` results deep.
    pub fn new(collection: SearchedCollection, depth: usize) -> Self {
        Self { collection, depth, chunks: HashMap::new(), found: HashMap::new() }
    }

    /// What the raw query counts beside a rewrite that people are served.
    pub fn raw_weight(&self) -> f32 {
        self.collection.raw_weight
    }

    /// The ids of the documents that each search finds, best first.
    ///
    /// # Errors
    /// Those of the search.
    pub fn documents(&mut self, searches: &[&[Probe]]) -> Result<Vec<Arc<[String]>>> {
        let keys: Vec<String> = searches.iter().map(|probes| key(probes)).collect();
        let wanted: BTreeMap<&str, &[Probe]> =
            keys.iter().map(String::as_str).zip(searches.iter().copied()).collect();
        let unknown = |found: &HashMap<String, _>| -> BTreeMap<&str, &[Probe]> {
            let wanted = wanted.iter().filter(|(key, _)| !found.contains_key(**key));
            wanted.map(|(key, probes)| (*key, *probes)).collect()
        };
        if self.found.len() + unknown(&self.found).len() > MAX_REMEMBERED {
            self.found.clear();
        }
        self.look_up(&unknown(&self.found))?;
        Ok(keys.iter().map(|key| self.found.get(key).cloned().unwrap_or_default()).collect())
    }

    fn look_up(&mut self, searches: &BTreeMap<&str, &[Probe]>) -> Result<()> {
        if searches.is_empty() {
            return Ok(());
        }
        if self.chunks.len() > MAX_CHUNKS {
            self.chunks.clear();
        }
        let SearchedCollection { retriever, scope, runtime, .. } = &self.collection;
        let probes: Vec<Vec<Probe>> = searches.values().map(|probes| probes.to_vec()).collect();
        let searched = retriever.documents(scope, &probes, self.depth, &mut self.chunks);
        let found = runtime.block_on(searched)?;
        let found = found.into_iter().map(|documents| -> Arc<[String]> { documents.into() });
        self.found.extend(searches.keys().map(|key| (*key).to_owned()).zip(found));
        Ok(())
    }
}

/// A search under which its results are remembered.
fn key(probes: &[Probe]) -> String {
    let part = |probe: &Probe| format!("{} {} {}\n", probe.weight, probe.by_meaning, probe.text);
    probes.iter().map(part).collect()
}
