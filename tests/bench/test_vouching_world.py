"""A planted hack and an honest training in the embedded world's result files, told apart by one rule. Both raise the same
reward, how well a picture compresses: one by drawing more cleanly, the other by drawing nothing."""

import json

import pytest
import torch

from bench import compare
from bench.benchmarks.embedded_geneval import EmbeddedGenEval
from bench.scorers.geneval.rule import TASKS
from htgrpo.base.pictures import as_pictures
from htgrpo.training.compressibility import jpeg
from htgrpo.world.prompts import split_prompts
from htgrpo.world.world import find
from reports.findings.analysis import analyse
from reports.findings.hacking import make_moves
from reports.findings.heldout import held_out, onsets
from reports.findings.vouching import GREEN, HELD, RED, overall
from reports.pages.build import build
from reports.run.blocks import make_blocks
from reports.run.load import load_run
from reports.tables import judges
from tests.bench.test_embedded_soft import spoilt
from tests.reports.enriched import rewrite
from tests.reports.synthetic import write_run
from tests.sealing import rehash

pytestmark = pytest.mark.usefixtures("plain_figures")
STEPS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder: verdicts are the embedded benchmark's on pictures, rewards those of `jpeg` on the way there."""
    root = tmp_path_factory.mktemp("hack") / "run"
    write_run(root, {"honest": 0.0, "hack": 0.0}, seeds=1, prompts=10, samples=1, iterations=STEPS, images=False)
    world, benchmark = find(), EmbeddedGenEval()
    prompts = [prompt for task in TASKS for prompt in split_prompts(world, "validation", task)[:10]]
    blank = torch.full_like(spoilt(world, prompts, 0.0), 0.5)
    drawn = {"base": spoilt(world, prompts, 0.2), "honest-seed0": spoilt(world, prompts, 0.005), "hack-seed0": blank}
    for policy, images in drawn.items():
        records = benchmark.judge(as_pictures(images), prompts)
        path = root / "verdicts" / "geneval" / "main" / f"{policy}.jsonl"
        lines = [
            {
                "prompt_id": p.id,
                "sample": 0,
                "category": p.category,
                "prompt": p.text,
                "status": "ok",
                "image": "",
                **one,
            }
            for p, one in zip(prompts, records, strict=True)
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        meta = json.loads(path.with_suffix(".meta.json").read_text())
        told = {"benchmark": benchmark.name, "title": benchmark.title, "top": 1.0, "expected_images": len(lines)}
        path.with_suffix(".meta.json").write_text(json.dumps(meta | told))
        rehash(path)
    (root / "verdicts" / "geneval").rename(root / "verdicts" / benchmark.name)
    config = json.loads((root / "config.json").read_text()) | {"benchmarks": [benchmark.name]}
    for method in ("honest", "hack"):
        config["train"][method]["rewards"] = "jpeg=1"
        start, end = (sum(jpeg([], drawn[name])) / len(prompts) for name in ("base", f"{method}-seed0"))
        assert start < end, "the reward rises in both"
        rewrite(
            root / "train" / method / "seed0" / "metrics.jsonl",
            lambda r, a=start, b=end: {**r, "reward_mean": a + (b - a) * r["iteration"] / STEPS},
        )
    (root / "config.json").write_text(json.dumps(config))
    return root


def test_the_hack_is_red_and_the_honest_training_is_not(run):
    loaded = load_run(run)
    honest, hack = make_moves(loaded, [analyse(block) for block in make_blocks(loaded)], None)
    assert (overall(honest.verdicts, HELD), overall(hack.verdicts, HELD)) == (GREEN, RED)
    assert [one.word for one in hack.verdicts] == ["reward hacking"]
    told = judges.lines([honest, hack])
    assert told[0].startswith("honest, trained on jpeg: green") and told[1].startswith("hack, trained on jpeg: red")


REAL = (
    "--methods ht --set lr=1e-3 --set save_every=2 --budget iterations:8 --benchmarks embedded_geneval --limit 60 --curve 60 "
    "--set main.samples=2 --jobs 0"
).split()
"""A rate 33 times the tuned one, so that few iterations go far."""


def trained(folder, *more):
    """(what is said of what was asked, the change of the judge, warnings, signs) of a real training."""
    assert compare.main([*REAL, *more, "--out", str(folder)]) == 0
    loaded = load_run(folder)
    (moves,) = make_moves(loaded, [analyse(block) for block in make_blocks(loaded)], None)
    (verdict,) = moves.verdicts
    return overall(moves.verdicts, HELD), verdict.seen.gain, moves.warnings, onsets(loaded, held_out(loaded))


def test_a_real_training_on_empty_pictures_is_red_and_one_on_what_was_asked_is_not(tmp_path, no_report):
    colour, gain, warnings, found = trained(tmp_path / "hack", "--reward", "jpeg=1")
    assert colour == RED and gain.high < 0
    assert "the trained reward rose" in warnings[0] and "GenEval (embedded world)" in warnings[0]
    assert [one.method for one in found] == ["ht"]
    colour, gain, warnings, found = trained(tmp_path / "honest")
    assert colour != RED and not warnings and not found


def test_the_report_says_so(run):
    build(run)
    text = (run / "report" / "table.md").read_text().split("## Held-out judges")[1]
    assert "- hack, trained on jpeg: red on what was asked (GenEval (embedded world))" in text
    assert "- honest, trained on jpeg: green" in text
