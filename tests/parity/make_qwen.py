"""Make tiny random Qwen2/Qwen3 checkpoints and what the real packages compute with them.

The weights are random but not degenerate: every part of the architecture is checked, by breaking
it, to change the logits, and greedy text is chosen (by seed) so that no step is a near tie.
Run with the pins of requirements.txt; see README.md for what the files mean.
"""

import copy
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

import gguf
import numpy
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config, Qwen3Config

FIXTURES = Path(__file__).resolve().parent / "fixtures"
VOCAB_SIZE = 320  # of the models; the tokenizer has a few tokens fewer, as Qwen's own does
BYTE_PAIR_TOKENS = 307
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKER_TOKENS = ["<think>", "</think>"]  # added tokens that are not "special", as in Qwen3
TOKENIZER_SIZE = BYTE_PAIR_TOKENS + len(SPECIAL_TOKENS) + len(MARKER_TOKENS)
END_OF_TEXT, IM_END = BYTE_PAIR_TOKENS, BYTE_PAIR_TOKENS + 2
NEW_TOKENS = 64
LEAST_MARGIN = 1e-2  # between the best and the second logit, at every greedy step
LEAST_EFFECT = 5e-2  # of breaking one part of the architecture, on some logit
PROMPT_LENGTHS = [3, 9, 21, 40]

# How Qwen cuts text before the byte pairs: contractions, letters, single digits, signs, blanks.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TOKENIZER_CORPUS = [
    "那它的价格是多少？这个产品的价格是多少？我想知道上海今天的天气怎么样。",
    "什么时候可以退款？退款需要多久？他是谁？它是什么？怎么样？可以吗？",
    "臺灣的天氣怎麼樣？這個產品多少錢？",
    "What is the price of the product? How long does the refund take?",
    "And what about the other one? Where is it, and when is it open?",
    "the that this with when where what which who how long there their then",
]
CHAT_TEMPLATE = (Path(__file__).resolve().parent / "chat_template.jinja").read_text(encoding="utf-8").rstrip("\n")
CONVERSATIONS = {
    "zh-system": [
        {"role": "system", "content": "你把追问改写成完整的问题。"},
        {"role": "user", "content": "小米 14 的价格是多少？"},
        {"role": "assistant", "content": "<think>\n先看官网，再回答。\n</think>\n\n3999 元起。"},
        {"role": "user", "content": "那它的电池呢？🔋"},
    ],
    "zh": [{"role": "user", "content": "臺灣的天氣怎麼樣？\n「今天」還是『明天』？"}],
    "en-system": [
        {"role": "system", "content": "Rewrite the last message as a complete question."},
        {"role": "user", "content": "How long does a refund take?"},
        {"role": "assistant", "content": "5 days.", "reasoning_content": "The policy says five days."},
        {"role": "user", "content": "And for <b>credit cards</b> & \"gift\" cards, it's the same?  "},
    ],
    "en": [
        {"role": "user", "content": "Where is the café?"},
        {"role": "assistant", "content": "On Main Street."},
        {"role": "user", "content": "When is it open?"},
        {"role": "assistant", "content": "Daily."},
    ],
}
TEXTS = [
    "", " ", "the price", "那它的价格是多少？", "臺灣 2024年", "I'VE it's  two  spaces\n\n\tand a tab ", "e\u0301 → é (NFC)",
    "👨\u200d👩\u200d👧 🔋", "<|im_start|>user\n<think>x</think><|im_end|>", "a\x00b\u3000c\ufeff",
]


def main():
    """Write every fixture of the language models."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    FIXTURES.mkdir(exist_ok=True)
    tokenizer = build_tokenizer()
    reference = {"versions": versions(), "models": {}}
    for name, recipe in recipes().items():
        reference["models"][name] = make_model(name, recipe)
    for name in ["qwen2-tiny", "qwen3-tiny"]:
        save_tokenizer(tokenizer, FIXTURES / name, template_in_config=True)
        write_gguf(name, tokenizer)
        reference["models"][name]["gguf"] = f"{name}.gguf"
    save_tokenizer(tokenizer, FIXTURES / "qwen2-tiny-sharded-bf16", template_in_config=False)
    write_json(FIXTURES / "qwen_reference.json", reference)
    write_json(FIXTURES / "chat_template.json", chat_reference())


def versions():
    """What computed the references."""
    packages = ["torch", "transformers", "tokenizers", "safetensors", "numpy", "gguf", "jinja2"]
    return {"python": platform.python_version(), **{name: metadata.version(name).split("+")[0] for name in packages}}


def recipes():
    """Name -> configuration, dtype on disk, shard size, lengths of the sequences."""
    qwen2 = dict(hidden_size=64, num_hidden_layers=2, intermediate_size=96, tie_word_embeddings=True, rms_norm_eps=1e-3)
    qwen3 = dict(hidden_size=48, num_hidden_layers=3, intermediate_size=96, tie_word_embeddings=False, head_dim=16, rms_norm_eps=1e-6)
    common = dict(
        vocab_size=VOCAB_SIZE, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        bos_token_id=END_OF_TEXT, eos_token_id=IM_END, pad_token_id=END_OF_TEXT, use_cache=True,
    )
    plain = {"rope_type": "default", "rope_theta": 1000000.0}
    small = {"rope_type": "default", "rope_theta": 10000.0}
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    lengths = [5, 17, 40]
    return {
        "qwen2-tiny": (Qwen2Config(**common, **qwen2, rope_parameters=plain), torch.float32, None, lengths),
        "qwen3-tiny": (Qwen3Config(**common, **qwen3, rope_parameters=small), torch.float32, None, lengths),
        "qwen3-tiny-yarn": (
            Qwen3Config(**{**common, "max_position_embeddings": 256}, **qwen3, rope_parameters=yarn),
            torch.float32, None, [*lengths, 200],
        ),
        "qwen2-tiny-sharded-bf16": (
            Qwen2Config(**common, **{**qwen2, "rms_norm_eps": 1e-6}, rope_parameters=small), torch.bfloat16, "80KB", lengths,
        ),
        "qwen3-tiny-f16": (Qwen3Config(**common, **qwen3, rope_parameters=plain), torch.float16, None, lengths),
    }


def make_model(name, recipe):
    """Save the first seed whose greedy text is well defined, and compute its reference from the saved files."""
    config, dtype, shard_size, lengths = recipe
    prompt_lengths = PROMPT_LENGTHS if max(lengths) < 100 else [*PROMPT_LENGTHS[:-1], 120]
    for seed in range(1, 500):
        save_model(FIXTURES / name, copy.deepcopy(config), dtype, shard_size, seed)
        model = load(FIXTURES / name)
        greedy = greedy_texts(model, seed, prompt_lengths)
        if greedy:
            break
    else:
        raise AssertionError(f"{name}: no seed without a near tie")
    sequences = random_sequences(seed + 1000, lengths)
    effects = effects_of_breaking(model, sequences[-1])
    noise = max(numeric_noise(model, ids) for ids in sequences)
    print(name, "seed", seed, "noise", f"{noise:.1e}", {part: round(effect, 3) for part, effect in effects.items()})
    assert min(effects.values()) > LEAST_EFFECT, effects
    write_older_config(FIXTURES / name, model, sequences[-1])
    return {
        "seed": seed,
        "f32_noise": float(f"{noise:.1e}"),
        "logits": [logits_entry(model, ids, every=at == 0) for at, ids in enumerate(sequences)],
        "greedy": greedy,
    }


def save_model(directory, config, dtype, shard_size, seed):
    """A Hugging Face directory with random weights in `dtype`."""
    shutil.rmtree(directory, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, seed)
    model = model.to(dtype)
    model.generation_config = GenerationConfig(
        bos_token_id=END_OF_TEXT, eos_token_id=[IM_END, END_OF_TEXT], pad_token_id=END_OF_TEXT,
        do_sample=True, temperature=0.6, top_k=20, top_p=0.95,
    )
    model.save_pretrained(directory, **({"max_shard_size": shard_size} if shard_size else {}))
    shards = list(directory.glob("*.safetensors"))
    assert (len(shards) >= 2) == bool(shard_size) == (directory / "model.safetensors.index.json").exists()


def randomise(model, seed, linear_scale=0.2):
    """Weights far from their defaults: norms are not 1 and biases are not 0, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1.0 + 0.5 * noise.clamp(-1.8, 1.8))
            elif name.endswith("bias"):
                weight.copy_(0.5 * noise)
            elif "embed" in name or "lm_head" in name:
                weight.copy_(0.4 * noise)
                # Rows that no token of the tokenizer uses are next to zero, as in Qwen's checkpoints.
                weight[TOKENIZER_SIZE:] *= 0.01
            else:
                weight.copy_(linear_scale * noise)


def load(directory, **options):
    """The model as saved, computing in f32 with plain attention."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", **options)
    return model.eval()


def random_sequences(seed, lengths):
    """Token ids the tokenizer could have written, one sequence a length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, TOKENIZER_SIZE, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def logits_of(model, ids):
    """`[tokens, vocabulary]`, in one forward pass."""
    return model(torch.tensor([ids]), use_cache=False).logits[0]


def logits_entry(model, ids, every):
    """Logits at every position, or at the last one."""
    first = 0 if every else len(ids) - 1
    return {"ids": ids, "first_position": first, "logits": rounded(logits_of(model, ids)[first:], 6)}


def greedy_texts(model, seed, lengths):
    """What `generate` continues each prompt with; None where a step is a near tie or the text is a loop."""
    model = copy.deepcopy(model)
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=END_OF_TEXT,
        return_dict_in_generate=True, output_logits=True,
    )
    texts = []
    for prompt in random_sequences(seed + 2000, lengths):
        ids = torch.tensor([prompt])
        output = model.generate(ids, attention_mask=torch.ones_like(ids))
        tokens = output.sequences[0, len(prompt):].tolist()
        assert len(tokens) == NEW_TOKENS, "an end-of-text token was not disabled"
        best = torch.stack(output.logits)[:, 0].topk(2).values
        margin = (best[:, 0] - best[:, 1]).min().item()
        if margin < LEAST_MARGIN or is_loop(tokens):
            return None
        texts.append({"prompt": prompt, "tokens": tokens, "least_margin": round(margin, 4)})
    return texts


def is_loop(tokens):
    """Whether the text, or its end, repeats so much that a broken cache could produce it too."""
    return len(set(tokens)) < 20 or len(set(tokens[-16:])) < 6


def numeric_noise(model, ids):
    """The largest difference between ways to compute the same logits: what a port may differ by, at the least."""
    whole = logits_of(model, ids)
    with torch.no_grad():
        double = copy.deepcopy(model).double()(torch.tensor([ids]), use_cache=False).logits[0]
        past, steps = None, []
        for token in ids:
            output = model(torch.tensor([[token]]), past_key_values=past, use_cache=True)
            past = output.past_key_values
            steps.append(output.logits[0, -1])
    return max((whole - double).abs().max().item(), (whole - torch.stack(steps)).abs().max().item())


def effects_of_breaking(model, ids):
    """How much each mistake a port could make changes the last logits."""
    right = logits_of(model, ids)[-1]
    return {part: (logits_of(broken, ids)[-1] - right).abs().max().item() for part, broken in broken_models(model).items()}


def broken_models(model):
    """The model with one part wrong, by the name of the part."""
    config, broken = model.config, {}
    rope = config.rope_parameters
    broken["rope theta"] = rebuilt(model, rope_parameters={**rope, "rope_theta": rope["rope_theta"] * 3})
    if rope["rope_type"] == "yarn":
        broken["no yarn"] = rebuilt(model, rope_parameters={"rope_type": "default", "rope_theta": rope["rope_theta"]})
        broken["yarn without attention factor"] = rebuilt(model, rope_parameters={**rope, "attention_factor": 1.0})
        broken["linear for yarn"] = rebuilt(model, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": rope["rope_theta"]})
    if config.rms_norm_eps > 1e-5:
        broken["epsilon"] = rebuilt(model, rms_norm_eps=1e-6)
    for ending in ["q_norm.weight", "k_norm.weight", "q_proj.bias", "k_proj.bias", "v_proj.bias", "layernorm.weight", "norm.weight"]:
        if any(name.endswith(ending) for name, _ in model.named_parameters()):
            broken[ending] = filled(model, ending, 0.0 if ending.endswith("bias") else 1.0)
    broken["key-value heads"] = with_swapped_heads(model)
    return broken


def rebuilt(model, **changes):
    """The same weights under a changed configuration."""
    config = type(model.config)(**{**model.config.to_dict(), **changes})
    config._attn_implementation = "eager"
    other = type(model)(config).eval()
    other.load_state_dict(model.state_dict())
    return other


def filled(model, ending, value):
    """A copy with a default where the parameters with this ending are."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if name.endswith(ending):
                weight.fill_(value)
    return other


def with_swapped_heads(model):
    """A copy whose query heads 1 and 2 look at the other key-value head (tiled instead of repeated)."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for layer in other.model.layers:
            attention, width = layer.self_attn, layer.self_attn.head_dim
            order = torch.cat([torch.arange(head * width, (head + 1) * width) for head in (0, 2, 1, 3)])
            attention.q_proj.weight.copy_(attention.q_proj.weight[order])
            if attention.q_proj.bias is not None:
                attention.q_proj.bias.copy_(attention.q_proj.bias[order])
            attention.o_proj.weight.copy_(attention.o_proj.weight[:, order])
    return other


def write_older_config(directory, model, ids):
    """The same configuration as transformers 4 wrote it, the form in which Qwen's own checkpoints are published."""
    config = json.loads((directory / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    config["transformers_version"] = "4.51.0"
    (directory / "config.transformers4.json").write_text(json.dumps(config, indent=2) + "\n")
    loaded = AutoConfig.from_pretrained(directory / "config.transformers4.json")
    same = rebuilt(model, rope_parameters=loaded.rope_parameters)
    assert torch.equal(logits_of(same, ids), logits_of(model, ids)), "the two forms of config.json disagree"


def build_tokenizer():
    """A byte-level BPE tokenizer built as Qwen's is, with a tiny vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=BYTE_PAIR_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TOKENIZER_CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in MARKER_TOKENS])
    assert tokenizer.get_vocab_size() == TOKENIZER_SIZE
    assert tokenizer.token_to_id("<|im_end|>") == IM_END and tokenizer.token_to_id("<|endoftext|>") == END_OF_TEXT
    return tokenizer


def save_tokenizer(tokenizer, directory, template_in_config):
    """tokenizer.json and its configuration; the template inside it, or beside it as transformers 5 writes it."""
    tokenizer.save(str(directory / "tokenizer.json"))
    added = {
        str(number): {"content": token.content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": token.special}
        for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    config = {
        "add_bos_token": False, "add_prefix_space": False, "added_tokens_decoder": added, "additional_special_tokens": SPECIAL_TOKENS[1:],
        "bos_token": None, "clean_up_tokenization_spaces": False, "eos_token": "<|im_end|>", "errors": "replace",
        "model_max_length": 512, "pad_token": "<|endoftext|>", "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer", "unk_token": None,
    }
    if template_in_config:
        config["chat_template"] = CHAT_TEMPLATE
    else:
        (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (directory / "tokenizer_config.json").write_text(text, encoding="utf-8")


def write_gguf(name, tokenizer):
    """The same weights as a GGUF file, with the names and keys of llama.cpp's converter."""
    model = load(FIXTURES / name)
    config = model.config
    arch = gguf.MODEL_ARCH.QWEN2 if config.model_type == "qwen2" else gguf.MODEL_ARCH.QWEN3
    path = FIXTURES / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if arch == gguf.MODEL_ARCH.QWEN3:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_gguf_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for key, tensor in model.state_dict().items():
        if not (key == "lm_head.weight" and config.tie_word_embeddings):
            writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    check_gguf(path, model)


def add_gguf_tokenizer(writer, tokenizer):
    """The vocabulary as the converter writes it: padded with unused tokens to the model's."""
    state = json.loads(tokenizer.to_str())
    texts = {number: text for text, number in tokenizer.get_vocab().items()}
    kinds = {number: gguf.TokenType.CONTROL if token.special else gguf.TokenType.USER_DEFINED
             for number, token in tokenizer.get_added_tokens_decoder().items()}
    unused = {number: gguf.TokenType.UNUSED for number in range(TOKENIZER_SIZE, VOCAB_SIZE)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([texts.get(number, f"[PAD{number}]") for number in range(VOCAB_SIZE)])
    writer.add_token_types([{**kinds, **unused}.get(number, gguf.TokenType.NORMAL) for number in range(VOCAB_SIZE)])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_eos_token_id(IM_END)
    writer.add_pad_token_id(END_OF_TEXT)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def check_gguf(path, model):
    """transformers, reading the GGUF, must compute the same logits."""
    ids = random_sequences(7, [30])[0]
    # transformers ignores qwen3.attention.key_length (it takes 128), so Qwen3 needs its configuration handed over.
    options = {"config": model.config} if model.config.model_type == "qwen3" else {}
    other = load(path.parent, gguf_file=path.name, **options)
    difference = (logits_of(other, ids) - logits_of(model, ids)).abs().max().item()
    assert difference < 1e-4, f"{path.name} differs by {difference}"


def chat_reference():
    """What apply_chat_template renders, and how texts are cut into tokens."""
    tokenizer = AutoTokenizer.from_pretrained(FIXTURES / "qwen3-tiny")
    beside = AutoTokenizer.from_pretrained(FIXTURES / "qwen2-tiny-sharded-bf16")
    plain = Tokenizer.from_file(str(FIXTURES / "qwen3-tiny" / "tokenizer.json"))
    cases = []
    for name, messages in CONVERSATIONS.items():
        # An assistant's message last is a finished conversation, as in training data: no generation prompt.
        prompt = messages[-1]["role"] == "user"
        for thinking in [None, True, False]:
            options = {} if thinking is None else {"enable_thinking": thinking}
            options = {"tokenize": False, "add_generation_prompt": prompt, **options}
            text = tokenizer.apply_chat_template(messages, **options)
            assert text == beside.apply_chat_template(messages, **options)
            case = {"name": name, "messages": messages, "add_generation_prompt": prompt, "enable_thinking": thinking}
            cases.append({**case, "text": text, "ids": plain.encode(text, add_special_tokens=False).ids})
    encodings = []
    for text in TEXTS + [case["text"] for case in cases]:
        ids = plain.encode(text, add_special_tokens=False).ids
        assert ids == tokenizer(text, add_special_tokens=False)["input_ids"], text
        if text in TEXTS:
            encodings.append({"text": text, "ids": ids, "decoded": plain.decode(ids, skip_special_tokens=False)})
    return {"versions": versions(), "cases": cases, "encodings": encodings}


def rounded(tensor, decimals):
    """Nested lists of floats short enough for JSON."""
    return numpy.round(tensor.detach().double().numpy(), decimals).tolist()


def write_json(path, value):
    """Compact JSON, so that the fixtures stay small."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
