//! Uploads, replacement, deletion, tasks and isolation.

use serde_json::json;

use super::{Bench, DIMENSION, chunks_of, metadata, tenant, text_document};
use crate::error::Kind;
use crate::store::corpus::{DocumentState, NewCollection, NewDocument};
use crate::store::glossary::{GlossarySense, GlossaryTerm};
use crate::store::tasks::TaskStatus;

pub(super) async fn an_upload_becomes_searchable_and_its_task_follows(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let upload = [("a", "开原有象牙山风景区\n咸州古城"), ("b", "refund policy")];
    let accepted = bench.accept(&owner, "docs", &upload).await;
    assert_eq!(accepted.document_ids, ["a", "b"]);
    let state = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!((state.status, state.done), (TaskStatus::Queued, 0));
    assert!(bench.find(&owner, "docs", "象牙山").await.is_empty());

    bench.ingest().await;
    let state = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!((state.status, state.done, state.total), (TaskStatus::Running, 0, 2));
    bench.index().await;
    let state = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!((state.status, state.done, state.errors.len()), (TaskStatus::Succeeded, 2, 0));
    assert_eq!(bench.find(&owner, "docs", "象牙山有什么").await, ["a"]);
    assert_eq!(bench.find(&owner, "docs", "refunds").await, ["b"]);

    let document = bench.store.get_document(&owner, "docs", "a").await.unwrap();
    assert_eq!((document.state, document.n_chunks), (DocumentState::Indexed, 2));
    let content = bench.store.document_content(&owner, "docs", "b").await.unwrap();
    assert_eq!(content, b"refund policy");
    let counts = bench.store.count_collection(&owner, "docs").await.unwrap();
    assert_eq!((counts.documents, counts.chunks, counts.pending_chunks), (2, 3, 0));
}

pub(super) async fn the_same_document_twice_is_no_work(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    bench.accept(&owner, "docs", &[("a", "一行")]).await;
    // While the first is still queued, the second waits for the same work.
    let waiting = bench.accept(&owner, "docs", &[("a", "一行")]).await;
    assert_eq!(bench.store.queued_documents(10).await.unwrap().len(), 1);
    bench.ingest().await;
    bench.index().await;
    let task = bench.store.get_task(&owner, &waiting.task_id).await.unwrap();
    assert_eq!(task.status, TaskStatus::Succeeded);

    let again = bench.accept(&owner, "docs", &[("a", "一行")]).await;
    assert!(bench.store.queued_documents(10).await.unwrap().is_empty());
    let task = bench.store.get_task(&owner, &again.task_id).await.unwrap();
    assert_eq!((task.status, task.done, task.total), (TaskStatus::Succeeded, 1, 1));

    // Other metadata alone makes another version.
    let mut changed = text_document("a", "一行");
    changed.metadata = metadata(json!({ "lang": "en" }));
    bench.store.accept_documents(&owner, "docs", vec![changed]).await.unwrap();
    assert_eq!(bench.store.queued_documents(10).await.unwrap().len(), 1);
}

pub(super) async fn a_replaced_document_answers_with_its_old_chunks_until_the_new_are_in(
    bench: Bench,
) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "蓝色的鲸鱼")]).await;
    bench.ingest().await;
    bench.index().await;

    bench.accept(&owner, "docs", &[("a", "红色的狐狸\n绿色的青蛙")]).await;
    assert_eq!(bench.find(&owner, "docs", "鲸鱼").await, ["a"]);
    bench.ingest().await;
    assert_eq!(bench.find(&owner, "docs", "鲸鱼").await, ["a"]);
    bench.index_once(&owner, &index, 1).await;
    assert_eq!(bench.find(&owner, "docs", "鲸鱼").await, ["a"], "one of two is in");
    assert!(bench.find(&owner, "docs", "狐狸").await.is_empty());
    bench.index_once(&owner, &index, 1).await;
    assert!(bench.find(&owner, "docs", "鲸鱼").await.is_empty());
    assert_eq!(bench.find(&owner, "docs", "青蛙").await, ["a"]);
    bench.index().await;
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 2, "the old point is gone");
}

pub(super) async fn work_on_a_version_that_was_replaced_is_refused(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let first = bench.accept(&owner, "docs", &[("a", "old")]).await;
    let stale = bench.store.queued_documents(1).await.unwrap().remove(0);
    bench.accept(&owner, "docs", &[("a", "new")]).await;
    let chunks = chunks_of(&stale);
    assert!(!bench.store.replace_chunks(&owner, &stale, chunks).await.unwrap());
    assert!(!bench.store.fail_document(&owner, &stale, "late").await.unwrap());
    let fresh = bench.store.queued_documents(1).await.unwrap().remove(0);
    assert_eq!(fresh.content, b"new");
    let overtaken = bench.store.get_task(&owner, &first.task_id).await.unwrap();
    assert_eq!(overtaken.status, TaskStatus::Succeeded);
}

pub(super) async fn a_failed_document_fails_its_task_with_the_reason(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let accepted = bench.accept(&owner, "docs", &[("bad", "x"), ("good", "象牙山")]).await;
    let bad = bench.store.queued_documents(1).await.unwrap().remove(0);
    assert!(bench.store.fail_document(&owner, &bad, "not a PDF").await.unwrap());
    bench.ingest().await;
    bench.index().await;
    let task = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!((task.status, task.done, task.total), (TaskStatus::Failed, 2, 2));
    assert_eq!(task.errors[0].document_id, "bad");
    assert_eq!(task.errors[0].message, "not a PDF");
    // The same upload again is another try.
    bench.accept(&owner, "docs", &[("bad", "x")]).await;
    assert_eq!(bench.store.queued_documents(10).await.unwrap().len(), 1);
}

pub(super) async fn an_empty_document_needs_no_index(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let accepted = bench.accept(&owner, "docs", &[("empty", "")]).await;
    bench.ingest().await;
    let task = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!(task.status, TaskStatus::Succeeded);
}

pub(super) async fn a_deleted_document_is_hidden_at_once_and_its_id_can_come_back(bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "象牙山"), ("b", "一条大河")]).await;
    bench.ingest().await;
    bench.index().await;
    bench.store.delete_document(&owner, "docs", "a").await.unwrap();
    assert!(bench.find(&owner, "docs", "象牙山").await.is_empty());
    let gone = bench.store.get_document(&owner, "docs", "a").await.unwrap_err();
    assert_eq!((gone.kind, gone.code), (Kind::NotFound, "document_not_found"));
    let twice = bench.store.delete_document(&owner, "docs", "a").await.unwrap_err();
    assert_eq!(twice.kind, Kind::NotFound);

    // Back again before the index has heard of the deletion: the old chunk stays hidden.
    bench.accept(&owner, "docs", &[("a", "另一个故事")]).await;
    bench.ingest().await;
    assert!(bench.find(&owner, "docs", "象牙山").await.is_empty());
    bench.index().await;
    assert_eq!(bench.find(&owner, "docs", "故事").await, ["a"]);
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 2);

    bench.store.delete_document(&owner, "docs", "b").await.unwrap();
    bench.index().await;
    let left = bench.store.list_documents(&owner, "docs", 10, None).await.unwrap();
    assert_eq!(left.items.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["a"]);
}

pub(super) async fn deleting_before_indexing_ends_the_task(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let accepted = bench.accept(&owner, "docs", &[("a", "x")]).await;
    bench.store.delete_document(&owner, "docs", "a").await.unwrap();
    assert!(bench.store.queued_documents(10).await.unwrap().is_empty());
    let task = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!((task.status, task.errors.len()), (TaskStatus::Failed, 1));
}

pub(super) async fn a_deleted_collection_frees_its_name_and_leaves_nothing(bench: Bench) {
    let owner = tenant("acme");
    let old = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "象牙山")]).await;
    bench.ingest().await;
    bench.index().await;
    let unfinished = bench.accept(&owner, "docs", &[("b", "x")]).await;
    bench.store.delete_collection(&owner, "docs").await.unwrap();
    let task = bench.store.get_task(&owner, &unfinished.task_id).await.unwrap();
    assert_eq!(task.status, TaskStatus::Failed);
    assert!(bench.store.queued_documents(10).await.unwrap().is_empty());

    let new = bench.collection(&owner, "docs").await.index();
    assert_ne!(old.id(), new.id());
    assert!(bench.find(&owner, "docs", "象牙山").await.is_empty());
    let directory = bench.directory.path().join("vectors").join(old.id().to_string());
    assert!(directory.exists());
    for (owner, deleted) in bench.store.deleted_collections().await.unwrap() {
        bench.vectors.drop_collection(&owner, &deleted).unwrap();
        bench.store.purge_collection(&owner, &deleted).await.unwrap();
    }
    assert!(!directory.exists());
    assert!(bench.store.deleted_collections().await.unwrap().is_empty());
    // A live collection is never purged, whoever asks.
    bench.store.purge_collection(&owner, &new).await.unwrap();
    bench.store.get_collection(&owner, "docs").await.unwrap();
}

pub(super) async fn tenants_with_the_same_names_never_meet(bench: Bench) {
    let (ours, theirs) = (tenant("acme"), tenant("globex"));
    let our_index = bench.collection(&ours, "docs").await.index();
    let their_index = bench.collection(&theirs, "docs").await.index();
    let our_task = bench.accept(&ours, "docs", &[("a", "我们的秘密计划")]).await;
    bench.accept(&theirs, "docs", &[("a", "别人的公开报告")]).await;
    bench.ingest().await;
    bench.index().await;
    assert_eq!(bench.find(&ours, "docs", "秘密计划").await, ["a"]);
    assert!(bench.find(&theirs, "docs", "秘密计划").await.is_empty());

    let our_ids = bench.vectors.ids(&ours, &our_index).unwrap();
    let read = bench.store.chunks_by_ids(&ours, "docs", &our_ids).await.unwrap();
    assert_eq!(read[0].text, "我们的秘密计划");
    let foreign = bench.store.chunks_by_ids(&theirs, "docs", &our_ids).await.unwrap();
    assert!(foreign.is_empty());
    let stolen = bench.vectors.search_sparse(&theirs, &our_index, "秘密", None, 5).unwrap_err();
    assert_eq!(stolen.kind, Kind::NotFound);
    let pending = bench.store.pending_index(&theirs, &our_index, 5).await.unwrap_err();
    assert_eq!(pending.kind, Kind::NotFound);
    let task = bench.store.get_task(&theirs, &our_task.task_id).await.unwrap_err();
    assert_eq!(task.kind, Kind::NotFound);
    // Naming our chunks to their collection changes nothing of ours.
    bench.store.purge_deleted(&theirs, &their_index, &our_ids).await.unwrap();
    bench.store.delete_document(&theirs, "docs", "a").await.unwrap();
    bench.index().await;
    assert_eq!(bench.find(&ours, "docs", "秘密计划").await, ["a"]);
}

pub(super) async fn lists_come_in_pages(bench: Bench) {
    let owner = tenant("acme");
    for name in ["c", "a", "b"] {
        bench.collection(&owner, name).await;
    }
    bench.collection(&tenant("other"), "hidden").await;
    let first = bench.store.list_collections(&owner, 2, None).await.unwrap();
    let second = bench.store.list_collections(&owner, 2, first.next.as_deref()).await.unwrap();
    let names = first.items.iter().chain(&second.items).map(|c| c.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(second.next, None);

    bench.accept(&owner, "a", &[("z", "1"), ("y", "2"), ("x", "3")]).await;
    let first = bench.store.list_documents(&owner, "a", 2, None).await.unwrap();
    bench.store.delete_document(&owner, "a", "y").await.unwrap();
    let second = bench.store.list_documents(&owner, "a", 2, first.next.as_deref()).await.unwrap();
    assert_eq!(second.items.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["x"]);
    let wrong = bench.store.list_documents(&owner, "a", 2, Some("'; DROP")).await.unwrap_err();
    assert_eq!(wrong.code, "invalid_cursor");
}

pub(super) async fn a_collection_keeps_its_embedder(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let again = |embedder: &str, dimension| NewCollection {
        description: Some("说明".to_owned()),
        embedder: embedder.to_owned(),
        dimension,
    };
    let (kept, created) =
        bench.store.put_collection(&owner, "docs", again("test@1", DIMENSION)).await.unwrap();
    assert!(!created);
    assert_eq!(kept.description.as_deref(), Some("说明"));
    for other in [again("test@2", DIMENSION), again("test@1", 8)] {
        let error = bench.store.put_collection(&owner, "docs", other).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Conflict, "collection_embedder"));
    }
}

pub(super) async fn hostile_names_are_refused(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let long = "x".repeat(65);
    for name in ["", "..", "a/b", "a b", "名字", "a\0", &long] {
        let new =
            NewCollection { description: None, embedder: "e".to_owned(), dimension: DIMENSION };
        let error = bench.store.put_collection(&owner, name, new).await.unwrap_err();
        assert_eq!(error.code, "invalid_name", "{name:?}");
        assert!(super::TenantId::new(name).is_err());
    }
    for id in ["", "a\nb", &"字".repeat(257)] {
        let documents = vec![text_document("ok", "x"), text_document(id, "x")];
        let error = bench.store.accept_documents(&owner, "docs", documents).await.unwrap_err();
        assert_eq!(error.fields[0].pointer, "/documents/1/id");
    }
    assert!(bench.store.queued_documents(10).await.unwrap().is_empty(), "all or nothing");
    let odd = bench.accept(&owner, "docs", &[("'; DROP TABLE documents; --", "字")]).await;
    bench.store.get_document(&owner, "docs", &odd.document_ids[0]).await.unwrap();
}

pub(super) async fn vectors_of_the_wrong_shape_are_refused_before_anything_is_written(
    bench: Bench,
) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let generated = NewDocument { id: None, ..text_document("", "x") };
    let accepted = bench.store.accept_documents(&owner, "docs", vec![generated]).await.unwrap();
    assert!(accepted.document_ids[0].starts_with("doc_"));
    let document = bench.store.queued_documents(1).await.unwrap().remove(0);
    for vector in [vec![1.0; 3], vec![f32::NAN; DIMENSION]] {
        let mut chunks = chunks_of(&document);
        chunks[0].vector = vector;
        let error = bench.store.replace_chunks(&owner, &document, chunks).await.unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
    }
    assert_eq!(bench.store.queued_documents(1).await.unwrap().len(), 1, "still queued");
}

pub(super) async fn a_glossary_is_replaced_as_a_whole(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    assert!(bench.store.get_glossary(&owner, "docs").await.unwrap().is_empty());
    let sense = |id: &str| GlossarySense {
        id: id.to_owned(),
        label: "苹果（水果）".to_owned(),
        definition: "蔷薇科".to_owned(),
    };
    let term = |id: &str| GlossaryTerm {
        id: id.to_owned(),
        term: "苹果".to_owned(),
        aliases: vec!["蘋果".to_owned(), "Apple".to_owned()],
        senses: vec![sense("fruit"), sense("company")],
    };
    bench.store.put_glossary(&owner, "docs", vec![term("t1"), term("t2")]).await.unwrap();
    bench.store.put_glossary(&owner, "docs", vec![term("t3")]).await.unwrap();
    assert_eq!(bench.store.get_glossary(&owner, "docs").await.unwrap(), [term("t3")]);

    let twins = bench.store.put_glossary(&owner, "docs", vec![term("t"), term("t")]).await;
    assert_eq!(twins.unwrap_err().fields[0].pointer, "/terms/1/id");
    let mut confused = term("t");
    confused.senses[1].id = "fruit".to_owned();
    let senses = bench.store.put_glossary(&owner, "docs", vec![confused]).await;
    assert_eq!(senses.unwrap_err().fields[0].pointer, "/terms/0/senses/1/id");
    let theirs = bench.store.get_glossary(&tenant("other"), "docs").await.unwrap_err();
    assert_eq!(theirs.kind, Kind::NotFound);
}
