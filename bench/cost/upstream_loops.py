"""Published generation loops, called as their own scripts call them (bench.speed --upstream DIR), and ours of the same
kind."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.policies.policy import Policy
    from htgrpo.rollout import Rollouts

Loop = Callable[[Any, "Side"], Callable[[], "Tensor"]]
"""Of a network and a side: what samples its pictures, int64 [B, N]."""


@dataclass(frozen=True)
class Side:
    """What both sides sample: `owners` are the prompts (ids) of all pictures. pads: of our unconditional prompt, as in
    Backbone.prompt."""

    policy: "Policy"
    owners: list[tuple[int, ...]]
    steps: int
    guidance: float
    pads: str = "strip"

    @property
    def slots(self) -> int:
        """Of a picture."""
        return self.policy.backbone.grid[0] * self.policy.backbone.grid[1]

    @property
    def longest(self) -> int:
        """Ids of the longest prompt, to which MMaDA and MaskGRPO pad on the left."""
        return max(map(len, self.owners))

    @property
    def keys(self) -> list[tuple]:
        """What our pictures draw from."""
        return [("upstream", i) for i in range(len(self.owners))]

    def attending(self) -> "Side":
        """The same, and ours attends to as many pads as MaskGRPO's network does, which passes its mask by."""
        backbone = replace(self.policy.backbone, padded=self.longest)
        return replace(self, policy=replace(self.policy, backbone=backbone), pads="attend")


def ours(sampler: str, side: Side) -> "Callable[[], Rollouts]":
    """Our rollout."""
    from htgrpo.base.registry import SAMPLERS
    from htgrpo.rollout import generate

    chosen = SAMPLERS.get(sampler)(steps=side.steps)
    return partial(generate, side.policy, side.owners, side.keys, chosen, side.guidance, pads=side.pads)


def canvas(side: Side) -> dict[str, Any]:
    """What MMaDA's loop and MaskGRPO's are given, new at every call, as they write into it: all pictures at once. They
    take prompts of one length: the empty one is padded on the left, and the mask says where."""
    import torch

    policy, backbone = side.policy, side.policy.backbone
    image = backbone.to_ids(backbone.image_block(backbone.grid))
    image[: len(backbone.image_open)] = torch.tensor(backbone.image_open)
    image[len(image) - len(backbone.image_close) :] = torch.tensor(backbone.image_close)

    def rows(prompts: list[tuple[int, ...]]) -> "tuple[Tensor, Tensor]":
        pads = [side.longest - len(prompt) for prompt in prompts]
        ids = [[backbone.pad or 0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        shown = [[0] * pad + [1] * (side.longest - pad + len(image)) for pad in pads]
        both = torch.cat([torch.tensor(ids), image.expand(len(ids), -1)], dim=1)
        return both.to(policy.device), torch.tensor(shown, device=policy.device)

    ids, mask = rows(side.owners)
    empty, empty_mask = rows([policy.unconditional()] * len(side.owners))
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "uncond_input_ids": empty,
        "uncond_attention_mask": empty_mask,
        "guidance_scale": side.guidance,
        "timesteps": side.steps,
        "seq_len": side.slots,
        "mask_token_id": backbone.mask,
        "resolution": side.longest - 1,
        "codebook_size": backbone.codebook_size,
        "generator": torch.Generator(policy.device).manual_seed(0),
        "uni_prompting": SimpleNamespace(text_tokenizer=range(backbone.image_offset)),
    }


def mmada(net: Any, side: Side) -> "Callable[[], Tensor]":
    """t2i_generate of the network."""
    return lambda: net.t2i_generate(**canvas(side))


def emerge(kind: Any, net: Any, side: Side) -> "Callable[[], Tensor]":
    """t2i_generate_emerge of MaskGRPO's trainer `kind`, with which it samples what it trains on. It draws from the
    global generator, whatever it is given."""
    trainer, backbone = object.__new__(kind), side.policy.backbone

    def run() -> "Tensor":
        given = canvas(side)
        trainer.uni_prompting = given.pop("uni_prompting")
        whole = trainer.t2i_generate_emerge(net, **given)
        after = whole.shape[1] - len(backbone.image_close)
        return whole[:, after - side.slots : after] - backbone.image_offset

    return run


def lumina(net: Any, side: Side) -> "Callable[[], Tensor]":
    """generate_image, which takes one picture at a time, without its cache."""
    import torch

    loop = importlib.import_module("generators.image_generation_generator").generate_image
    policy, backbone = side.policy, side.policy.backbone
    block = backbone.image_block(backbone.grid)
    before, after = len(backbone.image_open), len(block) - len(backbone.image_close)
    row = torch.tensor([*[backbone.mask] * backbone.grid[1], *backbone.row_close]).repeat(backbone.grid[0])
    image = torch.cat([block[:before], row, block[after:]])

    def run() -> "Tensor":
        noise = torch.Generator(policy.device).manual_seed(0)
        made = [
            loop(
                net,
                torch.cat([torch.tensor(prompt), image])[None].to(policy.device),
                seq_len=side.slots,
                newline_every=backbone.grid[1],
                timesteps=side.steps,
                mask_token_id=backbone.mask,
                newline_id=backbone.row_close[0],
                cfg_scale=side.guidance,
                uncon_ids=torch.tensor([policy.unconditional()], device=policy.device),
                code_start=len(prompt) + before,
                codebook_size=backbone.codebook_size,
                text_vocab_size=backbone.image_offset,
                generator=noise,
            )
            for prompt in side.owners
        ]
        return torch.cat(made) - backbone.image_offset

    return run
