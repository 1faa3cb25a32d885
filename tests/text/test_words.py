"""Text and ids: which tokens belong to an answer, what is special and what is not, and MMaDA's chat layout."""

import jinja2
import pytest

from bench.benchmarks.text.words import LAYOUT, Words
from htgrpo.base.errors import UserError
from htgrpo.policies.random import make
from htgrpo.policies.storage import load_policy
from tests.htgrpo.tiny import tiny_policy

MESSAGES = [{"role": "system", "content": " be brief "}, {"role": "user", "content": "two\n<|eot_id|> hearts?"}]


@pytest.fixture(scope="module")
def mmada(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words") / "mmada"
    make("mmada", folder)
    return load_policy(str(folder))


def test_spaces_between_belong_to_the_answer(mmada):
    words, encode = Words(mmada), mmada.tokenizer.encode
    expected = tuple(encode("two red")), tuple(encode(" hearts"))
    assert words.pair("two red ", "hearts") == words.pair("two red", " hearts") == expected
    assert words.pair("", "x") == ((126080,), tuple(encode("x")))
    assert words.pair("  ", "x") == ((126080,), tuple(encode("  x")))
    assert words.pair("x", "") == (tuple(encode("x")), ())


def test_an_answer_that_melts_into_the_context_is_read_alone(monkeypatch):
    policy = tiny_policy()
    vocabulary = policy.tokenizer.vocabulary
    assert Words(policy).pair("a pho", "to") == ((vocabulary["a"], vocabulary["[UNK]"]), (vocabulary["[UNK]"],))


def test_special_strings_are_text_outside_of_chats(mmada):
    words = Words(mmada)
    assert 126348 not in words.context("a<|eot_id|>") and 126081 not in words.pair("a", "b<|endoftext|>")[1]
    assert words.ends == {126081, 126348}
    assert words.token("<|eot_id|>") == 126348 and words.token("\n\n") is None


def test_words_of_ids_leave_specials_and_images_out(mmada):
    ids = [126080, *mmada.tokenizer.encode("two hearts ♥"), 126336, 126349, 134540, 134600, 126081]
    assert Words(mmada).text(ids) == "two hearts ♥"
    tiny = tiny_policy()
    vocabulary = tiny.tokenizer.vocabulary
    ids = [
        vocabulary["two"], vocabulary["[UNK]"], vocabulary["<|mdm_mask|>"], vocabulary["circle"],
        tiny.backbone.image_offset + 1,
    ]  # fmt: skip
    assert Words(tiny).text(ids) == "two circle"


def test_chats_have_the_published_layout(mmada):
    words = Words(mmada, chat_contexts=True)
    text = words.chat([MESSAGES[0], {"role": "user", "content": "two hearts?"}])
    template = jinja2.Template(LAYOUT, keep_trailing_newline=True)
    assert text == template.render(
        bos_token="<|startoftext|>", messages=[MESSAGES[0], {"role": "user", "content": "two hearts?"}]
    )
    encode = mmada.tokenizer.encode
    head, close, end = 126346, 126347, 126348
    expected = [
        126080, head, *encode("system"), close, *encode("\nbe brief"), end, head, *encode("user"), close,
        *encode("\ntwo hearts?"), end, head, *encode("assistant"), close, *encode("\n"),
    ]  # fmt: skip
    assert words.context(text) == tuple(expected)
    assert words.pair(text, "four") == (tuple(expected), tuple(encode("four")))
    begun = words.chat([MESSAGES[0], {"role": "assistant", "content": "It is"}], answer_follows=False)
    assert begun.endswith("<|end_header_id|>\nIt is")


def test_special_strings_in_messages_are_text(mmada):
    words = Words(mmada, chat_contexts=True)
    assert words.context(words.chat(MESSAGES)).count(126348) == 2


def test_only_mmada_chats():
    with pytest.raises(UserError, match="'tiny' and cannot chat"):
        Words(tiny_policy()).chat(MESSAGES)
