"""What a planned run will be able to see and to call equal, from variances measured once (bench/ask/presets/variance.json)."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.ask.presets import read, written
from reports.statistics.components import Components
from reports.statistics.power import MOST_SEEDS, establishes, fewest_seeds, sees
from reports.statistics.stats import MIN_SEEDS, headline_weights

if TYPE_CHECKING:
    from bench.ask.request import Request
    from bench.ask.selection import Selection
    from bench.benchmarks.base import Benchmark
    from reports.findings.readouts import Gain, Readouts, Row
    from reports.run.load import Run

VARIANCE = "variance"
EXAMPLE = {"prompts": (216, 1000), "seeds": (4, 8), "pictures": (2, 4)}
"""What the table of bench.power plans for, one comparison each."""
SAMPLING = ("sampler", "steps", "guidance")
"""Of a setting, what pictures, and so variances, change with."""


def record(run: "Run", found: dict[str, Components]) -> dict[str, Any]:
    """What was measured, with what it was measured on."""
    config = run.config
    told = {key: config.get(key) for key in ("policy_sha256", "methods", "seeds", "budget", "git_commit")}
    setting = next(iter(config["settings"].values()))
    told["sampling"] = {key: setting[key] for key in SAMPLING if key in setting}
    return {
        "about": "Written by python -m bench.power RUN --write: variances of paired differences, in shares of the scale, by "
        "benchmark, and the run in which each was measured.",
        "runs": {name: {"name": run.root.name, **told} for name in found},
        "benchmarks": {name: asdict(one) for name, one in found.items()},
    }


def write(measured: dict[str, Any]) -> Path:
    """Makes them those that plans are made with; benchmarks that were not measured this time keep theirs."""
    old = read(VARIANCE)
    return written(VARIANCE, {**measured, **{part: {**old[part], **measured[part]} for part in ("runs", "benchmarks")}})


def table(found: dict[str, Components]) -> list[str]:
    """The variances, and what they let a run see."""
    lines = []
    for name, one in found.items():
        shares = ", ".join(f"{part} {value**0.5:.4f}" for part, value in asdict(one).items())
        lines += [f"{name}: standard deviations in shares of the scale: {shares}"]
        if not one.picture:
            lines.append("  (of one picture a prompt, so that a plan counts on no gain from more)")
        for prompts in EXAMPLE["prompts"]:
            for seeds in EXAMPLE["seeds"]:
                for pictures in EXAMPLE["pictures"]:
                    planned = one.planned(np.full(prompts, 1 / prompts), seeds, pictures)
                    lines.append(
                        f"  {prompts} prompts x {pictures} pictures x {seeds} seeds: sees {sees(planned):.3f}, "
                        f"calls equal within {establishes(planned):.3f}"
                    )
    return lines


def beside(found: "Readouts") -> list[str]:
    """How well two benchmarks of the same pictures know the same differences."""
    return [
        f"{found.one} and {found.other}, which judge the same pictures:",
        *(f"  {_both(row)}" for row in found.rows),
        f"  all together: {_gain(found.gain)}",
    ]


def _both(row: "Row") -> str:
    one, other = row.one, row.other
    values = " and ".join(f"{known.difference:+.4f} ± {known.error:.4f}" for known in (one, other))
    seeds = f" ({other.over_seeds / one.over_seeds:.2f})" if one.over_seeds and other.over_seeds is not None else ""
    return f"{row.pair}: {values}, x {other.error / one.error:.2f}{seeds}; {_gain(row.gain)}"


def _gain(gain: "Gain") -> str:
    return f"gain {gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}]"


def sentences(
    request: "Request", benchmarks: "dict[str, Benchmark]", selections: "dict[str, Selection]", margin: float
) -> list[str]:
    """A sentence for each benchmark of the plan whose variances are known: the smallest difference between two methods
    that it sees, the smallest margin within which it can call two equal, four times in five, over all pairs; and how
    many seeds would be needed for the margin. margin: share of the scale."""
    stored, lines = read(VARIANCE), []
    known = stored["benchmarks"]
    count = len(request.methods) + len(request.checkpoints) + 1
    pairs = count * (count - 1) // 2
    for name, chosen in selections.items():
        if name not in known or not request.methods:
            continue
        benchmark, measured = benchmarks[name], Components(**known[name])
        names = [prompt.category for prompt in chosen.prompts]
        weights = headline_weights(np.unique(names, return_inverse=True)[1], benchmark.aggregate)
        setting = next(iter(benchmark.settings(request).values()))
        samples = setting["samples"]
        now = measured.planned(weights, len(request.seeds), samples)
        least, equal = sees(now, pairs), establishes(now, pairs)
        what = f"{len(weights)} prompts x {samples} pictures x {len(request.seeds)} seeds, {pairs} comparisons"
        about = "" if len(request.seeds) >= MIN_SEEDS else " of these checkpoints (a claim about methods needs 3 seeds)"
        scale = benchmark.scale
        calls = f" and can call two equal within {equal * scale:.3g}" if benchmark.top is not None else ""
        more = _more(measured, weights, samples, pairs, margin, scale) if calls and (equal > margin or about) else ""
        lines.append(
            f"{name}: {what}: sees differences{about} from {least * scale:.3g} on{calls}, four times in five{more}"
            f"{_elsewhere(stored['runs'][name]['sampling'], setting)}"
        )
    return lines


def _elsewhere(measured: dict[str, Any], planned: dict[str, Any]) -> str:
    """What the variances were measured under, where pictures of the plan are sampled otherwise."""
    other = [
        f"{key} {value}, not {planned[key]}" for key, value in measured.items() if planned.get(key, value) != value
    ]
    if not other:
        return ""
    return f"; its variances were measured with {' and '.join(other)}, so that it may see less"


def _more(measured: Components, weights: np.ndarray, samples: int, pairs: int, margin: float, scale: float) -> str:
    """How many seeds are needed to call two methods equal within the margin."""
    seeds = fewest_seeds(lambda seeds: establishes(measured.planned(weights, seeds, samples), pairs) <= margin)
    if seeds is None:
        return f"; equal within {margin * scale:.3g} is out of reach of {MOST_SEEDS} seeds on these prompts"
    return f"; equal within {margin * scale:.3g} needs {seeds} seeds"
