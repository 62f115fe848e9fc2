"""Compute golden values and gradients of the trainer's losses with TRL and sentence-transformers.

The packages' own code computes every number: their trainers' methods run on stand-ins for `self` and for the model, and
the model's stand-in returns logits (or embeddings) that are drawn here. Run with the pins of requirements.txt; see
README.md for what the fixture means.
"""

import io
import json
import random
import types
import warnings
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path

import pytrec_eval
import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from sentence_transformers.sentence_transformer.losses import (
    GISTEmbedLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
)
from sentence_transformers.util import mine_hard_negatives
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

FIXTURE = Path(__file__).parent / "fixtures" / "losses.json"
PACKAGES = ["trl", "sentence-transformers", "transformers", "torch", "pytrec-eval-terrier"]
N_PAIRS, MAX_TOKENS = 6, 7
DIMENSIONS, N_QUERIES = 8, 5


def main():
    """Write the fixture."""
    torch.set_num_threads(1)
    disable_progress_bar()
    warnings.simplefilter("ignore")
    fixture = {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "preference": preference(),
        "kto": kto(),
        "contrastive": contrastive(),
        "mining": mining(),
        "ranking": ranking(),
    }
    text = json.dumps(rounded(fixture), indent=None, separators=(",", ":"))
    FIXTURE.write_text(text.replace('{"name"', '\n{"name"') + "\n")


def rounded(value):
    """Twelve significant digits: enough to compare f64 with, short to store."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


# Preference pairs -----------------------------------------------------------------------------------------------------


class Sequences:
    """Completions of several lengths by their token log-probs, as the logits over two tokens that have exactly these."""

    def __init__(self, generator, n, dtype=torch.float64):
        self.n_tokens = torch.randint(2, MAX_TOKENS + 1, (n,), generator=generator)
        drawn = torch.rand(n, MAX_TOKENS, generator=generator, dtype=torch.float64)
        self.tokens = (-0.05 - 3 * drawn).to(dtype).requires_grad_()
        self.mask = (torch.arange(MAX_TOKENS) < self.n_tokens[:, None]).long()

    def logits(self):
        """[n, 1 + MAX_TOKENS, 2]; the last position predicts nothing."""
        other = torch.log(-torch.expm1(self.tokens))
        logits = torch.stack([self.tokens, other], dim=-1)
        return torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1)

    def padded_mask(self):
        """The completion mask with the column of the token before it."""
        return torch.cat([torch.zeros_like(self.mask[:, :1]), self.mask], dim=1)

    def ids(self, tag=0):
        """Token 0 throughout, but `tag` in the place that no position predicts."""
        ids = torch.zeros(len(self.tokens), MAX_TOKENS + 1, dtype=torch.long)
        ids[:, 0] = tag
        return ids

    def sums(self):
        """The summed log-prob of each completion."""
        return (self.tokens * self.mask).sum(1).tolist()

    def sum_gradients(self):
        """The gradient with respect to the sums: every token of a completion must have the same."""
        gradient = self.tokens.grad
        first = gradient[:, :1]
        assert torch.allclose(gradient, first * self.mask, rtol=1e-6, atol=1e-9), gradient
        return first[:, 0].tolist()


class Alone:
    """An accelerator of one process."""

    device = torch.device("cpu")

    def gather(self, tensor):
        return tensor

    gather_for_metrics = gather


def trainer(**attributes):
    """A stand-in for a trainer's `self`."""
    return types.SimpleNamespace(
        accelerator=Alone(), model=types.SimpleNamespace(training=True), aux_loss_enabled=False,
        precompute_ref_logps=True, _total_train_tokens=0, _metrics=defaultdict(lambda: defaultdict(list)), **attributes,
    )


DPO_DEFAULTS = dict(
    beta=0.1, label_smoothing=0.0, f_divergence="reverse_kl", alpha_divergence=0.5, discopop_tau=0.05,
)


def dpo_cases():
    """(losses with weights, changed options)."""
    plain = ["sigmoid", "hinge", "ipo", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
             "apo_down", "discopop", "sft", "sigmoid_norm"]
    for name in plain:
        yield [(name, 1.0)], {}
        yield [(name, 1.0)], {"beta": 0.7}
    for name in ["exo_pair", "robust", "aot", "aot_unpaired"]:
        yield [(name, 1.0)], {"label_smoothing": 0.1, "beta": 0.3}
    yield [("exo_pair", 1.0)], {"label_smoothing": 1e-3}
    for divergence in ["forward_kl", "js_divergence", "alpha_divergence"]:
        for name in ["sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "apo_zero", "apo_down",
                     "discopop", "sigmoid_norm", "aot", "aot_unpaired"]:
            yield [(name, 1.0)], {"f_divergence": divergence, "beta": 0.4}
    yield [("sigmoid", 1.0)], {"f_divergence": "alpha_divergence", "alpha_divergence": 1.0}
    yield [("sigmoid", 1.0)], {"f_divergence": "alpha_divergence", "alpha_divergence": 1.5}
    yield [("sigmoid", 0.8), ("bco_pair", 0.2), ("sft", 1.0)], {}
    yield [("sigmoid", 1.0)], {"use_weighting": True}
    yield [("ipo", 0.5), ("nca_pair", 0.5)], {"use_weighting": True, "beta": 0.5}


def preference():
    """DPO's losses by `DPOTrainer._compute_loss`, ORPO and SimPO by their trainers' `get_batch_loss_metrics`."""
    cases = [dpo_case(losses, {**DPO_DEFAULTS, **changed}) for losses, changed in dpo_cases()]
    cases += [orpo_case(0.1), orpo_case(0.5)]
    cases += [simpo_case(2.0, 0.5, 0.0, 0.0), simpo_case(2.5, 1.4, 0.1, 0.0), simpo_case(2.0, 0.5, 0.0, 1.0)]
    return {"pairs": pairs(torch.float64).shown(), "cases": cases, "ld_alpha": ld_case()}


class Pairs:
    """Chosen and rejected completions, and the reference's log-probs of them."""

    def __init__(self, seed, dtype):
        generator = torch.Generator().manual_seed(seed)
        self.both = Sequences(generator, 2 * N_PAIRS, dtype)
        noise = 2 * torch.randn(2 * N_PAIRS, generator=generator, dtype=torch.float64)
        self.reference = (torch.tensor(self.both.sums(), dtype=torch.float64) + noise).to(dtype)

    def shown(self):
        """The numbers that a loss gets."""
        chosen, rejected = slice(0, N_PAIRS), slice(N_PAIRS, None)
        sums, reference, counts = self.both.sums(), self.reference.tolist(), self.both.n_tokens.tolist()
        return {
            "policy_chosen": sums[chosen], "policy_rejected": sums[rejected],
            "reference_chosen": reference[chosen], "reference_rejected": reference[rejected],
            "chosen_tokens": counts[chosen], "rejected_tokens": counts[rejected],
        }

    def gradients(self):
        gradients = self.both.sum_gradients()
        return {"gradient_chosen": gradients[:N_PAIRS], "gradient_rejected": gradients[N_PAIRS:]}


def pairs(dtype):
    return Pairs(11, dtype)


def run_dpo(drawn, losses, options, ld_alpha=None):
    """The loss and the logged metrics of one batch, by TRL."""
    names, weights = zip(*losses)
    this = trainer(
        loss_types=list(names), loss_weights=list(weights), beta=options["beta"], ld_alpha=ld_alpha,
        label_smoothing=options["label_smoothing"], f_divergence_type=options["f_divergence"],
        f_alpha_divergence_coef=options["alpha_divergence"], use_weighting=options.get("use_weighting", False),
        args=types.SimpleNamespace(discopop_tau=options["discopop_tau"]),
    )
    mask = drawn.both.padded_mask()
    inputs = {
        "input_ids": drawn.both.ids(), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
        "ref_chosen_logps": drawn.reference[:N_PAIRS], "ref_rejected_logps": drawn.reference[N_PAIRS:],
    }
    outputs = types.SimpleNamespace(logits=drawn.both.logits())
    loss = DPOTrainer._compute_loss(this, lambda **_: outputs, inputs, False)
    loss.backward()
    logged = {name: values[-1] for name, values in this._metrics["train"].items()}
    return loss.item(), logged


def dpo_case(losses, options):
    # TRL has a limit for the exponent of the alpha divergence in f32, bf16 and f16 only.
    dtype = torch.float32 if options["f_divergence"] == "alpha_divergence" else torch.float64
    drawn = pairs(dtype)
    loss, logged = run_dpo(drawn, losses, options)
    weighted = options.pop("use_weighting", False)
    case = {"name": "+".join(name for name, _ in losses), "losses": losses, "options": options, "loss": loss,
            **drawn.gradients(), "metrics": preference_metrics(logged)}
    if weighted:
        case["weights"] = pair_weights(drawn)
    return case


def preference_metrics(logged):
    return {name: value for name, value in logged.items() if name.startswith(("rewards/", "logps/"))}


def pair_weights(drawn):
    """WPO's weight of each pair, which is local to TRL's method: the loss of a pair alone whose unweighted loss is 1."""
    weights = []
    for index in range(N_PAIRS):
        both = drawn.both
        rows = torch.tensor([index, N_PAIRS + index])
        alone = types.SimpleNamespace(both=object.__new__(Sequences), reference=both.tokens.new_zeros(2))
        alone.both.tokens = both.tokens.detach()[rows].requires_grad_()
        alone.both.mask, alone.both.n_tokens = both.mask[rows], both.n_tokens[rows]
        mask = alone.both.padded_mask()
        # The hinge of beta 0 is 1 whatever the scores, so the loss is the weight.
        this = trainer(
            loss_types=["hinge"], loss_weights=[1.0], beta=0.0, ld_alpha=None, label_smoothing=0.0,
            f_divergence_type="reverse_kl", use_weighting=True,
        )
        inputs = {"input_ids": alone.both.ids(), "attention_mask": torch.ones_like(mask), "completion_mask": mask,
                  "ref_chosen_logps": alone.reference[:1], "ref_rejected_logps": alone.reference[1:]}
        outputs = types.SimpleNamespace(logits=alone.both.logits())
        weights.append(DPOTrainer._compute_loss(this, lambda **_: outputs, inputs, False).item())
    return weights


def ld_case():
    """LD-DPO: the token log-probs, and the gradient of each token."""
    drawn, alpha = pairs(torch.float64), 0.4
    loss, _ = run_dpo(drawn, [("sigmoid", 1.0)], DPO_DEFAULTS, alpha)
    tokens = [row[:n].tolist() for row, n in zip(drawn.both.tokens.detach(), drawn.both.n_tokens)]
    gradients = [row[:n].tolist() for row, n in zip(drawn.both.tokens.grad, drawn.both.n_tokens)]
    return {"alpha": alpha, "loss": loss, "tokens": tokens, "gradients": gradients}


def odds_batch(drawn):
    """The batch of the ORPO and CPO trainers: one token of prompt, then the completion."""
    mask = drawn.both.padded_mask()
    ids, labels = drawn.both.ids(), torch.where(mask == 1, 0, -100)
    attention = mask.clone()
    attention[:, 0] = 1
    batch = {}
    for name, rows in [("chosen", slice(0, N_PAIRS)), ("rejected", slice(N_PAIRS, None))]:
        batch[f"{name}_input_ids"], batch[f"{name}_labels"] = ids[rows], labels[rows]
        batch[f"{name}_attention_mask"] = attention[rows]
    return batch


def run_odds(kind, drawn, **attributes):
    this = trainer(is_encoder_decoder=False, padding_value=0, pad_token_id=0, **attributes)
    for name in ["concatenated_inputs", "get_batch_logps"]:
        setattr(this, name, getattr(kind, name))
    for name in ["concatenated_forward", "odds_ratio_loss", "cpo_loss"]:
        if hasattr(kind, name):
            setattr(this, name, types.MethodType(getattr(kind, name), this))
    outputs = types.SimpleNamespace(logits=drawn.both.logits())
    loss, logged = kind.get_batch_loss_metrics(this, lambda *_, **__: outputs, odds_batch(drawn))
    loss.backward()
    logged = {key: value for key, value in logged.items() if not key.startswith("logits/")}
    return loss.item(), logged


def orpo_case(beta):
    drawn = pairs(torch.float64)
    loss, logged = run_odds(ORPOTrainer, drawn, beta=beta)
    return {"name": "orpo", "losses": [("orpo", 1.0)], "options": {**DPO_DEFAULTS, "beta": beta}, "loss": loss,
            **drawn.gradients(), "metrics": logged}


def simpo_case(beta, gamma, label_smoothing, cpo_alpha):
    drawn = pairs(torch.float64)
    loss, logged = run_odds(
        CPOTrainer, drawn, beta=beta, simpo_gamma=gamma, label_smoothing=label_smoothing, cpo_alpha=cpo_alpha,
        loss_type="simpo", alpha=0.0,
    )
    logged.pop("nll_loss")
    losses = [("simpo", 1.0)] + ([("sft", cpo_alpha)] if cpo_alpha else [])
    options = {**DPO_DEFAULTS, "beta": beta, "label_smoothing": label_smoothing, "simpo_gamma": gamma}
    return {"name": "simpo", "losses": losses, "options": options, "loss": loss, **drawn.gradients(), "metrics": logged}


# KTO ------------------------------------------------------------------------------------------------------------------


def kto():
    """Both losses by `KTOTrainer._compute_loss`: mixed labels, one kind only, and a negative KL estimate."""
    mixed = [True, False, True, True, False, False]
    return [
        kto_case("kto", mixed, 0.1, (1.0, 1.0), 0.5),
        kto_case("kto", mixed, 0.5, (1.33, 0.8), 1.5),
        kto_case("kto", mixed, 0.3, (1.0, 1.0), -2.0),
        kto_case("kto", [True] * 6, 0.3, (1.0, 1.0), 0.5),
        kto_case("kto", [False] * 6, 0.3, (1.0, 2.0), 0.5),
        kto_case("apo_zero_unpaired", mixed, 0.3, (1.0, 1.5), 0.5),
    ]


def kto_case(loss_type, labels, beta, weights, shift):
    generator = torch.Generator().manual_seed(23)
    policy, kl_policy = Sequences(generator, len(labels)), Sequences(generator, len(labels))
    noise = torch.randn(2, len(labels), generator=generator, dtype=torch.float64)
    reference = torch.tensor(policy.sums(), dtype=torch.float64) + 2 * noise[0]
    kl_reference = torch.tensor(kl_policy.sums(), dtype=torch.float64) + 0.5 * noise[1] - shift
    this = trainer(
        beta=beta, desirable_weight=weights[0], undesirable_weight=weights[1], loss_type=loss_type,
        calculate_KL=loss_type == "kto", use_liger_kernel=False,
    )
    this._compute_kl_logps = types.MethodType(KTOTrainer._compute_kl_logps, this)
    by_tag = {0: policy, 1: kl_policy}

    def model(input_ids, **_):
        return types.SimpleNamespace(logits=by_tag[input_ids[0, 0].item()].logits())

    batch = {
        "input_ids": policy.ids(0), "attention_mask": torch.ones_like(policy.ids()),
        "completion_mask": policy.padded_mask(), "KL_input_ids": kl_policy.ids(1),
        "KL_attention_mask": torch.ones_like(policy.ids()), "KL_completion_mask": kl_policy.padded_mask(),
        "label": torch.tensor(labels), "ref_logps": reference, "ref_KL_logps": kl_reference,
    }
    loss = KTOTrainer._compute_loss(this, model, batch, False)
    loss.backward()
    logged = {name: values[-1] for name, values in this._metrics["train"].items()}
    kept = {key: value for key, value in logged.items() if key.startswith(("rewards/", "logps/")) or key == "kl"}
    return {
        "name": loss_type, "beta": beta, "desirable_weight": weights[0], "undesirable_weight": weights[1],
        "desirable": labels, "policy": policy.sums(), "reference": reference.tolist(), "policy_kl": kl_policy.sums(),
        "reference_kl": kl_reference.tolist(), "loss": loss.item(), "gradient": policy.sum_gradients(),
        "metrics": kept,
    }


# Embeddings -----------------------------------------------------------------------------------------------------------


class Columns(torch.nn.Module):
    """A model whose text is the number of the column of embeddings to return."""

    def __init__(self, columns):
        super().__init__()
        self.columns = columns

    def forward(self, features):
        return {"sentence_embedding": self.columns[features["column"]]}

    def get_embedding_dimension(self):
        return DIMENSIONS


def draw_columns(seed, n_columns, n_rows=N_QUERIES, correlation=0.6):
    """Raw (not unit) embeddings: queries, then documents near to them."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(n_rows, DIMENSIONS, generator=generator, dtype=torch.float64)
    columns = [queries]
    for index in range(1, n_columns):
        noise = torch.randn(n_rows, DIMENSIONS, generator=generator, dtype=torch.float64)
        columns.append(correlation / index * queries + noise)
    return [column.requires_grad_() for column in columns]


def embedding_case(name, loss, columns, **fields):
    """Value, and gradients with respect to the raw embeddings."""
    loss.backward()
    documents = torch.cat([column.grad for column in columns[1:]])
    return {"name": name, **fields, "n_columns": len(columns), "loss": loss.item(),
            "gradient_queries": columns[0].grad.tolist(), "gradient_documents": documents.tolist()}


def contrastive():
    """Every number with respect to embeddings before normalisation, which is part of each package's loss."""
    shown = {
        str(n): {"queries": columns[0].tolist(), "documents": torch.cat(columns[1:]).tolist()}
        for n in [2, 3, 4] for columns in [draw_columns(31, n)]
    }
    guide = draw_columns(47, 3)
    return {"embeddings": shown, "ranking": ranking_cases(), "matryoshka": matryoshka_cases(), "gist": gist_cases(),
            "guide": {"queries": guide[0].tolist(), "documents": torch.cat(guide[1:]).tolist()}}


def ranking_cases():
    q2d, d2q, q2q, d2d = "query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc"
    settings = [(directions, "joint", None, 0.0, 20.0)
                for directions in [(q2d,), (q2d, d2q), (q2d, q2q), (q2d, d2d), (q2d, q2q, d2q, d2d)]]
    settings += [((q2d,), "joint", None, 0.0, 50.0), ((q2d, d2q), "per_direction", None, 0.0, 20.0)]
    settings += [((q2d,), "joint", mode, 5.0, 20.0)
                 for mode in ["in_batch_negatives", "hard_negatives", "all_negatives"]]
    settings += [((q2d, d2q), "per_direction", "all_negatives", 9.0, 20.0),
                 ((q2d, q2q, d2q, d2d), "joint", "in_batch_negatives", 9.0, 20.0)]
    cases = []
    for n_columns in [2, 3, 4]:
        for directions, partition, hardness, strength, scale in settings:
            columns = draw_columns(31, n_columns)
            loss = MultipleNegativesRankingLoss(
                None, scale=scale, directions=directions, partition_mode=partition, hardness_mode=hardness,
                hardness_strength=strength,
            )
            value = loss.compute_loss_from_embeddings(columns, None)
            cases.append(embedding_case(
                "ranking", value, columns, directions=directions, partition=partition, hardness=hardness,
                strength=strength, temperature=1 / scale,
            ))
    return cases


def matryoshka_cases():
    cases = []
    for dimensions, weights in [([8, 4, 2], [1.0, 1.0, 1.0]), ([3, 8], [0.3, 1.0])]:
        columns = draw_columns(31, 3)
        model = Columns(columns)
        inner = MultipleNegativesRankingLoss(model)
        loss = MatryoshkaLoss(model, inner, dimensions, weights)
        value = loss([{"column": index} for index in range(3)], None)
        cases.append(embedding_case("matryoshka", value, columns, dimensions=dimensions, weights=weights))
    return cases


def gist_cases():
    """GIST contrasts positives with positives only, never with hard negatives: so all directions without negatives,
    and without the direction of positives where there are some."""
    cases = []
    for n_columns, anchors, positives in [(2, True, True), (2, True, False), (2, False, False), (3, True, False)]:
        for strategy, margin in [("absolute", 0.0), ("absolute", 0.2), ("relative", 0.1)]:
            columns, guide = draw_columns(31, n_columns), draw_columns(47, n_columns)
            # The constructor wants two tokenizers, which embeddings do not need.
            loss = object.__new__(GISTEmbedLoss)
            torch.nn.Module.__init__(loss)
            loss.model, loss.guide, loss.must_retokenize = Columns(columns), Columns(guide), False
            loss.temperature, loss.margin_strategy, loss.margin = 0.05, strategy, margin
            loss.contrast_anchors, loss.contrast_positives = anchors, positives
            loss.gather_across_devices = False
            loss.similarity_fct, loss.cross_entropy_loss = torch.nn.CosineSimilarity(dim=-1), torch.nn.CrossEntropyLoss()
            value = loss([{"column": index} for index in range(n_columns)], None)
            directions = ["query_to_doc"] + anchors * ["query_to_query"] + positives * ["doc_to_doc"]
            cases.append(embedding_case(
                "gist", value, columns, directions=directions, strategy=strategy, margin=margin, temperature=0.05,
            ))
    return cases


# Mining and ranking ---------------------------------------------------------------------------------------------------


class Texts:
    """A model whose texts are `q3` or `d5`: a kind of vector and its number."""

    device = torch.device("cpu")

    def __init__(self, queries, documents):
        self.vectors = {"q": queries, "d": documents}

    def encode_query(self, texts, **_):
        return torch.stack([self.vectors[text[0]][int(text[1:])] for text in texts]).numpy()

    encode_document = encode_query

    def similarity(self, left, right):
        return torch.as_tensor(left) @ torch.as_tensor(right).T

    def similarity_pairwise(self, left, right):
        return (torch.as_tensor(left) * torch.as_tensor(right)).sum(-1)


def mining():
    """`mine_hard_negatives` on unit vectors; one query has two positives, and one positive scores below zero."""
    generator = torch.Generator().manual_seed(5)
    unit = lambda n: torch.nn.functional.normalize(torch.randn(n, 6, generator=generator, dtype=torch.float64), dim=-1)
    queries, documents = unit(6), unit(40)
    positives = [[int(row.argmax())] for row in queries @ documents.T]
    for index, rank in [(1, 4), (4, 30)]:
        positives[index] = [int((queries @ documents.T)[index].argsort(descending=True)[rank])]
    positives[2].append(int((queries @ documents.T)[2].argsort(descending=True)[3]))
    pairs_of_text = [(f"q{query}", f"d{document}") for query, row in enumerate(positives) for document in row]
    dataset = Dataset.from_dict({"query": [q for q, _ in pairs_of_text], "positive": [d for _, d in pairs_of_text]})
    settings = [
        {}, {"num_negatives": 5, "range_min": 2}, {"relative_margin": 0.05}, {"absolute_margin": 0.1},
        {"max_score": 0.4, "num_negatives": 4}, {"min_score": 0.3, "num_negatives": 8},
        {"range_min": 3, "range_max": 9, "max_score": 0.5}, {"relative_margin": 0.3, "range_max": 12},
        {"relative_margin": 0.3, "range_max": 38},
        {"absolute_margin": 0.05, "relative_margin": 0.2, "max_score": 0.6, "min_score": -0.1, "range_min": 1},
    ]
    cases = []
    for options in settings:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            mined = mine_hard_negatives(
                dataset, Texts(queries, documents), corpus=[f"d{index}" for index in range(len(documents))],
                output_format="labeled-list", verbose=False, **options,
            )
        negatives = [[] for _ in queries]
        for query, texts in zip(mined["query"], mined["positive"]):
            negatives[int(query[1:])] = [int(text[1:]) for text in texts[1:]]
        cases.append({"name": "mining", "options": options, "negatives": negatives})
    return {"similarities": (queries @ documents.T).tolist(), "positives": positives, "cases": cases}


def ranking():
    """trec_eval's measures, by pytrec_eval: graded and binary relevance, missing documents, nothing found."""
    draw = random.Random(3)
    rows = []
    for index in range(8):
        n_ranked, n_relevant = draw.choice([0, 5, 12, 30] if index else [30]), draw.choice([1, 3, 15])
        ranked = draw.sample(range(60), n_ranked)
        relevant = {str(doc): draw.choice([1, 1, 2, 3]) for doc in draw.sample(range(60), n_relevant)}
        run = {str(doc): float(n_ranked - place) for place, doc in enumerate(ranked)}
        measures = {"ndcg_cut.5,10", "recall.5,10", "map", "map_cut.10", "recip_rank"}
        evaluator = pytrec_eval.RelevanceEvaluator({"q": relevant}, measures)
        result = evaluator.evaluate({"q": run})["q"] if run else {}
        rows.append({"name": "row", "ranked": ranked, "relevant": {int(k): v for k, v in relevant.items()},
                     "measures": result})
    return rows


if __name__ == "__main__":
    main()
