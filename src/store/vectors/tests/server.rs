//! The server engine on the stand-in: names, keys, generations, and a server that is gone, slow,
//! empty or refusing.

use std::time::{Duration, Instant};

use qdrant_client::qdrant::quantization_config::Quantization as Compression;
use qdrant_client::qdrant::vectors_config::Config;
use serde_json::{Value, json};

use super::qdrant::Running;
use super::{DIMENSION, point};
use crate::config::{Quantization, Secret, VectorsConfig};
use crate::error::{Error, Kind};
use crate::store::TenantId;
use crate::store::corpus::CollectionRef;
use crate::store::vectors::{Filter, INDEX_UNAVAILABLE, Point, Vectors};

const KEY: &str = "s3cr3t-k3y";
const AT: [f32; DIMENSION] = [1.0, 0.0, 0.0, 0.0];
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    server: Running,
    vectors: Vectors,
    owner: TenantId,
    collection: CollectionRef,
}

fn config(server: &Running) -> VectorsConfig {
    VectorsConfig {
        url: server.url(),
        api_key: Secret::new(KEY),
        timeout_ms: 20_000,
        ..VectorsConfig::default()
    }
}

fn apple(id: i64) -> Point {
    point(id, [1.0, id as f32, 0.0, 0.0], "苹果", json!({ "lang": "zh" }))
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut VectorsConfig)) -> Self {
        let server = Running::start(KEY);
        let mut config = config(&server);
        change(&mut config);
        let vectors = Vectors::connect(&config).unwrap();
        let owner = TenantId::new("acme").unwrap();
        let collection = CollectionRef::for_test(&owner, 7, DIMENSION);
        Self { server, vectors, owner, collection }
    }

    fn apply(&self, points: &[Point]) -> Result<(), Error> {
        self.vectors.apply(&self.owner, &self.collection, points, &[])
    }

    fn search(&self, filter: Option<&Filter>) -> Result<Vec<i64>, Error> {
        let found = self.vectors.search_dense(&self.owner, &self.collection, &AT, filter, 10)?;
        Ok(found.into_iter().map(|hit| hit.chunk_id).collect())
    }

    fn ids(&self) -> Vec<i64> {
        self.vectors.ids(&self.owner, &self.collection).unwrap()
    }
}

/// The error of a server that cannot be asked; nothing of it names the key.
fn assert_unavailable<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    let error = outcome.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Unavailable, INDEX_UNAVAILABLE), "{error}");
    let all = format!("{error} {error:?}");
    assert!(!all.contains(KEY), "{all}");
}

fn until(what: &str, mut test: impl FnMut() -> bool) {
    let started = Instant::now();
    while !test() {
        assert!(started.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_collection_is_made_as_configured() {
    let bench = Bench::with(|config| {
        config.prefix = "staging".into();
        (config.shards, config.replicas, config.on_disk) = (3, 2, true);
        config.quantization = Quantization::Scalar;
    });
    bench.apply(&[apple(1)]).unwrap();
    let world = bench.server.world.lock().unwrap();
    assert_eq!(world.aliases["staging_7_0"], "staging_7_0_g1");
    let collection = &world.collections["staging_7_0_g1"];
    assert_eq!(collection.fields, ["tenant", "document_id"]);
    let made = &collection.made_with;
    assert_eq!((made.shard_number, made.replication_factor), (Some(3), Some(2)));
    assert!(made.sparse_vectors_config.as_ref().unwrap().map.contains_key("bm25"));
    let Some(Config::ParamsMap(vectors)) = made.vectors_config.as_ref().unwrap().config.clone()
    else {
        panic!("{made:?}");
    };
    let quantization = vectors.map["dense"].quantization_config.unwrap().quantization;
    assert_eq!(vectors.map["dense"].size, DIMENSION as u64);
    assert!(matches!(quantization, Some(Compression::Scalar(_))), "{quantization:?}");
    let payload = &collection.points[&1].payload;
    assert_eq!(payload["tenant"].as_str().map(String::as_str), Some("acme"));
    assert_eq!(payload["document_id"].as_str().map(String::as_str), Some("doc-1"));
}

#[test]
fn a_rebuild_is_searched_only_when_it_is_whole() {
    let bench = Bench::new();
    bench.apply(&[apple(1), apple(2)]).unwrap();
    let bad: Vec<crate::error::Result<Point>> =
        vec![Ok(apple(3)), Err(Error::internal("the database went away"))];
    bench.vectors.rebuild(&bench.owner, &bench.collection, bad).unwrap_err();
    assert_eq!(bench.server.collections(), ["querent_7_0_g1"], "the bad build is gone");
    assert_eq!(bench.search(None).unwrap(), [1, 2]);
    bench.server.calls();
    let points = (10..30).map(|id| {
        assert_eq!(bench.search(None).unwrap(), [1, 2], "the old one answers meanwhile");
        Ok(apple(id))
    });
    bench.vectors.rebuild(&bench.owner, &bench.collection, points).unwrap();
    let calls = bench.server.calls();
    let moves = calls.iter().filter(|call| call.starts_with("update_aliases")).count();
    assert_eq!(moves, 1, "one call moves the alias: {calls:?}");
    let place = |wanted: &str| calls.iter().position(|call| call.starts_with(wanted)).unwrap();
    assert!(place("upsert querent_7_0_g2") < place("update_aliases"), "{calls:?}");
    assert!(place("update_aliases") < place("drop querent_7_0_g1"), "{calls:?}");
    assert_eq!(bench.server.collections(), ["querent_7_0_g2"]);
    assert_eq!(bench.ids(), (10..30).collect::<Vec<_>>());
}

#[test]
fn what_a_crashed_rebuild_left_is_removed_by_the_next() {
    let bench = Bench::new();
    bench.apply(&[apple(1)]).unwrap();
    {
        let mut world = bench.server.world.lock().unwrap();
        let mut left = world.collections["querent_7_0_g1"].made_with.clone();
        left.collection_name = "querent_7_0_g2".into();
        let collection = super::qdrant::world::Collection {
            made_with: left,
            points: Default::default(),
            fields: Vec::new(),
        };
        world.collections.insert("querent_7_0_g2".into(), collection);
    }
    bench.vectors.rebuild(&bench.owner, &bench.collection, [Ok(apple(1))]).unwrap();
    assert_eq!(bench.server.collections(), ["querent_7_0_g3"]);
    assert_eq!(bench.search(None).unwrap(), [1]);
}

#[test]
fn a_point_of_another_tenant_is_not_found() {
    let bench = Bench::new();
    bench.apply(&[apple(1), apple(2)]).unwrap();
    {
        let mut world = bench.server.world.lock().unwrap();
        let collection = world.find("querent_7_0").unwrap();
        let stranger = collection.points.get_mut(&2).unwrap();
        stranger.payload.insert("tenant".into(), "other".into());
    }
    assert_eq!(bench.search(None).unwrap(), [1]);
    let filter = Filter::parse(&json!({ "must_not": { "key": "x", "match": { "value": 1 } } }));
    assert_eq!(bench.search(Some(&filter.unwrap())).unwrap(), [1]);
}

#[test]
fn fields_that_are_filtered_by_get_an_index() {
    let bench = Bench::new();
    bench.apply(&[apple(1)]).unwrap();
    for number in 0..40 {
        let key = format!("f{number}");
        let filter = Filter::parse(&json!({ "must": { "key": key, "match": { "value": 1 } } }));
        assert!(bench.search(Some(&filter.unwrap())).unwrap().is_empty());
    }
    let fields = || {
        let mut world = bench.server.world.lock().unwrap();
        world.find("querent_7_0").unwrap().fields.clone()
    };
    until("16 fields are indexed", || fields().len() == 2 + 16);
    assert!(fields().contains(&"metadata.f0".to_owned()), "{:?}", fields());
}

#[test]
fn a_wrong_key_is_refused_and_never_repeated() {
    let bench = Bench::with(|config| config.api_key = Secret::new(format!("{KEY}-old")));
    assert_unavailable(bench.search(None));
    assert_unavailable(bench.apply(&[apple(1)]));
    assert_unavailable(bench.vectors.check());
    let error = bench.search(None).unwrap_err().to_string();
    assert!(error.contains("Unauthenticated: Invalid API key ***"), "{error}");
    let printed = format!("{:?}", bench.vectors);
    assert!(!printed.contains("k3y") && printed.contains("127.0.0.1"), "{printed}");
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let mut bench = Bench::new();
    bench.apply(&[apple(1)]).unwrap();
    bench.server.stop();
    assert_unavailable(bench.search(None));
    assert_unavailable(bench.apply(&[apple(2)]));
    assert_unavailable(bench.vectors.ids(&bench.owner, &bench.collection));
    assert_unavailable(bench.vectors.check());
    assert_unavailable(bench.vectors.drop_collection(&bench.owner, &bench.collection));
    bench.server.go_on();
    bench.apply(&[apple(2)]).unwrap();
    assert_eq!(bench.search(None).unwrap(), [1, 2]);
    bench.vectors.check().unwrap();
}

#[test]
fn a_slow_server_is_waited_for_once() {
    let bench = Bench::with(|config| config.timeout_ms = 300);
    bench.apply(&[apple(1)]).unwrap();
    bench.server.delay(Duration::from_secs(60));
    bench.server.calls();
    for _ in 0..20 {
        assert_unavailable(bench.search(None));
    }
    let calls = bench.server.calls().len();
    assert!((1..=3).contains(&calls), "{calls} of 20 searches went out");
    bench.server.delay(Duration::ZERO);
    until("it is asked again", || bench.search(None).is_ok());
    assert_eq!(bench.search(None).unwrap(), [1]);
}

#[test]
fn a_write_that_is_not_applied_is_not_done() {
    let bench = Bench::new();
    bench.server.world.lock().unwrap().only_acknowledges = true;
    assert_unavailable(bench.apply(&[apple(1)]));
    bench.server.world.lock().unwrap().only_acknowledges = false;
    bench.apply(&[apple(1)]).unwrap();
    assert_eq!(bench.ids(), [1]);
}

#[test]
fn a_server_that_lost_its_data_is_noticed_and_filled_again() {
    let bench = Bench::new();
    assert!(bench.search(None).unwrap().is_empty(), "never written to: empty");
    bench.apply(&[apple(1)]).unwrap();
    bench.server.forget();
    assert_unavailable(bench.search(None));
    assert_unavailable(bench.vectors.check());
    assert_unavailable(bench.apply(&[apple(2)]));
    assert_eq!(bench.ids(), [0; 0], "whoever lists learns that all is to be put in again");
    bench.vectors.check().unwrap();
    bench.apply(&[apple(1), apple(2)]).unwrap();
    assert_eq!(bench.search(None).unwrap(), [1, 2]);
}

#[test]
fn odd_metadata_holds_nothing_up() {
    let bench = Bench::new();
    let deep = (0..100).fold(json!("x"), |inner, _| json!({ "a": [inner] }));
    let odd = json!({ "deep": deep, "big": u64::MAX, "tiny": -1.5e-300, "": [null, {}, []] });
    let points = [point(1, AT, "苹果", odd), apple(2)];
    bench.apply(&points).unwrap();
    assert_eq!(bench.search(None).unwrap(), [1, 2]);
    let shallow: Value = json!({ "must": { "key": "tiny", "range": { "lt": 0 } } });
    assert_eq!(bench.search(Some(&Filter::parse(&shallow).unwrap())).unwrap(), [1]);
    let bad = Point { dense: vec![1.0], ..apple(3) };
    assert_eq!(bench.apply(&[bad]).unwrap_err().kind, Kind::Internal);
}
