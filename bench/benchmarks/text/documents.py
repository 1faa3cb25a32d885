"""The documents of our own small tasks, which ship with the package: lm-eval needs neither network nor cache for
them."""

from pathlib import Path
from typing import TYPE_CHECKING

from htgrpo.base.files import read_jsonl

if TYPE_CHECKING:
    from datasets import DatasetDict

FOLDER = Path(__file__).parent / "tasks"


def load(file: str, **metadata: object) -> "DatasetDict":
    """The lines of `file` in tasks/ as the split "test". lm-eval calls it with a task's dataset_kwargs and metadata."""
    from datasets import Dataset, DatasetDict

    return DatasetDict({"test": Dataset.from_list(read_jsonl(FOLDER / file))})
