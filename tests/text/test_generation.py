"""Decoding against the published loop written out slowly, and what it promises about blocks, ends and batches."""

import pytest
import torch

from bench.benchmarks.text.generation import are_greedy, draw, generate
from bench.benchmarks.text.settings import Decoding
from htgrpo.base.errors import UserError
from htgrpo.base.rng import generator
from tests.htgrpo.tiny import tiny_policy
from tests.text.toys import Counting, Factorised, reader_of, slow_generate

PROMPTS = [(3, 1, 4), (1, 5), (9, 2, 6, 5, 3), (5, 8, 9), (7,)]


@pytest.fixture(scope="module")
def policy():
    return tiny_policy(seed=5)


def keys(count: int, seed: int = 0) -> list[torch.Generator]:
    return [generator("generation", seed, index) for index in range(count)]


@pytest.mark.parametrize("remasking", ["low_confidence", "random"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("guidance", [0.0, 0.7])
@pytest.mark.parametrize("shape", [(8, 4, 8), (10, 5, 4), (6, 6, 1)])
def test_equals_the_slow_loop(policy, shape, guidance, temperature, remasking):
    decoding = Decoding(*shape, temperature, remasking)
    found = generate(reader_of(policy, batch=2, guidance=guidance), PROMPTS, keys(5), decoding)
    with torch.no_grad():
        assert found == [
            slow_generate(policy, list(p), g, decoding, guidance) for p, g in zip(PROMPTS, keys(5), strict=True)
        ]


def test_neither_batch_nor_order_changes_an_answer(policy):
    decoding = Decoding(12, 4, 6, temperature=0.9)
    expected = generate(reader_of(policy), PROMPTS, keys(5), decoding)
    assert expected == generate(reader_of(policy), PROMPTS, keys(5), decoding)
    assert expected != generate(reader_of(policy), PROMPTS, keys(5, seed=1), decoding)
    for batch in (1, 2, 3):
        assert generate(reader_of(policy, batch), PROMPTS[::-1], keys(5)[::-1], decoding) == expected[::-1]


def test_blocks_are_finished_from_left_to_right(policy):
    net, mask = Counting(policy.net), policy.backbone.mask
    generate(reader_of(policy, net=net), [PROMPTS[0]], keys(1), Decoding(8, 2, 8))
    left = [[token == mask for token in ids[3:]] for ids in net.seen]
    assert [sum(masked) for masked in left] == [8, 7, 6, 5, 4, 3, 2, 1]
    assert all(
        any(masked[2 * block : 2 * block + 2]) for step, masked in enumerate(left) for block in range(step // 2, 4)
    )
    assert not any(any(masked[: 2 * (step // 2)]) for step, masked in enumerate(left))


def test_an_end_stops_after_its_block_and_changes_nothing_before_it(policy):
    """Four blocks; the answer ends in the second: the others are never computed."""
    end, decoding = 17, Decoding(8, 2, 8, temperature=0.7)
    table = torch.zeros(20, 30, dtype=torch.float64)
    table[3 + 3, end] = 99.0  # slot 3 of the answer to a prompt of three
    net = Counting(Factorised(table))
    whole = generate(reader_of(policy, net=net), [PROMPTS[0]], keys(1), decoding)[0]
    assert len(net.seen) == 8 and whole.index(end) == 3
    net.seen.clear()
    ended = generate(reader_of(policy, net=net), [PROMPTS[0]], keys(1), decoding, lambda row, answer: end in answer)[0]
    assert len(net.seen) == 4 and ended == whole[:4]


def test_one_answers_end_leaves_the_others_running(policy):
    decoding = Decoding(8, 2, 8)
    whole = generate(reader_of(policy), PROMPTS, keys(5), decoding)
    found = generate(reader_of(policy), PROMPTS, keys(5), decoding, lambda row, answer: row in (1, 4))
    assert found == [answer[:2] if row in (1, 4) else answer for row, answer in enumerate(whole)]


def test_the_mask_is_never_drawn():
    logits = torch.zeros(500, 4, dtype=torch.float64)
    logits[:, 2] = 50.0
    for temperature in (0.0, 1.0):
        tokens, log_prob = draw(logits, 2, temperature, torch.rand(500, generator=generator("m"), dtype=torch.float64))
        assert 2 not in tokens and torch.allclose(log_prob, logits.log_softmax(-1)[:, 0])


def test_draws_follow_the_tempered_distribution():
    """20,000 evenly spread uniforms: every frequency within 1/20,000 of softmax(logits / T)."""
    row = torch.tensor([0.3, -1.0, 9.0, 1.2, -torch.inf], dtype=torch.float64)
    uniforms = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    tokens, _ = draw(row.expand(20000, 5), 2, 0.6, uniforms)
    expected = torch.tensor([0.3, -1.0, -torch.inf, 1.2, -torch.inf], dtype=torch.float64).div(0.6).softmax(0)
    assert (tokens.bincount(minlength=5) / 20000 - expected).abs().max() <= 1 / 20000


def test_greedy_answers_are_what_one_block_writes(policy):
    lengths = [4, 1, 6, 3, 5]
    written = [
        generate(reader_of(policy), [prompt], keys(1), Decoding(n, n, n))[0] for prompt, n in zip(PROMPTS, lengths)
    ]
    pairs = [(prompt, tuple(answer)) for prompt, answer in zip(PROMPTS, written)]
    wrong = [(prompt, (*answer[:-1], (answer[-1] + 1) % 11)) for prompt, answer in pairs]
    for batch in (1, 3, 16):
        assert are_greedy(reader_of(policy, batch), pairs + wrong) == [True] * 5 + [False] * 5
    net = Counting(policy.net)
    assert are_greedy(reader_of(policy, net=net), [((3,), tuple((t + 1) % 11 for t in written[0]))]) == [False]
    assert len(net.seen) == 1


def test_settings_that_cannot_be():
    for options, name in [
        ((10, 4, 10), "gen_length"), ((8, 4, 3), "steps"), ((8, 4, 16), "steps"), ((0, 1, 1), "gen_length"),
        ((8, 4, 8, -1.0), "temperature"), ((8, 4, 8, float("nan")), "temperature"),
    ]:  # fmt: skip
        with pytest.raises(UserError, match=f"^{name} is"):
            Decoding(*options)
    assert Decoding(10, 5, 4).reveals() == [3, 2]
    assert Decoding(256, 32, 128).shortened(40) == Decoding(64, 32, 32)
    assert Decoding(8, 4, 4).shortened(99) == Decoding(8, 4, 4)
