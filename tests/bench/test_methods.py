"""Names that stand for several methods, and the list of methods."""

import pytest

from bench.ask.methods import expanded, groups, listing, summary
from bench.compare import main
from htgrpo.base.registry import METHODS
from tests.htgrpo.test_plugin import install


def test_groups_hold_every_method_that_learns_from_rewards():
    found = groups()
    assert found["all"] == [name for name in METHODS.names() if name != "pretrain"]
    assert {"ht", "mask", "wd1", "xing"} <= set(found["literature"])
    assert found["adaptive"] == ["ht_agreement", "ht_alpha", "ht_credit"] and found["ours"] == ["strata"]
    assert sorted(found["literature"] + found["adaptive"] + found["ours"]) == found["all"]


def test_a_group_is_its_methods_each_once():
    adaptive = groups()["adaptive"]
    assert expanded(["ht", "adaptive", "ht_alpha"]) == ["ht", *adaptive]
    assert expanded(["no_method", "base"]) == ["no_method", "base"]


def test_every_method_has_a_line():
    for name in METHODS.names():
        assert 30 < len(summary(name)) < 260 and "\n" not in summary(name), name
    assert len({summary(name) for name in METHODS.names()}) == len(METHODS.names())
    for name in (*METHODS.names(), *groups()):
        assert f"\n  {name} " in listing()


def test_help_prints_and_ends(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--methods", "help"])
    assert ended.value.code == 0 and capsys.readouterr().out.strip() == listing()


def test_a_group_is_planned(capsys):
    assert main(["--methods", "adaptive", "--dry-run", "--json"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in groups()["adaptive"])


def test_a_method_of_a_groups_name_is_that_method(tmp_path, monkeypatch):
    install(tmp_path, "ours", {"htgrpo.methods": {"ours": "htgrpo.ht:HT"}})
    monkeypatch.syspath_prepend(tmp_path)
    METHODS.__dict__.pop("_entries", None)
    try:
        assert expanded(["ours"]) == ["ours"] and "ours" not in groups()
    finally:
        METHODS.__dict__.pop("_entries", None)
