"""A fifth method from a package of somebody else: found by its entry point, configured, trained, and nothing of ours
changed."""

import tomllib
from pathlib import Path

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.options import build
from htgrpo.base.registry import METHODS, Registry
from htgrpo.interface import HIDDEN
from tests.htgrpo.formulas import scripted_terms
from tests.htgrpo.test_engine_gradient import compare
from tests.htgrpo.tiny import make_group, method_generator, tiny_policy, two_groups
from tests.htgrpo.training import run

EXAMPLE = Path(__file__).parents[1] / "plugin_example"


def install(folder, name, groups):
    """What a package manager leaves of a package: its metadata with the entry points."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages that Python sees for the length of a test."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    METHODS.__dict__.pop("_entries", None)
    yield tmp_path / "site"
    METHODS.__dict__.pop("_entries", None)


@pytest.fixture
def halves(site, monkeypatch):
    """The example package, installed as its pyproject says."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    monkeypatch.syspath_prepend(EXAMPLE)
    install(site, project["name"], project["entry-points"])
    return METHODS.get("halves")


def test_it_is_one_of_the_methods(halves):
    assert {"halves", "ht", "mask", "trace", "uni"} <= set(METHODS.names())
    assert build(halves, {"updates_per_rollout": "3", "rate": "0.3"}, "halves") == halves(3, 0.3)
    with pytest.raises(UserError, match="did you mean 'halves'"):
        METHODS.check("halve")


def test_every_token_is_judged_once_under_the_other_half(halves):
    group = make_group(tiny_policy())
    for update in halves(2).updates(group, method_generator(group)):
        shown = update.contexts[update.row]
        for g in range(3):
            for slot in range(6):
                assert shown[g, slot, slot] == HIDDEN
                assert torch.equal(update.contexts[g] == HIDDEN, update.contexts[g + 3] != HIDDEN)
        assert float(update.share.sum()) == pytest.approx(1.0)


def test_its_gradient_is_right(halves):
    compare(
        tiny_policy(1), two_groups(tiny_policy(1), failed=(1,)), halves(3), scripted_terms, lr=0.2, beta=0.1, clip=0.02
    )


def test_it_trains(halves, tmp_path):
    line = run(
        tmp_path, method="halves", method_options={"updates_per_rollout": "2"}, budget="iterations:1", group_size=3
    )[0]
    assert line["groups"] == 2 and line["grad_norm"] > 0
    assert line["forwards_train"] <= 3 * 2 * 2 * 3 * 2
    assert line["forwards_old"] <= 2 * 2 * 3 * 2


def test_it_is_as_short_as_the_docs_say():
    """The body of the class, without imports and documentation: about twenty lines."""
    source = (EXAMPLE / "htgrpo_halves.py").read_text()
    body = source[source.index("@dataclass") :].splitlines()
    assert len([line for line in body if line.strip() and '"""' not in line]) <= 20


def test_a_package_that_is_broken_is_named(site):
    install(
        site, "broken", {"htgrpo.methods": {"nowhere": "no_such_module:Method", "nothing": "htgrpo.ht:NoSuchClass"}}
    )
    for name in ("nowhere", "nothing"):
        with pytest.raises(UserError, match=f"the method '{name}' is registered as .* but cannot be loaded") as error:
            METHODS.get(name)
        assert "\n" not in str(error.value)
    assert METHODS.get("ht"), "the others still load"


def test_two_packages_of_one_name_are_refused(site):
    install(site, "thief", {"htgrpo.methods": {"ht": "thief:HT"}})
    with pytest.raises(UserError, match="two installed packages register the method 'ht'"):
        METHODS.names()


def test_a_registry_imports_nothing_before_it_is_asked(site):
    (site / "loud.py").parent.mkdir(parents=True, exist_ok=True)
    (site / "loud.py").write_text("raise RuntimeError('imported')\n")
    install(site, "loud", {"htgrpo.loud": {"loud": "loud:thing"}})
    registry = Registry("thing", "htgrpo.loud")
    assert registry.names() == ["loud"] and registry.check("loud") == "loud"
    with pytest.raises(RuntimeError, match="imported"):
        registry.get("loud")
