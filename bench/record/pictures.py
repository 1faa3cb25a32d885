"""A folder of pictures and what is recorded of them: its manifest, its identity, which of its pictures are whole.
Imports no torch."""

from pathlib import Path

from bench.benchmarks.evaluation import Evaluation
from bench.record.rundir import GIVEN, PICTURES, RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.files import atomic_json, content_sha256, sha256_file
from htgrpo.base.folders import everything, remove
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import Identified, Picture, PictureMeta, read, records

MANIFEST, META = "manifest.jsonl", "meta.json"
PARTS = "manifest.rank*.jsonl"
"""What the other processes of a launch have made so far; joined to the manifest in the end."""


def file_name(prompt: Prompt, sample: int) -> str:
    """The picture's file name within its folder."""
    return f"{prompt.id}_{sample}.png"


def manifest(folder: Path) -> dict[tuple[str, int], Picture]:
    """(prompt id, sample) -> {"prompt_id", "sample", "file", "sha256"} of the pictures that were made; those of sample
    0 also have "grid" [h, w] and "rank" (see pack_ranks)."""
    files = [path for path in (folder / MANIFEST, *sorted(folder.glob(PARTS))) if path.is_file()]
    return {(r["prompt_id"], r["sample"]): r for path in files for r in records(path, Picture)}


def identity_of(folder: Path) -> str | None:
    """The generation identity `folder` was made with; None when there is none."""
    try:
        return read(folder / META, Identified)["identity"]
    except UserError:
        return None


def write_meta(folder: Path, evaluation: Evaluation, policy_sha256: str) -> None:
    """Records what the pictures in `folder` are made with."""
    meta = PictureMeta(
        identity=evaluation.generation_identity(policy_sha256),
        policy_sha256=policy_sha256,
        pictures=evaluation.drawn.name,
        setting=evaluation.values,
        prompt_set_sha256=evaluation.drawn.sha256,
        images=len(evaluation.drawn_items),
    )
    atomic_json(folder / META, meta)


def whole_pictures(folder: Path, evaluation: Evaluation) -> set[tuple[str, int]]:
    """(prompt id, sample) of the pictures that are recorded and unchanged."""
    made = manifest(folder)
    keys = [(prompt.id, sample) for prompt, sample in evaluation.drawn_items]
    return {
        k
        for k in keys
        if k in made
        and (folder / made[k]["file"]).is_file()
        and sha256_file(folder / made[k]["file"]) == made[k]["sha256"]
    }


def is_generated(folder: Path, evaluation: Evaluation, policy_sha256: str) -> bool:
    """Whether every picture is there, unchanged and of this policy."""
    made = identity_of(folder) == evaluation.generation_identity(policy_sha256)
    return made and len(whole_pictures(folder, evaluation)) == len(evaluation.drawn_items)


def clear(folder: Path) -> None:
    """Removes pictures that were made, and what is recorded of them. Raises UserError where somebody else's file lies
    there."""
    names = everything(folder) if folder.is_dir() else []
    for name in names:
        if not PICTURES.fullmatch(name):
            raise UserError(f"{str(folder)!r} holds {name!r}, which no command has written there: move it elsewhere")
    remove(folder, names)


def changed(run: RunDir) -> list[Path]:
    """Pictures of a run that are no longer those that were scored; in a run of given pictures also those that are
    gone, which nobody can make again."""
    given = (run.config() or {}).get("kind") == GIVEN
    recorded = {
        folder / record["file"]: record["sha256"]
        for folder in sorted(run.root.glob("images/*/*/*"))
        for record in manifest(folder).values()
    }
    return [path for path, sha256 in recorded.items() if (content_sha256(path) != sha256 if path.is_file() else given)]
