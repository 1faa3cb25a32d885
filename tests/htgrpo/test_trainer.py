"""The training loop: it learns, counts, logs, warms up, drops what failed, and stops where nothing can be learnt."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.rng import generator
from htgrpo.policies.storage import load_policy
from htgrpo.rollout import generate
from htgrpo.training import learner
from htgrpo.training.checkpoints import saved
from htgrpo.training.learner import draw_prompts
from htgrpo.training.trainer import train
from tests.htgrpo.tiny import tiny_policy
from tests.htgrpo.training import CONFIG, PROMPTS, REWARD, run

METHODS = {"ht": CONFIG.method_options, **{name: {"updates_per_rollout": 3} for name in ("mask", "uni", "trace")}}
KEYS = """iteration forwards forwards_total forwards_rollout forwards_old forwards_ref forwards_train reward_mean reward_std
    advantage_abs clip_fraction ratio_mean ratio_max clipped_first old_gap kl entropy
    entropy_by_rank loss grad_norm lr groups groups_without_spread
    images_dropped optimiser_steps rollouts reward_queries forwards_undeduplicated""".split()


def weights(policy):
    """All weights as one vector."""
    return torch.cat([w.detach().flatten() for w in policy.net.parameters()]).clone()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_learns(method, tmp_path):
    """The mean reward of the last iterations is clearly above that of the first."""
    lines = run(
        tmp_path,
        method=method,
        method_options=METHODS[method],
        budget="iterations:16",
        lr=0.02,
        beta=0.0,
        group_size=8,
        prompts_per_iteration=4,
    )
    rewards = [line["reward_mean"] for line in lines]
    spread = lines[0]["reward_std"]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.5 * spread


def test_a_line_of_metrics(tmp_path):
    """The keys the report reads, and that the counters add up."""
    policy = tiny_policy(8)
    lines = run(tmp_path, policy, budget="iterations:3", rewards=f"{REWARD}brightness=1,{REWARD}redness=0.5")
    total = 0
    for number, line in enumerate(lines, 1):
        assert set(line) == {*KEYS, f"reward/{REWARD}brightness", f"reward/{REWARD}redness"}
        assert line["iteration"] == number and line["groups"] == 2 and line["images_dropped"] == 0
        assert line["forwards"] == sum(line[f"forwards_{phase}"] for phase in ("rollout", "old", "ref", "train"))
        assert (line["forwards_old"], line["forwards_ref"], line["forwards_train"]) == (2, 2, 18)
        assert line["forwards_rollout"] == 2 * (1 + 1) + 2 * 8, (
            "each prompt and its unconditional row, then 8 images twice"
        )
        total += line["forwards"]
        assert line["forwards_total"] == total
        assert len(line["entropy_by_rank"]) == 8 and 0 < line["entropy"] < 1.8
        assert line["clipped_first"] == 0 and line["old_gap"] < 1e-12  # fp64
        assert 0 <= line["clip_fraction"] <= 1 and line["ratio_max"] >= line["ratio_mean"] > 0
        assert line["kl"] >= -1e-9 and line["grad_norm"] > 0
    timing = read_jsonl(tmp_path / "timing.jsonl")
    assert [t["iteration"] for t in timing] == [1, 2, 3]
    for t in timing:
        phases = sum(t[name] for name in ("rollout", "reward", "old", "ref", "update", "other"))
        assert phases == pytest.approx(t["seconds"]) and t["peak_memory_mb"] > 10
        assert t["cpu_seconds"] > 0
    assert timing[-1]["seconds_total"] == pytest.approx(sum(t["seconds"] for t in timing))
    last = load_policy(str(saved(tmp_path)[-1]))
    assert torch.equal(weights(last), weights(policy).float()), "trained in place, and saved"


def test_methods_see_the_same_rollouts(tmp_path):
    """Drawing masks never disturbs sampling: in the first iteration all methods reward the same pictures."""
    first = [
        run(tmp_path / name, method=name, method_options=options, budget="iterations:1")[0]
        for name, options in METHODS.items()
    ]
    for name in ("reward_mean", "reward_std", "entropy", "entropy_by_rank", "forwards_rollout"):
        assert len({str(line[name]) for line in first}) == 1
    assert len({line["loss"] for line in first}) == len(first)


def test_nothing_global_is_read_or_moved(tmp_path):
    """The global generators are as before, and another global seed changes nothing."""

    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before, one = states(), run(tmp_path / "one", budget="iterations:2")
    assert states() == before
    torch.manual_seed(123)
    assert run(tmp_path / "two", budget="iterations:2") == one
    assert run(tmp_path / "three", budget="iterations:2", seed=1) != one


def test_warm_up_is_linear(tmp_path):
    assert [line["lr"] for line in run(tmp_path, lr=0.01, warmup=4)] == pytest.approx(
        [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01]
    )
    assert [line["lr"] for line in run(tmp_path / "none", lr=0.01, budget="iterations:2")] == [0.01, 0.01]


def test_progress_is_told_by_phase(tmp_path):
    events = []
    run(tmp_path, budget="iterations:2", on_progress=events.append)
    assert [(e["iteration"], e["phase"]) for e in events] == [(1, "load rewards")] + [
        (i, phase) for i in (1, 2) for phase in ("rollout", "reward", "update", "done")
    ]
    fractions = [e["fraction"] for e in events]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert events[4]["reward_mean"] is not None


@pytest.mark.parametrize("amount", [1, 60, 100, 150])
def test_a_forwards_budget_ends_at_the_nearest_iteration(amount, tmp_path):
    lines = run(tmp_path, budget=f"forwards:{amount}")
    each = lines[0]["forwards"]
    assert all(line["forwards"] == each for line in lines)
    assert abs(lines[-1]["forwards_total"] - amount) == min(abs(each * i - amount) for i in range(1, 20))


def test_checkpoints_are_kept_and_only_the_last_can_be_resumed(tmp_path):
    run(tmp_path, budget="iterations:5")
    assert [p.name for p in saved(tmp_path)] == ["step_000002", "step_000004", "step_000005"]
    assert [(p / "trainer_state").exists() for p in saved(tmp_path)] == [False, False, True]


def test_equal_rewards_change_nothing_and_stop_in_the_end(tmp_path, monkeypatch):
    """No advantage, no gradient, weights untouched; after some iterations one clear sentence."""
    monkeypatch.setattr("htgrpo.training.learner.PATIENCE", 4)
    policy = tiny_policy(8)
    before = weights(policy)
    with pytest.raises(UserError, match="last 4 iterations gave the reward 0.1 for every image") as error:
        run(tmp_path, policy, rewards=f"{REWARD}constant", beta=0.0, group_size=9)
    assert "\n" not in str(error.value)
    assert torch.equal(weights(policy), before)
    lines = read_jsonl(tmp_path / "metrics.jsonl")
    assert len(lines) == 3
    for line in lines:
        assert line["advantage_abs"] == line["loss"] == line["grad_norm"] == line["reward_std"] == 0.0
        assert line["groups_without_spread"] == line["groups"] == 2


def test_the_patience_survives_a_restart(tmp_path, monkeypatch):
    """A run that stopped for want of spread stops again at the same place instead of starting to count anew."""
    monkeypatch.setattr("htgrpo.training.learner.PATIENCE", 4)
    for _ in range(2):
        with pytest.raises(UserError, match="last 4 iterations"):
            run(tmp_path, rewards=f"{REWARD}constant", save_every=1)
        assert len(read_jsonl(tmp_path / "metrics.jsonl")) == 3


def test_a_reward_that_fails_for_a_whole_iteration_stops_at_once(tmp_path):
    """Nothing was trained, and nothing says so but the exit code and the sentence; the same command can go on later."""
    with pytest.raises(UserError, match="no picture of iteration 1 has a reward: of 8 .*broken failed for 8") as error:
        run(tmp_path, rewards=f"{REWARD}broken")
    assert error.value.exit_code == 3 and not (tmp_path / "metrics.jsonl").exists()


def test_failed_images_are_dropped_and_counted(tmp_path):
    """A third of the pictures fails: they are dropped one by one, and groups left with fewer than two go as a whole."""
    lines = run(tmp_path, rewards=f"{REWARD}patchy", group_size=2, prompts_per_iteration=4, budget="iterations:8")
    assert all(line["images_dropped"] >= 3 for line in lines)
    assert any(line["groups"] < 4 for line in lines)
    for line in lines:
        assert line["groups"] >= 1 and line["forwards_old"] == line["groups"]
        assert line["forwards_train"] == 9 * line["groups"]


def test_dropped_images_are_not_judged(tmp_path, monkeypatch):
    """The advantage and the updates know finite rewards only."""
    seen = []
    from htgrpo.training.engine import Engine

    original = Engine.run
    monkeypatch.setattr(
        Engine, "run", lambda self, groups, *rest: (seen.extend(groups), original(self, groups, *rest))[1]
    )
    run(tmp_path, rewards=f"{REWARD}patchy", group_size=6, budget="iterations:2")
    assert seen and all(torch.isfinite(g.reward).all() and len(g.reward) == len(g.codes) == len(g.rank) for g in seen)
    assert any(len(g.reward) < 6 for g in seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size is 1"),
        ({"method": "no"}, "unknown method"),
        ({"method_options": {"alpha": "2"}}, "ht.alpha"),
        ({"method_options": {"alfa": "2"}}, "did you mean 'alpha'"),
        ({"rewards": "nothing"}, "unknown reward"),
        ({"rewards": f"{REWARD}short"}, "answered 7 values for 8 images"),
        ({"budget": "iterations:0"}, "budget"),
    ],
)
def test_what_cannot_work_is_refused(changes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(tmp_path, **changes)


def test_no_prompts_are_refused(tmp_path):
    with pytest.raises(UserError, match="no training prompts"):
        train(tiny_policy(8), CONFIG, [], tmp_path)


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write .*file"):
        run(tmp_path / "file" / "run")


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(UserError, match="the tracker 'tensorbored'"):
        train(tiny_policy(8), CONFIG, PROMPTS, tmp_path, report_to="tensorbored")


def test_prompts_are_drawn_without_repeats_and_by_category():
    drawn = draw_prompts(PROMPTS, 3, generator("draw"))
    assert {p.category for p in drawn} == {"colors", "counting", "position"}
    assert len(draw_prompts(PROMPTS, 10, generator("draw"))) == 4
    assert len({p.id for p in draw_prompts(PROMPTS, 4, generator("draw"))}) == 4
    firsts = [draw_prompts(PROMPTS, 1, generator("draw", i))[0].id for i in range(60)]
    assert set(firsts) == {p.id for p in PROMPTS}


def test_spread_is_told_apart_from_rounding(tmp_path, monkeypatch):
    """Nine rewards of 0.1 have a deviation of some 1e-17 in floating point; that is no spread."""
    monkeypatch.setattr("htgrpo.training.learner.PATIENCE", 99)
    for size in (3, 6, 7, 9):
        line = run(tmp_path / str(size), rewards=f"{REWARD}constant", group_size=size, budget="iterations:1")[0]
        assert line["groups_without_spread"] == 2 and line["reward_std"] < 1e-12


def test_divergence_stops_with_a_sentence_and_keeps_the_log_whole(tmp_path):
    with pytest.raises(UserError, match="diverged; use a smaller lr"):
        run(tmp_path / "run", lr=1e30)
    log = tmp_path / "run" / "metrics.jsonl"
    assert not log.exists() or all("NaN" not in line for line in log.read_text().splitlines())


def test_rollouts_out_of_a_cache_are_not_trained_on(tmp_path, monkeypatch):
    """No setting leads there; the learner looks all the same."""
    monkeypatch.setattr(
        learner, "generate", lambda *arguments, **options: replace(generate(*arguments, **options), cached=True)
    )
    with pytest.raises(
        UserError, match="sampled with the ML-Cache, but training needs the policy's own log-probabilities"
    ):
        run(tmp_path)
