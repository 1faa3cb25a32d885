"""bench.regress --gate: falls are found as often as is stated, rises and repeats are none, gaps are no verdict."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import regress
from bench.ask.selection import select
from bench.checking.regression import detector, gate
from htgrpo.base.errors import EXIT_INCOMPLETE, UserError
from htgrpo.base.prompts import Prompt
from reports.run.load import load_run
from reports.statistics.stats import headline_weights
from tests.bench.tiny_runs import leave
from tests.reports.synthetic import write_run

WEIGHTS = headline_weights(np.repeat(np.arange(6), 10), "category_mean")


def pictures(rng: np.random.Generator, chance: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean score of every prompt over `samples` pictures, and the variance of that mean, as the gate estimates it."""
    scores = rng.random((samples, len(chance))) < chance
    return scores.mean(0), scores.var(0, ddof=1) / samples


@pytest.mark.parametrize("fall, low, high", [(0.0, 0.01, 0.08), (1.0, 0.74, 0.90)])
def test_the_stated_fall_is_found_four_times_in_five_and_no_fall_rarely(fall, low, high):
    """60 prompts in 6 categories with 4 pictures each, a run scored again with new pictures: 300 times."""
    rng = np.random.default_rng(5)
    chance = rng.uniform(0.35, 0.65, 60)
    same = 2 * chance * (1 - chance) / 4
    visible = gate.visible_fall(np.zeros(60), WEIGHTS, same)
    assert 0.05 < visible < 0.15
    found, stated = 0, []
    for _ in range(300):
        (old, before), (new, after) = pictures(rng, chance, 4), pictures(rng, chance - fall * visible, 4)
        found += gate.fall_p(new - old, WEIGHTS, resamples=499) < gate.ALPHA
        stated.append(gate.visible_fall(new - old, WEIGHTS, before + after))
    assert low <= found / 300 <= high
    assert 0.98 * visible < np.mean(stated) < 1.12 * visible  # estimated, it errs on the wide side


def test_the_test_is_a_paired_permutation_test():
    gap = np.array([-1.0, -1.0, -1.0, -0.5, 0.0, 0.5])
    weights = np.full(6, 1 / 6)
    flips = np.array([[1 - 2 * (i >> bit & 1) for bit in range(6)] for i in range(64)])
    brute = np.mean((flips * gap) @ weights <= gap @ weights + 1e-12)
    assert gate.fall_p(gap, weights) == pytest.approx(brute)
    assert gate.fall_p(np.zeros(6), weights) == 1.0 and gate.fall_p(-gap, weights) > 0.9


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    """A made-up run of alpha and beta with 144 prompts, two seeds, two pictures each."""
    return write_run(tmp_path_factory.mktemp("gate") / "run", {"alpha": 0.0, "beta": 0.2}, images=False)


def test_a_run_does_not_fall_below_itself_and_power_is_stated(scored, tmp_path, capsys):
    path = tmp_path / "quality.json"
    make = ["--gate", str(scored), "--baseline", str(path), "--subset", "geneval:60", "--update"]
    assert leave(regress.main, make) == 0
    out = capsys.readouterr().out
    assert "60 prompts of geneval, methods alpha, base, beta" in out and out.count("with 80 % power") == 3
    assert leave(regress.main, ["--gate", str(scored), "--baseline", str(path)]) == 0
    assert "ok: alpha" in capsys.readouterr().out and path.stat().st_size < 20_000
    stored = gate.read(path)
    drawn = [
        Prompt(r["prompt_id"], r["prompt"], r["category"], {})
        for r in load_run(scored).records.drop_duplicates("prompt_id").to_dict("records")
    ]
    assert stored.prompts == [p.id for p in select("geneval", drawn, None, 60)]
    assert all(stored.categories.count(category) == 10 for category in set(stored.categories))


def test_a_fall_is_found_and_a_rise_is_none(scored, tmp_path, capsys):
    path = tmp_path / "quality.json"
    stored = gate.measure(load_run(scored), "geneval", "main", 60)
    better = {
        **stored.scores,
        "alpha": [min(1.0, score + 0.3) for score in stored.scores["alpha"]],
        "base": [score / 2 for score in stored.scores["base"]],
    }
    gate.write(path, gate.Quality(**{**stored.__dict__, "scores": better}))
    argv = ["--gate", str(scored), "--baseline", str(path)]
    assert leave(regress.main, argv) == 1
    out = capsys.readouterr().out
    assert "fell: alpha" in out and "ok: base" in out and "ok: beta" in out
    assert "regression: alpha (60 prompts of geneval)" in out
    assert leave(regress.main, [*argv, "--methods", "beta,base", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["methods"]
    assert [row["method"] for row in rows] == ["beta", "base"] and rows[1]["change"] > 0 and not rows[1]["regressed"]


def test_where_lower_is_better_a_rise_is_the_regression(scored):
    stored = gate.measure(load_run(scored), "geneval", "main", 60, methods=["alpha"])
    lower = {**stored.__dict__, "rule": {**stored.rule, "higher_is_better": False}}
    less = {"alpha": [score / 2 for score in stored.scores["alpha"]]}
    (outcome,) = gate.compare(gate.Quality(**{**lower, "scores": less}), gate.Quality(**lower), None)
    assert outcome.regressed and outcome.change < 0


def test_what_cannot_be_compared_is_a_usage_error(scored, tmp_path):
    run = load_run(scored)
    stored = gate.measure(run, "geneval", "main", 12)
    other = gate.Quality(**{**stored.__dict__, "rule": {**stored.rule, "version": "9"}})
    with pytest.raises(UserError, match="differ in version"):
        gate.compare(other, stored, None)
    with pytest.raises(UserError, match="other texts"):
        gate.compare(gate.Quality(**{**stored.__dict__, "texts_sha256": ""}), stored, None)
    with pytest.raises(UserError, match="knows no method 'gamma'"):
        gate.compare(stored, stored, ["gamma"])
    path = tmp_path / "quality.json"
    gate.write(path, stored)
    assert leave(regress.main, ["--gate", str(scored), "--baseline", str(path), "--subset", "geneval:60"]) == 2
    with pytest.raises(UserError, match="is no baseline of the change detector"):
        detector.read(path)
    with pytest.raises(UserError, match="is damaged"):
        path.write_text("{")
        gate.read(path)


def test_what_is_missing_leaves_the_gate_incomplete(scored, tmp_path, capsys):
    stored = gate.measure(load_run(scored), "geneval", "main", 60)
    path = tmp_path / "quality.json"
    gate.write(path, stored)
    broken = write_run(tmp_path / "broken", {"alpha": 0.0, "beta": 0.2}, images=False, fail=("alpha-seed0", 40))
    small = write_run(tmp_path / "small", {"alpha": 0.0, "beta": 0.2}, images=False, prompts=4)
    fewer = write_run(tmp_path / "fewer", {"alpha": 0.0}, images=False)
    sentences = {broken: "alpha has verdicts for ", small: "of the baseline's 60 prompts", fewer: "no verdicts of beta"}
    for run, sentence in sentences.items():
        assert leave(regress.main, ["--gate", str(run), "--baseline", str(path)]) == EXIT_INCOMPLETE
        assert sentence in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    assert leave(regress.main, ["--gate", str(tmp_path / "empty"), "--baseline", str(path)]) == EXIT_INCOMPLETE
