# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "hpsv2==1.2.0",
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.55.4",
#   "huggingface_hub==0.36.0",
#   "open_clip_torch==3.3.0",
#   "timm==1.0.31",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
#
# [tool.uv]
# override-dependencies = [
#   "protobuf ; sys_platform == 'never'", "pytest ; sys_platform == 'never'", "pytest-split ; sys_platform == 'never'",
#   "webdataset ; sys_platform == 'never'", "pyarrow ; sys_platform == 'never'", "pandas ; sys_platform == 'never'",
#   "datasets ; sys_platform == 'never'", "braceexpand ; sys_platform == 'never'", "fsspec==2025.9.0",
#   "torch==2.15.0", "torchvision==0.29.2", "transformers==4.55.4", "huggingface_hub==0.36.0", "timm==1.0.31",
#   "numpy==2.2.6", "pillow==11.3.0",
# ]
# ///
"""The official package hpsv2 1.2.0 with HPSv2.1's weights, to check our port against (python -m bench.verify_scorer
hpsv2). It resizes with antialias, since this torchvision does. Its own score() reads the weights for every picture."""

import gzip
from pathlib import Path

from htgrpo_worker import Refused, main

WEIGHTS = "HPS_v2.1_compressed.pt"


def with_vocabulary():
    """Has the package read open_clip's copy of CLIP's vocabulary: its wheel lacks the file."""
    from open_clip.tokenizer import default_bpe

    read = gzip.open
    gzip.open = lambda file, *args, **kwargs: read(file if Path(file).is_file() else default_bpe(), *args, **kwargs)


def load(arguments):
    """See htgrpo_worker.main. weights: HPSv2's folder, with ViT-H-14.json where the network has other sizes than the
    package's."""
    import torch

    with_vocabulary()
    from hpsv2.src import open_clip

    folder = Path(arguments.weights)
    if not (folder / WEIGHTS).is_file():
        raise Refused(
            f"{str(folder)!r} lacks {WEIGHTS}, which the package reads: run `hf download xswu/HPSv2 {WEIGHTS}`"
        )
    if (folder / "ViT-H-14.json").is_file():
        open_clip.add_model_config(folder / "ViT-H-14.json")
    model, _, pixels = open_clip.create_model_and_transforms(
        "ViT-H-14", None, precision="amp", device=arguments.device, light_augmentation=True, output_dict=True
    )
    model.load_state_dict(torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)["state_dict"])
    model, tokenizer = model.to(arguments.device).eval(), open_clip.get_tokenizer("ViT-H-14")

    def one(image, prompt):
        seen = pixels(image.convert("RGB"))[None].to(arguments.device)
        with torch.autocast("cuda", enabled=arguments.device.startswith("cuda")):
            out = model(seen, tokenizer([prompt]).to(arguments.device))
            return torch.diagonal(out["image_features"] @ out["text_features"].T).item()

    @torch.inference_mode()
    def score(images, prompts):
        return [(one(image, prompt), {}) for image, prompt in zip(images, prompts)]

    return {
        "name": "hpsv2-reference",
        "version": "hpsv2 1.2.0",
        "weights_revision": None,
        "dtype": "float16 autocast" if arguments.device.startswith("cuda") else "float32",
    }, score


if __name__ == "__main__":
    main(load)
