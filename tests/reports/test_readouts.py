"""A verdict and a read-out of the same pictures side by side, as bench.power tells them."""

import json

import numpy as np
import pytest

from bench import power
from reports.findings.readouts import readouts
from reports.findings.spread import components
from reports.run.load import load_run
from tests.reports.enriched import add_benchmark
from tests.reports.synthetic import write_run


def read_out(root, name, score):
    """A second benchmark on the pictures of `geneval`, with two axes, whose scores are `score` of its own and of a generator."""
    rng = np.random.default_rng(3)

    def change(record):
        value = score(record["score"], rng)
        return {**record, "score": value, "evidence": {"soft": value, "gm": 0.5}}

    add_benchmark(root, name, change, pictures="geneval", axes={"soft": "least clause", "gm": "mean"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = write_run(tmp_path_factory.mktemp("same") / "run", seeds=3, prompts=10, images=False)
    read_out(root, "halved", lambda score, rng: 0.25 + score / 2)
    read_out(root, "blurred", lambda score, rng: score + rng.normal(0, 1))
    return root


def test_half_the_difference_with_half_the_error_gains_nothing_and_noise_loses(run):
    found = {(one.one, one.other): one for one in readouts(load_run(run))}
    halved, blurred = found["geneval", "halved"], found["geneval", "blurred"]
    assert [row.pair for row in halved.rows] == ["alpha − base", "beta_2 − base", "beta_2 − alpha"]
    for row in halved.rows:
        assert row.other.difference == pytest.approx(row.one.difference / 2)
        assert row.other.error == pytest.approx(row.one.error / 2) and row.one.error > 0
        assert row.other.over_seeds == pytest.approx(row.one.over_seeds / 2)
        assert (row.gain.value, row.gain.low, row.gain.high) == pytest.approx((1, 1, 1))
    assert (halved.gain.low, halved.gain.high) == pytest.approx((1, 1))
    clear = next(row for row in blurred.rows if row.pair == "beta_2 − base")
    assert clear.other.error > 1.5 * clear.one.error and clear.gain.value < 1 and clear.gain.low < clear.gain.high


def test_a_plan_knows_the_first_axis_by_the_benchmarks_name(run):
    found = components(load_run(run))
    assert set(found) == {"geneval", "halved", "blurred"}
    assert found["halved"].picture == pytest.approx(found["geneval"].picture / 4)


def test_with_one_picture_a_prompt_its_variance_is_not_lost(tmp_path, capsys):
    """`both` holds it then, as if it were of the training and the prompt, and no plan counts on further pictures."""
    root = write_run(tmp_path / "run", seeds=3, prompts=10, samples=1, images=False)
    one = components(load_run(root))["geneval"]
    assert one.picture == 0 < one.both
    weights = np.full(100, 0.01)
    assert one.planned(weights, 4, 8).error == one.planned(weights, 4, 1).error
    assert power.main([str(root)]) == 0 and "one picture a prompt" in capsys.readouterr().out


def test_it_is_printed(run, capsys):
    assert power.main([str(run)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "halved: standard deviations" in text and "geneval and halved, which judge the same pictures:" in text
    assert "x 0.50 (0.50); gain 1.00 [1.00, 1.00]" in text and "all together: gain 1.00 [1.00, 1.00]" in text
    power.main([str(run), "--json"])
    told = json.loads(capsys.readouterr().out)["same_pictures"]
    pairs = {("geneval", "halved"), ("geneval", "blurred"), ("blurred", "halved")}
    assert {(one["one"], one["other"]) for one in told} == pairs
