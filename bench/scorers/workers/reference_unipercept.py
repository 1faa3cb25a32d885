# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "unipercept-reward==1.0.3",
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.49.0",
#   "accelerate==1.10.1",
#   "peft==0.17.1",
#   "einops==0.8.1",
#   "timm==1.0.31",
#   "sentencepiece==0.2.0",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
#
# [tool.uv]
# override-dependencies = [
#   "deepspeed ; sys_platform == 'never'", "bitsandbytes ; sys_platform == 'never'", "wandb ; sys_platform == 'never'",
#   "torch==2.15.0", "torchvision==0.29.2", "transformers==4.49.0", "accelerate==1.10.1", "peft==0.17.1", "einops==0.8.1",
#   "timm==1.0.31", "sentencepiece==0.2.0", "numpy==2.2.6", "pillow==11.3.0",
# ]
# ///
"""The official package unipercept-reward 1.0.3, to check our port against (python -m bench.verify_scorer
unipercept)."""

from htgrpo_worker import main

TASKS = {"iaa": "aesthetics", "iqa": "quality", "ista": "structure and texture richness"}  # as in its inferencer.py


def load(arguments):
    """See htgrpo_worker.main. Its `reward` wants files; what it does with one is done here with a picture."""
    import torch
    from unipercept_reward import UniPerceptRewardInferencer

    dtype = arguments.dtype or "bfloat16"
    model = UniPerceptRewardInferencer(arguments.weights, arguments.device, getattr(torch, dtype))

    # 448, as it is, but for tiny checkpoints
    model.transform = model._build_transform(model.model.config.force_image_size)

    def one(image):
        pixels = model.transform(image)[None].to(model.dtype).to(model.device)
        axes = {}
        for key, task in TASKS.items():
            value = model.model.score(model.device, model.tokenizer, pixels, model.gen_cfg, task)
            axes[key] = float(value[0] if isinstance(value, (list, tuple)) else value)
        return sum(axes.values()) / len(axes), axes

    @torch.inference_mode()
    def score(images, prompts):
        return [one(image) for image in images]

    return {
        "name": "unipercept-reference",
        "version": "unipercept-reward 1.0.3",
        "weights_revision": None,
        "dtype": dtype,
    }, score


if __name__ == "__main__":
    main(load)
