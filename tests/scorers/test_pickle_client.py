"""Pickles from strangers, and the client of the reward-servers that speak them."""

import io
import json
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from bench.scorers import unpickle
from bench.scorers.remote import connect
from bench.scorers.reward_server import RewardServer, near_equal_parts
from htgrpo.base.errors import UserError

# fmt: off
PLAIN = [
    None, True, 0, -1, 10**50, 1.5, "text ünïcode", b"bytes", b"", [], [1, [2, [3]]], (), (1,), (1, 2, 3, 4),
    {"a": {"b": (None,)}}, {1, 2}, frozenset({"a"}),
]
ARRAYS = [
    np.arange(6).reshape(2, 3), np.arange(6.0, dtype=np.float32).reshape(2, 3).T, np.asfortranarray([[0, 1], [2, 3]]),
    np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("hi"), np.array(["a", "bcd"]), np.array([b"x", b"yz"]),
    np.zeros((0, 3)), np.array(3.0), np.arange(3, dtype=">i4"), np.array([1 + 2j]), np.float16([1, 2]),
]
# fmt: on


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_out(protocol):
    for value in PLAIN:
        found = unpickle.loads(pickle.dumps(value, protocol))
        assert found == value and type(found) is type(value)
    for value in ARRAYS:
        found = unpickle.loads(pickle.dumps(value, protocol))
        assert type(found) is type(value) and found.dtype == value.dtype and np.array_equal(found, value)
    both = {"scores": ARRAYS, "plain": PLAIN}
    assert str(unpickle.loads(pickle.dumps(both, protocol))) == str(both)


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Object:
    pass


MARKER = "htgrpo-hostile-pickle-ran"


def hostile():
    """Names and pickles that must not do what they want."""
    yield "system", pickle.dumps(Calls(os.system, f"touch {MARKER}"))
    yield "system in a list", pickle.dumps([1, {"a": (Calls(os.system, f"touch {MARKER}"),)}], 2)
    yield "eval", pickle.dumps(Calls(eval, f"open('{MARKER}', 'w')"))
    yield "getattr", pickle.dumps(Calls(getattr, "", "join"))
    yield "bytearray of a size", pickle.dumps(Calls(bytearray, 1 << 40))
    yield "bytes of a size", pickle.dumps(Calls(bytes, 1 << 40), 4)
    yield "set of a range", pickle.dumps(Calls(set, "text"), 4)
    yield "an instance", pickle.dumps(Object())
    yield "an instance, protocol 0", pickle.dumps(Object(), 0)
    yield "numpy's load", pickle.dumps(Calls(np.load, "x.npy"))
    yield "the memory map", b"cnumpy\nmemmap\n."
    yield "a name by dots", b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93."
    yield "a bare name", b"cnumpy\nndarray\n."
    yield "a function", b"cnumpy.core.multiarray\n_reconstruct\n."
    yield "an array of objects", pickle.dumps(np.array([1, "a", None], dtype=object))
    yield "an array of records", pickle.dumps(np.zeros(2, dtype=[("a", "i4")]))
    yield "an array of times", pickle.dumps(np.array(["2020-01-01"], dtype="M8[D]"))
    yield "an array without its bytes", _array(shape=(10**9,), raw=b"")
    yield "a negative shape", _array(shape=(-1, -8), raw=b"\0" * 64)
    yield "an odd shape", _array(shape="8", raw=b"\0" * 64)
    yield "bytes that are text", _array(shape=(1,), raw="\0" * 8)
    yield "a huge text dtype", _array(code="U999999999", shape=(1,), raw=b"\0")
    yield "an old-style instance", b"(ios\nsystem\n(S'x'\no."
    yield "INST", b"(S'touch x'\nios\nsystem\n."
    yield "an extension", b"\x80\x02\x82\x01."
    yield "a persistent id", b"Pmodule\n."
    yield "a persistent id on the stack", b"\x80\x02K\x01Q."
    yield "NEWOBJ", b"\x80\x02cnumpy\nndarray\n)\x81."
    yield "state for a name", b"cnumpy\nndarray\n}S'value'\nK\x01sb."
    yield "slots for a name", b"\x80\x02cnumpy\ndtype\nN}X\x01\x00\x00\x00xK\x01s\x86b."
    yield "state for a scalar", b"".join((pickle.dumps(np.float64(1), 2)[:-1], b"K\x01b."))
    yield "state for an array twice", pickle.dumps(np.arange(3), 2)[:-1] + b"N(K\x01K\x01tb."
    yield "a huge memo", b"\x80\x02Nr\xff\xff\xff\x7f."
    yield "a long that is none", b"\x80\x02\x8b\xff\xff\xff\x7f."
    yield "bytes that are not there", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x."
    yield "a bytearray that is not there", b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x."
    yield "an out-of-band buffer", b"\x80\x05\x97."
    yield "nothing", b""
    yield "no pickle", b"<html>502 Bad Gateway</html>"
    yield "a cut pickle", pickle.dumps(list(range(100)))[:-20]
    yield "an empty stack", b"."
    cycle = []
    cycle.append(cycle)
    yield "a list in itself", pickle.dumps(cycle)
    yield "too deep", b"]" * 5000 + b"a" * 4999 + b"."


def _array(code="f8", shape=(8,), raw=b""):
    """An array's pickle with parts that numpy would not write."""

    def part(value):
        return pickle.dumps(value, 3)[2:-1]

    start = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = b"cnumpy\ndtype\n" + part((code, False, True)) + b"R" + part((3, "<", None, None, None, -1, -1, 0)) + b"b"
    return start + b"(K\x01" + part(shape) + dtype + b"\x89" + part(raw) + b"tb."


@pytest.mark.parametrize(("name", "data"), hostile(), ids=lambda value: value if isinstance(value, str) else "")
def test_hostile_pickles_are_refused_in_one_sentence(name, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(unpickle.Refused) as caught:
        unpickle.loads(data)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    assert not os.path.exists(MARKER)


def test_the_array_in_these_tests_is_one():
    """`_array` writes what numpy reads, so that the hostile ones are refused for what is hostile in them."""
    data = _array(shape=(2,), raw=struct.pack("<2d", 1.5, 2.5))
    assert np.array_equal(pickle.loads(data), [1.5, 2.5]) and np.array_equal(unpickle.loads(data), [1.5, 2.5])


def test_a_container_referred_to_often_is_walked_once():
    value = ["x"]
    for _ in range(40):
        value = [value, value]  # 2^40 references
    found = unpickle.loads(pickle.dumps(value))
    assert found[0] is found[1]


def test_too_large_a_pickle_is_refused(monkeypatch):
    monkeypatch.setattr(unpickle, "LARGEST", 100)
    with pytest.raises(unpickle.Refused, match="at most 100"):
        unpickle.loads(pickle.dumps(b"x" * 200))


# the client


@pytest.fixture
def server(canned):
    """A reward-server; `answer` makes its answer from a request, `asked` tells the requests."""
    canned.failure = b"Traceback ...\nRuntimeError: CUDA is unwell"

    def reply(path, body):
        value = canned.answer(pickle.loads(body))
        return value if isinstance(value, bytes) else pickle.dumps(value)

    canned.reply, canned.asked = reply, lambda: [pickle.loads(body) for body in canned.requests]
    return canned


def client(name, server, **options):
    return RewardServer(name, server.url, **{"backoff": 0.0, "retries": 3} | options)


def brightness(pictures):
    return [float(Image.open(io.BytesIO(data)).convert("L").resize((1, 1)).getpixel((0, 0))) for data in pictures]


def greys(*values):
    return [Image.new("RGB", (16, 16), (value, value, value)) for value in values]


def test_parts_are_near_equal():
    for count in (0, 1, 63, 64, 65, 128, 130, 200):
        parts = near_equal_parts(list(range(count)))
        expected = np.array_split(np.arange(count), -(-count // 64)) if count else []
        assert [len(part) for part in parts] == [len(part) for part in expected]
        assert sum(parts, []) == list(range(count))


def test_hpsv3_gets_prompts_and_jpeg_in_parts(server):
    server.answer = lambda request: {"scores": np.array(brightness(request["images"]), np.float32)}
    pictures, prompts = greys(*range(0, 130)), [f"prompt {n}" for n in range(130)]
    scorer = client("hpsv3", server)
    judged = scorer.score(pictures, prompts)
    assert [one.score for one in judged] == [float(n) for n in range(130)]
    asked = server.asked()
    assert [len(request["images"]) for request in asked] == [44, 43, 43]
    assert [type(request["prompts"]) for request in asked] == [list] * 3
    assert sum((request["prompts"] for request in asked), []) == prompts
    sent = Image.open(io.BytesIO(server.asked()[0]["images"][7]))
    expected = io.BytesIO()
    pictures[7].save(expected, "JPEG")  # PIL's default is 75
    assert sent.format == "JPEG" and server.asked()[0]["images"][7] == expected.getvalue()
    assert scorer.reward_scale == 0.2 and "JPEG quality 75" in scorer.identity()["through"]


def test_deqa_comes_back_on_its_own_scale(server):
    server.answer = lambda request: {"outputs": [0.2, 1.0]}
    scorer = client("deqa", server)
    assert [one.score for one in scorer.score(greys(1, 2), ["", ""])] == [1.0, 5.0]
    assert set(server.asked()[0]) == {"images"} and not scorer.needs_prompt


def test_geneval_gets_its_metadata(server):
    records = {"a photo of a cat": {"tag": "single_object", "include": [{"class": "cat", "count": 1}]}}
    reply = {"scores": [0.5], "rewards": [1.0], "strict_rewards": [0.0], "group_rewards": {"counting": [-10.0]}}
    server.answer = lambda request: reply
    good, unknown = client("geneval", server, metadata=records).score(greys(1, 2), ["a photo of a cat", "a dog"])
    assert (good.score, good.evidence) == (0.5, {"binary": 1.0, "strict": 0.0})
    assert "no prompt 'a dog'" in unknown.error
    assert server.asked()[0]["meta_datas"] == [records["a photo of a cat"]]
    assert server.asked()[0]["only_strict"] is False


def test_geneval_metadata_comes_from_the_asset(assets, server):
    server.answer = lambda request: {"scores": [1.0]}
    line = json.loads((assets / "geneval" / "evaluation_metadata.jsonl").read_text().splitlines()[0])
    assert client("geneval", server).score(greys(1), [line["prompt"]])[0].score == 1.0
    assert server.asked()[0]["meta_datas"] == [line]


def test_500_is_tried_again(server):
    server.fails, server.answer = [500, 503], lambda request: {"scores": [2.5]}
    assert client("unifiedreward", server).score(greys(1), ["a"])[0].score == 2.5
    assert len(server.asked()) == 3


def test_a_server_that_stays_ill_fails_its_part_with_the_reason(server):
    server.fails, server.answer = [500] * 4, lambda request: {"scores": [1.0] * len(request["images"])}
    judged = client("hpsv3", server).score(greys(*range(65)), ["a"] * 65)
    assert [one.score is None for one in judged] == [True] * 33 + [False] * 32
    assert "CUDA is unwell" in judged[0].error and "\n" not in judged[0].error


def test_nobody_there(server):
    gone = RewardServer("deqa", "http://127.0.0.1:9", retries=1, backoff=0.0)
    assert "gave no answer in 2 tries" in gone.score(greys(1), [""])[0].error


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (pickle.dumps(Calls(os.system, "touch x")), "system"),
        (b"no pickle", "no whole pickle"),
        ({"outputs": [1.0]}, "no list of numbers 'scores'"),
        ({"scores": [1.0, 2.0]}, "shape [2] for 1 pictures"),
        ({"scores": ["high"]}, "no list of numbers"),
        ([1.0], "no list of numbers"),
        ({"scores": [float("nan")]}, "not a number"),
    ],
)
def test_answers_that_are_no_scores(server, reply, reason):
    server.answer = lambda request: reply
    judged = client("hpsv3", server).score(greys(1), ["a"])
    assert judged[0].score is None and reason in judged[0].error


def test_a_damaged_picture_fails_alone(server, tmp_path):
    server.answer = lambda request: {"outputs": [1.0] * len(request["images"])}
    greys(3)[0].resize((64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    judged = client("deqa", server).score([*greys(1), Image.open(tmp_path / "a.png"), *greys(2)], [""] * 3)
    assert [one.score for one in judged] == [5.0, None, 5.0]


def test_names_and_addresses():
    scorer = connect("hpsv3=pickle+http://127.0.0.1:18087/")
    assert isinstance(scorer, RewardServer) and scorer.connection.url == "http://127.0.0.1:18087"
    with pytest.raises(UserError, match="did you mean 'hpsv3'"):
        connect("hpsv2=pickle+http://127.0.0.1:1")
    with pytest.raises(UserError, match="--scorer-url"):
        RewardServer.load()
