"""Ten steps of torch's AdamW on small random tensors, clipped by torch, and the learning rates of
transformers' schedules.

Run with the pins of requirements.txt; see README.md for what the file means.
"""

import json
from pathlib import Path

import torch
import transformers

TARGET = Path(__file__).resolve().parent / "fixtures" / "optimizer.json"
N_STEPS = 10
SHAPES = {"matrix": [5, 7], "norm": [7], "embedding": [6, 4], "bias": [4], "rare": [3, 3]}
DECAYING = ["matrix", "embedding", "rare"]
# No gradient comes for this weight in every third step: torch leaves it and its moments alone.
RARE = "rare"
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.1
MAX_NORM = 1.0


def numbers(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def adamw():
    torch.manual_seed(7)
    weights = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in SHAPES.items()}
    initial = {name: numbers(weight) for name, weight in weights.items()}
    groups = [
        {"params": [weights[name] for name in DECAYING], "weight_decay": WEIGHT_DECAY},
        {"params": [weights[name] for name in SHAPES if name not in DECAYING], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, foreach=False)
    schedule = transformers.get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=N_STEPS)
    steps = []
    for step in range(N_STEPS):
        # From far below the largest norm to far above it.
        size = 0.02 * 2.0**step
        gradients = {
            name: None if name == RARE and step % 3 == 1 else size * torch.randn(shape)
            for name, shape in SHAPES.items()
        }
        for name, weight in weights.items():
            weight.grad = None if gradients[name] is None else gradients[name].clone()
        norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), MAX_NORM)
        learning_rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        steps.append(
            {
                "gradients": {name: numbers(value) for name, value in gradients.items() if value is not None},
                "learning_rate": learning_rate,
                "norm": float(norm),
                "weights": {name: numbers(weight) for name, weight in weights.items()},
            }
        )
    state = {
        name: {
            "exp_avg": numbers(optimizer.state[weight]["exp_avg"]),
            "exp_avg_sq": numbers(optimizer.state[weight]["exp_avg_sq"]),
            "step": int(optimizer.state[weight]["step"]),
        }
        for name, weight in weights.items()
    }
    return {
        "shapes": SHAPES,
        "decaying": DECAYING,
        "weight_decay": WEIGHT_DECAY,
        "max_norm": MAX_NORM,
        "initial": initial,
        "steps": steps,
        "state": state,
    }


def schedules():
    cases = []
    for name in ["constant", "constant_with_warmup", "linear", "cosine"]:
        for warmup, total in [(0, 12), (4, 12), (1, 5), (5, 5)]:
            if name == "constant" and warmup:
                continue
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
            schedule = transformers.get_scheduler(
                name, optimizer, num_warmup_steps=warmup, num_training_steps=total
            )
            rates = []
            for _ in range(total + 2):
                rates.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            cases.append({"name": name, "n_warmup_steps": warmup, "n_steps": total, "learning_rates": rates})
    return cases


def main():
    result = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "adamw": adamw(),
        "schedules": schedules(),
    }
    clipped = [step["norm"] > MAX_NORM for step in result["adamw"]["steps"]]
    assert any(clipped) and not all(clipped), "the gradients must be clipped in some steps only"
    TARGET.write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
