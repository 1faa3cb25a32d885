"""Which judge may vouch for which reward, the rule of the verdicts, and where a held-out curve turned."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from reports.findings.agreement import agreements, correlations, told
from reports.findings.analysis import analyse
from reports.findings.hacking import make_moves
from reports.findings.heldout import onset
from reports.findings.vouching import (
    AMBER,
    FAMILY,
    GREEN,
    GUARD,
    HELD,
    RED,
    RULE,
    TABLE,
    Seen,
    compare,
    in_deviations,
    overall,
    role,
    verdicts,
    wanted,
)
from reports.pages.build import build
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.statistics.stats import Interval, headline_weights
from reports.tables import judges
from tests.reports.enriched import add_benchmark, rewrite
from tests.reports.synthetic import write_run

pytestmark = pytest.mark.usefixtures("plain_figures")
ROSE, FELL = Interval(0.5, 0.4, 0.6, 0.001), Interval(-0.5, -0.6, -0.4, 0.001)
FLAT, WIDE = Interval(0.0, -0.04, 0.04, 0.9), Interval(0.1, -0.2, 0.4, 0.5)


def test_every_name_of_the_table_is_registered():
    """Rewards are scorers or rewards, judges are benchmarks, and no judge has two roles for one reward."""
    from bench.scorers.registry import SCORERS
    from htgrpo.base.registry import BENCHMARKS
    from htgrpo.training.rewards import REWARDS

    assert set(TABLE) <= {*SCORERS.names(), *REWARDS.names()}
    known = set(BENCHMARKS.names())
    for reward, row in TABLE.items():
        named = [*row.held, *row.guards, *row.shared]
        assert len(set(named)) == len(named), reward
        assert {name.partition(".")[0] for name in named} <= known, reward
    assert set(FAMILY) <= known


def test_who_vouches_for_whom():
    """The pairs of the fact sheet: same network, same preferences, same prompts."""
    assert role("geneval2", ["geneval_strict"]) == HELD and role("pickscore", ["hpsv3"]) == HELD
    assert role("deqa", ["geneval"]) == GUARD == role("unipercept.iqa", ["geneval"]) == role("hpsv3", ["geneval"])
    assert role("unipercept", ["geneval"]) == "", "the axis that guards is named"
    for judge, reward, what in (
        ("geneval_soft", "geneval", "detector"),
        ("clip", "geneval", "CLIP ViT-L/14"),
        ("hpsv2", "pickscore", "LAION"),
        ("hpsv2", "hpsv3", "HPD v2"),
        ("geneval2", "unifiedreward", "Qwen3-VL"),
        ("vqascore_qwen3vl", "unifiedreward", "Qwen3-VL"),
        ("geneval", "clip", "CLIP"),
    ):
        assert role(judge, [reward]).startswith("not held out (") and what in role(judge, [reward])
    assert role("pickscore", ["hpsv3", "pickscore"]).startswith("not held out"), "of several rewards each counts"
    assert role("hpsv3", ["geneval", "imagereward"]) == GUARD and role("imagereward", ["hpsv3", "imagereward"]) != HELD
    assert role("geneval2", ["my_reward"]) == role("text", ["hpsv3"]) == role("geneval2", []) == ""
    assert wanted(["hpsv3"])[0] == "pickscore" and wanted(["hpsv3", "pickscore"]) == ["geneval2", "imagereward"]
    assert wanted(["my_reward"]) == [] and role("dpg", ["unifiedreward.style"]) == HELD


@pytest.mark.parametrize(
    "reward, gain, p, said",
    [
        (ROSE, FELL, 0.01, (RED, "reward hacking")),
        (ROSE, FELL, 0.2, (AMBER, "undecided")),
        (ROSE, ROSE, 0.01, (GREEN, "both rose")),
        (ROSE, ROSE, 0.2, (AMBER, "undecided")),
        (ROSE, FLAT, 0.9, (AMBER, "no transfer")),
        (ROSE, WIDE, 0.5, (AMBER, "undecided")),
        (WIDE, FELL, 0.01, ("", "the trained reward did not rise, resolved")),
        (Interval(0.5), FELL, 0.01, ("", "the trained reward did not rise, resolved")),
        (ROSE, Interval(0.1, note="fewer than 20 prompts"), np.nan, ("", "fewer than 20 prompts")),
    ],
)
def test_the_rule(reward, gain, p, said):
    assert compare(reward, gain, p) == said


def seen(judge, gain, kind=HELD):
    return Seen(judge, judge.upper(), kind, gain)


def test_holm_is_over_the_judges_of_a_kind():
    weak = Interval(-0.3, -0.5, -0.1, 0.03)
    found = verdicts(ROSE, [seen("geneval2", weak), seen("deqa", weak, GUARD), seen("clip", ROSE, "not held out (x)")])
    assert [(one.seen.judge, one.p, one.colour) for one in found] == [("geneval2", 0.03, RED), ("deqa", 0.03, RED)]
    found = verdicts(ROSE, [seen("geneval2", weak), seen("dpg", Interval(-0.3, -0.5, -0.1, 0.04))])
    assert [one.p for one in found] == [0.06, 0.06] and {one.colour for one in found} == {AMBER}


def test_one_judge_on_clip_or_blip_alone_makes_nothing_red():
    def colour(*judged):
        return overall(verdicts(ROSE, [seen(*one) for one in judged]), HELD)

    assert colour(("pickscore", FELL)) == AMBER == colour(("pickscore", FELL), ("hpsv2", FELL)), "one network, one vote"
    assert colour(("pickscore", FELL), ("imagereward", FELL)) == RED == colour(("geneval2", FELL), ("pickscore", ROSE))
    assert colour(("geneval2", ROSE), ("pickscore", FELL)) == AMBER and colour(("geneval2", ROSE)) == GREEN
    assert colour(("geneval2", ROSE), ("dpg", WIDE)) == AMBER and colour() == ""
    assert overall(verdicts(WIDE, [seen("geneval2", FELL)]), HELD) == ""
    both = verdicts(ROSE, [seen("geneval2", ROSE), seen("deqa", FELL, GUARD)])
    assert (overall(both, HELD), overall(both, GUARD)) == (GREEN, RED), "kinds are counted apart"


def test_changes_are_in_deviations_of_the_starting_policy_and_for_the_better():
    base = np.array([1.0, 3.0, np.nan, 5.0])
    gain = in_deviations(Interval(1.0, 0.5, 2.0, 0.01), 1, base)
    assert (gain.estimate, gain.low, gain.high, gain.p) == (0.5, 0.25, 1.0, 0.01)
    lower = in_deviations(Interval(1.0, 0.5, 2.0, 0.01), -1, base)
    assert (lower.estimate, lower.low, lower.high) == (-0.5, -1.0, -0.25)
    same = in_deviations(Interval(1.0, 0.5, 2.0, 0.01), 1, np.ones(3))
    assert not same.known and "the same for all prompts" in same.note


def run_of(tmp_path, rewards, rising=("good", "bad"), **effects):
    root = write_run(tmp_path / "run", effects, seeds=1, prompts=40, samples=4, iterations=20, images=False)
    for method in rising:
        for path in (root / "train" / method).glob("*/metrics.jsonl"):
            rewrite(path, lambda r: {**r, "reward_mean": 0.5 + 0.02 * r["iteration"]})
    config = json.loads((root / "config.json").read_text())
    for method in effects:
        config["train"][method]["rewards"] = rewards
    (root / "config.json").write_text(json.dumps(config))
    return root


def moves_of(root):
    run = load_run(root)
    return make_moves(run, [analyse(block) for block in make_blocks(run)], None)


def test_a_run_whose_judge_falls_is_red_and_one_whose_judge_rises_is_green(tmp_path):
    root = run_of(tmp_path, "hpsv3=1", good=0.25, bad=-0.25, flat=0.0, rising=("good", "bad"))
    add_benchmark(root, "pickscore", lambda r: {**r, "score": 20 + r["score"]}, title="PickScore")
    add_benchmark(root, "geneval2", lambda r: r, title="GenEval 2")
    add_benchmark(root, "deqa", lambda r: {**r, "score": 3 - r["score"]}, title="DeQA")
    add_benchmark(root, "hpsv2", lambda r: r, title="HPSv2.1")
    good, bad, flat = moves_of(root)
    assert [overall(one.verdicts, HELD) for one in (good, bad, flat)] == [GREEN, RED, ""]
    assert [overall(one.verdicts, GUARD) for one in (good, bad)] == [RED, GREEN], "what falls there is judged apart"
    lines = judges.lines([good, bad, flat])
    assert lines[0] == "good, trained on hpsv3: green on what was asked (GenEval 2, PickScore); red on quality (DeQA)."
    assert lines[1].startswith("bad, trained on hpsv3: red on what was asked")
    assert "did not rise" in lines[2]
    table = {(row[0], row[1]): row for row in judges.rows([good, bad, flat])}
    assert table["bad", "GenEval 2"][-1] == "red: reward hacking" and table["good", "PickScore"][2] == HELD
    assert table["bad", "HPSv2.1"][2] == "not held out (HPD v2's prompts)" and table["bad", "HPSv2.1"][-1] == "–"
    assert ("bad", "GenEval (embedded world)") not in table, "of which the table says nothing"
    build(root)
    page, text = (root / "report" / "index.html").read_text(), (root / "report" / "table.md").read_text()
    assert "Held-out judges" in page and "red: reward hacking" in page
    assert "## Held-out judges" in text and "- bad, trained on hpsv3: red on what was asked" in text


@pytest.mark.parametrize("rewards", ["hpsv3=1,imagereward=0.5", "imagereward=0.5,hpsv3=1"])
def test_of_several_rewards_their_weighted_sum_decides_and_not_one_that_rose(rewards, tmp_path):
    """HPSv3 rises, ImageReward falls: whether "the reward" rose is what training itself says."""

    def trained_on(rewards, slope):
        root = run_of(tmp_path / f"{rewards}{slope}", rewards, rising=(), good=0.25)
        for path in (root / "train" / "good").glob("*/metrics.jsonl"):
            rewrite(path, lambda r: {**r, "reward_mean": 0.5 + slope * r["iteration"]})
        add_benchmark(root, "hpsv3", lambda r: r, title="HPSv3")
        add_benchmark(root, "imagereward", lambda r: {**r, "score": 3 - r["score"]}, title="ImageReward")
        add_benchmark(root, "geneval2", lambda r: r, title="GenEval 2")
        (moves,) = moves_of(root)
        return overall(moves.verdicts, HELD), {one.word for one in moves.verdicts}

    silent = ("", {"the trained reward did not rise, resolved"})
    assert trained_on(rewards, -0.02) == silent and trained_on(rewards, 0.02) == (GREEN, {"both rose"})
    assert "both rose" in trained_on("hpsv3=1", -0.02)[1], "one reward's own benchmark says so on the judges' prompts"
    assert trained_on("imagereward=1", 0.02) == silent
    assert "the weighted sum of several" in RULE


@pytest.mark.parametrize(
    "rewards, said",
    [
        ("imagereward=1", "no judge here may vouch for it; these may: pickscore, hpsv3, geneval2; no guard"),
        ("my_module:reward=1", "no table says which judge may vouch for my_module:reward."),
        ("imagereward=1,my_reward=0.5", "no table says which judge may vouch for my_reward."),
    ],
)
def test_what_is_missing_for_a_verdict_is_said(rewards, said, tmp_path):
    root = run_of(tmp_path, rewards, good=0.2, rising=("good",))
    (line,) = judges.lines(moves_of(root))
    assert said in line


def test_why_nothing_is_said_is_the_kinds_own_reason(tmp_path):
    root = run_of(tmp_path, "hpsv3=1", good=0.25, rising=("good",))
    add_benchmark(root, "geneval2", lambda r: r, title="GenEval 2")
    add_benchmark(root, "deqa", lambda r: {**r, "score": 3.0}, title="DeQA")
    (line,) = judges.lines(moves_of(root))
    assert "green on what was asked (GenEval 2)" in line
    assert "nothing to say on quality (the starting policy's scores are the same for all prompts)" in line


def test_agreement_within_prompts_is_spearmans():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"policy": "base", "prompt_id": np.repeat(np.arange(30), 4), "a": rng.integers(0, 2, 120)})
    frame["b"] = frame["a"] + rng.normal(0, 1, 120)
    found = correlations(frame["a"], frame["b"], [frame["policy"], frame["prompt_id"]])
    for (_, prompt), value in found.items():
        own = frame[frame["prompt_id"] == prompt]
        even = own["a"].nunique() == 1
        assert np.isnan(value) if even else value == pytest.approx(spearmanr(own["a"], own["b"]).statistic)
    assert found.isna().any() and found.notna().any()


def test_judges_of_one_vote_and_a_reward_that_parts_from_a_judge_are_told(tmp_path):
    root = run_of(tmp_path, "hpsv3=1", good=0.25, bad=0.25)
    shared = {"pictures": "geneval"}
    scores = {}

    def pickscore(record):
        """As HPSv3 has it, but for the pictures of `bad`."""
        key = record["image"], record["sample"]
        scores[key] = float(np.random.default_rng(sum(map(ord, key[0])) * 7919).random())
        return {**record, "score": scores[key]}

    add_benchmark(root, "pickscore", pickscore, title="PickScore", **shared)
    add_benchmark(
        root, "imagereward", lambda r: {**r, "score": 2 * scores[r["image"], r["sample"]]}, title="IR", **shared
    )
    add_benchmark(
        root,
        "hpsv3",
        lambda r: {**r, "score": scores[r["image"], r["sample"]] * (-1 if "bad-" in r["image"] else 1) + 0.5},
        title="HPSv3",
        **shared,
    )
    run = load_run(root)
    results = [analyse(block) for block in make_blocks(run)]
    moves, found = make_moves(run, results, None), agreements(run, results)
    (one,) = [one for one in found if {one.one, one.other} == {"PickScore", "HPSv3"}]
    assert one.start == pytest.approx(1.0) == one.at["good"] and one.at["bad"] == pytest.approx(-1.0)
    lines = told(found, moves)
    assert lines[0].startswith("Agreement within prompts of the starting policy: ")
    assert any("IR" in line and "count them as one vote" in line for line in lines)
    parted = [line for line in lines if "they tell different pictures apart now" in line]
    assert len(parted) == 2 and all(line.startswith("bad: HPSv3, which was trained on, and ") for line in parted)


def curve_of(levels, noise=0.1, prompts=40):
    rng = np.random.default_rng(0)
    own = rng.normal(0, 1, prompts)
    return {at: own + level + rng.normal(0, noise, prompts) for at, level in levels.items()}


def test_the_onset_is_the_first_checkpoint_that_fell_while_the_reward_rose():
    category = np.arange(40) % 2
    weights = headline_weights(category, "category_mean")
    rising = pd.Series(np.linspace(0, 1, 40), index=range(1, 41))
    levels = {0: 0.0, 10: 0.5, 20: 0.48, 30: 0.2, 40: 0.0}
    best, now, fall = onset(curve_of(levels), category, weights, rising)
    assert (best, now) == (10, 30) and fall == pytest.approx(0.3, abs=0.06)
    assert onset(curve_of(levels), category, weights, -rising) is None, "the reward fell as well"
    assert onset(curve_of(levels, noise=3.0), category, weights, rising) is None, "within the noise"
    assert onset(curve_of({0: 0.0, 10: 0.1, 20: 0.2}), category, weights, rising) is None
    assert onset(curve_of({0: 0.5, 20: 0.0, 40: -1.0}), category, weights, rising)[:2] == (0, 20)
    assert onset(curve_of(levels), category, weights, pd.Series(dtype=float)) is None


def test_honest_trainings_are_rarely_said_to_turn():
    """Of 300 curves that rise and then stand, with 8 checkpoints on 48 prompts that are right or wrong, one in twenty at most."""
    rng, category = np.random.default_rng(5), np.arange(48) % 6
    weights = headline_weights(category, "category_mean")
    rising = pd.Series(np.linspace(0, 1, 40), index=range(1, 41))
    share = np.array([0.25, 0.3, 0.35, *[0.38] * 5])
    turned = 0
    for _ in range(300):
        hard = rng.normal(0, 0.15, 48)
        rights = {5 * n: (rng.random(48) < np.clip(s + hard, 0, 1)).astype(float) for n, s in enumerate(share)}
        turned += onset(rights, category, weights, rising) is not None
    assert turned <= 15
