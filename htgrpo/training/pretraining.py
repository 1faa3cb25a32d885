"""Masked-token pre-training on the embedded world: cross-entropy of the hidden codes, as MMaDA's text-to-image stage
does it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from htgrpo.base.errors import UserError
from htgrpo.base.folders import atomic_dir, verify
from htgrpo.interface import HIDDEN
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Size, initialise
from htgrpo.policies.policy import Policy, pack
from htgrpo.policies.tokenizer import WordTokenizer
from htgrpo.world.codec import PatchCodec, encode_scene
from htgrpo.world.prompts import words
from htgrpo.world.scenes import training_scenes
from htgrpo.world.world import World

STATE, LOG = "state.safetensors", "pretrain.jsonl"
PROMPT_DROP = 0.1
"""Share of pictures trained without their prompt, so that guidance has an unconditional policy (MMaDA's rate)."""
ROWS = 32
FULLY_MASKED = 0.08
"""Share of pictures that are hidden altogether; the mask rate of the others follows the cosine schedule."""


@dataclass(frozen=True)
class TinySize:
    """Sizes of an embedded policy."""

    d_model: int = 64
    n_layers: int = 4
    n_heads: int = 4
    mlp_hidden_size: int = 256
    max_text: int = 64
    rope_theta: float = Size.rope_theta


def new_policy(world: World, size: TinySize, generator: torch.Generator) -> Policy:
    """A policy of an embedded world with random weights, but for the code rows of embedding and head, which start at
    the principal axes of the patches they stand for (codes that look alike start alike)."""
    codec, tokenizer = PatchCodec.build(world), WordTokenizer.of(words(world))
    ids = {
        name: tokenizer.vocabulary[name]
        for name in ("<|startoftext|>", "<|endoftext|>", "[iPAD]", "<|t2i|>", "<|soi|>", "<|eoi|>", "<|mdm_mask|>")
    }
    bos, eos, pad, task, start, end, mask = ids.values()
    offset = len(tokenizer.vocabulary)
    backbone = Backbone(
        world.policy,
        (task, bos),
        (eos,),
        (start,),
        (),
        (end,),
        mask,
        offset,
        len(codec),
        size.max_text,
        world.patch,
        (world.grid, world.grid),
        pad,
    )
    rows = math.ceil((offset + len(codec)) / 8) * 8
    net = LLaDA(Size(size.d_model, size.n_layers, size.n_heads, size.mlp_hidden_size, rows, size.rope_theta))
    initialise(net, generator)
    axes = codec.pca(size.d_model)
    axes = axes / axes.std()
    with torch.no_grad():
        net.trunk.wte.weight[backbone.image_columns] = axes + 0.3 * net.trunk.wte.weight[backbone.image_columns]
        net.trunk.ff_out.weight[backbone.image_columns] += axes * size.d_model**-0.5
    return Policy(net, backbone, tokenizer, codec)


def masked_batch(
    policy: Policy, world: World, count: int, generator: torch.Generator
) -> tuple[list[tuple[int, ...]], Tensor, Tensor]:
    """Prompts, codes int64 [count, N] and mask bool [count, N] of fresh scenes, sorted by prompt length."""
    wanted, scenes = training_scenes(world, count, generator, noisy=True)
    drop = torch.rand(count, generator=generator) < PROMPT_DROP
    none = policy.backbone.unconditional
    prompts = [policy.prompt(none if dropped else prompt.text) for prompt, dropped in zip(wanted, drop, strict=True)]
    order = sorted(range(count), key=lambda i: len(prompts[i]))
    codes = torch.stack([torch.as_tensor(encode_scene(world, scenes[i])) for i in order])
    rate = torch.cos(torch.rand(count, generator=generator) * math.pi / 2)
    rate[torch.rand(count, generator=generator) < FULLY_MASKED] = 1.0
    draw = torch.rand(codes.shape, generator=generator)
    mask = (draw < rate[:, None]) | (draw == draw.min(1, keepdim=True)[0])
    return [prompts[i] for i in order], codes, mask


def masked_backward(
    policy: Policy, prompts: list[tuple[int, ...]], codes: Tensor, mask: Tensor, scale: float = 1.0
) -> float:
    """Accumulates the gradient of `scale` x the mean cross-entropy in nats of the hidden codes over the image columns,
    in parts of ROWS pictures (what a CPU's cache holds), and returns that mean."""
    total = 0.0
    for first in range(0, len(codes), ROWS):
        part = slice(first, first + ROWS)
        packed, slots = pack(policy, prompts[part], torch.where(mask[part], HIDDEN, codes[part]), policy.backbone.grid)
        logits = policy.net(packed, slots[mask[part].to(slots.device)], policy.backbone.image_columns)
        wanted = codes[part][mask[part]].to(logits.device)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        loss = F.cross_entropy(wide, wanted, reduction="sum") / int(mask.sum())
        (scale * loss).backward()
        total += float(loss.detach())
    return total


class HalfProducts(TorchFunctionMode):
    """Within it, linear maps multiply in bf16 and answer in fp32, where a bias is added; attention, whose backward pass in
    bf16 is slow on CPUs without matrix units, and all else stay in fp32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_half_product if func is F.linear else func)(*args, **(kwargs or {}))


def _half_product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear of HalfProducts, whose arguments it has."""
    product = F.linear(input.bfloat16(), weight.bfloat16()).float()
    return product if bias is None else product + bias


def optimizers(net: LLaDA, lr: float, muon: float) -> list[torch.optim.Optimizer]:
    """AdamW at `lr`; where `muon` is above 0, Muon at that rate for the blocks' matrices (orthogonalised momentum, with
    updates of AdamW's size: Jordan et al. 2024, Liu et al. 2025), and AdamW for the rest."""
    matrices = [weight for weight in net.trunk.blocks.parameters() if weight.ndim == 2] if muon > 0 else []
    taken = {id(weight) for weight in matrices}
    rest = [weight for weight in net.parameters() if id(weight) not in taken]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.01)]
    if matrices:
        found.append(torch.optim.Muon(matrices, lr=muon, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    return found


class Unfinished:
    """What an interrupted pre-training goes on from, in a folder beside its output: weights, their average, the
    optimisers' moments, and the log. settings: those of the command, which must be the same."""

    def __init__(
        self,
        folder: Path,
        made_by: str,
        settings: dict[str, Any],
        net: LLaDA,
        average: LLaDA,
        optimizers: list[torch.optim.Optimizer],
    ):
        self.folder, self.made_by, self.settings = folder, made_by, settings
        self.net, self.average, self.optimizers = net, average, optimizers

    def save(self, step: int, log: list[dict[str, Any]]) -> None:
        """Writes the state after `step`, in place of the one before."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for which, optimizer in enumerate(self.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer{which}.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        with atomic_dir(self.folder, self.made_by, True, {"step": step, "settings": self.settings}) as place:
            save_file(tensors, place / STATE)
            (place / LOG).write_text("".join(json.dumps(line) + "\n" for line in log))

    def load(self) -> tuple[int, list[dict[str, Any]]]:
        """The step that was reached, 0 without a state, and the log until then. Raises UserError where
        the state is of other settings, or damaged."""
        if not self.folder.is_dir():
            return 0, [self.settings]
        remedy = "delete the folder to start again"
        about = verify(self.folder, remedy).about
        if about["settings"] != self.settings:
            other = next(k for k in self.settings if about["settings"].get(k) != self.settings[k])
            raise UserError(
                f"{str(self.folder)!r} is of an unfinished training with {other} {about['settings'].get(other)!r} and not "
                f"{self.settings[other]!r}: give its settings to go on with it, or {remedy}"
            )
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in load_file(self.folder / STATE).items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        self.net.load_state_dict(parts["net"])
        self.average.load_state_dict(parts["average"])
        for which, optimizer in enumerate(self.optimizers):
            moments: dict[int, dict[str, Any]] = {}
            for name, value in parts[f"optimizer{which}"].items():
                index, _, key = name.partition(".")
                moments.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        log = [json.loads(line) for line in (self.folder / LOG).read_text().splitlines()]
        return int(about["step"]), log
