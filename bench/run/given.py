"""Scores folders of given pictures into a run of their own, which reports and checks read like any other."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ask import machine
from bench.ask.cli import say
from bench.ask.options import check
from bench.ask.request import Request
from bench.ask.selection import select_all
from bench.benchmarks.base import MAIN
from bench.benchmarks.evaluation import Evaluation
from bench.benchmarks.registry import make
from bench.given.layouts import Found, read
from bench.given.pairing import Assigned, assigned, shown
from bench.record.complete import mark_complete, working
from bench.record.pictures import MANIFEST, clear, identity_of, write_meta
from bench.record.rundir import GIVEN, RunDir, earlier_versions
from bench.record.work import REPORT, SCORE, Job, Target
from bench.run.ending import LEFT, finish
from bench.run.jobs import Ended, run_here
from bench.run.loop import opened
from bench.run.progress import make_progress
from bench.run.worker import Emit
from bench.scorers.servers import check_asked
from htgrpo.base.device import find_device
from htgrpo.base.errors import EXIT_OK, UserError
from htgrpo.base.files import atomic_json, atomic_write_text, sha256_file, sha256_json
from htgrpo.base.pictures import CONVERSION
from htgrpo.base.records import FINAL

if TYPE_CHECKING:
    from bench.ask.options import Options
    from bench.benchmarks.base import PictureBenchmark
    from htgrpo.parallel.ranks import Ranks

REMEDY = (
    "mend or add those pictures and run the same command again, or take --allow-incomplete for headlines over the rest"
)


@dataclass(frozen=True)
class Folder:
    """Pictures to score. label: what tables call their model; note: what is known about how they were made."""

    label: str
    path: str
    layout: str
    prompts: str | None
    grid: int | None
    note: str = ""


@dataclass(frozen=True)
class Given:
    """What is asked for: folders, benchmarks, and which prompts of them."""

    folders: list[Folder]
    benchmarks: list[str]
    limit: int | None = None
    subset: dict[str, int] | None = None

    @staticmethod
    def of_run(run: RunDir) -> "Given | None":
        """What a run of given pictures was asked for; None for a run of policies."""
        config = run.config() or {}
        if config.get("kind") != GIVEN:
            return None
        folders = [Folder(**folder) for folder in config["folders"]]
        return Given(folders, config["asked"], config["limit"], config["subset"])


@dataclass(frozen=True)
class _Work:
    """One label's pictures and the benchmarks that judge them. notes: what of the folder was left out or cut up."""

    folder: Folder
    target: Target
    evaluations: list[Evaluation]
    benchmarks: "dict[str, PictureBenchmark]"
    pictures: Assigned
    hashes: dict[Path, str]
    notes: list[str]

    def examples(self, count: int) -> list[str]:
        """Some of the pictures with their prompts, for the user to see whether they go together."""
        prompts = self.evaluations[0].drawn.prompts
        ids = {prompt.id for prompt in prompts}
        chosen = {key: picture for key, picture in self.pictures.items() if key[0] in ids}
        return [f"  {line}" for line in shown(chosen, prompts, Path(self.folder.path), count)]


def execute(given: Given, root: Path, options: "Options") -> int:
    """Scores and reports; returns the exit code. Raises UserError for what stops it as a whole."""
    run = RunDir(root)
    old = Given.of_run(run)
    if old is None and run.config() is not None:
        raise UserError(f"{str(root)!r} is a run of policies: use another --out for given pictures")
    given = _joined(old, given)
    contents = [_read(folder) for folder in given.folders]  # what is wrong with them is told before anything is loaded
    check(options)
    check_asked(options.scorer_url, [scorer for name in given.benchmarks for scorer in make(name).asks()])
    say("loading")
    device = find_device(options.device)
    work = [_prepared(*folder, given, device) for folder in zip(given.folders, contents, strict=True)]
    _check_comparable(work)
    if options.dry_run:
        return _plan(root, work)
    _ready(work)
    for one in work:
        for line in (f"{one.folder.label}: {len(one.pictures)} pictures, such as", *one.examples(2), *one.notes):
            say(line)
    jobs = [Job(one.folder.label, run, "", "", "", (SCORE,), device, 1) for one in work]
    by_label = {one.folder.label: one for one in work}

    def do(job: Job, emit: Emit, ranks: "Ranks | None") -> list[str]:
        return _judge(run, by_label[job.name], lambda part: emit({"done": part, "text": f"score {job.name}"}), ranks)

    with opened([run], device, (SCORE, REPORT)) as (ranks, held):
        if ranks.is_main:
            held.enter_context(working(run))
            _write(run, given, work)
        ranks.wait()
        with make_progress(jobs, 0.0) as progress:
            ended = run_here(jobs, progress.event, ranks, do)
        if ranks.is_main and not any(one.sentence or one.missing for one in ended):
            mark_complete(run, run.request(), options.stages)
        return _ending(run, options, ended) if ranks.is_main else EXIT_OK


def _ending(run: RunDir, options: "Options", ended: list[Ended]) -> int:
    """A judge that failed may do better next time; pictures are for the user to mend."""
    return finish(run, options, ended, LEFT if any(one.sentence for one in ended) else REMEDY)


def _judge(run: RunDir, work: _Work, tell: Callable[[float], None], ranks: "Ranks | None") -> list[str]:
    """Judges one label's pictures; returns a sentence for every benchmark without full coverage."""
    from bench.judge.judging import score
    from htgrpo.parallel.ranks import ALONE

    with (ranks or ALONE).phase():
        found = score(run, work.target, work.evaluations, work.benchmarks, tell, ranks)
    for benchmark in work.benchmarks.values():
        benchmark.close()
    return [
        f"{work.folder.label} {name}: {one.missing} of {one.expected} pictures have no verdict ({one.reason})"
        for name, one in found.items()
        if one.missing
    ]


def _joined(old: Given | None, new: Given) -> Given:
    """What a run holds and what is added to it. Raises UserError where they disagree."""
    if old is None:
        return new
    folders = {folder.label: folder for folder in old.folders}
    for folder in new.folders:
        if folders.setdefault(folder.label, folder) != folder:
            raise UserError(
                f"this run has other pictures under {folder.label!r} ({folders[folder.label].path}, layout "
                f"{folders[folder.label].layout}): use another label or another --out"
            )
    if (old.limit, old.subset) != (new.limit, new.subset):
        raise UserError("this run was scored on another --limit or --subset: give the same, or use another --out")
    return Given(list(folders.values()), list(dict.fromkeys([*old.benchmarks, *new.benchmarks])), old.limit, old.subset)


def _read(folder: Folder) -> Found:
    """What lies in a folder."""
    return read(Path(folder.path), folder.layout, Path(folder.prompts) if folder.prompts else None, folder.grid)


def _prepared(folder: Folder, found: Found, given: Given, device: str) -> _Work:
    """The pictures of a folder with the prompts they belong to."""
    from bench.given.prompts import benchmarks_for

    benchmarks = benchmarks_for(given.benchmarks, found.layout, found.pictures)
    for benchmark in benchmarks.values():
        benchmark.device = device
    whole = next(iter(benchmarks.values()))
    by_key = assigned(found.pictures, whole.drawn("heldout"), whole.picture_set)
    chosen = select_all(benchmarks, "heldout", given.limit, given.subset or {})
    hashes = {file: sha256_file(file) for file in sorted({picture.file for picture in by_key.values()})}
    content = [[*key, hashes[picture.file], picture.crop] for key, picture in sorted(by_key.items())]
    values = {"images": "given", "conversion": CONVERSION, "samples": 1 + max(sample for _, sample in by_key)}
    own = {name: {} if one.samples is None else {"samples": one.samples} for name, one in benchmarks.items()}
    evaluations = [
        Evaluation(name, MAIN, {**values, **own[name]}, one.prompts, one.sha256, one.drawn, whole=one.whole)
        for name, one in chosen.items()
    ]
    source = str(Path(folder.path).resolve())
    target = Target(folder.label, folder.label, None, FINAL, source, sha256_json(content), False, None, None)
    notes = [f"  {note}" for note in found.notes]
    return _Work(folder, target, evaluations, benchmarks, by_key, hashes, notes)


def _check_comparable(work: Sequence[_Work]) -> None:
    """Raises UserError where one prompt's id would stand for two prompts in a table."""
    first = {
        evaluation.benchmark: (one.folder.label, evaluation) for one in reversed(work) for evaluation in one.evaluations
    }
    for one in work:
        for evaluation in one.evaluations:
            label, other = first[evaluation.benchmark]
            if evaluation.prompts_sha256 != other.prompts_sha256:
                mine, theirs = ({p.id: p.text for p in e.prompts} for e in (evaluation, other))
                key = next((key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)), "")
                raise UserError(
                    f"{label!r} and {one.folder.label!r} do not show the same prompts ({key}: {theirs.get(key)!r} "
                    f"and {mine.get(key)!r}): give both the same prompts in the same order, or each its own --out"
                )


def _ready(work: Sequence[_Work]) -> None:
    """Raises UserError where a scorer is missing, before anything is written."""
    from bench.run.plan import without_scorers

    absent = [sentence for one in work for sentence in without_scorers(one.benchmarks)]
    if absent:
        raise UserError("; ".join(dict.fromkeys(absent)) + "; or leave such benchmarks out")


def _write(run: RunDir, given: Given, work: Sequence[_Work]) -> None:
    """The run's configuration, and for every label what its pictures are: files are named, not copied."""
    names = list(dict.fromkeys(name for one in work for name in one.benchmarks))
    request = Request(
        preset="images",
        methods=[one.folder.label for one in work],
        seeds=[],
        backbone="",
        policy="",
        revision="",
        policy_sha256="",
        budget="",
        benchmarks=names,
        split="heldout",
        limit=given.limit,
        subset=given.subset or {},
        settings={MAIN: work[0].evaluations[0].values},
        train={},
        checkpoints={},
    )
    before = run.config() or {}
    prompt_sets = {e.benchmark: e.prompts_sha256 for one in work for e in one.evaluations}
    atomic_json(
        run.root / "config.json",
        {
            "kind": GIVEN,
            "created": before.get("created", datetime.now(UTC).isoformat(timespec="seconds")),
            "title": "given pictures",
            "versions": machine.versions(),
            **earlier_versions(before, machine.versions()),
            "git_commit": machine.git_commit(),
            "prompt_sets": prompt_sets,
            "folders": [asdict(one.folder) for one in work],
            "asked": given.benchmarks,
            **asdict(request),
        },
    )
    for one in work:
        for evaluation in {e.drawn.name: e for e in one.evaluations}.values():
            _write_pictures(run, one, evaluation)


def _write_pictures(run: RunDir, one: _Work, evaluation: Evaluation) -> None:
    folder = run.images(one.target.name, evaluation.drawn.name, evaluation.setting)
    if identity_of(folder) == evaluation.generation_identity(one.target.sha256):
        return
    clear(folder)
    lines = []
    for prompt, sample in evaluation.drawn_items:
        picture = one.pictures.get((prompt.id, sample))
        if picture is not None:
            crop = {"crop": list(picture.crop)} if picture.crop else {}
            lines.append(
                {
                    "prompt_id": prompt.id,
                    "sample": sample,
                    "file": str(picture.file.resolve()),
                    "sha256": one.hashes[picture.file],
                    **crop,
                }
            )
    atomic_write_text(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    write_meta(folder, evaluation, one.target.sha256)


def _plan(root: Path, work: Sequence[_Work]) -> int:
    """Prints what would be scored."""
    from bench.run.plan import without_scorers

    lines = [f"Plan for {root} (nothing is written):"]
    for one in work:
        told = f"{one.folder.label}: {len(one.pictures)} pictures, such as", *one.examples(6), *one.notes
        lines += [f"  {line}" for line in told]
        for evaluation in one.evaluations:
            there = sum((prompt.id, sample) in one.pictures for prompt, sample in evaluation.items)
            lines.append(
                f"  {one.folder.label}: {there} of {len(evaluation.items)} pictures for {evaluation.benchmark}"
            )
    lines += dict.fromkeys(f"still missing: {sentence}" for one in work for sentence in without_scorers(one.benchmarks))
    print("\n".join(lines))
    return 0
