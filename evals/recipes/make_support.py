#!/usr/bin/env python3
"""Makes synthetic product-support dialogues, Chinese and English, for the training of a rewriter.

Writes rows {id, lang, kind, set_aside, history, query, rewrite}: history oldest first. Rows with
`set_aside` hold only words of the open classes (products, features, things, codes, …) that no
other row holds; there is one for six others. Equal arguments give an equal file.
"""
import argparse
import json
import random
import sys

from support import en, zh
from support.source import Source

SHARES = {"reference": 30, "missing": 30, "vague": 8, "complete": 22, "fact": 5, "noise": 5}
LANGUAGES = {"zh": zh, "en": en}


def rows_of(lang, n_rows, seed, held):
    """`n_rows` different rows of one language."""
    part = LANGUAGES[lang]
    source = Source(random.Random(f"{seed}-{lang}-{held}"), part.LISTS, part.MAKERS)
    source.held = held
    seen, rows = set(), []
    while len(rows) < n_rows:
        kind = source.weighted(SHARES)
        makers = part.KINDS[kind]
        history, query, rewrite = source.weighted(makers)(source)
        history = [turn for turn in history if turn]
        key = (tuple(history), query)
        if key in seen or not query or not rewrite:
            continue
        seen.add(key)
        rows.append({"id": f"support-{lang}-{'aside-' if held else ''}{len(rows)}", "lang": lang, "kind": kind,
                     "set_aside": held, "history": history, "query": query, "rewrite": rewrite})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="the JSONL file to write")
    parser.add_argument("--n-zh", type=int, default=12000, help="Chinese rows to train on")
    parser.add_argument("--n-en", type=int, default=12000, help="English rows to train on")
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    rows = []
    for lang, n_rows in (("zh", given.n_zh), ("en", given.n_en)):
        rows += rows_of(lang, n_rows, given.seed, False) + rows_of(lang, max(n_rows // 6, 1), given.seed, True)
    with open(given.out, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
