//! What the two databases have in common, and what is done about their differences.

use std::collections::BTreeSet;

use super::{Bench, tenant, text_document};
use crate::config::database::DatabaseUrl;
use crate::error::Kind;
use crate::store::Store;
use crate::store::corpus::{DEFAULT_AVERAGE_TERMS, NewDocument};
use crate::store::sql::{Pool, query};

/// Table, column, type, whether it takes no null.
type Column = (String, String, String, bool);

const POSTGRES_COLUMNS: &str = "
    SELECT table_name::TEXT, column_name::TEXT, data_type::TEXT, is_nullable = 'NO'
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations'";
const POSTGRES_INDEXES: &str = "
    SELECT indexname::TEXT FROM pg_indexes
    WHERE schemaname = current_schema() AND indexname !~ '(_pkey|_key)$'";
const SQLITE_COLUMNS: &str = "
    SELECT t.name, c.name, c.type, c.\"notnull\" OR c.pk > 0
    FROM sqlite_master t JOIN pragma_table_info(t.name) c
    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> '_sqlx_migrations'";
const SQLITE_INDEXES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite%'";

#[tokio::test]
async fn both_databases_have_the_same_tables() {
    let Some(bench) = Bench::on_postgres().await else { return };
    let other = Bench::new().await;
    let (Pool::Postgres(postgres), Pool::Sqlite(sqlite)) =
        (&bench.store.reader, &other.store.reader)
    else {
        panic!("each on its own database");
    };
    let columns: Vec<Column> = sqlx::query_as(POSTGRES_COLUMNS).fetch_all(postgres).await.unwrap();
    let expected: Vec<Column> = sqlx::query_as(SQLITE_COLUMNS).fetch_all(sqlite).await.unwrap();
    assert!(expected.len() > 50, "{expected:?}");
    let names = |kind: &str| match kind {
        "INTEGER" => "bigint".to_owned(),
        "REAL" => "double precision".to_owned(),
        "BLOB" => "bytea".to_owned(),
        other => other.to_lowercase(),
    };
    let expected = expected
        .into_iter()
        .map(|(table, column, kind, is_filled)| (table, column, names(&kind), is_filled));
    let (columns, expected): (BTreeSet<_>, BTreeSet<_>) =
        (columns.into_iter().collect(), expected.collect());
    let differences: Vec<_> = columns.symmetric_difference(&expected).collect();
    assert!(differences.is_empty(), "{differences:#?}");

    let indexes: Vec<(String,)> =
        sqlx::query_as(POSTGRES_INDEXES).fetch_all(postgres).await.unwrap();
    let expected: Vec<(String,)> = sqlx::query_as(SQLITE_INDEXES).fetch_all(sqlite).await.unwrap();
    let (indexes, expected): (BTreeSet<_>, BTreeSet<_>) =
        (indexes.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(indexes, expected);
}

#[test]
fn both_databases_have_the_same_migrations() {
    let [sqlite, postgres] = ["sqlite", "postgres"].map(|folder| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        let names = fs_err::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect::<BTreeSet<String>>()
    });
    assert!(!sqlite.is_empty());
    assert_eq!(sqlite, postgres);
}

#[tokio::test]
async fn migrating_tells_what_it_applied() {
    let dir = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::default();
    let first = Store::migrate(dir.path(), &url).await.unwrap();
    assert_eq!((first[0].number, first[0].description.as_str()), (1, "corpus"));
    assert!(Store::migrate(dir.path(), &url).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_url_that_leads_nowhere_is_named_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    for (url, kind, shown) in [
        ("postgres://querent:geheim@127.0.0.1:x/q", Kind::Invalid, "postgres://querent@127.0.0.1"),
        ("postgres://querent:geheim@[::1]:1/q", Kind::Unavailable, "postgres://querent@[::1]:1/q"),
    ] {
        let error = Store::open(dir.path(), &DatabaseUrl::new(url)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(shown), "{error}");
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error:?}");
    }
}

pub(super) async fn a_text_with_a_nul_is_no_fault(bench: Bench) {
    let owner = tenant("acme");
    bench.collection(&owner, "docs").await;
    let document =
        NewDocument { title: Some("标\0题".to_owned()), ..text_document("a", "象\0牙山") };
    bench.store.accept_documents(&owner, "docs", vec![document]).await.unwrap();
    bench.ingest().await;
    bench.index().await;
    let stored = bench.store.get_document(&owner, "docs", "a").await.unwrap();
    assert!(["标\0题", "标\u{fffd}题"].contains(&stored.title.as_deref().unwrap()), "{stored:?}");
    let content = bench.store.document_content(&owner, "docs", "a").await.unwrap();
    assert_eq!(content, "象\0牙山".as_bytes(), "the bytes are kept as they came");
    let error = bench.store.get_document(&owner, "docs", "b\0").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

pub(super) async fn readers_cannot_write(bench: Bench) {
    let error = query("DELETE FROM keys").execute(&bench.store.reader).await;
    assert!(error.is_err());
    query("DELETE FROM keys").execute(&bench.store.writer).await.unwrap();
}

pub(super) async fn the_average_length_of_chunks_is_kept(bench: Bench) {
    let owner = tenant("acme");
    let empty = bench.collection(&owner, "docs").await.index();
    let still = bench.store.refresh_average_terms(&owner, &empty).await.unwrap();
    assert_eq!(still.average_terms(), DEFAULT_AVERAGE_TERMS);
    bench.accept(&owner, "docs", &[("a", "one two three four\nfive")]).await;
    bench.ingest().await;
    let filled = bench.store.get_collection(&owner, "docs").await.unwrap().index();
    assert!((1.0..20.0).contains(&filled.average_terms()), "{filled:?}");
    let counted = bench.store.refresh_average_terms(&owner, &filled).await.unwrap();
    assert_eq!(counted.average_terms(), filled.average_terms());
}

pub(super) async fn an_index_stays_with_its_database(bench: Bench) {
    bench.store.claim_index().await.unwrap();
    bench.store.claim_index().await.unwrap();
    let ours = bench.directory.path().join("vectors");
    let other = Bench::new().await;
    let theirs = other.directory.path().join("vectors");
    fs_err::copy(ours.join("database"), theirs.join("database")).unwrap();
    let error = other.store.claim_index().await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "index_of_another_database"));

    // An index that does not say where it came from is SQLite's.
    fs_err::remove_file(ours.join("database")).unwrap();
    fs_err::create_dir(ours.join("1")).unwrap();
    let claimed = bench.store.claim_index().await;
    assert_eq!(claimed.is_ok(), matches!(bench.store.reader, Pool::Sqlite(_)));
}
