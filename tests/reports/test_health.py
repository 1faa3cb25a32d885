"""What the report says of rewards that fail, do not differ, or a training that is unstable."""

import json

import numpy as np
import pandas as pd
import pytest

from reports.findings.costs import waited
from reports.findings.health import of_training, trend, warnings
from reports.run.load import load_run
from tests.reports.enriched import rewrite
from tests.reports.synthetic import write_run


def log(iterations=20, seed=0, **changes):
    """Metrics of a sound training; changes: column -> {iteration: value} or a whole column."""
    draw = np.random.default_rng(seed)
    count = np.arange(1, iterations + 1)
    lines = pd.DataFrame(
        {
            "iteration": count, "seed": seed, "groups": 6, "groups_without_spread": 1, "images_dropped": 0,
            "reward_queries": 54, "kl": 0.05 + 0.01 * draw.random(iterations), "ratio_mean": 1.0, "entropy": 2.0,
            "reward_mean": 1 + 0.02 * count + 0.01 * draw.standard_normal(iterations),
        }
    )  # fmt: skip
    for name, values in changes.items():
        if isinstance(values, dict):
            lines[name] = lines[name].astype(float)
            for iteration, value in values.items():
                lines.loc[lines["iteration"] == iteration, name] = value
        else:
            lines[name] = values
    return lines


def told(**changes):
    return " ".join(of_training("ht", log(**changes)).warnings)


def test_a_sound_training_has_no_warning_and_its_reward_rose():
    found = of_training("ht", log())
    assert found.warnings == [] and found.reward.low > 0 and found.reward.estimate == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    "name, wild, words", [("kl", 80.0, "training was unstable"), ("ratio_mean", 30.0, "importance ratio")]
)
def test_one_wild_iteration_decides_nothing_and_two_do(name, wild, words):
    assert words not in told(**{name: {7: wild}})
    assert words in told(**{name: {7: wild, 15: wild}})
    assert words in told(**{name: wild}), "and all of them, too"
    one, other = log(seed=0, **{name: {7: wild}}), log(seed=1, **{name: {9: wild}})
    assert words in " ".join(of_training("ht", pd.concat([one, other])).warnings), "trainings are counted together"


def test_one_training_of_three_is_not_hidden_by_the_others():
    flat = pd.concat([log(seed=0), log(seed=1), log(seed=2, groups_without_spread=6)])
    assert "nothing was trained in 1 of 3 trainings" in of_training("ht", flat).warnings[0]
    fell = pd.concat([log(seed=0), log(seed=1), log(seed=2, entropy=2.0 * 0.8 ** np.arange(20))])
    assert "in 1 of 3 trainings" in " ".join(of_training("ht", fell).warnings)


def test_half_of_the_pictures_without_a_reward_is_told_with_the_reason():
    lines = log(images_dropped=27).assign(failure="hpsv3: out of memory")
    assert of_training("ht", lines).warnings == [
        "ht: 50% of its pictures had no reward and were left out of training (the last: hpsv3: out of memory)."
    ]


def test_equal_rewards_mean_that_nothing_was_trained():
    found = of_training("ht", log(groups_without_spread=6, reward_mean=0.5))
    assert found.untrained and "nothing was trained" in warnings([found])[0]


def test_no_picture_with_a_reward_means_that_nothing_was_trained():
    assert of_training("ht", log(groups=0, groups_without_spread=0, images_dropped=54, reward_mean=np.nan)).untrained


def test_a_falling_reward_and_collapsing_entropy_are_told():
    count = np.arange(20)
    assert "the trained reward fell" in told(reward_mean=2 - 0.05 * count)
    assert "ever fewer pictures" in told(entropy=2.0 * 0.9**count)
    assert "ever fewer pictures" not in told(entropy={20: 0.01})


@pytest.mark.parametrize("points", [2, 5, 7])
def test_few_iterations_give_no_interval(points):
    found = trend([pd.Series(np.arange(points, dtype=float), index=np.arange(points))])
    assert found.estimate > 0 and not found.known


def test_a_reward_that_rose_and_collapsed_did_not_rise():
    curve = np.r_[np.linspace(1, 2, 32), np.full(8, 0.05)] + 0.02 * np.random.default_rng(0).standard_normal(40)
    found = of_training("ht", log(iterations=40, reward_mean=curve))
    assert found.reward.estimate < 0 and not found.reward.low > 0
    assert any("the trained reward fell" in line for line in found.warnings)


def test_a_change_by_hand_and_over_seeds():
    values = pd.Series(np.arange(12.0), index=np.arange(1, 13))
    assert trend([values]).estimate == pytest.approx(9.0)
    found = trend([values, values + 1, values * 1.2])
    expected = [9.0, 9.0, 10.8]
    assert found.estimate == pytest.approx(np.mean(expected)) and found.df == 2
    assert found.high - found.estimate == pytest.approx(4.3027 * np.std(expected, ddof=1) / 3**0.5, rel=1e-3)


@pytest.mark.parametrize("alike, most", [(0.0, 0.06), (0.5, 0.12)])
def test_no_trend_in_noise_even_where_neighbours_are_alike(alike, most):
    draw, wrong = np.random.default_rng(1), 0
    for _ in range(300):
        noise = draw.standard_normal(66)
        for i in range(1, 66):
            noise[i] += alike * noise[i - 1]
        wrong += not (found := trend([pd.Series(noise[50:])])).low <= 0 <= found.high
    assert wrong / 300 < most


def test_seconds_of_a_busy_machine_are_warned_of(tmp_path):
    """`a` had the processor for half of its time and `b` all the time; the rewards' time is not counted, wherever they are."""
    root = write_run(tmp_path, {"a": 0.1, "b": 0.3}, seeds=1, prompts=2, samples=1, images=False)
    config = json.loads((root / "config.json").read_text())

    def told(shares, rewards=0.0, **machine):
        for name, share in shares.items():
            path = root / "train" / name / "seed0" / "timing.jsonl"
            rewrite(
                path,
                lambda r, s=share: {
                    **r,
                    "cpu_seconds": s * (1 - rewards) * r["seconds"],
                    "reward": rewards * r["seconds"],
                },
            )
        known = {**config["machine"], "device": "cpu", "processes": 1, **machine}
        (root / "config.json").write_text(json.dumps({**config, "machine": known}))
        return waited(load_run(root))

    assert told({"a": 0.95, "b": 1.0}) == []
    (line,) = told({"a": 0.5, "b": 1.0})
    assert "(a 50% and b 0%)" in line and "no fair comparison" in line
    assert told({"a": 0.5, "b": 1.0}, rewards=0.9) == [line], "a long reward hides nothing"
    assert told({"a": 1.0, "b": 1.0}, rewards=0.9) == [] == told({"a": 0.5, "b": 1.0}, threads_per_job=2)
    assert told({"a": 0.5, "b": 1.0}, device="cuda") == []
