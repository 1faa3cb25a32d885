"""CONTRIBUTING's package, taken from its text: installed, each of its additions is found by name and works."""

import re
import sys
import tomllib

import numpy as np
import pytest
import torch
from PIL import Image

from bench.benchmarks.registry import make as benchmark
from htgrpo.base.registry import BACKBONES, BENCHMARKS, METHODS, REWARDS
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy
from htgrpo.training.rewards import WeightedReward
from tests.house import ROOT
from tests.htgrpo.test_plugin import install
from tests.htgrpo.training import PROMPTS, run

REGISTRIES = (METHODS, BENCHMARKS, REWARDS, BACKBONES)


def written() -> dict[str, str]:
    """The files that CONTRIBUTING shows, by the name in their first line."""
    blocks = re.findall(r"```\w+\n# ([\w/.]+\.\w+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    return dict(blocks)


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    """The package, installed for the length of these tests."""
    site = tmp_path_factory.mktemp("site")
    for name, text in written().items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    install(site, project["name"], project["entry-points"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        for registry in REGISTRIES:
            registry.__dict__.pop("_entries", None)
        yield site
    for registry in REGISTRIES:
        registry.__dict__.pop("_entries", None)
    for name in [name for name in sys.modules if name.startswith("htgrpo_mine")]:
        del sys.modules[name]


def test_every_entry_is_of_a_file_that_is_shown(package):
    groups = tomllib.loads(written()["pyproject.toml"])["project"]["entry-points"]
    places = {
        entry.partition(":")[0].replace(".", "/") + ".py" for group in groups.values() for entry in group.values()
    }
    assert len(groups) == 4 and places == set(written()) - {"pyproject.toml"}


def test_the_method_and_the_reward_train_the_embedded_policy(tmp_path):
    changes = {"method": "blind", "method_options": {}, "rewards": "warmth=2", "budget": "iterations:1"}
    (line,) = run(tmp_path, load_policy(), **changes)
    assert line["optimiser_steps"] == 4 and line["grad_norm"] > 0 and line["groups"] == 2
    assert line["forwards_train"] == 3 * 4 * 2, "one context a group, whatever its size"


def test_the_reward_rewards():
    pictures = torch.zeros(4, 3, 2, 2)
    pictures[0, 0], pictures[1, 2] = 1.0, 0.5
    assert WeightedReward("warmth=2")(PROMPTS, pictures).total.tolist() == [2.0, -1.0, 0.0, 0.0]


def test_the_benchmark_scores_pictures():
    mine = benchmark("redness")
    red, half = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    red[..., 0], half[:4, :, 0] = 200, 200
    judged = mine.judge([Image.fromarray(red), Image.fromarray(half)], mine.prompts("test"))
    assert [record["score"] for record in judged] == [1.0, 0.5]


def test_the_backbone_loads_weights_of_its_layout(tmp_path):
    make("mmada", tmp_path / "tiny", resolution="256")
    (tmp_path / "tiny/htgrpo.json").unlink()
    (tmp_path / "tiny/files.json").unlink(missing_ok=True)
    policy = load_policy(str(tmp_path / "tiny"), backbone="mine")
    assert policy.backbone.name == "mine" and policy.backbone.grid == (16, 16)
    assert policy.prompt("red") == (126088, 126080, *policy.tokenizer.encode("red"), 126081)
