"""Every picture of a run for the gallery's script: all training seeds and samples, with verdicts and what they rest on.

The pictures themselves are inside the page as far as they fit; the others are read from the run's folder, where the page
lies in it."""

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from reports.figures.looks import GREY, colours
from reports.figures.tones import span
from reports.findings.analysis import Result
from reports.format import decimals
from reports.pages.drawing import variable
from reports.pages.evidence import Seen, read_evidence
from reports.run.blocks import Block, records_of
from reports.run.load import Run
from reports.run.pictures import file_of, is_small, opened, thumbnail

PICTURES, EVIDENCE = 800_000, 2_000_000
"""Bytes of pictures beside the static ones, and of compressed evidence, that a page may hold."""


def pack(groups: list[list[Result]], run: Run) -> str:
    """All sets of pictures (results that share pictures in one group) as compressed JSON in base64."""
    sets = [_set(run, group) for group in groups]
    whole = _compressed(sets)
    if len(whole) > EVIDENCE:
        for one in sets:
            one["evidence"] = [found[:1] + [[]] * (len(found) - 1) for found in one["evidence"]]
        whole = _compressed(sets)
    return whole


def _compressed(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _set(run: Run, group: list[Result]) -> dict[str, Any]:
    """prompts: [id, text, category]; policies: [name, method, seed, colour, note]; judges: one per benchmark, with scores
    [policy][prompt][sample]; evidence [policy][sample][prompt], of the first judge and whatever is "told" by it; files:
    those not named as usual."""
    block, palette = group[0].block, colours(run)
    policies = [(m, policy, seed) for m in block.methods for policy, seed in zip(m.policies, m.seeds, strict=True)]
    names = [policy for _, policy, _ in policies]
    records = _ordered(run, block, names)
    texts = records.drop_duplicates("prompt_id").set_index("prompt_id")[["prompt", "category"]]
    rows = {key: row for key, row in zip(_keys(records), records.itertuples(index=False), strict=True)}
    samples = sorted(set(records["sample"]))
    return {
        "set": block.picture_set,
        "setting": block.setting,
        "samples": samples,
        "prompts": [[prompt, *texts.loc[prompt]] for prompt in block.prompts],
        "policies": [
            [policy, run.called(m.name), seed, variable(palette.get(m.name, GREY)), m.weights]
            for m, policy, seed in policies
        ],
        "judges": [
            _judge(run, result.block, names, samples) | {"told": result.block.benchmark == block.benchmark}
            for result in group
        ],
        "evidence": [
            [[_evidence(rows.get((name, prompt, sample))) for prompt in block.prompts] for sample in samples]
            for name in names
        ],
        "files": _strange_files(run, block, records),
    }


def _ordered(run: Run, block: Block, names: list[str]) -> pd.DataFrame:
    records = records_of(run, block.benchmark, block.setting, block.axis)
    return records[records["policy"].isin(names)]


def _keys(records: pd.DataFrame) -> Iterable[tuple[str, str, int]]:
    return zip(records["policy"], records["prompt_id"], records["sample"], strict=True)


def _judge(run: Run, block: Block, names: list[str], samples: list[int]) -> dict[str, Any]:
    records = _ordered(run, block, names)
    scores = dict(zip(_keys(records), records["score"].astype(float), strict=True))
    table = [[[_score(scores.get((n, p, s))) for s in samples] for p in block.prompts] for n in names]
    about = {"title": block.title, "binary": block.binary, "scale": block.scale, "digits": decimals(block.scale)}
    return {**about, "ends": span(block, records["score"].to_numpy()), "scores": table}


def _score(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)


def _evidence(row: Any) -> list | int:
    """[status where it is not ok, reason, boxes, frame, questions, values] without empty ends; 0 for no record."""
    if row is None:
        return 0
    seen: Seen = read_evidence(row.evidence)
    boxes = [[b.name, round(b.score, 3), int(b.counted), *(round(c, 2) for c in b.corners)] for b in seen.boxes]
    questions = [[q["text"], q["score"], q["answer"]] for q in seen.questions]
    found: list = [
        "" if row.status == "ok" else row.status,
        seen.reason,
        boxes,
        seen.frame or 0,
        questions,
        seen.values,
    ]
    while found and not found[-1]:
        found.pop()
    return found


def usual_file(policy: str, pictures: str, setting: str, prompt: str, sample: int) -> str:
    """Where generation puts a picture."""
    return f"images/{policy}/{pictures}/{setting}/{prompt}_{sample}.png"


def _strange_files(run: Run, block: Block, records: pd.DataFrame) -> dict[str, str]:
    """ "policy/prompt/sample" -> file (see file_of) of pictures that have another name than the usual one, "" for none."""
    found = {}
    for record in records.to_dict("records"):
        policy, prompt, sample = record["policy"], record["prompt_id"], record["sample"]
        file = file_of(run, block, record)
        if file != usual_file(policy, block.picture_set, block.setting, prompt, sample):
            found[f"{policy}/{prompt}/{sample}"] = file
    return found


def small_pictures(run: Run, groups: list[list[Result]], without: set[str]) -> dict[str, dict[str, str]]:
    """Folder -> file -> base64 of the small pictures that are shown nowhere else (not in `without`), first samples first, as many
    as fit into PICTURES."""
    found: dict[str, dict[str, str]] = {}
    left = PICTURES
    images = [(block, record, file) for group in groups for block, record, file in _images(run, group[0].block)]
    for block, record, file in sorted(images, key=lambda image: image[1]["sample"]):
        small = file not in without and is_small(run.root / file)
        picture = opened(run, block, record) if small else None
        if picture is None:
            continue
        data = thumbnail(picture).data
        left -= len(data)
        if left < 0:
            break
        folder, _, name = file.rpartition("/")
        found.setdefault(folder, {})[name] = base64.b64encode(data).decode()
    return found


def _images(run: Run, block: Block) -> list[tuple[Block, Any, str]]:
    """(block, record, file) of every picture that is a file of its own."""
    records = _ordered(run, block, [policy for m in block.methods for policy in m.policies])
    found = [(block, record, file_of(run, block, record)) for record in records.to_dict("records")]
    return [(block, record, file) for block, record, file in found if file and "#" not in file]
