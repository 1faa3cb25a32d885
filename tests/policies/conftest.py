"""Random checkpoints in the published layouts, made once, and copies of them to be damaged."""

import json
import os
import shutil
from pathlib import Path

import pytest

from htgrpo.base.errors import UserError
from htgrpo.base.folders import FILE
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy
from htgrpo.policies.tokenizer import TOKENIZER_FILES, PublishedTokenizer

BACKBONES = ("mmada", "lumina-dimoo")
READ: dict[tuple, PublishedTokenizer] = {}


class Checkpoint:
    """A folder made of hard links to a made checkpoint; only its own functions may change it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def drop(self, name: str) -> None:
        """Removes a file."""
        (self.folder / name).unlink()

    def put(self, name: str, data: bytes | str) -> None:
        """Writes a file anew."""
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    def edit(self, name: str, **changes) -> None:
        """Changes fields of a JSON file; None takes a field out."""
        value = json.loads((self.folder / name).read_text()) | changes
        self.put(name, json.dumps({key: item for key, item in value.items() if item is not None}))

    def load(self, **options):
        """The policy, in fp64."""
        return load_policy(str(self.folder), **{"dtype": "float64", **options})

    def refused(self, message: str, **options) -> None:
        """Asserts that loading raises one sentence that matches `message`."""
        with pytest.raises(UserError, match=message) as error:
            self.load(**options)
        assert "\n" not in str(error.value)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> dict[str, Path]:
    """The folder of a checkpoint of every backbone. Read only: copies are hard links."""
    root = tmp_path_factory.mktemp("published")
    for name in BACKBONES:
        make(name, root / name, resolution="64x64" if name == "mmada" else "32x48")
    return {name: root / name for name in BACKBONES}


@pytest.fixture(autouse=True)
def tokenizers_are_read_once(monkeypatch):
    """Most copies share the files of their tokenizer, whose 126k entries are what takes time in a load."""

    def read(folder: Path) -> PublishedTokenizer:
        files = [(folder / name).stat() for name in TOKENIZER_FILES if (folder / name).is_file()]
        key = tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in files)
        if key not in READ:
            READ[key] = PublishedTokenizer(folder)
        return READ[key]

    monkeypatch.setattr("htgrpo.policies.published.PublishedTokenizer", read)


@pytest.fixture(scope="session")
def loaded(made):
    """The policies of `made` in fp64."""
    return {name: load_policy(str(folder), dtype="float64") for name, folder in made.items()}


@pytest.fixture
def copy_of(made, tmp_path):
    """Makes a Checkpoint of a backbone's name."""

    def copy(name: str, to: str = "copy") -> Checkpoint:
        without = shutil.ignore_patterns(FILE)  # as their authors publish them
        shutil.copytree(made[name], tmp_path / to, copy_function=os.link, ignore=without)
        return Checkpoint(tmp_path / to)

    return copy
