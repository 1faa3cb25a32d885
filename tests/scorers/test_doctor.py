"""bench.doctor and bench.verify_scorer, with everything there and with nothing there."""

import json
import tomllib

import pytest
from PIL import Image

from bench import doctor, verify_scorer
from bench.scorers import opening, references, registry, servers, web
from bench.scorers.base import Judged, Scorer
from bench.scorers.clip_h import HPSv2, HPSv2Aliased, PickScore
from bench.scorers.clip_score import ClipScore
from bench.scorers.deqa import DeQA
from bench.scorers.hpsv3 import HPSv3
from bench.scorers.imagereward import ImageReward
from bench.scorers.mplug import MplugVQA
from bench.scorers.references import REFERENCES
from bench.scorers.servers import URLS
from bench.scorers.soft_tifa import SoftTifa, SoftTifaClean, VQAScore
from bench.scorers.unifiedreward import UnifiedReward
from bench.scorers.unipercept import UniPercept
from bench.scorers.weights import FOLDERS, Repository
from bench.scorers.worker import SCRIPTS
from htgrpo.base.errors import UserError, suggest

KINDS = (
    ClipScore, DeQA, HPSv2, HPSv2Aliased, HPSv3, ImageReward, MplugVQA, PickScore, SoftTifa, SoftTifaClean, UnifiedReward,
    UniPercept, VQAScore,
)  # fmt: skip
OURS = {kind.name: kind for kind in KINDS}


class Names(dict):
    """A registry of these classes."""

    def names(self):
        return sorted(self)

    def check(self, name, what=""):
        if name not in self:
            raise suggest(name, self, "scorer")
        return name

    def get(self, name):
        return self[self.check(name)]


def use(monkeypatch, known):
    """Makes these the registered scorers."""
    for module in (registry, opening, servers):
        monkeypatch.setattr(module, "SCORERS", known)


class Toy(Scorer):
    """Judges by width; `off` is what it adds."""

    name, title, version, needs_prompt, published_range = "imagereward", "Toy", "1", True, ""
    repositories = (Repository("nobody/toy", ("toy.json",)),)
    off, failures, dtype = 0.0, (), "float32"

    @classmethod
    def load(cls, weights=None, device="cpu", dtype=None):
        if device == "broken":
            raise RuntimeError("CUDA is\nunwell")
        return cls()

    start = classmethod(lambda cls, folders, device, dtype: cls())

    def identity(self):
        return {"name": self.name, "dtype": self.dtype}

    def score(self, images, prompts):
        return [Judged.of(image.width + len(prompt) / 10 + self.off) for image, prompt in zip(images, prompts)]

    def tested_on(self):
        return 4

    def self_test(self):
        return list(self.failures)


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    """No weights, no servers, no caches; all of our scorers are registered."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in (FOLDERS, URLS):
        monkeypatch.delenv(name, raising=False)
    use(monkeypatch, Names(OURS))


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A scorer whose weights are here, and an official package that is the same."""
    (tmp_path / "weights" / "imagereward").mkdir(parents=True)
    (tmp_path / "weights" / "imagereward" / "toy.json").write_text("{}")
    monkeypatch.setenv(FOLDERS, str(tmp_path / "weights"))
    official = type("Official", (Toy,), {})
    ours = type("Ours", (Toy,), {"official": official})
    use(monkeypatch, Names(imagereward=ours))
    monkeypatch.setattr(references, "REFERENCES", {"imagereward": official})
    return ours


def rows(capsys, *arguments):
    code = doctor.main([*arguments, "--json", "--device", "cpu"])
    return code, {row["scorer"]: row for row in json.loads(capsys.readouterr().out)}


def test_with_nothing_here_every_scorer_says_what_to_run(capsys):
    code, found = rows(capsys)
    assert code == 0 and set(found) == set(OURS)
    for row in found.values():
        assert not row["ready"] and row["self_test"] == "not run"
        assert row["weights"] == "not found"
        assert "\n" not in row["next"]
    assert "hf download THUDM/ImageReward" in found["imagereward"]["next"]
    assert "hf download yuvalkirstain/PickScore_v1 config.json model.safetensors" in found["pickscore"]["next"]
    assert "hf download xswu/HPSv2 HPS_v2.1_compressed.pt" in found["hpsv2"]["next"]
    assert "uvx modelscope download --model damo/" in found["mplug_vqa"]["next"]
    assert "hf download zhiyuanyou/DeQA-Score-Mix3" in found["deqa"]["next"]
    assert "hf download CodeGoat24/UnifiedReward-2.0" in found["unifiedreward"]["next"]
    assert "--scorer-url unifiedreward=openai+http://" in found["unifiedreward"]["next"]
    assert found["deqa"]["environment"] == "its own, by uv (deqa.py)" and found["clip"]["environment"] == "this one"
    assert doctor.main(["--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in OURS) and "hf download THUDM/ImageReward" in table


def test_a_named_scorer_that_is_not_ready_is_3(capsys):
    assert rows(capsys, "clip")[0] == 3
    with pytest.raises(UserError, match="did you mean 'clip'"):
        doctor.main(["clips"])


def test_no_scorers_at_all(monkeypatch, capsys):
    use(monkeypatch, Names())
    assert doctor.main(["--device", "cpu"]) == 0
    assert "no scorers are registered" in capsys.readouterr().out


def test_a_scorer_that_is_here(toy, capsys):
    code, found = rows(capsys, "imagereward")
    assert code == 0 and found["imagereward"]["ready"]
    assert found["imagereward"].pop("next") == "python -m bench.serve imagereward"
    assert 0 < found["imagereward"].pop("seconds_per_picture") < 1
    assert found["imagereward"] == {
        "scorer": "imagereward", "environment": "this one", "weights": "found", "device": "cpu",
        "self_test": "passed", "ready": True,
    }  # fmt: skip
    quick = rows(capsys, "--quick")[1]["imagereward"]
    assert quick["self_test"] == "not run" and quick["seconds_per_picture"] is None
    assert doctor.main(["imagereward", "--device", "cpu"]) == 0
    assert "s/picture" in capsys.readouterr().out
    toy.failures = ("it cannot tell red from blue",)
    code, found = rows(capsys, "imagereward")
    assert code == 3 and found["imagereward"]["self_test"] == "FAILED"
    assert "red from blue" in found["imagereward"]["next"]
    assert rows(capsys)[0] == 0


def test_a_scorer_that_cannot_start_does_not_end_the_list(toy, capsys):
    found = doctor.examine("imagereward", registry.SCORERS.get, "broken", quick=False)
    assert found.self_test == "cannot start" and found.next == "RuntimeError: CUDA is unwell" and not found.ready
    found = doctor.examine("gone", registry.SCORERS.get, "cpu", quick=False)
    assert found.environment == "cannot be loaded" and "unknown scorer 'gone'" in found.next


def test_mplugs_weights_are_found_where_modelscope_puts_them(tmp_path):
    with pytest.raises(UserError, match="uvx modelscope download"):
        MplugVQA.folders()
    folder = tmp_path / "cache" / "models" / "damo" / "mplug_visual-question-answering_coco_large_en"
    folder.mkdir(parents=True)
    for name in ("config.yaml", "config_bert.json", "vocab.txt", "pytorch_model.bin"):
        (folder / name).write_text("")
    assert MplugVQA.folders() == [folder]
    with pytest.raises(UserError, match="lacks config.yaml|not a folder"):
        MplugVQA.folders(tmp_path / "elsewhere")


def test_verify_with_nothing_here(capsys):
    for name in REFERENCES:
        assert verify_scorer.main([name]) == 3
        assert "not verified: weights not found: run `hf download" in capsys.readouterr().err
    with pytest.raises(UserError, match="accepted: hpsv2, .*, pickscore, soft_tifa, unipercept, vqascore_qwen3vl"):
        verify_scorer.main(["clip"])


def test_verify_on_drawings(toy, capsys):
    assert verify_scorer.main(["imagereward"]) == 0
    table = capsys.readouterr().out
    assert "64 pictures" in table and "agrees" in table and "1.0000" in table
    toy.off = 0.5
    assert verify_scorer.main(["imagereward"]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    toy.dtype = "bfloat16"  # a coarser dtype may differ more
    toy.off = 0.05
    assert verify_scorer.main(["imagereward"]) == 0


def test_verify_finds_a_wrong_order_within_the_tolerance(capsys):
    scores = [0.0, 1e-5, 2e-5, 3e-5]
    own, theirs = [Judged.of(score) for score in scores], [Judged.of(score) for score in reversed(scores)]
    assert verify_scorer.compare("x", list("abcd"), own, theirs, (), 1e-3, "float32") == 1
    assert "-1.0000" in capsys.readouterr().out
    same = [Judged.of(1.0)] * 4
    assert verify_scorer.compare("x", list("abcd"), same, same, (), 1e-3, "float32") == 0


def test_verify_compares_every_axis(capsys):
    def judged(iqa):
        return [Judged.of(50.0, {"iaa": 10.0 * n, "iqa": iqa * n}) for n in range(4)]

    assert verify_scorer.compare("x", list("abcd"), judged(5.0), judged(5.0), ("iaa", "iqa"), 1e-3, "float32") == 0
    assert verify_scorer.compare("x", list("abcd"), judged(5.0), judged(6.0), ("iaa", "iqa"), 1e-3, "float32") == 1
    table = capsys.readouterr().out.splitlines()
    assert any("iaa" in line and "agrees" in line for line in table)
    assert any("iqa" in line and "DIFFERS" in line for line in table)


def test_verify_does_not_pass_over_failures(capsys):
    own = [Judged.of(1.0), Judged.failed("the picture is torn")]
    assert verify_scorer.compare("x", ["a", "b"], own, [Judged.of(1.0)] * 2, (), 1e-3, "float32") == 1
    assert "b: the picture is torn" in capsys.readouterr().err


def test_verify_on_a_folder(toy, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        verify_scorer.main(["imagereward", "--images", str(folder)])
    for width in (10, 20, 30):
        Image.new("RGB", (width, 8)).save(folder / f"{width}.png")
    (folder / "20.txt").write_text("a prompt\n")
    with pytest.raises(UserError, match="10.png' has 0 files with its prompt"):
        verify_scorer._from_folder(folder)
    for width in (10, 30):
        (folder / f"{width}.txt").write_text("another")
    images, prompts, names = verify_scorer._from_folder(folder)
    assert prompts == ["another", "a prompt", "another"] and names == ["10.png", "20.png", "30.png"]
    assert verify_scorer.main(["imagereward", "--images", str(folder)]) == 0
    assert "3 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    "script", sorted(path.name for path in SCRIPTS.glob("*.py") if path.name != "htgrpo_worker.py")
)
def test_every_worker_pins_what_it_needs(script):
    """Each is one script with dependencies of exact versions in its head, and no code of the hub's repositories is
    trusted."""
    text = (SCRIPTS / script).read_text()
    head = text.partition("# /// script\n")[2].partition("# ///\n")[0]
    settings = tomllib.loads("".join(line[1:].removeprefix(" ") for line in head.splitlines(keepends=True)))
    assert settings["requires-python"] == ">=3.11,<3.12"
    assert all("==" in one or one == "setuptools<81" for one in settings["dependencies"])
    assert "trust_remote_code" not in text and "from htgrpo_worker import" in text


def test_every_worker_is_a_scorers():
    used = {kind.script for kind in (DeQA, MplugVQA, *REFERENCES.values())}
    assert used == {path.name for path in SCRIPTS.glob("*.py")} - {"htgrpo_worker.py"}
    assert set(REFERENCES) <= set(OURS)


def test_a_scorer_on_a_server_is_asked_there(brightness_server, monkeypatch, capsys):
    """Its weights are the server's; one that gives no answer is not ready."""
    monkeypatch.setenv(URLS, "")  # put back afterwards: the command sets it
    address = f"brightness=http://127.0.0.1:{brightness_server.server_port}"
    code, found = rows(capsys, "brightness", "--scorer-url", address)
    assert code == 0 and found["brightness"]["environment"] == "a server"
    assert found["brightness"]["self_test"] == "passed"
    assert found["brightness"]["seconds_per_picture"] is None  # it judges no drawings here: the server did at its start
    with pytest.raises(UserError, match="names 'brightness', but what is asked here is clip: leave it out"):
        doctor.main(["clip", "--scorer-url", address])
    monkeypatch.setattr("bench.scorers.remote.Connection", lambda url, headers: web.Connection(url, headers, retries=0))
    code, found = rows(capsys, "brightness", "--scorer-url", "brightness=http://127.0.0.1:9")
    assert code == 3 and found["brightness"]["weights"] == "no server"
    assert "gave no answer" in found["brightness"]["next"]
