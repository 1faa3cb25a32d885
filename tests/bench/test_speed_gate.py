"""The speed gate lets the program pass that made its baseline, and stops one in which work is done more than once."""

import json
from dataclasses import replace

import pytest
import torch

from bench import speed
from bench.cost import speed_gate
from bench.cost.sizes import SIZES
from htgrpo.base.errors import UserError
from htgrpo.policies.llada import Block


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A baseline for one small group and one round. The clock counts rows that go through blocks and products, so that no
    other work on this machine is seen."""
    done = [0]

    def counted(work, which):
        def run(*given):
            done[0] += len(given[which])
            return work(*given)

        return run

    monkeypatch.setattr(Block, "forward", counted(Block.forward, 1))
    monkeypatch.setattr(torch.Tensor, "__matmul__", counted(torch.Tensor.__matmul__, 0))
    monkeypatch.setattr("bench.cost.speed_gate.time.process_time", lambda: float(done[0]))
    monkeypatch.setitem(SIZES, "embedded", replace(SIZES["embedded"], group=3))
    for name, value in (("PROMPTS", 1), ("ROUNDS", 1), ("BASELINE", tmp_path / "gate.json")):
        monkeypatch.setattr(speed_gate, name, value)
    assert speed.main(["--gate", "--update"]) == 0


def slower(capsys) -> set[str]:
    """The ratios that a look at the gate finds grown; its exit code goes with them."""
    capsys.readouterr()
    code = speed.main(["--gate", "--json"])
    result = json.loads(capsys.readouterr().out)
    found = {one["name"] for one in result["ratios"] if one["slower"]}
    assert (code, result["status"]) == ((1, "slower") if found else (0, "ok"))
    return found


def test_the_gate_passes_what_is_as_fast_and_stops_what_is_slower(stored, monkeypatch, capsys):
    assert slower(capsys) == set()
    once = Block.forward
    with monkeypatch.context() as planted:  # every block does its work twice
        planted.setattr(Block, "forward", lambda *given: [once(*given) for _ in range(2)][-1])
        assert slower(capsys) == {speed_gate.ROLLOUT, speed_gate.LEARNING}
    monkeypatch.setattr(speed_gate, "SHARING", "none")  # ht's equal contexts are no longer run once
    assert slower(capsys) == {speed_gate.SHARED}


def test_a_busy_moment_is_looked_at_again_and_a_lasting_slowdown_is_not_forgiven(monkeypatch, tmp_path):
    baseline, ratios = tmp_path / "gate.json", dict.fromkeys((speed_gate.ROLLOUT, speed_gate.LEARNING), 1.0)
    baseline.write_text(json.dumps({"tolerance": 1.4, "ratios": ratios}))

    def looks(*rollouts):
        """A gate whose first and second look find these."""
        found = iter(rollouts)
        clock = type("Clock", (), {"go_round": lambda self, rounds: ratios | {speed_gate.ROLLOUT: next(found)}})
        monkeypatch.setattr(speed_gate, "ready", clock)
        return [one.slower for one in speed_gate.compare(baseline)], list(found)

    assert looks(1.39, 9.0) == ([False, False], [9.0])
    assert looks(1.41, 1.2) == ([False, False], [])
    assert looks(1.6, 1.41) == ([True, False], [])


def test_what_a_person_is_told(monkeypatch, capsys):
    found = speed_gate.Compared(speed_gate.ROLLOUT, 2.0, 1.0, True)
    monkeypatch.setattr(speed_gate, "compare", lambda path: [found])
    assert speed.main(["--gate"]) == 1 and "--gate --update" in capsys.readouterr().out


def test_a_clock_takes_the_fastest_round_of_each_part(monkeypatch):
    seconds = {"product": [0, 2, 1], "rollout": [0, 4, 5], "ht": [0, 3, 2], "mask": [0, 8, 9]}
    now = [0.0]

    def part(name):
        def work():
            now[0] += seconds[name].pop(0)

        return work

    monkeypatch.setattr("bench.cost.speed_gate.time.process_time", lambda: now[0])
    ratios = speed_gate.Clock({name: part(name) for name in seconds}).go_round(2)
    assert ratios == {speed_gate.ROLLOUT: 4.0, speed_gate.LEARNING: 8.0, speed_gate.SHARED: 0.25}


def test_flags_that_do_not_go_with_the_gate_are_refused():
    with pytest.raises(UserError, match="--size has no effect with --gate"):
        speed.main(["--gate", "--size", "mid"])
    with pytest.raises(UserError, match="--update has no effect without --gate"):
        speed.main(["--update"])
