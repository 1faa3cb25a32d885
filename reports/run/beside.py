"""Several runs laid beside one another as one: refused, with what differs, where they cannot be compared."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from htgrpo.base.errors import UserError
from htgrpo.base.records import BASE
from htgrpo.training.train_config import SECONDS
from reports.format import listed
from reports.run.load import Run, check_comparable, joined
from reports.run.views import find_views

UNTOLD = {
    "created", "command", "folder", "title", "titles", "looks", "levels", "choices", "machine", "methods", "seeds",
    "checkpoints", "selections", "earlier_versions", "claim", "train", "benchmarks", "prompt_sets",
}  # fmt: skip
"""Keys of config.json that are no settings, or that a table shows anyway."""


def beside(runs: Mapping[str, Run], root: Path) -> Run:
    """`runs` by their names as one run, whose report would lie in `root`: a method that several runs have is named after
    its run as well. Raises UserError where they start from different policies, look at different views, or judge
    differently."""
    first, *rest = runs.items()
    for other in rest:
        _check(first, other)
    views = [view for view in first[1].views if view != SECONDS and all(view in run.views for run in runs.values())]
    counts = pd.Series([method for run in runs.values() for method in run.methods if method != BASE]).value_counts()
    parts: list[Run] = []
    for name, run in runs.items():
        shared = {method for method in run.methods if counts.get(method, 0) > 1}
        begun = {place for part in parts for place in _places(part.metas[part.metas["method"] == BASE])}
        parts.append(_renamed(run, name, shared, begun, root))
    metas, records = joined([part.metas for part in parts]), joined([part.records for part in parts])
    metrics, timing = joined([part.metrics for part in parts]), joined([part.timing for part in parts])
    check_comparable(metas)
    config = _config(parts, views)
    origins = {policy: where for part in parts for policy, where in part.origins.items()}
    views_of = find_views(config, metrics, root)
    return Run(root, config, metas, records, metrics, timing, views_of, origins)


def _check(first: tuple[str, Run], other: tuple[str, Run]) -> None:
    """Raises UserError naming the first setting that forbids a comparison."""
    (a, one), (b, two) = first, other
    for key, what in (("policy_sha256", "start from different policies"), ("kind", "are of different kinds")):
        if (values := [run.config.get(key) for run in (one, two)]) and values[0] != values[1]:
            raise UserError(
                f"{a!r} and {b!r} {what} ({key} {_short(values[0])} and {_short(values[1])}) and cannot be compared"
            )
    if one.main_view != two.main_view:
        raise UserError(
            f"{a!r} and {b!r} look at different budgets first (--budget {one.main_view!r} and {two.main_view!r}), which "
            "are no equal terms: train one of them with the other's --budget"
        )
    shared = set(one.metas["benchmark"]) & set(two.metas["benchmark"])
    if not shared:
        names = [", ".join(dict.fromkeys(run.metas["benchmark"])) for run in (one, two)]
        raise UserError(
            f"{a!r} and {b!r} have no benchmark in common ({names[0]}; {names[1]}): score both on one with bench.score"
        )


def _places(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """(benchmark, setting) of every row."""
    return list(zip(frame["benchmark"], frame["setting"], strict=True))


def _renamed(run: Run, name: str, shared: set[str], begun: set[tuple[str, str]], root: Path) -> Run:
    """`run` with its policies named after it, its methods too where they are `shared`, and without the starting policy
    where another run has shown it, by (benchmark, setting), in `begun`."""

    def called(method: str) -> str:
        return f"{method}@{name}" if method in shared else method

    metas, records = run.metas, run.records
    base = set(metas.loc[metas["method"] == BASE, "policy"])
    metas, records = (
        frame[[policy not in base or at not in begun for policy, at in zip(frame["policy"], _places(frame))]]
        for frame in (metas, records)
    )
    policies = {old: f"{name}/{old}" for old in run.metas["policy"]}
    origins = {policies[old]: run.origins.get(old, (run.root, old)) for old in metas["policy"]}
    images = records["image"].where(records["image"] == "", f"{os.path.relpath(run.root, root)}/" + records["image"])
    config = {
        **run.config,
        "methods": [called(method) for method in run.config.get("methods", [])],
        "titles": {called(m): f"{t} ({name})" if m in shared else t for m, t in run.names.items()},
        "looks": {called(m): look for m, look in run.config.get("looks", {}).items() if m not in shared},
        "train": {called(m): settings for m, settings in run.config.get("train", {}).items()},
        "levels": {called(m): level for m, level in run.config.get("levels", {}).items()},
    }
    return replace(
        run,
        config=config,
        metas=metas.assign(policy=metas["policy"].map(policies), method=metas["method"].map(called)),
        records=records.assign(policy=records["policy"].map(policies), image=images),
        metrics=run.metrics.assign(method=run.metrics["method"].map(called)),
        timing=run.timing.assign(method=run.timing["method"].map(called)),
        origins=origins,
    )


def _config(parts: list[Run], views: list[str]) -> dict[str, Any]:
    """The first run's configuration with the methods of all; nothing is tuned or claimed beforehand across runs."""
    merged = {
        key: {k: v for part in parts for k, v in part.config.get(key, {}).items()}
        for key in ("titles", "looks", "train", "levels")
    }
    own = {key: value for key, value in parts[0].config.items() if key not in ("claim", "choices", "command", "folder")}
    methods = list(dict.fromkeys(method for part in parts for method in part.config.get("methods", [])))
    seeds = sorted({seed for part in parts for seed in part.config.get("seeds", [])})
    budget = ",".join(view for view in views if ":" in view)
    return {**own, **merged, "methods": methods, "seeds": seeds, "budget": budget or own.get("budget", "")}


def differences(runs: Mapping[str, Run]) -> list[str]:
    """The settings in which the runs differ, a sentence each: of the runs, and of methods that several of them train. One
    that a run does not have is "none" there."""
    own = {name: {key: value for key, value in run.config.items() if key not in UNTOLD} for name, run in runs.items()}
    lines, trained = _differing(own, ""), {name: run.config.get("train") or {} for name, run in runs.items()}
    for method in dict.fromkeys(method for methods in trained.values() for method in methods):
        sides = {name: methods[method] for name, methods in trained.items() if method in methods}
        lines += _differing(sides, f"train.{method}")
    return lines


def _differing(sides: Mapping[str, Any], name: str) -> list[str]:
    """The settings below `name` in which `sides` differ, by run."""
    flat, lines = {run: _leaves(settings, name) for run, settings in sides.items()}, []
    for key in dict.fromkeys(key for leaves in flat.values() for key in leaves):
        found = {run: leaves.get(key) for run, leaves in flat.items()}
        if len({str(value) for value in found.values()}) > 1:
            lines.append(f"{key}: {listed([f'{_short(value)} in {run}' for run, value in found.items()])}")
    return lines


def _leaves(value: Any, name: str) -> dict[str, Any]:
    """Settings by their dotted names, without those that are empty: null, "", [] and {} set nothing."""
    if isinstance(value, dict):
        return {k: v for key, one in value.items() for k, v in _leaves(one, f"{name}.{key}" if name else key).items()}
    return {} if value in (None, "", []) else {name: value}


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
