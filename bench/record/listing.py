"""The runs in a folder: state and headline of each, from its files alone."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.record.complete import sealed
from bench.record.rundir import CONFIG, RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.records import log_lines
from htgrpo.base.run_config import read_config
from reports.format import number

ABLATIONS, VARIANTS = "ablations.json", "variants"
RUNNING, COMPLETE, BEGUN, DAMAGED = "running", "complete", "begun", "damaged"
TORN = "report/table.csv or report/scores.json is damaged: make them again with python -m bench.report"


@dataclass(frozen=True)
class Listed:
    """One run. name: within the folder that was listed; created: when; methods: as people call them; done: iterations
    that its trainings have done, of those planned where a budget counts them; headline: scores of the main claim."""

    name: str
    state: str
    created: str
    methods: list[str]
    seeds: int
    done: str
    headline: str
    page: str

    @property
    def record(self) -> dict[str, Any]:
        """It for machines."""
        return asdict(self)


def listed(folder: Path) -> list[Listed]:
    """Every run in `folder` or right below it, the newest first; a folder of ablations is one run."""
    roots = [path for path in (folder, *sorted(folder.iterdir())) if path.is_dir()]
    found = [_listed(root, folder) for root in roots if any((root / name).is_file() for name in (CONFIG, ABLATIONS))]
    return sorted(found, key=lambda one: one.created, reverse=True)


def _listed(root: Path, folder: Path) -> Listed:
    name = str(root.relative_to(folder)) if root != folder else root.resolve().name
    parts = sorted(path.parent for path in root.glob(f"{VARIANTS}/*/{CONFIG}")) or [root]
    try:
        configs = [read_config(part / CONFIG) for part in parts]
        states = [_state(part) for part in parts]
        page = root / "report" / "index.html"
        return Listed(
            name,
            next(state for state in (RUNNING, DAMAGED, BEGUN, COMPLETE) if state in states),
            str(configs[0].get("created", "")),
            _called(configs[0]) if len(parts) == 1 else [f"{len(parts)} variants"],
            max(len(config.get("seeds") or []) for config in configs),
            _done(parts, configs),
            _headline(root, configs[0]),
            str(page) if page.is_file() else str(root / "live.html") if (root / "live.html").is_file() else "",
        )
    except (UserError, OSError) as error:
        return Listed(name, DAMAGED, "", [], 0, "", str(error), "")


def _state(root: Path) -> str:
    run = RunDir(root)
    if run.held:
        return RUNNING
    seal = sealed(run)
    return COMPLETE if seal and seal.about["whole"] and not seal.about["open"] else BEGUN


def _called(config: dict[str, Any]) -> list[str]:
    titles = config.get("titles") or {}
    return [titles.get(name, name) for name in config.get("methods", [])]


def _done(parts: list[Path], configs: list[dict[str, Any]]) -> str:
    """ "3/6 trainings begun, 41 iterations"; empty where nothing is trained."""
    wanted = sum(len(config.get("train") or {}) * len(config.get("seeds") or []) for config in configs)
    logs = [path for part in parts for path in part.glob("train/*/seed*/metrics.jsonl")]
    iterations = sum(int(lines[-1]["iteration"]) for path in logs if (lines := log_lines(path)))
    return f"{len(logs)}/{wanted} trainings, {iterations} iterations" if wanted else ""


def _headline(root: Path, config: dict[str, Any]) -> str:
    """The scores of the first benchmark's headline in the report, the best first; empty before there is one, and where
    nothing says which is the best."""
    path, kept = root / "report" / "table.csv", root / "report" / "scores.json"
    if not path.is_file():
        return ""
    try:
        own, claim, place = _own(path, config.get("claim"))
        if not (own and kept.is_file()):
            return ""
        scale, higher = _units(kept, place)
    except (KeyError, ValueError, TypeError, AttributeError):
        return TORN
    titles = config.get("titles") or {}
    best = sorted(own.items(), key=lambda pair: pair[1], reverse=higher)
    told = ", ".join(f"{titles.get(name, name)} {number(value, scale)}" for name, value in best)
    return f"{claim['benchmark']}: {told}"


def _own(path: Path, named: Mapping[str, str] | None) -> tuple[dict[str, float], Mapping[str, str], tuple[str, ...]]:
    """Scores of a table's main claim by method, the claim, and where the table has it: (benchmark with its axis, setting,
    view); the first comparison where none is `named`."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] == "score" and row["column"] == "headline"]
    claim = named or ({key: rows[0][key] for key in ("benchmark", "setting", "milestone")} if rows else {})
    name, *places = (claim.get(key, "") for key in ("benchmark", "setting", "milestone"))
    own = [row for row in rows if row["claim"] == "checkpoints" and [row["setting"], row["milestone"]] == places]
    # of several axes the first is meant
    first = next((row["benchmark"] for row in own if f"{row['benchmark']}.".startswith(f"{name}.")), "")
    scores = {row["method"]: float(row["estimate"]) for row in own if row["benchmark"] == first}
    return scores, claim, (first, *places)


def _units(path: Path, place: tuple[str, ...]) -> tuple[float, bool]:
    """Displayed value of a perfect score, and whether higher is better, of a comparison in scores.json. Raises ValueError
    where that has none such."""
    for block in json.loads(path.read_text("utf-8"))["blocks"]:
        name = ".".join(filter(None, (block["benchmark"], block["axis"])))
        if (name, block["setting"], block["milestone"]) == place:
            return float(block["meta"]["scale"]), bool(block["meta"]["higher_is_better"])
    raise ValueError(f"no comparison {place}")


def told(found: list[Listed]) -> str:
    """The list for a terminal: three lines a run."""
    lines = []
    for one in found:
        what = ", ".join(one.methods) + (f" x {one.seeds} seeds" if one.seeds > 1 else "")
        lines.append(f"{one.name}: {one.state}, {one.created[:16].replace('T', ' ')}")
        lines += [f"  {line}" for line in (what, one.done, one.headline, one.page) if line]
    return "\n".join(lines)
