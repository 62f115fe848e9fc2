use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

type Rows = Vec<Vec<f64>>;

#[derive(Deserialize, Clone)]
struct Embeddings {
    queries: Rows,
    documents: Rows,
}

#[derive(Deserialize)]
struct Case {
    n_columns: usize,
    loss: f64,
    gradient_queries: Rows,
    gradient_documents: Rows,
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

/// A part of the golden values, by its JSON pointer.
pub(super) fn fixture<T: serde::de::DeserializeOwned>(pointer: &str) -> T {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/fixtures/losses.json");
    let whole: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();
    serde_json::from_value(whole.pointer(pointer).unwrap().clone()).unwrap()
}

fn matrix(rows: &[Vec<f64>], dtype: DType) -> Tensor {
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();
    let shape = (rows.len(), rows[0].len());
    Tensor::from_vec(flat, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn leaf(rows: &[Vec<f64>], dtype: DType) -> Var {
    Var::from_tensor(&matrix(rows, dtype)).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn batch(queries: &Tensor, documents: &Tensor) -> ContrastiveBatch<'static> {
    ContrastiveBatch {
        queries: queries.clone(),
        documents: documents.clone(),
        owners: None,
        texts: None,
        guide: None,
    }
}

fn units(embeddings: &Embeddings, dtype: DType) -> (Tensor, Tensor) {
    let of = |rows| unit(&matrix(rows, dtype)).unwrap();
    (of(&embeddings.queries), of(&embeddings.documents))
}

fn value(batch: &ContrastiveBatch<'_>, options: &ContrastiveOptions) -> f64 {
    numbers(&contrastive_loss(batch, options).unwrap())[0]
}

#[track_caller]
fn assert_all_near(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let limit = 1e-5 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= limit, "{what}: {found}, not {expected}");
    }
}

/// Value and gradients, with the whole graph and in pieces, in f32 and f64.
fn assert_case(case: &Case, options: &ContrastiveOptions, guide: Option<&Embeddings>) {
    options.validate().unwrap();
    let embeddings: Embeddings = fixture(&format!("/contrastive/embeddings/{}", case.n_columns));
    for dtype in [DType::F32, DType::F64] {
        let what = format!("{dtype:?} {options:?}");
        let guide = guide.map(|guide| units(guide, dtype));
        let guide = guide.as_ref().map(|(queries, documents)| Guide { queries, documents });
        let (queries, documents) =
            (leaf(&embeddings.queries, dtype), leaf(&embeddings.documents, dtype));
        let (unit_queries, unit_documents) = (unit(&queries).unwrap(), unit(&documents).unwrap());
        let whole = ContrastiveBatch { guide, ..batch(&unit_queries, &unit_documents) };
        let loss = contrastive_loss(&whole, options).unwrap();
        let store = loss.backward().unwrap();
        assert_all_near(&numbers(&loss), &[case.loss], &what);
        assert_all_near(
            &numbers(store.get(&queries).unwrap()),
            &case.gradient_queries.concat(),
            &what,
        );
        assert_all_near(
            &numbers(store.get(&documents).unwrap()),
            &case.gradient_documents.concat(),
            &what,
        );

        let pieces = contrastive_gradients(&whole, options, 2).unwrap();
        assert_all_near(&[pieces.loss], &[case.loss], &what);
        let seeded = ((&unit_queries * &pieces.queries).unwrap().sum_all().unwrap()
            + (&unit_documents * &pieces.documents).unwrap().sum_all().unwrap())
        .unwrap();
        let store = seeded.backward().unwrap();
        assert_all_near(
            &numbers(store.get(&queries).unwrap()),
            &case.gradient_queries.concat(),
            &what,
        );
        assert_all_near(
            &numbers(store.get(&documents).unwrap()),
            &case.gradient_documents.concat(),
            &what,
        );
    }
}

fn options(fields: Value) -> ContrastiveOptions {
    serde_json::from_value(fields).unwrap()
}

#[test]
fn every_direction_partition_and_hardness_equals_sentence_transformers() {
    let cases: Vec<Case> = fixture("/contrastive/ranking");
    assert!(cases.len() >= 36);
    for case in &cases {
        let mut options = options(json!({
            "temperature": case.rest["temperature"],
            "directions": case.rest["directions"],
            "partition": case.rest["partition"],
        }));
        if !case.rest["hardness"].is_null() {
            let mode = serde_json::from_value(case.rest["hardness"].clone()).unwrap();
            let strength = case.rest["strength"].as_f64().unwrap();
            options.hardness = Some(Hardness { mode, strength });
        }
        assert_case(case, &options, None);
    }
}

#[test]
fn matryoshka_equals_sentence_transformers() {
    for case in &fixture::<Vec<Case>>("/contrastive/matryoshka") {
        let dimensions = case.rest["dimensions"].as_array().unwrap();
        let pairs: Vec<Value> = dimensions
            .iter()
            .zip(case.rest["weights"].as_array().unwrap())
            .map(|(dimensions, weight)| json!([dimensions, weight]))
            .collect();
        assert_case(case, &options(json!({ "matryoshka": pairs })), None);
    }
}

#[test]
fn a_guide_equals_gist() {
    let guide: Embeddings = fixture("/contrastive/guide");
    for case in &fixture::<Vec<Case>>("/contrastive/gist") {
        let margin = json!({ case.rest["strategy"].as_str().unwrap(): case.rest["margin"] });
        let options = options(json!({
            "temperature": case.rest["temperature"],
            "directions": case.rest["directions"],
            "guide_margin": margin,
        }));
        let n_documents = guide.queries.len() * (case.n_columns - 1);
        let guide = Embeddings {
            documents: guide.documents[..n_documents].to_vec(),
            queries: guide.queries.clone(),
        };
        assert_case(case, &options, Some(&guide));
    }
}

fn all_directions() -> ContrastiveOptions {
    options(json!({
        "directions": ["query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"],
        "temperature": 0.1,
        "self_margin": {"absolute": 0.05},
        "matryoshka": [[8, 1.0], [3, 0.5]],
    }))
}

#[test]
fn gradients_equal_finite_differences_under_every_mask() {
    let embeddings: Embeddings = fixture("/contrastive/embeddings/3");
    let (queries, documents) = units(&embeddings, DType::F64);
    let hashes =
        TextHashes { queries: &[1, 2, 1, 4, 5], documents: &[1, 2, 3, 4, 2, 6, 7, 3, 9, 9] };
    let options = all_directions();
    let whole = ContrastiveBatch { texts: Some(hashes), ..batch(&queries, &documents) };
    let gradients = contrastive_gradients(&whole, &options, 3).unwrap();
    let found = [numbers(&gradients.queries), numbers(&gradients.documents)].concat();
    let (n_queries, n_documents) = (queries.elem_count(), documents.elem_count());
    for place in 0..n_queries + n_documents {
        let shifted = |step: f64| {
            let mut all = [numbers(&queries), numbers(&documents)].concat();
            all[place] += step;
            let rest = all.split_off(n_queries);
            let back = |values, like: &Tensor| {
                Tensor::from_vec(values, like.shape(), &Device::Cpu).unwrap()
            };
            let moved = ContrastiveBatch {
                texts: Some(hashes),
                ..batch(&back(all, &queries), &back(rest, &documents))
            };
            value(&moved, &options)
        };
        let slope = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
        assert_all_near(&[found[place]], &[slope], &format!("place {place}"));
    }
}

/// Without the columns that a mask leaves out, the loss must be the same as with them masked.
#[test]
fn equal_texts_are_left_out_of_the_denominator() {
    let embeddings: Embeddings = fixture("/contrastive/embeddings/3");
    let (queries, documents) = units(&embeddings, DType::F64);
    let query_rows = queries.to_vec2::<f64>().unwrap();
    let document_rows = documents.to_vec2::<f64>().unwrap();
    // Document 7, a hard negative of query 2, has the text of query 0's positive; queries 1 and 3
    // are one text, so either's positive (1, 3) answers both.
    let hashes = TextHashes {
        queries: &[10, 11, 12, 11, 14],
        documents: &[20, 21, 22, 23, 24, 25, 26, 20, 28, 29],
    };
    let left_out: [&[usize]; 5] = [&[7], &[3], &[], &[1], &[]];
    let expected: f64 = (0..5)
        .map(|row| {
            let dot = |column: usize| {
                query_rows[row]
                    .iter()
                    .zip(&document_rows[column])
                    .map(|(a, b)| a * b / 0.05)
                    .sum::<f64>()
            };
            let kept = (0..10).filter(|column| !left_out[row].contains(column));
            kept.map(|column| dot(column).exp()).sum::<f64>().ln() - dot(row)
        })
        .sum::<f64>()
        / 5.0;
    let masked = ContrastiveBatch { texts: Some(hashes), ..batch(&queries, &documents) };
    assert_all_near(&[value(&masked, &ContrastiveOptions::default())], &[expected], "texts");
}

/// Which entries of a direction get no gradient.
fn left_out(direction: Direction, texts: TextHashes<'_>, row: usize) -> Vec<usize> {
    let (queries, documents) = units(&fixture("/contrastive/embeddings/3"), DType::F64);
    let whole = ContrastiveBatch { texts: Some(texts), ..batch(&queries, &documents) };
    let mask = masks::Places::new(&whole).unwrap().left_out(direction, &(row..row + 1), &queries);
    let mask = numbers(&mask.unwrap().unwrap());
    mask.iter()
        .enumerate()
        .filter(|(_, value)| value.is_infinite())
        .map(|(place, _)| place)
        .collect()
}

#[test]
fn each_direction_leaves_out_its_own_equals() {
    let texts = TextHashes {
        queries: &[10, 11, 12, 11, 14],
        documents: &[20, 21, 22, 23, 22, 25, 26, 20, 28, 29],
    };
    assert_eq!(left_out(Direction::QueryToDoc, texts, 0), [7]);
    assert_eq!(
        left_out(Direction::QueryToDoc, texts, 2),
        [4],
        "another's positive with the same text"
    );
    assert_eq!(left_out(Direction::DocToQuery, texts, 1), [3], "the same query once more");
    assert_eq!(left_out(Direction::DocToQuery, texts, 2), [4]);
    assert_eq!(left_out(Direction::QueryToQuery, texts, 1), [1, 3]);
    assert_eq!(left_out(Direction::QueryToQuery, texts, 4), [2, 4], "a positive in common");
    assert_eq!(left_out(Direction::DocToDoc, texts, 0), [0, 5, 7]);
    assert_eq!(left_out(Direction::DocToDoc, texts, 3), [1, 3, 8]);
    let texts = TextHashes { documents: &[20, 21, 22, 23, 23, 25, 26, 20, 28, 29], ..texts };
    assert_eq!(left_out(Direction::DocToQuery, texts, 4), [1, 3], "whom the document answers");
    assert_eq!(left_out(Direction::DocToQuery, texts, 1), [3]);
}

#[test]
fn a_self_margin_leaves_out_what_is_nearer_than_the_positive() {
    let queries = matrix(&[vec![1.0, 0.0], vec![0.0, 1.0]], DType::F64);
    let at = |cosine: f64| vec![cosine, (1.0 - cosine * cosine).sqrt()];
    // Query 0's similarities: 0.5 (its positive), 0.0, 0.65, 0.45.
    let documents = matrix(&[at(0.5), at(0.0), at(0.65), at(0.45)], DType::F64);
    let loss = |margin: Option<Margin>| {
        let options =
            ContrastiveOptions { temperature: 1.0, self_margin: margin, ..Default::default() };
        value(&batch(&queries, &documents), &options)
    };
    let row = |similarities: &[f64]| similarities.iter().map(|s| s.exp()).sum::<f64>().ln();
    let second = row(&[0.75f64.sqrt(), 1.0, at(0.65)[1], at(0.45)[1]]) - 1.0;
    let whole = (row(&[0.5, 0.0, 0.65, 0.45]) - 0.5 + second) / 2.0;
    let masked = (row(&[0.5, 0.0, 0.45]) - 0.5 + second) / 2.0;
    assert_all_near(&[loss(None)], &[whole], "none");
    assert_all_near(&[loss(Some(Margin::Absolute(0.1)))], &[masked], "absolute, beyond");
    assert_all_near(&[loss(Some(Margin::Absolute(0.2)))], &[whole], "absolute, within");
    assert_all_near(&[loss(Some(Margin::Relative(0.2)))], &[masked], "relative, beyond");
    assert_all_near(&[loss(Some(Margin::Relative(0.4)))], &[whole], "relative, within");
}

#[test]
fn owners_say_whose_a_negative_is() {
    let embeddings: Embeddings = fixture("/contrastive/embeddings/3");
    let (queries, documents) = units(&embeddings, DType::F64);
    let options = options(json!({
        "directions": ["query_to_doc", "doc_to_doc"],
        "hardness": {"mode": "hard_negatives", "strength": 5.0},
    }));
    let columns = value(&batch(&queries, &documents), &options);
    let owners = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4];
    let named = ContrastiveBatch { owners: Some(&owners), ..batch(&queries, &documents) };
    assert_eq!(value(&named, &options), columns);
    let swapped = [0, 1, 2, 3, 4, 1, 0, 2, 3, 4];
    let named = ContrastiveBatch { owners: Some(&swapped), ..batch(&queries, &documents) };
    assert!((value(&named, &options) - columns).abs() > 1e-3);
    let uneven = documents.narrow(0, 0, 7).unwrap();
    let named = ContrastiveBatch { owners: Some(&owners[..7]), ..batch(&queries, &uneven) };
    assert!(value(&named, &options).is_finite());
    assert!(contrastive_loss(&batch(&queries, &uneven), &options).is_err());
}

#[test]
fn a_lone_pair_has_no_loss_and_nan_is_not_hidden() {
    let one = vec![vec![0.6, 0.8]];
    let lone = batch(&matrix(&one, DType::F32), &matrix(&one, DType::F32));
    let mut every = all_directions();
    every.matryoshka.clear();
    let gradients = contrastive_gradients(&lone, &every, 1).unwrap();
    // The pair stands in the denominator once for query_to_doc and once for doc_to_query.
    assert_all_near(&[gradients.loss], &[2f64.ln()], "loss");
    assert_all_near(&numbers(&gradients.queries), &[0.0, 0.0], "queries");

    let (queries, documents) = units(&fixture("/contrastive/embeddings/3"), DType::F32);
    let broken = (documents.ones_like().unwrap() * f64::NAN).unwrap();
    let broken =
        Tensor::cat(&[documents.narrow(0, 0, 9).unwrap(), broken.narrow(0, 9, 1).unwrap()], 0);
    assert!(value(&batch(&queries, &broken.unwrap()), &all_directions()).is_nan());
}

#[test]
fn options_and_batches_without_a_meaning_are_refused() {
    let refused = |fields: Value| options(fields).validate().unwrap_err().message;
    assert!(refused(json!({"temperature": 0.0})).contains("temperature is 0"));
    assert!(refused(json!({"directions": ["doc_to_query"]})).contains("query_to_doc"));
    assert!(refused(json!({"directions": ["query_to_doc", "query_to_doc"]})).contains("twice"));
    let alone = json!({"directions": ["query_to_doc", "doc_to_doc"], "partition": "per_direction"});
    assert!(refused(alone).contains("joint"));
    assert!(refused(json!({"self_margin": {"absolute": -0.1}})).contains("-0.1"));
    assert!(refused(json!({"matryoshka": [[0, 1.0]]})).contains("0 dimensions"));
    let negative = json!({"hardness": {"mode": "all_negatives", "strength": -1.0}});
    assert!(refused(negative).contains("-1"));

    let (queries, documents) = units(&fixture("/contrastive/embeddings/3"), DType::F32);
    let refused = |batch: ContrastiveBatch<'_>, options: &ContrastiveOptions| {
        contrastive_loss(&batch, options).unwrap_err().message
    };
    let plain = ContrastiveOptions::default();
    let few = documents.narrow(0, 0, 3).unwrap();
    assert!(refused(batch(&queries, &few), &plain).contains("3 documents"));
    let wide = ContrastiveOptions { matryoshka: vec![(9, 1.0)], ..Default::default() };
    assert!(refused(batch(&queries, &documents), &wide).contains("9 dimensions"));
    let short = TextHashes { queries: &[1; 5], documents: &[1; 9] };
    let short = ContrastiveBatch { texts: Some(short), ..batch(&queries, &documents) };
    assert!(refused(short, &plain).contains("9 documents"));
    let owners = [1, 0, 2, 3, 4, 0, 1, 2, 3, 4];
    let swapped = ContrastiveBatch { owners: Some(&owners), ..batch(&queries, &documents) };
    assert!(refused(swapped, &plain).contains("in order"));
    assert!(contrastive_gradients(&batch(&queries, &documents), &plain, 0).is_err());
}
