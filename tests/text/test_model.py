"""What lm-eval gets from a policy: the same whatever the batch, the order and the number of processes."""

from dataclasses import replace

import pytest
from lm_eval.api.instance import Instance

from bench.benchmarks.text.likelihood import every_mask, log_likelihoods
from bench.benchmarks.text.model import PolicyLM
from bench.benchmarks.text.settings import Decoding, TextSettings
from htgrpo.base.errors import UserError
from htgrpo.parallel.ranks import Ranks
from tests.htgrpo.tiny import tiny_policy
from tests.text.toys import Counting

SETTINGS = TextSettings(samples=20, batch=4, decoding=Decoding(8, 4, 8))
PAIRS = [
    ("a photo of", " red circle"), ("a photo of", " blue square"), ("two", " a photo of red blue square above"),
    ("", "left"), ("two red", ""), ("right above", " a photo of two blue circle red left"),
]  # fmt: skip
GREEDY = {"until": []}
DRAWN = {"until": [], "do_sample": True, "temperature": 1.5}


def asked(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, args, index) for index, args in enumerate(arguments)]


@pytest.fixture(scope="module")
def policy():
    return tiny_policy(seed=7, max_text=64)


def test_likelihoods_depend_on_the_request_alone(policy):
    requests = asked("loglikelihood", *PAIRS)
    expected = PolicyLM(policy, SETTINGS).loglikelihood(requests)
    assert expected[4] == (0.0, True) and all(value < 0.0 for value, _ in expected[:4])
    for batch, order in [(1, 1), (3, -1), (64, -1)]:
        found = PolicyLM(policy, replace(SETTINGS, batch=batch)).loglikelihood(requests[::order])[::order]
        assert [v for v, _ in found] == pytest.approx([v for v, _ in expected], abs=1e-12)
        assert [g for _, g in found] == [g for _, g in expected]
    other = PolicyLM(policy, replace(SETTINGS, seed=1)).loglikelihood(requests)
    assert [a == b for a, b in zip(expected, other)] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]  # short answers are exact


def test_a_likelihood_is_that_of_the_tokens(policy):
    model = PolicyLM(policy, SETTINGS)
    words = policy.tokenizer.vocabulary
    context, answer = tuple(words[w] for w in "a photo of".split()), (words["red"], words["circle"])
    expected = log_likelihoods(model.reader, [((context, answer), every_mask(2))])
    assert [value for value, _ in model.loglikelihood(asked("loglikelihood", PAIRS[0]))] == pytest.approx(
        expected, abs=1e-12
    )


def test_choices_of_one_question_share_their_masks(policy):
    net = Counting(policy.net)
    model = PolicyLM(policy.with_net(policy.net), SETTINGS)
    model.reader = replace(model.reader, net=net)
    pairs = [(("two", f" {' '.join([colour] * 8)}")) for colour in ("red", "blue")]
    encoded = [model.words.pair(*pair) for pair in pairs]
    log_likelihoods(model.reader, model._masked(encoded))
    mask, words = policy.backbone.mask, policy.tokenizer.vocabulary
    hidden = {
        colour: {tuple(token == mask for token in ids) for ids in net.seen if words[colour] in ids[1:]}
        for colour in words
    }
    assert len(hidden["red"]) > 10 and hidden["red"] == hidden["blue"]


def test_the_text_head_is_the_text_head(policy):
    requests = asked("loglikelihood", *PAIRS[:4])
    full = PolicyLM(policy, SETTINGS).loglikelihood(requests)
    text = PolicyLM(policy, replace(SETTINGS, head="text")).loglikelihood(requests)
    assert all(narrow > wide for (narrow, _), (wide, _) in zip(text, full))


def test_answers_depend_on_the_request_alone(policy):
    requests = asked("generate_until", *[(context, options) for context, _ in PAIRS for options in (GREEDY, DRAWN)])
    expected = PolicyLM(policy, SETTINGS).generate_until(requests)
    assert len(set(expected)) > 3
    for batch, order in [(1, 1), (3, -1), (64, -1)]:
        assert PolicyLM(policy, replace(SETTINGS, batch=batch)).generate_until(requests[::order])[::order] == expected
    assert PolicyLM(policy, replace(SETTINGS, temperature=0.0)).generate_until(requests)[1::2] == expected[::2]


def test_repeats_of_a_drawn_answer_differ(policy):
    (request,) = asked("generate_until", ("a photo of", DRAWN))
    assert len(set(PolicyLM(policy, SETTINGS).generate_until([request] * 6))) > 1
    (request,) = asked("generate_until", ("a photo of", GREEDY))
    assert len(set(PolicyLM(policy, SETTINGS).generate_until([request] * 3))) == 1


def test_answers_end_where_they_are_told(policy):
    model = PolicyLM(policy, replace(SETTINGS, head="text"))
    contexts = [context for context, _ in PAIRS]
    written = model.generate_until(asked("generate_until", *[(context, DRAWN) for context in contexts]))
    whole, context = max(zip(written, contexts, strict=True), key=lambda pair: len(set(pair[0].split())))
    stop = whole.split()[-1]
    assert len(whole[: whole.index(stop)].split()) >= 2
    for until in (["nowhere", stop], stop):
        assert model.generate_until(asked("generate_until", (context, DRAWN | {"until": until}))) == [
            whole[: whole.index(stop)]
        ]
    (short,) = model.generate_until(asked("generate_until", (context, DRAWN | {"max_gen_toks": 2})))
    assert whole.startswith(short) and len(short.split()) <= 2 < len(whole.split())


def test_options_without_a_part_here(policy):
    model = PolicyLM(policy, SETTINGS)
    fine = [GREEDY | {"top_p": 0.9, "num_beams": 1}, DRAWN | {"top_p": 1.0, "top_k": 0}]
    model.generate_until(asked("generate_until", *[("two", options) for options in fine]))
    for options in (GREEDY | {"num_beams": 4}, DRAWN | {"top_p": 0.9}, GREEDY | {"repetition_penalty": 1.2}):
        with pytest.raises(UserError, match="asks to generate with"):
            model.generate_until(asked("generate_until", ("two", options)))


def test_whole_texts_come_in_windows(policy):
    model = PolicyLM(policy, replace(SETTINGS, max_length=9))
    words = policy.tokenizer.vocabulary
    text = "a photo of red blue square circle two left right"  # ten: a window of eight after the beginning, then two
    ids = tuple(words[word] for word in text.split())
    assert model.words.context("") == (words["<|startoftext|>"],)
    (first, _), (second, _) = model.loglikelihood(
        asked(
            "loglikelihood",
            ("", "a photo of red blue square circle two"),
            ("photo of red blue square circle two", " left right"),
        )
    )
    assert second == pytest.approx(log_likelihoods(model.reader, [((ids[1:8], ids[8:]), every_mask(2))])[0], abs=1e-12)
    found = model.loglikelihood_rolling(asked("loglikelihood_rolling", (text,), ("",)))
    assert found == pytest.approx([first + second, 0.0], abs=1e-12)


def test_long_contexts_lose_their_beginning(policy):
    model = PolicyLM(policy, replace(SETTINGS, max_length=9))
    long, last = "two red " * 6, "red two red two red two red"
    pairs = asked("loglikelihood", (long, "left above"), (last, " left above"))
    (first, _), (second, _) = model.loglikelihood(pairs)
    assert first == pytest.approx(second, abs=1e-12) and model.get_model_info()["contexts_cut"] == 1
    with pytest.raises(UserError, match="an answer has 10 tokens"):
        model.loglikelihood(asked("loglikelihood", ("a", " two" * 10)))


def test_processes_share_the_requests(policy):
    class One(Ranks):
        """One of two processes, which hears what the other one found."""

        def __init__(self, index: int, other: list | None = None):
            super().__init__()
            self.index, self.count, self.other, self.found = index, 2, other, None

        def gather(self, value):
            self.found = value
            return [value, self.other or []] if self.index == 0 else [[], value]

    for kind, arguments in [("loglikelihood", PAIRS), ("generate_until", [(c, DRAWN) for c, _ in PAIRS[:5]])]:
        requests = asked(kind, *arguments)
        expected = getattr(PolicyLM(policy, SETTINGS), kind)(requests)
        second = PolicyLM(policy, SETTINGS, One(1))
        second.ranks.together = lambda items, second=second: second.ranks.gather(items) and items
        getattr(second, kind)(requests)
        assert len(second.ranks.found) == len(requests) // 2
        assert getattr(PolicyLM(policy, SETTINGS, One(0, second.ranks.found)), kind)(requests) == expected


def test_chats_need_a_backbone_that_chats(policy):
    with pytest.raises(UserError, match="cannot chat"):
        PolicyLM(policy, replace(SETTINGS, chat=True))
    with pytest.raises(UserError, match="chat=True"):
        PolicyLM(policy, SETTINGS).apply_chat_template([{"role": "user", "content": "two"}])
