#!/usr/bin/env python3
"""Draws the curves of runs by reward from their `events.jsonl`.

    plot.py OUT.png NAME=RUN_DIR [NAME=RUN_DIR ...]

Needs matplotlib. Means over the last 20 logged steps; dots are evaluations on the rows set aside.
"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = [
    ("reward", "mean reward of drawn answers"),
    ("ndcg@10", "nDCG@10 (dots: rows set aside, greedy)"),
    ("regret", "share worse than the raw query"),
    ("health/entropy", "entropy, nats a token"),
]


def read(run):
    steps = []
    for line in open(pathlib.Path(run) / "events.jsonl", encoding="utf-8"):
        event = json.loads(line)
        figures = dict(event)
        for part in ("scalars", "metrics", "eval"):
            if isinstance(event.get(part), dict):
                figures.update(event[part])
        steps.append(figures)
    return steps


def smooth(values, width=20):
    return [sum(values[max(0, i - width + 1) : i + 1]) / (i + 1 - max(0, i - width + 1)) for i in range(len(values))]


def main():
    target, runs = sys.argv[1], [argument.split("=", 1) for argument in sys.argv[2:]]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7))
    for axis, (name, title) in zip(axes.flat, PANELS):
        for number, (label, run) in enumerate(runs):
            events = read(run)
            drawn = [(e["step"], e[name]) for e in events if name in e and "step" in e]
            if drawn:
                axis.plot([s for s, _ in drawn], smooth([v for _, v in drawn]), label=label, color=f"C{number}")
            aside = [(e.get("step", 0), e[f"eval_{name}"]) for e in events if f"eval_{name}" in e]
            if aside:
                axis.plot([s for s, _ in aside], [v for _, v in aside], "o", color=f"C{number}")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()
