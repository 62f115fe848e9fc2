"""Make a tiny random Qwen3 reranker, and the scores that transformers computes with it in the way of Qwen3-Reranker's card.

Run after make_qwen.py, with the pins of requirements.txt; see README.md for what the files mean.
"""

import json
import shutil

import torch
import transformers
from make_qwen import END_OF_TEXT, FIXTURES, TOKENIZER_SIZE, VOCAB_SIZE, build_tokenizer, randomise, versions, write_json
from tokenizers import AddedToken
from transformers import Qwen3Config, Qwen3ForCausalLM

DIRECTORY = FIXTURES / "reranker-tiny"
SEED = 7
ANSWERS = ["no", "yes"]
LEAST_SPREAD = 0.01  # between two neighbouring scores, so that their order shows
START = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
END = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
CASES = [
    ("怎么导出客户列表", ["点击右上角的导出按钮。", "团队版每人每月一百九十九元。", "天气很好。", "Export it as a table."]),
    ("How long does a refund take?", ["Five working days.", "退款需要五天", "👍🏽 🔋 ok!", "x" * 300]),
]


def main():
    """Write the reranker and its reference."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    model = save_model()
    tokenizer = build_tokenizer()
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ANSWERS])
    tokenizer.save(str(DIRECTORY / "tokenizer.json"))
    cases = [{"query": query, "passages": passages, "scores": scores(model, tokenizer, query, passages)} for query, passages in CASES]
    for case in cases:
        ordered = sorted(case["scores"])
        spread = min(after - before for before, after in zip(ordered, ordered[1:]))
        print("reranker-tiny", case["scores"], "least spread", round(spread, 3))
        assert spread > LEAST_SPREAD, ordered
    write_json(FIXTURES / "reranker_reference.json", {"versions": versions(), "seed": SEED, "cases": cases})


def save_model():
    """The weights, with answers' rows that are not those of unused tokens, and a configuration in both forms."""
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=2, intermediate_size=64, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT, pad_token_id=END_OF_TEXT,
    )
    model = Qwen3ForCausalLM(config).eval()
    randomise(model, SEED, linear_scale=0.3)
    with torch.no_grad():
        rows = model.model.embed_tokens.weight[TOKENIZER_SIZE : TOKENIZER_SIZE + len(ANSWERS)]
        rows.copy_(0.4 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(SEED)))
    model.save_pretrained(DIRECTORY)
    (DIRECTORY / "generation_config.json").unlink(missing_ok=True)
    path = DIRECTORY / "config.json"
    older = {"rope_theta": 10000.0, "rope_scaling": None, "torch_dtype": "float32"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **older}, indent=2) + "\n")
    return model


def scores(model, tokenizer, query, passages):
    """The probability of "yes" against "no" after each passage alone."""
    answers = [tokenizer.token_to_id(answer) for answer in ANSWERS]
    found = []
    for passage in passages:
        pair = f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {passage}"
        ids = [number for part in (START, pair, END) for number in tokenizer.encode(part).ids]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1, answers]
        found.append(round(float(torch.softmax(logits, dim=0)[1]), 7))
    return found


if __name__ == "__main__":
    main()
