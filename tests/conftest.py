"""Every test runs offline, on one thread and deterministically; tests that need real weights ask for `assets`."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
    os.environ[name] = "1"
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):  # tests start many processes, each of which would compile torch anew
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.setdefault(
        "PYTHONPYCACHEPREFIX", str(Path(__file__).parent.parent / ".pytest_cache" / "pyc")
    )

FIRST = ("bench", "reports")
"""Folders whose files take long: they come first, so that workers that take a file at a time end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files of FIRST first."""
    items.sort(key=lambda item: [*FIRST, item.path.parent.name].index(item.path.parent.name))


def pytest_collection_finish() -> None:
    """What is imported by now stays: collecting garbage need not go through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """At the end everything is garbage."""
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def no_wait_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlive the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # it fails on the same handles
        yield


@pytest.fixture(autouse=True)
def one_deterministic_thread():
    """Torch on one thread and with deterministic kernels, where a test has imported it (the report's tests do not)."""
    if sys.modules.get("torch"):
        import torch

        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
    yield


@pytest.fixture
def plain_figures(monkeypatch) -> None:
    """Figures of reports are one pixel: drawing them takes seconds, and tests/reports/test_report.py does it."""
    from tests import drawing

    monkeypatch.setattr(drawing.style, "rendered", drawing.plainly)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real weights and benchmark data that HTGRPO_ASSETS names; the test is skipped without it."""
    folder = os.environ.get("HTGRPO_ASSETS")
    if not folder:
        pytest.skip("HTGRPO_ASSETS is not set: it names the folder that holds the official benchmark files")
    return Path(folder)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """once(name, build): the folder that build(folder) makes, made by the first worker that asks and read by all: copy it
    before changing or locking it."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def get(name: str, build: Callable[[Path], object]) -> Path:
        folder = root / "once" / name
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.with_suffix(".whole").exists():
                shutil.rmtree(folder, ignore_errors=True)
                build(folder)
                folder.with_suffix(".whole").touch()
        return folder

    return get
