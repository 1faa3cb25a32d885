"""The isolated workers for real, in their own environments, on tiny random checkpoints, against the official classes.

Outside the default suite: minutes on the first run, when uv brings the environments (gigabytes). With
HTGRPO_SLOW=1, and for DeQA HTGRPO_DEQA_CODE = a copy of github zhiyuanyou/DeQA-Score at the worker's commit:

    HTGRPO_SLOW=1 HTGRPO_DEQA_CODE=… HTGRPO_ASSETS=… python -m pytest tests/scorers/test_isolated_workers.py
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench import verify_scorer
from bench.scorers import registry
from bench.scorers.clip_h import HPSv2, PickScore
from bench.scorers.deqa import DeQA
from bench.scorers.hpsv3 import HPSv3
from bench.scorers.mplug import MplugVQA
from bench.scorers.unipercept import UniPercept
from bench.scorers.worker import LOGS, SCRIPTS, uv_command
from htgrpo.base.errors import UserError
from tests.scorers import tiny_clip_h, tiny_hpsv3, tiny_unipercept
from tests.scorers.test_doctor import Names

pytestmark = pytest.mark.skipif(
    not os.environ.get("HTGRPO_SLOW"), reason="HTGRPO_SLOW is not set: environments of gigabytes"
)
HERE = Path(__file__).parent


def pictures(folder):
    """Three pictures of noise with different proportions, as files."""
    for number, size in enumerate([(64, 64), (100, 60), (50, 130)]):
        Image.effect_noise(size, 90).convert("RGB").save(folder / f"{number}.png")
    return sorted(folder.glob("?.png"))


def run_in_environment_of(worker, maker, folder, *arguments):
    """Runs one of our makers of checkpoints with the head, hence the environment, of a worker's script."""
    head = re.match(r"# /// script\n(#.*\n)*?# ///\n", (SCRIPTS / worker).read_text())[0]
    script = folder / maker
    script.write_text(head + (HERE / maker).read_text())
    done = subprocess.run(uv_command(script, *map(str, arguments)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    monkeypatch.setenv(LOGS, str(tmp_path / "logs"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_deqa_scores_as_its_official_class(tmp_path, assets):
    repository = os.environ.get("HTGRPO_DEQA_CODE")
    if not repository:
        pytest.skip("HTGRPO_DEQA_CODE is not set: it names a copy of github zhiyuanyou/DeQA-Score")
    paths, folder = pictures(tmp_path), tmp_path / "weights"
    run_in_environment_of("deqa.py", "tiny_deqa.py", tmp_path, repository, folder, *paths)
    official = json.loads((folder / "official.json").read_text())
    images = [Image.open(path) for path in paths]
    with DeQA.load(folder, dtype="float16") as scorer:
        together, alone = scorer.score(images, [""] * 3), [scorer.score([image], [""])[0] for image in images]
        upside_down = scorer.score([images[2], images[0].convert("RGBA")], ["", ""])
        identity = scorer.identity()
    assert [one.score for one in alone] == official["scores"]
    assert [one.score for one in together] == official["batch"]
    assert [one.score for one in upside_down] == pytest.approx([official["scores"][2], official["scores"][0]], abs=2e-3)
    assert len(set(official["scores"])) == 3 and all(1 <= score <= 5 for score in official["scores"])
    for one in alone:  # the formula: five shares, and their mean level
        levels = one.evidence["levels"]
        assert sum(levels) == pytest.approx(1, abs=2e-3)
        assert one.score == pytest.approx(sum(share * level for share, level in zip(levels, (5, 4, 3, 2, 1))), abs=4e-3)
    assert identity["weights_revision"].startswith("sha256:") and identity["dtype"] == "float16"
    assert len(identity["code"]) == 40
    with DeQA.load(folder, dtype="float32") as exact:
        assert [one.score for one in exact.score(images, [""] * 3)] == pytest.approx(official["scores"], abs=1e-2)


def test_deqa_refuses_other_weights_and_other_code(tmp_path, assets, monkeypatch):
    repository = os.environ.get("HTGRPO_DEQA_CODE")
    if not repository:
        pytest.skip("HTGRPO_DEQA_CODE is not set: it names a copy of github zhiyuanyou/DeQA-Score")
    paths, folder = pictures(tmp_path), tmp_path / "weights"
    run_in_environment_of("deqa.py", "tiny_deqa.py", tmp_path, repository, folder, *paths)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(UserError, match="lacks 'model.layers.2"):
        DeQA.load(folder, dtype="float32")
    other = tmp_path / "code" / "src" / "model"
    other.mkdir(parents=True)
    for file in (Path(repository) / "src" / "model").glob("*.py"):
        (other / file.name).write_text(file.read_text() + "\n")
    monkeypatch.setenv("HTGRPO_DEQA_CODE", str(tmp_path / "code"))
    with pytest.raises(UserError, match="is not DeQA-Score's at commit"):
        DeQA.load(folder)


QUESTIONS = [
    "Is it red?", "is the a red it ?", "it", "word9 word12 word100", "word40 yes red", "word3 " * 40, "IT word100",
]  # fmt: skip


def test_mplug_answers_as_its_official_class(tmp_path):
    path, folder = pictures(tmp_path)[1], tmp_path / "weights"
    run_in_environment_of("mplug_vqa.py", "tiny_mplug.py", tmp_path, folder, path, *QUESTIONS)
    official = json.loads((folder / "official.json").read_text())
    image, other = Image.open(path), Image.new("RGB", (30, 30))
    with MplugVQA.load(folder) as scorer:
        together = scorer.score([image] * len(QUESTIONS), QUESTIONS)
        alone = [scorer.score([image], [question])[0] for question in QUESTIONS]
        mixed = scorer.score([other, image, other, image], [QUESTIONS[0], QUESTIONS[0], QUESTIONS[2], QUESTIONS[2]])
    assert [one.evidence["answer"] for one in together] == [one.evidence["answer"] for one in alone] == official
    assert [one.score for one in together] == [float(answer == "yes") for answer in official]
    assert len(set(official)) > 1
    assert [mixed[1].evidence["answer"], mixed[3].evidence["answer"]] == [official[0], official[2]]
    state = folder / "config_bert.json"
    state.write_text(state.read_text().replace('"text_encoder_layers": 2', '"text_encoder_layers": 3'))
    with pytest.raises(UserError, match="lacks 'text_encoder.encoder.layer.2"):
        MplugVQA.load(folder)


def registered(monkeypatch, kind):
    """Makes a port findable whether or not this package's entry points are installed."""
    monkeypatch.setattr(registry, "SCORERS", Names({kind.name: kind}))


def test_unipercepts_package_agrees_with_our_port(tmp_path, assets, monkeypatch, capsys):
    registered(monkeypatch, UniPercept)
    tiny_unipercept.tiny_checkpoint(tmp_path / "weights", torch.Generator().manual_seed(0))
    assert verify_scorer.main(["unipercept", "--weights", str(tmp_path / "weights"), "--dtype", "float32"]) == 0
    assert "64 pictures" in capsys.readouterr().out


def test_hpsv3s_package_agrees_with_our_port(tmp_path, assets, monkeypatch, capsys):
    registered(monkeypatch, HPSv3)
    folder, base = tmp_path / "weights", tmp_path / "weights" / "Qwen2-VL-7B-Instruct"
    state = tiny_hpsv3.tiny_checkpoint(folder, torch.Generator().manual_seed(0))
    # the package reads the base's weights before it replaces them all
    save_file({"model.norm.weight": state["model.norm.weight"]}, base / "model.safetensors", {"format": "pt"})
    assert verify_scorer.main(["hpsv3", "--weights", str(folder), "--dtype", "float32"]) == 0
    assert "64 pictures" in capsys.readouterr().out


def test_pickscores_readme_agrees_with_our_port(tmp_path, monkeypatch, capsys):
    registered(monkeypatch, PickScore)
    tiny_clip_h.tiny_pickscore(tmp_path / "weights", torch.Generator().manual_seed(0))
    assert verify_scorer.main(["pickscore", "--weights", str(tmp_path / "weights")]) == 0
    assert "64 pictures" in capsys.readouterr().out


def test_hpsv2s_package_agrees_with_our_port(tmp_path, monkeypatch, capsys):
    class Small(HPSv2):
        @classmethod
        def load(cls, *args):
            return super().load(*args, sizes=tiny_clip_h.SIZES)

    registered(monkeypatch, Small)
    tiny_clip_h.tiny_hpsv2(tmp_path / "weights", torch.Generator().manual_seed(0))
    assert verify_scorer.main(["hpsv2", "--weights", str(tmp_path / "weights")]) == 0
    assert "64 pictures" in capsys.readouterr().out
