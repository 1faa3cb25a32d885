"""Judging pictures: benchmarks that share them, going on after an interruption, what fails alone."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from bench.ask.selection import select_all
from bench.benchmarks.base import PictureBenchmark
from bench.benchmarks.evaluation import Evaluation
from bench.benchmarks.registry import make
from bench.judge import judging
from bench.judge.judging import score
from bench.record.pictures import MANIFEST, write_meta
from bench.record.rundir import RunDir
from bench.record.verdicts import is_scored
from bench.record.work import Target
from htgrpo.base.errors import UserError
from htgrpo.base.files import read_jsonl, sha256_file
from htgrpo.base.prompts import Prompt
from htgrpo.base.records import FINAL

TARGET = Target("a-seed0", "a", 0, FINAL, "there", "hash", False, 1, 1)
VALUES = {"sampler": "made", "steps": 1, "guidance": 0.0, "resolution": "", "dtype": "float32", "seed": 0, "samples": 2}
PROMPTS = [Prompt(f"p{i}", f"text {i}", "ab"[i % 2], {}) for i in range(6)]


class Grey(PictureBenchmark):
    """Scores a picture by its grey value. It notes what it was given, and falls over `bad` pictures and batches that
    hold one."""

    title, world, version, categories, aggregate = "Grey", "made", "1", ("a", "b"), "item_mean"
    pictures = "greys"

    def __init__(self, name="grey", without=(), bad=None, refuses=""):
        self.name, self.without, self.bad, self.refuses, self.seen = name, without, bad, refuses, []

    def prompts(self, split):
        return [prompt for prompt in PROMPTS if prompt.id not in self.without]

    def drawn(self, split):
        return PROMPTS

    def trust(self):
        if self.refuses:
            raise UserError(self.refuses)

    def judge(self, pictures, prompts):
        values = [picture.getpixel((0, 0))[0] for picture in pictures]
        if self.bad in values:
            raise RuntimeError("too grey")
        self.seen += [(value, prompt.id) for value, prompt in zip(values, prompts, strict=True)]
        return [{"score": float(value), "evidence": {}} for value in values]

    def scorer_identity(self):
        return {"name": self.name, "version": "1", "weights_revision": None}


@pytest.fixture
def run(tmp_path):
    """A run with a picture of its own grey value for each of two samples of six prompts."""
    run = RunDir(tmp_path)
    evaluation = evaluations(Grey())[0]
    folder = run.images(TARGET.name, "greys", "main")
    folder.mkdir(parents=True)
    lines = []
    for number, (prompt, sample) in enumerate(evaluation.drawn_items):
        path = folder / f"{prompt.id}_{sample}.png"
        Image.new("RGB", (4, 4), (10 * number,) * 3).save(path)
        lines.append({"prompt_id": prompt.id, "sample": sample, "file": path.name, "sha256": sha256_file(path)})
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_meta(folder, evaluation, TARGET.sha256)
    return run


def evaluations(*benchmarks, limit=None):
    chosen = select_all({one.name: one for one in benchmarks}, "heldout", limit, {})
    return [Evaluation(name, "main", VALUES, one.prompts, one.sha256, one.drawn) for name, one in chosen.items()]


def judged(run, *benchmarks):
    named = {one.name: one for one in benchmarks}
    return score(run, TARGET, evaluations(*benchmarks), named, lambda part: None)


def verdicts(run, name="grey"):
    return read_jsonl(run.verdicts(TARGET.name, name, "main"))


def test_benchmarks_share_pictures_that_are_read_once(run, monkeypatch):
    reads, whole = [], judging.opened
    monkeypatch.setattr(judging, "opened", lambda *args: reads.append(1) or whole(*args))
    one, two = Grey(), Grey("other", without=("p3",))
    found = judged(run, one, two)
    assert len(reads) == 12 and (found["grey"].missing, found["other"].expected) == (0, 10)
    assert [record["score"] for record in verdicts(run)] == [10.0 * i for i in range(12)]
    assert [record["prompt_id"] for record in verdicts(run, "other")] == [
        f"p{i}" for i in (0, 0, 1, 1, 2, 2, 4, 4, 5, 5)
    ]
    meta = json.loads(run.verdicts(TARGET.name, "other", "main").with_suffix(".meta.json").read_text())
    assert meta["pictures"] == "greys" and meta["expected_images"] == 10
    sets = select_all({"grey": one, "other": two}, "heldout", 3, {})
    assert [p.id for p in sets["grey"].prompts] == ["p0", "p1", "p2"] and sets["grey"].drawn == sets["other"].drawn
    with pytest.raises(UserError, match="disagree about the greys pictures"):
        select_all({"grey": one, "other": two}, "heldout", None, {"grey": 2, "other": 3})


def test_an_interrupted_scoring_goes_on_where_it_was(run, monkeypatch):
    monkeypatch.setattr("bench.judge.judging.BATCH", 4)
    judged(run, Grey())
    expected = run.verdicts(TARGET.name, "grey", "main").read_bytes()
    for path in run.root.glob("verdicts/*/*/*"):
        path.unlink()

    class Interrupted(Grey):
        def judge(self, pictures, prompts):
            if len(self.seen) == 8:
                raise KeyboardInterrupt
            return super().judge(pictures, prompts)

    with pytest.raises(KeyboardInterrupt):
        judged(run, Interrupted())
    assert not run.verdicts(TARGET.name, "grey", "main").exists()
    rest = Grey()
    judged(run, rest)
    assert [key for _, key in rest.seen] == ["p4", "p4", "p5", "p5"]
    assert run.verdicts(TARGET.name, "grey", "main").read_bytes() == expected
    assert not list(run.root.glob("verdicts/*/*/*.part*"))
    assert is_scored(run, TARGET, evaluations(Grey())[0], Grey())


def test_only_failures_and_changed_pictures_are_judged_again(run):
    found = judged(run, Grey(bad=50))
    assert found["grey"].missing == 1 and "too grey" in found["grey"].reason
    assert [record["status"] for record in verdicts(run)].count("ok") == 11
    folder = run.images(TARGET.name, "greys", "main")
    Image.new("RGB", (4, 4), (200,) * 3).save(folder / "p0_0.png")
    changed = Grey()
    # the manifest knows nothing of a change yet
    assert judged(run, changed)["grey"].missing == 0 and changed.seen == [(50, "p2")]
    lines = read_jsonl(folder / MANIFEST)
    lines[0]["sha256"] = sha256_file(folder / "p0_0.png")
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = Grey()
    judged(run, again)
    assert again.seen == [(200, "p0")] and verdicts(run)[0]["score"] == 200.0


def test_what_other_weights_or_another_scorer_have_left_is_not_taken(run):
    judged(run, Grey())

    class Newer(Grey):
        version = "2"

    newer = Newer()
    judged(run, newer)
    assert len(newer.seen) == 12
    other = replace(TARGET, sha256="other weights")
    with pytest.raises(UserError, match="no pictures of a-seed0 for greys"):
        score(run, other, evaluations(Grey()), {"grey": Grey()}, lambda part: None)


def test_one_that_cannot_be_trusted_costs_the_others_nothing(run):
    with pytest.raises(UserError, match="failed its test"):
        judged(run, Grey("broken", refuses="broken failed its test"), Grey())
    assert len(verdicts(run)) == 12 and not run.verdicts(TARGET.name, "broken", "main").exists()


def test_a_scorer_on_the_pictures_of_another_benchmark():
    one = make("clip@embedded_geneval")
    assert one.name == "clip@embedded_geneval" and one.picture_set == "embedded_geneval" and one.noise == "geneval"
    assert one.prompts("heldout") == make("embedded_geneval").prompts("heldout")
    assert one.title == "CLIP score on GenEval (embedded world) prompts" and one.world == "embedded"
    assert make("unipercept@embedded_dpg").axes == {"iaa": "IAA", "iqa": "IQA", "ista": "ISTA"}
    with pytest.raises(UserError, match="geneval has a rule of its own"):
        make("geneval@dpg")
    with pytest.raises(UserError, match="unknown benchmark 'genevall'"):
        make("clip@genevall")
