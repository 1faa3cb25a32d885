"""UniGenBench++ against a server in this process: what is asked, how answers are read, and upstream's formulas."""

import ast
import csv
import json
from collections import Counter, defaultdict

import pytest
from PIL import Image

from bench.benchmarks import unigenbench as benchmark_file
from bench.benchmarks.unigenbench import UniGenBench, UniGenBenchLong, dimension
from bench.scorers import instructions
from bench.scorers.base import Unscorable
from bench.scorers.remote import connect
from bench.scorers.unigenbench import UniGenBenchServer, read, read_spec
from bench.sources import assets as sources
from htgrpo.base.errors import UserError
from tests.scorers import tiny

NAMES = ["Style", "Attribute - Color", "Attribute - Size", "Text Generation"]
TEXTS = {
    "unigenbench.instruction": "P「{prompt}」 T{testpoint} E{explanation} D{test_explanation} <prompt>{prompt}</prompt>",
    "unigenbench.definitions_head": "Defined",
    "unigenbench.descriptions_head": "Described",
    "unigenbench.definitions": {name: f"what {name} is" for name in (*NAMES, "Attribute - Shape")},
}
ORIGIN = "CodeGoat24/UniGenBench-EvalModel-qwen3vl-32b-v1"
TABLE = [
    (["Style", "Attribute - Color"], ["ink", "red {x}"]),
    (["Attribute - Color", "Attribute - Color", "Attribute - Size"], ["red", "blue", "large"]),
    (["Text Generation"], ['the word "a"']),
    (["Style", "Text Generation", "Attribute - Size"], ["oil", "b", "small"]),
]


def spec(names, descriptions, prompt='a "red" {cat}'):
    return json.dumps({"prompt": prompt, "testpoints": names, "descriptions": descriptions})


PROMPT = spec(*TABLE[0])


def written(*scores, said=None):
    """An answer as upstream wants it."""
    said = ["it's so"] * len(scores) if said is None else said
    return f"<description>\n<analysis>{said!r}</analysis>\n<score>{list(scores)!r}</score>\n</description>"


@pytest.fixture
def served(canned, monkeypatch, tmp_path):
    """A server that lists one model and writes `answer` (a text, or a function of the request) to every question."""
    tiny.write_json(tmp_path / "strings.json", TEXTS)
    monkeypatch.setattr(instructions, "asset", lambda name: tmp_path / "strings.json")
    canned.answer, canned.model = written(1, 0), "UniGenBench"

    def reply(path, body):
        if path == "/v1/models":
            return json.dumps({"data": [{"id": "UniGenBench", "root": ORIGIN}]}).encode()
        text = canned.answer(json.loads(body)) if callable(canned.answer) else canned.answer
        return json.dumps({"model": canned.model, "choices": [{"message": {"content": text}}]}).encode()

    canned.reply = reply
    return canned


def scorer(served):
    return UniGenBenchServer(served.url, retries=1, backoff=0.0, concurrency=4)


def picture():
    return Image.new("RGB", (40, 20), (90, 90, 90))


def test_the_request_is_upstreams_at_temperature_0(served):
    (judged,) = scorer(served).score([picture()], [PROMPT])
    assert judged.score == 0.5
    request = json.loads(served.requests[0])
    assert (request["temperature"], request["max_tokens"], request["model"]) == (0, 4096, "UniGenBench")
    image, text = request["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,") and len(request["messages"]) == 1
    explained = "Defined:「\nStyle: what Style is\nAttribute - Color: what Attribute - Color is\n」"
    described = "Described:「\nStyle: ink\nAttribute - Color: red {x}\n」"
    names = "['Style', 'Attribute - Color']"
    prompt = 'a "red" {cat}'
    assert text["text"] == f"P「{prompt}」 T{names} E{explained} D{described} <prompt>{prompt}</prompt>"
    assert judged.evidence["testpoints"][1] == {"name": "Attribute - Color", "holds": False, "analysis": "it's so"}


def upstreams(answer, count):
    """parse_evaluation_response and the counting of calculate_scores in other words; None where upstream leaves a
    picture out."""
    try:
        parts = [answer.split(f"<{tag}>")[1].split(f"</{tag}>")[0] for tag in ("analysis", "score")]
        said, scores = (ast.literal_eval(part.strip()) for part in parts)
        return None if (len(said), len(scores)) != (count, count) else [score == 1 for score in scores]
    except (IndexError, ValueError, SyntaxError, TypeError):
        return None


@pytest.mark.parametrize(
    "answer",
    [
        written(1, 0),
        written(1, 1),
        written("1", 1),
        written(True, 1.0),
        written(2, -1),
        written(1),
        written(1, 0, said=["one"]),
        written(1, 0, said=["an 'apostrophe'", 'and "quotes"']),
        "<score>[1, 1]</score>",
        "<analysis>['a', 'b']</analysis>",
        "<analysis>['a', 'b'</analysis><score>[1, 1]</score>",
        "<analysis>['it's', 'b']</analysis><score>[1, 1]</score>",
        "<analysis>['a', 'b']</analysis><score>[1, one]</score>",
        "<analysis>['a', 'b']</analysis><score>1</score>",
        "<analysis>\n['a', 'b']\n</analysis> <score> [0, 1] </score> <score>[1, 1]</score>",
        "",
    ],
)
def test_answers_are_read_as_upstream_does_and_unread_ones_said(answer, served):
    served.answer, wanted = answer, upstreams(answer, 2)
    (judged,) = scorer(served).score([picture()], [PROMPT])
    if wanted is None:
        assert judged.score is None and judged.error.startswith("unparsed: the answer")
        with pytest.raises(Unscorable):
            read(answer, 2)
    else:
        assert judged.score == sum(wanted) / 2 and read(answer, 2)[1] == wanted


def test_one_unread_answer_leaves_the_others(served):
    served.answer = lambda request: written(1, 1) if "「good」" in str(request) else "no idea"
    prompts = [spec(*TABLE[0], prompt=text) for text in ("good", "bad", "good")]
    judged = scorer(served).score([picture()] * 3, prompts)
    assert [one.score for one in judged] == [1.0, None, 1.0] and "unparsed" in judged[1].error
    assert len(served.requests) == 3, "nothing is asked twice"


def test_the_judge_is_named_and_another_one_refused(served):
    one = scorer(served)
    said = {key: one.identity()[key] for key in ("name", "model", "weights_revision", "temperature")}
    assert said == {"name": "unigenbench", "model": "UniGenBench", "weights_revision": ORIGIN, "temperature": 0}
    assert connect(f"unigenbench=openai+{served.url}").identity() == one.identity()
    served.model = "another"
    (judged,) = one.score([picture()], [PROMPT])
    assert "answered by the model 'another', but 'UniGenBench' was asked" in judged.error
    for call in (UniGenBenchServer.load, UniGenBenchServer.find):
        with pytest.raises(UserError, match="vllm serve CodeGoat24/UniGenBench-EvalModel-qwen3vl-32b-v1 .*openai"):
            call()
    with pytest.raises(UserError, match="'clip' has no OpenAI interface"):
        connect(f"clip=openai+{served.url}")


@pytest.mark.parametrize(
    "prompt, said",
    [
        ("a cat", "it has no testpoints"),
        (spec([], []), "it has 0 testpoints and 0 descriptions"),
        (spec(["Style"], []), "it has 1 testpoints and 0 descriptions"),
        (spec(["Smell"], ["sweet"]), "the testpoint 'Smell', but UniGenBench knows Style"),
    ],
)
def test_a_prompt_without_testpoints_is_refused(prompt, said, served):
    (judged,) = scorer(served).score([picture()], [prompt])
    assert said in judged.error and served.requests == []


def test_the_self_test_asks_about_drawings(served):
    one = scorer(served)
    assert one.tested_on() == 6 and len(one.self_test()) == 3, "a judge that says the same of all fails"
    right = {"red": (220, 30, 30), "blue": (30, 60, 220), "green": (30, 160, 60)}

    def looks(request):
        import base64
        import io

        image, text = request["messages"][0]["content"]
        seen = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].partition("base64,")[2])))
        colour = next(name for name in right if f"the colour is {name}" in text["text"])
        near = all(abs(a - b) < 12 for a, b in zip(seen.convert("RGB").getpixel((256, 300)), right[colour]))
        return written(int(near), 1)

    served.answer = looks
    assert one.self_test() == []


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A small table in the published form."""
    with open(tmp_path / "prompts.csv", "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["index", "prompt_en", "sub_dims_en"])
        for number, (names, told) in enumerate(TABLE):
            line = json.dumps({"Primary Categories": "x", "Testpoints": names, "Testpoint Description": told})
            rows.writerow([number, f"prompt {number}", line])
    monkeypatch.setattr(benchmark_file, "asset", lambda name: tmp_path / "prompts.csv")


def test_the_headline_is_upstreams_mean_of_dimensions(served, table):
    """With two pictures a prompt: calculate_scores restated, and the mean over prompts of what the records say."""
    answers = {0: [(1, 0), (1, 1)], 1: [(0, 1, 1), (0, 0, 1)], 2: [(1,), (0,)], 3: [(0, 0, 1), (1, 1, 1)]}
    given = {number: iter(lots) for number, lots in answers.items()}
    served.answer = lambda request: written(*next(given[int(str(request).partition("P「prompt ")[2][0])]))
    one = UniGenBench()
    one._scorer = scorer(served)
    one._scorer.concurrency = 1
    prompts = [prompt for prompt in one.prompts("heldout") for _ in range(2)]
    records = one.judge([picture()] * len(prompts), prompts)

    counts = defaultdict(lambda: [0, 0])
    for number, lots in answers.items():
        for lot in lots:
            for name, score in zip(TABLE[number][0], lot):
                for kind in {name.split("-", 1)[0].strip(), name}:
                    counts[kind][0] += score == 1
                    counts[kind][1] += 1
    dims = {kind: hits / of for kind, (hits, of) in counts.items() if " - " not in kind}
    assert set(dims) == {"Style", "Attribute", "Text Generation"}
    overall = sum(record["score"] for record in records) / len(records)
    assert overall == pytest.approx(sum(dims.values()) / len(dims))
    asked = [question for record in records for question in record["evidence"]["questions"]]
    for kind, (hits, of) in counts.items():
        scores = [question["score"] for question in asked if question["category"] == kind]
        assert (sum(scores), len(scores)) == (hits, of), kind
    first = records[0]["evidence"]
    assert first["overall"] == records[0]["score"] and first["share"] == 0.5 and set(one.axes) <= set(first)
    json.dumps(records, allow_nan=False)


def test_an_unread_answer_is_a_failed_picture_of_the_benchmark(served, table):
    served.answer = "no idea"
    one = UniGenBench()
    one._scorer = scorer(served)
    (record,) = one.judge([picture()], one.prompts("heldout")[:1])
    assert set(record) == {"error"} and "unparsed" in record["error"]
    assert one.picture_set == "unigenbench" and one.top is None and "CC BY 4.0" in one.note
    with pytest.raises(UserError, match="'unigenbench' has prompts of its own$"):
        UniGenBench.on("unigenbench")


def test_the_published_prompts():
    for name in ("unigenbench_en", "unigenbench_en_long", "unigenbench_strings"):
        if sources.find(sources.named(name)) is None:
            pytest.skip(f"UniGenBench++'s files are not here: python -m bench.fetch {name} (CC BY 4.0)")
    prompts = UniGenBench().prompts("heldout")
    names = [name for prompt in prompts for name in prompt.spec["testpoints"]]
    assert len(prompts) == len({prompt.text for prompt in prompts}) == 600 and len(names) == 1813
    assert Counter(map(dimension, names)) == {
        "Action": 263, "Style": 250, "Attribute": 234, "Relationship": 197, "Compound": 194, "Grammar": 187,
        "World Knowledge": 158, "Entity Layout": 134, "Logical Reasoning": 109, "Text Generation": 87,
    }  # fmt: skip
    known = instructions.instruction("unigenbench.definitions", "unigenbench_strings")
    assert len(known) == 27 and set(names) == set(known)
    everything_holds = sum(UniGenBench().weights[dimension(name)] for name in names) / 600
    assert everything_holds == pytest.approx(1.0)
    asked = [read_spec(json.dumps(prompt.spec)) for prompt in prompts]
    assert all(1 <= len(one.testpoints) <= 5 for one in asked)
    long = UniGenBenchLong().prompts("heldout")
    counts = [len(read_spec(json.dumps(prompt.spec)).testpoints) for prompt in long]
    assert len(long) == 600 and set(counts) <= set(range(4, 11)) and sum(counts) == 3920
    assert long[509].spec["testpoints"].count("Grammar - Negation") == 1 and counts[509] == 5
