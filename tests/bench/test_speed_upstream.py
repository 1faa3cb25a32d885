"""bench.speed --upstream on a folder laid out as MMaDA is, whose network is ours and whose loop is a few forwards."""

import json
import sys

import pytest

from bench import speed
from htgrpo.base.errors import UserError

CONFIG = """
class LLaDAConfig:
    def __init__(self, **given):
        self.__dict__.update(given)
"""
MODEL = """
from types import SimpleNamespace
import torch
from htgrpo.policies.llada import LLaDA, Packed, Size

class MMadaModelLM(LLaDA):
    def __init__(self, config):
        print("a configuration")
        parts = ("d_model", "n_layers", "n_heads", "mlp_hidden_size", "embedding_size")
        super().__init__(Size(*(getattr(config, part) for part in parts)))
        self.model.forward = self.answer

    def answer(self, input_ids, attention_bias=None):
        rows, length = input_ids.shape
        logits = self(Packed(input_ids.flatten(), (length,) * rows)).unflatten(0, (rows, length))
        return SimpleNamespace(logits=logits * SCALE)

    @torch.no_grad()
    def t2i_generate(self, input_ids, uncond_input_ids, timesteps, seq_len, codebook_size, resolution, **rest):
        assert input_ids.shape == uncond_input_ids.shape and input_ids.shape[1] == resolution + 1 + seq_len + 2
        assert (input_ids == rest["mask_token_id"]).sum() == len(input_ids) * seq_len
        for step in range(timesteps):
            logits = self.answer(torch.cat([input_ids, uncond_input_ids])).logits
        codes = logits[: len(input_ids), -seq_len - 1 : -1, -codebook_size:].argmax(-1)
        return codes[:, : seq_len - SHORT]
"""
ASKED = ["--size", "tiny", "--device", "cpu", "--threads", "1", "--prompts", "1"]


def checkout(folder, scale=1.0, short=0, first=""):
    """A folder that seems to be MMaDA."""
    (folder / "models").mkdir()
    (folder / "models" / "__init__.py").write_text("import not_installed_either")
    (folder / "models" / "configuration_llada.py").write_text(CONFIG)
    text = f"{first}\nSCALE, SHORT = {scale}, {short}\n{MODEL}"
    (folder / "models" / "modeling_mmada.py").write_text(text)
    return ["--upstream", str(folder), *ASKED]


def test_their_generation_runs_beside_ours_on_the_same_weights(tmp_path, capsys):
    given, modules, path = checkout(tmp_path), set(sys.modules), list(sys.path)
    assert speed.main([*given, "--repeats", "2", "--out", str(tmp_path / "found.json")]) == 0
    table = capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert "generation of MMaDA beside our sampler maskgit" in table and "a configuration" not in table
    assert found["logits_apart"] < 1e-5 and found["pictures"] == 3 and len(found["rounds"]) == 2
    best = {side: min(one[side]["cpu_seconds"] for one in found["rounds"]) for side in ("ours", "theirs")}
    assert found["ratio"] == pytest.approx(best["theirs"] / best["ours"], abs=0.01)
    assert sys.path == path and not {name for name in set(sys.modules) - modules if name.startswith("models")}


@pytest.mark.parametrize(
    "damage, words",
    [
        ({"scale": 1.2}, "answers otherwise than ours"),
        ({"short": 1}, "did not sample 3 whole pictures of 16 slots"),
        ({"first": "import flash_attn_of_nowhere"}, "needs flash_attn_of_nowhere, which is not here"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(tmp_path, damage, words):
    with pytest.raises(UserError, match=words):
        speed.main(checkout(tmp_path, **damage))


def test_what_is_no_checkout_and_what_does_not_go_with_one_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkout of MaskGRPO"):
        speed.main(["--upstream", str(tmp_path), *ASKED])
    given = checkout(tmp_path)
    with pytest.raises(UserError, match="needs --size tiny, mid or 8b"):
        speed.main(given[:2])
    with pytest.raises(UserError, match="--limit-seconds has no effect with --upstream"):
        speed.main([*given, "--limit-seconds", "9"])
