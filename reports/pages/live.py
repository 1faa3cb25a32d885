"""live.html: a run that goes on, from what it has written so far. Pictures are read from the run's folder."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from htgrpo.base.records import Picture, records
from htgrpo.base.run_config import read_config
from reports.pages.charts import training
from reports.pages.template import about, render
from reports.run.load import Run, read_training

PROMPTS = 6
"""How many prompts are looked at, always the same ones."""


@dataclass(frozen=True)
class Shot:
    """The first picture of a prompt by one policy. file: from the page's folder."""

    policy: str
    file: str


def page(root: Path, runs: Mapping[str, Path], jobs: Mapping[str, tuple[float, str]], command: str, every: int) -> str:
    """The page as text. runs: folders of the runs by name; jobs: part done, 0..1, and a word, by name; every: seconds
    after which the browser reads it again."""
    parts = {name: folder for name, folder in runs.items() if (folder / "config.json").is_file()}
    configs = [read_config(folder / "config.json") for folder in parts.values()]
    metrics, timing = (_joined(parts, file) for file in ("metrics.jsonl", "timing.jsonl"))
    config = configs[0] if configs else {}
    methods = list(dict.fromkeys(metrics["method"]))
    run = Run(root, {**config, "methods": methods}, _nothing(), _nothing(), metrics, timing)
    if len(parts) > 1:
        run.config |= {"titles": {}, "looks": {}}
    return render(
        "live.html.j2",
        every=every,
        jobs=[(name, f"{part:.0%}", word) for name, (part, word) in jobs.items()],
        done=f"{sum(part for part, _ in jobs.values()) / max(1, len(jobs)):.0%}",
        latest=_latest(run),
        charts=training(run),
        pictures=_pictures(root, parts),
        **about({**config, "command": command, "folder": str(root)}),
    )


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=["method", "policy", "benchmark", "setting"])


def _joined(parts: Mapping[str, Path], file: str) -> pd.DataFrame:
    """Lines of all trainings; of several runs each method is called after its run."""
    frames = [
        frame if len(parts) == 1 else frame.assign(method=name)
        for name, folder in parts.items()
        if len(frame := read_training(folder, file))
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["method", "seed", "iteration"])


def _latest(run: Run) -> list[list[str]]:
    """The newest line of every training: iteration, reward, KL, entropy."""
    rows = []
    for (method, seed), lines in run.metrics.groupby(["method", "seed"], sort=False):
        last = lines.sort_values("iteration").iloc[-1]
        numbers = [
            f"{last[key]:.4g}" if key in last and pd.notna(last[key]) else "–"
            for key in ("reward_mean", "kl", "entropy")
        ]
        rows.append([run.called(str(method)), str(seed), str(int(last["iteration"])), *numbers])
    return rows


def _pictures(root: Path, parts: Mapping[str, Path]) -> list[tuple[str, list[Shot]]]:
    """A few prompts, chosen by the hash of their names, with the first picture of each policy that has one, in the order
    in which they were made."""
    shots: dict[str, list[tuple[float, Shot]]] = {}
    for name, folder in parts.items():
        for manifest in folder.glob("images/*/*/main/manifest.jsonl"):
            policy = manifest.parents[2].name
            title = f"{name}: {policy}" if len(parts) > 1 else policy
            made = manifest.stat().st_mtime
            for one in records(manifest, Picture):
                if one["sample"] == 0:
                    file = os.path.relpath(manifest.parent / one["file"], root)
                    shots.setdefault(one["prompt_id"], []).append((made, Shot(title, file)))
    chosen = sorted(shots, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())[:PROMPTS]
    return [(prompt, [shot for _, shot in sorted(shots[prompt], key=lambda pair: pair[0])]) for prompt in chosen]
