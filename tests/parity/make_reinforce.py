"""Compute golden advantages, losses and gradients of learning by reward with TRL.

TRL's own code computes every number. Where it is a method, the method runs on a stand-in for `self`; where it is a
passage within a long method, the passage is taken from the installed package's source, between two of its lines, and
runs on tensors that are drawn here. Run with the pins of requirements.txt; see README.md for what the fixture means.
"""

import inspect
import itertools
import json
import textwrap
import types
import warnings
from collections import defaultdict
from importlib import metadata
from pathlib import Path

import torch
from trl import GRPOTrainer
from trl.experimental.ppo import ppo_trainer
from trl.rewards import get_soft_overlong_punishment
from trl.trainer import grpo_trainer

FIXTURE = Path(__file__).parent / "fixtures" / "reinforce.json"
PACKAGES = ["trl", "torch"]
# Answers, their longest length, and the lengths.
N_ANSWERS, MAX_TOKENS = 6, 7
LENGTHS = [7, 3, 5, 1, 6, 4]
# The row that is cut where truncated answers are masked.
TRUNCATED = 0


def main():
    """Write the fixture."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    fixture = {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "advantages": advantages(),
        "policy": policy(),
        "overlong": overlong(),
        "ppo": ppo(),
    }
    text = json.dumps(rounded(fixture), indent=None, separators=(",", ":"))
    FIXTURE.write_text(text.replace('{"name"', '\n{"name"') + "\n")


def rounded(value):
    """Ten significant digits; numbers that are not there are null."""
    if isinstance(value, float):
        return float(f"{value:.10g}") if value == value else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def passage(function, first, last):
    """The lines of `function` from the one that starts with `first` to the next that starts with `last`, to run."""
    lines = inspect.getsource(function).splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip().startswith(first))
    end = next(index for index in range(start, len(lines)) if lines[index].strip().startswith(last))
    return compile(textwrap.dedent("\n".join(lines[start : end + 1])), function.__qualname__, "exec")


class Alone:
    """An accelerator of one process."""

    device = torch.device("cpu")
    num_processes = 1
    sync_gradients = True

    def gather(self, tensor):
        return tensor

    def reduce(self, tensor, reduction):
        return tensor

    def pad_across_processes(self, tensor, dim, pad_index):
        return tensor


# Advantages -----------------------------------------------------------------------------------------------------------


def advantages():
    """By the passage of `_generate_and_score_completions`; the rewards hold missing ones and a group without variance."""
    generator = torch.Generator().manual_seed(3)
    n_groups, n_generations = 4, 4
    rewards = torch.randn(n_groups * n_generations, 2, generator=generator, dtype=torch.float64)
    rewards[:, 1] = 0.05 * rewards[:, 1] + 1
    rewards[4:8] = rewards[4]
    rewards[1] = torch.nan
    rewards[9, 0] = torch.nan
    rewards[12:15] = torch.nan
    cases = []
    for aggregation, scale in [
        ("sum_then_normalize", "group"), ("sum_then_normalize", "batch"), ("sum_then_normalize", "none"),
        ("normalize_then_sum", "group"),
    ]:
        for weights in [[1.0, 1.0], [0.3, -2.0]]:
            values, is_std_zero = run_advantages(rewards, weights, aggregation, scale, n_generations)
            case = {"name": f"{aggregation} {scale}", "aggregation": aggregation, "scale": scale, "weights": weights,
                    "values": values}
            if scale != "batch" and aggregation == "sum_then_normalize":
                # A group with a single reward has no standard deviation, which TRL does not count as zero.
                case["has_no_variance"] = is_std_zero[:12:n_generations]
            cases.append(case)
    return {"n_generations": n_generations, "rewards": rewards.tolist(), "cases": cases}


def run_advantages(rewards, weights, aggregation, scale, n_generations):
    code = passage(
        GRPOTrainer._generate_and_score_completions, "unscorable_mask = torch.isnan",
        "advantages = torch.nan_to_num(advantages, nan=0.0)",
    )
    this = types.SimpleNamespace(
        multi_objective_aggregation=aggregation, scale_rewards=scale, reward_funcs=weights,
        reward_weights=torch.tensor(weights, dtype=torch.float64),
    )
    names = {"self": this, "torch": torch, "nanstd": grpo_trainer.nanstd, "rewards_per_func": rewards.clone(),
             "num_generations": n_generations, "device": Alone.device}
    exec(code, names)
    return names["advantages"].tolist(), names["is_std_zero"].tolist()


def overlong():
    """The soft penalty for long answers."""
    lengths = [0, 1, 79, 80, 81, 90, 99, 100, 101, 150]
    penalty = get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
    return {"max_tokens": 100, "cache_tokens": 20, "lengths": lengths, "penalties": penalty([[0] * n for n in lengths])}


# The family of GRPO ---------------------------------------------------------------------------------------------------


class Answers:
    """Answers of several lengths with all that a loss gets, padded."""

    def __init__(self):
        generator = torch.Generator().manual_seed(11)
        draw = lambda: torch.rand(N_ANSWERS, MAX_TOKENS, generator=generator, dtype=torch.float64)
        noise = lambda: torch.randn(N_ANSWERS, MAX_TOKENS, generator=generator, dtype=torch.float64)
        self.mask = (torch.arange(MAX_TOKENS) < torch.tensor(LENGTHS)[:, None]).long()
        self.log_probs = (-0.05 - 3 * draw()).requires_grad_()
        # Some answers moved far as a whole, so that ratios of answers are clipped as well.
        moved = torch.tensor([0.2, -0.4, 0.0, 0.5, -0.15, 0.3], dtype=torch.float64)[:, None]
        self.old = self.log_probs.detach() + 0.3 * noise() + moved
        self.reference = self.log_probs.detach() + 0.7 * noise()
        self.entropies = (0.02 + 2 * draw()).requires_grad_()
        self.advantages = torch.tensor([0.9, -1.2, 0.4, -0.5, 1.1, -0.3], dtype=torch.float64)

    def shown(self):
        return {"lengths": LENGTHS, "advantages": self.advantages.tolist(), "truncated": TRUNCATED,
                "log_probs": flat(self.log_probs), "old": flat(self.old), "reference": flat(self.reference),
                "entropies": flat(self.entropies)}


def flat(padded):
    """The tokens of all answers, one after another, without padding."""
    return [value for row, n in zip(padded.detach(), LENGTHS) for value in row[:n].tolist()]


DEFAULTS = {
    "loss_type": "grpo", "ratio_level": "token", "epsilon": 0.2, "epsilon_high": None, "delta": None, "beta": 0.0,
    "use_bias_correction_kl": False, "mask_truncated": False, "top_entropy_quantile": 1.0, "entropy_coefficient": 0.0,
    "max_new_tokens": 9, "sapo_temperature_positive": 1.0, "sapo_temperature_negative": 1.05,
}


def policy_cases():
    """Changed settings, and the number of micro-batches."""
    losses = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo"]
    for loss, level, beta in itertools.product(losses, ["token", "sequence"], [0.0, 0.04]):
        plain = {"loss_type": loss, "ratio_level": level, "beta": beta}
        if loss == "cispo":
            plain["epsilon_high"] = 1.15
        if level == "sequence":
            plain["epsilon"] = 0.1
        yield plain, 1
        if loss in losses[:4]:
            yield {**plain, "epsilon_high": 0.28, "delta": 1.35}, 1
        if beta:
            yield {**plain, "use_bias_correction_kl": True}, 1
            # The mean of `bnpo` is over a micro-batch in TRL and over the step here.
            yield plain, 1 if loss == "bnpo" else 2
        yield {**plain, "mask_truncated": True}, 1
        yield {**plain, "top_entropy_quantile": 0.37, "entropy_coefficient": 0.02}, 1
    yield {"loss_type": "cispo", "epsilon_high": 5.0}, 1
    yield {"loss_type": "sapo", "sapo_temperature_positive": 0.7, "sapo_temperature_negative": 3.0}, 1
    yield {"loss_type": "dapo", "epsilon": 0.1, "entropy_coefficient": 0.05}, 1


def policy():
    """Every loss by `GRPOTrainer._compute_loss`."""
    cases = []
    for changed, n_parts in policy_cases():
        drawn = Answers()
        options = {**DEFAULTS, **changed}
        loss, logged = run_policy(drawn, options, n_parts)
        case = {"name": options["loss_type"], "options": changed, "n_parts": n_parts, "loss": loss,
                "gradients": flat(drawn.log_probs.grad)}
        if options["entropy_coefficient"]:
            case["entropy_gradients"] = flat(drawn.entropies.grad)
        # TRL counts a masked answer among the ratios of answers, and averages over micro-batches of unequal length.
        if n_parts == 1 and not (options["mask_truncated"] and options["ratio_level"] == "sequence"):
            case["metrics"] = logged
        cases.append(case)
    return {"answers": Answers().shown(), "max_new_tokens": DEFAULTS["max_new_tokens"], "cases": cases}


def run_policy(drawn, options, n_parts):
    mask = drawn.mask.clone()
    if options["mask_truncated"]:
        mask[TRUNCATED] = 0
    upper = options["epsilon"] if options["epsilon_high"] is None else options["epsilon_high"]
    this = types.SimpleNamespace(
        accelerator=Alone(), model=types.SimpleNamespace(training=True), aux_loss_enabled=False, use_vllm=False,
        vllm_importance_sampling_correction=False, off_policy_mask_threshold=None, use_adaptive_entropy=False,
        _metrics=defaultdict(lambda: defaultdict(list)), current_gradient_accumulation_steps=n_parts,
        loss_type=options["loss_type"], importance_sampling_level=options["ratio_level"], beta=options["beta"],
        epsilon_low=options["epsilon"], epsilon_high=upper, max_completion_length=options["max_new_tokens"],
        top_entropy_quantile=options["top_entropy_quantile"], entropy_coef=options["entropy_coefficient"],
        _entropy_bonus_enabled=options["entropy_coefficient"] != 0.0,
        args=types.SimpleNamespace(
            delta=options["delta"], use_bias_correction_kl=options["use_bias_correction_kl"],
            sapo_temperature_pos=options["sapo_temperature_positive"],
            sapo_temperature_neg=options["sapo_temperature_negative"], steps_per_generation=n_parts,
        ),
    )
    this.get_high_entropy_mask = types.MethodType(GRPOTrainer.get_high_entropy_mask, this)
    total = 0.0
    for rows in torch.arange(N_ANSWERS).chunk(n_parts):
        this._get_per_token_logps_and_entropies = lambda *_, rows=rows, **__: (
            drawn.log_probs[rows], drawn.entropies[rows], None,
        )
        inputs = {
            "prompt_ids": torch.zeros(len(rows), 1, dtype=torch.long),
            "prompt_mask": torch.ones(len(rows), 1, dtype=torch.long),
            "completion_ids": torch.zeros_like(mask[rows]), "completion_mask": mask[rows],
            "advantages": drawn.advantages[rows], "old_per_token_logps": drawn.old[rows],
            "ref_per_token_logps": drawn.reference[rows], "num_items_in_batch": mask.sum(),
        }
        loss = GRPOTrainer._compute_loss(this, None, inputs)
        loss.backward()
        total += loss.item()
    logged = {name: values[-1] for name, values in this._metrics["train"].items() if name != "entropy_coef"}
    return total, logged


# PPO ------------------------------------------------------------------------------------------------------------------


class Rollouts:
    """Answers with what PPO's passage expects: padding as TRL makes it."""

    def __init__(self, lengths):
        generator = torch.Generator().manual_seed(29)
        noise = lambda: torch.randn(len(lengths), MAX_TOKENS, generator=generator, dtype=torch.float64)
        self.lengths = lengths
        places = torch.arange(MAX_TOKENS).repeat(len(lengths), 1)
        last = torch.tensor(lengths)[:, None] - 1
        self.padding, self.padding_p1 = places > last, places > last + 1
        fill = lambda tensor, mask, value: torch.masked_fill(tensor, mask, value)
        old = -0.05 - 2 * noise().abs()
        self.old = fill(old, self.padding, ppo_trainer.INVALID_LOGPROB)
        self.reference = fill(old + 0.5 * noise(), self.padding, ppo_trainer.INVALID_LOGPROB)
        self.values = fill(0.5 * noise(), self.padding_p1, 0)
        self.scores = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
        self.new_log_probs = (old + 0.3 * noise()).requires_grad_()
        self.new_values = (self.values + 0.25 * noise()).requires_grad_()

    def shown(self):
        """Values of one more token than an answer has, where there is room: TRL looks at it."""
        return {"lengths": self.lengths, "max_tokens": MAX_TOKENS, "old": self.rows(self.old),
                "reference": self.rows(self.reference), "values": self.rows(self.values, 1),
                "scores": self.scores.tolist(), "new_log_probs": self.rows(self.new_log_probs),
                "new_values": self.rows(self.new_values, 1)}

    def rows(self, padded, n_more=0):
        return [row[: n + n_more].tolist() for row, n in zip(padded.detach(), self.lengths)]


def ppo():
    """Passages of `PPOTrainer.train`; in the second batch every answer fills its row, so there is no further token."""
    batches = []
    for name, lengths in [("ragged", LENGTHS), ("full", [MAX_TOKENS] * 4)]:
        cases = []
        for estimator, whiten_rewards, gamma, lam in [
            ("k1", False, 1.0, 0.95), ("k3", False, 0.97, 0.9), ("k1", True, 1.0, 0.95), ("k3", True, 0.9, 1.0),
        ]:
            args = types.SimpleNamespace(
                kl_estimator=estimator, kl_coef=0.05, whiten_rewards=whiten_rewards, gamma=gamma, lam=lam,
                cliprange=0.2, cliprange_value=0.2, vf_coef=0.1,
            )
            cases.append(ppo_case(Rollouts(lengths), args))
        batches.append({"name": name, "rollouts": Rollouts(lengths).shown(), "cases": cases})
    return batches


def ppo_case(drawn, args):
    train = ppo_trainer.PPOTrainer.train
    names = vars(ppo_trainer).copy()
    names.update(
        args=args, logprobs=drawn.old, ref_logprobs=drawn.reference, values=drawn.values, scores=drawn.scores,
        responses=torch.zeros_like(drawn.padding, dtype=torch.long), padding_mask=drawn.padding,
        padding_mask_p1=drawn.padding_p1, sequence_lengths=torch.tensor(drawn.lengths) - 1,
        sequence_lengths_p1=torch.tensor(drawn.lengths),
    )
    exec(passage(train, "# Formula used by", "advantages = torch.masked_fill(advantages"), names)
    rows = slice(None)
    names.update(
        micro_batch_inds=rows, mb_advantage=names["advantages"], mb_logprobs=drawn.old, mb_return=names["returns"],
        mb_values=drawn.values, vpred=drawn.new_values,
        new_logprobs=torch.masked_fill(drawn.new_log_probs, drawn.padding, ppo_trainer.INVALID_LOGPROB),
    )
    exec(passage(train, "vpred = torch.masked_fill(vpred", "loss = pg_loss + args.vf_coef * vf_loss"), names)
    names["loss"].backward()
    clipped = ppo_trainer.masked_mean((names["pg_losses2"] > names["pg_losses"]).double(), ~drawn.padding)
    return {
        "name": args.kl_estimator, "options": {
            "kl_estimator": args.kl_estimator, "kl_coefficient": args.kl_coef, "whiten_rewards": args.whiten_rewards,
            "gamma": args.gamma, "lambda": args.lam, "clip": args.cliprange, "clip_value": args.cliprange_value,
            "value_coefficient": args.vf_coef,
        },
        "rewards": drawn.rows(names["rewards"], 1), "advantages": drawn.rows(names["advantages"]),
        "returns": drawn.rows(names["returns"], 1), "kl": names["kl"].sum(1).mean().item(),
        "non_score_reward": names["non_score_reward"].sum(1).mean().item(),
        "loss": names["loss"].item(), "policy_loss": names["pg_loss"].item(), "value_loss": names["vf_loss"].item(),
        "policy_clip_share": clipped.item(), "value_clip_share": names["vf_clipfrac"].item(),
        "policy_gradients": drawn.rows(drawn.new_log_probs.grad), "value_gradients": drawn.rows(drawn.new_values.grad, 1),
    }


if __name__ == "__main__":
    main()
