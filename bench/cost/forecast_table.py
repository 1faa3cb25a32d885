"""The forecast of a run as a table for --dry-run, and as plain numbers for --json."""

from typing import Any

from bench.ask.presets import gpus
from bench.ask.request import Request
from bench.benchmarks.evaluation import Evaluation
from bench.cost.estimate import in_words
from bench.cost.forecast import Forecast, TrainingCost
from bench.cost.memory import GIB
from bench.cost.meter import OLD, REF, ROLLOUT, TRAIN
from reports.format import amount, table

PHASES = {ROLLOUT: "rollout", OLD: "old", REF: "ref", TRAIN: "train"}


def numbers(forecast: Forecast, request: Request, evaluations: tuple[Evaluation, ...]) -> dict[str, Any]:
    """Everything that is forecast. Memory in GiB, operations in PFLOP, times in seconds; per method: of one
    iteration."""
    card, outline = forecast.card, forecast.outline
    methods = {}
    for name in request.methods:
        config = request.config(name, 0)
        cost = forecast.training(config)
        methods[name] = (
            None
            if cost is None
            else {
                "forwards": cost.forwards,
                "two_passes": cost.looks,
                "pflop": cost.flop / 1e15,
                "seconds": card.seconds(cost.flop),
                "training_seconds": forecast.train_seconds(config),
                "memory_gib": _memory(cost),
                "fits": cost.bytes + _reserve() <= card.memory,
            }
        )
    pictures = {}
    for evaluation in (one for one in evaluations if not one.of_policy):
        spent, count = forecast.picture(evaluation.values), len(evaluation.items)
        pictures[f"{evaluation.benchmark}/{evaluation.setting}"] = {
            "resolution": evaluation.values["resolution"],
            "pictures": count,
            "forwards": spent.forwards * count,
            "pflop": spent.flop * count / 1e15,
            "seconds": forecast.evaluate_seconds(evaluation),
        }
    return {
        "backbone": request.backbone,
        "weights": outline.size.parameters(),
        "basis": outline.basis,
        "prompt_tokens": forecast.prompt_tokens,
        "card": card.title,
        "card_gib": card.memory / GIB,
        "reserve_gib": gpus()["reserve_gib"],
        "time_basis": forecast.basis(),
        "iteration": methods,
        "pictures_of_one_policy": pictures,
    }


def _reserve() -> float:
    return gpus()["reserve_gib"] * GIB


def _memory(cost: TrainingCost) -> dict[str, float]:
    held = cost.held
    parts = {
        "weights": held.weights,
        "adapters_and_copies": held.extra,
        "gradients_and_moments": held.optimiser,
        "activations": cost.activations,
        "activations_without_recompute": cost.activations_kept,
        "logits": cost.logits,
        "total": cost.bytes + _reserve(),
    }
    return {name: round(value / GIB, 2) for name, value in parts.items()}


def lines(found: dict[str, Any]) -> list[str]:
    """The same as text."""
    known = {name: cost for name, cost in found["iteration"].items() if cost}
    head = [
        f"Cost on {found['backbone']}, {found['weights'] / 1e9:.2f}e9 weights (from {found['basis']}), prompts of about "
        f"{found['prompt_tokens']} tokens",
        f"on one {found['card']}; times: {found['time_basis']}",
    ]
    text = [*head, ""]
    if known:
        rows = [
            [
                name,
                *(amount(cost["forwards"][phase]) for phase in PHASES),
                amount(sum(cost["forwards"].values())),
                amount(cost["pflop"], 1),
                in_words(cost["seconds"]),
                in_words(cost["training_seconds"]),
            ]
            for name, cost in known.items()
        ]
        text += ["one iteration, all prompts: forwards (a training forward counts three) and operations", ""]
        text += table(["method", *PHASES.values(), "forwards", "PFLOP", "time", "training"], rows).split("\n")
        text += [
            f"{name}: {amount(cost['two_passes'])} of its forwards are first passes over what is indivisible and larger "
            "than tokens_per_forward; more of these spare them where there is memory"
            for name, cost in known.items()
            if cost["two_passes"]
        ]
        keys = ["weights", "adapters_and_copies", "gradients_and_moments", "activations", "logits", "total"]
        rows = [
            [
                name,
                *(f"{cost['memory_gib'][key]:.1f}" for key in keys),
                "yes" if cost["fits"] else "NO",
                f"{cost['memory_gib']['activations_without_recompute']:.1f}",
            ]
            for name, cost in known.items()
        ]
        about = (
            f"GiB in training, of {found['card_gib']:.1f}; {found['reserve_gib']:.0f} of the total are for {gpus()['reserve']}; "
            "copies: with adapters; Adam: with gradients; activ.: activations; if kept: those without recomputation"
        )
        names = ["weights", "copies", "Adam", "activ.", "logits", "total", "fits", "if kept"]
        text += ["", about, "", *table(["method", *names], rows).split("\n")]
    unknown = [name for name in found["iteration"] if name not in known]
    text += [f"{name}: its cost is not known, as it does not train through the engine" for name in unknown]
    pictures = found["pictures_of_one_policy"]
    if pictures:
        rows = [
            [
                name,
                one["resolution"],
                *(amount(one[key]) for key in ("pictures", "forwards", "pflop")),
                in_words(one["seconds"]),
            ]
            for name, one in pictures.items()
        ]
        text += ["", "pictures to be scored, of each policy", ""]
        text += table(["benchmark/setting", "size", "pictures", "forwards", "PFLOP", "time"], rows).split("\n")
    return text
