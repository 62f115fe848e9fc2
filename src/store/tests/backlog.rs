//! What those who run the server see: the backlog, and a look at a directory from outside.

use std::time::Duration;

use super::{Bench, tenant};
use crate::config::database::DatabaseUrl;
use crate::store::inspect::{IndexUse, Schema, index_use, schema};
use crate::store::sql::query;

pub(super) async fn the_backlog_follows_an_upload(bench: Bench) {
    let figures = async || {
        let backlog = bench.store.backlog().await.unwrap();
        (backlog.documents, backlog.queued_tasks, backlog.running_tasks)
    };
    assert_eq!(figures().await, (0, 0, 0));
    for name in ["acme", "bloom"] {
        bench.collection(&tenant(name), "docs").await;
        bench.accept(&tenant(name), "docs", &[("a", "一行"), ("b", "one line")]).await;
    }
    assert_eq!(figures().await, (4, 2, 0));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(bench.store.backlog().await.unwrap().lag >= Duration::from_millis(5));
    bench.ingest().await;
    assert_eq!(figures().await, (4, 0, 2));
    bench.index().await;
    assert_eq!(figures().await, (0, 0, 0));
    assert_eq!(bench.store.backlog().await.unwrap().lag, Duration::ZERO);
}

#[tokio::test]
async fn a_directory_is_inspected_beside_its_owner() {
    let sqlite = DatabaseUrl::default();
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(schema(empty.path(), &sqlite).await.unwrap(), Schema::Missing);
    assert_eq!(index_use(empty.path()).unwrap(), IndexUse::Missing);
    assert!(empty.path().read_dir().unwrap().next().is_none(), "looking left something behind");

    let bench = Bench::new().await;
    let dir = bench.directory.path();
    let known = schema(dir, &sqlite).await.unwrap();
    assert!(matches!(known, Schema::Known { applied: 1.., outstanding: 0 }), "{known:?}");
    assert_eq!(index_use(dir).unwrap(), IndexUse::Taken);

    let versions = "UPDATE _sqlx_migrations SET version = version + 1000";
    query(versions).execute(&bench.store.writer).await.unwrap();
    let foreign = schema(dir, &sqlite).await.unwrap();
    assert!(matches!(foreign, Schema::Foreign { migration: 1001.. }), "{foreign:?}");
    query("DELETE FROM _sqlx_migrations").execute(&bench.store.writer).await.unwrap();
    let behind = schema(dir, &sqlite).await.unwrap();
    assert!(matches!(behind, Schema::Known { applied: 0, outstanding: 1.. }), "{behind:?}");

    let Bench { vectors, directory, .. } = bench;
    drop(vectors);
    assert_eq!(index_use(directory.path()).unwrap(), IndexUse::Free);
}
