"""Reads the variants of an ablation folder as one run, compares each with the default, and judges the paper's findings.

A folder of bench.ablate holds ablations.json (the studies) and variants/NAME/, each an ordinary run of one method.
Every variant is trained once and may stand in several studies; the starting policy is scored once, in the default's
run.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htgrpo.base.errors import UserError
from htgrpo.base.files import read_object
from htgrpo.base.records import BASE, FINAL
from reports.findings.analysis import Result, Score, analyse
from reports.findings.claims import Finding, judged
from reports.findings.pairs import Pair, adjusted
from reports.run.blocks import Block, make_blocks
from reports.run.load import Run, check_comparable, joined, load_run

RECORD, VARIANTS = "ablations.json", "variants"
NOTHING = "nothing measured here"


@dataclass(frozen=True)
class Row:
    """One variant in one study. score: None where it has none, and `why` then says so. gap: to the default, None for
    itself."""

    name: str
    label: str
    score: Score | None
    seeds: int
    gap: Pair | None
    iterations: float
    forwards: float
    why: str = ""


@dataclass(frozen=True)
class Study:
    """One study on one benchmark. scatter: SD of the differences between training seeds, pooled over variants; NaN for
    one seed."""

    key: str
    title: str
    about: str
    result: Result
    rows: list[Row]
    findings: list[Finding]
    scatter: float

    @property
    def block(self) -> Block:
        """Its prompts and scores."""
        return self.result.block

    @property
    def base(self) -> Score | None:
        """The starting policy's score."""
        return self.result.scores.get(BASE)

    @property
    def level(self) -> str:
        """The weakest kind of claim among its differences."""
        levels = {row.gap.level for row in self.rows if row.gap}
        return "methods" if levels == {"methods"} else "checkpoints"


def read_record(root: Path) -> dict[str, Any]:
    """RUN/ablations.json. Raises UserError when `root` is no folder of bench.ablate."""
    path = Path(root) / RECORD
    if not path.is_file():
        raise UserError(f"{str(root)!r} holds no {RECORD}: give the folder that bench.ablate wrote to")
    return read_object(path, "delete it and run bench.ablate again, which writes it")


def load_variants(root: Path, record: dict[str, Any]) -> Run:
    """All scored variants as one run whose methods are the variants. Raises UserError when there are none, or when two
    of them differ in more than the options of the method."""
    root, method, default = Path(root), record["method"], record["default"]["name"]
    folders = {name: root / VARIANTS / name for name in [default, *record["variants"]]}
    runs = {name: load_run(folder) for name, folder in folders.items() if any(folder.glob("verdicts/*/*/*.meta.json"))}
    if not runs:
        raise UserError(f"{str(root)!r} holds no verdicts yet: run the same bench.ablate command again")
    first = next(iter(runs))
    for name, run in runs.items():
        _check_settings({first: runs[first], name: run}, method)
    parts = [_renamed(run, method, name, keep_base=name == first) for name, run in runs.items()]
    frames = {name: joined([getattr(run, name) for run in parts]) for name in ("metas", "records", "metrics", "timing")}
    check_comparable(frames["metas"])
    seeds = sorted({seed for run in runs.values() for seed in run.config.get("seeds", [])})
    labels = {name: one["label"] for name, one in [(default, record["default"]), *record["variants"].items()]}
    config = {**runs[first].config, "methods": list(runs), "seeds": seeds, "titles": labels, "looks": {}}
    origins = {policy: where for run in parts for policy, where in run.origins.items()}
    return Run(root, config, frames["metas"], frames["records"], frames["metrics"], frames["timing"], origins=origins)


def _check_settings(runs: dict[str, Run], method: str) -> None:
    """Raises UserError naming the first setting in which two variants differ and must not."""
    sides = []
    for run in runs.values():
        train = {f"train.{key}": value for key, value in run.config["train"][method].items() if key != "method_options"}
        sides.append(train | {key: run.config.get(key) for key in ("policy_sha256", "train_prompts")})
    for key in sides[0].keys() & sides[-1].keys():
        if sides[0][key] != sides[-1][key]:
            values = " and ".join(str(side[key])[:60] for side in sides)
            raise UserError(
                f"the variants {' and '.join(map(repr, runs))} differ in {key} ({values}), not only in the options of the "
                "method, and cannot be compared: use another --out, or --overwrite"
            )


def _renamed(run: Run, method: str, name: str, keep_base: bool) -> Run:
    """`run` with its only method called `name`, and the starting policy left out unless `keep_base`."""
    metas, records = run.metas, run.records
    if not keep_base:
        gone = set(metas.loc[metas["method"] == BASE, "policy"])
        metas, records = metas[metas["method"] != BASE], records[~records["policy"].isin(gone)]

    def policy(old: str) -> str:
        return name + old.removeprefix(method) if old.startswith(f"{method}-") else old

    def called(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(method=frame["method"].replace({method: name})) if len(frame) else frame

    origins = {policy(old): (run.root, old) for old in metas["policy"]}
    metas = called(metas).assign(policy=metas["policy"].map(policy))
    inside = f"{VARIANTS}/{run.root.name}/"
    images = records["image"].where(records["image"] == "", inside + records["image"])
    records = records.assign(policy=records["policy"].map(policy), image=images)
    metrics, timing = called(run.metrics), called(run.timing)
    return replace(run, metas=metas, records=records, metrics=metrics, timing=timing, origins=origins)


def blocks_of(run: Run, record: dict[str, Any]) -> list[Block]:
    """The main view of every benchmark of the run, under the main setting, with the variants of the record's studies."""
    asked = {name for study in record["studies"].values() for name in study["variants"]}
    keep = run.metas["method"].isin([BASE, *asked]) & (run.metas["setting"] == "main")
    config = {
        **run.config,
        "methods": [name for name in (record["default"]["name"], *record["variants"]) if name in asked],
    }
    blocks = make_blocks(replace(run, config=config, metas=run.metas[keep])) if keep.any() else []
    return [block for block in blocks if block.main_view]


def studies(blocks: list[Block], record: dict[str, Any], allow_incomplete: bool = False) -> list[Study]:
    """Every study of the record on every block."""
    return studies_of([analyse(block, allow_incomplete) for block in blocks], record)


def studies_of(results: list[Result], record: dict[str, Any]) -> list[Study]:
    """Every study on each of `results`. All are read off one analysis, so that a variant has the same interval wherever
    it stands."""
    return [_study(key, record, result) for key in record["studies"] for result in results]


def _study(key: str, record: dict[str, Any], result: Result) -> Study:
    data, default = record["studies"][key], record["default"]["name"]
    wanted = [(name, default) for name in data["variants"] if name != default]
    wanted += [
        (a, b)
        for finding in data["findings"]
        for a, b in finding["pairs"]
        if (b, a) not in wanted and (a, b) not in wanted
    ]
    pairs = adjusted([pair for a, b in wanted if (pair := result.pair(a, b))])
    gaps = {(pair.a, pair.b): pair for one in pairs for pair in (one, one.flipped())}
    rows = [_row(name, data, record, result, gaps.get((name, default))) for name in data["variants"]]
    findings = [judged(finding, gaps) for finding in data["findings"]]
    scatter = _scatter([row.gap.per_seed for row in rows if row.gap])
    return Study(key, data["title"], data["about"], result, rows, findings, scatter)


def unmeasured(key: str, record: dict[str, Any], why: str) -> Study:
    """A study of which nothing was run, for figures that show the paper's values all the same."""
    data = record["studies"][key]
    meta = {"title": NOTHING, "scale": 1, "higher_is_better": True, "aggregate": "category_mean"}
    block = Block("geneval", "main", FINAL, meta, [], np.zeros(0, dtype=int), [], [], [], main_view=True)
    rows = [Row(name, _label(name, data, record), None, 0, None, math.nan, math.nan, why) for name in data["variants"]]
    findings = [judged(finding, {}) for finding in data["findings"]]
    return Study(key, data["title"], data["about"], Result(block, []), rows, findings, math.nan)


def _label(name: str, data: dict, record: dict) -> str:
    """What a study calls a variant."""
    return (
        data.get("labels", {}).get(name)
        or {**record["variants"], record["default"]["name"]: record["default"]}[name]["label"]
    )


def _row(name: str, data: dict, record: dict, result: Result, gap: Pair | None) -> Row:
    label, method = _label(name, data, record), next((m for m in result.block.methods if m.name == name), None)
    score = result.scores.get(name)
    why = "" if score else result.withheld.get(name, "no prompt in common")
    if method is None:
        return Row(name, label, None, 0, None, math.nan, math.nan, "not run here")
    return Row(
        name,
        label,
        score,
        len(method.seeds),
        gap,
        float(np.mean(method.iterations)),
        float(np.mean(method.forwards)),
        why,
    )


def _scatter(per_seed: list[list[float]]) -> float:
    """SD between training seeds of a variant's difference to the default, pooled over variants."""
    spread = [np.var(values, ddof=1) for values in per_seed if len(values) > 1]
    return float(np.sqrt(np.mean(spread))) if spread else math.nan
