"""Judges pictures: each is read once for all benchmarks that want it, and what cannot be judged says why, never a zero.

Judged pictures are written down batch by batch, so that an interrupted scoring goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.benchmarks.evaluation import Evaluation
from bench.record.pictures import identity_of, manifest
from bench.record.rundir import RunDir
from bench.record.verdicts import PARTS, Coverage, Key, score_identity, stored, write
from bench.record.work import Target
from htgrpo.base.errors import UserError
from htgrpo.base.files import append_jsonl, atomic_write_text, read_jsonl
from htgrpo.base.pictures import Unreadable, opened
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import Picture, Record, fault

if TYPE_CHECKING:
    from PIL import Image

    from bench.benchmarks.base import PictureBenchmark
    from htgrpo.parallel.ranks import Ranks

BATCH = 128


@dataclass
class Judging:
    """One benchmark's work on one policy. judged: records by (prompt id, sample) that need not be made again."""

    run: RunDir
    target: Target
    evaluation: Evaluation
    benchmark: "PictureBenchmark"
    identity: str
    judged: dict[Key, Record]

    @staticmethod
    def begin(
        run: RunDir, target: Target, evaluation: Evaluation, benchmark: "PictureBenchmark", made: dict[Key, Picture]
    ) -> "Judging":
        """Its state: good verdicts of this identity are kept where their picture is the one that is there now."""
        identity = score_identity(benchmark, evaluation, target.sha256)
        one = Judging(run, target, evaluation, benchmark, identity, {})
        for record in [*stored(one.path, identity), *one._parts()]:
            key = record["prompt_id"], record["sample"]
            if record["status"] == "ok" and key in made and record.get("sha256") == made[key]["sha256"]:
                one.judged[key] = record
        return one

    @property
    def path(self) -> Path:
        """The verdict file."""
        return self.run.verdicts(self.target.name, self.evaluation.benchmark, self.evaluation.setting)

    @property
    def prompts(self) -> dict[str, Prompt]:
        """The benchmark's prompts by id."""
        return {prompt.id: prompt for prompt in self.evaluation.prompts}

    def wants(self, key: Key, prompts: dict[str, Prompt]) -> bool:
        """Whether a picture is still to be judged."""
        return key not in self.judged and key[0] in prompts

    def part(self, rank: int) -> Path:
        """Where a process writes down what it has judged."""
        return self.path.with_suffix(PARTS.replace("*", str(rank)))

    def _parts(self) -> list[Record]:
        """Records of this identity in the parts; others are removed."""
        records: list[Record] = []
        for path in sorted(self.path.parent.glob(self.path.stem + PARTS)):
            try:
                first, *rest = read_jsonl(path)
                told = next(filter(None, (fault(one, Record) for one in rest)), "")
            except (OSError, UserError, ValueError):
                first, rest, told = {}, [], ""
            if first.get("identity") == self.identity and not told:
                records += cast(list[Record], rest)
            else:
                path.unlink(missing_ok=True)
        return records

    def finish(self, records: dict[Key, Record]) -> Coverage:
        """Writes the verdict file from all `records` and removes the parts."""
        ordered = [records[prompt.id, sample] for prompt, sample in self.evaluation.items]
        write(self.run, self.target, self.evaluation, self.benchmark, ordered)
        for path in self.path.parent.glob(self.path.stem + PARTS):
            path.unlink()
        return self.coverage(ordered)

    @staticmethod
    def coverage(records: Sequence[Record]) -> Coverage:
        """What is missing of `records`."""
        bad = [record for record in records if record["status"] != "ok"]
        return Coverage(len(bad), len(records), bad[0]["evidence"]["reason"] if bad else "")


def score(
    run: RunDir,
    target: Target,
    evaluations: Sequence[Evaluation],
    benchmarks: "dict[str, PictureBenchmark]",
    on_progress: Callable[[float], None],
    ranks: "Ranks | None" = None,
) -> dict[str, Coverage]:
    """Judges all pictures of one policy in one folder by every benchmark and writes verdict files; on_progress gets the
    part done.

    evaluations: of one picture set under one setting. Several `ranks` share the batches, and the first one writes.
    Returns the coverage by benchmark. Raises UserError, after the others are done, where what looks at the pictures
    cannot be had or trusted.
    """
    from htgrpo.parallel.ranks import ALONE

    ranks, first = ranks or ALONE, evaluations[0]
    folder = run.images(target.name, first.drawn.name, first.setting)
    if identity_of(folder) != first.generation_identity(target.sha256):
        raise UserError(
            f"there are no pictures of {target.name} for {first.drawn.name} ({first.setting}) from its current "
            f"weights: make them with python -m bench.generate {run.root}"
        )
    made = manifest(folder)
    work = [Judging.begin(run, target, one, benchmarks[one.benchmark], made) for one in evaluations]
    ranks.wait()  # all have read the parts before anyone adds to them
    refused = {name: why for told in ranks.gather(_trusted(work)) for name, why in told.items()}
    able = [one for one in work if one.benchmark.name not in refused]
    _judge_all(run, folder, made, able, on_progress, ranks)
    ranks.wait()  # all parts are written
    found: dict[str, Coverage] = {}
    for one in able:
        # an earlier failure does not hide a success
        noted = sorted(one._parts(), key=lambda record: record["status"] == "ok")
        records = one.judged | {(record["prompt_id"], record["sample"]): record for record in noted}
        ranks.wait()
        found[one.benchmark.name] = one.finish(records) if ranks.is_main else one.coverage(list(records.values()))
    ranks.wait()  # nobody looks for the files before they are there
    if refused:
        raise UserError("; ".join(dict.fromkeys(refused.values())))
    return found


def _trusted(work: list[Judging]) -> dict[str, str]:
    """Loads what has something to do; why not, by benchmark, where that fails."""
    refused = {}
    for one in work:
        try:
            if len(one.judged) < len(one.evaluation.items):
                one.benchmark.trust()
        except UserError as error:
            refused[one.benchmark.name] = error.message
    return refused


def _judge_all(
    run: RunDir,
    folder: Path,
    made: dict[Key, Picture],
    work: list[Judging],
    on_progress: Callable[[float], None],
    ranks: "Ranks",
) -> None:
    """Judges what is wanted, batch by batch, into the parts."""
    prompts = [one.prompts for one in work]
    keys = [(prompt.id, sample) for prompt, sample in work[0].evaluation.drawn_items] if work else []
    lots = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
    lots = [
        lot for lot in lots if any(one.wants(key, own) for one, own in zip(work, prompts, strict=True) for key in lot)
    ]
    mine = ranks.share(lots)
    for number, lot in enumerate(mine):
        pictures: dict[Key, _Picture] = {}
        for one, own in zip(work, prompts, strict=True):
            wanted = [key for key in lot if one.wants(key, own)]
            for key in wanted:
                if key not in pictures:
                    pictures[key] = _Picture.read(run, folder, made.get(key))
            records = _judge(one.benchmark, [(pictures[key], own[key[0]], key[1]) for key in wanted])
            _note(one, ranks.index, records)
        on_progress((number + 1) / len(mine))


def _note(one: Judging, rank: int, records: list[dict]) -> None:
    """Adds records to a process's part."""
    path = one.part(rank)
    if records and not path.exists():
        atomic_write_text(path, json.dumps({"identity": one.identity}) + "\n")
    for record in records:
        append_jsonl(path, record)


@dataclass
class _Picture:
    """A picture as read back, or why there is none: status "failed" or "skipped" and a reason."""

    file: str = ""
    sha256: str = ""
    image: "Image.Image | None" = None
    status: str = "failed"
    reason: str = ""

    @staticmethod
    def read(run: RunDir, folder: Path, entry: Picture | None) -> "_Picture":
        """The picture of a manifest's entry; with "crop" only that box of its file."""
        if entry is None:
            return _Picture(status="skipped", reason="the picture was not generated")
        path = folder / entry["file"]
        picture = _Picture(run.relative(path), entry["sha256"])
        try:
            data = path.read_bytes()
        except OSError as error:
            picture.reason = f"{path.name} cannot be read ({error.strerror})"
            return picture
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            picture.reason = f"{path.name} was changed or cut off after it was generated"
            return picture
        try:
            picture.image = opened(data, entry.get("crop"))
        except Unreadable as error:
            picture.reason = f"{path.name}: {error}"
        return picture

    def record(self, prompt: Prompt, sample: int, verdict: dict | None) -> dict:
        """The record of a verdict, or of none."""
        base = {"prompt_id": prompt.id, "sample": sample, "category": prompt.category, "prompt": prompt.text}
        if verdict is None or verdict.get("error"):
            reason = self.reason if verdict is None else verdict["error"]
            told: dict[str, Any] = {"status": self.status, "score": None, "evidence": {"reason": reason}}
        else:
            told = {"status": "ok", "score": float(verdict["score"]), "evidence": verdict["evidence"]}
        return {**base, **told, "image": self.file, "sha256": self.sha256}


def _judge(benchmark: "PictureBenchmark", batch: list[tuple[_Picture, Prompt, int]]) -> list[dict]:
    """The records of a batch. When the scorer stumbles over it every picture is judged alone, so that a bad one fails
    alone."""
    good = [(picture.image, prompt) for picture, prompt, _ in batch if picture.image is not None]
    try:
        verdicts = benchmark.judge([image for image, _ in good], [prompt for _, prompt in good]) if good else []
    except UserError:
        raise
    except Exception:
        verdicts = [_alone(benchmark, image, prompt) for image, prompt in good]
    told = iter(verdicts)
    return [p.record(prompt, sample, next(told) if p.image is not None else None) for p, prompt, sample in batch]


def _alone(benchmark: "PictureBenchmark", image: "Image.Image", prompt: Prompt) -> dict:
    try:
        return benchmark.judge([image], [prompt])[0]
    except Exception as error:  # whatever a scorer raises is this picture's failure
        return {"error": f"the scorer failed: {type(error).__name__}: {error}"}
