"""One policy's pictures and verdicts: files against the manifest, records against prompts, and the scorer asked
again."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.ask.request import Request
from bench.benchmarks.evaluation import Evaluation
from bench.checking.findings import Findings, read_object, read_records
from bench.judge.judging import score
from bench.record.pictures import MANIFEST, META, file_name
from bench.record.rundir import RunDir
from bench.record.verdicts import Key, read_meta
from bench.record.work import Target
from htgrpo.base.errors import UserError
from htgrpo.base.files import sha256_file, sha256_json
from htgrpo.base.pictures import CONVERSION
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import Judged, Picture, PictureMeta, Record, VerdictMeta

if TYPE_CHECKING:
    from bench.benchmarks.base import PictureBenchmark


@dataclass(frozen=True)
class Scored:
    """A verdict file, verdicts/BENCHMARK/SETTING/POLICY.jsonl, and where what belongs to it lies. given: its pictures
    were not made by a policy of the run."""

    run: RunDir
    path: Path
    findings: Findings
    given: bool = False

    @property
    def policy(self) -> str:
        """The policy's name."""
        return self.path.stem

    @property
    def setting(self) -> str:
        """The generation setting's name."""
        return self.path.parent.name

    @property
    def benchmark(self) -> str:
        """The benchmark's name."""
        return self.path.parent.parent.name

    @property
    def pictures(self) -> str:
        """The name of the picture set, as the meta file says."""
        meta = read_meta(self.path)
        return meta.get("pictures", self.benchmark) if meta else self.benchmark

    @property
    def of_policy(self) -> bool:
        """Whether the policy itself was asked, as the meta file says."""
        meta = read_meta(self.path)
        return bool(meta and meta.get("of_policy"))

    @property
    def meta(self) -> Path:
        """The meta file beside the verdicts."""
        return self.path.with_suffix(".meta.json")

    @property
    def folder(self) -> Path:
        """Where what was judged lies: pictures, or what an examination has left."""
        if self.of_policy:
            return self.run.results(self.policy, self.benchmark, self.setting)
        return self.run.images(self.policy, self.pictures, self.setting)

    @property
    def origin(self) -> Path:
        """What names the weights that it came from."""
        return self.folder if self.of_policy else self.folder / META

    def name(self, path: Path) -> str:
        """`path` as findings show it."""
        return self.run.relative(path)

    def belonging(self, path: Path) -> str:
        """How a finding about the verdicts goes on with a file that belongs to them."""
        return f"{self.name(path)}, which belongs to it, "

    def same(self, path: Path, what: str, seen: Any, expected: Any, source: str) -> bool:
        """Findings.same about a file."""
        return self.findings.same(self.name(path), what, seen, expected, source)


def check_given(scored: Scored, policy: Judged, sha256: str, request: Request) -> None:
    """Given pictures: their label, and the hash over all of them that stands for weights. Raises Damaged."""
    if policy["method"] not in request.methods:
        scored.findings.mismatches.append(
            f"{scored.name(scored.meta)}: config.json knows no pictures of {policy['method']!r}"
        )
    if request.limit is None and not request.subset:  # a selection records a part of them only
        content = sorted([*_key(record), record["sha256"], record.get("crop")] for record in _manifest(scored))
        whole = sha256_json(content)
        scored.same(scored.folder / META, "policy_sha256", sha256, whole, f"the hash of the pictures in {MANIFEST}")


def check_pictures(scored: Scored, evaluation: Evaluation, expected: int) -> set[Key]:
    """The manifest against prompts and files; returns the keys of pictures that are not the recorded ones. Raises
    Damaged."""
    path, records = scored.folder / MANIFEST, _manifest(scored)
    lines, broken, listed, items = [], set(), set(), evaluation.drawn_items
    if scored.given:  # what was not given cannot be dropped unseen: the hash over all would be another
        there = {_key(record) for record in records}
        items = [(prompt, sample) for prompt, sample in items if (prompt.id, sample) in there]
        expected = len(there)
    _check_keys(scored, path, [_key(record) for record in records], items, expected, META)
    names = {file_name(prompt, sample): (prompt.id, sample) for prompt, sample in evaluation.drawn_items}
    for record in records:
        file, key = scored.folder / record["file"], _key(record)
        listed.add(record["file"])
        scored.findings.counts["pictures"] += 1
        if names.get(record["file"], key) != key:
            lines.append(f"{record['file']} is recorded as the picture of {key}")
        if not file.is_file() or sha256_file(file) != record["sha256"]:
            broken.add(key)
            fault = f"is not the picture that {MANIFEST} records" if file.is_file() else "is gone"
            lines.append(f"{record['file']} {fault}")
    strange = [file.name for file in sorted(scored.folder.glob("*.png")) if file.name not in listed]
    lines += [f"{name} is a picture that {MANIFEST} does not record" for name in strange]
    scored.findings.several(scored.name(scored.folder), lines)
    return broken


def _manifest(scored: Scored) -> list[Picture]:
    path = scored.folder / MANIFEST
    return read_records(path, Picture, scored.belonging(path))


def check_records(scored: Scored, evaluation: Evaluation, expected: int) -> None:
    """The verdicts against prompts and pictures."""
    records, lines = read_records(scored.path, Record), []
    _check_keys(scored, scored.path, [_key(record) for record in records], evaluation.items, expected, "the meta file")
    prompts = {prompt.id: prompt for prompt in evaluation.prompts}
    made = {} if scored.of_policy else {_key(record): record for record in _manifest(scored)}
    for record in records:
        key, prompt = _key(record), prompts.get(record["prompt_id"])
        scored.findings.counts["verdicts"] += 1
        if prompt and (record.get("prompt"), record["category"]) != (prompt.text, prompt.category):
            lines.append(f"{key} has another prompt or category than the prompt set")
        if record["status"] != "skipped" and key in made:
            if record.get("sha256") != made[key]["sha256"]:
                lines.append(f"{key} was judged from another picture than the one {MANIFEST} records")
            image = scored.name(scored.folder / made[key]["file"])
            if record.get("image") != image:
                lines.append(f"{key} names the picture {record.get('image')!r}, not {image!r}")
        if (record["status"] == "ok") != (record["score"] is not None):
            lines.append(f"{key} is {record['status']} with the score {record['score']}")
    scored.findings.several(scored.name(scored.path), lines)
    bad = sum(record["status"] != "ok" for record in records)
    if bad:
        scored.findings.missing.append(
            f"{scored.name(scored.path)}: {bad} of {len(records)} {evaluation.noun} have no verdict"
        )


def judge_again(
    scored: Scored, meta: VerdictMeta, evaluation: Evaluation, benchmark: "PictureBenchmark", broken: set[Key]
) -> None:
    """Judges the pictures again where that takes no weights, into a folder of its own, and compares record by
    record."""
    why = _reason_not_to_judge(meta, benchmark)
    if why:
        scored.findings.not_checked(f"verdicts/{scored.benchmark}: scores ({why}); only complete.json pins them")
        return
    sha256 = read_object(scored.folder / META, PictureMeta)["policy_sha256"]
    target = Target(scored.policy, "", None, "", "", sha256, False, None, None)
    with TemporaryDirectory(prefix="bench-check-") as folder:
        again = _Elsewhere(scored.run.root, Path(folder))
        score(again, target, [evaluation], {scored.benchmark: benchmark}, lambda part: None)
        fresh = again.verdicts(scored.policy, scored.benchmark, scored.setting).read_text("utf-8").splitlines()
    new = {(prompt.id, sample): line for (prompt, sample), line in zip(evaluation.items, fresh, strict=True)}
    old = {_key(record): record for record in read_records(scored.path, Record)}
    lines = []
    for key in [key for key in old if key in new and key not in broken]:
        scored.findings.counts["verdicts judged again"] += 1
        if json.dumps(old[key], ensure_ascii=False) != new[key]:
            lines.append(f"{key}: {_difference(old[key], json.loads(new[key]))}")
    scored.findings.several(scored.name(scored.path), lines)


def compare_kept(scored: Scored, evaluation: Evaluation, verdicts: list[dict[str, Any]]) -> None:
    """The verdicts against those that an examination's own files lead to. The policy is not asked again."""
    kept = {(prompt.id, sample): verdict for (prompt, sample), verdict in zip(evaluation.items, verdicts, strict=True)}
    lines = []
    for record in read_records(scored.path, Record):
        found = kept.get(_key(record))
        if found is not None:
            scored.findings.counts["verdicts found again in results"] += 1
            lines += [
                f"{_key(record)}: {key} is {record.get(key)!r}, but {scored.name(scored.folder)} says {value!r}"
                for key, value in found.items()
                if record.get(key) != value
            ]
    scored.findings.several(scored.name(scored.path), lines)
    scored.findings.not_checked(
        f"verdicts/{scored.benchmark}: answers (policies are not asked again); only complete.json pins them"
    )


def _key(record: Record | Picture) -> Key:
    return record["prompt_id"], record["sample"]


def _check_keys(
    scored: Scored, path: Path, keys: list[Key], items: list[tuple[Prompt, int]], expected: int, source: str
) -> None:
    """Every one of `items` once and in order."""
    wanted = [(prompt.id, sample) for prompt, sample in items]
    if not wanted:  # the prompts are not known here
        scored.same(path, "the number of records", len(keys), expected, source)
        return
    times, asked = Counter(keys), set(wanted)
    lines = [f"the record of {key} is missing" for key in wanted if key not in times]
    lines += [f"{key} is nothing that this benchmark judges" for key in times if key not in asked]
    lines += [f"{key} is there {count} times" for key, count in times.items() if count > 1]
    scored.findings.several(scored.name(path), lines)
    if not lines and keys != wanted:
        scored.findings.mismatches.append(f"{scored.name(path)}: its records are not in the order of the prompts")


def _reason_not_to_judge(meta: VerdictMeta, benchmark: "PictureBenchmark") -> str:
    try:
        scorer = benchmark.scorer_identity()
    except UserError as error:
        return f"weights not here: {error.message}"
    if scorer.get("weights_revision") is not None:
        return f"weights not used here: {scorer['name']} needs some"
    if scorer != meta["scorer"] or benchmark.version != meta["version"]:
        return "they come from another version of the scorer"
    if meta["setting"].get("conversion", CONVERSION) != CONVERSION:
        return "their pictures were read by another version of the conversion to 8 bits"
    return ""


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    shown = [f"{key} is {old.get(key)!r}, judged again {new.get(key)!r}" for key in keys if key in ("score", "status")]
    return "; ".join(shown) or f"{' and '.join(keys) or 'its text'} differs from what the scorer finds in the picture"


@dataclass(frozen=True)
class _Elsewhere(RunDir):
    """A run whose pictures are read where they are and whose verdicts go to another folder."""

    out: Path

    def verdicts(self, policy: str, benchmark: str, setting: str) -> Path:
        return RunDir(self.out).verdicts(policy, benchmark, setting)
