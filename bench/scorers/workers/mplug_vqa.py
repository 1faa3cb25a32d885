# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "torch==2.15.0",
#   "torchvision==0.29.2",
#   "transformers==4.57.6",
#   "modelscope==1.40.2",
#   "numpy==2.2.6",
#   "pillow==11.3.0",
#   "addict==2.4.0",
#   "simplejson==3.20.2",
#   "sortedcontainers==2.4.0",
#   "einops==0.8.1",
#   "pyyaml==6.0.3",
#   "cryptography==46.0.3",
#   "oss2==2.19.1",
#   "datasets==3.6.0",
#   "timm==1.0.31",
# ]
# ///
"""mPLUG's visual question answering, which DPG-Bench asks its questions: 1 for the answer "yes" to the letter, else 0.

The prompt of an item is a question. A picture that several questions of a batch are about is encoded once.
"""

import re
from pathlib import Path

from htgrpo_worker import Refused, main

TOKENS = 25
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
UNREAD = re.compile(
    r"(visual_encoder|text_encoder|fusion_encoder|text_decoder|visn_fc|visn_layer_norm)_m\.|.*position_ids$"
)


def load(arguments):
    """See htgrpo_worker.main."""
    import torch
    import yaml
    from modelscope.models.multi_modal.mplug.configuration_mplug import MPlugConfig
    from modelscope.models.multi_modal.mplug.modeling_mplug import MPlugForVisualQuestionAnswering
    from torchvision import transforms

    folder = Path(arguments.weights)
    # read without the package, whose loaders run what a file tells them; `distill` would build a copy of all for training
    settings = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    config = MPlugConfig(**dict(settings, distill=False))
    config.model_dir = str(folder)
    net = MPlugForVisualQuestionAnswering(config)
    state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    for key in ("model", "module"):
        state = state.get(key, state)
    report = net.load_state_dict({key.replace("model.", ""): value for key, value in state.items()}, strict=False)
    spare = [key for key in report.unexpected_keys if not UNREAD.match(key)]
    if report.missing_keys or spare:
        what = f"lacks {report.missing_keys[0]!r}" if report.missing_keys else f"has the unexpected {spare[0]!r}"
        raise Refused(f"{str(folder)!r} {what}: it does not hold this mPLUG's weights; download them again")
    dtype = getattr(torch, arguments.dtype or "float32")
    net.to(arguments.device, dtype).eval()
    prepare = transforms.Compose(
        [
            transforms.Resize((config.image_res, config.image_res), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )

    def see(image):
        pixels = prepare(image.convert("RGB"))[None].to(arguments.device, dtype)
        seen = net.visual_encoder.visual(pixels, skip_last_layer=True)
        return net.dropout(net.visn_layer_norm(net.visn_fc(seen))) if net.large else seen

    @torch.inference_mode()
    def score(images, prompts):
        pictures = {id(image): image for image in images}
        encoded = {key: see(image) for key, image in pictures.items()}
        seen = torch.cat([encoded[id(image)] for image in images])
        seen_mask = torch.ones(seen.shape[:-1], dtype=torch.long, device=seen.device)
        read = net.tokenizer(
            [prompt.lower() for prompt in prompts],
            padding="max_length",
            truncation=True,
            max_length=TOKENS,
            return_tensors="pt",
        ).to(arguments.device)
        text = net.text_encoder(read.input_ids, attention_mask=read.attention_mask, return_dict=True).last_hidden_state
        image_states, text_states = net.fusion_encoder(
            encoder_embeds=text,
            attention_mask=read.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=seen_mask,
            return_dict=False,
        )
        best, _ = net.generation(
            torch.cat([image_states, text_states], 1), torch.cat([seen_mask, read.attention_mask], 1)
        )
        answers = [net.tokenizer.decode(found[0], skip_special_tokens=True) for found in best]
        return [(float(answer == "yes"), {"answer": answer}) for answer in answers]

    identity = {
        "name": "mplug_vqa",
        "version": "1",
        "weights_revision": None,
        "dtype": str(dtype).replace("torch.", ""),
    }
    return identity, score


if __name__ == "__main__":
    main(load)
