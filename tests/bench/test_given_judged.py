"""Given pictures are judged under their own prompts, from the folder to the headline."""

import pytest
from PIL import Image

from bench import score
from bench.given import prompts as given_prompts
from bench.record.rundir import RunDir
from bench.scorers import opening
from bench.scorers.base import Judged
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt
from tests.bench.pairings import lines
from tests.bench.test_given import save
from tests.bench.test_judging import Grey
from tests.bench.tiny_runs import leave

TWELVE = [f"prompt {number}" for number in range(12)]


class GivenGrey(Grey):
    """Judges whatever is given, by its grey value and its own prompts."""

    pictures = ""
    known: list = []

    def prompts(self, split):
        return self.known

    drawn = prompts


@pytest.fixture
def greys(monkeypatch):
    monkeypatch.setattr(given_prompts, "make", lambda name: GivenGrey(name))


def graded(folder, count=12):
    for number in range(count):
        save(folder / f"{number}.png", 10 * number)
    return folder


def test_the_tenth_picture_is_judged_under_the_tenth_prompt(tmp_path, greys, monkeypatch, capsys):
    """And the pairing is shown before anything is judged."""
    monkeypatch.setattr(GivenGrey, "known", [Prompt(f"p{n}", text, "a", {}) for n, text in enumerate(TWELVE)])
    folder = graded(tmp_path / "in")
    (folder / "0001.png.tmp").write_text("")
    prompts = lines(folder, *TWELVE)
    argv = [
        "--images", str(folder), "--prompts", str(prompts), "--benchmarks", "geneval", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert leave(score.main, [*argv, "--dry-run"]) == 0
    out = capsys.readouterr().out
    for line in (
        "in: 12 pictures, such as",
        "0.png: 'prompt 0' (prompt p0, picture 0)",
        "11.png: 'prompt 11' (prompt p11, picture 0)",
        "left out: 1 (0001.png.tmp), each no picture by its ending",
    ):
        assert line in out
    assert out.count("(prompt p") == 6 and not (tmp_path / "run").exists()
    assert leave(score.main, argv) == 0
    assert "11.png: 'prompt 11'" in capsys.readouterr().err
    records = read_jsonl(tmp_path / "run/verdicts/geneval/main/in.jsonl")
    assert [(record["prompt"], record["score"]) for record in records] == [
        (text, 10.0 * n) for n, text in enumerate(TWELVE)
    ]


def test_a_list_with_one_line_twice_works_to_the_headline(tmp_path, brightness_given, capsys):
    folder = graded(tmp_path / "in", 5)
    prompts = lines(folder, "a", "b", "a", "c", "d")
    argv = ["--images", str(folder), "--prompts", str(prompts), "--benchmarks", "hpsv3", "--out", str(tmp_path / "run")]
    assert leave(score.main, argv) == 0
    out = capsys.readouterr()
    assert "have no verdict" not in out.err + out.out
    records = read_jsonl(tmp_path / "run/verdicts/hpsv3@given/main/in.jsonl")
    assert [(record["prompt"], record["score"]) for record in records] == list(zip("abacd", (0, 10, 20, 30, 40)))
    assert brightness_given == list("abacd")


def test_two_folders_under_one_prompt_must_show_it(tmp_path, brightness_given, capsys):
    one, two = graded(tmp_path / "one", 3), graded(tmp_path / "two", 3)
    common = ["--benchmarks", "hpsv3", "--out", str(tmp_path / "run")]
    assert leave(score.main, ["--images", str(one), "--prompts", str(lines(one, "a", "b", "c")), *common]) == 0
    other = lines(two, "a", "c", "b", name="q.txt")
    assert leave(score.main, ["--images", str(two), "--prompts", str(other), *common]) == 2
    assert "'one' and 'two' do not show the same prompts (00001: 'b' and 'c')" in capsys.readouterr().err
    assert RunDir(tmp_path / "run").config()["methods"] == ["one"]


@pytest.fixture
def brightness_given(monkeypatch):
    """hpsv3 as a scorer that answers with the grey value; the prompts that it was asked."""
    asked = []

    class Stand:
        reads_spec = False

        def score(self, images, prompts):
            asked.extend(prompts)
            return [Judged.of(float(image.convert("L").getpixel((0, 0)))) for image in images]

        def close(self):
            pass

    monkeypatch.setattr(opening, "open_scorer", lambda *_: Stand())
    monkeypatch.setattr(opening, "identity_of", lambda name: {"name": name, "version": "1", "weights_revision": None})
    monkeypatch.setattr("bench.run.plan.without_scorers", lambda benchmarks: [])
    return asked


def test_scorers_of_prompts_are_not_asked_without_one(tmp_path, brightness_given, capsys):
    folder = graded(tmp_path / "in", 3)
    argv = ["--images", str(folder), "--layout", "flat", "--out", str(tmp_path / "run"), "--benchmarks"]
    assert leave(score.main, [*argv, "hpsv3"]) == 2
    assert "0.png' came without one: give --prompts FILE" in capsys.readouterr().err
    assert leave(score.main, [*argv, "deqa"]) == 0
    assert "no picture has a prompt" in capsys.readouterr().err


def test_sixteen_bits_of_grey_score_as_eight(tmp_path, brightness_given):
    folder = tmp_path / "in"
    save(folder / "0.png", 100)
    Image.new("I;16", (4, 4), 100 * 257).save(folder / "1.png")
    prompts = lines(folder, "a", "b")
    argv = ["--images", str(folder), "--prompts", str(prompts), "--benchmarks", "hpsv3", "--out", str(tmp_path / "run")]
    assert leave(score.main, argv) == 0
    assert [record["score"] for record in read_jsonl(tmp_path / "run/verdicts/hpsv3@given/main/in.jsonl")] == [
        100.0,
        100.0,
    ]
