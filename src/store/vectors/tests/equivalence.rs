//! Both engines are taken through the same operations and have to give the same: always the
//! embedded one and the stand-in, and a real server where `QUERENT_TEST_QDRANT_URL` names one
//! (and `QUERENT_TEST_QDRANT_KEY` its key). What the stand-in cannot prove its module says.
//!
//! Scores by words are compared before anything is deleted and after a rebuild: until it
//! optimizes its segments, an engine may still count deleted points in the IDF.

use serde_json::{Value, json};

use super::qdrant::Running;
use super::{DIMENSION, point};
use crate::config::{Secret, VectorsConfig};
use crate::error::Kind;
use crate::store::TenantId;
use crate::store::corpus::CollectionRef;
use crate::store::vectors::{Filter, Hit, Point, Vectors};

const TEXTS: [&str; 12] = [
    "开原市有象牙山风景区和咸州古城。",
    "The refund policies of the licensed products were updated in 2024.",
    "网络安全管理规定适用于全体员工，安全第一。",
    "本系统支持 OAuth 授权，许可证 licenses 按年续费。",
    "馬祖列島的燈塔建於清朝",
    "2023年销售额为 1,200 万元，2024年为 3.5 亿元",
    "错误代码 E4042 表示超时",
    "ISO 9001 质量体系与安全审计",
    "A refund needs the licence number and the policy holder's name.",
    "安全 安全 安全",
    "员工手册：请假、报销和安全培训",
    "",
];

const QUERIES: [&str; 8] = [
    "安全规定",
    "refund policy",
    "license 怎么续费",
    "马祖列岛",
    "1200",
    "E4042 超时",
    "员工 安全 培训",
    "什么的了吗 the of",
];

/// What one engine answered, step by step.
type Transcript = Vec<(String, Vec<Hit>)>;

struct Walk<'a> {
    vectors: &'a Vectors,
    owner: TenantId,
    collection: CollectionRef,
    transcript: Transcript,
}

fn dense(id: i64) -> [f32; DIMENSION] {
    let angle = id as f32 * 0.37;
    [angle.cos(), angle.sin(), (id % 3) as f32 * 0.21, 0.05 * id as f32]
}

fn corpus() -> Vec<Point> {
    let metadata = |id: i64| {
        json!({
            "lang": if id % 2 == 0 { "en" } else { "zh" },
            "year": 2020 + id,
            "ratio": id as f64 / 4.0,
            "open": id % 3 == 0,
            "tags": ["all", format!("t{}", id % 4)],
            "author": { "full name": format!("员工{id}") },
            "at": format!("2024-07-{:02}T10:00:00+08:00", id + 1),
            "note": if id == 3 { Value::Null } else { json!(id) },
        })
    };
    let texts = (1..).zip(TEXTS);
    texts.map(|(id, text)| point(id, dense(id), text, metadata(id))).collect()
}

fn filters() -> Vec<Value> {
    let must = |condition: Value| json!({ "must": [condition] });
    vec![
        must(json!({ "key": "lang", "match": { "value": "zh" } })),
        must(json!({ "key": "year", "match": { "any": [2021, 2024, 2030] } })),
        must(json!({ "key": "year", "match": { "except": [2021, 2022] } })),
        must(json!({ "key": "lang", "match": { "except": ["zh"] } })),
        must(json!({ "key": "tags", "match": { "any": ["t1", "t2"] } })),
        must(json!({ "key": "open", "match": { "value": true } })),
        must(json!({ "key": "author.\"full name\"", "match": { "value": "员工7" } })),
        must(json!({ "key": "year", "range": { "gt": 2023, "lte": 2029.5 } })),
        must(json!({ "key": "ratio", "range": { "gte": 0.75, "lt": 2.25 } })),
        must(json!({ "key": "at", "range": { "gte": "2024-07-05T02:00:00Z" } })),
        must(json!({ "key": "at", "range": { "lt": "2024-07-05T02:00:00Z" } })),
        must(json!({ "is_null": { "key": "note" } })),
        must(json!({ "is_empty": { "key": "note" } })),
        must(json!({ "is_empty": { "key": "nothing" } })),
        must(json!({ "key": "document_id", "match": { "value": "doc-1" } })),
        json!({ "must_not": [{ "key": "lang", "match": { "value": "zh" } }] }),
        json!({ "should": [
            { "key": "year", "match": { "value": 2022 } },
            { "must": [{ "key": "lang", "match": { "value": "zh" } },
                       { "key": "year", "range": { "gte": 2028 } }] },
        ] }),
        json!({ "must": [{ "key": "tags", "match": { "any": [] } }] }),
    ]
}

impl Walk<'_> {
    fn note(&mut self, step: &str, mut hits: Vec<Hit>) {
        hits.sort_by(|left, right| {
            right.score.total_cmp(&left.score).then(left.chunk_id.cmp(&right.chunk_id))
        });
        self.transcript.push((step.to_owned(), hits));
    }

    fn apply(&self, upserts: &[Point], deletes: &[i64]) {
        self.vectors.apply(&self.owner, &self.collection, upserts, deletes).unwrap();
    }

    fn contents(&mut self, step: &str) {
        let ids = self.vectors.ids(&self.owner, &self.collection).unwrap();
        assert_eq!(self.vectors.count(&self.owner, &self.collection).unwrap(), ids.len());
        self.note(step, ids.into_iter().map(|chunk_id| Hit { chunk_id, score: 0.0 }).collect());
    }

    fn by_words(&mut self, step: &str) {
        for query in QUERIES {
            let hits =
                self.vectors.search_sparse(&self.owner, &self.collection, query, None, 50).unwrap();
            self.note(&format!("{step}: {query}"), hits);
        }
    }

    fn by_meaning(&mut self, step: &str) {
        for limit in [1, 5, 50] {
            let hits = self
                .vectors
                .search_dense(&self.owner, &self.collection, &dense(4), None, limit)
                .unwrap();
            self.note(&format!("{step}: nearest {limit}"), hits);
        }
    }

    fn filtered(&mut self) {
        for asked in filters() {
            let filter = Filter::parse(&asked).unwrap();
            let (owner, collection, filter) = (&self.owner, &self.collection, Some(&filter));
            let near = self.vectors.search_dense(owner, collection, &dense(1), filter, 50);
            let worded = self.vectors.search_sparse(owner, collection, "安全 refund", filter, 50);
            self.note(&format!("near {asked}"), near.unwrap());
            self.note(&format!("worded {asked}"), worded.unwrap());
        }
    }
}

/// Takes an engine through everything. Another tenant's collection is written to on the way,
/// with the same words, and must leave no trace.
fn walk(vectors: &Vectors) -> Transcript {
    let owner = TenantId::new("acme").unwrap();
    let collection = CollectionRef::for_test(&owner, 1, DIMENSION);
    let other = TenantId::new("other").unwrap();
    let others = CollectionRef::for_test(&other, 2, DIMENSION);
    let mut walk = Walk { vectors, owner, collection, transcript: Vec::new() };
    walk.contents("before anything");
    walk.by_words("before anything");
    walk.apply(&[], &[]);
    walk.apply(&corpus()[..5], &[77]);
    let foreign: Vec<Point> =
        (1..=30).map(|id| point(id, dense(id), "安全 refund 员工", json!({}))).collect();
    vectors.apply(&other, &others, &foreign, &[]).unwrap();
    walk.apply(&corpus()[5..], &[]);
    walk.contents("filled");
    walk.by_words("filled");
    walk.by_meaning("filled");
    walk.filtered();
    walk.apply(&corpus()[2..4], &[1, 9, 77]);
    walk.apply(&[], &[1]);
    walk.contents("after deletes");
    walk.by_meaning("after deletes");
    let kept = corpus().into_iter().skip(2).map(Ok);
    vectors.rebuild(&walk.owner, &walk.collection, kept).unwrap();
    walk.contents("rebuilt");
    walk.by_words("rebuilt");
    walk.by_meaning("rebuilt");
    walk.apply(&corpus()[..2], &[]);
    walk.contents("written after the rebuild");
    let stranger = vectors.ids(&other, &walk.collection).unwrap_err();
    assert_eq!(stranger.kind, Kind::NotFound);
    for _ in 0..2 {
        vectors.drop_collection(&walk.owner, &walk.collection).unwrap();
        walk.contents("dropped");
        walk.by_meaning("dropped");
    }
    assert_eq!(vectors.count(&other, &others).unwrap(), 30);
    vectors.drop_collection(&other, &others).unwrap();
    walk.transcript
}

fn embedded() -> Transcript {
    let directory = tempfile::tempdir().unwrap();
    walk(&Vectors::open(directory.path()).unwrap())
}

fn assert_same(expected: &Transcript, found: &Transcript) {
    assert!(expected.iter().filter(|(_, hits)| !hits.is_empty()).count() > 40);
    assert_eq!(expected.len(), found.len());
    for ((step, expected), (_, found)) in expected.iter().zip(found) {
        let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.chunk_id).collect::<Vec<_>>();
        assert_eq!(ids(expected), ids(found), "{step}: {expected:?} and {found:?}");
        for (one, two) in expected.iter().zip(found) {
            assert!((one.score - two.score).abs() < 1e-4, "{step}: {one:?} and {two:?}");
        }
    }
}

#[test]
fn the_stand_in_gives_what_the_embedded_engine_gives() {
    let server = Running::start("k3y");
    let config = VectorsConfig {
        url: server.url(),
        api_key: Secret::new("k3y"),
        timeout_ms: 20_000,
        ..VectorsConfig::default()
    };
    assert_same(&embedded(), &walk(&Vectors::connect(&config).unwrap()));
    assert!(server.collections().is_empty(), "{:?}", server.collections());
}

#[test]
fn a_real_server_gives_what_the_embedded_engine_gives() {
    let Ok(url) = std::env::var("QUERENT_TEST_QDRANT_URL") else {
        // Past the capture of output, which hides what a passing test prints.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"a test on Qdrant was skipped: QUERENT_TEST_QDRANT_URL is not set\n",
        );
        return;
    };
    let key = std::env::var("QUERENT_TEST_QDRANT_KEY").unwrap_or_default();
    let config = VectorsConfig {
        url,
        api_key: Secret::new(key),
        prefix: format!("querent_test_{}", uuid::Uuid::now_v7().simple()),
        timeout_ms: 20_000,
        ..VectorsConfig::default()
    };
    assert_same(&embedded(), &walk(&Vectors::connect(&config).unwrap()));
}
