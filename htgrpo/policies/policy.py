"""A policy: network, backbone record, tokenizer and image codec, loaded from and saved to one folder."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htgrpo.cpu import sampling_dtype
from htgrpo.errors import UserError, suggest
from htgrpo.folders import atomic_dir
from htgrpo.model_files import ADAPTER, EMBEDDED, ModelFolder, open_model
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Packed
from htgrpo.policies.tokenizer import Tokenizer
from htgrpo.registry import BACKBONES

DTYPES = ("auto", "float32", "bfloat16", "float64")


@dataclass(frozen=True)
class Source:
    """Where a policy comes from. name, revision: what load_policy takes to have it again (an absolute folder, a hub id and its
    commit, "embedded"; "" for one that was made in memory). config: the published config.json, None in the embedded format.
    codec: the published codec's subfolder of the policy's folder, or else its absolute folder or hub id."""

    name: str = ""
    revision: str = ""
    config: dict[str, Any] | None = None
    codec: str = ""


@dataclass(frozen=True)
class Policy:
    """A masked image-token policy. `random_weights` labels a network that was never trained; sha256: identity of its weights
    (see ModelFolder.sha256)."""

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

    def with_net(self, net: LLaDA) -> "Policy":
        """The same policy with another network."""
        return replace(self, net=net)

    def write(self, folder: Path) -> None:
        """Writes the policy's files into an existing `folder`, in the format it came in."""
        from htgrpo.policies import embedded, published

        (embedded if self.source.config is None else published).write(self, folder)

    def save(self, folder: Path, made_by: str = "Policy.save", overwrite: bool = False) -> None:
        """Writes the policy as a new `folder`, whole or not at all; `overwrite` replaces one that the same `made_by` has written.
        Raises UserError for any other that exists."""
        with atomic_dir(folder, made_by, overwrite) as temporary:
            self.write(temporary)


def pack(policy: Policy, prompts: list[tuple[int, ...]], codes: Tensor, grid: tuple[int, int]) -> tuple[Packed, Tensor]:
    """Sequences of `prompts` with image codes [B, N] (HIDDEN where unknown), and where the slots lie: int64 [B, N]."""
    backbone = policy.backbone
    block = backbone.image_block(grid)
    offsets = (block == -1).nonzero()[:, 0]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    starts = torch.cat([torch.zeros(1, dtype=torch.long), (lengths + len(block)).cumsum(0)[:-1]])
    slots = (starts + lengths)[:, None] + offsets
    ids = torch.cat([torch.cat([torch.tensor(prompt), block]) for prompt in prompts])
    ids[slots] = backbone.to_ids(codes.cpu())
    packed = Packed(ids.to(policy.device), tuple((lengths + len(block)).tolist()))
    return packed, slots.to(policy.device)


def load_policy(name: str = EMBEDDED, device: str = "cpu", *, backbone: str | None = None, revision: str | None = None,
                dtype: str = "auto") -> Policy:
    """The policy `name`: "embedded", a folder in one of the formats of htgrpo.model_files, or a hub id at `revision`.

    backbone: registered name, needed where no htgrpo.json says it; with "embedded" it means that backbone's published weights.
    dtype: of the network; "auto" is float32 in the embedded format and for published weights bfloat16 where `device` multiplies
    it in hardware, else float32. Raises UserError for anything that is no policy, or that disagrees with itself.
    """
    if dtype not in DTYPES:
        raise suggest(dtype, DTYPES, "dtype of the weights")
    if name == EMBEDDED and backbone not in (None, EMBEDDED):
        name = BACKBONES.get(backbone).hub
    return _load(open_model(name, revision), backbone, device, dtype)


def _load(model: ModelFolder, backbone: str | None, device: str, dtype: str) -> Policy:
    from htgrpo.policies import embedded, published

    backbone = model.backbone_or(backbone)
    if model.kind == ADAPTER:
        return _with_adapter(_load(model.open_base(), backbone, device, dtype), model)
    if model.kind == EMBEDDED:
        return embedded.load(model, device, torch.float32 if dtype == "auto" else getattr(torch, dtype))
    return published.load(model, BACKBONES.get(backbone), device, sampling_dtype(dtype, device))


def _with_adapter(policy: Policy, model: ModelFolder) -> Policy:
    """`policy` with the adapter in `model`, which must have been trained on these weights."""
    from htgrpo.lora import apply_adapter

    if policy.sha256 != model.base["sha256"]:
        raise UserError(f"the weights of {policy.source.name!r} are not those that the adapter {model.name!r} was trained on "
                        f"({policy.sha256[:12]}… and {model.base['sha256'][:12]}…): restore them, or take another checkpoint")
    apply_adapter(policy.net, model.path)
    policy = policy.sized(model.sidecar.get("resolution", ""))
    return replace(policy, sha256=model.sha256, random_weights=policy.random_weights or model.random_weights,
                   source=Source(model.name, model.revision, policy.source.config, policy.source.codec))
