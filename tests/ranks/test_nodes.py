"""Two nodes, each a launch of its own, on one machine: the same results as one process, and a node that is lost costs
nothing but time."""

import json
import math

from safetensors.torch import load_file

from htgrpo.base.files import read_jsonl
from htgrpo.training.checkpoints import saved
from tests.ranks import scenarios
from tests.ranks.launching import launch_nodes
from tests.ranks.test_training import numbers

CONFIG = "multi_node"


def the_same(run, other):
    """Counters are equal, everything else to 1e-9, the weights of every checkpoint to 1e-6."""
    lines, wanted = read_jsonl(run / "metrics.jsonl"), read_jsonl(other / "metrics.jsonl")
    assert len(lines) == len(wanted) >= 3
    for line, reference in zip(lines, wanted, strict=True):
        for value, expected in zip(numbers(line), numbers(reference), strict=True):
            exact = not isinstance(expected, float)
            assert value == expected if exact else math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
    assert [folder.name for folder in saved(run)] == [folder.name for folder in saved(other)]
    for folder in saved(other):
        state, expected = (
            load_file(run / "checkpoints" / folder.name / "model.safetensors"),
            load_file(folder / "model.safetensors"),
        )
        assert all(float((state[key] - value).abs().max()) < 1e-6 for key, value in expected.items())


def test_two_nodes_equal_one_process_and_after_a_node_is_lost_the_same_command_finishes(tmp_path, monkeypatch):
    """The other node ends too, with a code that says so; what was done is kept."""
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    names = ["node_dies", "units"]
    command = [CONFIG, "tests.ranks.scenarios", str(tmp_path / "nodes"), json.dumps(names)]
    codes = launch_nodes(*command)
    assert all(codes) and (tmp_path / "died").exists()
    kept = read_jsonl(tmp_path / "nodes" / "node_dies" / "metrics.jsonl")
    assert [line["iteration"] for line in kept] == [1] and not (tmp_path / "nodes" / "units").exists()
    assert launch_nodes(*command) == [0, 0]
    scenarios.main(tmp_path / "alone", names)
    for name in names:  # the second was trained without an interruption
        the_same(tmp_path / "nodes" / name, tmp_path / "alone" / name)
