"""What a model card owes to others: licence, papers to cite, and a picture that shows what the weights make."""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

from bench.ask.methods import summary
from bench.record.rundir import RunDir
from htgrpo.base.records import Picture, records
from htgrpo.base.registry import METHODS

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
OURS = "apache-2.0"
"""Of weights that this project trained from random ones, on pictures that it draws itself."""
LANGUAGE = "en"
"""Of every prompt that a policy here is trained or scored on."""


def called(method: str) -> str:
    """The method's name as its paper has it; its own where it is no registered one."""
    return (METHODS.get(method).title or method) if method in METHODS.names() else method


def paper(method: str) -> str:
    """The arXiv number of the paper that a registered method is from; "" where it names none."""
    found = ARXIV.search(summary(method)) if method in METHODS.names() else None
    return found[1] if found else ""


def bibtex(method: str) -> str:
    """Entries for the method's paper and for this software."""
    entries = []
    if number := paper(method):
        entries.append(
            f"@misc{{arxiv-{number},\n  title = {{{called(method)}}},\n  year = {{20{number[:2]}}},\n  eprint = {{{number}}},\n"
            "  archivePrefix = {arXiv}\n}"
        )
    entries.append(
        "@software{htgrpo-bench,\n  title = {HT-GRPO Bench},\n  author = {{HT-GRPO Bench contributors}},\n"
        f"  version = {{{version('htgrpo-bench')}}}\n}}"
    )
    return "\n\n".join(entries)


def sample(run: RunDir, policies: list[str]) -> tuple[Path, str] | None:
    """(file, prompt's id) of one picture of these policies: the first sample of the prompt whose name has the smallest
    hash, so that nobody picked it. None where none was made."""
    found: dict[str, Path] = {}
    for policy in policies:
        for manifest in sorted(run.root.glob(f"images/{policy}/*/main/manifest.jsonl")):
            own = [one for one in records(manifest, Picture) if one["sample"] == 0 and "crop" not in one]
            found |= {one["prompt_id"]: manifest.parent / one["file"] for one in own}
    if not found:
        return None
    prompt = min(found, key=lambda name: hashlib.sha256(name.encode()).digest())
    return found[prompt], prompt
