//! querent's Qwen against transformers' (fixtures and pins: `tests/parity/README.md`): the same
//! logits to 1e-4 at a scale of 10, the same greedy text for 64 tokens, alone and in a batch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::Device;
use querent::model::qwen::{Qwen, Segment};
use querent::model::{
    ChatTokenizer, GenerateRequest, Generator, GeneratorOptions, ModelFolder, TemplateMessage,
};
use serde::Deserialize;

/// The reference's own f32 noise on these logits is 3e-5 (measured by the script).
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    models: BTreeMap<String, ModelReference>,
}

#[derive(Deserialize)]
struct ModelReference {
    logits: Vec<LogitsCase>,
    greedy: Vec<GreedyCase>,
}

#[derive(Deserialize)]
struct LogitsCase {
    ids: Vec<u32>,
    first_position: usize,
    logits: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct GreedyCase {
    prompt: Vec<u32>,
    tokens: Vec<u32>,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures").join(name)
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Every model folder and GGUF file with its reference.
fn models() -> Vec<(String, Qwen, ModelReference)> {
    let mut reference: Reference = read("qwen_reference.json");
    let ggufs: Reference = read("qwen_reference.json");
    let mut models = Vec::new();
    for (name, of_gguf) in ggufs.models {
        if fixture(&format!("{name}.gguf")).is_file() {
            models.push((format!("{name}.gguf"), of_gguf));
        }
    }
    models.extend(std::mem::take(&mut reference.models));
    models
        .into_iter()
        .map(|(name, reference)| {
            let qwen = ModelFolder::open(&fixture(&name)).unwrap().load_qwen(&Device::Cpu);
            (name, qwen.unwrap(), reference)
        })
        .collect()
}

fn widest_gap(expected: &[Vec<f32>], got: &[Vec<f32>]) -> f32 {
    assert_eq!(expected.len(), got.len());
    let pairs = expected.iter().flatten().zip(got.iter().flatten());
    pairs.map(|(expected, got)| (expected - got).abs()).fold(0.0, f32::max)
}

fn logits(model: &Qwen, ids: &[u32], first_position: usize) -> Vec<Vec<f32>> {
    let mut segments = [Segment { n_tokens: ids.len(), cache: None }];
    let hidden = model.forward(ids, &mut segments).unwrap();
    let wanted = hidden.narrow(0, first_position, ids.len() - first_position).unwrap();
    model.logits(&wanted).unwrap().to_vec2().unwrap()
}

#[test]
fn logits_equal_transformers() {
    let models = models();
    assert!(models.len() >= 7, "only {} models have fixtures", models.len());
    for (name, model, reference) in &models {
        for case in &reference.logits {
            let got = logits(model, &case.ids, case.first_position);
            let gap = widest_gap(&case.logits, &got);
            assert!(gap < TOLERANCE, "{name}, {} tokens: off by {gap}", case.ids.len());
        }
    }
}

#[test]
fn packed_rows_and_cached_steps_equal_single_passes() {
    for (name, model, reference) in &models() {
        let cases = &reference.logits;
        let packed: Vec<u32> = cases.iter().flat_map(|case| case.ids.clone()).collect();
        let mut segments: Vec<Segment<'_>> =
            cases.iter().map(|case| Segment { n_tokens: case.ids.len(), cache: None }).collect();
        let hidden = model.forward(&packed, &mut segments).unwrap();
        let all: Vec<Vec<f32>> = model.logits(&hidden).unwrap().to_vec2().unwrap();
        let mut start = 0;
        for case in cases {
            let got = &all[start + case.first_position..start + case.ids.len()];
            start += case.ids.len();
            let gap = widest_gap(&case.logits, got);
            assert!(gap < TOLERANCE, "{name} packed, {} tokens: off by {gap}", case.ids.len());

            let mut cache = model.new_cache(1).unwrap();
            let mut last = Vec::new();
            for token in &case.ids {
                let mut segments = [Segment { n_tokens: 1, cache: Some(&mut cache) }];
                let hidden = model.forward(&[*token], &mut segments).unwrap();
                last = model.logits(&hidden).unwrap().to_vec2().unwrap();
            }
            let gap = widest_gap(&case.logits[case.logits.len() - 1..], &last);
            assert!(gap < TOLERANCE, "{name} cached, {} tokens: off by {gap}", case.ids.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn greedy_text_equals_transformers_alone_and_batched() {
    for (name, model, reference) in models() {
        let cases = &reference.greedy;
        let generator = Generator::start(
            model,
            GeneratorOptions {
                max_rows: cases.len(),
                max_waiting: 64,
                // The longest prompt's start is shared by nobody else: both ways are taken.
                shared_prefix: cases[0].prompt[..cases[0].prompt.len() / 2].to_vec(),
                stop_tokens: vec![],
            },
        )
        .unwrap();
        let request = |case: &GreedyCase, draft| {
            let mut request = GenerateRequest::greedy(case.prompt.clone(), case.tokens.len());
            request.stop_loops = false;
            request.draft = draft;
            request
        };
        for draft in [false, true] {
            for case in cases {
                let alone = generator.generate(request(case, draft)).await.unwrap();
                assert_eq!(alone.tokens, case.tokens, "{name} alone, draft {draft}");
            }
            let all = cases.iter().map(|case| generator.generate(request(case, draft)));
            for (batched, case) in futures::future::join_all(all).await.into_iter().zip(cases) {
                assert_eq!(batched.unwrap().tokens, case.tokens, "{name} batched, draft {draft}");
            }
        }
    }
}

#[derive(Deserialize)]
struct ChatReference {
    cases: Vec<ChatCase>,
    encodings: Vec<Encoding>,
}

#[derive(Deserialize)]
struct ChatCase {
    name: String,
    messages: Vec<BTreeMap<String, String>>,
    add_generation_prompt: bool,
    enable_thinking: Option<bool>,
    text: String,
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Encoding {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn chat_template_and_tokens_equal_transformers() {
    let reference: ChatReference = read("chat_template.json");
    for folder in ["qwen3-tiny", "qwen2-tiny-sharded-bf16"] {
        let tokenizer = ChatTokenizer::load(&ModelFolder::open(&fixture(folder)).unwrap()).unwrap();
        let asked = reference.cases.iter().filter(|case| case.add_generation_prompt);
        let switched = asked.filter_map(|case| Some((case, case.enable_thinking?)));
        for (case, thinking) in switched {
            let messages: Vec<TemplateMessage> = case
                .messages
                .iter()
                .map(|message| TemplateMessage {
                    role: message["role"].clone(),
                    content: message["content"].clone(),
                })
                .collect();
            let text = tokenizer.render_with(&messages, thinking).unwrap();
            assert_eq!(text, case.text, "{folder}: {}", case.name);
            assert_eq!(tokenizer.encode(&text).unwrap(), case.ids, "{folder}: {}", case.name);
        }
        for encoding in &reference.encodings {
            assert_eq!(
                tokenizer.encode(&encoding.text).unwrap(),
                encoding.ids,
                "{}",
                encoding.text
            );
        }
    }
}
