"""Load what training exports with peft, transformers and sentence-transformers, and compare what they compute.

    QUERENT_TEST_EXPORT_DIR=FOLDER cargo test export
    python tests/parity/check_outputs.py FOLDER

The Rust tests leave exports of the fixtures in FOLDER; every exported model has one weight doubled (CHANGED).
"""

import logging
import pathlib
import sys
from importlib import metadata

import numpy
import torch
import transformers
from peft import PeftConfig, PeftModel
from safetensors import safe_open
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
CHANGED = "layers.0.mlp.down_proj.weight"
IDS = torch.tensor([[308, 72, 101, 108, 108, 111, 300, 5, 17, 42, 309, 200]])
LEAST_EFFECT, TOLERANCE = 1e-2, 2e-5
TEXTS = ["价格", "How long does a refund take for the other product?", "那它的退款需要多久？"]


def main():
    """Check every export in the folder."""
    folder = pathlib.Path(sys.argv[1])
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    names = ("peft", "transformers", "sentence-transformers", "torch", "safetensors")
    print(", ".join(f"{name} {metadata.version(name)}" for name in names))
    with torch.no_grad():
        check_adapter(folder / "peft", "qwen3-tiny", AutoModelForCausalLM)
        check_adapter(folder / "peft-rslora", "qwen3-tiny", AutoModelForCausalLM)
        check_adapter(folder / "peft-embedder", "embedder-tiny", AutoModel)
        check_model(folder / "model", "qwen3-tiny", torch.float32)
        check_model(folder / "model-tied", "qwen2-tiny", torch.float32)
        check_model(folder / "model-sharded", "qwen3-tiny", torch.bfloat16)
        check_embedder(folder / "embedder", "embedder-tiny", "query: ")
        check_embedder(folder / "embedder-of-model", "qwen3-tiny", "q: ")
    print("all outputs are read as they were meant")


def check_adapter(directory, base_name, auto_class):
    """The adapted model computes what the base does with scale * B @ A added to its matrices."""
    config = PeftConfig.from_pretrained(directory)
    before = compute(auto_class.from_pretrained(FIXTURES / base_name, dtype=torch.float32))
    warned = Warnings()
    adapted = PeftModel.from_pretrained(auto_class.from_pretrained(FIXTURES / base_name, dtype=torch.float32), directory)
    result = adapted.load_adapter(directory, adapter_name="again")
    missing = [key for key in result.missing_keys if "lora_" in key and "again" in key]
    assert not missing and not result.unexpected_keys, (missing, result.unexpected_keys)
    with_adapter = compute(adapted)
    factors = load_file(directory / "adapter_model.safetensors")
    assert header(directory / "adapter_model.safetensors") == {"format": "pt"}
    merged = auto_class.from_pretrained(FIXTURES / base_name, dtype=torch.float32)
    parameters = dict(merged.named_parameters())
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    modules = sorted(name.removesuffix(".lora_A.weight") for name in factors if ".lora_A." in name)
    for module in modules:
        parameter = parameters[module.removeprefix("base_model.model.") + ".weight"]
        parameter += scale * factors[module + ".lora_B.weight"] @ factors[module + ".lora_A.weight"]
    gap, effect = distance(with_adapter, compute(merged)), distance(with_adapter, before)
    assert gap < TOLERANCE and effect > LEAST_EFFECT, (gap, effect)
    assert gap < distance(with_adapter, compute(adapted.merge_and_unload())) + TOLERANCE
    warned.none()
    print(f"{directory.name}: {len(modules)} modules, scale {scale:g}, changes outputs by {effect:.3g}, off by {gap:.1e} from merging by hand")


def check_model(directory, base_name, dtype):
    """No name is missing or unexpected, and the logits are those of the base with the changed weight."""
    warned = Warnings()
    model, info = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    warned.none()
    problems = {name: list(found) for name, found in info.items() if found}
    assert not problems, problems
    assert next(model.parameters()).dtype == dtype, next(model.parameters()).dtype
    tied = model.config.tie_word_embeddings
    files = sorted(path.name for path in directory.glob("*.safetensors"))
    stored = {name for file in files for name in load_file(directory / file)}
    assert ("lm_head.weight" in stored) != tied
    assert all(header(directory / file) == {"format": "pt"} for file in files)
    # Loaded in that type: casting a model afterwards would round its rotary frequencies too.
    base = AutoModelForCausalLM.from_pretrained(FIXTURES / base_name, dtype=dtype)
    before = compute(base)
    dict(base.named_parameters())["model." + CHANGED].mul_(2)
    expected = compute(base)
    gap, effect = distance(compute(model), expected), distance(expected, before)
    assert gap == 0 and effect > LEAST_EFFECT, (gap, effect)
    ours, theirs = (AutoTokenizer.from_pretrained(path) for path in (directory, FIXTURES / base_name))
    chat = [{"role": "user", "content": TEXTS[0]}]
    for form in (lambda t: t(TEXTS)["input_ids"], lambda t: t.apply_chat_template(chat, tokenize=False)):
        assert form(ours) == form(theirs)
    assert model.generation_config.to_dict() == base.generation_config.to_dict()
    print(f"{directory.name}: {len(files)} file(s), {dtype}, head {'tied' if tied else 'stored'}, change {effect:.3g}, logits equal to the last bit")


def check_embedder(directory, base_name, prompt):
    """Loads as a whole, normalises, pools the last token, and puts the prompt in front of queries."""
    warned = Warnings()
    model = SentenceTransformer(str(directory), device="cpu")
    warned.none()
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"], list(model)
    assert model.prompts["query"] == prompt, model.prompts
    vectors, queries = model.encode(TEXTS), model.encode(TEXTS, prompt_name="query")
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert numpy.abs(vectors - queries).max() > LEAST_EFFECT
    base = AutoModel.from_pretrained(FIXTURES / base_name, dtype=torch.float32)
    before = last_hidden(base, model.tokenizer, TEXTS)
    dict(base.named_parameters())[CHANGED].mul_(2)
    by_hand = last_hidden(base, model.tokenizer, TEXTS)
    gap, effect = numpy.abs(vectors - by_hand).max(), numpy.abs(vectors - before).max()
    assert gap < TOLERANCE and effect > LEAST_EFFECT, (gap, effect)
    prompted = last_hidden(base, model.tokenizer, [prompt + text for text in TEXTS])
    assert numpy.abs(queries - prompted).max() < TOLERANCE
    print(f"{directory.name}: {len(vectors[0])} dimensions, at most {model.max_seq_length} tokens, change {effect:.3g}, off by {gap:.1e} from pooling by hand")


def last_hidden(model, tokenizer, texts):
    """Normalised last hidden states, one text at a time."""
    rows = []
    for text in texts:
        hidden = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0, -1]
        rows.append((hidden / hidden.norm()).numpy())
    return numpy.stack(rows)


def compute(model):
    """Logits, or the last hidden states of a model without a head."""
    output = model.eval()(input_ids=IDS)
    return output.logits if hasattr(output, "logits") else output.last_hidden_state


def distance(left, right):
    """Largest difference of two tensors."""
    return (left.float() - right.float()).abs().max().item()


def header(path):
    """The metadata of a safetensors file."""
    with safe_open(path, "pt") as file:
        return file.metadata()


class Warnings(logging.Handler):
    """Collects what the packages warn about from here on."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []
        transformers.logging.set_verbosity_warning()
        for name in ("transformers", "peft", "sentence_transformers"):
            logging.getLogger(name).addHandler(self)

    def emit(self, record):
        """Keep a message."""
        self.messages.append(record.getMessage())

    def none(self):
        """Stop; nothing may have been said."""
        for name in ("transformers", "peft", "sentence_transformers"):
            logging.getLogger(name).removeHandler(self)
        transformers.logging.set_verbosity_error()
        assert not self.messages, self.messages


if __name__ == "__main__":
    main()
