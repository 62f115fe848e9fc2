//! The embedder against sentence-transformers (fixtures and pins: `tests/parity/README.md`).

use std::path::PathBuf;

use querent::model::{Encoder, ModelFolder, TextKind};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    truncate_dim: usize,
    texts: Vec<TextCase>,
}

#[derive(Deserialize)]
struct TextCase {
    text: String,
    document: Vectors,
    query: Vectors,
}

#[derive(Deserialize)]
struct Vectors {
    embedding: Vec<f32>,
    truncated: Vec<f32>,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures")
}

fn assert_close(expected: &[f32], got: &[f32], what: &str) {
    assert_eq!(expected.len(), got.len(), "{what}");
    let gap = expected.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(gap < TOLERANCE, "{what}: off by {gap}");
}

#[tokio::test]
async fn vectors_equal_sentence_transformers() {
    let reference = std::fs::read(fixtures().join("embedder_reference.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&reference).unwrap();
    let folder = ModelFolder::open(&fixtures().join("embedder-tiny")).unwrap();
    let full = Encoder::start(&folder, None).unwrap();
    let short = Encoder::start(&folder, Some(reference.truncate_dim)).unwrap();
    assert_eq!(short.dimension(), reference.truncate_dim);
    let texts: Vec<String> = reference.texts.iter().map(|case| case.text.clone()).collect();
    for kind in [TextKind::Query, TextKind::Passage] {
        let of_full = full.embed(kind, texts.clone()).await.unwrap();
        let of_short = short.embed(kind, texts.clone()).await.unwrap();
        for ((case, of_full), of_short) in reference.texts.iter().zip(&of_full).zip(&of_short) {
            let expected = if kind == TextKind::Query { &case.query } else { &case.document };
            assert_close(&expected.embedding, of_full, &format!("{kind:?} {:?}", case.text));
            assert_close(&expected.truncated, of_short, &format!("{kind:?} short {:?}", case.text));
        }
    }
}

#[tokio::test]
async fn a_folder_without_weights_is_refused_with_its_name() {
    let empty = tempfile::tempdir().unwrap();
    let error = ModelFolder::open(empty.path()).unwrap_err();
    assert_eq!(error.code, "model_files");
    assert!(error.message.contains(&empty.path().display().to_string()));
}
