"""Which settings of a run are those of the paper's experiment, which are others, and which the paper does not give.

Settings come by name: KEY of the whole run, main.KEY of the pictures that are scored, scorer.BENCHMARK and reward.NAME
of what judges, METHOD.KEY of a training. bench/ask/paper_settings.py lists them all; here they are compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from reports.format import wrap

DIFFERS, CHOSEN, UNKNOWN = "differs from the paper", "differs from our choice", "not recorded"
SILENT, SAME = "the paper does not say", "as in the paper"
ORDER = (DIFFERS, CHOSEN, UNKNOWN, SILENT, SAME)
WHOLE = ("main", "benchmarks", "scorer", "reward")
"""Owners of settings that are no methods."""
NOT_RECORDED = "not recorded"
"""The value of a setting that a run should record and does not."""


@dataclass(frozen=True)
class Setting:
    """One setting: what the paper says of it (and where it stands), or our choice (and why); in the run; and what that
    means."""

    name: str
    paper: str
    here: str
    verdict: str


def compared(here: Mapping[str, Any], wanted: Mapping[str, Any], preset: Mapping[str, Any]) -> list[Setting]:
    """Every setting of a run, those that differ first.

    here: of the run; wanted: of the paper's experiment as we start it, by the same names; one that is not there has no
    value to be compared with. preset: bench/ask/presets/paper_*.json. Names of METHOD.KEY are one line, train.KEY,
    where all methods agree.
    """
    found: dict[str, list[Setting]] = {}
    for name, value in here.items():
        entry = entry_of(name, preset) or name
        found.setdefault(entry, []).append(_setting(name, entry, value, wanted, preset))
    lines = [line for entry, some in found.items() for line in _joined(entry, some)]
    return sorted(lines, key=lambda setting: ORDER.index(setting.verdict))


def entry_of(name: str, preset: Mapping[str, Any]) -> str | None:
    """The name under which a preset speaks of a setting: its own, train.KEY for one of all methods, or KEY; None where
    it says nothing."""
    owner, _, key = name.partition(".")
    names = (name,) if owner in WHOLE or not key else (name, f"train.{key}", key)
    return next((entry for entry in names if entry in preset["given"] or entry in preset["ours"]), None)


def _setting(name: str, entry: str, value: Any, wanted: Mapping[str, Any], preset: Mapping[str, Any]) -> Setting:
    if given := preset["given"].get(entry):
        paper, same = f"{shown(given['value'])} ({given['where']})", shown(value) == shown(given["value"])
    elif name in wanted:
        why = preset["ours"].get(entry, "not in the paper")
        paper, same = f"not given, so {shown(wanted[name])} ({why})", shown(value) == shown(wanted[name])
    else:
        paper, same = preset["ours"].get(entry, "not in the paper"), True
    if value == NOT_RECORDED:
        verdict = UNKNOWN
    elif same:
        verdict = SAME if given else SILENT
    else:
        verdict = DIFFERS if given else CHOSEN
    return Setting(name, paper, shown(value), verdict)


def _joined(entry: str, some: list[Setting]) -> list[Setting]:
    """Settings of one entry: a line for all methods where they agree."""
    kinds = [list(group) for _, group in groupby(some, key=lambda one: (one.paper, one.here, one.verdict))]
    return [replace(some[0], name=entry)] if len(kinds) == 1 else some


def shown(value: Any) -> str:
    """A setting as text; 2:4:2 and [2, 4, 2] read alike, and 1.0:1.0:1.0 and 1:1:1."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, str) and ":" in value and not value[:1].isalpha():
        value = value.split(":")
    if isinstance(value, (list, tuple)):
        return ":".join(shown(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(part)}" for key, part in value.items()) or "none"
    try:
        return f"{float(value):.10g}"
    except (TypeError, ValueError):
        return str(value) or "none"


def settings_markdown(name: str, found: list[Setting]) -> str:
    """The settings of one run beside the paper's, and beside our choice where the paper gives none."""
    unknown = [s.name for s in found if s.verdict == UNKNOWN]
    silent = [s for s in found if s.verdict == SILENT]
    same = [s.name for s in found if s.verdict == SAME]
    parts = [f"## Settings of {name} beside the paper's"]
    none = "None of those recorded differs." if unknown else "None differs."
    differing = [f"- {s.name}: here {s.here}; paper: {s.paper}" for s in found if s.verdict in (DIFFERS, CHOSEN)]
    parts.append("\n".join(wrap(line, hang="  ") for line in differing) or none)
    if unknown:
        parts.append(f"Not recorded, so that nothing is known of them: {', '.join(unknown)}.")
    if silent:
        parts.append(
            "The paper does not give these, and the run has what `--preset paper` has: "
            + "; ".join(f"{s.name} (here {s.here})" for s in silent)
            + "."
        )
    if same:
        parts.append(f"As in the paper: {', '.join(same)}.")
    return "\n\n".join([parts[0], parts[1], *map(wrap, parts[2:])]) + "\n"
