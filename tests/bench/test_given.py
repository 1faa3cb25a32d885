"""Pictures from other models: how they lie in a folder, whose they are, and scoring them side by side."""

import json

import pytest
from PIL import Image

from bench import score
from bench.given import prompts as given_prompts
from bench.given.layouts import read
from bench.given.pairing import assigned, own_prompts
from bench.given.prompts import GivenPrompts, benchmarks_for
from bench.record.rundir import RunDir
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl
from htgrpo.base.prompts import Prompt
from tests.bench.test_judging import PROMPTS, Grey
from tests.bench.tiny_runs import leave


def save(path, grey=0, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey,) * 3).save(path)


@pytest.fixture
def greys(monkeypatch):
    """The only benchmark there is: Grey, whose six prompts are texts 0 to 5."""
    monkeypatch.setattr(given_prompts, "make", lambda name: Grey(name))


def flat(folder, count=6, samples=2, step=1):
    lines = []
    for number in range(count):
        for sample in range(samples):
            save(folder / f"{number}-{sample}.png", 10 * step * (2 * number + sample))
            lines.append({"image": f"{number}-{sample}.png", "prompt": f"text {number}"})
    path = folder.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_genevals_layout_is_recognised_and_its_texts_are_compared(tmp_path):
    for number in range(2):
        for sample in range(3):
            save(tmp_path / f"{number:05d}/samples/{sample:04d}.png")
        (tmp_path / f"{number:05d}/metadata.jsonl").write_text(json.dumps({"prompt": f"text {number}"}))
    save(tmp_path / "00000/grid.png")
    read_so = read(tmp_path, "auto", None, None)
    found = read_so.pictures
    assert read_so.layout == "geneval" and [p.prompt for p in found] == [f"{n:05d}" for n in (0, 1) for _ in range(3)]
    assert read_so.notes == ["left out: 1 (00000/grid.png), each a picture, but outside NUMBER/samples/"]
    prompts = [Prompt(f"{n:05d}", f"text {n}", "", {}) for n in range(2)]
    assert len(assigned(found, prompts, "geneval")) == 6
    with pytest.raises(UserError, match="another version of the prompts"):
        assigned(found, [prompts[0], Prompt("00001", "text one", "", {})], "geneval")
    with pytest.raises(UserError, match="belongs to no prompt of geneval"):
        assigned(found, prompts[:1], "geneval")


def test_dpgs_grids_are_four_pictures_and_single_files_are_one(tmp_path):
    save(tmp_path / "grids/partiprompts9.x.png", size=(8, 8))
    found = read(tmp_path / "grids", "dpg-grid", None, None).pictures
    assert [p.crop for p in found] == [(0, 0, 4, 4), (4, 0, 8, 4), (0, 4, 4, 8), (4, 4, 8, 8)]
    assert found[0].prompt == "partiprompts9"
    with pytest.raises(UserError, match="measures 8 x 8, but a grid of four 5 px pictures"):
        read(tmp_path / "grids", "dpg-grid", None, 5)
    for name in ("a_0", "a_1", "a_10", "a_2", "b/0", "b/1"):
        save(tmp_path / f"single/{name}.png")
    found = read(tmp_path / "single", "dpg", None, None).pictures
    assert [(p.prompt, p.file.stem) for p in found] == [
        ("a", "a_0"), ("a", "a_1"), ("a", "a_2"), ("a", "a_10"), ("b", "0"), ("b", "1"),
    ]  # fmt: skip
    save(tmp_path / "single/c.png")
    with pytest.raises(UserError, match="use --layout dpg-single"):
        read(tmp_path / "single", "dpg", None, None)


def test_flat_folders_take_their_prompts_from_a_file_or_from_beside(tmp_path):
    prompts = flat(tmp_path / "flat")
    found = read(tmp_path / "flat", "auto", prompts, None)
    assert found.layout == "flat" and [p.text for p in found.pictures[:3]] == ["text 0", "text 0", "text 1"]
    assert [p.id for p in own_prompts(found.pictures)] == [f"{n:05d}" for n in range(6)]
    for path in (tmp_path / "flat").glob("*.png"):
        path.with_suffix(".txt").write_text("beside")
    found = read(tmp_path / "flat", "auto", None, None)
    assert found.layout == "flat" and {p.text for p in found.pictures} == {"beside"} and found.notes == []


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    save(tmp_path / "a/x.png")
    with pytest.raises(UserError, match="is no folder"):
        read(tmp_path / "none", "auto", None, None)
    with pytest.raises(UserError, match="cannot be told: name it with --layout"):
        read(tmp_path / "a", "auto", None, None)
    with pytest.raises(UserError, match="unknown layout 'flatt'.*'flat'"):
        read(tmp_path / "a", "flatt", None, None)
    outside = tmp_path / "p.jsonl"
    outside.write_text('{"image": "../secret.png", "prompt": "x"}\n')
    save(tmp_path / "secret.png")
    with pytest.raises(UserError, match="not in"):
        read(tmp_path / "a", "flat", outside, None)
    outside.write_text('{"image": "x.png"}\n')
    with pytest.raises(UserError, match='line 1 .* has no "prompt"'):
        read(tmp_path / "a", "flat", outside, None)
    (tmp_path / "a/torn.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="torn.png' cannot be read as a picture"):
        read(tmp_path / "a", "dpg-grid", None, None)


def test_scorers_judge_what_is_given(tmp_path):
    found = read(tmp_path / "flat", "flat", flat(tmp_path / "flat"), None).pictures
    named = benchmarks_for(["hpsv3", "clip"], "flat", found)
    assert list(named) == ["hpsv3@given", "clip@given"] and named["clip@given"].picture_set == "given"
    assert [p.text for p in named["clip@given"].prompts("heldout")] == [f"text {n}" for n in range(6)]
    assert list(benchmarks_for(["hpsv3"], "geneval", found)) == ["hpsv3@geneval"]
    assert list(benchmarks_for(["hpsv3"], "dpg-grid", found)) == ["hpsv3"]
    assert list(benchmarks_for(["geneval2", "clip"], "flat", found)) == ["geneval2", "clip@geneval2"]
    with pytest.raises(UserError, match="judges the dpg pictures, but those given are geneval"):
        benchmarks_for(["dpg"], "geneval", found)
    with pytest.raises(UserError, match="no rule of their own"):
        GivenPrompts([]).judge([], [])


def test_two_models_are_scored_side_by_side_and_a_second_call_adds_to_the_run(tmp_path, greys, capsys):
    prompts = flat(tmp_path / "one")
    flat(tmp_path / "two", step=2)
    run = tmp_path / "run"
    common = ["--prompts", str(prompts), "--benchmarks", "geneval", "--out", str(run)]
    assert leave(score.main, ["--images", f"one={tmp_path / 'one'}", *common, "--note", "made at home"]) == 0
    two = tmp_path / "two.jsonl"
    assert leave(score.main, ["--images", f"two={tmp_path / 'two'}", "--prompts", str(two), *common[2:]]) == 0
    for label, step in (("one", 1), ("two", 2)):
        records = read_jsonl(run / f"verdicts/geneval/main/{label}.jsonl")
        assert [record["score"] for record in records] == [min(255.0, 10.0 * step * i) for i in range(12)]
    config = RunDir(run).config()
    assert config["kind"] == "images" and config["methods"] == ["one", "two"]
    assert config["folders"][0]["note"] == "made at home"
    assert "two" in capsys.readouterr().out
    assert leave(score.main, [str(run)]) == 0
    save(tmp_path / "one/0-0.png", 99)
    assert leave(score.main, [str(run)]) == 0
    assert read_jsonl(run / "verdicts/geneval/main/one.jsonl")[0]["score"] == 99.0
    clash = ["--images", f"one={tmp_path / 'two'}", "--prompts", str(two), *common[2:]]
    assert leave(score.main, clash) == 2 and "other pictures under 'one'" in capsys.readouterr().err


def test_missing_pictures_are_said_and_withhold_the_headline(tmp_path, greys, capsys):
    prompts = flat(tmp_path / "one", count=5)
    argv = [
        "--images", str(tmp_path / "one"), "--prompts", str(prompts), "--benchmarks", "geneval", "--out",
        str(tmp_path / "run"),
    ]  # fmt: skip
    assert leave(score.main, [*argv, "--dry-run"]) == 0 and not (tmp_path / "run").exists()
    assert "one: 10 of 12 pictures for geneval" in capsys.readouterr().out
    assert leave(score.main, argv) == 3
    out = capsys.readouterr()
    assert "2 of 12 pictures have no verdict (the picture was not generated)" in out.err
    assert leave(score.main, [*argv, "--limit", "4"]) == 2
    assert PROMPTS[0].text == "text 0"
    refused = (
        (["--policy", "embedded"], "--policy has no effect with --images"),
        (["--images", "two=/nowhere"], "is no folder"),
    )
    for flags, said in refused:
        assert leave(score.main, [*argv, *flags]) == 2 and said in capsys.readouterr().err


def test_a_judge_that_fails_on_one_folder_leaves_the_others_judged(tmp_path, monkeypatch, capsys):
    down = [True]

    class SometimesGone(Grey):
        def judge(self, pictures, prompts):
            if down and any(picture.getpixel((0, 0))[0] % 20 for picture in pictures):
                raise UserError("the scorer is not reachable: start it")
            return super().judge(pictures, prompts)

    monkeypatch.setattr(given_prompts, "make", lambda name: SometimesGone(name))
    flat(tmp_path / "two", step=2)
    argv = [
        "--images", f"one={tmp_path / 'one'}", "--images", f"two={tmp_path / 'two'}", "--prompts",
        str(flat(tmp_path / "one")), "--benchmarks", "geneval", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    assert leave(score.main, argv) == 3
    told = capsys.readouterr().err
    assert "failed: one: the scorer is not reachable: start it" in told and "mend or add" not in told
    assert told.endswith("some of it is missing: the same command does what is left\n")
    assert len(read_jsonl(tmp_path / "run/verdicts/geneval/main/two.jsonl")) == 12
    down.clear()
    assert leave(score.main, argv) == 0
    assert len(read_jsonl(tmp_path / "run/verdicts/geneval/main/one.jsonl")) == 12
