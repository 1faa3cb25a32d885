# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.55.4",
#   "huggingface_hub==0.36.0",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
# ]
# ///
"""PickScore as its authors' README computes it, to check our port against (python -m bench.verify_scorer pickscore)."""

from htgrpo_worker import main


def load(arguments):
    """See htgrpo_worker.main. weights: PickScore_v1's folder; processor: that of LAION's CLIP ViT-H/14."""
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    dtype = arguments.dtype or "float32"
    # the processor that the README loads, by its parts: pictures are resized by PIL, as they were when it was written
    tokenizer = CLIPTokenizerFast.from_pretrained(arguments.processor)
    model = CLIPModel.from_pretrained(arguments.weights, torch_dtype=getattr(torch, dtype)).eval().to(arguments.device)
    # 224, as it is, but for tiny checkpoints
    side = model.config.vision_config.image_size
    pictures = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})

    def features(made):
        return made / torch.norm(made, dim=-1, keepdim=True)

    def one(image, prompt):
        pixels = pictures(images=[image], return_tensors="pt").to(arguments.device)
        text = tokenizer([prompt], padding=True, truncation=True, max_length=77, return_tensors="pt")
        seen = features(model.get_image_features(pixels["pixel_values"].to(model.dtype)))
        read = features(model.get_text_features(**text.to(arguments.device)))
        return (model.logit_scale.exp() * (read @ seen.T)[0])[0].item()

    @torch.inference_mode()
    def score(images, prompts):
        return [(one(image, prompt), {}) for image, prompt in zip(images, prompts)]

    return {
        "name": "pickscore-reference",
        "version": "PickScore's README, transformers 4.55.4",
        "weights_revision": None,
        "dtype": dtype,
    }, score


if __name__ == "__main__":
    main(load, processor="")
