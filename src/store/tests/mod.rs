//! The store on a real SQLite file, on a real PostgreSQL where there is one for tests, and with
//! real shards, crashes included.

mod backlog;
mod concurrent;
mod corpus;
mod crash;
mod databases;
mod feedback;
mod keys;
mod outage;
mod repeats;
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
#[path = "../../../tests/support/postgres.rs"]
mod schema;

use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::corpus::{
    Accepted, Collection, CollectionRef, NewChunk, NewCollection, NewDocument, QueuedDocument,
};
use super::vectors::Vectors;
use super::{Store, TenantId};
use crate::config::database::DatabaseUrl;
use schema::Schema;

pub(super) const DIMENSION: usize = 4;

/// A store with its index in a directory that goes with it, and the schema with it too.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) vectors: Vectors,
    pub(super) directory: TempDir,
    schema: Option<Schema>,
}

/// Each test runs on SQLite, and on PostgreSQL where there is a server for tests.
macro_rules! on_each_database {
    ($($room:ident: $($test:ident),+ $(,)?;)+) => {
        mod sqlite {
            $(mod $room {
                $(#[tokio::test]
                async fn $test() {
                    super::super::$room::$test(super::super::Bench::new().await).await;
                })+
            })+
        }

        mod postgres {
            $(mod $room {
                $(#[tokio::test]
                async fn $test() {
                    if let Some(bench) = super::super::Bench::on_postgres().await {
                        super::super::$room::$test(bench).await;
                    }
                })+
            })+
        }
    };
}

on_each_database! {
    backlog:
        the_backlog_follows_an_upload;
    concurrent:
        one_of_many_calls_makes_a_collection,
        no_upload_is_forgotten_by_a_deletion_beside_it,
        who_follows_a_list_misses_nothing,
        writers_of_one_document_leave_one_version;
    corpus:
        an_upload_becomes_searchable_and_its_task_follows,
        the_same_document_twice_is_no_work,
        a_replaced_document_answers_with_its_old_chunks_until_the_new_are_in,
        work_on_a_version_that_was_replaced_is_refused,
        a_failed_document_fails_its_task_with_the_reason,
        an_empty_document_needs_no_index,
        a_deleted_document_is_hidden_at_once_and_its_id_can_come_back,
        deleting_before_indexing_ends_the_task,
        a_deleted_collection_frees_its_name_and_leaves_nothing,
        tenants_with_the_same_names_never_meet,
        lists_come_in_pages,
        a_collection_keeps_its_embedder,
        hostile_names_are_refused,
        vectors_of_the_wrong_shape_are_refused_before_anything_is_written,
        a_glossary_is_replaced_as_a_whole;
    crash:
        an_accepted_document_survives_a_crash_at_every_step,
        many_crashes_in_the_middle_of_indexing_lose_nothing,
        an_index_that_was_lost_is_noticed_and_filled_again,
        a_shard_that_does_not_load_is_moved_aside_and_rebuilt,
        a_rebuild_that_fails_leaves_the_old_index,
        a_second_process_is_kept_out;
    databases:
        a_text_with_a_nul_is_no_fault,
        readers_cannot_write,
        the_average_length_of_chunks_is_kept,
        an_index_stays_with_its_database;
    keys:
        a_key_opens_its_tenant_and_scopes_and_nothing_else,
        the_secret_is_nowhere_on_disk,
        expired_and_revoked_keys_open_nothing;
    feedback:
        feedback_is_kept_with_its_request_and_replaced_by_its_like,
        feedback_comes_in_pages_and_by_what_is_wanted,
        a_user_is_forgotten_with_what_others_said_of_their_requests,
        what_is_older_than_its_time_is_purged,
        a_salt_is_drawn_once;
    outage:
        what_was_read_lately_is_known_without_the_database,
        what_was_deleted_is_not_known,
        a_deleted_collection_is_known_no_more_nor_anything_in_it,
        nothing_is_known_of_what_was_never_read;
    repeats:
        one_of_many_claims_is_granted_and_its_answer_kept,
        claims_are_released_or_lapse,
        audit_rows_are_their_tenants_and_go_with_time;
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
        Self::open(tempfile::tempdir().unwrap(), None).await
    }

    /// None where there is no server for tests.
    pub(super) async fn on_postgres() -> Option<Self> {
        let schema = Schema::create().await?;
        Some(Self::open(tempfile::tempdir().unwrap(), Some(schema)).await)
    }

    async fn open(directory: TempDir, schema: Option<Schema>) -> Self {
        let url = schema.as_ref().map(|schema| DatabaseUrl::new(schema.url()));
        let store = Store::open(directory.path(), &url.unwrap_or_default()).await.unwrap();
        let vectors = Vectors::open(directory.path()).unwrap();
        Self { store, vectors, directory, schema }
    }

    /// What another process finds after this one was killed: the files as they are now, with
    /// nothing flushed or closed, and whatever PostgreSQL has.
    pub(super) async fn crash(self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_tree(self.directory.path(), directory.path());
        Self::open(directory, self.schema).await
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

    /// The same beside other writers, who may have been faster.
    pub(super) async fn ingest_what_is_left(&self) {
        for document in self.store.queued_documents(100).await.unwrap() {
            let chunks = chunks_of(&document);
            self.store.replace_chunks(&document.tenant, &document, chunks).await.unwrap();
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
