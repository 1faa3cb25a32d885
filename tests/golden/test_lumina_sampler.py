"""Lumina-DiMOO's sampler by itself: counts, confidence, the temperature of its draws, and its options."""

import math

import pytest
import torch
from scipy.stats import chisquare

from htgrpo.base.errors import UserError
from htgrpo.base.options import build
from htgrpo.base.registry import SAMPLERS
from htgrpo.base.rng import generator
from htgrpo.rollout import _draw
from htgrpo.samplers import Draws, Emerge, Lumina, MaskGIT, RandomOrder


def draws(steps, slots, images):
    return Draws.make([generator("lumina", i) for i in range(images)], steps, slots)


def log_probs(candidates, seed):
    return torch.where(candidates, -5 * torch.rand(candidates.shape, generator=generator("log p", seed)), -math.inf)


def test_it_is_registered_with_upstreams_defaults():
    assert SAMPLERS.get("lumina") is Lumina and Lumina() == Lumina(steps=64, temperature=1.0)
    assert Lumina(temperature=0.3).code_temperature == 0.3
    assert [sampler(4).code_temperature for sampler in (RandomOrder, Emerge, MaskGIT)] == [1.0] * 3


@pytest.mark.parametrize(("slots", "steps"), [(64, 8), (64, 12), (36, 64), (9, 4), (4, 9), (1, 1), (1, 3), (5, 1)])
def test_counts(slots, steps):
    """max(1, floor(N cos)) slots stay masked, but always one fewer than before; none after the last step."""
    sampler, d, hidden, unknown = Lumina(steps), draws(steps, slots, 3), torch.ones(3, slots, dtype=torch.bool), slots
    for step in range(steps):
        candidates = sampler.candidates(step, hidden, d)
        assert torch.equal(candidates, hidden)
        keep = sampler.keep(step, candidates, log_probs(candidates, step), d)
        assert not (keep & ~candidates).any()
        hidden = hidden & ~keep
        wanted = (
            max(1, math.floor(slots * math.cos(math.pi / 2 * (step + 1) / steps) - 1e-6)) if step < steps - 1 else 0
        )
        unknown = max(0, min(wanted, unknown - 1))
        assert hidden.sum(1).tolist() == [unknown] * 3
    assert unknown == 0


@pytest.mark.parametrize("temperature", [0.0, 0.4, 2.0])
def test_the_least_confident_are_masked_again(temperature):
    """log p + temperature x Gumbel noise at every step alike, worked out slot by slot."""
    sampler, d = Lumina(6, temperature), draws(6, 12, 3)
    candidates = torch.rand(3, 12, generator=generator("known")) < 0.8
    for step in (1, 4):
        log_prob = log_probs(candidates, step)
        keep = sampler.keep(step, candidates, log_prob, d)
        for image in range(3):
            confidence = {
                s: float(log_prob[image, s]) - temperature * math.log(-math.log(float(d.order[image, step, s])))
                for s in range(12)
                if candidates[image, s]
            }
            count = min(len(confidence) - 1, math.floor(12 * math.cos(math.pi / 2 * (step + 1) / 6)))
            remasked = sorted(confidence, key=confidence.get)[:count]
            assert keep[image].nonzero()[:, 0].tolist() == sorted(set(confidence) - set(remasked))


def test_a_finished_image_beside_an_unfinished_one():
    candidates = torch.tensor([[False] * 4, [True, False, True, True]])
    keep = Lumina(50).keep(10, candidates, log_probs(candidates, 0), draws(50, 4, 2))
    assert keep.sum(1).tolist() == [0, 1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_codes_are_drawn_at_the_temperature(temperature):
    """Frequencies and entropies are of softmax(logits / temperature), log-probabilities of softmax(logits)."""
    logits, count = torch.tensor([[0.3, -1.2, 1.5, 0.0, -0.4]]), 20_000
    uniforms = torch.rand(count, generator=generator("u"), dtype=torch.float64)
    codes, log_prob, entropy = _draw(logits.expand(count, -1), uniforms, temperature)
    wanted = (logits[0].double() / temperature).softmax(-1)
    assert chisquare(torch.bincount(codes, minlength=5).numpy(), (wanted / wanted.sum() * count).numpy()).pvalue > 1e-4
    assert torch.allclose(log_prob, logits[0].log_softmax(-1)[codes])
    assert torch.allclose(entropy.double(), -(wanted * wanted.log()).sum().expand(count), atol=1e-5)


def test_temperature_zero_takes_the_likeliest_code():
    logits = torch.randn(50, 7, generator=generator("z"))
    codes, log_prob, entropy = _draw(logits, torch.rand(50, generator=generator("u"), dtype=torch.float64), 0.0)
    assert torch.equal(codes, logits.argmax(-1)) and torch.equal(entropy, torch.zeros(50))
    assert torch.allclose(log_prob, logits.log_softmax(-1).max(-1).values)


@pytest.mark.parametrize("kind", [Lumina, MaskGIT])
def test_a_negative_temperature_is_refused(kind):
    with pytest.raises(UserError, match="temperature is -0.5, but it must be 0 or more"):
        build(kind, {"temperature": "-0.5"}, "sampler")
    with pytest.raises(UserError, match="steps is 0, but it must be at least 1"):
        kind(steps=0)
