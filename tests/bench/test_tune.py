"""bench.tune: the rule by which grids grow, tries that are kept, and settings that a folder refuses."""

import json
import math
import shutil
from pathlib import Path

import pytest

from bench import tune
from bench.ask import presets
from bench.ask.presets import read
from bench.run import tune as tuning_runs
from bench.run.tries import Grid, Try, best, interior, next_tries
from bench.run.tune_record import mean_scores, missing_runs, read_results, recorded, render, result_file
from htgrpo.base.errors import UserError
from htgrpo.base.registry import METHODS
from htgrpo.base.rng import generator
from htgrpo.policies import random
from htgrpo.policies.storage import save_policy
from htgrpo.training.pretraining import TinySize, new_policy
from htgrpo.world.world import find
from tests.bench.tiny_runs import leave

LADDER = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
GRID = Grid(1e-4, (0.3, 1, 3), LADDER, {"ht": {"alpha": 0.5}, "mask": {"lr": 2e-4, "min_rate": 0.5}}, (1000, 1001))


def played(method, score, grid=GRID):
    """All tries that the rule asks for when a try's score is `score(lr, options)`, in order, with their scores."""
    scores, rounds = {}, 0
    while tries := next_tries(grid, method, scores):
        assert not set(tries) & set(scores), "nothing is tried twice"
        scores |= {one: score(one.lr, dict(one.options)) for one in tries}
        rounds += 1
        assert rounds < 20
    return scores


@pytest.mark.parametrize("top", [1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
def test_the_grid_grows_until_the_best_rate_is_interior(top):
    """On a score with one peak: the peak is found, with a worse rate on either side wherever the ladder goes on."""
    scores = played("ht", lambda lr, options: -abs(math.log(lr / top)) - 5 * bool(options))
    assert best(scores, "ht") == Try("ht", top)
    ends = top in (1e-6, 1e-2)
    assert interior(GRID, "ht", scores) != ends
    plain = sorted(one.lr for one in scores if not one.options)
    rates = [GRID.rate(factor) for factor in LADDER]
    reach = rates.index(top)
    low, high = min(2 + 1, max(0, reach - 1)), max(5, min(8, reach + 1))
    assert plain == rates[low : high + 1], "the start, what lies between it and the best rate, and one beyond"
    assert list(scores)[-1] == Try("ht", top, (("alpha", 0.5),)), "the own choice comes last and at the best rate"


def test_an_own_choice_may_bring_its_rate_and_may_win():
    scores = played("mask", lambda lr, options: 1.0 if options else -abs(math.log(lr / 1e-4)))
    assert list(scores)[-1] == best(scores, "mask") == Try("mask", 2e-4, (("min_rate", 0.5),))
    assert interior(GRID, "mask", scores), "interior is said of the learning rates at the default options"
    assert len(played("uni", lambda lr, options: -abs(math.log(lr / 1e-4)))) == 3, (
        "a method without a choice of its own"
    )


def test_rates_that_diverge_are_worst_and_smaller_ones_follow():
    bad = float("-inf")
    scores = played("ht", lambda lr, options: bad if lr > 2e-5 else -abs(math.log(lr / 3e-6)))
    assert best(scores, "ht").lr == 3e-6 and not any(one.lr > 3e-4 for one in scores)
    nothing = played("ht", lambda lr, options: bad)
    assert best(nothing, "ht") is None and min(one.lr for one in nothing) == 1e-6 and not interior(GRID, "ht", nothing)


def test_the_shipped_grid_is_the_same_for_every_method_and_is_checked_before_the_first_try(tmp_path, monkeypatch):
    grid = read("tune")
    assert set(grid["methods"]) == set(METHODS.names()) == set(grid["own_choice"])
    assert tuple(grid["ladder"]) == LADDER and set(grid["start"]) <= set(LADDER)
    tune.asked(tune.parser().parse_args(["--methods", "all", "--out", str(tmp_path)]))  # which builds every own choice
    monkeypatch.setattr(tune, "read", lambda name: {**grid, "own_choice": {"ht": {"alpha": 2}}})
    with pytest.raises(UserError, match="ht.alpha is 2"):
        tune.asked(tune.parser().parse_args(["--methods", "ht", "--out", str(tmp_path)]))


def test_policies_of_any_world_are_tuned_on_its_own_prompts_and_no_others(tmp_path):
    large = tune.asked(tune.parser().parse_args(["--out", str(tmp_path), "--policy", "embedded_large"])).identity()
    tiny = tune.asked(tune.parser().parse_args(["--out", str(tmp_path)])).identity()
    assert (large["benchmark"], tiny["benchmark"]) == ("embedded_large_geneval 1", "embedded_geneval 1")
    assert not set(large["prompts"].values()) & set(tiny["prompts"].values()) and large["settings"]["guidance"] > 0
    random.make("mmada", tmp_path / "mmada")
    with pytest.raises(UserError, match="is of the backbone 'mmada', but tries are judged on an embedded world's"):
        tune.asked(tune.parser().parse_args(["--out", str(tmp_path), "--policy", str(tmp_path / "mmada")]))


def test_by_default_a_try_is_trained_as_the_presets_main_view(tmp_path):
    tuning = tune.asked(tune.parser().parse_args(["--out", str(tmp_path)]))
    views = tune.preset(read("tune")["preset"], "embedded")["budget"].split(",")
    assert tuning.settings["budget"].split(",")[0] == views[0] == "iterations:16"
    assert "seconds" not in tuning.settings["budget"]
    assert tune.preset("quick", "embedded")["budget"].split(",")[0] == views[0], "both presets are tuned for"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune") / "policy"
    save_policy(new_policy(find(), TinySize(16, 1, 2, 16), generator("tools")), folder)
    return folder


@pytest.fixture(scope="module")
def small():
    """Settings that take a second a try."""
    whole = tune.preset("quick", "embedded")
    little = {**whole, "train": {"group_size": 2, "prompts_per_iteration": 2, "steps": 2}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "preset", lambda name, backbone: little)
        patch.setattr(tune, "run_all", run_here)
        yield


@pytest.fixture(scope="module")
def tuned(policy, small, tmp_path_factory):
    """A folder of tries of ht. Copy it before changing it."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    assert tune.main(command(policy, out)) == 0
    return out


@pytest.fixture
def out(tuned, tmp_path):
    return Path(shutil.copytree(tuned, tmp_path / "out"))


def run_here(tuning, out, jobs):
    """What run_all does, in this process and without a pool."""
    for method in tuning.methods:
        while runs := missing_runs(tuning, method, out):
            for one, seed in runs:
                tuning_runs.run_try(tuning, one, seed, out)
    return tuning_runs.run_base(tuning, out)


def command(policy, out, *more):
    small = ["--methods", "ht", "--budget", "iterations:1", "--samples", "1", "--jobs", "1"]
    return ["--policy", str(policy), "--out", str(out), *small, *more]


def test_tries_are_kept_and_told(policy, out, capsys):
    record = json.loads((out / "tune.json").read_text())
    assert record["split"] == "validation" and record["seeds"] == [1000, 1001] and list(record["chosen"]) == ["ht"]
    assert all(len(one["geneval"]) == 2 for one in record["tries"])
    best_score = max(one["score"] for one in record["tries"])
    assert record["chosen"]["ht"]["score"] == best_score and record["chosen"]["ht"]["tries"] == len(record["tries"])
    table = (out / "tune.md").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    one = next(iter(stamps))
    one.unlink()
    assert tune.main(command(policy, out)) == 0
    assert table in capsys.readouterr().out + "\n" and table.count("taken") >= 1
    assert {path: path.stat().st_mtime_ns for path in stamps if path != one} == {
        p: t for p, t in stamps.items() if p != one
    }
    assert json.loads((out / "tune.json").read_text())["chosen"] == record["chosen"], "a try made again is the same try"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--budget", "iterations:2"), "settings.budget"),
        (("--seeds", "5,6"), "seeds"),
        (("--samples", "2"), "samples"),
        (("--policy", "embedded"), "policy_sha256"),
    ],
)
def test_a_folder_of_other_tries_is_refused(flags, named, policy, out, capsys):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    assert leave(tune.main, [*command(policy, out), *flags]) == 2
    told = capsys.readouterr().err
    assert f"holds tries with {named} = " in told and "use another --out" in told and told.count("\n") == 1
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}


def test_another_grid_is_refused_and_another_method_is_not(policy, out, monkeypatch, capsys):
    whole = read("tune")
    for changed, named in (
        ({"ladder": [0.3, 1, 3]}, "ladder"),
        ({"own_choice": {"ht": {"alpha": 0.4}}}, "own_choice.ht.alpha"),
    ):
        monkeypatch.setattr(tune, "read", lambda name, changed=changed: {**whole, **changed})
        assert leave(tune.main, command(policy, out)) == 2
        assert f"holds tries with {named} = " in capsys.readouterr().err
    monkeypatch.setattr(tune, "read", lambda name: whole)
    assert tune.main([*command(policy, out), "--methods", "pretrain", "--budget", "iterations:1"]) == 0
    assert set(json.loads((out / tuning_runs.CONFIG).read_text())["own_choice"]) == {"ht", "pretrain"}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--samples", "0"), "--samples is '0'"), (("--jobs", "-1"), "--jobs is '-1'"),
        (("--seeds", "7,"), "at least two"), (("--seeds", "x"), "--seeds is 'x'"),
        (("--budget", "hours:3"), "budget is 'hours:3'"), (("--methods", "hat"), "did you mean 'ht'"),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_sentence(flags, sentence, policy, tmp_path, capsys):
    assert leave(tune.main, [*command(policy, tmp_path / "new"), *flags]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1 and not (tmp_path / "new").exists()
    (tmp_path / "notes.txt").write_text("mine")
    assert leave(tune.main, command(policy, tmp_path)) == 2 and "holds 'notes.txt'" in capsys.readouterr().err


def test_a_try_that_diverges_is_a_result(policy, small, tmp_path):
    tuning = tune.asked(tune.parser().parse_args(command(policy, tmp_path)))
    one = Try("ht", 1e30)
    result = tuning_runs.run_try(tuning, one, 1000, tmp_path)
    assert result["geneval"] is None and "diverged" in result["diverged"]
    assert json.loads(result_file(tmp_path, one, 1000).read_text()) == result
    assert mean_scores({one: [result, {"geneval": 0.5}]}) == {one: float("-inf")}


def test_the_result_becomes_the_presets(policy, out, tmp_path, monkeypatch):
    """--write changes the tuned methods alone, and keeps the record of the others."""
    folder = tmp_path / "bench.ask" / "presets"
    folder.mkdir(parents=True)
    (folder / "methods.json").write_text(
        json.dumps({"embedded": {"ht": {"lr": 9}, "mask": {"lr": 8}}, "mmada": {"ht": {"lr": 7}}})
    )
    monkeypatch.setattr(presets.resources, "files", lambda package: tmp_path / package)
    monkeypatch.setattr(presets, "read", presets.read.__wrapped__)
    tuning = tune.asked(tune.parser().parse_args(command(policy, out)))
    record = recorded(tuning, out, run_here(tuning, out, 1))
    presets.write_tuned("embedded", record)
    written = json.loads((folder / "methods.json").read_text())
    assert written == {
        "embedded": {"ht": record["chosen"]["ht"]["settings"], "mask": {"lr": 8}},
        "mmada": {"ht": {"lr": 7}},
    }
    presets.write_tuned("embedded", {**record, "chosen": {"mask": record["chosen"]["ht"]}, "tries": []})
    kept = json.loads((folder / "tuning_embedded.json").read_text())
    assert set(kept["chosen"]) == {"ht", "mask"} and kept["tries"] == record["tries"]
    only = {"chosen": {"mask": record["chosen"]["ht"]}, "own_choice": {"mask": {"min_rate": 0.5}}, "tries": []}
    presets.write_tuned("embedded", {**record, **only})
    both = json.loads((folder / "tuning_embedded.json").read_text())["own_choice"]
    assert both == {**record["own_choice"], **only["own_choice"]}, "the others' own choices stay, as their tries do"
    with pytest.raises(UserError, match=r"has ht tuned with seeds = .*, but these tries have \[5, 6\]"):
        presets.write_tuned("embedded", {**record, **only, "seeds": [5, 6]})
    assert render(record).count("| ht |") == len(read_results(tuning, "ht", out)) == record["chosen"]["ht"]["tries"]
