#!/usr/bin/env python3
"""Mixes the public rewriting sets and the synthetic dialogues into train.jsonl and held_*.jsonl.

--data is a folder with
    rewrite/{rewrite_zh_train,qrecc_4k,qrecc_2k,canard_train,gecor,situated_train,disflqa_train,cast2019}.jsonl
        {id, lang, history, query, rewrite}; canard_train also `covered`, situated_train `context`
    retrieval/{squad_train,zh_train}_queries.jsonl
        {id, query, positive}
--support is what make_support.py wrote. What is set aside is chosen before anything is mixed, by
whole conversations, and no row of train.jsonl is equal to a row that was set aside. Equal
arguments give equal files.
"""
import argparse
import collections
import json
import pathlib
import random
import re

WORD_EN = re.compile(r"[a-z0-9]+")
LITTLE_ZH = set(" ，。？！?!的吗呢是对里上到被在了有和都")
LITTLE_EN = {"a", "an", "the", "of", "s", "in", "on", "for", "to", "at", "with", "by", "from", "is", "are", "was", "were", "do", "does", "did", "about", "and", "that", "than", "it", "its", "his", "her", "their", "as", "when", "who", "which", "what", "where", "why", "how", "be", "being", "been",
             "has", "have", "had", "after", "before", "during", "besides", "beside", "other", "or", "not", "my", "our", "plan", "out", "into", "he", "she", "they", "there", "over", "because"}
N_SITUATED, N_DISFLQA, N_GECOR, N_CANARD, N_WHOLE, N_WHOLE_HELD = 3000, 2500, 3000, 8000, 2500, 500
N_ZH_HELD, N_SUPPORT_HELD = 1000, 500
SHARE_QRECC_HELD, SHARE_CANARD_HELD = 0.05, 0.03
POINTERS_EN = re.compile(r"\b(it|its|they|them|their|he|she|him|her|his|this|that|these|those|there|one|ones|such|other|else|also)\b", re.I)
POINTERS_ZH = re.compile("他|她|它|這|这|那|其|该|該|此|本")


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def stem(word):
    """The word without common endings, so that `exporting` covers `export` and `copies` `copy`."""
    return re.sub(r"(?<=\w{2})[ey]$", "", re.sub(r"(?<=\w{3})(ing|ied|ies|ed|es|s)$", "", word))


def stems(text):
    return {stem(word) for word in WORD_EN.findall(text.lower())}


LITTLE_STEMS = {stem(word) for word in LITTLE_EN} | LITTLE_EN


def is_covered(row):
    """Whether the rewrite says nothing that neither history nor query says (little words aside)."""
    known = " ".join(row["history"] + [row["query"]])
    if row["lang"] == "zh":
        return not set(row["rewrite"].lower()) - set(known.lower()) - LITTLE_ZH
    return not stems(row["rewrite"]) - stems(known) - LITTLE_STEMS


def row_of(source, row, **changed):
    made = {"id": row["id"], "lang": row.get("lang", "en"), "source": source, "kind": row.get("kind", ""),
            "history": row.get("history", []), "query": row["query"].strip(), "rewrite": row.get("rewrite", row["query"]).strip()}
    return {**made, **changed}


def cut(items, n_first):
    return items[:n_first], items[n_first:]


def qrecc(folder, rng):
    """(train, held): conversations are parted whole. A row of the 4k file names none: rows belong
    together when their first turns are the same."""
    found = [row_of("qrecc", row) for name in ("qrecc_4k", "qrecc_2k") for row in rows(folder / f"{name}.jsonl")]
    groups = collections.defaultdict(list)
    for row in found:
        groups[(row["history"] or [row["query"]])[0].strip().lower()].append(row)
    names = sorted(groups)
    rng.shuffle(names)
    held_names, train_names = cut(names, round(len(names) * SHARE_QRECC_HELD))
    return [r for n in train_names for r in groups[n]], [r for n in held_names for r in groups[n]]


def canard(folder, rng):
    found = rows(folder / "canard_train.jsonl")
    name_of = lambda row: row["id"].rsplit("_q#", 1)[0]
    names = sorted({name_of(row) for row in found})
    rng.shuffle(names)
    held_names = set(names[:round(len(names) * SHARE_CANARD_HELD)])
    kept = [row for row in found if row["covered"] and row["history"]]
    train = [row_of("canard", row) for row in kept if name_of(row) not in held_names]
    rng.shuffle(train)
    return train, [row_of("canard", row) for row in kept if name_of(row) in held_names]


def situated(folder, rng):
    found = [row_of("situated", row, history=[f"{k}: {v}" for k, v in row["context"].items()])
             for row in rows(folder / "situated_train.jsonl") if row["context"]]
    rng.shuffle(found)
    return found


def is_whole(row):
    """Whether a question of a passage stands by itself: it names something and points nowhere."""
    query = row["query"]
    if re.search("[一-鿿]", query):
        return len(query) >= 8 and not POINTERS_ZH.search(query) and bool(re.search("[《“A-Za-z0-9]", query) or len(query) >= 12)
    names = re.findall(r"(?<=\s)[A-Z][\w-]+", query)
    return len(query.split()) >= 6 and bool(names) and not POINTERS_EN.search(query)


def whole_questions(path, lang, histories, asked_elsewhere, rng):
    """Questions that must stay as they are, behind another conversation or none."""
    found = [row for row in rows(path) if is_whole(row) and row["query"] not in asked_elsewhere]
    passages = sorted({row["positive"] for row in found})
    rng.shuffle(passages)
    place = {name: index for index, name in enumerate(passages)}
    found.sort(key=lambda row: place[row["positive"]])
    made = []
    for row in found[:2 * (N_WHOLE + N_WHOLE_HELD)]:
        history = rng.choice(histories) if rng.random() < 0.7 else []
        made.append((row["positive"], row_of("whole", row, lang=lang, kind="complete", id=f"whole-{lang}-{row['id']}", history=history)))
    held = made[:N_WHOLE_HELD // 2]
    taken = {name for name, _ in held}
    train = [row for name, row in made[N_WHOLE_HELD // 2:] if name not in taken]
    rng.shuffle(train)
    return train[:N_WHOLE], [row for _, row in held]


def histories_of(found):
    return [row["history"][-6:] for row in found if 1 <= len(row["history"]) and sum(map(len, row["history"][-6:])) < 600]


def support(path, rng):
    """(train, held of all kinds, held complete)."""
    found = [row_of("support", row) | {"set_aside": row["set_aside"]} for row in rows(path)]
    train = [row for row in found if not row["set_aside"]]
    held, complete = [], []
    for lang in ("zh", "en"):
        aside = [row for row in found if row["set_aside"] and row["lang"] == lang]
        rng.shuffle(aside)
        first, rest = cut(aside, N_SUPPORT_HELD)
        held += first
        complete += [row for row in rest if row["kind"] == "complete"][:N_WHOLE_HELD // 2]
    for row in found:
        del row["set_aside"]
    return train, held, complete


def write(folder, name, found):
    with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def describe(name, found, dropped=None):
    """A line a source: rows, mean characters of history, query and rewrite, share unchanged."""
    by = collections.defaultdict(list)
    for row in found:
        by[row["source"], row["lang"]].append(row)
    for (source, lang), part in sorted(by.items()):
        mean = lambda get: sum(map(get, part)) / len(part)
        print(f"| {name} | {source} | {lang} | {len(part)} | {mean(lambda r: sum(map(len, r['history']))):.0f} | {mean(lambda r: len(r['query'])):.1f} "
              f"| {mean(lambda r: len(r['rewrite'])):.1f} | {100 * mean(lambda r: r['query'] == r['rewrite']):.0f} % | {(dropped or {}).get(source, 0)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--support", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--aside", type=pathlib.Path, help="rows whose `rewrite` is a question that others are measured on")
    given = parser.parse_args()
    folder, rng = given.data / "rewrite", random.Random(given.seed)

    zh = [row_of("rewrite_zh", row) for row in rows(folder / "rewrite_zh_train.jsonl")]
    zh_train, held_zh = zh[:-N_ZH_HELD], zh[-N_ZH_HELD:]
    qrecc_train, qrecc_held = qrecc(folder, rng)
    canard_train, canard_held = canard(folder, rng)
    cast = [row_of("cast2019", row) for row in rows(folder / "cast2019.jsonl")]
    support_train, held_support, complete_support = support(given.support, rng)
    en_histories, zh_histories = histories_of(qrecc_train), histories_of(zh_train + [r for r in support_train if r["lang"] == "zh"])
    aside = {row["rewrite"] for row in rows(given.aside)} if given.aside else set()
    whole_en, whole_en_held = whole_questions(given.data / "retrieval/squad_train_queries.jsonl", "en", en_histories, aside, rng)
    whole_zh, whole_zh_held = whole_questions(given.data / "retrieval/zh_train_queries.jsonl", "zh", zh_histories, aside, rng)
    gecor = [row_of("gecor", row) for row in rows(folder / "gecor.jsonl")]
    rng.shuffle(gecor)
    disflqa = [row_of("disflqa", row) for row in rows(folder / "disflqa_train.jsonl")]
    rng.shuffle(disflqa)

    held = {"held_zh": held_zh, "held_en": qrecc_held + cast + canard_held, "held_support": held_support,
            "held_complete": complete_support + whole_en_held + whole_zh_held}
    taken = {(tuple(row["history"]), row["query"]) for part in held.values() for row in part}
    train, dropped = [], collections.Counter()
    limits = [(zh_train, None), (qrecc_train, None), (canard_train, N_CANARD), (gecor, N_GECOR), (situated(folder, rng), N_SITUATED),
              (disflqa, N_DISFLQA), (support_train, None), (whole_en, None), (whole_zh, None)]
    for part, limit in limits:
        kept = []
        for row in part:
            if limit is not None and len(kept) == limit:
                break
            if not row["query"] or not is_covered(row) or (tuple(row["history"]), row["query"]) in taken:
                dropped[row["source"]] += 1
                continue
            kept.append(row)
        train += kept
    rng.shuffle(train)

    given.out.mkdir(parents=True, exist_ok=True)
    print("| file | source | lang | rows | history chars | query | rewrite | unchanged | dropped |\n|---|---|---|---|---|---|---|---|---|")
    for name, found in {"train": train, **held}.items():
        write(given.out, name, found)
        describe(name, found, dropped if name == "train" else None)


if __name__ == "__main__":
    main()
