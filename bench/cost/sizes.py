"""The policies `bench.speed` measures."""

import torch

from htgrpo.base.rng import generator
from htgrpo.policies.policy import Policy
from htgrpo.policies.storage import load_policy

MID_TEXT = 64


def policy_of(size: str, prompts: int) -> tuple[Policy, list[tuple[int, ...]]]:
    """A policy and `prompts` prompts (ids before the image block): "embedded" ships with us, "mid" is random."""
    if size == "embedded":
        from htgrpo.world.prompts import split_prompts
        from htgrpo.world.world import find

        policy = load_policy()
        listed = split_prompts(find(), "train")
        return policy, [policy.prompt(listed[i * len(listed) // prompts].text) for i in range(prompts)]
    return mid_policy(), [tuple(range(100 + i, 100 + i + MID_TEXT)) for i in range(prompts)]


def mid_policy() -> Policy:
    """Random weights in the MMaDA layout: d 256, 8 layers, 8 heads, mlp 768, 8192 codes at the published ids, 256
    slots."""
    from htgrpo.policies.backbone import Backbone
    from htgrpo.policies.llada import LLaDA, Size, initialise
    from htgrpo.policies.tokenizer import WordTokenizer

    backbone = Backbone(
        "mid",
        text_open=(126088, 126080),
        text_close=(126081,),
        image_open=(126084,),
        row_close=(),
        image_close=(126085,),
        mask=126336,
        image_offset=126349,
        codebook_size=8192,
        max_text=MID_TEXT + 1,
        patch=16,
        grid=(16, 16),
        pad=126093,
    )
    net = LLaDA(Size(256, 8, 8, 768, 134656))
    with torch.no_grad():
        initialise(net, generator("mid"))
    net.trunk.wte.requires_grad_(False)
    net.trunk.ff_out.requires_grad_(False)
    return Policy(net, backbone, WordTokenizer.of(["a"]), codec=None, random_weights=True)
