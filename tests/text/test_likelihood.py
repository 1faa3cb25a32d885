"""The Monte-Carlo likelihood against brute force: its expectation, its spread, and the identities it must keep."""

import math
from itertools import combinations, permutations

import pytest
import torch

from bench.benchmarks.text.likelihood import Masks, draw_masks, every_mask, log_likelihoods, masks_for, masks_of
from bench.benchmarks.text.reader import Reader
from htgrpo.base.rng import generator
from htgrpo.policies.llada import Packed
from tests.htgrpo.tiny import tiny_policy
from tests.text.toys import Counting, Factorised, Joint, reader_of

PROMPT, ANSWER = (3, 1, 4), (1, 5, 9, 2)


@pytest.fixture(scope="module")
def policy():
    return tiny_policy(seed=3)


def brute(policy, prompt, answer, guidance=0.0, columns=slice(None)) -> tuple[float, float]:
    """Mean and standard deviation of one sample of the estimator, mask by mask from its definition."""
    mask, length, mean, square = policy.backbone.mask, len(answer), 0.0, 0.0
    for count in range(1, length + 1):
        for slots in combinations(range(length), count):
            ids = [*prompt, *(mask if slot in slots else token for slot, token in enumerate(answer))]
            logits = policy.net(Packed(torch.tensor(ids), (len(ids),)))
            if guidance:
                blind = [*[mask] * len(prompt), *ids[len(prompt) :]]
                logits = (1 + guidance) * logits - guidance * policy.net(Packed(torch.tensor(blind), (len(blind),)))
            log_probs = logits[:, columns].log_softmax(-1)
            sample = length / count * sum(float(log_probs[len(prompt) + slot, answer[slot]]) for slot in slots)
            chance = 1 / (length * math.comb(length, count))
            mean, square = mean + chance * sample, square + chance * sample**2
    return mean, math.sqrt(square - mean**2)


@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("columns", [slice(None), slice(0, 19)])
def test_all_masks_give_the_expectation(policy, guidance, columns):
    with torch.no_grad():
        expected, _ = brute(policy, PROMPT, ANSWER, guidance, columns)
    reader = reader_of(policy, guidance=guidance, columns=columns)
    (found,) = log_likelihoods(reader, [((PROMPT, ANSWER), every_mask(4))])
    assert found == pytest.approx(expected, abs=1e-12)


def test_the_mean_over_every_draw_is_the_expectation(policy):
    """Every count and every order that masks can come from, each as likely as the other: masks_of as draw_masks calls
    it."""
    with torch.no_grad():
        expected, _ = brute(policy, PROMPT, ANSWER)
    orders = torch.tensor(list(permutations(range(4))), dtype=torch.float64)
    draws = [masks_of(torch.tensor([count]), order[None]) for count in range(1, 5) for order in orders]
    found = log_likelihoods(reader_of(policy), [((PROMPT, ANSWER), masks) for masks in draws])
    assert math.fsum(found) / len(found) == pytest.approx(expected, abs=1e-12)


def test_draws_come_within_the_stated_bound(policy):
    """2,048 masks in 64 draws: within 5 standard errors of independent masks, though counts are spread evenly."""
    answer = (1, 5, 9, 2, 6, 5, 3, 5, 8)
    with torch.no_grad():
        expected, deviation = brute(policy, PROMPT, answer)
    draws = [draw_masks(9, 32, generator("bound", index)) for index in range(64)]
    found = log_likelihoods(reader_of(policy, batch=256), [((PROMPT, answer), masks) for masks in draws])
    assert abs(sum(found) / 64 - expected) < 5 * deviation / math.sqrt(64 * 32)
    assert torch.tensor(found).std() < deviation / math.sqrt(32)


def test_counts_and_places_are_uniform():
    """7 samples of 5 tokens, 4,000 times: every count and every place as often as any other, within 5 standard
    errors."""
    draws = [draw_masks(5, 7, generator("uniform", index)).hidden for index in range(4000)]
    hidden = torch.cat(draws)
    for count in range(1, 6):
        rows = hidden[hidden.sum(1) == count]
        assert abs(len(rows) / 28000 - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 28000)
        if count < 5:
            share = count / 5
            assert (rows.double().mean(0) - share).abs().max() < 5 * math.sqrt(share * (1 - share) / len(rows))


def test_a_factorised_model_is_exact_under_any_masks():
    """Where no token depends on another, the expectation is the plain sum of log p, and so is every fully masked
    sample."""
    table = torch.randn(9, 6, generator=generator("table"), dtype=torch.float64)
    reader = Reader(Factorised(table), mask=5, columns=slice(None))
    expected = sum(float(table.log_softmax(-1)[2 + slot, token]) for slot, token in enumerate((0, 3, 2, 1)))
    whole = Masks(torch.ones(1, 4, dtype=torch.bool), torch.ones(1, dtype=torch.float64))
    found = log_likelihoods(reader, [(((1, 1), (0, 3, 2, 1)), masks) for masks in (every_mask(4), whole)])
    assert found == pytest.approx([expected, expected], abs=1e-12)


def test_a_joint_distribution_gets_its_log_likelihood():
    """The any-order identity: with conditionals of one joint the estimate's expectation is log p of the answer."""
    table = torch.rand(3, 3, 3, 3, generator=generator("joint"), dtype=torch.float64) ** 3
    table /= table.sum()
    reader = Reader(Joint(table), mask=3, columns=slice(None))
    answers = [(0, 0, 0, 0), (2, 1, 0, 2), (1, 1, 2, 0)]
    found = log_likelihoods(reader, [(((0,), answer), every_mask(4)) for answer in answers])
    assert found == pytest.approx([float(table[answer].log()) for answer in answers], abs=1e-12)


def test_short_answers_are_exact_and_equal_sequences_read_once(policy):
    assert len(masks_for(7, 128, generator("a")).hidden) == 127
    assert len(masks_for(8, 128, generator("a")).hidden) == 128 and len(masks_for(7, 126, generator("a")).hidden) == 126
    net = Counting(policy.net)
    reader = reader_of(policy, net=net)
    found = log_likelihoods(reader, [((PROMPT, (token,)), every_mask(1)) for token in range(4)])
    assert net.seen == [(*PROMPT, policy.backbone.mask)]
    with torch.no_grad():
        log_probs = policy.net(Packed(torch.tensor(net.seen[0]), (4,)))[3].log_softmax(-1)
    assert found == pytest.approx(log_probs[:4].tolist(), abs=1e-12)


def test_neither_batch_nor_order_changes_a_result(policy):
    pairs = [(PROMPT, ANSWER), ((), (7,)), ((2,), (1, 2, 3, 4, 5, 6, 7, 8, 9)), (PROMPT, (4, 4, 4, 4))]
    asked = [(pair, masks_for(len(pair[1]), 20, generator("order", len(pair[1])))) for pair in pairs]
    expected = log_likelihoods(reader_of(policy), asked)
    for batch in (1, 3, 500):
        assert log_likelihoods(reader_of(policy, batch), asked[::-1])[::-1] == pytest.approx(expected, abs=1e-12)
