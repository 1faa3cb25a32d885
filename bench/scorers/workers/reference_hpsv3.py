# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "hpsv3==1.0.0",
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.45.2",
#   "huggingface_hub==0.36.0",
#   "trl==0.12.2",
#   "peft==0.17.1",
#   "accelerate==1.10.1",
#   "datasets==4.4.1",
#   "tensorboard==2.20.0",
#   "matplotlib==3.10.6",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
#
# [tool.uv]
# override-dependencies = [
#   "deepspeed ; sys_platform == 'never'", "flash-attn ; sys_platform == 'never'",
#   "torch==2.15.0", "torchvision==0.29.2", "transformers==4.45.2", "trl==0.12.2", "peft==0.17.1", "pillow==11.3.0", "numpy==2.2.6",
# ]
# ///
"""The official package hpsv3 1.0.0, to check our port against (python -m bench.verify_scorer hpsv3)."""

import copy
import tempfile
from pathlib import Path

from htgrpo_worker import main


def load(arguments):
    """See htgrpo_worker.main. weights: HPSv3.safetensors; base: the folder of Qwen2-VL-7B-Instruct."""
    import hpsv3
    import torch
    from hpsv3 import inference

    settings = (Path(hpsv3.__file__).parent / "config" / "HPSv3_7B.yaml").read_text()
    settings = settings.replace("Qwen/Qwen2-VL-7B-Instruct", arguments.base)
    dtype = arguments.dtype or "bfloat16"
    by_hand = dtype != "bfloat16" or arguments.device == "cpu"  # the package's settings for bf16 want a GPU
    if by_hand:
        settings = settings.replace("bf16: True", "bf16: False").replace("bfloat16", "float32")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(settings)
        model = inference.HPSv3RewardInferencer(
            str(file), str(Path(arguments.weights) / "HPSv3.safetensors"), arguments.device
        )

    if by_hand:  # as those settings do: all goes through bf16, the rotary frequencies too, but for the head
        net, head = model.model, copy.deepcopy(model.model.rm_head.state_dict())
        net.to(torch.bfloat16).to(getattr(torch, dtype))
        net.rm_head.to(torch.float32).load_state_dict(head)
        # a GPU's autocast does it there
        net.rm_head.register_forward_pre_hook(lambda module, given: (given[0].float(),))

    @torch.inference_mode()
    def score(images, prompts):
        rewards = model.reward([image.convert("RGB") for image in images], prompts).float().tolist()
        return [(mu, {"log_sigma": s}) for mu, s in rewards]

    return {"name": "hpsv3-reference", "version": "hpsv3 1.0.0", "weights_revision": None, "dtype": dtype}, score


if __name__ == "__main__":
    main(load, base="")
