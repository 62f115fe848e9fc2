#!/usr/bin/env python3
"""Makes a retrieval set ambiguous: what a question is about moves into the history.

Reads `*_passages.jsonl` ({id, title, text}) and `*_queries.jsonl` ({id, query, positive}) and
writes, below --out:

    corpus.jsonl      the passages that are searched, {id, title, text}
    train.jsonl       {id, lang, history, query, rewrite, relevant, complete}
    held_out.jsonl    the same, of other articles

A question that names its article's subject loses it to a pronoun, or altogether; another question
on the same article that names it, and a sentence that answers it, become the history. One row in
eight keeps its question whole (`complete`): such a question must be left alone. Equal inputs and
an equal seed give equal files.
"""
import argparse
import collections
import json
import pathlib
import random
import re

SENTENCE_EN = re.compile(r"(?<=[.!?])\s+")
SENTENCE_ZH = re.compile(r"(?<=[。！？])")
MAX_HISTORY_CHARS = 220


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def subject_en(title, query):
    """The part of the title that the question names, with the article before it."""
    name = re.sub(r"\s*\(.*?\)", "", title).replace("_", " ").strip()
    candidates = [name]
    words = name.split()
    if len(words) >= 2:
        candidates += [words[-1]] if words[-1][:1].isupper() else []
        candidates += [" ".join(words[1:])] if len(words) > 2 else []
    for candidate in candidates:
        if len(candidate) < 4:
            continue
        found = re.search(r"\b((?:[Tt]he )?" + re.escape(candidate) + r")('s|s')?(?=\W|$)", query)
        if found:
            return found
    return None


def pronoun_en(passage):
    words = collections.Counter(re.findall(r"[a-z]+", passage.lower()))
    counts = {"he": words["he"] + words["his"], "she": words["she"] + words["her"]}
    best = max(counts, key=counts.get)
    return best if counts[best] >= 2 else "it"


POSSESSIVE = {"he": "his", "she": "her", "it": "its"}
OBJECT = {"he": "him", "she": "her", "it": "it"}


def ambiguous_en(title, query, passage, chance):
    found = subject_en(title, query)
    if not found:
        return None
    pronoun = pronoun_en(passage)
    start, end = found.span()
    before, after = query[:start], query[end:]
    if found.group(2):
        word = POSSESSIVE[pronoun]
    elif re.search(r"\b(of|in|to|for|with|by|from|about|at|on|against|under|into|like)\s$", before):
        # "What is the population of X?" may also lose X whole.
        if after.strip() in ("?", "") and chance.random() < 0.4:
            cut = re.sub(r"\s*\b(of|in|to|for|with|by|from|about|at|on)\s$", "", before)
            return cut + after.strip()
        word = OBJECT[pronoun]
    elif before.strip() == "" or re.search(r"\b(did|does|do|is|was|are|were|has|have|had|can|could|would|when|where|why|how|that|and)\s$", before, re.I):
        word = pronoun
    else:
        word = "this" if after.startswith(" ") else OBJECT[pronoun]
    if before.strip() == "":
        word = word.capitalize()
    return before + word + after


def ambiguous_zh(title, query, chance):
    name = re.sub(r"[（(].*?[)）]", "", title).strip("《》 ")
    if len(name) < 2 or name not in query:
        return None
    quoted = f"《{name}》"
    name = quoted if quoted in query else name
    before, after = query.split(name, 1)
    if after.startswith("的"):
        word = chance.choice(["它的", "", "其"])
        return before + word + after[1:]
    word = chance.choice(["它", "", "这个"])
    return before + word + after


def sentence_about(passage, title, lang):
    parts = (SENTENCE_ZH if lang == "zh" else SENTENCE_EN).split(passage["text"])
    parts = [part.strip() for part in parts if part.strip()]
    name = re.sub(r"\s*[（(].*?[)）]", "", title).replace("_", " ").strip("《》 ")
    named = [part for part in parts if name in part and len(part) <= MAX_HISTORY_CHARS]
    if named:
        return named[0]
    return (parts[0] if parts else passage["text"])[:MAX_HISTORY_CHARS]


def make(passages, queries, lang, chance):
    by_id = {passage["id"]: passage for passage in passages}
    by_title = collections.defaultdict(list)
    for query in queries:
        by_title[by_id[query["positive"]]["title"]].append(query)
    made = collections.defaultdict(list)
    for title, of_title in by_title.items():
        name = re.sub(r"\s*[（(].*?[)）]", "", title).replace("_", " ").strip("《》 ")
        naming = [q for q in of_title if (name in q["query"] if lang == "zh" else subject_en(title, q["query"]))]
        for query in of_title:
            passage = by_id[query["positive"]]
            others = [q for q in naming if q["id"] != query["id"] and q["query"] != query["query"]]
            if not others:
                continue
            first = chance.choice(others)
            # The history answers another question, from a passage that is not the one sought.
            elsewhere = by_id[first["positive"]]
            history = [first["query"], sentence_about(elsewhere, title, lang)]
            text = query["query"]
            if lang == "zh":
                asked = ambiguous_zh(title, text, chance)
            else:
                asked = ambiguous_en(title, text, passage["text"], chance)
            if asked is None or len(asked) < 4:
                continue
            complete = chance.random() < 0.125
            made[title].append({
                "id": query["id"], "lang": lang, "history": history,
                "query": text if complete else asked, "rewrite": text,
                "relevant": [query["positive"]], "complete": complete,
            })
    return made


def choose(made, n_titles, per_title, chance):
    titles = sorted(made)
    chance.shuffle(titles)
    chosen = titles[:n_titles]
    picked = []
    for title in chosen:
        own = made[title][:]
        chance.shuffle(own)
        picked += own[:per_title]
    chance.shuffle(picked)
    return chosen, picked


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrieval", type=pathlib.Path, required=True, help="folder with squad_train_* and zh_train_*")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--max-passages", type=int, default=3000, help="English passages that are searched")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    corpus, train, held_out = [], [], []
    for lang, stem, share_held_out, per_title in (("en", "squad_train", 0.25, 60), ("zh", "zh_train", 0.25, 60)):
        passages = rows(args.retrieval / f"{stem}_passages.jsonl")
        queries = rows(args.retrieval / f"{stem}_queries.jsonl")
        made = make(passages, queries, lang, chance)
        by_title = collections.defaultdict(list)
        for passage in passages:
            by_title[passage["title"]].append(passage)
        titles = sorted(made)
        chance.shuffle(titles)
        if lang == "en":
            kept, n = [], 0
            for title in titles:
                if n >= args.max_passages:
                    break
                kept.append(title)
                n += len(by_title[title])
            titles = kept
        n_held_out = max(1, round(len(titles) * share_held_out))
        for own, target in ((titles[:n_held_out], held_out), (titles[n_held_out:], train)):
            for title in own:
                picked = made[title][:]
                chance.shuffle(picked)
                target += picked[:per_title]
        searched = titles if lang == "en" else sorted(by_title)
        corpus += [passage for title in searched for passage in by_title[title]]
    chance.shuffle(train)
    chance.shuffle(held_out)
    for name, content in (("corpus", corpus), ("train", train), ("held_out", held_out)):
        with open(args.out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for row in content:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    counts = {name: dict(collections.Counter(row["lang"] for row in part)) for name, part in (("train", train), ("held_out", held_out))}
    print(json.dumps({"passages": len(corpus), **counts}))


if __name__ == "__main__":
    main()
