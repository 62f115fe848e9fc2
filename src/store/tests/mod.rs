//! The store on a real SQLite file and real shards, crashes included.

mod corpus;
mod crash;
mod keys;

use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::corpus::{
    Accepted, Collection, CollectionRef, NewChunk, NewCollection, NewDocument, QueuedDocument,
};
use super::vectors::Vectors;
use super::{Store, TenantId};

pub(super) const DIMENSION: usize = 4;

/// A store with its index in a directory that goes with it.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) vectors: Vectors,
    pub(super) directory: TempDir,
}

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(super) fn metadata(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(super) fn text_document(id: &str, text: &str) -> NewDocument {
    NewDocument {
        id: Some(id.to_owned()),
        title: None,
        uri: None,
        media_type: "text/plain".to_owned(),
        content: text.as_bytes().to_vec(),
        metadata: metadata(json!({ "lang": "zh" })),
    }
}

/// One chunk for each line, with a vector that depends on the text.
pub(super) fn chunks_of(document: &QueuedDocument) -> Vec<NewChunk> {
    let text = String::from_utf8(document.content.clone()).unwrap();
    let mut start = 0;
    let mut chunks = Vec::new();
    for (ordinal, line) in (0..).zip(text.lines()) {
        let length = line.chars().count();
        let total: u32 = line.chars().map(u32::from).sum();
        let vector = (0..4).map(|axis| ((total >> (axis * 3)) & 7) as f32 + 1.0).collect();
        chunks.push(NewChunk {
            ordinal,
            text: line.to_owned(),
            span: (start, start + length),
            heading: None,
            vector,
        });
        start += length + 1;
    }
    chunks
}

impl Bench {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let vectors = Vectors::open(directory.path()).unwrap();
        Self { store, vectors, directory }
    }

    /// What another process finds after this one was killed: the files as they are now, with
    /// nothing flushed or closed.
    pub(super) async fn crash(self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_tree(self.directory.path(), directory.path());
        let store = Store::open(directory.path()).await.unwrap();
        let vectors = Vectors::open(directory.path()).unwrap();
        Self { store, vectors, directory }
    }

    pub(super) async fn collection(&self, owner: &TenantId, name: &str) -> Collection {
        let new = NewCollection {
            description: None,
            embedder: "test@1".to_owned(),
            dimension: DIMENSION,
        };
        self.store.put_collection(owner, name, new).await.unwrap().0
    }

    pub(super) async fn accept(
        &self,
        owner: &TenantId,
        collection: &str,
        documents: &[(&str, &str)],
    ) -> Accepted {
        let documents = documents.iter().map(|(id, text)| text_document(id, text)).collect();
        self.store.accept_documents(owner, collection, documents).await.unwrap()
    }

    /// Cuts everything queued into chunks.
    pub(super) async fn ingest(&self) {
        for document in self.store.queued_documents(100).await.unwrap() {
            let chunks = chunks_of(&document);
            assert!(self.store.replace_chunks(&document.tenant, &document, chunks).await.unwrap());
        }
    }

    /// Brings every index up to date.
    pub(super) async fn index(&self) {
        loop {
            let behind = self.store.collections_with_pending_index().await.unwrap();
            if behind.is_empty() {
                return;
            }
            for (owner, collection) in behind {
                self.index_once(&owner, &collection, 3).await;
            }
        }
    }

    pub(super) async fn index_once(
        &self,
        owner: &TenantId,
        collection: &CollectionRef,
        limit: usize,
    ) {
        let work = self.store.pending_index(owner, collection, limit).await.unwrap();
        self.vectors.apply(owner, collection, &work.upserts, &work.deletes).unwrap();
        let done: Vec<i64> = work.upserts.iter().map(|point| point.chunk_id).collect();
        self.store.mark_indexed(owner, collection, &done).await.unwrap();
        self.store.purge_deleted(owner, collection, &work.deletes).await.unwrap();
    }

    /// The documents that a text finds by its words, best first.
    pub(super) async fn find(&self, owner: &TenantId, collection: &str, text: &str) -> Vec<String> {
        let index = self.store.get_collection(owner, collection).await.unwrap().index();
        let hits = self.vectors.search_sparse(owner, &index, text, None, 10).unwrap();
        let ids: Vec<i64> = hits.iter().map(|hit| hit.chunk_id).collect();
        let chunks = self.store.chunks_by_ids(owner, collection, &ids).await.unwrap();
        chunks.into_iter().map(|chunk| chunk.document_id).collect()
    }
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), target).unwrap();
        }
    }
}
