"""Small things that cases work on: a random policy of one layer, and runs made with it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench.campaign.cases import Ground

SMALL = """--set group_size=2 --set prompts_per_iteration=2 --set steps=2 --set pretrain.updates_per_iteration=1
--set pretrain.batch=4""".split()
PICTURES = ["--benchmarks", "embedded_geneval", "--limit", "6", "--set", "main.steps=2", "--set", "main.samples=1"]
TINY = "--steps 2 --batch 2 --d-model 16 --n-layers 1 --n-heads 2 --mlp-hidden-size 32".split()


def command(module: str, *argv: str) -> None:
    """Runs a command that must succeed."""
    done = subprocess.run([sys.executable, "-m", module, *argv], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(argv)} ended with {done.returncode}: {done.stderr[-400:]}")


def policy(ground: Ground) -> Path:
    """A random policy of the embedded world."""
    return ground.made("policy", lambda folder: command("bench.pretrain", *TINY, "--out", str(folder)))


def start(ground: Ground) -> list[str]:
    """Flags of a small training."""
    return ["--policy", str(policy(ground)), "--budget", "iterations:2", *SMALL]


def whole(ground: Ground, methods: str) -> list[str]:
    """Flags of a small bench.compare without workers."""
    return ["--methods", methods, *start(ground), *PICTURES, "--jobs", "0"]


def finished(ground: Ground) -> Path:
    """A finished run of ht and pretrain."""
    return ground.made(
        "finished", lambda folder: command("bench.compare", *whole(ground, "ht,pretrain"), "--out", str(folder))
    )


def checkpoint(ground: Ground) -> Path:
    """A trained checkpoint, in a folder of its own."""

    def copy(folder: Path) -> None:
        shutil.copytree(finished(ground) / "train/ht/seed0/checkpoints/step_000002", folder)

    return ground.made("trained", copy)


def generated(ground: Ground) -> Path:
    """A run of one checkpoint with its pictures and no verdicts."""

    def make(folder: Path) -> None:
        asked = ["--checkpoint", f"ht={checkpoint(ground)}", "--policy", str(policy(ground)), *PICTURES]
        command("bench.generate", *asked, "--jobs", "0", "--out", str(folder))

    return ground.made("generated", make)


def bare(ground: Ground) -> Path:
    """A finished run without its report."""

    def copy(folder: Path) -> None:
        shutil.copytree(finished(ground), folder, ignore=shutil.ignore_patterns("report", ".lock"))

    return ground.made("bare", copy)


def pictures(ground: Ground) -> Path:
    """A folder of pictures with a list of their prompts."""

    def copy(folder: Path) -> None:
        folder.mkdir()
        lines = [
            json.loads(line)
            for line in (finished(ground) / "verdicts/embedded_geneval/main/base.jsonl").read_text().splitlines()
        ]
        named = []
        for number, line in enumerate(lines):
            source = finished(ground) / "images/base/embedded_geneval/main" / Path(line["image"]).name
            shutil.copy(source, folder / f"{number}.png")
            named.append(json.dumps({"image": f"{number}.png", "prompt": line["prompt"]}))
        (folder / "prompts.jsonl").write_text("\n".join(named) + "\n")

    return ground.made("pictures", copy)
