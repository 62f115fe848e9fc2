//! Searching real shards: both legs, both scripts, filters. Then the server engine: that it
//! gives what the embedded one gives, and what it does when the server fails.

mod equivalence;
mod server;

#[path = "../../../tests/support/qdrant/mod.rs"]
mod qdrant;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Filter, Point, Vectors};
use crate::store::TenantId;
use crate::store::corpus::CollectionRef;

const DIMENSION: usize = 4;

struct Bench {
    vectors: Vectors,
    owner: TenantId,
    collection: CollectionRef,
    directory: TempDir,
}

impl Bench {
    fn new(points: &[Point]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vectors = Vectors::open(directory.path()).unwrap();
        let owner = TenantId::new("acme").unwrap();
        let collection = CollectionRef::for_test(&owner, 1, DIMENSION);
        vectors.apply(&owner, &collection, points, &[]).unwrap();
        Self { vectors, owner, collection, directory }
    }

    fn words(&self, text: &str) -> Vec<i64> {
        let hits = self.vectors.search_sparse(&self.owner, &self.collection, text, None, 10);
        hits.unwrap().into_iter().map(|hit| hit.chunk_id).collect()
    }

    fn filtered(&self, filter: Value) -> Vec<i64> {
        let filter = Filter::parse(&filter).unwrap();
        let hits = self.vectors.search_dense(
            &self.owner,
            &self.collection,
            &[1.0, 0.0, 0.0, 0.0],
            Some(&filter),
            10,
        );
        let mut ids: Vec<i64> = hits.unwrap().into_iter().map(|hit| hit.chunk_id).collect();
        ids.sort_unstable();
        ids
    }
}

fn point(chunk_id: i64, dense: [f32; DIMENSION], text: &str, metadata: Value) -> Point {
    Point {
        chunk_id,
        dense: dense.to_vec(),
        lexical_text: text.to_owned(),
        document_id: format!("doc-{chunk_id}"),
        metadata: metadata.as_object().cloned().unwrap_or_else(Map::new),
    }
}

fn texts(texts: &[&str]) -> Vec<Point> {
    (1..).zip(texts).map(|(id, text)| point(id, [1.0, 0.0, 0.0, 0.0], text, json!({}))).collect()
}

#[test]
fn the_dense_leg_ranks_by_cosine() {
    let bench = Bench::new(&[
        point(1, [1.0, 0.0, 0.0, 0.0], "", json!({})),
        point(2, [10.0, 10.0, 0.0, 0.0], "", json!({})),
        point(3, [0.0, 0.0, 1.0, 0.0], "", json!({})),
    ]);
    let search = |vector: &[f32], limit| {
        bench.vectors.search_dense(&bench.owner, &bench.collection, vector, None, limit)
    };
    let hits = search(&[1.0, 0.1, 0.0, 0.0], 2).unwrap();
    assert_eq!(hits.iter().map(|hit| hit.chunk_id).collect::<Vec<_>>(), [1, 2]);
    assert!(hits[0].score > 0.99 && hits[1].score < 0.8, "{hits:?}");
    search(&[1.0, 0.0], 2).unwrap_err();
    search(&[f32::INFINITY, 0.0, 0.0, 0.0], 2).unwrap_err();
}

#[test]
fn the_sparse_leg_finds_chinese_and_english() {
    let bench = Bench::new(&texts(&[
        "开原市有象牙山风景区和咸州古城。",
        "The refund policies of the licensed products were updated.",
        "网络安全管理规定适用于全体员工。",
        "本系统支持 OAuth 授权，许可证 licenses 按年续费。",
    ]));
    assert_eq!(bench.words("象牙山在哪里"), [1]);
    assert_eq!(bench.words("What is the refund policy?"), [2]);
    assert_eq!(bench.words("安全规定"), [3], "content words are no stop words");
    assert_eq!(bench.words("license 怎么续费")[0], 4, "English is stemmed in Chinese text");
    assert!(bench.words("什么的了吗 the of").is_empty(), "only stop words");
    assert!(bench.words("").is_empty());
    assert!(bench.words("🙂 \u{0} ——").is_empty());
}

#[test]
fn traditional_and_simplified_find_each_other() {
    let bench = Bench::new(&texts(&["馬祖列島的燈塔建於清朝", "台湾的乌龙茶发展历史"]));
    assert_eq!(bench.words("马祖列岛的灯塔"), [1]);
    assert_eq!(bench.words("馬祖列島"), [1]);
    assert_eq!(bench.words("臺灣烏龍茶發展歷史"), [2]);
}

#[test]
fn numbers_and_codes_are_words() {
    let bench = Bench::new(&texts(&[
        "2023年销售额为 1,200 万元",
        "2024年销售额为 3.5 亿元",
        "错误代码 E4042 表示超时",
        "ISO 9001 质量体系",
    ]));
    assert_eq!(bench.words("2024年")[0], 2);
    assert_eq!(bench.words("２０２３"), [1], "full-width digits");
    assert_eq!(bench.words("1200"), [1]);
    assert_eq!(bench.words("3.5"), [2]);
    assert_eq!(bench.words("E4042")[0], 3);
    assert_eq!(bench.words("9001"), [4]);
}

#[test]
fn rarer_and_denser_words_rank_first() {
    let bench = Bench::new(&texts(&[
        "苹果 香蕉 苹果 苹果",
        "苹果 香蕉 橘子 葡萄 西瓜 草莓 樱桃 柠檬 芒果 菠萝",
        "香蕉 橘子",
    ]));
    assert_eq!(bench.words("苹果"), [1, 2]);
    let both = bench.words("苹果 樱桃");
    assert_eq!(both[0], 2, "the rare word outweighs the frequent one: {both:?}");
}

#[test]
fn filters_select_by_metadata() {
    let at = [1.0, 0.0, 0.0, 0.0];
    let mut points = vec![
        point(1, at, "", json!({ "lang": "zh", "year": 2023, "tags": ["a", "b"], "open": true })),
        point(2, at, "", json!({ "lang": "en", "year": 2024, "author": { "name": "李雷" } })),
        point(3, at, "", json!({ "lang": "zh", "year": 2025, "note": null, "my key": 1 })),
        point(4, at, "", json!({ "at": "2024-07-02T10:00:00+08:00" })),
    ];
    let small = Bench::new(&points);
    // Enough to make indexes of the fields worth while; all far from the query.
    let filler = |id| point(id, [0.0, 1.0, 0.0, 0.0], "", json!({ "filler": id }));
    points.extend((1_000..3_000).map(filler));
    let large = Bench::new(&points);
    let cases = [
        (json!({}), vec![1, 2, 3, 4]),
        (json!({ "must": [{ "key": "lang", "match": { "value": "zh" } }] }), vec![1, 3]),
        (json!({ "must": { "key": "lang", "match": { "value": "zh" } } }), vec![1, 3]),
        (json!({ "must_not": [{ "key": "lang", "match": { "value": "zh" } }] }), vec![2, 4]),
        (json!({ "must": [{ "key": "tags", "match": { "any": ["b", "z"] } }] }), vec![1]),
        (json!({ "must": [{ "key": "year", "match": { "any": [2023, 2025] } }] }), vec![1, 3]),
        (json!({ "must": [{ "key": "lang", "match": { "except": ["zh"] } }] }), vec![2]),
        (json!({ "must": [{ "key": "open", "match": { "value": true } }] }), vec![1]),
        (json!({ "must": [{ "key": "author.name", "match": { "value": "李雷" } }] }), vec![2]),
        (json!({ "must": [{ "key": "\"my key\"", "match": { "value": 1 } }] }), vec![3]),
        (json!({ "must": [{ "key": "year", "range": { "gt": 2023, "lte": 2024.5 } }] }), vec![2]),
        (json!({ "must": [{ "key": "at", "range": { "gte": "2024-07-02T01:00:00Z" } }] }), vec![4]),
        (json!({ "must": [{ "key": "at", "range": { "gte": "2024-07-02T03:00:00Z" } }] }), vec![]),
        (json!({ "must": [{ "is_empty": { "key": "lang" } }] }), vec![4]),
        (json!({ "must": [{ "is_null": { "key": "note" } }] }), vec![3]),
        (
            json!({ "should": [{ "key": "year", "match": { "value": 2024 } },
                               { "must": [{ "key": "lang", "match": { "value": "zh" } },
                                          { "key": "year", "range": { "gte": 2025 } }] }] }),
            vec![2, 3],
        ),
        // Nothing outside the metadata can be asked for.
        (json!({ "must": [{ "key": "document_id", "match": { "value": "doc-1" } }] }), vec![]),
    ];
    for (filter, expected) in cases {
        assert_eq!(small.filtered(filter.clone()), expected, "{filter}");
        for round in 0..2 {
            let mut found = large.filtered(filter.clone());
            found.retain(|id| *id < 1_000);
            assert_eq!(found, expected, "{filter} in round {round}");
        }
    }
    let chinese =
        Filter::parse(&json!({ "must": [{ "key": "lang", "match": { "value": "en" } }] }));
    let hits = small.vectors.search_sparse(
        &small.owner,
        &small.collection,
        "anything",
        Some(&chinese.unwrap()),
        10,
    );
    assert!(hits.unwrap().is_empty());
}

#[test]
fn filter_mistakes_are_named() {
    let deep = (0..20).fold(json!({}), |inner, _| json!({ "must": [inner] }));
    let many: Vec<Value> =
        (0..300).map(|n| json!({ "key": "k", "match": { "value": n } })).collect();
    let values: Vec<i64> = (0..1001).collect();
    let cases = [
        (json!([]), "/filter"),
        (json!({ "must": 3 }), "/filter/must"),
        (json!({ "must": [{}] }), "/filter/must/0"),
        (json!({ "nust": [] }), "/filter/nust"),
        (json!({ "a/b~c": [] }), "/filter/a~1b~0c"),
        (json!({ "must": [{ "key": "a" }] }), "/filter/must/0"),
        (json!({ "must": [{ "key": 1, "match": { "value": 1 } }] }), "/filter/must/0/key"),
        (json!({ "must": [{ "key": "a[", "match": { "value": 1 } }] }), "/filter/must/0/key"),
        (json!({ "must": [{ "key": "", "match": { "value": 1 } }] }), "/filter/must/0/key"),
        (
            json!({ "must": [{ "key": "a", "match": { "value": 1.5 } }] }),
            "/filter/must/0/match/value",
        ),
        (
            json!({ "must": [{ "key": "a", "match": { "any": [1, "b"] } }] }),
            "/filter/must/0/match/any",
        ),
        (
            json!({ "must": [{ "key": "a", "match": { "any": values } }] }),
            "/filter/must/0/match/any",
        ),
        (
            json!({ "must": [{ "key": "a", "match": { "text": "x" } }] }),
            "/filter/must/0/match/text",
        ),
        (json!({ "must": [{ "key": "a", "match": {} }] }), "/filter/must/0/match"),
        (json!({ "must": [{ "key": "a", "range": { "gt": "soon" } }] }), "/filter/must/0/range/gt"),
        (
            json!({ "must": [{ "key": "a", "range": { "gt": 1, "lt": "2024-01-01T00:00:00Z" } }] }),
            "/filter/must/0/range",
        ),
        (json!({ "must": [{ "key": "a", "range": {} }] }), "/filter/must/0/range"),
        (json!({ "must": [{ "key": "a", "geo_radius": {} }] }), "/filter/must/0/geo_radius"),
        (json!({ "should": [{ "is_null": {} }] }), "/filter/should/0/is_null/key"),
        (json!({ "must": [{ "has_id": [1] }] }), "/filter/must/0/has_id"),
        (json!({ "must": many }), "/filter/must/256"),
    ];
    for (filter, pointer) in cases {
        let error = Filter::parse(&filter).unwrap_err();
        assert_eq!(error.code, "invalid_filter");
        assert_eq!(error.fields[0].pointer, pointer, "{}", error.message);
    }
    assert!(Filter::parse(&deep).unwrap_err().message.contains("deep"));
}

#[test]
fn deletes_and_repeats_are_harmless() {
    let points = texts(&["苹果", "香蕉"]);
    let bench = Bench::new(&points);
    bench.vectors.apply(&bench.owner, &bench.collection, &points, &[2, 77]).unwrap();
    bench.vectors.apply(&bench.owner, &bench.collection, &[], &[2, 77]).unwrap();
    assert_eq!(bench.vectors.ids(&bench.owner, &bench.collection).unwrap(), [1]);
    let bad = Point { dense: vec![1.0], ..points[1].clone() };
    bench.vectors.apply(&bench.owner, &bench.collection, &[bad], &[]).unwrap_err();
    assert_eq!(bench.words("苹果"), [1], "the shard reopens after a failed write");
    bench.vectors.apply(&bench.owner, &bench.collection, &points, &[]).unwrap();
    assert_eq!(bench.vectors.count(&bench.owner, &bench.collection).unwrap(), 2);
}

#[test]
fn searches_go_on_while_the_index_is_written_and_rebuilt() {
    let bench = Bench::new(&texts(&["苹果"]));
    std::thread::scope(|scope| {
        let searches = scope.spawn(|| {
            for _ in 0..300 {
                assert_eq!(bench.words("苹果"), [1]);
            }
        });
        for round in 0..20 {
            let added = point(100 + round, [0.0, 1.0, 0.0, 0.0], "香蕉", json!({}));
            bench.vectors.apply(&bench.owner, &bench.collection, &[added], &[]).unwrap();
            if round % 5 == 0 {
                let points = texts(&["苹果"]).into_iter().map(Ok);
                bench.vectors.rebuild(&bench.owner, &bench.collection, points).unwrap();
            }
        }
        searches.join().unwrap();
    });
}

#[test]
fn the_log_stays_small() {
    let bench = Bench::new(&[]);
    let text = "word ".repeat(400);
    for batch in 0..60 {
        let points: Vec<Point> = (0..50)
            .map(|n| {
                let padding = json!({ "padding": "x".repeat(4_000) });
                point(batch * 50 + n, [1.0, 0.0, 0.0, 0.0], &text, padding)
            })
            .collect();
        bench.vectors.apply(&bench.owner, &bench.collection, &points, &[]).unwrap();
    }
    let wal = bench.directory.path().join("vectors/1/wal");
    let files = fs_err::read_dir(wal).unwrap();
    let size: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 13 * 1024 * 1024, "{size} bytes");
    let Bench { vectors, owner, collection, directory } = bench;
    drop(vectors);
    let vectors = Vectors::open(directory.path()).unwrap();
    assert_eq!(vectors.count(&owner, &collection).unwrap(), 3_000);
    // The numbering of operations has gone on, or this delete would be taken for an old one.
    vectors.apply(&owner, &collection, &[], &[5]).unwrap();
    assert_eq!(vectors.count(&owner, &collection).unwrap(), 2_999);
}
