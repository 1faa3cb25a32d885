# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "image-reward==1.5",
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.55.4",
#   "huggingface_hub==0.36.0",
#   "setuptools<81",
#   "clip-anytorch==2.6.0",
#   "datasets==4.4.1",
#   "diffusers==0.35.2",
#   "timm==1.0.31",
#   "fairscale==0.4.13",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
#
# [tool.uv]
# override-dependencies = ["timm==1.0.31", "fairscale==0.4.13"]
# ///
"""The official package image-reward 1.5, to check our port against (python -m bench.verify_scorer imagereward)."""

from pathlib import Path

from htgrpo_worker import Refused, main


def load(arguments):
    """See htgrpo_worker.main. weights: ImageReward.pt and med_config.json; tokenizer: bert-base-uncased's folder."""
    import torch
    from ImageReward import utils
    from ImageReward.models.BLIP import blip, blip_pretrain
    from transformers import BertTokenizer

    def tokenizer():
        """The package's init_tokenizer, on a folder instead of the hub."""
        made = BertTokenizer.from_pretrained(arguments.tokenizer)
        made.add_special_tokens({"bos_token": "[DEC]"})
        made.add_special_tokens({"additional_special_tokens": ["[ENC]"]})
        made.enc_token_id = made.additional_special_tokens_ids[0]
        return made

    blip.init_tokenizer = blip_pretrain.init_tokenizer = tokenizer
    folder = Path(arguments.weights)
    if not (folder / "ImageReward.pt").is_file():
        raise Refused(
            f"{str(folder)!r} lacks ImageReward.pt, which the package reads: run `hf download THUDM/ImageReward`"
        )
    model = utils.load(
        str(folder / "ImageReward.pt"), device=arguments.device, med_config=str(folder / "med_config.json")
    )

    @torch.inference_mode()
    def score(images, prompts):
        return [(model.score(prompt, image), {}) for image, prompt in zip(images, prompts)]

    return {
        "name": "imagereward-reference",
        "version": "image-reward 1.5",
        "weights_revision": None,
        "dtype": "float32",
    }, score


if __name__ == "__main__":
    main(load, tokenizer="")
