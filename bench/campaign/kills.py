"""Kills commands at changes of files, and runs them again: nothing may differ from the run that nobody disturbed."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.campaign import killing, made
from bench.campaign.cases import Ground, Outcome, Part
from bench.campaign.same import differences, results

METHODS = ("ht", "mask", "uni", "trace", "trace_once", "pretrain")
OPTIONS = {"trace_once": ["--set", "trace_once.updates_per_rollout=4"]}
"""What a method needs on rollouts as short as these."""
PLACE = "PLACE"
"""Stands for the folder that a command works in."""
MADE = {"POLICY": made.policy, "CHECKPOINT": made.checkpoint, "PICTURES": made.pictures}
"""What stands for things that are made before it."""


@dataclass(frozen=True)
class Scenario:
    """A command, module and arguments, that works in PLACE. before: fills PLACE. run: what bench.check recomputes
    afterwards, below PLACE. by: "change" of a file in this process; "all" or "main": by the number of files that are
    there, all processes or the first one only."""

    command: Callable[[Ground], list[str]]
    kills: int
    before: Callable[[Ground], Path] | None = None
    run: str = ""
    by: str = "change"


def _compare(methods: str, ground: Ground, more: Sequence[str] = ()) -> list[str]:
    own = [*OPTIONS.get(methods, ()), *more]
    return ["bench.compare", *made.whole(ground, methods), *own, "--out", f"{PLACE}/run"]


def _train(method: str, ground: Ground) -> list[str]:
    return ["bench.train", "--method", method, *made.start(ground), *OPTIONS.get(method, ()), "--out", f"{PLACE}/run"]


def _said(text: str) -> Callable[[Ground], list[str]]:
    """The command of these words, with what it works on made beforehand."""
    return lambda ground: [re.sub("|".join(MADE), lambda m: str(MADE[m[0]](ground)), word) for word in text.split()]


def scenarios() -> dict[str, Scenario]:
    """All, by name."""
    found = {f"compare {m}": Scenario(partial(_compare, m), 3, run="run") for m in METHODS}
    found |= {f"train {m}": Scenario(partial(_train, m), 6) for m in METHODS}
    workers, out = ["--jobs", "2"], f"--out {PLACE}/run"
    world, tiny = " ".join(made.PICTURES), " ".join(made.TINY)
    found |= {
        "compare with workers": Scenario(partial(_compare, "ht,pretrain", more=workers), 5, run="run", by="all"),
        "compare, main process": Scenario(partial(_compare, "ht,mask", more=workers), 5, run="run", by="main"),
        "generate": Scenario(
            _said(f"bench.generate --checkpoint ht=CHECKPOINT --policy POLICY {world} {out} --jobs 0"), 6
        ),
        "score": Scenario(_said(f"bench.score {PLACE}/run --jobs 0"), 6, before=made.generated),
        "score --images": Scenario(
            _said(
                "bench.score --images a=PICTURES --prompts PICTURES/prompts.jsonl --benchmarks embedded_geneval "
                f"--limit 6 {out}"
            ),
            6,
            run="run",
        ),
        "report": Scenario(_said(f"bench.report {PLACE}/run"), 6, before=made.bare, run="run"),
        "pretrain": Scenario(_said(f"bench.pretrain {tiny} --keep-every 1 {out}"), 8),
        "make_checkpoint": Scenario(_said(f"bench.make_checkpoint --backbone mmada --tiny {out}"), 6),
        "export": Scenario(_said(f"bench.export CHECKPOINT {out}"), 6),
        "card": Scenario(
            _said(f"bench.card {PLACE}/run/train/ht/seed0/checkpoints/step_000002"), 2, before=made.finished
        ),
        "tune": Scenario(
            _said(f"bench.tune --methods pretrain --policy POLICY --budget iterations:1 --samples 1 --jobs 1 {out}"),
            4,
            by="all",
        ),
    }
    return found


def commanded(scenario: Scenario, ground: Ground, place: Path) -> list[str]:
    """The command with its folder."""
    return [word.replace(PLACE, str(place)) for word in scenario.command(ground)]


def filled(scenario: Scenario, ground: Ground, place: Path) -> None:
    """The folder as it is before the command."""
    place.mkdir()
    if scenario.before:
        shutil.copytree(scenario.before(ground), place / "run")


def undisturbed(name: str, ground: Ground) -> Path:
    """The folder that a command leaves when nobody disturbs it, in place/, and every change on the way, in
    changes.txt."""
    scenario = scenarios()[name]

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        filled(scenario, ground, folder / "place")
        command = commanded(scenario, ground, folder / "place")
        killing.changes(command, folder / "place", folder / "changes.txt")

    return ground.made(f"undisturbed/{re.sub('[^a-z_]+', '-', name)}", make)


@dataclass(frozen=True)
class Kill:
    """A kill at a share `at` of all changes, of the command of a scenario."""

    name: str
    group: str
    at: float
    limit: float = 900.0

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        """Kills, runs again and compares."""
        scenario, reference = scenarios()[self.group], undisturbed(self.group, ground)
        place = scratch / "place"
        filled(scenario, ground, place)
        command = commanded(scenario, ground, place)
        kill = _at_change if scenario.by == "change" else _at_files
        outcome, killed = Outcome(), kill(command, place, self.at, reference, scenario.by)
        if killed.returncode != -signal.SIGKILL:
            if killed.returncode or scenario.by == "change":
                outcome.add("broken", f"it was not killed but ended with {killed.returncode}: {killed.stderr[-300:]}")
            outcome.value["late"] = True  # it was quicker than the kill
        if "Traceback" in killed.stderr:
            outcome.add("traceback", f"while it was killed: {killed.stderr[-400:]}")
        again = _again(command, place, outcome)
        if again:
            outcome.add("stuck", again)
            return outcome
        wanted = results(reference / "place", {str(reference / "place"): PLACE})
        for told in differences(wanted, results(place, {str(place): PLACE})):
            outcome.add("mismatch", told)
        for path in [p for p in place.rglob("*") if ".unfinished" in p.name or re.search(r"\.(tmp|part\d+)$", p.name)]:
            outcome.add("left", f"{path.relative_to(place)} is left")
        if scenario.run:
            checked = _run(["bench.check", str(place / scenario.run)])
            if checked.returncode:
                outcome.add(
                    "mismatch",
                    f"bench.check ends with {checked.returncode}: {checked.stdout[-400:]}{checked.stderr[-200:]}",
                )
        return outcome


def _run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=600)


def _again(command: list[str], place: Path, outcome: Outcome) -> str:
    """Runs a killed command again, and does what it says, once; returns why it is stuck, '' where it is not."""
    again = _run(command)
    if again.returncode and (told := again.stderr.strip().splitlines()) and again.returncode in (2, 3):
        outcome.value["told"] = told[-1][:300]
        if "--overwrite" in told[-1]:
            again = _run([*command, "--overwrite"])
        elif (folder := re.search(r"delete the (?:folder|file) '?([^\s',:]+)", told[-1])) and str(place) in str(
            place / folder[1]
        ):
            target = place / "run" / folder[1]
            shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            again = _run(command)
    if "Traceback" in again.stderr:
        outcome.add("traceback", again.stderr[-400:])
    return f"the same command ended with {again.returncode}: {again.stderr[-400:]}" if again.returncode else ""


def _at_change(command: list[str], place: Path, at: float, reference: Path, by: str) -> subprocess.CompletedProcess:
    count = len((reference / "changes.txt").read_text("utf-8").splitlines())
    return killing.run(command, place, at=1 + int(at * count))


def _at_files(command: list[str], place: Path, at: float, reference: Path, by: str) -> subprocess.CompletedProcess:
    """Kills when a share of the files is there that the whole command leaves."""

    def files(folder: Path) -> int:
        with contextlib.suppress(FileNotFoundError):  # a folder that is just renamed
            return sum(path.is_file() for path in folder.rglob("*"))
        return 0

    wanted = at * files(reference / "place")
    with open(place.parent / "told.txt", "w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=told, start_new_session=True
        )
        try:
            while process.poll() is None and files(place) <= wanted:
                time.sleep(0.01)
            if process.poll() is None:
                (os.killpg if by == "all" else os.kill)(process.pid, signal.SIGKILL)
            code = process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.5)  # workers notice that their parent is gone
        told.seek(0)
        return subprocess.CompletedProcess(command, code, "", told.read())


def cases(seed: int, trials: int) -> list[Kill]:
    """All kills, scenario by turns: spread evenly over the changes of each, moved by the seed."""
    found = []
    for name, scenario in scenarios().items():
        move = random.Random(f"{seed} {name}").random()
        points = [(i + move) / scenario.kills for i in range(scenario.kills)]
        found += [(i, Kill(f"{name} at {at:.3f}", name, at)) for i, at in enumerate(points)]
    return [case for _, case in sorted(found, key=lambda one: one[0])]


PART = Part(
    "kills",
    "Kills",
    "A command is killed with SIGKILL right before a change of a file, at points spread over all its changes, and then run again; "
    "commands with worker processes are killed when a part of their files is there, all processes or the main one alone. Weights, "
    "optimiser state, metrics, pictures, verdicts and all numbers of the report must be those of the undisturbed run to the "
    "last bit (clocks and memory apart), no file may be left over, and bench.check must find nothing.",
    cases,
)
