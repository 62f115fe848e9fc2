#!/usr/bin/env python3
"""Makes a suite for `querent eval` of the questions that `make_ambiguous.py` holds out, so that they
are measured as people are served: with the gate, the checks, and the raw query beside a rewrite.

Reads `corpus.jsonl` and `held_out.jsonl` below --made and writes a folder with `suite.toml`,
`turns.jsonl` and a page a passage.
"""
import argparse
import json
import pathlib

SUITE = """\
name = "ambiguous"
title = "Questions whose subject has moved into the history"
description = "Made by make_ambiguous.py."
type = "retrieval"
licence = "that of the questions and passages it was made from"
languages = ["zh", "en"]

[files]
turns = "turns.jsonl"
corpus = "pages"

[primary]
metric = "ndcg@10"
secondary = ["regret"]
slices = ["kind", "lang"]
"""


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def turn(row):
    roles = ("user", "assistant")
    history = [{"role": roles[n % 2], "content": text} for n, text in enumerate(row["history"])]
    return {
        "id": row["id"], "conversation": row["id"], "turn": len(history) // 2 + 1,
        "split": "test", "lang": row["lang"],
        "kind": "complete" if row["complete"] else "reference", "tags": [],
        "history": history, "query": row["query"], "facts": {}, "rewrite": row["rewrite"],
        "relevant": [{"document": f"{name}.md"} for name in row["relevant"]],
    }


def page(passage):
    return f"# {passage['title']}\n\n{passage['text']}\n" if passage["title"] else f"{passage['text']}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--made", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=400)
    args = parser.parse_args()
    pages = args.out / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    (args.out / "suite.toml").write_text(SUITE, encoding="utf-8")
    for passage in rows(args.made / "corpus.jsonl"):
        (pages / f"{passage['id']}.md").write_text(page(passage), encoding="utf-8")
    with open(args.out / "turns.jsonl", "w", encoding="utf-8") as file:
        for row in rows(args.made / "held_out.jsonl")[: args.limit]:
            file.write(json.dumps(turn(row), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
