"""The throughput benchmark: what it measures, what it calls it, and that it shows no score."""

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import speed
from bench.cost import random_scorers, speed_scorers
from bench.cost.random_scorers import MAKERS
from bench.scorers.serving import ScoringServer
from bench.scorers.weights import build
from htgrpo.base.errors import UserError
from tests.scorers.brightness import Brightness, url
from tests.scorers.servers import running
from tests.scorers.texts import STAND_IN

FAKE = Path(__file__).parent / "fake_worker.py"


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Small pictures in small batches, and stand-ins for the instructions."""
    monkeypatch.setattr(speed_scorers, "BATCH", 2)
    monkeypatch.setattr(speed_scorers, "SIDE", 64)
    (tmp_path / "stand_in.json").write_text(json.dumps(STAND_IN))
    monkeypatch.setattr("bench.scorers.instructions.instructions_file", lambda: tmp_path / "stand_in.json")


@pytest.mark.parametrize("name", ["hpsv3", "unipercept"])
def test_the_rate_of_a_random_scorer(name, capsys):
    """The scorers of 7B are small here, and the table says so; no score is in what is printed or written."""
    result = speed_scorers.measure([name], "cpu", 1, overhead=False)
    (row,) = result["rates"]
    assert (
        row["images_per_second"] > 0
        and row["cpu_seconds_per_image"] > 0
        and row["preparation_ms"] > 0
        and not row["note"]
    )
    assert set(row) == {"scorer", "size", "images_per_second", "cpu_seconds_per_image", "preparation_ms", "note"}
    table = speed_scorers.render(result)
    assert "random weights" in table and "tiny configuration, random weights" in table and "rates, no scores" in table


def test_a_scorer_whose_asset_is_missing_is_a_row_with_the_reason(monkeypatch):
    def missing():
        raise UserError("asset 'scorer_prompts' is not on this machine: run `python -m bench.fetch scorer_prompts`")

    monkeypatch.setattr("bench.scorers.instructions.instructions_file", missing)
    table = speed_scorers.render(speed_scorers.measure(["hpsv3"], "cpu", 1, overhead=False))
    assert "hpsv3          not measured: asset 'scorer_prompts'" in table


def test_every_way_does_the_same_work_in_turns(monkeypatch):
    """With a real worker process and a real server, of a scorer that costs nothing."""

    @contextmanager
    def served(name, device):
        scorer = Brightness()
        scorer.name = name
        with running(ScoringServer(scorer)) as server:
            yield url(server), os.getpid()

    asked = []

    class Here(Brightness):
        def score(self, images, prompts):
            asked.append(len(images))
            return super().score(images, prompts)

    monkeypatch.setattr(speed_scorers, "_server", served)
    monkeypatch.setattr(speed_scorers, "_command", lambda *about: [sys.executable, str(FAKE), "--mode=good"])
    monkeypatch.setattr(speed_scorers, "random_scorer", lambda *about: (Here(), "no size"))
    ways = {way.way: way for way in speed_scorers.measure_ways("fake", "cpu", 3)}
    assert list(ways) == ["in process", "worker", "HTTP"] and asked == [1, 2, 2, 2]
    assert ways["in process"].overhead == ways["in process"].cpu_overhead == 0.0 < ways["worker"].overhead
    assert all(way.images_per_second > 0 for way in ways.values())


def test_overheads_are_medians_of_ratios_within_a_round():
    found = [
        {"in process": (1.0, 2.0), "HTTP": (1.1, 2.1)},
        {"in process": (2.0, 4.0), "HTTP": (2.0, 4.0)},
        {"in process": (1.0, 2.0), "HTTP": (1.5, 3.0)},
    ]
    way = speed_scorers._way("HTTP", found)
    assert (way.overhead, way.cpu_overhead) == (pytest.approx(0.1), pytest.approx(0.05))
    assert way.images_per_second == pytest.approx(2 / 1.5)


def test_random_weights_are_drawn_without_the_global_generator():
    before = torch.get_rng_state()
    net = random_scorers.filled(lambda: nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), "cpu")
    again = random_scorers.filled(lambda: nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), "cpu")
    assert torch.equal(before, torch.get_rng_state()) and torch.equal(net[0].weight, again[0].weight)
    assert net[0].weight.std() > 0.01 and torch.equal(net[1].weight, torch.ones(4))


@pytest.mark.parametrize(("name", "parameters"), [("clip", 427_616_513), ("imagereward", 446_664_000)])
def test_full_size_is_the_published_one(name, parameters, tmp_path, monkeypatch):
    found = []

    def counting(make, device):
        found.append(sum(value.numel() for value in build(make).parameters()))
        raise InterruptedError

    monkeypatch.setattr(random_scorers, "filled", counting)
    with pytest.raises(InterruptedError):
        MAKERS[name][0]("cpu", tmp_path)
    assert found == [pytest.approx(parameters, rel=2e-3)] and MAKERS[name][1] == "full size"


def test_the_command(capsys):
    assert speed.main(["--scorers", "unipercept", "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "random weights"
    with pytest.raises(UserError, match="did you mean 'clip'"):
        speed.main(["--scorers", "clipp"])
