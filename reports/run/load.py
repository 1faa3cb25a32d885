"""Reads a run directory into pandas frames and refuses, in one sentence, what cannot be compared honestly."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from htgrpo.base.errors import UserError
from htgrpo.base.files import content_sha256
from htgrpo.base.records import BASE, FINAL, NOT_AS_WRITTEN, Picture, Record, VerdictMeta, log_lines, read, records
from htgrpo.base.run_config import read_config
from htgrpo.training.train_config import comparable, parse_budgets
from reports.run.views import Shown, find_views, has_rollouts, read_chosen, trainings

AGAIN = "score this policy again with python -m bench.score"
RECORD_KEYS = ("prompt_id", "sample", "category", "status", "score")
STATES = ("ok", "failed", "skipped")
SAME_WITHIN_BENCHMARK = ("version", "aggregate", "scale", "higher_is_better", "scorer")


@dataclass
class Run:
    """What a run directory says.

    config: config.json. metas: one row per scored policy (benchmark, setting, policy, method, seed, iteration,
    forwards, milestone, expected, random_weights, meta). records: one row per image (benchmark, setting, policy,
    prompt_id, sample, category, prompt, status, score, evidence, image). metrics, timing: one row per training
    iteration, with method and seed. views: see reports.run.views, the main one first. origins: the run folder of policies
    that lie elsewhere, and their names there.
    """

    root: Path
    config: dict[str, Any]
    metas: pd.DataFrame
    records: pd.DataFrame
    metrics: pd.DataFrame
    timing: pd.DataFrame
    views: dict[str, Shown] = field(default_factory=lambda: {FINAL: {}})
    origins: dict[str, tuple[Path, str]] = field(default_factory=dict)
    _manifests: dict[Path, dict[tuple[str, int], Picture]] = field(default_factory=dict, repr=False)

    def manifest(self, policy: str, pictures: str, setting: str) -> dict[tuple[str, int], Picture]:
        """(prompt id, sample) -> what generation noted of that picture of the set `pictures`; empty where it noted
        nothing."""
        root, name = self.origins.get(policy, (self.root, policy))
        path = root / "images" / name / pictures / setting / "manifest.jsonl"
        if path not in self._manifests:
            rows = records(path, Picture) if path.is_file() else []
            self._manifests[path] = {(row["prompt_id"], row["sample"]): row for row in rows}
        return self._manifests[path]

    @property
    def title(self) -> str:
        """What kind of run this is, for example "embedded world", and whether its policies have random weights."""
        return titled(str(self.config.get("title", "")), self.metas["random_weights"])

    @property
    def main_view(self) -> str:
        """What headlines show."""
        return next(iter(self.views))

    def shown(self, view: str) -> Shown:
        """The iteration at which `view` looks at each training: for the main one, where it has not been reached, the
        last one."""
        found = dict(self.views[view])
        if view == self.main_view and len(self.metrics):
            for pair, lines in trainings(self.metrics):
                if self.takes_part(pair[0], view):
                    found.setdefault(pair, int(lines["iteration"].max()))
        return found

    @property
    def names(self) -> dict[str, str]:
        """What people call each method, as papers write it, where the run says so."""
        return dict(self.config.get("titles") or {})

    def called(self, method: str) -> str:
        """One method's name for people."""
        return self.names.get(method, method)

    def spoken(self, line: str) -> str:
        """A sentence that begins with "METHOD: ", with its name for people."""
        method, colon, rest = line.partition(": ")
        return f"{self.called(method)}{colon}{rest}"

    def untrained(self, method: str) -> bool:
        """Whether a method's rewards never differed within a group, so that no weight has moved for their sake."""
        lines = self.metrics[self.metrics["method"] == method]
        if not len(lines) or "groups" not in lines or lines["groups"].isna().all():
            return False
        return float(lines["groups"].sum()) == float(lines["groups_without_spread"].sum())

    def takes_part(self, method: str, view: str) -> bool:
        """Whether a view shows a method at all: equal iterations are no view of one without rollouts
        (train_config.comparable)."""
        lines = self.metrics[self.metrics["method"] == method]
        budgets = parse_budgets(",".join(name for name in self.views if ":" in name)) if ":" in view else ()
        return (
            not len(lines)
            or not budgets
            or view in [budget.text for budget in comparable(budgets, has_rollouts(lines))]
        )

    @property
    def seconds(self) -> float:
        """The training seconds within which all checkpoints of the view at equal seconds were reached; NaN without
        one."""
        return float((read_chosen(self.root) or {"limit": math.nan})["limit"])

    def until(self, frame: pd.DataFrame, view: str) -> pd.DataFrame:
        """The rows of `metrics` or `timing` up to where a view looks at each training."""
        ends = self.shown(view)
        rows = zip(frame["method"], frame["seed"], frame["iteration"], strict=True)
        keep = [iteration <= ends.get((method, seed), 0) for method, seed, iteration in rows]
        return frame[pd.Series(keep, index=frame.index, dtype=bool)]

    @property
    def given(self) -> bool:
        """Whether this run scored folders of pictures, with no policy and no training behind them."""
        return self.config.get("kind") == "images"

    @property
    def methods(self) -> list[str]:
        """Every method, the starting policy first, then config order, then whatever else was scored or trained."""
        seen = list(self.config.get("methods", [])) + sorted(set(self.metas["method"]))
        if len(self.metrics):
            seen += sorted(set(self.metrics["method"]))
        return list(dict.fromkeys([BASE, *seen])) if BASE in seen else list(dict.fromkeys(seen))


def weights_note(random: bool, trained: bool) -> str:
    """What must stand beside a policy whose weights are random, or were when its training began; nothing beside
    others."""
    return "" if not random else "from random weights" if trained else "random weights"


def labelled(name: str, note: str) -> str:
    """A method's name with the note on its weights."""
    return f"{name} ({note})" if note else name


def titled(title: str, random: Iterable[bool]) -> str:
    """`title`, which says so where policies with random weights (`random`, one flag each) are shown under it."""
    flags = list(random)
    if not any(flags):
        return title
    return ", ".join(filter(None, [title, "random weights" if all(flags) else "some policies with random weights"]))


def load_run(run_dir: Path) -> Run:
    """Reads `run_dir`. Raises UserError when it is no run, has no verdicts, or its files are damaged or disagree."""
    root = Path(run_dir)
    if not (root / "config.json").is_file():
        raise UserError(
            f"{str(run_dir)!r} holds no config.json: give the folder that bench.compare or bench.train wrote to"
        )
    config = read_config(root / "config.json")
    paths = sorted((root / "verdicts").glob("*/*/*.meta.json"))
    if not paths:
        raise UserError(f"{str(run_dir)!r} holds no verdicts: score the images first with python -m bench.score")
    metas, frames = [], []
    for path in paths:
        meta = read(path, VerdictMeta, AGAIN)
        metas.append(_meta_row(path, meta))
        frames.append(
            _read_records(path.with_name(path.name.removesuffix(".meta.json") + ".jsonl"), path.parent.name, meta)
        )
    frame = pd.DataFrame(metas)
    check_comparable(frame)
    records = joined(frames)
    metrics = read_training(root, "metrics.jsonl")
    return Run(
        root, config, frame, records, metrics, read_training(root, "timing.jsonl"), find_views(config, metrics, root)
    )


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """One below the other; empty ones, whose columns have no kinds, only where all are empty."""
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def _meta_row(path: Path, meta: VerdictMeta) -> dict[str, Any]:
    policy = meta["policy"]
    return {
        "benchmark": meta["benchmark"],
        "setting": path.parent.name,
        "policy": policy["name"],
        "method": policy["method"],
        "seed": policy["train_seed"],
        "iteration": policy["iteration"],
        "forwards": policy["forwards"],
        "milestone": policy["milestone"],
        "expected": int(meta["expected_images"]),
        "random_weights": bool(policy.get("random_weights", False)),
        "meta": meta,
    }


def _read_records(path: Path, setting: str, meta: VerdictMeta) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(
            f"{str(path)!r} is missing beside its meta file: score this policy again with python -m bench.score"
        )
    if content_sha256(path) != meta["verdicts_sha256"]:
        raise UserError(f"{str(path)!r} {NOT_AS_WRITTEN}")
    rows = records(path, Record, AGAIN)
    seen: set[tuple[str, int]] = set()
    found: list[dict[str, Any]] = []
    own = {"benchmark": meta["benchmark"], "setting": setting, "policy": meta["policy"]["name"]}
    top = meta.get("top")
    for line, row in enumerate(rows, 1):
        where, key, score = f"line {line} of {str(path)!r}", (row["prompt_id"], row["sample"]), row["score"]
        if row["status"] not in STATES:
            raise UserError(f"{where} has status {row['status']!r}: accepted are {', '.join(STATES)}")
        if key in seen:
            raise UserError(f"{where} is the second one of {key}: delete the file and score this policy again")
        seen.add(key)
        if row["status"] != "ok":
            score = math.nan
        elif score is None:
            raise UserError(f"{where} is ok but has no score: {AGAIN}")
        elif top is not None and not 0 <= score <= top:
            raise UserError(f"{where} has the score {score!r}, but {meta['benchmark']} gives 0 to {top:g}: {AGAIN}")
        found.append({"evidence": {}, "image": "", "prompt": "", **row, "score": float(score), **own})
    if len(rows) > meta["expected_images"]:
        raise UserError(
            f"{str(path)!r} holds {len(rows)} images where {meta['expected_images']} are expected: "
            "delete the file and score this policy again"
        )
    columns = ["benchmark", "setting", "policy", *RECORD_KEYS, "prompt", "evidence", "image"]
    return pd.DataFrame(found, columns=columns)


def check_comparable(metas: pd.DataFrame) -> None:
    """Policies of one benchmark must share its rule, its scorer and its prompts, and those of one setting the setting
    too.
    """
    for name, group in metas.groupby("benchmark", sort=False):
        for key in SAME_WITHIN_BENCHMARK:
            _check_same(group, key, f"benchmark {name!r}")
        for setting, part in group.groupby("setting", sort=False):
            for key in ("prompt_set_sha256", "expected_images", "setting"):
                _check_same(part, key, f"benchmark {name!r}, setting {setting!r}")


def _check_same(group: pd.DataFrame, key: str, where: str) -> None:
    values: dict[str, str] = {}
    for policy, meta in zip(group["policy"], group["meta"], strict=True):
        values.setdefault(json.dumps(meta[key], sort_keys=True), policy)
    if len(values) > 1:
        (one, first), (two, second) = list(values.items())[:2]
        what, one, two = _difference(key, json.loads(one), json.loads(two))
        raise UserError(
            f"{where}: {first!r} and {second!r} were scored with different {what} ({one[:60]} and {two[:60]}) and "
            "cannot be compared: score both again in the same way, as python -m bench.score RUN does for all that the run holds"
        )


def _difference(key: str, one: Any, two: Any) -> tuple[str, str, str]:
    """(where, what, what) of the first difference between two unequal JSON values: "scorer.libraries.transformers"."""
    if isinstance(one, dict) and isinstance(two, dict):
        for name in (*one, *two):
            if name not in one or name not in two:
                first, second = (json.dumps(its[name]) if name in its else "none" for its in (one, two))
                return f"{key}.{name}", first, second
            if one[name] != two[name]:
                return _difference(f"{key}.{name}", one[name], two[name])
    return key, json.dumps(one), json.dumps(two)


def read_training(root: Path, name: str) -> pd.DataFrame:
    """All rows of train/METHOD/seedS/`name`, the last one winning where one was written twice (a resumed run)."""
    frames = []
    for path in sorted((root / "train").glob(f"*/seed*/{name}")):
        rows = log_lines(path)
        if not rows:
            continue
        frame = pd.DataFrame(rows)
        frame = frame.drop_duplicates("iteration", keep="last")
        seed = path.parent.name.removeprefix("seed")
        frame.insert(0, "method", path.parent.parent.name)
        frame.insert(1, "seed", int(seed) if seed.isdigit() else seed)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["method", "seed", "iteration"])
