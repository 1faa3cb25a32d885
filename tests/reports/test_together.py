"""Several runs laid beside one another: one comparison, refused with the setting that forbids it, told what differs."""

import json
import shutil

import pytest

from bench import report
from htgrpo.base.errors import UserError
from reports.findings.analysis import analyse
from reports.pages.together import named, together
from reports.run.beside import beside, differences
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from tests.reports.synthetic import write_run

pytestmark = pytest.mark.usefixtures("plain_figures")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("together")
    for name, effects in (("one", {"a": 0.0, "b": 0.3}), ("two", {"a": 0.2})):
        write_run(root / name, effects, seeds=1, prompts=20, samples=1, images=False, iterations=4)
    return root


@pytest.fixture
def runs(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_methods_of_both_stand_in_one_comparison(runs):
    alone = {name: load_run(runs / name) for name in ("one", "two")}
    run = beside(alone, runs / "both")
    (result,) = [analyse(block) for block in make_blocks(run)]
    assert list(result.scores) == ["base", "a@one", "b", "a@two"]
    for name, method in (("one", "a"), ("two", "a")):
        (own,) = [analyse(block) for block in make_blocks(alone[name])]
        here, there = result.scores[f"a@{name}"].headline, own.scores[method].headline
        assert (here.estimate, here.low, here.high) == pytest.approx((there.estimate, there.low, there.high))
    assert result.pair("a@two", "b") is not None and run.config["methods"] == ["a@one", "b", "a@two"]


def test_what_cannot_be_compared_is_refused_by_its_setting(runs):
    for meta in (runs / "two" / "verdicts" / "geneval" / "main").glob("*.meta.json"):
        change(meta, setting={"sampler": "main", "steps": 9})
    with pytest.raises(UserError, match=r"different setting.steps \(8 and 9\) and cannot be compared"):
        together([runs / "one", runs / "two"], None)
    change(runs / "two" / "config.json", budget="forwards:9000")
    with pytest.raises(
        UserError, match="'one' and 'two' look at different budgets first .*'forwards:6000' and 'forwards:9000'"
    ):
        together([runs / "one", runs / "two"], None)
    change(runs / "two" / "config.json", policy_sha256="1" * 64)
    with pytest.raises(UserError, match="start from different policies"):
        together([runs / "one", runs / "two"], None)
    with pytest.raises(UserError, match="is given twice"):
        named([runs / "one", runs / ".." / runs.name / "one"])


def test_settings_that_differ_are_named(runs, capsys):
    train = {"a": {"method": "a", "lr": 3e-4}}
    change(runs / "two" / "config.json", train=train, git_commit="def456")
    alone = {name: load_run(runs / name) for name in ("one", "two")}
    assert set(differences(alone)) == {
        "git_commit: abc123 in one and def456 in two",
        "train.a.lr: 0.0001 in one and 0.0003 in two",
    }
    assert report.main([str(runs / "one"), str(runs / "two")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "The runs differ in train.a.lr: 0.0001 in one and 0.0003 in two." in told and "a@two" in told
    assert sorted(path.name for path in runs.iterdir()) == ["one", "two"]


def test_a_setting_that_one_run_alone_has_is_named_and_one_of_a_method_it_does_not_train_is_not(runs):
    """Run `two` clips and has a margin, `one` trains `b`, which is no difference of settings; null says as little as nothing."""
    change(runs / "two" / "config.json", train={"a": {"method": "a", "lr": 1e-4, "clip": {"low": 0.0}}}, margin=0.05)
    change(runs / "one" / "config.json", tuned=None, policy_options={})
    shutil.copytree(runs / "one", runs / "three")
    change(runs / "three" / "config.json", margin=0.02)
    alone = {name: load_run(runs / name) for name in ("one", "two", "three")}
    assert set(differences(alone)) == {
        "margin: none in one, 0.05 in two and 0.02 in three",
        "train.a.clip.low: none in one, 0 in two and none in three",
    }


def test_the_report_of_both_is_written_where_it_is_told(runs, capsys):
    assert report.main([str(runs / "one"), str(runs / "two"), "--out", str(runs / "both"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    text = (runs / "both" / "report" / "index.html").read_text()
    assert "<title>both" in text and "a@two" in text and str(runs / "both" / "report" / "table.csv") in told["report"]
    assert {row["method"] for row in told["rows"]} == {"base", "a@one", "b", "a@two"}


def test_the_starting_policy_stands_wherever_any_run_scored_it(tmp_path):
    """Whichever run is named first."""
    for name, dense in (("one", 0), ("two", 24)):
        write_run(tmp_path / name, {name: 0.2}, seeds=1, prompts=20, samples=1, images=False, iterations=4, dense=dense)
    for names in (("one", "two"), ("two", "one")):
        run = beside({name: load_run(tmp_path / name) for name in names}, tmp_path / "both")
        found = {block.name: analyse(block) for block in make_blocks(run)}
        assert set(found["geneval"].scores) == {"base", "one", "two"} and set(found["dpg"].scores) == {"base", "two"}
        assert found["dpg"].pair("two", "base") is not None and (run.metas["method"] == "base").sum() == 2
        (policy,) = found["dpg"].block.methods[0].policies
        assert run.origins[policy] == (tmp_path / "two", "base")


def test_no_runs_own_report_is_overwritten(runs):
    with pytest.raises(UserError, match="is a run whose own report would be lost"):
        report.main([str(runs / "one"), str(runs / "two"), "--out", str(runs / "two")])
    assert not (runs / "two" / "report").exists()
