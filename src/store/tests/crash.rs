//! A process that dies at each step, and an index that is lost, torn or taken.

use super::{Bench, tenant};
use crate::error::{Kind, Result};
use crate::store::corpus::CollectionRef;
use crate::store::tasks::TaskStatus;
use crate::store::vectors::{Point, Vectors};
use crate::store::{Recovery, TenantId};

pub(super) async fn an_accepted_document_survives_a_crash_at_every_step(mut bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    let accepted = bench.accept(&owner, "docs", &[("a", "象牙山\n古城")]).await;
    bench = bench.crash().await;
    assert_eq!(bench.store.recover().await.unwrap().queued_documents, 1);
    bench.ingest().await;
    bench = bench.crash().await;
    assert_eq!(bench.store.recover().await.unwrap().pending_upserts, 2);

    // Applied and flushed, but the process dies before it says so.
    let work = bench.store.pending_index(&owner, &index, 10).await.unwrap();
    bench.vectors.apply(&owner, &index, &work.upserts, &work.deletes).unwrap();
    bench = bench.crash().await;
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 2, "flushed means on disk");
    bench.index().await;
    bench = bench.crash().await;
    let nothing = Recovery {
        queued_documents: 0,
        pending_upserts: 0,
        pending_deletes: 0,
        deleting_collections: 0,
    };
    assert_eq!(bench.store.recover().await.unwrap(), nothing);
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 2);
    assert_eq!(bench.find(&owner, "docs", "象牙山").await, ["a"]);
    let task = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
    assert_eq!(task.status, TaskStatus::Succeeded);

    // A deletion survives in the same way.
    bench.store.delete_document(&owner, "docs", "a").await.unwrap();
    bench = bench.crash().await;
    assert_eq!(bench.store.recover().await.unwrap().pending_deletes, 2);
    bench.index().await;
    bench = bench.crash().await;
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 0);
}

pub(super) async fn many_crashes_in_the_middle_of_indexing_lose_nothing(mut bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    let mut expected = Vec::new();
    for round in 0..12 {
        let id = format!("d{}", round % 5);
        let text = format!("第{round}回\nround number {round}");
        bench.accept(&owner, "docs", &[(&id, &text)]).await;
        if round % 3 == 0 {
            bench.store.delete_document(&owner, "docs", &id).await.unwrap();
        }
        bench.ingest().await;
        bench.index_once(&owner, &index, 1).await;
        let work = bench.store.pending_index(&owner, &index, 1).await.unwrap();
        bench.vectors.apply(&owner, &index, &work.upserts, &work.deletes).unwrap();
        bench = bench.crash().await;
        bench.store.recover().await.unwrap();
    }
    bench.index().await;
    let listed = bench.store.list_documents(&owner, "docs", 100, None).await.unwrap();
    for document in &listed.items {
        expected.push(document.n_chunks);
    }
    let held = bench.vectors.ids(&owner, &index).unwrap();
    assert_eq!(held.len() as u64, expected.iter().sum::<u64>());
    let checked = bench.store.reconcile(&owner, &index, &held).await.unwrap();
    assert_eq!((checked.missing, checked.orphans.len()), (0, 0));
}

pub(super) async fn an_index_that_was_lost_is_noticed_and_filled_again(mut bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "象牙山")]).await;
    bench.ingest().await;
    bench.index().await;
    bench.vectors.drop_collection(&owner, &index).unwrap();
    bench = bench.crash().await;
    let held = bench.vectors.ids(&owner, &index).unwrap();
    assert_eq!(bench.store.reconcile(&owner, &index, &held).await.unwrap().missing, 1);
    bench.index().await;
    assert_eq!(bench.find(&owner, "docs", "象牙山").await, ["a"]);

    // A point without a chunk is named for deletion.
    let checked = bench.store.reconcile(&owner, &index, &[1, 999]).await.unwrap();
    assert_eq!(checked.orphans, [999]);
}

pub(super) async fn a_shard_that_does_not_load_is_moved_aside_and_rebuilt(mut bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "象牙山\n古城"), ("b", "河流")]).await;
    bench.ingest().await;
    bench.index().await;
    bench = bench.crash().await;
    let shard = bench.directory.path().join("vectors").join(index.id().to_string());
    tear(&shard.join("segments"));

    for _ in 0..2 {
        let error = bench.vectors.search_sparse(&owner, &index, "象牙山", None, 5).unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Unavailable, "index_unreadable"));
        let error = bench.vectors.apply(&owner, &index, &[], &[]).unwrap_err();
        assert_eq!(error.code, "index_unreadable");
        bench = bench.crash().await;
    }
    let points = all_points(&bench, &owner, &index).await;
    bench.vectors.rebuild(&owner, &index, points).unwrap();
    assert_eq!(bench.find(&owner, "docs", "象牙山").await, ["a"]);
    bench = bench.crash().await;
    assert_eq!(bench.vectors.count(&owner, &index).unwrap(), 3);
    bench.accept(&owner, "docs", &[("c", "一座新桥")]).await;
    bench.ingest().await;
    bench.index().await;
    assert_eq!(bench.find(&owner, "docs", "新桥").await, ["c"]);
}

pub(super) async fn a_rebuild_that_fails_leaves_the_old_index(mut bench: Bench) {
    let owner = tenant("acme");
    let index = bench.collection(&owner, "docs").await.index();
    bench.accept(&owner, "docs", &[("a", "象牙山")]).await;
    bench.ingest().await;
    bench.index().await;
    let failing = vec![Err(crate::error::Error::internal("the disk is full"))];
    bench.vectors.rebuild(&owner, &index, failing).unwrap_err();
    assert_eq!(bench.find(&owner, "docs", "象牙山").await, ["a"]);

    // Between the two renames of a swap only the old directory has its content.
    bench = bench.crash().await;
    let shard = bench.directory.path().join("vectors").join(index.id().to_string());
    fs_err::rename(&shard, shard.with_extension("old")).unwrap();
    fs_err::create_dir(shard.with_extension("building")).unwrap();
    bench = bench.crash().await;
    let shard = bench.directory.path().join("vectors").join(index.id().to_string());
    assert_eq!(bench.find(&owner, "docs", "象牙山").await, ["a"]);
    assert!(!shard.with_extension("building").exists());
}

pub(super) async fn a_second_process_is_kept_out(bench: Bench) {
    let error = Vectors::open(bench.directory.path()).unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "data_dir_in_use"));
}

async fn all_points(bench: &Bench, owner: &TenantId, index: &CollectionRef) -> Vec<Result<Point>> {
    let mut points: Vec<Point> = Vec::new();
    loop {
        let after = points.last().map_or(0, |point| point.chunk_id);
        let page = bench.store.index_points(owner, index, after, 2).await.unwrap();
        if page.is_empty() {
            return points.into_iter().map(Ok).collect();
        }
        points.extend(page);
    }
}

/// Cuts every file below a directory to half its length.
fn tear(directory: &std::path::Path) {
    for entry in fs_err::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            tear(&entry.path());
        } else {
            let length = entry.metadata().unwrap().len();
            let file = fs_err::OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.set_len(length / 2).unwrap();
        }
    }
}
