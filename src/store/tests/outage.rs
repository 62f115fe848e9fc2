//! What is known while the database is gone: here its connections for reading are closed.

use super::{Bench, tenant};
use crate::error::Kind;
use crate::store::DATABASE_UNAVAILABLE;
use crate::store::access::{NewKey, Scope};
use crate::store::glossary::GlossaryTerm;

/// A collection with two documents of a chunk each, and the ids of the chunks.
async fn filled(bench: &Bench) -> Vec<i64> {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    bench.accept(&owner, "docs", &[("a", "象牙山"), ("b", "咸州古城")]).await;
    bench.ingest().await;
    bench.index().await;
    let index = bench.store.get_collection(&owner, "docs").await.unwrap().index();
    bench.vectors.ids(&owner, &index).unwrap()
}

async fn key(bench: &Bench) -> (String, String) {
    let new = NewKey { scopes: vec![Scope::Query], ..NewKey::default() };
    let created = bench.store.create_key(&tenant("acme"), new).await.unwrap();
    (created.key.id, created.secret)
}

fn term(name: &str) -> GlossaryTerm {
    GlossaryTerm { id: "t".into(), term: name.into(), aliases: Vec::new(), senses: Vec::new() }
}

pub(super) async fn what_was_read_lately_is_known_without_the_database(bench: Bench) {
    let (owner, store, ids) = (tenant("acme"), &bench.store, filled(&bench).await);
    let (_, secret) = key(&bench).await;
    store.put_glossary(&owner, "docs", vec![term("暗号")]).await.unwrap();
    let collection = store.recall_collection(&owner, "docs").await.unwrap();
    let chunks = store.recall_chunks(&owner, &collection.value, &ids).await.unwrap();
    let principal = store.verify_key(&secret).await.unwrap().unwrap();
    assert!(collection.is_fresh && chunks.is_fresh && chunks.value.len() == 2, "{chunks:?}");
    store.reader.close().await;

    let known = store.recall_collection(&owner, "docs").await.unwrap();
    assert!(!known.is_fresh && known.value.index() == collection.value.index());
    let known = store.recall_chunks(&owner, &known.value, &ids).await.unwrap();
    assert!(!known.is_fresh && known.value == chunks.value, "{known:?}");
    let glossary = store.recall_glossary(&owner, "docs").await.unwrap();
    assert_eq!((glossary.is_fresh, glossary.value), (false, vec![term("暗号")]));
    let known = store.verify_key(&secret).await.unwrap().unwrap();
    assert_eq!((known.key_id, known.tenant), (principal.key_id, owner));
    assert!(!known.is_use_worth_noting);
}

pub(super) async fn what_was_deleted_is_not_known(bench: Bench) {
    let (owner, store, ids) = (tenant("acme"), &bench.store, filled(&bench).await);
    let (id, secret) = key(&bench).await;
    store.verify_key(&secret).await.unwrap().unwrap();
    let collection = store.recall_collection(&owner, "docs").await.unwrap().value;
    store.recall_chunks(&owner, &collection, &ids).await.unwrap();
    store.delete_document(&owner, "docs", "a").await.unwrap();
    store.revoke_key(&owner, &id).await.unwrap();
    store.reader.close().await;

    let known = store.recall_chunks(&owner, &collection, &ids).await.unwrap().value;
    let documents: Vec<&str> = known.iter().map(|chunk| chunk.document_id.as_str()).collect();
    assert_eq!(documents, ["b"]);
    assert_eq!(store.verify_key(&secret).await.unwrap_err().code, DATABASE_UNAVAILABLE);
}

pub(super) async fn a_deleted_collection_is_known_no_more_nor_anything_in_it(bench: Bench) {
    let (owner, store, ids) = (tenant("acme"), &bench.store, filled(&bench).await);
    store.put_glossary(&owner, "docs", vec![term("暗号")]).await.unwrap();
    let collection = store.recall_collection(&owner, "docs").await.unwrap().value;
    store.recall_glossary(&owner, "docs").await.unwrap();
    store.recall_chunks(&owner, &collection, &ids).await.unwrap();
    store.delete_collection(&owner, "docs").await.unwrap();
    store.reader.close().await;

    let known = store.recall_chunks(&owner, &collection, &ids).await.unwrap().value;
    assert!(known.is_empty(), "{known:?}");
    let error = store.recall_collection(&owner, "docs").await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unavailable, DATABASE_UNAVAILABLE));
    assert!(store.recall_glossary(&owner, "docs").await.unwrap().value.is_empty());
}

pub(super) async fn nothing_is_known_of_what_was_never_read(bench: Bench) {
    let (owner, other, ids) = (tenant("acme"), tenant("other"), filled(&bench).await);
    let store = &bench.store;
    let (_, secret) = key(&bench).await;
    let collection = store.recall_collection(&owner, "docs").await.unwrap().value;
    store.reader.close().await;
    let chunks = store.recall_chunks(&owner, &collection, &ids).await.unwrap();
    assert!(chunks.value.is_empty() && !chunks.is_fresh, "{chunks:?}");
    assert!(store.recall_collection(&other, "docs").await.is_err(), "it is another tenant's");
    let glossary = store.recall_glossary(&owner, "docs").await.unwrap();
    assert_eq!((glossary.value, glossary.is_fresh), (Vec::new(), false));
    assert_eq!(store.verify_key(&secret).await.unwrap_err().code, DATABASE_UNAVAILABLE);
}
