"""Scorers as training rewards, seen from htgrpo: found by name, checked, loaded, tested, scaled, failed, recorded and
let go."""

import json
import math

import pytest
import torch

from baselines.pretrain import Pretrain
from bench.judge.images import _save
from bench.scorers import rewards, servers
from bench.scorers.base import Judged
from bench.scorers.registry import SCORERS
from bench.scorers.servers import URLS
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt
from htgrpo.training.rewards import WeightedReward, find_reward, reward_names
from tests.htgrpo.test_plugin import install
from tests.htgrpo.training import run
from tests.scorers.brightness import url
from tests.scorers.made_scorer import EVENTS, Made

PROMPTS = [Prompt("a", "red circle", "colors", {"n": 3}), Prompt("b", "blue", "colors", {"n": 5})]
IMAGES = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 0.8)])


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch):
    """A package that registers scorers and nothing else."""
    install(
        tmp_path / "site",
        "made",
        {
            "htgrpo.scorers": {
                "made": "tests.scorers.made_scorer:Made",
                "specified": "tests.scorers.made_scorer:Specified",
            }
        },
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    SCORERS.__dict__.pop("_entries", None)
    monkeypatch.setenv("MADE_WEIGHTS", "revision-1")
    monkeypatch.setenv(URLS, "")
    EVENTS.clear()
    yield
    SCORERS.__dict__.pop("_entries", None)
    assert not rewards._loaded and not any(rewards._holders.values()), (
        "a test that leaves a scorer behind proves nothing"
    )


@pytest.fixture
def started():
    """Rewards of a setting, ready, and let go at the end."""
    kept = []

    def start(spec, **options):
        kept.append(WeightedReward(spec, **options))
        kept[-1].start(torch.device("cpu"))
        return kept[-1]

    yield start
    for one in kept:
        one.close()


def test_every_scorer_is_a_reward_and_needs_no_second_registration():
    assert {
        "hpsv3", "clip", "unifiedreward", "imagereward", "deqa", "unipercept", "geneval", "geneval_strict", "made",
        "objects", "pickscore", "hpsv2", "hpsv2_aliased",
    } <= set(reward_names())  # fmt: skip
    with pytest.raises(UserError, match="unknown reward 'mad': did you mean 'made'"):
        find_reward("mad")
    assert find_reward("unipercept.iqa").key == "iqa" and not EVENTS, "finding loads nothing"


def test_the_reward_is_the_score_times_its_scale(started):
    batch = started("made=2")(PROMPTS, IMAGES)
    assert batch.parts["made"].tolist() == pytest.approx([0.51, 2.04])
    assert batch.total.tolist() == pytest.approx([1.02, 4.08])


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("hpsv3", 0.2), ("unifiedreward", 0.2), ("deqa", 0.2), ("clip", 1.0), ("geneval", 1.0), ("imagereward", 1.0),
        ("unipercept", 0.01), ("pickscore", 1 / 26), ("hpsv2", 1.0), ("hpsv2_aliased", 1.0),
    ],
)  # fmt: skip
def test_scales_are_those_trainers_were_given(name, scale):
    """HPSv3's mu / 5, UnifiedReward's score / 5, CLIP's cosine and GenEval's partial credit as they are."""
    assert SCORERS.get(name).reward_scale == scale


def test_a_number_of_the_evidence(started):
    red = IMAGES.clone()
    red[:, 1:] = 0
    assert started("made.red")(PROMPTS, red).total.tolist() == pytest.approx([0.51, 2.04])
    wrong = started("made.word")(PROMPTS, red)
    assert torch.isnan(wrong.total).all()


def test_a_picture_that_cannot_be_judged_is_nan_never_zero(started, monkeypatch):
    monkeypatch.setattr(Made, "dark", 100)
    reward = started("made")
    assert not math.isfinite(reward(PROMPTS, IMAGES).total[0]) and reward.reasons() == {"made": "too dark"}
    assert reward(PROMPTS[1:], IMAGES[1:]).total.tolist() == pytest.approx([2.04]) and reward.reasons() == {}
    broken = torch.stack([IMAGES[1], torch.full((3, 4, 4), math.nan)])
    assert torch.isfinite(reward(PROMPTS, broken).total).tolist() == [True, False]
    assert "not finite" in reward.reasons()["made"]


def test_it_is_loaded_once_and_let_go_with_the_last_reward():
    one, two = WeightedReward("made,made.red"), WeightedReward("made")
    one.start(torch.device("cpu"))
    two.start(torch.device("cpu"))
    for _ in range(2):
        one(PROMPTS, IMAGES)
    assert EVENTS == [("load", "cpu")]
    one.close()
    one.close()
    assert EVENTS == [("load", "cpu")]
    two.close()
    assert EVENTS == [("load", "cpu"), ("close",)]


def test_a_scorer_that_fails_its_own_test_is_not_trusted(monkeypatch):
    monkeypatch.setenv("MADE_FAILS", "1")
    with pytest.raises(
        UserError, match="made is not to be trusted: made does not find that light is lighter than dark"
    ):
        WeightedReward("made").start(torch.device("cpu"))
    assert EVENTS == [("load", "cpu"), ("close",)]


def test_checking_loads_nothing_and_names_what_is_missing(monkeypatch):
    WeightedReward("made,specified").check(PROMPTS)
    assert not EVENTS
    with pytest.raises(
        UserError, match="'specified' cannot judge pictures of the training prompt 'c', 'dog': it has no n"
    ):
        WeightedReward("specified").check([*PROMPTS, Prompt("c", "dog", "", {})])
    monkeypatch.delenv("MADE_WEIGHTS")
    with pytest.raises(UserError, match="run `hf download made/made`"):
        WeightedReward("made").check(PROMPTS)
    with pytest.raises(UserError, match="embedded worlds only, but the training prompt 'a'"):
        WeightedReward("objects").check(PROMPTS)


def test_specifications_go_to_those_who_read_them(started):
    assert started("specified")(PROMPTS, IMAGES).parts["specified"].tolist() == pytest.approx([0.03, 0.05])


def test_a_scorer_on_a_server_rewards(brightness_server, started, monkeypatch):
    """A server may bring a name that nobody registers here."""
    servers.use_servers([f"brightness={url(brightness_server)}"])
    assert "brightness" in reward_names()
    reward = started("brightness=1")
    reward.check(PROMPTS)
    assert reward(PROMPTS, IMAGES).total.tolist() == pytest.approx([25.5, 102.0])
    assert reward.identities()["brightness"] == {
        "weight": 1.0, "name": "brightness", "version": "3", "weights_revision": "abc", "dtype": "float32",
        "scale": 0.5, "on_server": True,
    }  # fmt: skip
    monkeypatch.setenv(URLS, "")
    with pytest.raises(UserError, match="unknown reward 'brightness'"):
        find_reward("brightness")


@pytest.mark.parametrize(
    "texts", [["made"], ["made="], ["=http://a"], ["made=http://a", "made=http://b"], ["made=http://a b"]]
)
def test_addresses_that_are_none(texts):
    with pytest.raises(UserError, match="--scorer-url is|twice"):
        servers.use_servers(texts)


def test_a_training_is_rewarded_by_a_scorer_and_says_so(tmp_path, monkeypatch):
    """Loaded before the first rollout and let go at the end; recorded beside the metrics; another one is refused later
    on."""
    phases = []
    lines = run(
        tmp_path / "a", rewards="made=2", budget="iterations:4", on_progress=lambda event: phases.append(event["phase"])
    )
    assert phases[0] == "load rewards" and phases[1] == "rollout" and EVENTS == [("load", "cpu"), ("close",)]
    assert all(line["reward/made"] * 2 == pytest.approx(line["reward_mean"]) for line in lines)
    recorded = json.loads((tmp_path / "a" / "rewards.json").read_text())
    assert recorded == {
        "made": {
            "weight": 2.0, "name": "made", "version": "1", "weights_revision": "revision-1", "dtype": "float32",
            "scale": 0.01, "on_server": False,
        },
    }  # fmt: skip

    def interrupt(event):
        if event["iteration"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", rewards="made=2", budget="iterations:4", on_progress=interrupt)
    assert EVENTS[-1] == ("close",)
    monkeypatch.setenv("MADE_WEIGHTS", "revision-2")
    with pytest.raises(UserError, match="was rewarded with made = .*revision-1.*revision-2.*bring the same scorer"):
        run(tmp_path / "b", rewards="made=2", budget="iterations:4")


def test_failed_judgements_drop_pictures_and_whole_groups(tmp_path, monkeypatch):
    """Pictures that fail are dropped with a count and the reason; a group with fewer than two is skipped."""
    monkeypatch.setattr(Made, "dark", 128)
    lines = run(tmp_path, rewards="made", group_size=2, prompts_per_iteration=4, budget="iterations:6")
    assert any(line["images_dropped"] for line in lines) and any(line["groups"] < 4 for line in lines)
    for line in lines:
        assert line.get("failed/made", 0) == line["images_dropped"]
        assert ("failure" in line) == bool(line["images_dropped"])
        assert line.get("failure", "made: too dark") == "made: too dark"
        assert line.get("forwards_old", 0) == line["groups"], "a group that is skipped is not trained on"


def test_a_scorer_that_only_fails_stops_the_training_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Made, "dark", 256)
    with pytest.raises(UserError, match=r"no picture of iteration 1 has a reward.*\(made: too dark\)"):
        run(tmp_path, rewards="made")
    assert EVENTS[-1] == ("close",)


def test_a_method_without_rewards_loads_none(tmp_path, monkeypatch):
    class Learner:
        def iteration(self, number, on_phase):
            raise RuntimeError("got this far")

    monkeypatch.setattr(Pretrain, "learner", lambda self, setup: Learner())
    with pytest.raises(RuntimeError, match="got this far"):
        run(tmp_path, rewards="made", method="pretrain", method_options={})
    assert not EVENTS and not (tmp_path / "rewards.json").exists()


def test_pictures_are_what_is_saved(tmp_path, monkeypatch, started):
    """The scorer sees the pixels of the PNG file that generation would write of the same image."""
    from PIL import Image

    image = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0))
    _save(tmp_path, PROMPTS[0], 0, image, tmp_path / "notes", {})
    (file,) = tmp_path.glob("*.png")
    seen = []
    monkeypatch.setattr(
        Made, "score", lambda self, images, prompts: seen.extend(images) or [Judged.failed("seen")] * len(images)
    )
    monkeypatch.setattr(Made, "self_test", lambda self: [])
    started("made")(PROMPTS[:1], image[None])
    assert seen[0].tobytes() == Image.open(file).tobytes()
