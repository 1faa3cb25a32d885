"""Samplers as pure functions of uniforms: how many slots, which ones, and at what temperature."""

import math

import pytest
import torch

from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from htgrpo.samplers import Draws, Emerge, MaskGIT, RandomOrder, cosine


def draws(steps, slots, images=1, seed=0):
    """Draws of several images."""
    return Draws.make([generator("sampler", seed, i) for i in range(images)], steps, slots)


def reveal(sampler, slots, images=1, seed=0):
    """Runs a sampler without a network, log-probabilities drawn at random: int64 [B, N] reveal steps."""
    d = draws(sampler.steps, slots, images, seed)
    step_of = torch.full((images, slots), -1)
    for step in range(sampler.steps):
        hidden = step_of < 0
        candidates = sampler.candidates(step, hidden, d)
        assert not (candidates & ~hidden).any(), "revealed slots never change"
        log_prob = torch.where(candidates, -5 * torch.rand(images, slots, generator=generator(step)), -math.inf)
        keep = sampler.keep(step, candidates, log_prob, d)
        assert not (keep & ~candidates).any()
        step_of[keep] = step
    return step_of


def test_draws_belong_to_their_image():
    """An image's uniforms do not depend on its batch, and have one place per slot and step."""
    whole = draws(5, 7, images=4)
    assert whole.code.shape == whole.order.shape == (4, 5, 7) and whole.tie.shape == (4, 7)
    alone = Draws.make([generator("sampler", 0, 2)], 5, 7)
    for name in ("code", "order", "tie"):
        assert torch.equal(getattr(whole, name)[2], getattr(alone, name)[0])
        assert float(getattr(whole, name).min()) >= 0 and float(getattr(whole, name).max()) < 1


def test_cosine_schedule():
    assert [cosine(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, math.sqrt(0.5), 0.0], abs=1e-15)
    assert cosine(1.0) == 0.0


@pytest.mark.parametrize(("slots", "steps"), [(64, 8), (64, 12), (9, 4), (4, 9), (1, 3), (5, 1)])
def test_random_order_keeps_floor_n_cos_masked(slots, steps):
    revealed = reveal(RandomOrder(steps), slots, images=6)
    for step in range(steps):
        masked = math.floor(slots * math.cos(math.pi / 2 * (step + 1) / steps)) if step + 1 < steps else 0
        assert (revealed > step).sum(1).tolist() == [masked] * 6
    if slots == 64:
        assert not torch.equal(revealed[0], revealed[1]), "each image has its own order"


def test_random_order_is_uniform_over_slots():
    revealed = reveal(RandomOrder(4), 8, images=2000)
    first = (revealed == 0).double().mean(0) * 8 / 1  # floor(8 cos(pi / 8)) = 7 stay masked
    assert float((first - 1).abs().max()) < 4.5 * (7 / 2000) ** 0.5


def test_emerge_reveals_at_the_published_rates():
    """Cumulative means for N = 1024 and T = 12 (sheet 5.2), and everything by the last step."""
    revealed = reveal(Emerge(12), 1024, images=60)
    cumulative = [float((revealed <= s).double().sum(1).mean()) for s in range(12)]
    for found, wanted in zip(cumulative, (9, 35, 78, 137, 212, 300, 401), strict=False):
        assert abs(found - wanted) < 4.5 * math.sqrt(wanted / 60) + 0.5
    assert abs(1024 - cumulative[-2] - 134) < 6 and cumulative[-1] == 1024
    assert len({int((r == 3).sum()) for r in revealed}) > 5, "counts are random"


@pytest.mark.parametrize(
    "sampler", [Emerge(1), Emerge(7), RandomOrder(7), MaskGIT(7), MaskGIT(1), MaskGIT(20)], ids=repr
)
def test_everything_is_revealed_at_the_last_step(sampler):
    for slots in (1, 2, 9):
        revealed = reveal(sampler, slots, images=5)
        assert int(revealed.min()) >= 0 and int(revealed.max()) < sampler.steps


def test_maskgit_temperatures():
    """Upstream multiplies in place, so that the temperature falls with the product of all (1 - t) (sheet 5.1)."""
    compound = MaskGIT(15, anneal="compound").temperatures()
    assert compound[:7] == pytest.approx([0.93, 0.81, 0.65, 0.47, 0.32, 0.19, 0.10], abs=0.01)
    assert compound == pytest.approx([math.prod(1 - (i + 1) / 15 for i in range(s + 1)) for s in range(15)])
    assert MaskGIT(15, anneal="linear").temperatures()[:3] == pytest.approx([14 / 15, 13 / 15, 12 / 15])
    assert MaskGIT(4, temperature=2.0, anneal="linear").temperatures() == pytest.approx([1.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize(("slots", "steps"), [(64, 12), (64, 18), (9, 4), (4, 9), (2, 6)])
def test_maskgit_counts(slots, steps):
    """mask_len = floor(N cos) clamped to [1, unknown - 1], and at least 1; the last step reveals the rest. cos(pi / 3)
    is a little below a half, as in upstream's fp32 (tests/golden)."""
    revealed = reveal(MaskGIT(steps), slots, images=4)
    unknown = slots
    for step in range(steps):
        length = max(1, min(unknown - 1, math.floor(slots * cosine((step + 1) / steps) - 1e-6)))
        left = length if step < steps - 1 else 0
        assert (revealed > step).sum(1).tolist() == [left] * 4
        unknown = left


@pytest.mark.parametrize("anneal", ["compound", "linear"])
def test_maskgit_remasks_the_least_confident(anneal):
    """The kept slots are those of largest log p + temperature x Gumbel noise, worked out slot by slot."""
    sampler, slots, step = MaskGIT(6, temperature=0.7, anneal=anneal), 12, 2
    d = draws(6, slots, images=3)
    candidates = torch.rand(3, slots, generator=generator("known")) < 0.8
    log_prob = torch.where(
        candidates, -3 * torch.rand(3, slots, generator=generator("p"), dtype=torch.float64), -math.inf
    )
    keep = sampler.keep(step, candidates, log_prob, d)
    temperature = 0.7 * (math.prod((5 / 6, 4 / 6, 3 / 6)) if anneal == "compound" else 3 / 6)
    for image in range(3):
        confidence = {
            s: float(log_prob[image, s]) - temperature * math.log(-math.log(float(d.order[image, step, s])))
            for s in range(slots)
            if candidates[image, s]
        }
        length = max(1, min(len(confidence) - 1, math.floor(slots * cosine(0.5))))
        remasked = sorted(confidence, key=confidence.get)[:length]
        assert keep[image].nonzero()[:, 0].tolist() == sorted(set(confidence) - set(remasked))


@pytest.mark.parametrize("sampler", [RandomOrder, Emerge, MaskGIT])
def test_a_sampler_needs_a_step(sampler):
    with pytest.raises(UserError, match="steps is 0, but it must be at least 1"):
        sampler(steps=0)
