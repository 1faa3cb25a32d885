"""Two processes train as one does: same images, same counts, same curves, same weights, however unequal their shares
are; one machine holds both, or two machines hold one each, of which one is lost on the way."""

import json
import math
import shutil

import pytest
from safetensors.torch import load_file

from htgrpo.base.files import read_jsonl
from htgrpo.training.checkpoints import saved
from tests.ranks import scenarios
from tests.ranks.launching import launch, launch_nodes

pytestmark = pytest.mark.long
WELL = (
    "plain", "plain+resumed", "dropped_group", "one_prompt", "no_group_on_one_rank", "no_group_at_all", "normalised",
    "exact_kl", "units", "two_passes", "interleaved", "adapters+resumed", "pretrain", "pretrain_of_one",
)  # fmt: skip
ENDS = {"refuses": "UserError: the scorer is not reachable: start it", "breaks": "RuntimeError: the scorer fell over"}
SOME = [name for name in WELL if name not in (
    "plain", "normalised", "interleaved", "pretrain_of_one", "one_prompt", "no_group_at_all",
)]  # fmt: skip
RUN = {
    "ddp_8gpu": [*WELL[1:], *ENDS, "plain+begun", "dies"],
    "multi_node": [
        "node_dies", *SOME, *ENDS, "plain+begun", "plain@zero2", "no_group_on_one_rank@zero2",
    ],
}  # fmt: skip
"""Scenarios by configuration; tests/ranks/test_ranks.py says how those that are not launched differ."""


def cases(wanted):
    """(configuration, name) of the cases whose scenario is among those wanted."""
    return [(config, name) for config, names in RUN.items() for name in names if name.partition("@")[0] in wanted]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Every scenario in one process."""
    out = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIED", str(out / "died"))
        scenarios.main(out, [*WELL, "node_dies"])
    return out


@pytest.fixture(scope="module")
def ddp_8gpu(tmp_path_factory):
    """The scenarios of two processes on one machine, of which the last kills one."""
    out = tmp_path_factory.mktemp("ddp_8gpu")
    result = launch("ddp_8gpu", "tests.ranks.scenarios", str(out), json.dumps(RUN["ddp_8gpu"]))
    assert result.returncode != 0, result.stderr[-3000:]
    return out


def on_nodes(out):
    """The exit codes of two nodes that run their scenarios in `out`, or what is left to do of them."""
    command = ("multi_node", "tests.ranks.scenarios", str(out), json.dumps(RUN["multi_node"]))
    return launch_nodes(*command, DIED=str(out / "died"))


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """The folder of two nodes of which one is lost, the exit codes of both, and {scenario: iterations} of what is there."""
    out = tmp_path_factory.mktemp("multi_node")
    codes = on_nodes(out)
    there = {path: [line["iteration"] for line in read_jsonl(path / "metrics.jsonl")] for path in out.glob("*/")}
    return out, codes, {path.name: iterations for path, iterations in there.items()}


@pytest.fixture(scope="module")
def multi_node(lost):
    """The scenarios of two nodes, finished by the same command."""
    assert on_nodes(lost[0]) == [0, 0]
    return lost[0]


@pytest.fixture
def launched(request):
    """launched(configuration): the folder with its scenarios."""
    return request.getfixturevalue


def numbers(line):
    """A record's values in a row, with lists spread out."""
    return [one for value in line.values() for one in (value if isinstance(value, list) else [value])]


def test_a_lost_node_ends_the_other_and_what_was_done_is_kept(lost):
    """The other node ends with a code that says so."""
    out, codes, there = lost
    assert all(codes) and (out / "died").exists() and there == {"node_dies": [1]}


@pytest.mark.parametrize(("config", "name"), cases((*WELL, "node_dies")))
def test_two_processes_equal_one(config, name, alone, launched):
    """Counters are equal, everything else to 1e-9: the order of sums is all that differs."""
    ours, theirs = launched(config) / name, alone / name.removesuffix("@zero2")
    assert [(ours / f"ended.{rank}").read_text() for rank in (0, 1)] == ["well", "well"]
    assert not (ours / "held").exists()  # of a second training in the same processes, that would be memory lost
    lines, wanted = read_jsonl(ours / "metrics.jsonl"), read_jsonl(theirs / "metrics.jsonl")
    assert len(lines) == len(wanted) >= 2
    for line, other in zip(lines, wanted, strict=True):
        assert list(line) == list(other)
        for value, expected in zip(numbers(line), numbers(other), strict=True):
            if isinstance(expected, float):
                assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
            else:
                assert value == expected
    checkpoints = saved(theirs)
    assert [folder.name for folder in saved(ours)] == [folder.name for folder in checkpoints]
    for folder in checkpoints:
        for file in folder.rglob("*.safetensors"):
            state, expected = load_file(ours / file.relative_to(theirs)), load_file(file)
            assert state.keys() == expected.keys()
            for key, value in expected.items():
                assert state[key].shape == value.shape and float((state[key] - value).abs().max()) < 1e-6, key


@pytest.mark.parametrize("config", RUN)
def test_one_process_goes_on_where_two_stopped(config, alone, launched, tmp_path):
    """A checkpoint holds whole tensors and nothing of how many processes there were."""
    folder = shutil.copytree(launched(config) / "plain+begun", tmp_path / "run")
    assert [path.name for path in saved(folder)] == ["step_000002"]
    scenarios.go("plain", folder)
    for line, wanted in zip(*(read_jsonl(run / "metrics.jsonl") for run in (folder, alone / "plain")), strict=True):
        assert numbers(line) == pytest.approx(numbers(wanted), abs=1e-9)


def test_the_scenarios_are_what_they_say(alone):
    """Some groups are dropped, some ranks have none, and forwards are too small for all of a group's contexts, which
    coupled-GRPO ties together: at two of three updates it needs four a context."""

    def lines(name):
        return read_jsonl(alone / name / "metrics.jsonl")

    assert all(line["groups"] == 3 and line["images_dropped"] == 3 for line in lines("dropped_group"))
    groups = {line["groups"] for line in lines("no_group_on_one_rank")}
    assert groups == {1, 2}
    assert all(line["groups"] == 0 and "loss" not in line for line in lines("no_group_at_all"))
    assert all(line["groups"] == 1 for line in lines("one_prompt"))
    contexts = 3 * 3 * (1 + 2 * 3)  # of three updates on three groups, where no two are equal by chance
    one_pass, two_passes = 3 * contexts, (3 + 4 + 4) * contexts / 3
    assert all(one_pass < line["forwards_train"] <= two_passes for line in lines("two_passes"))
    assert read_jsonl(alone / "plain+resumed" / "metrics.jsonl") == lines("plain")


@pytest.mark.parametrize(("config", "name"), cases(ENDS))
def test_an_error_in_one_process_ends_both(config, name, launched):
    """The process that failed says what happened, the other one quotes it, and both can go on with other work."""
    out, sentence = launched(config) / name, ENDS[name]
    assert (out / "ended.1").read_text() == sentence
    quoted = sentence.removeprefix("UserError: ").replace("RuntimeError", "unexpected RuntimeError")
    assert (out / "ended.0").read_text() == f"UserError: {quoted} (in process 1 of 2)"
    assert not (out / "metrics.jsonl").exists()


def test_a_process_that_dies_takes_the_other_with_it(launched):
    """The other one waits for nobody, and does not go on alone."""
    out = launched("ddp_8gpu") / "dies"
    assert not list(out.glob("ended.*")) and not (out / "metrics.jsonl").exists()
