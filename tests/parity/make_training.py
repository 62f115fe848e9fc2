"""Ten AdamW steps of the tiny language models with transformers and torch: every loss, and every
weight at the end. Writes fixtures/training.json and fixtures/training-NAME.safetensors."""

import json
import random
from pathlib import Path

import safetensors.torch
import torch
import transformers

FIXTURES = Path(__file__).parent / "fixtures"
MODELS = ["qwen2-tiny", "qwen3-tiny"]
STEPS = 10
LEARNING_RATE = 2e-3
# The biases of keys have gradients of 0 but for rounding where RoPE turns little: softmax does not
# see them. With torch's 1e-8 AdamW would blow the rounding up to whole steps.
EPSILON = 1e-6
WEIGHT_DECAY = 0.05
MAX_GRAD_NORM = 1.0


def batches(seed):
    """Per step four rows of prompt and answer, of unlike lengths."""
    chance = random.Random(seed)
    tokens = lambda n: [chance.randrange(300) for _ in range(n)]
    row = lambda: {"prompt": tokens(chance.randint(2, 12)), "answer": tokens(chance.randint(1, 9))}
    return [[row() for _ in range(4)] for _ in range(STEPS)]


def padded(rows):
    longest = max(len(row["prompt"]) + len(row["answer"]) for row in rows)
    ids, labels, mask = [], [], []
    for row in rows:
        tokens = row["prompt"] + row["answer"]
        pad = longest - len(tokens)
        ids.append(tokens + [0] * pad)
        labels.append([-100] * len(row["prompt"]) + row["answer"] + [-100] * pad)
        mask.append([1] * len(tokens) + [0] * pad)
    return torch.tensor(ids), torch.tensor(labels), torch.tensor(mask)


def groups(model):
    """Weight decay for matrices only."""
    named = list(model.named_parameters())
    decayed = [weight for _, weight in named if weight.dim() >= 2]
    others = [weight for _, weight in named if weight.dim() < 2]
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def train(name, seed):
    model = transformers.AutoModelForCausalLM.from_pretrained(FIXTURES / name, dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(groups(model), lr=LEARNING_RATE, eps=EPSILON)
    rows = batches(seed)
    losses, norms = [], []
    for step in rows:
        ids, labels, mask = padded(step)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        targets = labels[:, 1:]
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-100
        )
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM).item())
        optimizer.step()
        losses.append(loss.item())
    weights = {key: value.detach().clone() for key, value in model.named_parameters()}
    safetensors.torch.save_file(
        weights, FIXTURES / f"training-{name}.safetensors", metadata={"format": "pt"}
    )
    assert losses[-1] == losses[-1] and max(norms) > MAX_GRAD_NORM, "clipping is part of the test"
    return {"batches": rows, "losses": losses, "gradient_norms": norms}


def main():
    reference = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "learning_rate": LEARNING_RATE,
        "epsilon": EPSILON,
        "weight_decay": WEIGHT_DECAY,
        "max_grad_norm": MAX_GRAD_NORM,
        "models": {name: train(name, seed) for seed, name in enumerate(MODELS)},
    }
    (FIXTURES / "training.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
