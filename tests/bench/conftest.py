"""A tiny policy and one finished tiny run, shared by the tests of the command lines."""

import shutil
from pathlib import Path

import pytest

from tests import drawing
from tests.bench.tiny_runs import run_compare, save_policy
from tests.scorers.conftest import brightness_server  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def policy(once) -> Path:
    """A random policy of one layer."""
    return once("policy", save_policy)


@pytest.fixture(scope="session")
def finished(policy, once, tmp_path_factory) -> Path:
    """A run of ht and pretrain, made by worker processes. Copy it before changing it."""

    def build(out: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bench.ask.machine.cores", lambda: 1)
            patch.setattr(drawing.style, "rendered", drawing.plainly)
            run_compare(policy, out, "--methods", "ht,pretrain", jobs=2)

    return Path(shutil.copytree(once("finished", build), tmp_path_factory.mktemp("runs") / "finished"))


@pytest.fixture
def no_report(monkeypatch):
    """Leaves out the report, which takes seconds to draw and has tests of its own."""
    monkeypatch.setattr("bench.run.ending.print_report", lambda run, options: {})


@pytest.fixture(autouse=True)
def quick_reports(plain_figures):
    """Nothing here is about figures."""


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """One compute thread, with and without workers, whatever else the machine is busy with."""
    monkeypatch.setattr("bench.ask.machine.cores", lambda: 1)
