"""The model card: front matter that the hub reads, the run's own numbers, honest labels, and nothing of other people's
replaced."""

import csv
import json
import re
import shutil

import pytest
from huggingface_hub import ModelCard

from bench import card
from bench.ask.weights import inspect
from reports.pages.build import build
from tests.bench.tiny_runs import leave
from tests.sealing import reseal


@pytest.fixture(scope="module")
def run(finished, tmp_path_factory):
    copy = tmp_path_factory.mktemp("cards") / "run"
    shutil.copytree(finished, copy)
    return copy


def checkpoint_of(run):
    return sorted((run / "train" / "ht" / "seed0" / "checkpoints").glob("step_*"))[-1]


def test_the_card_says_what_the_run_says(run, capsys):
    checkpoint = checkpoint_of(run)
    before = inspect(str(checkpoint))
    assert card.main([str(checkpoint)]) == 0
    assert ModelCard((checkpoint / "README.md").read_text()).data.license is None, "somebody's own weights"
    assert card.main([str(checkpoint), "--license", "apache-2.0"]) == 0
    text = (checkpoint / "README.md").read_text()
    assert inspect(str(checkpoint)) == before  # a card changes no weights
    loaded = ModelCard(text)
    assert loaded.data.library_name == "htgrpo-bench" and {"ht", "text-to-image"} <= set(loaded.data.tags)
    build(run)
    with open(run / "report" / "table.csv", newline="") as stream:
        rows = {
            row["benchmark"]: float(row["estimate"])
            for row in csv.DictReader(stream)
            if (row["kind"], row["method"], row["column"], row["setting"]) == ("score", "ht", "headline", "main")
        }
    found = {result.dataset_type: result.metric_value for result in loaded.data.eval_results}
    assert found.keys() == rows.keys() == {"embedded_geneval", "embedded_dpg"}
    assert found["embedded_geneval"] == pytest.approx(rows["embedded_geneval"], abs=1e-4)
    assert loaded.data.license == "apache-2.0" and loaded.data.language == "en"
    assert loaded.data.pipeline_tag == "text-to-image" and ModelCard.load(checkpoint / "README.md").data.license
    shown = (checkpoint / "README-sample.png").read_bytes()
    assert shown in [path.read_bytes() for path in run.glob("images/ht-seed0/*/main/*_0.png")]
    snippet = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)).replace("PATH-OR-HUB-ID", str(checkpoint))
    made: dict = {}
    exec(snippet, made)  # the card's own words
    assert min(made["picture"].size) > 1
    for part in (
        "arXiv:2605.16842", "HT-GRPO", "@misc{arxiv-2605.16842", "@software{htgrpo-bench", "README-sample.png",
        before.sha256, "Embedded world", "not of the method", "alpha 0.3", "objects=1", "split `train`",
        "| training seed | 0", "load_policy(", "minus the starting policy",
    ):  # fmt: skip
        assert part in text, part
    assert not re.search(r"/tmp|/home|/root", text)
    assert card.main([str(checkpoint)]) == 0  # its own card it writes again
    capsys.readouterr()


def test_a_card_by_hand_is_kept(run, capsys):
    checkpoint = checkpoint_of(run)
    (checkpoint / "README.md").write_text("mine")
    assert leave(card.main, [str(checkpoint)]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (checkpoint / "README.md").read_text() == "mine"
    assert card.main([str(checkpoint), "--overwrite"]) == 0


def test_a_copy_finds_its_place_in_a_named_run(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint_of(run), copy, ignore=shutil.ignore_patterns("README.md"))
    assert card.main([str(copy), "--out", str(tmp_path / "alone.md")]) == 0
    assert "without the run" in (tmp_path / "alone.md").read_text() and ModelCard((tmp_path / "alone.md").read_text())
    assert card.main([str(copy), "--run", str(run), "--out", str(tmp_path / "placed.md")]) == 0
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "random_weights": True}))
    reseal(copy)
    assert card.main([str(copy), "--out", str(tmp_path / "random.md")]) == 0
    assert "Training began from random weights" in (tmp_path / "random.md").read_text()
    assert "random weights" not in (tmp_path / "alone.md").read_text() + (tmp_path / "placed.md").read_text()
    assert "| method | ht" in (tmp_path / "placed.md").read_text() and "2 results" in capsys.readouterr().out


def test_what_cannot_be_is_refused(run, policy, tmp_path, capsys):
    assert leave(card.main, [str(tmp_path / "none")]) == 2
    assert leave(card.main, [str(checkpoint_of(run)), "--out", str(tmp_path)]) == 2
    other = run / "train" / "pretrain" / "seed0" / "checkpoints"
    foreign = tmp_path / "foreign"
    shutil.copytree(policy, foreign)
    assert leave(card.main, [str(foreign), "--run", str(run)]) == 2
    text = capsys.readouterr().err
    assert "is not a folder" in text and "give a file" in text and "neither trained nor scored" in text
    assert other.is_dir()
