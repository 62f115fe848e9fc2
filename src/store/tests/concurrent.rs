//! Writers beside one another: what one has read must stay true until it has written.

use std::collections::HashSet;

use futures::future::{join, join_all};

use super::{Bench, DIMENSION, tenant};
use crate::error::Kind;
use crate::store::corpus::NewCollection;
use crate::store::tasks::TaskStatus;

const N_CALLS: usize = 8;

pub(super) async fn one_of_many_calls_makes_a_collection(bench: Bench) {
    let owner = tenant("acme");
    let new =
        || NewCollection { description: None, embedder: "test@1".to_owned(), dimension: DIMENSION };
    for round in 0..5 {
        let name = format!("docs-{round}");
        let calls = (0..N_CALLS).map(|_| bench.store.put_collection(&owner, &name, new()));
        let made: Vec<_> = join_all(calls).await.into_iter().map(|made| made.unwrap()).collect();
        let ids: HashSet<i64> =
            made.iter().map(|(collection, _)| collection.index().id()).collect();
        assert_eq!(ids.len(), 1, "{made:?}");
        assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1, "{made:?}");
    }
}

pub(super) async fn no_upload_is_forgotten_by_a_deletion_beside_it(bench: Bench) {
    let owner = tenant("acme");
    let mut n_accepted = 0;
    for round in 0..12 {
        bench.collection(&owner, "docs").await;
        let uploads = join_all((0..N_CALLS).map(|number| {
            let documents =
                (0..3).map(|part| super::text_document(&format!("d{number}-{part}"), "一行"));
            bench.store.accept_documents(&owner, "docs", documents.collect())
        }));
        let deletion = async {
            tokio::time::sleep(std::time::Duration::from_millis(round)).await;
            bench.store.delete_collection(&owner, "docs").await.unwrap();
            for (owner, deleted) in bench.store.deleted_collections().await.unwrap() {
                bench.store.purge_collection(&owner, &deleted).await.unwrap();
            }
        };
        for upload in join(uploads, deletion).await.0 {
            match upload {
                Ok(accepted) => {
                    n_accepted += 1;
                    let task = bench.store.get_task(&owner, &accepted.task_id).await.unwrap();
                    assert_eq!((task.status, task.done), (TaskStatus::Failed, 3), "{task:?}");
                }
                Err(error) => assert_eq!(error.kind, Kind::NotFound, "{error}"),
            }
        }
    }
    assert!(n_accepted > 0, "every deletion came first");
}

pub(super) async fn who_follows_a_list_misses_nothing(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let writers = join_all((0..4).map(|writer| {
        let (bench, owner) = (&bench, &owner);
        async move {
            for batch in 0..8 {
                let ids: Vec<String> = (0..4).map(|n| format!("{writer}-{batch}-{n}")).collect();
                let documents: Vec<_> = ids.iter().map(|id| (id.as_str(), "字")).collect();
                bench.accept(owner, "docs", &documents).await;
            }
        }
    }));
    let mut seen = HashSet::new();
    let mut after: Option<String> = None;
    let mut writers = std::pin::pin!(writers);
    let mut are_done = false;
    loop {
        let page = bench.store.list_documents(&owner, "docs", 1, after.as_deref());
        // The writers go on while the page is read.
        let page = tokio::select! {
            biased;
            _ = &mut writers, if !are_done => {
                are_done = true;
                continue;
            }
            page = page => page.unwrap(),
        };
        seen.extend(page.items.into_iter().map(|document| document.id));
        match page.next {
            Some(next) => after = Some(next),
            None if are_done => break,
            None => {}
        }
    }
    assert_eq!(seen.len(), 4 * 8 * 4);
}

pub(super) async fn writers_of_one_document_leave_one_version(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    for round in 0..5 {
        let texts: Vec<String> = (0..N_CALLS).map(|n| format!("第{round}回第{n}版")).collect();
        let uploads = texts.iter().map(|text| {
            let document = super::text_document("a", text);
            bench.store.accept_documents(&owner, "docs", vec![document])
        });
        let accepted: Vec<_> = join_all(uploads).await.into_iter().map(|a| a.unwrap()).collect();
        let deletion = bench.store.delete_document(&owner, "docs", "a");
        let (_, deleted) = join(bench.ingest_what_is_left(), deletion).await;
        deleted.unwrap();
        bench.accept(&owner, "docs", &[("a", "最后一版")]).await;
        bench.ingest().await;
        bench.index().await;
        for upload in accepted {
            let task = bench.store.get_task(&owner, &upload.task_id).await.unwrap();
            assert_eq!(task.done, 1, "{task:?}");
        }
        let listed = bench.store.list_documents(&owner, "docs", 10, None).await.unwrap();
        assert_eq!(listed.items.len(), 1);
        assert_eq!(listed.items[0].n_chunks, 1);
        assert_eq!(bench.find(&owner, "docs", "最后").await, ["a"]);
    }
}
