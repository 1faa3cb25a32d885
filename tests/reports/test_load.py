"""Damaged or mixed run directories end in one sentence."""

import json
from pathlib import Path

import pytest

from htgrpo.base.errors import UserError
from reports.pages.build import build
from reports.run.load import _difference, load_run
from tests.reports.synthetic import write_run
from tests.sealing import rehash


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (lambda root: (root / "config.json").unlink(), "holds no config.json"),
        (lambda root: (root / "config.json").write_text("{"), "is not JSON"),
        (lambda root: [p.unlink() for p in root.glob("verdicts/*/*/*.meta.json")], "holds no verdicts"),
        (lambda root: (root / "verdicts/geneval/main/base.jsonl").unlink(), "is missing beside its meta file"),
        (lambda root: _edit(root, "base.jsonl", '"score": 1.0', '"score": NaN'), "score is nan"),
        (lambda root: _edit(root, "base.jsonl", '"status": "ok"', '"status": "fine"'), "status 'fine'"),
        (lambda root: _edit(root, "base.jsonl", '"sample": 1', '"sample": 0'), "line 2 of .* second one of"),
        (lambda root: _bounded(root, '"score": 1.0', '"score": 1.5'), r"line \d+ of .*base.jsonl' has the score 1.5"),
        (lambda root: _bounded(root, '"score": 1.0', '"score": -1'), "geneval gives 0 to 1"),
        (
            lambda root: _edit(root, "base.meta.json", '"version": "1", "title"', '"version": "2", "title"'),
            "different version",
        ),
        (
            lambda root: [
                _meta(root, name, {"libraries": {"pillow": "12.0", "transformers": version}})
                for name, version in (("base", "5.23.0"), ("a-seed0", "5.24.0"))
            ],
            'different scorer.libraries.transformers \\("5.2[34].0" and "5.2[34].0"\\)',
        ),
        (lambda root: _edit(root, "base.meta.json", '"scale": 1,', ""), "lacks scale"),
        (lambda root: _edit(root, "base.meta.json", "category_mean", "median"), "aggregate is 'median'"),
    ],
)
def test_damage_is_one_sentence(tmp_path, damage, sentence):
    root = write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=3, images=False, iterations=3)
    damage(root)
    with pytest.raises(UserError, match=sentence) as error:
        build(root)
    assert "\n" not in error.value.message
    assert not (root / "report").exists()


def _edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / "verdicts" / "geneval" / "main" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    rehash(path)


def _bounded(root: Path, old: str, new: str) -> None:
    _edit(root, "base.meta.json", '"scale": 1,', '"scale": 1, "top": 1.0,')
    _edit(root, "base.jsonl", old, new)


def test_a_score_that_nothing_bounds_is_kept(tmp_path):
    root = write_run(tmp_path, {"a": 0.1}, seeds=1, prompts=3, images=False, iterations=3)
    _edit(root, "base.jsonl", '"score": 1.0', '"score": 1.5')
    assert load_run(root).records["score"].max() == 1.5


def _meta(root: Path, policy: str, scorer: dict) -> None:
    path = root / f"verdicts/geneval/main/{policy}.meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "scorer": {**meta["scorer"], **scorer}}))


def test_a_folder_that_is_not_there():
    with pytest.raises(UserError, match="not a folder"):
        build(Path("no-such-run"))


def test_a_key_that_only_one_has_is_a_difference():
    """Even where its value is null, as after a flipped bit of its name."""
    assert _difference("scorer", {"a": 1, "b": None}, {"a": 1, "c": None}) == ("scorer.b", "null", "none")
    assert _difference("scorer", {"a": {"b": 1}}, {"a": {"b": 2}}) == ("scorer.a.b", "1", "2")
