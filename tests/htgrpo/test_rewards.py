"""Rewards: the call shape TRL knows, weights, what does not apply, what failed, and clear refusals."""

import math

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt, prompt_set_sha256
from htgrpo.training.rewards import WeightedReward, find_reward, parse_weights

PATH = "tests.htgrpo.reward_functions:"
PROMPTS = [
    Prompt("a", "red circle", "colors", {"size": 1}),
    Prompt("b", "blue square", "colors", {"size": 2}),
    Prompt("c", "red square", "colors", {"size": 3}),
]
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BRIGHT = IMAGES.double().mean((1, 2, 3)).tolist()


def names(*pairs):
    """A rewards setting of functions of this package."""
    return ",".join(f"{PATH}{name}" for name in pairs)


def test_weights():
    assert parse_weights("objects=1, tidiness=0.5,relations") == {"objects": 1.0, "tidiness": 0.5, "relations": 1.0}
    assert parse_weights("m.n:f=-2,") == {"m.n:f": -2.0}


@pytest.mark.parametrize("spec", ["objects=much", "objects=nan", "objects=inf", "", " , ", "objects=1=2"])
def test_weights_that_are_none(spec):
    with pytest.raises(UserError) as error:
        parse_weights(spec)
    assert "name=weight" in str(error.value) and "\n" not in str(error.value)


def test_the_weighted_sum():
    batch = WeightedReward(names("brightness=2", "spec_size=0.5"))(PROMPTS, IMAGES)
    assert batch.total.tolist() == pytest.approx(
        [2 * b + 0.5 * s for b, s in zip(BRIGHT, (1, 2, 3), strict=True)], abs=1e-6
    )
    assert batch.total.dtype == torch.float64
    assert batch.parts[PATH + "spec_size"].tolist() == [1.0, 2.0, 3.0]


def test_none_is_left_out_and_nan_drops_the_image():
    batch = WeightedReward(names("brightness", "redness=0"))(PROMPTS, IMAGES)
    assert batch.total.tolist() == pytest.approx(BRIGHT, abs=1e-6)
    assert math.isnan(batch.parts[PATH + "redness"][1])
    alone = WeightedReward(names("redness"))(PROMPTS, IMAGES).total
    assert torch.isfinite(alone).tolist() == [True, False, True], "an image no reward applies to has none"
    failed = WeightedReward(names("brightness", "patchy"))(PROMPTS, IMAGES).total
    assert int(torch.isnan(failed).sum()) == 2
    weightless = WeightedReward(names("broken=0", "brightness"))(PROMPTS, IMAGES).total
    assert torch.isnan(weightless).all(), "failed is failed at any weight"


def test_infinite_rewards_count_as_failed(monkeypatch):
    monkeypatch.setattr("tests.htgrpo.reward_functions.constant", lambda **given: [math.inf, 1.0, -math.inf])
    assert torch.isfinite(WeightedReward(names("constant"))(PROMPTS, IMAGES).total).tolist() == [False, True, False]


def test_normalising_makes_spreads_equal():
    plain = WeightedReward(names("brightness", "spec_size"), normalise=True)(PROMPTS, IMAGES)
    b, s = torch.tensor(BRIGHT, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    wanted = (b - b.mean()) / (b.std() + 1e-5) + (s - s.mean()) / (s.std() + 1e-5)
    assert plain.total.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    assert plain.parts[PATH + "spec_size"].tolist() == [1.0, 2.0, 3.0], "parts stay as they were answered"


def test_a_function_is_called_as_trl_calls_it(monkeypatch):
    """Keywords only: prompts as texts, completions as pictures, specs; whatever else a caller adds is its own
    affair."""
    seen = {}

    def spy(**given):
        seen.update(given)
        return [0.0] * 3

    monkeypatch.setattr("tests.htgrpo.reward_functions.constant", spy)
    WeightedReward(names("constant"))(PROMPTS, IMAGES)
    assert set(seen) == {"prompts", "completions", "specs"}
    assert seen["prompts"] == [p.text for p in PROMPTS] and seen["specs"] == [p.spec for p in PROMPTS]
    assert seen["completions"] is IMAGES


def test_a_wrong_number_of_answers_is_refused():
    with pytest.raises(UserError, match="answered 2 values for 3 images"):
        WeightedReward(names("short"))(PROMPTS, IMAGES)


@pytest.mark.parametrize(
    "name", ["no.such.module:f", PATH + "no_such_function", ":f", ".relative:f", "torch:", PATH + "NOT_A_FUNCTION"]
)
def test_import_paths_that_lead_nowhere(name):
    with pytest.raises(UserError, match="reward .* cannot be imported|is not a function") as error:
        find_reward(name)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_registered():
    with pytest.raises(UserError, match="unknown reward 'objekts': did you mean 'objects'"):
        find_reward("objekts")


def test_a_prompt_set_has_one_identity():
    """Order, ids, texts, categories and specifications all count; equal sets agree."""
    base = prompt_set_sha256(PROMPTS)
    assert base == prompt_set_sha256([Prompt(p.id, p.text, p.category, dict(p.spec)) for p in PROMPTS])
    assert len(base) == 64
    changed = [PROMPTS[::-1], PROMPTS[:2], [*PROMPTS[:2], Prompt("c", "red square", "colors", {"size": 4})]]
    assert len({base, *map(prompt_set_sha256, changed)}) == 4
