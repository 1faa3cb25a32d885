"""Which settings of a run are the paper's, which differ, and which the paper does not give."""

from dataclasses import dataclass
from typing import Any

from reports.load import Run

SAME, DIFFERS, SILENT = "same", "differs", "the paper does not say"
UNCHANGED = "HT-GRPO's default"


@dataclass(frozen=True)
class Setting:
    """One setting: in the paper (and where it stands), in the run, and what that means."""

    name: str
    paper: str
    here: str
    verdict: str


def settings(run: Run, preset: dict[str, Any]) -> list[Setting]:
    """Every setting of bench/presets/paper_*.json in `run`: those that differ first, then those that the paper does not give.

    Training settings are read from ht, or from the first method of the run; options of ht that the run does not change are its
    defaults, which are the paper's.
    """
    found = []
    for name, given in preset["given"].items():
        here = _here(run, name)
        if here is None:
            continue
        paper = f"{shown(given['value'])} ({given['where']})"
        same = here == UNCHANGED or here == shown(given["value"])
        found.append(Setting(name, paper, here, SAME if same else DIFFERS))
    for name in preset["ours"]:
        here = _here(run, name)
        if here is not None and here != UNCHANGED:
            found.append(Setting(name, "not given", here, SILENT))
    order = (DIFFERS, SILENT, SAME)
    return sorted(found, key=lambda setting: order.index(setting.verdict))


def shown(value: Any) -> str:
    """A setting as text; 2:4:2 and [2, 4, 2] read alike, and 1.0:1.0:1.0 and 1:1:1."""
    if isinstance(value, str) and ":" in value:
        value = value.split(":")
    if isinstance(value, (list, tuple)):
        return ":".join(shown(part) for part in value)
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return str(value)


def _here(run: Run, name: str) -> str | None:
    """The value of a setting in the run; None where the run does not record it, or it does not apply."""
    owner, _, key = name.partition(".")
    train = run.config.get("train", {})
    first = train.get("ht") or next(iter(train.values()), None)
    if name == "gpus":
        machine = run.config.get("machine", {})
        device = machine.get("device", "cpu")
        return shown(machine.get("processes", 1)) if device == "cuda" else f"none ({device})"
    if owner in ("benchmarks", "scorer"):
        meta = _meta(run, key)
        return None if meta is None else str(meta["title"]) if owner == "benchmarks" else _scorer(meta)
    if owner == "ht" and key:
        if "ht" not in train:
            return None
        return shown(train["ht"].get("method_options", {}).get(key, UNCHANGED))
    if owner == "train":
        value = (first or {}).get(key)
    elif owner == "main":
        value = run.config.get("settings", {}).get("main", {}).get(key)
    elif name == "seeds":
        value = len(run.config.get("seeds", [])) or None
    else:
        value = run.config.get(name)
    return None if value is None or value == "" else shown(value)


def _meta(run: Run, benchmark: str) -> dict[str, Any] | None:
    """The meta file of a benchmark in the run, or of its namesake of the embedded world."""
    for name in (benchmark, f"embedded_{benchmark}"):
        metas = run.metas[run.metas["benchmark"] == name]
        if not metas.empty:
            return metas["meta"].iloc[0]
    return None


def _scorer(meta: dict[str, Any]) -> str:
    """What looked at the pictures."""
    scorer = meta["scorer"]
    return f"{scorer.get('detector') or scorer.get('name')} {scorer.get('version') or ''}".strip()
