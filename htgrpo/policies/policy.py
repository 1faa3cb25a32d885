"""A policy: network, backbone record, tokenizer and image codec, loaded from and saved to one folder."""

from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor

from htgrpo.interface import HIDDEN
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Network, Packed
from htgrpo.policies.tokenizer import Tokenizer


@dataclass(frozen=True)
class Source:
    """Where a policy comes from. name, revision: what load_policy takes to have it again (an absolute folder, a hub id
    and its commit, "embedded"; "" for one that was made in memory). config: the published config.json, None in the
    embedded format. codec: the published codec's subfolder of the policy's folder, or else its absolute folder or hub
    id."""

    name: str = ""
    revision: str = ""
    config: dict[str, Any] | None = None
    codec: str = ""


@dataclass(frozen=True)
class Policy:
    """A masked image-token policy. `random_weights` labels a network that was never trained; sha256: identity of its
    weights (see ModelFolder.sha256)."""

    net: LLaDA
    backbone: Backbone
    tokenizer: Tokenizer
    codec: Any
    sha256: str = ""
    random_weights: bool = False
    source: Source = field(default_factory=Source)

    @property
    def device(self) -> torch.device:
        """Where the network's weights lie."""
        return next(self.net.parameters()).device

    def prompt(self, text: str, pads: str = "strip") -> tuple[int, ...]:
        """Ids before the image block for `text`, which may hold anything: special strings in it are ordinary text."""
        return self.backbone.prompt(self.tokenizer.plain(text), self.tokenizer.encode, pads)

    def unconditional(self, pads: str = "strip") -> tuple[int, ...]:
        """Ids before the image block of the prompt that stands for none."""
        return self.backbone.prompt(self.backbone.unconditional, self.tokenizer.encode, pads)

    def grid_of(self, resolution: str) -> tuple[int, int]:
        """(rows, columns) of pictures of `resolution` (see Backbone.grid_of); "" is the policy's own size."""
        return self.backbone.grid_of(resolution)

    def sized(self, resolution: str) -> "Policy":
        """The same policy with `resolution` as its own picture size, at which it then samples, decodes and is saved."""
        return replace(self, backbone=replace(self.backbone, grid=self.grid_of(resolution)))

    def decode(self, codes: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Pictures of `codes` int64 [B, N]: float32 [B, 3, H, W], RGB in [0, 1]."""
        return self.codec.decode(codes.cpu(), grid or self.backbone.grid)

    def with_net(self, net: Network) -> "Policy":
        """The same policy with another network, or a view of its own: whoever trains or samples only calls it."""
        return replace(self, net=cast(LLaDA, net))


@dataclass(frozen=True)
class Guide:
    """Classifier-free guidance: its scale, and the ids before the image block of the unconditional prompt."""

    scale: float
    prompt: tuple[int, ...]


def sent(value: Tensor, device: torch.device) -> Tensor:
    """`value`, which lies on the host, on `device`; nobody waits for what the device is still doing."""
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


def laid_out(
    backbone: Backbone, prompts: list[tuple[int, ...]], codes: Tensor, grid: tuple[int, int]
) -> tuple[Tensor, tuple[int, ...], Tensor]:
    """Sequences of `prompts` with image codes [B, N] (HIDDEN where unknown), on the host: ids int64 [T] one after
    another, the length of each, and where the slots lie: int64 [B, N]."""
    block = backbone.image_block(grid)
    offsets = torch.tensor([place for place, one in enumerate(block.tolist()) if one == HIDDEN])
    whole = {prompt: torch.cat([torch.tensor(prompt), block]) for prompt in dict.fromkeys(prompts)}
    ends = torch.tensor([*accumulate(len(whole[prompt]) for prompt in prompts)])
    slots = (ends - len(block))[:, None] + offsets
    ids = torch.cat([whole[prompt] for prompt in prompts])
    ids[slots] = backbone.to_ids(codes.cpu())
    return ids, tuple(len(prompt) + len(block) for prompt in prompts), slots


def pack(policy: Policy, prompts: list[tuple[int, ...]], codes: Tensor, grid: tuple[int, int]) -> tuple[Packed, Tensor]:
    """The same on the policy's device: the sequences, and where the slots lie."""
    ids, lengths, slots = laid_out(policy.backbone, prompts, codes, grid)
    return Packed(sent(ids, policy.device), lengths), sent(slots, policy.device)
