"""Compute golden values of the evaluation's metrics with sacrebleu, rouge-score, pytrec_eval and numpy.

Usage: make_metrics.py [multi-bleu-detok.perl]. With the path of Moses' script its own figures are written too; else the
file with them stays as it is. See README.md for what the fixtures mean.
"""

import collections
import json
import logging
import random
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import numpy
import pytrec_eval
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

FOLDER = Path(__file__).parent / "fixtures" / "metrics"
PACKAGES = ["sacrebleu", "rouge-score", "pytrec-eval-terrier", "numpy"]
N_TEXTS = 1000  # of each language
N_CORPORA, N_MULTI_BLEU, N_RANKINGS, N_LATENCIES = 1000, 200, 1000, 100
TOKENIZERS = ["13a", "zh", "char", "none"]
SMOOTHINGS = [("exp", None), ("none", None), ("floor", 0.1), ("floor", 0.35), ("add-k", 1.0), ("add-k", 0.5)]
MEASURES = ["ndcg_cut_1", "ndcg_cut_3", "ndcg_cut_10", "ndcg", "recall_1", "recall_3", "recall_10", "P_3", "map", "recip_rank"]
TEXT_COLUMNS = ["language", "query", "rewrite", "references", "bleu_options", "bleu", "rouge", "restoration"]
ROUGES = ["rouge1", "rouge2", "rougeL"]

# Pieces of word salads. What stands between two pieces is drawn as well, so that signs touch words or do not.
ENGLISH = (
    "the a of What does it cost price iPhone iphone 15 3.5 1,234.50 2026 -7 -5% £9 10-20 3- km/h Tom's O'Neill don't e.g. "
    "U.S. well-known ( ) [x] , . , ? ! ... ; : \" ' - -- / & &amp; &quot; &lt;b&gt; <skipped> * # @home $5 \\ ^ _ ` { | } ~ naïve "
    "Ünïcode ÉCOLE café İzmir ΣΟΦΟΣ “quoted” ’s — … ， 中文 ５ Ａ ① ½ ² € 😀 a\u0301 ７.５"
).split(" ")
ENGLISH_BETWEEN = [" "] * 20 + ["", "", "", "  ", "\t", "\u00a0", "\u2028", "\u3000", "\x1c", "\n", "-\n"]
CHINESE = list("价格多少钱的了它这个那华为小米手机北京天气怎样保修期几年不能退货么吗㐀龥龻豈") + [
    "。", "，", "？", "！", "、", "：", "“", "”", "《", "》", "（", "）", "·", "…", "—", "-", ".", ",", "%", "３", "．", "Ａ", "ｂ", "～", "￥",
    "iPhone", "IPHONE", "15", "3.5", "2026", "1,000", "A380", "Wi-Fi", "元/月", "①", "㈱", "㎡", "℃", "⺀", "⿰", "ㄅ", "カ", "ｶ", "한", "☎", "✓", "→",
    "𠀀", "𪚥", "😀", "\u2000", "\u2001", "\u2a6d", "\u2a6e", "\u2f81", "\ufe30", "&amp;", "<skipped>", "é",
]
CHINESE_BETWEEN = [""] * 24 + [" ", " ", "\u3000", "\t", "\n"]
PIECES = {"en": (ENGLISH, ENGLISH_BETWEEN), "zh": (CHINESE, CHINESE_BETWEEN)}


def main():
    """Write the fixtures."""
    logging.disable(logging.WARNING)
    FOLDER.mkdir(exist_ok=True)
    texts = [text_case(language, index) for language in PIECES for index in range(N_TEXTS)]
    write("texts", [[case[name] for name in TEXT_COLUMNS] for case in texts])
    corpora = [corpus_case(texts, index) for index in range(N_CORPORA)]
    write("corpora", corpora)
    write("rankings", [ranking_case(index) for index in range(N_RANKINGS)])
    write("latencies", [latency_case(index) for index in range(N_LATENCIES)])
    multi_bleu = None
    if len(sys.argv) > 1:
        multi_bleu = [multi_bleu_case(texts, index, sys.argv[1]) for index in range(N_MULTI_BLEU)]
        write("multi-bleu-detok", multi_bleu)
    versions = {name: metadata.version(name) for name in PACKAGES}
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    check_that_cases_differ(texts, corpora, multi_bleu)


def write(name, rows):
    """One case a line."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows]
    (FOLDER / f"{name}.jsonl").write_text("".join(lines))


def rounded(value):
    """Seven decimals, whole numbers as such."""
    value = round(float(value), 7)
    return int(value) if value == int(value) else value


def text_case(language, index):
    """A query, a rewrite and its references, with the scores of the rewrite."""
    draw = random.Random(f"{language}{index}")
    reference = salad(draw, language, draw.choice([1, 2, 3, 4, 5, 6, 7]))
    query = [piece for piece in reference if draw.random() < 0.7]
    rewrite = mutated(draw, language, draw.choice([reference, reference, reference, query]))
    references = [reference] + [mutated(draw, language, reference) for _ in range(draw.choice([0] * 8 + [1, 2]))]
    case = {"query": joined(draw, language, query), "rewrite": joined(draw, language, rewrite)}
    case["references"] = [joined(draw, language, pieces) for pieces in references]
    if index % 97 == 0:
        case[draw.choice(["query", "rewrite"])] = ""
    if index % 101 == 0:
        case["references"][0] = ""
    if index % 7 == 0:
        case["rewrite"] = case["references"][0]
    case["language"] = language
    case["bleu_options"] = options = bleu_options(index)
    case["bleu"] = [rounded(sentence_bleu(case, options, tokenizer)) for tokenizer in TOKENIZERS]
    case["rouge"] = rouge(case)
    case["restoration"] = restoration(case)
    return case


def salad(draw, language, n_pieces):
    """Random pieces; a third of them from a few, so that texts have n-grams in common by chance."""
    pieces = PIECES[language][0]
    return [draw.choice(pieces[:12] if draw.random() < 0.35 else pieces) for _ in range(n_pieces)]


def mutated(draw, language, pieces):
    """The pieces, with some dropped, replaced, doubled, added or in another order."""
    pieces = list(pieces)
    for _ in range(draw.choice([0, 1, 1, 2, 3])):
        place = draw.randrange(len(pieces) + 1)
        kind = draw.choice(["drop", "replace", "double", "add", "swap"])
        if kind == "drop":
            del pieces[place : place + 1]
        elif kind == "replace":
            pieces[place : place + 1] = salad(draw, language, 1)
        elif kind == "double":
            pieces[place:place] = pieces[place : place + 2]
        elif kind == "add":
            pieces[place:place] = salad(draw, language, draw.choice([1, 2]))
        else:
            pieces = pieces[place:] + pieces[:place]
    return pieces


def joined(draw, language, pieces):
    """The pieces as a text."""
    between = PIECES[language][1]
    text = "".join(piece + draw.choice(between) for piece in pieces)
    return text if draw.random() < 0.2 else text.strip()


def bleu_options(index):
    """Smoothing, its value, effective order, lowercase, longest n-grams: each with each in the course of the cases."""
    smoothing, value = SMOOTHINGS[index % len(SMOOTHINGS)]
    index //= len(SMOOTHINGS)
    return [smoothing, value, index % 2, index // 2 % 2, [4, 4, 2, 1, 3][index // 4 % 5]]


def bleu(options, tokenizer):
    """sacrebleu with these options."""
    smoothing, value, effective_order, lowercase, order = options
    return BLEU(
        lowercase=bool(lowercase),
        tokenize=tokenizer,
        smooth_method=smoothing,
        smooth_value=value,
        max_ngram_order=order,
        effective_order=bool(effective_order),
    )


def sentence_bleu(case, options, tokenizer):
    """Of one text."""
    return bleu(options, tokenizer).sentence_score(case["rewrite"], case["references"]).score


def streams(texts):
    """References as sacrebleu takes them: streams, with gaps."""
    n_streams = max(len(case["references"]) for case in texts)
    return [[dict(enumerate(case["references"])).get(place) for case in texts] for place in range(n_streams)]


def corpus_case(texts, index):
    """Some texts in a row as a corpus, by one of the tokenizers."""
    draw = random.Random(f"corpus{index}")
    start, n_texts = draw.randrange(len(texts) - 40), draw.choice([1, 2, 5, 10, 40])
    part = texts[start : start + n_texts]
    tokenizer, options = TOKENIZERS[index % len(TOKENIZERS)], bleu_options(draw.randrange(10_000))
    score = bleu(options, tokenizer).corpus_score([case["rewrite"] for case in part], streams(part))
    return [start, n_texts, tokenizer, options, rounded(score.score), rounded(score.bp), [rounded(p) for p in score.precisions]]


class Characters:
    """rouge-score with characters for tokens."""

    def tokenize(self, text):
        """All but white space."""
        return [character for character in text if not character.isspace()]


def rouge(case):
    """Precision, recall and F1 of the three, the best reference for each."""
    scorer = RougeScorer(ROUGES, tokenizer=Characters() if case["language"] == "zh" else None)
    scores = scorer.score_multi(case["references"], case["rewrite"])
    return [[rounded(value) for value in scores[name]] for name in ROUGES]


def restoration(case):
    """The counts behind the restoration scores: [matched, proposed, wanted] of n-grams of 1, 2 and 3; none if nothing is to be restored.

    Pan et al. 2019 with the details of RUN (Liu et al. 2020). No package offers it, so the definition is spelt out: go over
    every place of the text and collect the n-gram that begins there if one of its tokens is not in the query.
    """
    split = Characters().tokenize if case["language"] == "zh" else str.split
    query, rewrite, reference = (split(text) for text in (case["query"], case["rewrite"], case["references"][0]))
    if not set(reference) - set(query):
        return None
    counts = []
    for n in (1, 2, 3):
        found = []
        for tokens in (rewrite, reference):
            ngrams = collections.Counter()
            for place in range(len(tokens)):
                ngram = tuple(tokens[place : place + n])
                if len(ngram) == n and set(ngram).difference(query):
                    ngrams[ngram] = 1
            found.append(ngrams)
        counts.append([sum((found[0] & found[1]).values()), sum(found[0].values()), sum(found[1].values())])
    return counts


def ranking_case(index):
    """A run with ties, judgments (graded, some negative, some of what was not found), and trec_eval's measures."""
    draw = random.Random(f"ranking{index}")
    documents = draw.sample(range(1, 31), draw.choice([1, 3, 5, 8, 14]))
    scores = [draw.choice([0.1, 0.5, 0.5 + 1e-10, 1.0, draw.randrange(-9, 9) / 4]) for _ in documents]
    judged = draw.sample(range(1, 41), draw.choice([1, 1, 2, 4, 7]))
    judged += [document for document in documents if draw.random() < draw.choice([0.0, 0.2])]
    grades = {str(document): draw.choice([1, 1, 1, 2, 3, 0, -1]) for document in judged}
    if index % 25 == 0 or max(grades.values()) < 0:  # pytrec_eval hangs on queries with negative grades only
        grades = dict.fromkeys(grades, 0)
    run = {str(document): score for document, score in zip(documents, scores)}
    measured = pytrec_eval.RelevanceEvaluator({"q": grades}, set(MEASURES)).evaluate({"q": run})["q"]
    return [list(run.items()), grades, [rounded(measured[name]) for name in MEASURES]]


def latency_case(index):
    """Values, and numpy's mean and percentiles."""
    draw = random.Random(f"latency{index}")
    values = [round(draw.lognormvariate(3, 1), 2) for _ in range(draw.choice([1, 2, 3, 10, 21]))]
    return [values, [rounded(numpy.mean(values))] + [rounded(numpy.percentile(values, percent)) for percent in (50, 95, 99)]]


def multi_bleu_case(texts, index, script):
    """Some texts with their first and last references, scored by Moses' script: its two decimals."""
    draw = random.Random(f"multi{index}")
    clean = [place for place, case in enumerate(texts) if case["language"] == "en" and is_one_line(case)]
    start, n_texts = draw.randrange(len(clean) - 40), draw.choice([5, 10, 20, 40])
    places, lowercase = clean[start : start + n_texts], index % 2
    with tempfile.TemporaryDirectory() as folder:
        for name, reference in (("0", 0), ("1", -1)):
            Path(folder, "reference" + name).write_text("".join(texts[place]["references"][reference] + "\n" for place in places))
        rewrites = "".join(texts[place]["rewrite"] + "\n" for place in places)
        command = ["perl", script] + ["-lc"] * lowercase + [f"{folder}/reference"]
        printed = subprocess.run(command, input=rewrites.encode(), capture_output=True, check=True).stdout.decode()
    return [places, lowercase, float(printed.split(" = ")[1].split(",")[0])]


def is_one_line(case):
    """Whether the script can read it, and reads the same white space as Python."""
    return not any(sign in text for text in [case["rewrite"], *case["references"]] for sign in "\n\x1c")


def check_that_cases_differ(texts, corpora, multi_bleu):
    """A fixture of zeros and ones would pass with a wrong port."""
    for language in PIECES:
        own = [case for case in texts if case["language"] == language]
        for place, tokenizer in enumerate(TOKENIZERS):
            between = sum(0 < case["bleu"][place] < 99.9 for case in own)
            others = sum(len({case["bleu"][place], case["bleu"][other]}) > 1 for case in own for other in range(4) if other != place)
            assert between > 50 and others > 200, (language, tokenizer, between, others)
        assert sum(0 < case["rouge"][1][2] < 1 for case in own) > 200
        assert sum(case["restoration"] is not None and 0 < case["restoration"][1][0] < case["restoration"][1][1] for case in own) > 100
    assert sum(0 < corpus[4] < 99.9 for corpus in corpora) > 400
    assert multi_bleu is None or sum(0 < case[2] < 99.9 for case in multi_bleu) > 100


if __name__ == "__main__":
    main()
