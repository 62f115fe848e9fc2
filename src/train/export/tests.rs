//! Exports of the parity fixtures. With `QUERENT_TEST_EXPORT_DIR` set they are left there for
//! `tests/parity/check_outputs.py`, which loads them with the Python packages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use super::*;
use crate::model::ModelFolder;
use crate::model::tensor_file::{self, NamedTensor, on_cpu};

const EXPORT_DIR: &str = "QUERENT_TEST_EXPORT_DIR";
/// Doubled in every exported model, so that the script sees new weights and not the old ones.
const CHANGED: &str = "layers.0.mlp.down_proj.weight";

fn fixture(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(Path::new(file!()));
    let root = here.ancestors().find(|dir| dir.join("tests/parity").is_dir()).unwrap();
    root.join("tests/parity/fixtures").join(name)
}

/// A folder that is empty at first and, on request, outlives the test.
struct Place {
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

fn place(name: &str) -> Place {
    match std::env::var_os(EXPORT_DIR) {
        Some(dir) => {
            let dir = PathBuf::from(dir).join(name);
            fs_err::remove_dir_all(&dir).ok();
            Place { dir, _temporary: None }
        }
        None => {
            let temporary = tempfile::tempdir().unwrap();
            Place { dir: temporary.path().join(name), _temporary: Some(temporary) }
        }
    }
}

/// The fixture's tensors without `model.` in front, one of them changed.
fn trained(name: &str) -> Vec<NamedTensor> {
    let tensors = tensor_file::load_cpu(&fixture(name).join("model.safetensors")).unwrap();
    let trained = |(name, tensor): (String, Tensor)| {
        let name = name.strip_prefix("model.").unwrap_or(&name).to_owned();
        let tensor = if name == CHANGED { (tensor * 2.0).unwrap() } else { tensor };
        (name, tensor)
    };
    tensors.into_iter().map(trained).collect()
}

fn f32_weights() -> WeightOptions {
    WeightOptions { dtype: DType::F32, ..WeightOptions::default() }
}

fn json_at(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs_err::read(dir.join(name)).unwrap()).unwrap()
}

/// An adapter of a fixture with every value different.
fn adapter(base: &str, task: AdapterTask, linears: &[&str], use_rslora: bool) -> Adapter {
    let shapes = tensor_file::shapes(&fixture(base).join("model.safetensors")).unwrap();
    let rank = 4;
    let wave = |seed: usize, shape: [usize; 2]| {
        let value = |at: usize| ((seed * 131 + at * 7) as f32).sin() * 0.1;
        on_cpu((0..shape[0] * shape[1]).map(value).collect(), &shape).unwrap()
    };
    let mut modules = Vec::new();
    for (name, shape) in shapes {
        let name = name.strip_prefix("model.").unwrap_or(&name);
        let Some(rest) = name.strip_prefix("layers.") else { continue };
        let (layer, rest) = rest.split_once('.').unwrap();
        let Some(module) = rest.strip_suffix(".weight") else { continue };
        if !linears.iter().any(|linear| module.ends_with(linear)) {
            continue;
        }
        let seed = modules.len();
        let (a, b) = (wave(seed, [rank, shape[1]]), wave(seed + 1_000, [shape[0], rank]));
        let (layer_idx, name) = (layer.parse().unwrap(), module.to_owned());
        modules.push(AdapterModule { layer_idx, name, a, b });
    }
    let base_model = format!("tiny/{base}");
    Adapter { task, rank, alpha: 6.0, dropout: 0.05, use_rslora, base_model, modules }
}

#[test]
fn adapters_come_back_as_they_were_written() {
    let all =
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].as_slice();
    for (name, base, task, linears, use_rslora) in [
        ("peft", "qwen3-tiny", AdapterTask::CausalLm, all, false),
        ("peft-rslora", "qwen3-tiny", AdapterTask::CausalLm, &["q_proj", "v_proj"], true),
        ("peft-embedder", "embedder-tiny", AdapterTask::Embedding, all, false),
    ] {
        let place = place(name);
        let adapter = adapter(base, task, linears, use_rslora);
        assert_eq!(write_adapter(&place.dir, &adapter).unwrap(), place.dir);
        let read = read_adapter(&place.dir).unwrap();
        assert_eq!((read.task, read.rank, read.alpha), (task, 4, 6.0));
        assert_eq!((read.dropout, read.use_rslora), (0.05, use_rslora));
        assert_eq!(read.base_model, adapter.base_model);
        assert_eq!(read.scale(), if use_rslora { 3.0 } else { 1.5 });
        assert_eq!(read.modules.len(), adapter.modules.len());
        for ours in &adapter.modules {
            let is_same = |found: &&AdapterModule| {
                (found.layer_idx, &found.name) == (ours.layer_idx, &ours.name)
            };
            let found = read.modules.iter().find(is_same).unwrap();
            assert_eq!(found.a.to_vec2::<f32>().unwrap(), ours.a.to_vec2::<f32>().unwrap());
            assert_eq!(found.b.to_vec2::<f32>().unwrap(), ours.b.to_vec2::<f32>().unwrap());
        }
        let config = json_at(&place.dir, "adapter_config.json");
        assert_eq!(config["target_modules"].as_array().unwrap().len(), linears.len());
        assert_eq!((&config["lora_alpha"], &config["peft_type"]), (&json!(6), &json!("LORA")));
    }
}

/// `tests/parity/make_adapter.py` fills A with the layer's number and a half, and counts through B.
#[test]
fn an_adapter_made_by_peft_is_read() {
    let adapter = read_adapter(&fixture("peft-tiny")).unwrap();
    assert_eq!((adapter.task, adapter.rank), (AdapterTask::CausalLm, 2));
    assert_eq!(adapter.scale(), 3.0 / 2.0_f64.sqrt());
    assert_eq!((adapter.dropout, adapter.base_model.as_str()), (0.1, "tiny/qwen3-tiny"));
    let names: Vec<(usize, &str)> =
        adapter.modules.iter().map(|found| (found.layer_idx, found.name.as_str())).collect();
    let expected = [0, 1, 2].map(|layer| [(layer, "mlp.down_proj"), (layer, "self_attn.q_proj")]);
    assert_eq!(names, expected.concat());
    for module in &adapter.modules {
        let (a, b) = (module.a.to_vec2::<f32>().unwrap(), module.b.to_vec2::<f32>().unwrap());
        let n_in = if module.name == "mlp.down_proj" { 96 } else { 48 };
        assert_eq!(a, vec![vec![module.layer_idx as f32 + 0.5; n_in]; 2]);
        assert_eq!(b[3], [6.0, 7.0]);
    }
}

#[test]
fn an_adapter_that_is_no_plain_lora_is_refused_with_the_setting() {
    let good = json_at(&fixture("peft-tiny"), "adapter_config.json");
    for (setting, value) in [
        ("use_dora", json!(true)),
        ("peft_type", json!("IA3")),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 8})),
        ("modules_to_save", json!(["lm_head"])),
        ("r", json!(3)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = good.clone();
        config[setting] = value.clone();
        fs_err::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
        let weights = "adapter_model.safetensors";
        fs_err::copy(fixture("peft-tiny").join(weights), dir.path().join(weights)).unwrap();
        let error = read_adapter(dir.path()).unwrap_err();
        assert_eq!(error.code, "adapter", "{setting}");
        let named = if setting == "r" { "rank 3" } else { setting };
        let is_named = error.message.contains(named) || error.message.contains("IA3");
        assert!(is_named, "{error}");
    }
    assert_eq!(read_adapter(Path::new("/nowhere")).unwrap_err().code, "adapter");
}

#[test]
fn an_adapter_of_another_rank_or_module_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let good = adapter("qwen3-tiny", AdapterTask::CausalLm, &["q_proj"], false);
    let mut head = good.clone();
    head.modules[0].name = "lm_head".into();
    let mut bad = good.clone();
    bad.modules[1].b = on_cpu(vec![f32::INFINITY; 64 * 4], &[64, 4]).unwrap();
    for (adapter, code) in [
        (Adapter { rank: 8, ..good.clone() }, "adapter"),
        (Adapter { modules: Vec::new(), ..good.clone() }, "adapter"),
        (head, "adapter"),
        (bad, "train_non_finite"),
    ] {
        let error = write_adapter(&dir.path().join("out"), &adapter).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_model_has_the_source_s_names_and_files_and_the_new_weights() {
    let place = place("model");
    let source = ModelFolder::open(&fixture("qwen3-tiny")).unwrap();
    write_model(&place.dir, &source, &trained("qwen3-tiny"), &f32_weights()).unwrap();
    let old = tensor_file::load_cpu(&fixture("qwen3-tiny/model.safetensors")).unwrap();
    let new = tensor_file::load_cpu(&place.dir.join("model.safetensors")).unwrap();
    assert_eq!(new.len(), old.len());
    assert!(new.contains_key("lm_head.weight"));
    for (name, old) in &old {
        let factor = if name.ends_with(CHANGED) { 2.0 } else { 1.0 };
        let expected = (old * factor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(new[name].flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected, "{name}");
    }
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        let read = |dir: &Path| fs_err::read(dir.join(name)).unwrap();
        assert_eq!(read(&place.dir), read(&fixture("qwen3-tiny")), "{name}");
    }
    assert_eq!(json_at(&place.dir, "config.json"), json_at(&fixture("qwen3-tiny"), "config.json"));
    assert!(ModelFolder::open(&place.dir).unwrap().is_servable());
}

/// Also when the source has stored it beside the embeddings, as some programs do.
#[test]
fn a_tied_head_is_left_out() {
    let place = place("model-tied");
    let source = tempfile::tempdir().unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    {
        fs_err::copy(fixture("qwen2-tiny").join(name), source.path().join(name)).unwrap();
    }
    let mut tensors = trained("qwen2-tiny");
    let embeddings = tensors.iter().find(|(name, _)| name == "embed_tokens.weight").unwrap();
    tensors.push(("lm_head.weight".into(), embeddings.1.clone()));
    let stored: Vec<NamedTensor> = tensors
        .iter()
        .map(|(name, tensor)| {
            (
                if name == "lm_head.weight" { name.clone() } else { format!("model.{name}") },
                tensor.clone(),
            )
        })
        .collect();
    let file = source.path().join("model.safetensors");
    tensor_file::save(&file, &stored, &Default::default()).unwrap();
    let folder = ModelFolder::open(source.path()).unwrap();
    write_model(&place.dir, &folder, &tensors, &f32_weights()).unwrap();
    let names = tensor_file::shapes(&place.dir.join("model.safetensors")).unwrap();
    assert!(names.contains_key("model.embed_tokens.weight"));
    assert_eq!(names.len(), stored.len() - 1);
    assert!(!names.contains_key("lm_head.weight"));
}

#[test]
fn a_long_model_is_cut_and_indexed() {
    let place = place("model-sharded");
    let source = ModelFolder::open(&fixture("qwen3-tiny")).unwrap();
    let options = WeightOptions { dtype: DType::BF16, max_shard_bytes: 60_000 };
    write_model(&place.dir, &source, &trained("qwen3-tiny"), &options).unwrap();
    let written = ModelFolder::open(&place.dir).unwrap();
    let shards = written.safetensors().unwrap();
    assert!(shards.len() > 2, "{} shards", shards.len());
    let mut total = 0;
    let index = json_at(&place.dir, "model.safetensors.index.json");
    for shard in &shards {
        let file = shard.file_name().unwrap().to_str().unwrap();
        for (name, tensor) in tensor_file::load_cpu(shard).unwrap() {
            assert_eq!(index["weight_map"][&name], file);
            assert_eq!(tensor.dtype(), DType::BF16);
            total += tensor.elem_count() * 2;
        }
    }
    assert_eq!(index["metadata"]["total_size"], total);
    assert_eq!(json_at(&place.dir, "config.json")["dtype"], "bfloat16");
    assert!(written.is_servable());
}

#[test]
fn weights_that_do_not_fit_the_source_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out");
    let source = ModelFolder::open(&fixture("qwen3-tiny")).unwrap();
    let good = trained("qwen3-tiny");
    let at = good.iter().position(|(name, _)| name == CHANGED).unwrap();
    let changed = |change: &dyn Fn(&mut Vec<NamedTensor>)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        tensors
    };
    let cases = [
        (changed(&|tensors| drop(tensors.remove(at))), "export_weights", CHANGED),
        (changed(&|tensors| tensors[at].0 = "layers.9.x".into()), "export_weights", "layers.9.x"),
        (changed(&|tensors| tensors[at].1 = tensors[at].1.t().unwrap()), "export_weights", CHANGED),
        (
            changed(&|tensors| tensors[at].1 = (&tensors[at].1 / 0.0).unwrap()),
            "train_non_finite",
            CHANGED,
        ),
    ];
    for (tensors, code, named) in cases {
        let error = write_model(&target, &source, &tensors, &f32_weights()).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(named), "{error}");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }
    fs_err::create_dir_all(target.join("mine")).unwrap();
    let error = write_model(&target, &source, &good, &f32_weights()).unwrap_err();
    assert_eq!(error.code, "train_target");
    let gguf = ModelFolder::open(&fixture("qwen3-tiny.gguf")).unwrap();
    let error = write_model(&dir.path().join("new"), &gguf, &good, &f32_weights()).unwrap_err();
    assert_eq!(error.code, "model_files");
}

#[test]
fn an_embedder_has_the_older_layout_and_the_source_s_prompts() {
    let place = place("embedder");
    let source = ModelFolder::open(&fixture("embedder-tiny")).unwrap();
    let prompts = BTreeMap::from([("query".to_owned(), "not these: ".to_owned())]);
    let options = EmbedderOptions { weights: f32_weights(), prompts, max_tokens: 9 };
    write_embedder(&place.dir, &source, &trained("embedder-tiny"), &options).unwrap();
    for name in [
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ] {
        let (ours, theirs) = (json_at(&place.dir, name), json_at(&fixture("embedder-tiny"), name));
        assert_eq!(ours, theirs, "{name}");
    }
    assert!(place.dir.join("2_Normalize").is_dir());
    let names = tensor_file::shapes(&place.dir.join("model.safetensors")).unwrap();
    assert!(names.contains_key("embed_tokens.weight"));
    assert!(ModelFolder::open(&place.dir).unwrap().is_servable());
}

#[test]
fn a_language_model_becomes_an_embedder_with_the_prompts_given() {
    let place = place("embedder-of-model");
    let source = ModelFolder::open(&fixture("qwen3-tiny")).unwrap();
    let prompts = BTreeMap::from([("query".to_owned(), "q: ".to_owned())]);
    let options = EmbedderOptions { weights: f32_weights(), prompts, max_tokens: 0 };
    write_embedder(&place.dir, &source, &trained("qwen3-tiny"), &options).unwrap();
    let kept = json_at(&place.dir, "config_sentence_transformers.json");
    assert_eq!(kept["prompts"], json!({"query": "q: "}));
    assert_eq!(json_at(&place.dir, "sentence_bert_config.json")["max_seq_length"], 512);
    assert_eq!(json_at(&place.dir, "1_Pooling/config.json")["word_embedding_dimension"], 48);
    let names = tensor_file::shapes(&place.dir.join("model.safetensors")).unwrap();
    assert!(!names.contains_key("lm_head.weight"));
}
