"""Make a tiny random Qwen3 embedder in the sentence-transformers layout, and the embeddings that package computes.

Run after make_qwen.py, with the pins of requirements.txt; see README.md for what the files mean.
"""

import json
import shutil
from importlib import metadata

import numpy
import torch
import transformers
from make_qwen import END_OF_TEXT, FIXTURES, VOCAB_SIZE, build_tokenizer, randomise, versions, write_json
from sentence_transformers import SentenceTransformer
from tokenizers import processors
from transformers import Qwen3Config, Qwen3Model

DIRECTORY = FIXTURES / "embedder-tiny"
SEED = 5
DIMENSIONS, TRUNCATED = 32, 16
LONGEST_TOKENS = 768
PROMPTS = {"query": "query: ", "document": ""}
TEXTS = [
    "价格",
    "那它的退款需要多久？",
    "refund",
    "How long does a refund take for the other product?",
    "臺灣的天氣怎麼樣？今天 25°C，café 有開嗎？",
    "👍🏽 🔋 ok!",
    "Line one\n\nline two\twith  spaces, UPPER case and numbers 1234567890.",
    ("上海今天的天气怎么样？我想知道这个产品的价格是多少，退款需要多久，什么时候可以收到。" * 5)[:200],
]


def main():
    """Write the embedder and its reference."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    save_model()
    save_tokenizer()
    save_layout()
    write_json(FIXTURES / "embedder_reference.json", reference())


def save_model():
    """The weights, and a configuration that readers of transformers 4's and of transformers 5's form both take."""
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE, hidden_size=DIMENSIONS, num_hidden_layers=2, intermediate_size=64, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT, pad_token_id=END_OF_TEXT,
    )
    model = Qwen3Model(config)
    randomise(model, SEED, linear_scale=0.3)  # strong enough for the last token to show the text
    model.save_pretrained(DIRECTORY)
    path = DIRECTORY / "config.json"
    written = json.loads(path.read_text())
    older = {
        "rope_theta": 10000.0, "rope_scaling": None, "torch_dtype": "float32", "attention_bias": False,
        "attention_dropout": 0.0, "hidden_act": "silu", "tie_word_embeddings": True,
    }
    path.write_text(json.dumps({**written, **older}, indent=2) + "\n")


def save_tokenizer():
    """The tokenizer of the language models, which here ends every text with the token that is pooled."""
    tokenizer = build_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", pair="$A <|endoftext|> $B <|endoftext|>", special_tokens=[("<|endoftext|>", END_OF_TEXT)]
    )
    tokenizer.save(str(DIRECTORY / "tokenizer.json"))
    write_indented("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
        "padding_side": "left", "clean_up_tokenization_spaces": False, "model_max_length": LONGEST_TOKENS,
    })


def save_layout():
    """What sentence-transformers needs beside the model."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_indented("modules.json", [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ])
    unused = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens"]
    write_indented("1_Pooling/config.json", {
        "word_embedding_dimension": DIMENSIONS, **{f"pooling_mode_{mode}": False for mode in unused},
        "pooling_mode_lasttoken": True, "include_prompt": True,
    })
    write_indented("sentence_bert_config.json", {"max_seq_length": LONGEST_TOKENS, "do_lower_case": False})
    write_indented("config_sentence_transformers.json", {
        "prompts": PROMPTS, "default_prompt_name": None, "similarity_fn_name": "cosine",
    })


def reference():
    """Embeddings of every text, alone in its batch, as a document and as a query, whole and truncated."""
    model = SentenceTransformer(str(DIRECTORY), device="cpu", model_kwargs={"dtype": torch.float32})
    entries = []
    for text in TEXTS:
        entry = {"text": text}
        for form in PROMPTS:
            options = {"prompt_name": form}
            ids = model.tokenizer(PROMPTS[form] + text)["input_ids"]
            assert ids[-1] == END_OF_TEXT and ids.count(END_OF_TEXT) == 1 and len(ids) < LONGEST_TOKENS
            short = model.encode([text], truncate_dim=TRUNCATED, normalize_embeddings=True, **options)[0]
            whole = model.encode([text], **options)[0]
            assert abs(numpy.linalg.norm(whole) - 1) < 1e-6 and abs(numpy.linalg.norm(short) - 1) < 1e-6
            assert numpy.allclose(short, whole[:TRUNCATED] / numpy.linalg.norm(whole[:TRUNCATED]), atol=1e-6)
            entry[form] = {"ids": ids, "embedding": rounded(whole), "truncated": rounded(short)}
        entries.append(entry)
    return {
        "versions": {**versions(), "sentence_transformers": metadata.version("sentence-transformers")},
        "seed": SEED,
        "prompts": PROMPTS,
        "truncate_dim": TRUNCATED,
        "f32_noise": check(entries, model.encode(TEXTS), model.encode(TEXTS, prompt_name="query")),
        "texts": entries,
    }


def check(entries, documents, queries):
    """Texts and prompts must show in the embeddings, and padding must not; returns how much it does in f32."""
    alone = {form: numpy.array([entry[form]["embedding"] for entry in entries]) for form in PROMPTS}
    similarity = alone["document"] @ alone["document"].T - 2 * numpy.eye(len(entries))
    prompted = numpy.abs(alone["document"] - alone["query"]).max(axis=1)
    assert similarity.max() < 0.9 and prompted.min() > 1e-2, (similarity.max(), prompted)
    noise = max(numpy.abs(alone["document"] - documents).max(), numpy.abs(alone["query"] - queries).max())
    print("embedder-tiny closest pair", round(float(similarity.max()), 3), "least effect of the prompt", round(float(prompted.min()), 3))
    assert noise < 1e-4, noise
    return float(f"{noise:.1e}")


def rounded(vector):
    """A list of floats short enough for JSON."""
    return numpy.round(vector.astype(numpy.float64), 7).tolist()


def write_indented(name, value):
    """A configuration file in the model's directory."""
    path = DIRECTORY / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
