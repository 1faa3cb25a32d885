"""A scorer behind HTTP: the same scores, and nothing that a stranger sends does harm."""

import io
import os
import socket
import struct
import threading
import zlib

import pytest
from PIL import Image, PngImagePlugin

from bench.scorers import serving
from bench.scorers.remote import TOKEN, connect
from bench.scorers.serving import Limits, ScoringServer
from htgrpo.base.errors import UserError
from tests.scorers.brightness import Brightness, ask, client, greys, item, png, url
from tests.scorers.servers import running


@pytest.fixture
def server(brightness_server):
    return brightness_server


def test_the_same_scores_as_in_process(server):
    pictures, prompts = greys(*range(0, 200, 5)), ["x" * n for n in range(40)]
    remote, local = client(server), Brightness()
    assert remote.score(pictures, prompts) == local.score(pictures, prompts)
    assert remote.identity() == local.identity()
    for key in ("name", "title", "version", "needs_prompt", "higher_is_better", "published_range", "reward_scale"):
        assert getattr(remote, key) == getattr(local, key)
    assert tuple(remote.axes) == local.axes
    with pytest.raises(UserError, match="1 pictures for 2 prompts"):
        remote.score(greys(1), ["a", "b"])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "YCbCr"])
def test_every_mode_of_picture_goes_over(server, mode):
    picture = Image.new("I;16", (8, 8), 200 * 257) if mode == "I;16" else greys(200)[0].convert(mode)
    expected = Brightness().score([greys(200)[0] if mode == "I;16" else picture], ["a"])[0].score
    assert client(server).score([picture], ["a"])[0].score == expected


def test_jpeg_is_taken_too(server):
    stream = io.BytesIO()
    greys(100)[0].save(stream, "JPEG")
    assert ask(server, body={"items": [item(stream.getvalue())]})[1]["items"][0]["score"] == pytest.approx(100, abs=2)


def test_health_and_hello(server):
    assert ask(server, "GET", "/health") == (200, {"status": "ok", "protocol": 1})
    status, hello = ask(server, "GET", "/hello")
    assert status == 200 and hello["scorer"]["name"] == "brightness" and hello["limits"]["body"] == 64 << 20


def test_several_clients_at_once_are_served_one_batch_at_a_time(server):
    results = {}

    def work(value):
        results[value] = client(server).score(greys(value) * 20, ["a"] * 20)

    threads = [threading.Thread(target=work, args=(value,)) for value in (10, 20, 30, 40)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all([one.score for one in results[value]] == [value] * 20 for value in (10, 20, 30, 40))


def test_a_breaking_scorer_fails_one_picture(server):
    judged = client(server).score(greys(1, 2, 3), ["a", "break", "b"])
    assert [one.score for one in judged] == [1, None, 3]
    assert judged[1].error == "the scorer failed: RuntimeError: the model broke"


def test_a_damaged_picture_fails_alone_on_either_side(server, tmp_path):
    whole = png(greys(3)[0].resize((64, 64)))
    (tmp_path / "a.png").write_bytes(whole[:60])
    here = client(server).score([*greys(1), Image.open(tmp_path / "a.png"), *greys(2)], ["a"] * 3)
    assert [one.score for one in here] == [1, None, 2]
    status, there = ask(
        server, body={"items": [item(whole, name="x"), item(whole[:60], name="y"), item(b"GIF89a", name="z")]}
    )
    assert status == 200 and [one.get("score") for one in there["items"]] == [3, None, None]
    assert [one["id"] for one in there["items"]] == ["x", "y", "z"]
    assert all("cannot be decoded as PNG, JPEG or BMP" in one["error"] for one in there["items"][1:])


# what a stranger may send


def bomb(width, height):
    """A PNG of a few kB that claims, and holds, width x height black pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" * (1 + width // 8)
    packer, rows = zlib.compressobj(9), b""
    for _ in range(0, height, 1000):
        rows += packer.compress(row * 1000)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8000, 8000), (40_000, 40_000)])
def test_a_bomb_of_pixels_is_refused_by_its_header(server, width, height, monkeypatch):
    data = bomb(8000, 1000)[:3000] if height > 8000 else bomb(width, height)
    if height > 8000:  # the claim alone: nothing may be decoded to find it out
        data = (
            data[:16]
            + struct.pack(">II", width, height)
            + data[24:29]
            + struct.pack(">I", zlib.crc32(data[12:16] + struct.pack(">II", width, height) + data[24:29]))
            + data[33:]
        )
    assert len(data) < 100_000
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda self: pytest.fail("decoded"))
    status, answer = ask(server, body={"items": [item(data)]})
    assert status == 200 and "accepted are at most 33554432" in answer["items"][0]["error"]


def test_a_bitmap_that_claims_too_much_is_refused_by_its_header(server):
    stream = io.BytesIO()
    greys(1)[0].save(stream, "BMP")
    data = bytearray(stream.getvalue())
    data[18:26] = struct.pack("<ii", 40_000, 40_000)
    status, answer = ask(server, body={"items": [item(bytes(data))]})
    assert status == 200 and "accepted are at most 33554432" in answer["items"][0]["error"]
    data[18:26] = struct.pack("<ii", 5000, 5000)  # within the limit, and not there
    status, answer = ask(server, body={"items": [item(bytes(data))]})
    assert status == 200 and "cannot be decoded" in answer["items"][0]["error"]


def test_a_bomb_of_text_is_refused(server):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (80 << 20), zip=True)
    data = png(greys(1)[0], pnginfo=info)
    assert len(data) < 200_000
    status, answer = ask(server, body={"items": [item(data)]})
    assert status == 200 and "score" not in answer["items"][0] and "cannot be decoded" in answer["items"][0]["error"]


def test_ids_are_only_repeated(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../../etc/passwd", "/etc/passwd", "..\\..\\x", "\x00", "'; rm -rf / #", "", "a" * 200]
    status, answer = ask(server, body={"items": [item(png(greys(5)[0]), name=name) for name in names]})
    assert status == 200 and [one["id"] for one in answer["items"]] == names
    assert all(one["score"] == 5 for one in answer["items"])
    assert list(tmp_path.iterdir()) == []
    assert ask(server, body={"items": [item(png(greys(5)[0]), name="a" * 201)]})[0] == 400
    for path in ("/../../etc/passwd", "/score/../hello", "/health?x=1"):
        assert ask(server, "GET", path)[0] == 404


def test_long_and_odd_prompts(server):
    prompts = ["x" * 10_000, '\x00\u2028\ud7ff🐈 "}]}', "</script>${HOME}%s{}"]
    judged = client(server).score(greys(1, 1, 1), prompts)
    assert [one.evidence["length"] for one in judged] == [len(prompt) for prompt in prompts]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"1", b"{}", b'{"items": 3}', b'{"items": [3]}',
        b'{"items": [{"image": "", "prompt": ""}]}', b'{"items": [{"id": 1}]}', b"[" * 100_000, b"\xff\xfe",
        b'{"items": [{"id": null}]}',
    ],
)  # fmt: skip
def test_bodies_that_are_not_understood(server, body):
    status, answer = ask(server, body=body)
    assert status == 400 and list(answer) == ["error"]
    assert ask(server, "GET", "/health")[0] == 200


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": 3}, "an item is"), ({"prompt": ["a"]}, "an item is"), ({"image": "***"}, "not base64"),
        ({"image": "é"}, "not base64"), ({"image": ""}, "cannot be decoded"),
    ],
)  # fmt: skip
def test_items_that_are_not_understood_fail_alone(server, change, reason):
    good = item(png(greys(9)[0]))
    status, answer = ask(server, body={"items": [good, good | change, good]})
    assert status == 200 and [one.get("score") for one in answer["items"]] == [9, None, 9]
    assert reason in answer["items"][1]["error"]


def test_limits():
    limits = Limits(body=20_000, items=3, pixels=100)
    with running(ScoringServer(Brightness(), limits=limits)) as server:
        status, answer = ask(server, body=b"x" * 20_001)
        assert status == 413 and "20001 bytes, accepted are at most 20000" in answer["error"]
        assert ask(server, body=b"x" * 20_000)[0] == 400
        status, answer = ask(server, body={"items": [item(png(greys(1)[0]))] * 4})
        assert status == 413 and "4 items" in answer["error"]
        big = ask(server, body={"items": [item(png(greys(1)[0].resize((11, 10))))]})[1]["items"][0]
        assert "11 x 10 pixels, accepted are at most 100" in big["error"]
        noisy = [Image.frombytes("RGB", (10, 10), os.urandom(300)) for _ in range(200)]
        judged = client(server).score(noisy, ["p" * 2000] * 200)  # the client keeps to the limits
        assert all(one.score is not None for one in judged)
        alone = client(server).score(greys(1), ["p" * 30_000])[0]  # cannot be made smaller
        assert "accepted are at most 20000" in alone.error


def test_a_body_far_over_the_limit_is_not_read(server):
    """A length of 1 TB is answered at once, or the connection is closed, without waiting for it."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as stream:
        head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        stream.sendall(head + b"Content-Length: 1000000000000\r\n\r\n")
        stream.shutdown(socket.SHUT_WR)
        assert b" 413 " in stream.makefile("rb").readline()
    for length in ("-1", "many", "1e3", "9" * 30, "²"):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as stream:
            stream.sendall(f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
            assert b" 411 " in stream.makefile("rb").readline()


def test_only_json_is_taken(server):
    # what a page in a browser could send
    assert ask(server, body=b"a=1", headers={"Content-Type": "text/plain"})[0] == 415
    assert ask(server, "GET", "/score")[0] == 404


def test_the_token(monkeypatch):
    with running(ScoringServer(Brightness(), token="s3cret")) as server:
        good = {"items": [item(png(greys(4)[0]))]}
        right = "Bearer s3cret"
        assert ask(server, "GET", "/health")[0] == 200
        wrong = ["Bearer sécret", "Bearer ", "Bearer wrong", right[:-1], right + "x", "Basic abc"]
        for headers in ({}, *({"Authorization": text} for text in wrong)):
            status, answer = ask(server, body=good, headers=headers)
            assert status == 401 and "token" in answer["error"]
            assert ask(server, "GET", "/hello", headers=headers)[0] == 401
            assert ask(server, "GET", "/elsewhere", headers=headers)[0] == 401
        assert server.scorer.batches == []
        assert ask(server, body=good, headers={"Authorization": right})[1]["items"][0]["score"] == 4
        with pytest.raises(UserError, match=rf"401.*\${TOKEN}"):
            client(server, token="wrong")
        assert client(server, token="s3cret").score(greys(4), ["a"])[0].score == 4
        monkeypatch.setenv(TOKEN, "s3cret")
        assert connect(f"brightness={url(server)}").score(greys(4), ["a"])[0].score == 4


def test_a_request_is_decoded_while_the_model_is_at_another(brightness_server, monkeypatch):
    """Two batches are on their way: the second one's pictures are read before the first one has been judged."""
    read, asked = threading.Event(), []
    decoded = serving.decoded

    def noting(*args):
        asked.append(args)
        if len(asked) > 16:
            read.set()
        return decoded(*args)

    monkeypatch.setattr(serving, "decoded", noting)
    judge = brightness_server.scorer.score
    monkeypatch.setattr(
        brightness_server.scorer, "score", lambda images, prompts: (read.wait(60), judge(images, prompts))[1]
    )
    judged = client(brightness_server).score(greys(*range(32)), ["a"] * 32)
    assert read.is_set() and [one.score for one in judged] == list(range(32))
