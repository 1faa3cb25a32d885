"""The policies `bench.speed` measures, and what is done with them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from htgrpo.policies.policy import Policy


@dataclass(frozen=True)
class Setup:
    """What is sampled: pictures a prompt, steps, guidance, prompts, by which samplers. config: settings of training."""

    group: int
    steps: int
    guidance: float
    prompts: int
    samplers: tuple[str, ...] = ("random",)
    config: tuple[tuple[str, Any], ...] = ()

    @property
    def tuning(self) -> Literal["full", "lora"]:
        """How the network learns."""
        return dict(self.config).get("tuning", "full")


ALL_SAMPLERS = ("emerge", "maskgit", "lumina")
LORA = (("tuning", "lora"), ("lora_rank", 128), ("recompute", True), ("tokens_per_forward", 12288), ("clip", 0.001))
SIZES = {
    "tiny": Setup(3, 3, 2.0, 2, ALL_SAMPLERS, (("tuning", "lora"), ("lora_rank", 2), ("clip", 0.001))),
    "embedded": Setup(9, 8, 2.0, 6),
    "mid": Setup(9, 12, 3.5, 1),
    "8b": Setup(9, 15, 3.5, 2, ALL_SAMPLERS, LORA),
}
"""By the size of the policy. 8b trains as the presets of the published backbones do."""
WIDTHS = {"tiny": (32, 2, 2, 48, 4), "mid": (256, 8, 8, 768, 16), "8b": (4096, 32, 32, 12288, 32)}
"""Width, layers, heads and feed-forward width of random policies, and the side of their grid of slots."""
ROWS, TEXT = 134656, {"tiny": 8, "mid": 64, "8b": 128}
"""Rows of embedding and head, and ids of text."""


def policy_of(size: str, prompts: int, device: str) -> "tuple[Policy, list[tuple[int, ...]]]":
    """A policy and `prompts` prompts (ids before the image block). "embedded" ships with us, the others are random."""
    if size == "embedded":
        from htgrpo.policies.storage import load_policy
        from htgrpo.world.prompts import split_prompts
        from htgrpo.world.world import find

        policy = load_policy(device=device)
        listed = split_prompts(find(), "train")
        return policy, [policy.prompt(listed[i * len(listed) // prompts].text) for i in range(prompts)]
    return random_policy(size, device), [tuple(range(100 + i, 100 + i + TEXT[size])) for i in range(prompts)]


def random_policy(size: str, device: str) -> "Policy":
    """Random weights in the MMaDA layout, 8192 codes at the published ids; in bfloat16 where published weights are. They
    are drawn on `device`, where 8e9 of them take seconds."""
    import torch

    from htgrpo.base.cpu import sampling_dtype
    from htgrpo.base.rng import generator
    from htgrpo.policies.backbone import Backbone
    from htgrpo.policies.llada import LLaDA, Size, initialise
    from htgrpo.policies.policy import Policy
    from htgrpo.policies.tokenizer import WordTokenizer

    width, layers, heads, mlp, side = WIDTHS[size]
    backbone = Backbone(
        size,
        text_open=(126088, 126080),
        text_close=(126081,),
        image_open=(126084,),
        row_close=(),
        image_close=(126085,),
        mask=126336,
        image_offset=126349,
        codebook_size=8192,
        max_text=TEXT[size] + 1,
        patch=16,
        grid=(side, side),
        pad=126093,
    )
    with torch.device("meta"):
        net = LLaDA(Size(width, layers, heads, mlp, ROWS))
    net.to(sampling_dtype("auto", device) if size == "8b" else torch.float32).to_empty(device=device)
    noise = generator(size)
    if torch.device(device).type != "cpu":
        noise = torch.Generator(device).manual_seed(noise.initial_seed())
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(1.0)
        initialise(net, noise)
    net.trunk.wte.requires_grad_(False)
    net.trunk.ff_out.requires_grad_(False)
    return Policy(net, backbone, WordTokenizer.of(["a"]), codec=None, random_weights=True)


def dtypes(policy: "Policy", tuning: str) -> "tuple[torch.dtype, torch.dtype]":
    """What training samples in and what it learns in."""
    from htgrpo.base.cpu import sampling_dtype

    own = next(policy.net.parameters()).dtype
    return own if tuning == "lora" else sampling_dtype("auto", policy.device), own
