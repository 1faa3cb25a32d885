"""bench.speed --upstream on a folder laid out as MMaDA is, whose network is ours and whose loop is a few forwards;
and as MaskGRPO is, whose emerge sampler and training step are their formulas written out."""

import json
import sys

import pytest
import torch

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
TRAINER = """
import math
from collections.abc import Callable
import torch
import wandb
from accelerate.utils import set_seed
from trl.extras.profiling import profiling_decorator
from trl.import_utils import is_vllm_available
from trl.trainer.grpo_trainer import GRPOTrainer
from models.modeling_mmada import MMadaModelLM

if is_vllm_available():
    import not_installed_either

def sample_categorical(probs):
    return torch.multinomial(probs.flatten(0, 1), 1).view(probs.shape[:2])

class MaskGRPOTrainer(GRPOTrainer):
    def t2i_generate_emerge(self, model, input_ids, uncond_input_ids, timesteps, seq_len, guidance_scale, **rest):
        offset, count = len(self.uni_prompting.text_tokenizer), rest["codebook_size"]
        slots = slice(-seq_len - 1, -1)
        for step in range(timesteps):
            uncond_input_ids[:, slots] = input_ids[:, slots]
            given, nothing = model.answer(torch.cat([input_ids, uncond_input_ids])).logits.chunk(2)
            guided = given + GUIDE * guidance_scale * (given - nothing)
            probs = guided[:, slots, offset : offset + count].softmax(-1)
            now, then = (math.cos(math.pi / 2 * (step + k) / timesteps) for k in range(2))
            if step + 1 < timesteps:
                stay = torch.full_like(probs[..., :1], STAY * then / now)
                probs = torch.cat([probs * (1 - stay), stay], -1)
            drawn = sample_categorical(probs) + offset
            drawn[drawn == offset + count] = rest["mask_token_id"]
            again = torch.full_like(drawn, AGAIN, dtype=torch.bool) | (input_ids[:, slots] == rest["mask_token_id"])
            input_ids[:, slots] = torch.where(again, drawn, input_ids[:, slots])
        return input_ids

    def _get_per_token_logps(self, model, input_ids, logits_to_keep, mask_seeds, cur_iter=0):
        [ids], [seed] = input_ids, mask_seeds
        set_seed(int(seed))
        count = self.args.num_iterations
        rate = min(self.args.min_mask_rate + (1 - self.args.min_mask_rate) * (cur_iter + 1) / count, 0.999)
        hidden = torch.rand(ids.shape) < rate
        hidden[:, : -logits_to_keep - 1] = hidden[:, -1:] = False
        logits = model.answer(torch.where(hidden, self.args.mask_id, ids)).logits
        codes = ids[:, -logits_to_keep - 1 : -1] - 126349
        table = logits[:, -logits_to_keep - 1 : -1, 126349:134541].log_softmax(-1)
        return table.gather(-1, codes[..., None])[None, ..., 0], hidden[None, :, -logits_to_keep - 1 : -1]

    @profiling_decorator
    def compute_loss(self, model, inputs):
        k, codes = self._step - 1, inputs["completion_ids"]
        edge = torch.ones_like(codes[:, :1])
        ids = torch.cat([inputs["prompt_ids"], 126084 * edge, codes, 126085 * edge], 1)
        new, _ = self._get_per_token_logps(model, ids[None], codes.shape[1], [inputs["mask_seeds"][k]], k)
        ratio, gap = (new - inputs["old_per_token_logps"][k]).exp(), inputs["ref_per_token_logps"][k] - new
        advantage = inputs["advantages"][:, None]
        gain = torch.min(ratio * advantage, ratio.clamp(1 - self.epsilon, 1 + self.epsilon) * advantage)
        loss = WRONG * self.beta * (gap.exp() - gap - 1) - gain
        return (loss * inputs["completion_mask"]).sum() / inputs["completion_mask"].sum()
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
    assert found["training"] is None and "their training step is not run" in table and "emerge" not in table
    assert "generation of MMaDA beside our sampler maskgit" in table and "a configuration" not in table
    assert found["logits_apart"] < 1e-5 and found["pictures"] == 3 and list(found["samplers"]) == ["maskgit"]
    turns_of(found, "maskgit")
    assert sys.path == path and not {name for name in set(sys.modules) - modules if name.startswith("models")}


def turns_of(found, sampler):
    """Both rounds are there, and the ratio is that of the fastest of each."""
    rounds, ratio = found["samplers"][sampler]["rounds"], found["samplers"][sampler]["ratio"]
    best = {side: min(one[side]["cpu_seconds"] for one in rounds) for side in ("ours", "theirs")}
    assert len(rounds) == 2 and ratio == pytest.approx(best["theirs"] / best["ours"], abs=0.01)


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


def masked(folder, **damage):
    """A folder that seems to be MaskGRPO. wrong: the penalty; guide, stay: guidance and probability of staying hidden, as
    parts of the published ones; again: what is revealed is drawn anew."""
    parts = {"wrong": 1.0, "guide": 1.0, "stay": 1.0, "again": False} | damage
    given = checkout(folder)
    (folder / "grpo").mkdir()
    (folder / "grpo" / "mask_grpo_trainer.py").write_text(
        "".join(f"{k.upper()} = {v}\n" for k, v in parts.items()) + TRAINER
    )
    return given


def test_their_trainers_sampler_and_step_run_beside_ours_without_its_surroundings(tmp_path, capsys):
    given, modules, state = masked(tmp_path), set(sys.modules), torch.get_rng_state()
    assert speed.main([*given, "--repeats", "2", "--out", str(tmp_path / "found.json")]) == 0
    table, found = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    turns_of(found, "maskgit")
    turns_of(found, "emerge")
    assert f"emerge: {found['decisions']} decisions under the same draws were the same" in table
    # 16 slots of 3 pictures: all at the first step, a share of cos(30 degrees), then of a half
    assert found["decisions"] == pytest.approx(48 * (1 + 0.87 + 0.5), rel=0.15)
    training = found["training"]
    assert training["gradients_apart"] < 1e-5 and training["pictures"] == 3 and len(training["rounds"]) == 2
    for phase in ("before", "update"):
        best = {s: min(one[phase][s]["cpu_seconds"] for one in training["rounds"]) for s in ("ours", "theirs")}
        assert training[f"ratio_{phase}"] == pytest.approx(best["theirs"] / best["ours"], abs=0.01)
    assert "a cycle of 2 updates on 3 pictures" in table and table.count("theirs takes") == 4
    assert not {name for name in set(sys.modules) - modules if name.startswith(("models", "grpo", "trl", "wandb"))}
    assert torch.equal(torch.get_rng_state(), state)


def test_another_gradient_is_said_in_a_sentence(tmp_path):
    """A penalty of ten times ours, which the second update sees."""
    with pytest.raises(UserError, match="another gradient than ours"):
        speed.main(masked(tmp_path, wrong=10.0))


@pytest.mark.parametrize(
    "damage, words",
    [
        ({"guide": 0.9}, "its pictures are the same"),
        ({"stay": 0.9}, "its pictures are the same"),
        ({"again": True}, "its pictures are others"),
    ],
)
def test_another_decision_is_said_in_a_sentence(tmp_path, damage, words):
    """Guidance, probability of staying hidden, and slots that are drawn twice; nothing of it is seen in a shape."""
    modules, state = set(sys.modules), torch.get_rng_state()
    with pytest.raises(UserError, match="its emerge sampler decides otherwise than ours") as said:
        speed.main(masked(tmp_path, **damage))
    assert words in str(said.value)
    assert not {name for name in set(sys.modules) - modules if name.startswith(("models", "grpo", "trl", "wandb"))}
    assert torch.equal(torch.get_rng_state(), state)
