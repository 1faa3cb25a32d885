"""The client of a served scorer, and the command that serves one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from bench import serve as command
from bench.scorers import registry, servers
from bench.scorers.remote import TOKEN, RemoteScorer, connect
from bench.scorers.serving import ScoringServer
from bench.scorers.web import Connection, check_url
from htgrpo.base.errors import UserError
from tests.scorers.brightness import Brightness, client, greys


@pytest.fixture
def server(brightness_server):
    return brightness_server


def hello(**changes):
    about = {
        "name": "brightness", "title": "B", "version": "1", "needs_prompt": True, "higher_is_better": True,
        "published_range": "", "reward_scale": 1.0, "axes": [], "reads_spec": False,
    }  # fmt: skip
    limits = {"body": 10**6, "items": 100, "pixels": 10**6}
    return {"protocol": 1, "identity": {"name": "brightness"}, "scorer": about, "limits": limits} | changes


def canned_client(canned, answer, **options):
    def reply(path, body):
        return json.dumps(hello()).encode() if path == "/hello" else answer(json.loads(body))

    canned.reply = reply
    return RemoteScorer(
        "brightness", Connection(canned.url, **{"retries": 2, "backoff": 0.0, "timeout": 60.0} | options)
    )


def test_a_busy_server_is_asked_again(canned):
    scorer = canned_client(canned, lambda body: json.dumps({"items": [{"id": "0", "score": 1}]}).encode())
    canned.fails = [503, 502]
    assert scorer.score(greys(1), ["a"])[0].score == 1


def test_a_server_that_stays_away_fails_pictures_with_the_reason(canned):
    scorer = canned_client(canned, lambda body: json.dumps({"items": [{"id": "0", "score": 1}]}).encode())
    canned.fails, canned.meet = [503] * 6, threading.Barrier(2, timeout=60).wait
    judged = scorer.score(greys(*range(32)), ["a"] * 32)  # two batches, on their way together: three tries each
    assert [one.score for one in judged] == [None] * 32 and "failed: unwell" in judged[0].error
    assert len(canned.requests) == 6
    canned.meet = lambda: None
    assert scorer.score(greys(1), ["a"])[0].score == 1  # it came back


def test_a_server_that_dies_is_a_failure_not_an_end(canned):
    scorer = canned_client(canned, lambda body: b"", timeout=2.0, retries=1)
    canned.shutdown()
    canned.server_close()
    judged = scorer.score(greys(1, 2), ["a", "b"])
    assert all("gave no answer in 2 tries" in one.error for one in judged)


def test_a_silent_server_is_not_waited_for_long(canned):
    release = threading.Event()
    scorer = canned_client(canned, lambda body: release.wait(60) and b"", timeout=0.2, retries=0)
    started = time.monotonic()
    assert "gave no answer in 1 tries" in scorer.score(greys(1), ["a"])[0].error
    assert time.monotonic() - started < 30
    release.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"no json", b"[]", b'{"items": 3}', b'{"items": [[]]}', b'{"items": [{"id": "7", "score": 1}]}',
        b'{"items": [{"id": "0"}]}', b'{"items": [{"id": "0", "score": NaN}]}', b'{"items": []}',
    ],
)  # fmt: skip
def test_answers_that_are_no_judgements_fail(canned, answer):
    judged = canned_client(canned, lambda body: answer).score(greys(1), ["a"])
    assert judged[0].score is None and judged[0].error


def test_redirects_are_not_followed(canned):
    scorer = canned_client(canned, lambda body: b"{}")
    canned.fails = [302]
    assert "unwell" in scorer.score(greys(1), ["a"])[0].error and len(canned.requests) == 1


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (hello(protocol=2), "by protocol 2, wanted is 'brightness' by 1"),
        (hello(scorer={**hello()["scorer"], "name": "darkness"}), "serves 'darkness'"),
        ({"hello": 1}, "is no server of ours"),
        ([], "is no server of ours"),
    ],
)
def test_servers_that_are_not_ours(canned, said, sentence):
    canned.reply = lambda path, body: json.dumps(said).encode()
    with pytest.raises(UserError, match=sentence):
        RemoteScorer("brightness", Connection(canned.url, retries=0))


def test_nobody_there():
    with pytest.raises(UserError, match="gave no answer in 1 tries.*python -m bench.serve brightness"):
        RemoteScorer("brightness", Connection("http://127.0.0.1:9", retries=0))


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client(server, retries=0).score(greys(1), ["a"])[0].score == 1


@pytest.mark.parametrize(
    "text",
    [
        "brightness", "brightness=", "=http://x", "x=ftp://x", "x=file:///etc/passwd", "x=http://", "x=http://h:port",
        "x=http://u:p@h", "x=gopher+http://h", "hpsv3=openai+http://h", "x=http://h:99999", "x=h:1",
    ],
)  # fmt: skip
def test_addresses_that_are_none(text):
    with pytest.raises(UserError) as caught:
        connect(text)
    assert "http://HOST:PORT" in caught.value.message


def test_a_name_given_twice(monkeypatch):
    monkeypatch.setenv(servers.URLS, "")
    one = "brightness=http://h:1"
    with pytest.raises(UserError, match="twice"):
        servers.use_servers([one, one])
    servers.use_servers([one])
    assert servers.servers() == {"brightness": one}
    assert check_url("https://host/path/") == "https://host/path"
    with pytest.raises(UserError, match="--scorer-url"):
        RemoteScorer.load()


# the command

PROGRAM = """
import sys
from types import SimpleNamespace
from bench.ask.cli import run_main
from bench.scorers import registry
from tests.scorers.brightness import Brightness
registry.SCORERS = SimpleNamespace(names=lambda: ["brightness"], get={"brightness": Brightness}.get)
from bench import serve
run_main(lambda: serve.main(sys.argv[1:]))
"""


def serve(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_ended(end):
    with serve("brightness", "--port", "0", "--token", "t") as process:
        line = process.stdout.readline()
        assert line.startswith("serving brightness at http://127.0.0.1:") and "with a token" in line
        remote = RemoteScorer("brightness", Connection(line.split()[3], {"Authorization": "Bearer t"}))
        assert remote.score(greys(8), ["a"])[0].score == 8
        process.send_signal(end)
        assert process.wait(600) == 0 and process.stderr.read() == ""


def test_the_command_does_not_serve_what_fails_its_test(monkeypatch, capsys):
    known = SimpleNamespace(names=lambda: ["brightness"], get={"brightness": Brightness}.get)
    monkeypatch.setattr(registry, "SCORERS", known)
    monkeypatch.setenv("BRIGHTNESS_FAILS", "1")
    assert command.main(["brightness", "--port", "0"]) == 1
    assert "not to be trusted: it cannot tell dark from light" in capsys.readouterr().err
    monkeypatch.delenv("BRIGHTNESS_FAILS")
    with pytest.raises(UserError, match=f"set a token in \\${TOKEN}"):
        command.main(["brightness", "--host", "0.0.0.0"])


def test_a_port_in_use(server):
    with pytest.raises(UserError, match="choose another --port"):
        ScoringServer(Brightness(), port=server.server_port)
