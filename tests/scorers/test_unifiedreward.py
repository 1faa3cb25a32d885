"""UnifiedReward's client against a server in this process: what is asked, and how answers are read."""

import base64
import io
import json

import pytest
from PIL import Image

from bench.scorers import unifiedreward_answers
from bench.scorers.remote import connect
from bench.scorers.unifiedreward_client import UnifiedRewardServer
from htgrpo.base.errors import UserError

TEXTS = {"unifiedreward.v2_ACS": "Instruction of v2_ACS. Caption: [{prompt}] {braces}"}


@pytest.fixture
def served(canned, monkeypatch):
    """A server that lists one model and writes `answer` (a text, or a function of the request) to every question."""
    monkeypatch.setattr(unifiedreward_answers, "instruction", lambda key: TEXTS[key])
    canned.answer = "Alignment Score (1-5): 4\nCoherence Score (1-5): 3.5\nStyle Score (1-5): 3"

    def reply(path, body):
        if path == "/v1/models":
            return json.dumps(
                {"data": [{"id": "UnifiedReward", "root": "CodeGoat24/UnifiedReward-2.0-qwen3vl-8b"}]}
            ).encode()
        assert path == "/v1/chat/completions"
        text = canned.answer(json.loads(body)) if callable(canned.answer) else canned.answer
        return text if isinstance(text, bytes) else json.dumps({"choices": [{"message": {"content": text}}]}).encode()

    canned.reply = reply
    return canned


def scorer(served, **options):
    return UnifiedRewardServer(served.url, **{"retries": 1, "backoff": 0.0, "concurrency": 4} | options)


def axes(score):
    """An answer whose three scores are all that."""
    return "\n".join(f"{name} Score (1-5): {score}" for name in unifiedreward_answers.AXES)


def picture(value=90):
    return Image.new("RGB", (40, 20), (value, value, value))


def asked(served, number=0):
    return json.loads(served.requests[number])


def sent_picture(request):
    kind, _, data = request["messages"][0]["content"][0]["image_url"]["url"].partition(";base64,")
    return kind, base64.b64decode(data)


def test_the_request_is_upstreams(served):
    scorer(served, api_key="k").score([picture()], ['a "red" {prompt} cat'])
    request = asked(served)
    assert request["temperature"] == 0 and request["max_tokens"] == 4096 and request["model"] == "UnifiedReward"
    image, text = request["messages"][0]["content"]
    assert len(request["messages"]) == 1 and request["messages"][0]["role"] == "user"
    assert (image["type"], text["type"]) == ("image_url", "text")
    assert text["text"] == 'Instruction of v2_ACS. Caption: [a "red" {prompt} cat] {braces}'
    kind, data = sent_picture(request)
    expected = io.BytesIO()
    picture().save(expected, "JPEG", quality=95)
    assert kind == "data:image/jpeg" and data == expected.getvalue()
    assert served.headers[-1]["Authorization"] == "Bearer k"


def test_the_official_instructions_are_used(served, monkeypatch, assets):
    monkeypatch.undo()
    monkeypatch.setenv("HTGRPO_ASSETS", str(assets))
    scorer(served).score([picture()], ["a cat {x}"])
    text = asked(served)["messages"][0]["content"][1]["text"]
    assert text.endswith("[a cat {x}]") and "{prompt}" not in text and len(text) > 300


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Alignment Score (1-5): 4\nCoherence Score (1-5): 3.5\nStyle Score (1-5): 3", 3.5),
        ("Style Score: 1\nAlignment Score: 2\nCoherence Score: 3", 2.0),
        (
            'Word-wise Scores: [["cat", 0.1]]\n\nAlignment Score (1-5): 5\nCoherence Score (1-5): 5\nStyle Score (1-5): 5',
            5.0,
        ),
        ("Alignment Score (1-5): 4\nStyle Score (1-5): 3", None),
        ("Alignment Score (1-5): 4\nCoherence Score (1-5): 9\nStyle Score (1-5): 3", None),
        ("Alignment Score (1-5): X\nCoherence Score (1-5): Y\nStyle Score (1-5): Z", None),
        (axes(0.5), None),
        (axes("**3**"), None),
        (axes(3).lower(), None),
        (axes(2) + axes(5), 2.0),  # the first ones
        (axes("4."), 4.0),
        ("", None),
    ],
)
def test_three_axes(served, text, score):
    served.answer = text
    judged = scorer(served).score([picture()], ["a cat"])[0]
    assert judged.score == score
    if score is None:
        assert "Score from 1 to 5" in judged.error
    else:
        assert sum(judged.evidence[axis] for axis in ("alignment", "coherence", "style")) / 3 == score


def test_order_is_kept_and_failures_stay_alone(served, tmp_path):
    def answer(request):
        caption = request["messages"][0]["content"][1]["text"].partition("[")[2].partition("]")[0]
        return "no idea" if caption == "3" else axes(int(caption) % 5 + 1)

    served.answer = answer
    Image.effect_noise((64, 64), 80).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    pictures = [picture()] * 9 + [Image.open(tmp_path / "a.png")]
    judged = scorer(served).score(pictures, [str(n) for n in range(10)])
    assert [one.score for one in judged] == [1, 2, 3, None, 5, 1, 2, 3, 4, None]
    assert "cannot be decoded" in judged[9].error
    assert scorer(served).score([], []) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html>", "no chat completion"),
        (b'{"choices": []}', "no chat completion"),
        (b'{"choices": [{"message": {"content": null}}]}', "without a text"),
    ],
)
def test_answers_that_are_none(served, answer, reason):
    served.answer = lambda request: answer
    assert reason in scorer(served).score([picture()], ["a"])[0].error


def test_a_server_that_is_ill(served):
    one = scorer(served)
    served.fails, served.failure = [400], b'{"message": "the context is too long"}'
    assert "too long" in one.score([picture()], ["a" * 10_000])[0].error
    served.fails = [503, 200]
    assert one.score([picture()], ["a"])[0].score == 3.5


def test_identity_and_where_the_server_is(served):
    one = scorer(served)
    assert one.identity()["weights_revision"] == "CodeGoat24/UnifiedReward-2.0-qwen3vl-8b"
    assert one.identity()["variant"] == "v2_ACS"
    assert one.identity()["upstream"] is False and one.reward_scale == 0.2
    with pytest.raises(UserError, match="vllm serve"):
        UnifiedRewardServer.load()
    assert UnifiedRewardServer(served.url + "/v1/").connection.url == served.url
    assert connect(f"unifiedreward=openai+{served.url}").connection.url == served.url
    with pytest.raises(UserError, match="did you mean 'UnifiedReward'"):
        scorer(served, model="UnifiedRewards")
    served.reply = lambda path, body: b"[]"
    with pytest.raises(UserError, match="no OpenAI-compatible server"):
        scorer(served)
    served.fails = [401]
    with pytest.raises(UserError, match="does not list its models"):
        scorer(served)
