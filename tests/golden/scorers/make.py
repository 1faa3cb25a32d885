"""Measures what official packages compute on tiny random checkpoints, in an environment that holds one of them:

    PYTHONPATH=. python tests/golden/scorers/make.py imagereward|clip|hpsv3|unipercept|pickscore|hpsv2

imagereward, clip: image-reward 1.5, clip-score 0.2.1, clip-anytorch 2.6.0, transformers 4.55.4, setuptools < 81;
hpsv3: hpsv3 1.0.0, transformers 4.45.2, trl 0.12.2; unipercept: unipercept-reward 1.0.3, transformers 4.49.0, peft;
pickscore, hpsv2: the heads of bench/scorers/workers/reference_{pickscore,hpsv2}.py, and open_clip_torch for its
copy of CLIP's vocabulary.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

from tests.scorers import tiny
from tests.scorers.texts import STAND_IN

HERE = Path(__file__).parent


def origin(package, recipe):
    """Where the numbers come from."""
    return {
        "package": package, "version": version(package), "transformers": version("transformers"),
        "torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "recipe": recipe,
    }  # fmt: skip


def seeded():
    return torch.Generator().manual_seed(0)


def imagereward(folder):
    """score() of the package's class; its network with fewer layers and other widths, its weights loaded strictly."""
    import ImageReward  # noqa: F401  (its name is also its module's and its class's)
    from ImageReward.models.BLIP import blip_pretrain
    from ImageReward.models.BLIP.vit import VisionTransformer
    from transformers import BertTokenizer

    from tests.scorers.tiny_imagereward import MED, VISION, tiny_checkpoint

    def small(vit, image_size, *ignored):
        size = VISION["image_size"]
        return VisionTransformer(
            img_size=size,
            patch_size=16,
            embed_dim=VISION["hidden_size"],
            depth=VISION["num_hidden_layers"],
            num_heads=VISION["num_attention_heads"],
        ), VISION["hidden_size"]

    def tokenizer():
        made = BertTokenizer.from_pretrained(str(folder))
        made.add_special_tokens({"bos_token": "[DEC]"})
        made.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
        return made

    state = tiny_checkpoint(folder, seeded())
    blip_pretrain.create_vit, blip_pretrain.init_tokenizer = small, tokenizer
    package = sys.modules["ImageReward.ImageReward"]
    first = package.MLP
    package.MLP = lambda size: first(MED["hidden_size"])
    model = package.ImageReward(med_config=str(folder / "med_config.json")).eval()
    model.preprocess = package._transform(VISION["image_size"])
    print(model.load_state_dict(state, strict=False))
    with torch.no_grad():
        scores = [model.score(prompt, image) for image, prompt in zip(*tiny.pairs())]
    return {
        "origin": origin("image-reward", "ImageReward.score on tests/scorers/tiny_imagereward.py, seed 0"),
        "scores": scores,
    }


def clip(folder):
    """forward_modality and the cosine of the package; it cannot read prompts over 77 tokens."""
    from clip_score.clip_score import forward_modality
    from transformers import AutoModel, AutoProcessor, AutoTokenizer

    from tests.scorers.tiny_clip import tiny_checkpoint

    tiny_checkpoint(folder, seeded())
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder, use_fast=False)
    images, prompts = tiny.pairs()
    prompts[1] = prompts[1][:60]
    scores = []
    with torch.no_grad():
        for image, prompt in zip(images, prompts):
            real = forward_modality(model, dict(processor(text=None, images=image, return_tensors="pt")), "img")
            fake = forward_modality(model, dict(tokenizer(prompt, padding=True, return_tensors="pt")), "txt")
            scores.append(
                (real / real.norm(dim=1, keepdim=True) * (fake / fake.norm(dim=1, keepdim=True))).sum().item()
            )
    return {
        "origin": origin("clip-score", "forward_modality on tests/scorers/tiny_clip.py, seed 0"),
        "prompts": prompts,
        "scores": scores,
    }


def hpsv3(folder):
    """HPSv3RewardInferencer.reward. On the CPU it is cast by hand as its configuration does on a GPU: the whole model
    to bf16."""
    import hpsv3 as package
    from hpsv3 import inference
    from hpsv3.dataset.utils import smart_resize
    from transformers import AutoConfig, Qwen2VLForConditionalGeneration

    from tests.scorers.tiny_hpsv3 import tiny_checkpoint

    tiny_checkpoint(folder, seeded())
    base = folder / "Qwen2-VL-7B-Instruct"
    Qwen2VLForConditionalGeneration(AutoConfig.from_pretrained(base)).save_pretrained(base)
    settings = (Path(package.__file__).parent / "config" / "HPSv3_7B.yaml").read_text()
    for ours, theirs in (
        ("Qwen/Qwen2-VL-7B-Instruct", str(base)),
        ("bf16: True", "bf16: False"),
        ("bfloat16", "float32"),
    ):
        settings = settings.replace(ours, theirs)
    (folder / "tiny.yaml").write_text(settings)
    images, prompts = tiny.pairs()
    sides = [(512, 512), (1024, 1024), (768, 1536), (333, 1000), (64, 64), (28, 2000), (1, 200), (1023, 577)]
    out = {"sizes": [[*side, *smart_resize(*side, min_pixels=200704, max_pixels=200704)] for side in sides]}
    out |= {
        "origin": origin(
            "hpsv3",
            "HPSv3RewardInferencer.reward on tests/scorers/tiny_hpsv3.py, seed 0; rounded: after "
            ".to(bfloat16).float(); bfloat16: after .to(bfloat16), the head float32; plain: float32 throughout",
        )
    }
    for texts in ("official", "stand-in"):
        if texts == "stand-in":
            inference.INSTRUCTION = STAND_IN["hpsv3.INSTRUCTION"]
            inference.prompt_with_special_token = STAND_IN["hpsv3.prompt_with_special_token"]
        model = inference.HPSv3RewardInferencer(
            str(folder / "tiny.yaml"), str(folder / "HPSv3.safetensors"), device="cpu"
        )
        found = {}
        with torch.no_grad():
            found["plain"] = model.reward(images, prompts).tolist()
            model.model.to(torch.bfloat16).float()
            found["rounded"] = model.reward(images, prompts).tolist()
            found["rounded, one by one"] = [model.reward([i], [p])[0].tolist() for i, p in zip(images, prompts)]
            model.model.to(torch.bfloat16)
            model.model.rm_head.float()
            # CUDA's autocast to float32 does this to the head's input, the CPU has none
            model.model.rm_head.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))
            found["bfloat16, one by one"] = [model.reward([i], [p])[0].tolist() for i, p in zip(images, prompts)]
        out[texts] = found
    return out


def unipercept(folder):
    """UniPerceptRewardInferencer.reward, at the tiny encoder's picture size; and generate_logits for a stand-in
    question."""
    from unipercept_reward.inferencer import UniPerceptRewardInferencer
    from unipercept_reward.internvl.model.internvl_chat.aes_tokens import AESTHETICS_TOKEN_LIST

    from tests.scorers.tiny_unipercept import tiny_checkpoint

    tiny_checkpoint(folder, seeded())
    images, _ = tiny.pairs()
    files = [folder / f"{number}.png" for number in range(len(images))]
    for image, file in zip(images, files):
        image.save(file)
    out = {
        "origin": origin(
            "unipercept-reward",
            "UniPerceptRewardInferencer.reward on tests/scorers/tiny_unipercept.py, seed 0; "
            "logits: generate_logits at the last position, of the answers, for the stand-in question iqa",
        )
    }
    for dtype in ("float32", "bfloat16"):
        judge = UniPerceptRewardInferencer(str(folder), "cpu", getattr(torch, dtype))
        judge.transform = judge._build_transform(56)
        out[dtype] = judge.reward([str(file) for file in files])
        if dtype == "float32":
            question = STAND_IN["unipercept.question"].format(desc=STAND_IN["unipercept.desc"]["iqa"])
            chat = STAND_IN["unipercept.chat_template"].format(
                system_message=STAND_IN["unipercept.system_message_internvl2_5"], question=question
            )
            ids = judge.tokenizer(
                chat.replace("<image>", "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"), return_tensors="pt"
            )
            answers = judge.tokenizer.convert_tokens_to_ids(AESTHETICS_TOKEN_LIST)
            out["logits"] = [
                judge.model.generate_logits(judge.preprocess_image(file), **ids).logits[0, -1, answers].tolist()
                for file in files
            ]
    return out


def by_worker(name, package, recipe, write):
    """What the worker of an official package computes on a checkpoint that `write` makes."""
    from argparse import Namespace
    from importlib import import_module

    def measured(folder):
        write(folder, seeded())
        sys.path.insert(0, str(HERE.parents[2] / "bench" / "scorers" / "workers"))
        worker = import_module(f"reference_{name}")
        _, score = worker.load(Namespace(weights=str(folder), processor=str(folder), device="cpu", dtype=""))
        scores = [score([image], [prompt])[0][0] for image, prompt in zip(*tiny.pairs())]
        return {"origin": origin(package, recipe), "scores": scores}

    return measured


if __name__ == "__main__":
    from tests.scorers.tiny_clip_h import tiny_hpsv2, tiny_pickscore

    name = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        torch.set_num_threads(1)
        pickscore = by_worker(
            "pickscore", "transformers", "the README's code on tiny_clip_h.py, seed 0", tiny_pickscore
        )
        hpsv2 = by_worker("hpsv2", "hpsv2", "its network and transform on tiny_clip_h.py, seed 0", tiny_hpsv2)
        found = {
            "imagereward": imagereward, "clip": clip, "hpsv3": hpsv3, "unipercept": unipercept, "pickscore": pickscore,
            "hpsv2": hpsv2,
        }[name](Path(folder))  # fmt: skip
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
