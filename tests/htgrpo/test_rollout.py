"""Rollouts: replayed by brute force, whatever the batch; ranks, guidance, distribution, cost, and private
randomness."""

import random

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN
from htgrpo.policies.llada import LLaDA
from htgrpo.rollout import _draw, generate, reveal_order, rollout_net
from htgrpo.samplers import Draws, Emerge, MaskGIT, RandomOrder
from tests.htgrpo.oracle import log_table, reference_logits, sequence
from tests.htgrpo.tiny import LAYOUTS, LONG, SHORT, tiny_policy

SAMPLERS = [RandomOrder(4), Emerge(4), MaskGIT(4), MaskGIT(3, anneal="linear", temperature=0.5)]
TEXTS = [LONG, SHORT, LONG, "red circle", "", SHORT, LONG]


def rollouts(policy, sampler, texts=TEXTS, guidance=1.5, limit=10**6, **options):
    """Images of `texts`, keyed by their position."""
    prompts = [policy.prompt(text) for text in texts]
    keys = [("image", i) for i in range(len(texts))]
    return generate(policy, prompts, keys, sampler, guidance, tokens_per_forward=limit, **options)


def guided(policy, prompt, codes, guidance, none=None):
    """(1 + g) conditional - g unconditional logits [N, codebook], from two separate forwards."""

    def logits(ids):
        whole, slots = sequence(policy, ids, codes, policy.backbone.grid)
        return reference_logits(policy.net, whole)[slots][:, policy.backbone.image_columns]

    return (1 + guidance) * logits(prompt) - guidance * logits(none or policy.unconditional())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("guidance", [0.0, 2.0])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@torch.no_grad()
def test_a_rollout_replayed_by_hand(sampler, guidance, layout):
    """Every revealed code is the inverse-CDF draw of its step's uniform under the guided distribution given what was
    visible then, and its entropy is that distribution's."""
    policy = tiny_policy(5, layout)
    found = rollouts(policy, sampler, TEXTS[:3], guidance)
    draws = Draws.make([generator("image", i) for i in range(3)], sampler.steps, 6)
    for i, text in enumerate(TEXTS[:3]):
        for step in range(sampler.steps):
            seen = torch.where(found.reveal_step[i] < step, found.codes[i], HIDDEN).tolist()
            log_p = guided(policy, policy.prompt(text), seen, guidance).log_softmax(-1)
            for slot in (found.reveal_step[i] == step).nonzero()[:, 0].tolist():
                cdf = log_p[slot].exp().cumsum(0)
                assert int(found.codes[i, slot]) == int((cdf <= draws.code[i, step, slot]).sum())
                assert float(found.entropy[i, slot]) == pytest.approx(
                    -float((log_p[slot].exp() * log_p[slot]).sum()), abs=1e-5
                )
            if isinstance(sampler, MaskGIT) and step < sampler.steps - 1:
                hidden = found.reveal_step[i] >= step
                drawn = (log_p.exp().cumsum(1) <= draws.code[i, step][:, None]).sum(1)
                log_prob = torch.where(hidden, log_p.gather(1, drawn[:, None])[:, 0], -torch.inf)
                one = Draws(draws.code[i : i + 1], draws.order[i : i + 1], draws.tie[i : i + 1])
                assert torch.equal(
                    sampler.keep(step, hidden[None], log_prob[None], one)[0], found.reveal_step[i] == step
                )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_batches_cannot_change_an_image(sampler, layout):
    """One, two, three images at a time, all at once, or an image quite alone."""
    policy = tiny_policy(5, layout)
    whole = rollouts(policy, sampler)
    for limit in (1, 70, 110, 200):
        parts = rollouts(policy, sampler, limit=limit)
        for name in ("codes", "reveal_step", "rank"):
            assert torch.equal(getattr(whole, name), getattr(parts, name))
        assert torch.allclose(whole.entropy, parts.entropy, atol=1e-5)
    alone = generate(policy, [policy.prompt(TEXTS[3])], [("image", 3)], sampler, 1.5)
    assert torch.equal(alone.codes[0], whole.codes[3]) and torch.equal(alone.rank[0], whole.rank[3])


def test_progress_is_told_after_every_chunk():
    seen = []
    rollouts(tiny_policy(5), RandomOrder(2), limit=1, on_images=seen.append)
    assert seen == list(range(1, 8))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_ranks_are_permutations_that_follow_the_steps(sampler):
    found = rollouts(tiny_policy(5, grid=(3, 3)), sampler)
    assert torch.equal(found.rank.sort(1)[0], torch.arange(1, 10).expand(7, 9))
    for rank, steps in zip(found.rank.tolist(), found.reveal_step.tolist(), strict=True):
        in_order = [step for _, step in sorted(zip(rank, steps, strict=True))]
        assert in_order == sorted(in_order)
    assert int(found.codes.min()) >= 0 and int(found.codes.max()) < 6


def test_ranks_within_a_step_are_shuffled_not_raster():
    """Within one step every slot comes first about equally often."""
    tie = torch.rand(4000, 5, generator=generator("tie"), dtype=torch.float64)
    first = (reveal_order(torch.zeros(4000, 5, dtype=torch.long), tie) == 1).sum(0)
    assert chisquare(first.numpy()).pvalue > 1e-4
    assert reveal_order(torch.tensor([[1, 0, 1, 0]]), torch.tensor([[0.9, 0.8, 0.1, 0.2]])).tolist() == [[4, 2, 3, 1]]


@torch.no_grad()
def test_codes_follow_the_policys_distribution():
    """One step: each slot's codes over many images against the guided probabilities (chi-square)."""
    policy, images = tiny_policy(6, grid=(2, 2), codebook=5), 2500
    found = generate(policy, [policy.prompt(SHORT)] * images, [("chi", i) for i in range(images)], RandomOrder(1), 1.0)
    wanted = guided(policy, policy.prompt(SHORT), [HIDDEN] * 4, 1.0).softmax(-1) * images
    for slot in range(4):
        counts = np.bincount(found.codes[:, slot].numpy(), minlength=5)
        frequent = (wanted[slot] >= 5).numpy()
        observed = [*counts[frequent], counts[~frequent].sum()]
        expected = [*wanted[slot].numpy()[frequent], float(wanted[slot].numpy()[~frequent].sum())]
        keep = [i for i, e in enumerate(expected) if e > 1]
        total = sum(expected[i] for i in keep)
        scaled = [expected[i] * sum(observed[j] for j in keep) / total for i in keep]
        assert chisquare([observed[i] for i in keep], scaled).pvalue > 1e-4


def test_a_draw_never_takes_a_code_of_probability_zero():
    """Uniforms at both ends of [0, 1), codes of no mass first, last and in between."""
    logits = torch.tensor([[-300.0, 1.0, -300.0, 2.0, -300.0]]).expand(4, 5)
    uniforms = torch.tensor([0.0, 1e-300, 1 - 2**-53, 1 - 2**-25], dtype=torch.float64)
    codes, log_prob, entropy = _draw(logits, uniforms)
    assert codes.tolist() == [1, 1, 3, 3]
    assert torch.isfinite(entropy).all() and (log_prob > -2).all()


@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("limit", [1, 120, 10**6])
def test_forwards_are_counted_and_step_zero_is_shared(guidance, limit, monkeypatch):
    """At step 0 equal prompts are one sequence, and so is their unconditional row, whatever they are sampled with; later
    steps run every row."""
    policy, ran, calls = tiny_policy(5), [], []
    forward = LLaDA.forward

    def counted(self, packed, *rest):
        ran.append(len(packed.lengths))
        return forward(self, packed, *rest)

    monkeypatch.setattr(LLaDA, "forward", counted)
    found = rollouts(policy, RandomOrder(3), [LONG] * 4 + [SHORT] * 2, guidance, limit, on_images=calls.append)
    assert found.forwards == sum(ran)
    wanted = 0
    texts = [LONG] * 4 + [SHORT] * 2
    for start, stop in zip([0, *calls], calls, strict=False):
        images, prompts = stop - start, len(set(texts[start:stop]))
        wanted += prompts * (1 + bool(guidance)) + 2 * images * (1 + bool(guidance))
    assert found.forwards == wanted
    assert len(calls) == {1: 6, 10**6: 1}.get(limit, len(calls))


def test_a_group_costs_what_the_sheet_says():
    """2 G T forwards less the 2 G - 2 that step 0 shares: 216 -> 200 at G 9 and T 12 (sheet 8.2)."""
    policy = tiny_policy(5, grid=(8, 8))
    assert rollouts(policy, RandomOrder(12), [LONG] * 9).forwards == 200


def test_a_step_that_reveals_nothing_costs_nothing():
    """An emerge sampler with many steps on one slot runs the network once."""
    policy = tiny_policy(5, grid=(1, 1))
    assert rollouts(policy, Emerge(9), [SHORT], 1.0).forwards == 2


@torch.no_grad()
def test_attended_pads_stand_before_the_unconditional_prompt_too():
    """pads="attend": the pads before both rows change the picture's distribution, and are those of upstream's fixed
    length."""
    policy = tiny_policy(5)
    pad, length = policy.backbone.pad, policy.backbone.max_text
    prompt, none = policy.prompt(SHORT, "attend"), policy.unconditional("attend")
    assert len(prompt) == len(none) == length and none[:-3] == (pad,) * (length - 3)
    found = generate(policy, [prompt], [("pads", 0)], RandomOrder(1), 1.5, pads="attend")
    spread = guided(policy, prompt, [HIDDEN] * 6, 1.5, none).softmax(-1)
    wanted = -(spread * spread.log()).sum(-1)
    assert torch.allclose(found.entropy[0].double(), wanted, atol=1e-5)
    stripped = guided(policy, prompt, [HIDDEN] * 6, 1.5, policy.unconditional()).softmax(-1)
    assert float((found.entropy[0] + (stripped * stripped.log()).sum(-1)).abs().max()) > 1e-3


def test_the_empty_prompt_is_its_own_unconditional():
    """Guidance then changes nothing: the same image with and without."""
    policy = tiny_policy(5)
    assert torch.equal(
        rollouts(policy, RandomOrder(3), [""], 3.0).codes, rollouts(policy, RandomOrder(3), [""], 0.0).codes
    )


def test_another_grid_is_a_matter_of_the_call():
    assert rollouts(tiny_policy(5), RandomOrder(3), [SHORT], grid=(3, 4)).codes.shape == (1, 12)


def global_states():
    """The global generators of torch, numpy and python."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_global_generators_are_neither_read_nor_moved(sampler):
    policy = tiny_policy(5)
    before, one = global_states(), rollouts(policy, sampler)
    assert global_states() == before
    torch.manual_seed(99)
    assert torch.equal(one.codes, rollouts(policy, sampler).codes)


def test_a_rollout_copy_is_frozen_and_separate():
    policy = tiny_policy(5)
    copy = rollout_net(policy.net, torch.bfloat16)
    assert all(w.dtype == torch.bfloat16 and not w.requires_grad for w in copy.parameters())
    assert all(w.dtype == torch.float64 and w.requires_grad for w in policy.net.parameters())
    same = rollout_net(policy.net, torch.float64)
    prompt = policy.prompt(SHORT)
    assert torch.equal(
        log_table(policy, same, prompt, [HIDDEN] * 6, (2, 3)),
        log_table(policy, policy.net, prompt, [HIDDEN] * 6, (2, 3)),
    )


def test_what_a_prompt_costs_does_not_depend_on_a_neighbour_of_equal_words():
    """Two prompts that read alike are two: each pays for its own first step, together as apart."""
    policy, sampler = tiny_policy(4), RandomOrder(3)
    keys = [("equal", i) for i in range(4)]
    together = generate(policy, [(1, 2)] * 4, keys, sampler, 1.0, owners=[0, 0, 1, 1])
    apart = [generate(policy, [(1, 2)] * 2, keys[i : i + 2], sampler, 1.0) for i in (0, 2)]
    assert torch.equal(together.codes, torch.cat([one.codes for one in apart]))
    assert together.forwards == sum(one.forwards for one in apart)
    assert generate(policy, [(1, 2)] * 4, keys, sampler, 1.0).forwards < together.forwards
