"""Changes one file of a finished run, and gives the run to every command: each must name it, or make it again to the
last bit."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.campaign import made
from bench.campaign.cases import Ground, Outcome, Part
from bench.campaign.inputs import attempt
from bench.campaign.killing import Contents
from bench.campaign.same import results

Damage = Callable[[bytes, random.Random, list[bytes]], bytes]
"""(contents, a draw, contents of the other files) -> other contents; ValueError where it does not apply."""
WRONG: tuple[Any, ...] = (None, [], {}, 0, -1, "x", True, 1e308, [None], {"a": None})
"""Values of a wrong kind for some key of a JSON file."""


def flipped(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """One bit is another."""
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


def truncated(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """The end is missing."""
    return data[: draw.randrange(1, len(data))]


def swapped(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """It is the contents of another file with the same ending."""
    return draw.choice([one for one in others if one != data] or _none())


def rekinded(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """A value in its JSON is of another kind."""
    return _edited(data, draw, lambda value: draw.choice([one for one in WRONG if type(one) is not type(value)]))


def huge(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """A number in its JSON is NaN, infinite, huge or another one."""

    def change(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return draw.choice([float("nan"), float("inf"), -1e308, 10**30, value + 1])

    for _ in range(50):
        try:
            return _edited(data, draw, change)
        except ValueError:
            continue
    return _none()


def another(data: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """JSON that is no object."""
    _edited(data, draw, lambda value: value)  # only of a JSON file
    return draw.choice([b"[]", b"null", b"3", b'"text"', b"{}", b"[{}]"]) + b"\n"


def _none() -> Any:
    raise ValueError("does not apply")


def _edited(data: bytes, draw: random.Random, change: Callable[[Any], Any]) -> bytes:
    lines = data.splitlines()
    try:
        values = [json.loads(data)]
        whole = True
    except ValueError:
        values, whole = [json.loads(line) for line in lines], False
    owner = draw.choice(values)
    while True:
        if not isinstance(owner, dict | list) or not owner:
            return _none()
        key = draw.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
        if isinstance(owner[key], dict | list) and owner[key] and draw.random() < 0.7:
            owner = owner[key]
            continue
        owner[key] = change(owner[key])
        break
    return (json.dumps(values[0], indent=2) if whole else "\n".join(map(json.dumps, values))).encode() + b"\n"


DAMAGES: dict[str, Damage] = {
    "one bit": flipped,
    "cut off": truncated,
    "empty": lambda data, *_: b"",
    "of another file": swapped,
    "another kind": rekinded,
    "another number": huge,
    "no object": another,
    "gone": lambda *_: b"",
}
CHECKPOINT = "train/ht/seed0/checkpoints/step_000002"
VERDICTS, PICTURES = "verdicts/embedded_geneval/main", "images/{}/embedded_geneval/main"
OF_CHECKPOINT = (
    "model.safetensors", "config.json", "tokenizer.json", "vq/codebook.safetensors", "files.json",
    "trainer_state/state.json", "trainer_state/optimizer.safetensors", "trainer_state/files.json",
)  # fmt: skip
OF_REPORT = ("table.csv", "table.md", "index.html", "files.json", "differences.svg", "categories.pdf")
FILES = (
    "config.json",
    "complete.json",
    *(f"train/ht/seed0/{name}" for name in ("metrics.jsonl", "timing.jsonl", "rewards.json")),
    "train/pretrain/seed0/metrics.jsonl",
    *(f"{CHECKPOINT}/{name}" for name in OF_CHECKPOINT),
    *(
        f"{PICTURES.format(policy)}/{name}"
        for policy in ("base", "ht-seed0")
        for name in ("manifest.jsonl", "meta.json", "colors-heldout-000_0.png", "two_object-heldout-000_0.png")
    ),
    *(f"{VERDICTS}/{policy}.{ending}" for policy in ("base", "pretrain-seed0") for ending in ("jsonl", "meta.json")),
    *(f"report/{name}" for name in OF_REPORT),
)
"""One file of each kind in a finished run."""
COMMANDS: dict[str, Callable[[Path, Ground], list[str]]] = {
    "compare": lambda run, ground: [*made.whole(ground, "ht,pretrain"), "--out", str(run)],
    "report": lambda run, ground: [str(run)],
    "check": lambda run, ground: [str(run)],
    "generate": lambda run, ground: [str(run), "--jobs", "0"],
    "score": lambda run, ground: [str(run), "--jobs", "0"],
    "card": lambda run, ground: [str(run / CHECKPOINT), "--out", str(run.parent / "card.md")],
    "export": lambda run, ground: [str(run / CHECKPOINT), "--out", str(run.parent / "exported")],
}


def must_see(command: str, file: str, damage: str) -> bool:
    """Whether a command has to name a file that is not as it was written, or make it again. card and export read a
    checkpoint, and report what the tables show, and score keeps verdicts of pictures that are gone: what they do not
    read they may leave alone, where their own results are right."""
    if command in ("generate", "score"):
        return not file.startswith("report/") and not (
            command == "score" and file.endswith(".png") and damage == "gone"
        )
    return command in ("compare", "check")


@dataclass(frozen=True)
class Damaged:
    """One file, one damage, one command."""

    name: str
    group: str
    file: str
    damage: str
    command: str
    seed: int
    limit: float = 300.0

    def run(self, ground: Ground, scratch: Path) -> Outcome:
        """Damages a copy of the finished run, gives it to the command, and compares what is there afterwards."""
        outcome, run, finished = Outcome(), scratch / "run", made.finished(ground)
        right = undamaged(self.command, ground)
        shutil.copytree(finished, run)
        path = run / self.file
        others = [one.read_bytes() for one in sorted(finished.rglob(f"*{path.suffix}")) if one.is_file()]
        try:
            data = DAMAGES[self.damage](
                path.read_bytes(), random.Random(f"{self.seed} {self.file} {self.damage}"), others
            )
        except ValueError:
            outcome.value["applies"] = False
            return outcome
        path.write_bytes(data) if self.damage != "gone" else path.unlink()
        before = results(scratch, {str(scratch): "PLACE"})
        code, told, printed, error = attempt(
            import_module(f"bench.{self.command}").main, COMMANDS[self.command](run, ground), scratch
        )
        said = f"ended with {code}: {told.strip()[-300:] or printed.strip()[-200:]}"
        if error or "Traceback" in told:
            outcome.add("traceback", error or told[-400:])
        elif code is None:
            outcome.add("stuck", "did not end")
        elif code:
            self._judge_refusal(outcome, code, told, printed, said)
        else:
            if (
                must_see(self.command, self.file, self.damage)
                and (path.read_bytes() if path.is_file() else b"") == data
            ):
                outcome.add("accepted", f"without a word: {said}")
            after = results(scratch, {str(scratch): "PLACE"})
            for name in sorted(after.keys() | right.keys()):
                if after.get(name) != right.get(name) and (
                    not name.startswith("run/") or after.get(name) != before.get(name)
                ):
                    outcome.add("mismatch", f"{name} is neither what it was nor what is right: {said}")
        return outcome

    def _judge_refusal(self, outcome: Outcome, code: int, told: str, printed: str, said: str) -> None:
        names = (Path(self.file).name, self.file.removesuffix(".meta.json").removesuffix(".jsonl"))
        if not any(name in told + printed for name in names):
            outcome.add("words", f"it does not name the file: {said}")
        if code == 2 and len([line for line in told.splitlines() if line.startswith("error: ")]) != 1:
            outcome.add("words", f"not one sentence: {said}")


def undamaged(command: str, ground: Ground) -> Contents:
    """What is there after a command on the run that nobody damaged."""

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        shutil.copytree(made.finished(ground), folder / "run")
        made.command(f"bench.{command}", *COMMANDS[command](folder / "run", ground))

    folder = ground.made(f"undamaged/{command}", make)
    return results(folder, {str(folder): "PLACE"})


def cases(seed: int, trials: int) -> list[Damaged]:
    """Every command on every damage of every file, in an order that the seed draws."""
    found = [
        Damaged(f"{command}: {file}: {damage}", command, file, damage, command, seed)
        for command in COMMANDS
        for file in FILES
        for damage in DAMAGES
    ]
    random.Random(f"damage {seed}").shuffle(found)
    return found


PART = Part(
    "damage",
    "Damaged files",
    "One file of a finished run has another bit, lacks its end or everything, holds another file, JSON of another kind or another "
    "number, or is gone. Right is that the command names it, or makes it again to the last bit, or does not read it and writes "
    "what it would have written; never other numbers.",
    cases,
    usual=240,
)
