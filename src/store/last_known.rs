//! What the database said lately, for searches while it is gone.
//!
//! Keys, collections, glossaries and the chunks that searches have shown are remembered as they
//! are read, within bounds of memory and time, and looked at only once the database has not
//! answered. From then on nothing of this file asks it any more: one task of its own looks
//! whether it is back. What this process deletes or revokes is forgotten at once; what another
//! one does just before an outage is not known here, which is why keys are remembered for
//! minutes only.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;

use super::access::Principal;
use super::corpus::{ChunkRow, Collection};
use super::database::{DATABASE_UNAVAILABLE, unavailable};
use super::glossary::GlossaryTerm;
use super::sql::Pool;
use super::{Store, TenantId, now_ms};
use crate::error::{Error, Kind, Result};

/// For a read of a request from a server that may have gone without a word. It is longer than the
/// wait for a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After its last use a key is still good for as long while the database is gone.
const KEYS_FOR: Duration = Duration::from_secs(5 * 60);
const CORPUS_FOR: Duration = Duration::from_secs(60 * 60);
const MAX_KEYS: u64 = 10_000;
const MAX_COLLECTIONS: u64 = 10_000;
const MAX_GLOSSARY_BYTES: u64 = 16 * 1024 * 1024;
const MAX_CHUNK_BYTES: u64 = 64 * 1024 * 1024;
/// Roughly what an entry takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// The SHA-256 of a key's secret.
pub(super) type SecretHash = [u8; 32];
/// Internal ids of the collection and the chunk.
type ChunkKey = (i64, i64);

/// A value of the database, and whether it says so now.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled<T> {
    pub value: T,
    /// False: the database is gone, and this is what it said lately.
    pub is_fresh: bool,
}

/// A key that was good when it was last looked up.
#[derive(Debug, Clone)]
pub(super) struct KnownKey {
    pub principal: Principal,
    /// Milliseconds since the Unix epoch.
    pub expires_at: Option<i64>,
}

#[derive(Debug)]
pub(super) struct LastKnown {
    keys: Cache<SecretHash, KnownKey>,
    collections: Cache<(TenantId, String), Collection>,
    /// By the internal id of the collection.
    glossaries: Cache<i64, Arc<Vec<GlossaryTerm>>>,
    chunks: Cache<ChunkKey, Arc<ChunkRow>>,
    is_gone: AtomicBool,
}

impl Default for LastKnown {
    fn default() -> Self {
        let weigh = |n_bytes: usize| u32::try_from(n_bytes).unwrap_or(u32::MAX);
        let glossary_bytes = move |_: &i64, terms: &Arc<Vec<GlossaryTerm>>| {
            weigh(terms.iter().map(term_bytes).sum::<usize>() + ENTRY_BYTES)
        };
        let chunk_bytes = move |_: &ChunkKey, chunk: &Arc<ChunkRow>| weigh(chunk_bytes(chunk));
        Self {
            keys: Cache::builder()
                .max_capacity(MAX_KEYS)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(KEYS_FOR)
                .support_invalidation_closures()
                .build(),
            collections: Cache::builder()
                .max_capacity(MAX_COLLECTIONS)
                .time_to_live(CORPUS_FOR)
                .build(),
            glossaries: Cache::builder()
                .max_capacity(MAX_GLOSSARY_BYTES)
                .weigher(glossary_bytes)
                .time_to_live(CORPUS_FOR)
                .build(),
            chunks: Cache::builder()
                .max_capacity(MAX_CHUNK_BYTES)
                .weigher(chunk_bytes)
                .time_to_live(CORPUS_FOR)
                .support_invalidation_closures()
                .build(),
            is_gone: AtomicBool::new(false),
        }
    }
}

impl LastKnown {
    /// Remembers a key that was looked up, or forgets one that is none any more.
    pub fn note_key(&self, hash: SecretHash, key: Option<&KnownKey>) {
        match key {
            Some(key) => self.keys.insert(hash, key.clone()),
            None => self.keys.invalidate(&hash),
        }
    }

    /// A key that was good lately and has not expired since.
    pub fn key(&self, hash: &SecretHash) -> Option<Principal> {
        let known = self.keys.get(hash)?;
        let is_good = known.expires_at.is_none_or(|expiry| expiry > now_ms());
        // There is no database to note the use in.
        is_good.then_some(Principal { is_use_worth_noting: false, ..known.principal })
    }

    pub fn forget_key(&self, key_id: &str) {
        let key_id = key_id.to_owned();
        log_refusal(self.keys.invalidate_entries_if(move |_, key| key.principal.key_id == key_id));
    }

    pub fn forget_collection(&self, tenant: &TenantId, name: &str) {
        let key = (tenant.clone(), name.to_owned());
        if let Some(collection) = self.collections.get(&key) {
            let id = collection.index().id();
            self.glossaries.invalidate(&id);
            log_refusal(self.chunks.invalidate_entries_if(move |(of, _), _| *of == id));
        }
        self.collections.invalidate(&key);
    }

    pub fn note_glossary(&self, collection_id: i64, terms: Vec<GlossaryTerm>) {
        self.glossaries.insert(collection_id, Arc::new(terms));
    }

    pub fn forget_document(&self, collection_id: i64, document_id: &str) {
        let document_id = document_id.to_owned();
        log_refusal(self.chunks.invalidate_entries_if(move |(collection, _), chunk| {
            *collection == collection_id && chunk.document_id == document_id
        }));
    }

    /// The content of a chunk never changes, so one that is known is not written again.
    fn note_chunks(&self, collection_id: i64, chunks: &[ChunkRow]) {
        for chunk in chunks {
            let key = (collection_id, chunk.id);
            if !self.chunks.contains_key(&key) {
                self.chunks.insert(key, Arc::new(chunk.clone()));
            }
        }
    }

    fn chunks(&self, collection_id: i64, ids: &[i64]) -> Vec<ChunkRow> {
        let known = ids.iter().filter_map(|id| self.chunks.get(&(collection_id, *id)));
        known.map(|chunk| ChunkRow::clone(&chunk)).collect()
    }

    /// The database has answered.
    pub fn note_answer(&self) {
        if self.is_gone.swap(false, Ordering::AcqRel) {
            tracing::info!("the database answers again");
        }
    }
}

impl Store {
    /// One collection as it is, or as it was known lately.
    ///
    /// # Errors
    /// `collection_not_found`, and `database_unavailable` where it is not known.
    pub async fn recall_collection(
        &self,
        tenant: &TenantId,
        name: &str,
    ) -> Result<Recalled<Collection>> {
        let key = (tenant.clone(), name.to_owned());
        match self.ask(self.get_collection(tenant, name)).await {
            Ok(collection) => {
                self.last_known.collections.insert(key, collection.clone());
                Ok(Recalled { value: collection, is_fresh: true })
            }
            Err(error) if is_outage(&error) => {
                let known = self.last_known.collections.get(&key).ok_or(error)?;
                Ok(Recalled { value: known, is_fresh: false })
            }
            Err(error) => {
                if error.kind == Kind::NotFound {
                    // Somebody else may have deleted it.
                    self.last_known.forget_collection(tenant, name);
                }
                Err(error)
            }
        }
    }

    /// The terms of a collection's glossary; none of them where the database is gone and they are
    /// not known.
    ///
    /// # Errors
    /// `collection_not_found`.
    pub async fn recall_glossary(
        &self,
        tenant: &TenantId,
        collection: &str,
    ) -> Result<Recalled<Vec<GlossaryTerm>>> {
        let asked = async {
            let collection = self.recall_collection(tenant, collection).await?.value.index();
            let terms = self.ask(self.glossary_of(&collection)).await;
            Ok::<_, Error>((collection.id(), terms))
        };
        match asked.await {
            Ok((id, Ok(terms))) => {
                self.last_known.note_glossary(id, terms.clone());
                Ok(Recalled { value: terms, is_fresh: true })
            }
            Ok((id, Err(error))) if is_outage(&error) => {
                let known = self.last_known.glossaries.get(&id);
                let value = known.map(|terms| terms.to_vec()).unwrap_or_default();
                Ok(Recalled { value, is_fresh: false })
            }
            Err(error) if is_outage(&error) => Ok(Recalled { value: Vec::new(), is_fresh: false }),
            Ok((_, Err(error))) | Err(error) => Err(error),
        }
    }

    /// [`Self::chunks_by_ids`], or those of them that are known where the database is gone.
    pub async fn recall_chunks(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        ids: &[i64],
    ) -> Result<Recalled<Vec<ChunkRow>>> {
        let collection_id = collection.index().id();
        match self.ask(self.chunks_by_ids(tenant, &collection.name, ids)).await {
            Ok(chunks) => {
                self.last_known.note_chunks(collection_id, &chunks);
                // What the database leaves out is deleted, by whomever.
                for id in ids.iter().filter(|id| !chunks.iter().any(|chunk| chunk.id == **id)) {
                    self.last_known.chunks.invalidate(&(collection_id, *id));
                }
                Ok(Recalled { value: chunks, is_fresh: true })
            }
            Err(error) if is_outage(&error) => {
                let value = self.last_known.chunks(collection_id, ids);
                Ok(Recalled { value, is_fresh: false })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits for an answer of the database, or for none at all while it is known to be gone.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        if self.last_known.is_gone.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        let answer = match self.reader {
            // A file is there, however slow the machine is.
            Pool::Sqlite(_) => question.await,
            Pool::Postgres(_) => {
                let answer = tokio::time::timeout(ANSWER_TIMEOUT, question).await;
                answer.unwrap_or_else(|_| Err(unavailable()))
            }
        };
        if answer.as_ref().is_err_and(is_outage) {
            self.note_outage();
        }
        answer
    }

    /// From now on requests do not wait for the database, until it answers.
    fn note_outage(&self) {
        if self.last_known.is_gone.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!("the database does not answer; searching with what is known of it");
        let store = self.clone();
        tokio::spawn(async move {
            while store.last_known.is_gone.load(Ordering::Acquire) && !store.reader.is_closed() {
                tokio::time::sleep(LOOK_EVERY).await;
                // An answer is noted there.
                let _ = store.check().await;
            }
        });
    }
}

/// Whether an error says that the database is gone.
pub(super) fn is_outage(error: &Error) -> bool {
    error.code == DATABASE_UNAVAILABLE
}

/// Caches refuse to forget only when they were not built for it.
fn log_refusal<T>(forgotten: std::result::Result<T, moka::PredicateError>) {
    if let Err(error) = forgotten {
        tracing::error!(error = %error, "what was deleted could not be forgotten");
    }
}

fn term_bytes(term: &GlossaryTerm) -> usize {
    let senses = term.senses.iter();
    let senses = senses.map(|s| s.id.len() + s.label.len() + s.definition.len() + ENTRY_BYTES);
    let aliases = term.aliases.iter().map(|alias| alias.len() + size_of::<String>());
    let own = term.id.len() + term.term.len() + ENTRY_BYTES;
    own + senses.sum::<usize>() + aliases.sum::<usize>()
}

fn chunk_bytes(chunk: &ChunkRow) -> usize {
    let texts = [&chunk.heading, &chunk.title, &chunk.uri];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    let metadata = chunk.metadata.iter().map(|(key, value)| key.len() + value_bytes(value));
    chunk.text.len() + chunk.document_id.len() + texts + metadata.sum::<usize>() + ENTRY_BYTES
}

fn value_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(value_bytes).sum(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| key.len() + value_bytes(value)).sum()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}
