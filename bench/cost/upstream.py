"""A published generation loop beside ours on the same random weights (bench.speed --upstream DIR).

DIR is a checkout that the user has made; its modules are imported from there, nothing of it is part of this project. Both
sides sample the same number of pictures of the same prompts in the same number of guided steps, in turn, and both
networks have answered alike before a clock starts. MaskGRPO's training step runs as well
(bench.cost.upstream_training).
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench.cost.sizes import SIZES, policy_of
from bench.cost.upstream_training import clocked, trainer_of, training_beside
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from htgrpo.policies.policy import Policy

AGREE = 0.01
"""Largest difference between the two networks' logits, as a part of the largest logit."""


@dataclass(frozen=True)
class Checkout:
    """A repository that is known. sign: a file that only it has. packages: its folders that are imported, without what
    else they would import. config, network: module and name of its classes. loop: runs it. sampler: ours of the same
    kind. image: ids around a picture's slots, as fields of Backbone. trainer: module and name of its trainer, where its
    training step is run too."""

    name: str
    sign: str
    packages: tuple[str, ...]
    config: tuple[str, str]
    network: tuple[str, str]
    loop: "Callable[[Any, Side], Callable[[], Tensor]]"
    sampler: str
    image: tuple[tuple[str, Any], ...] = ()
    trainer: tuple[str, str] | None = None


@dataclass(frozen=True)
class Side:
    """What both sides sample: `owners` are the prompts (ids) of all pictures."""

    policy: "Policy"
    owners: list[tuple[int, ...]]
    steps: int
    guidance: float


def mmada(net: Any, side: Side) -> "Callable[[], Tensor]":
    """t2i_generate on all pictures at once. It takes prompts of one length: the empty one is padded on the left and the
    pads are masked."""
    import torch

    policy, backbone = side.policy, side.policy.backbone
    image = backbone.to_ids(backbone.image_block(backbone.grid))
    image[: len(backbone.image_open)] = torch.tensor(backbone.image_open)
    image[len(image) - len(backbone.image_close) :] = torch.tensor(backbone.image_close)
    longest, device = max(map(len, side.owners)), policy.device

    def rows(prompts: list[tuple[int, ...]]) -> "tuple[Tensor, Tensor]":
        pads = [longest - len(prompt) for prompt in prompts]
        ids = [[backbone.pad or 0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        shown = [[0] * pad + [1] * (longest - pad + len(image)) for pad in pads]
        both = torch.cat([torch.tensor(ids), image.expand(len(ids), -1)], dim=1)
        return both.to(device), torch.tensor(shown, device=device)

    def run() -> "Tensor":
        ids, mask = rows(side.owners)
        empty, empty_mask = rows([policy.unconditional()] * len(side.owners))
        return net.t2i_generate(
            input_ids=ids,
            attention_mask=mask,
            uncond_input_ids=empty,
            uncond_attention_mask=empty_mask,
            guidance_scale=side.guidance,
            timesteps=side.steps,
            seq_len=backbone.grid[0] * backbone.grid[1],
            mask_token_id=backbone.mask,
            resolution=longest - 1,
            codebook_size=backbone.codebook_size,
            generator=torch.Generator(device).manual_seed(0),
            uni_prompting=SimpleNamespace(text_tokenizer=range(backbone.image_offset)),
        )

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
                seq_len=backbone.grid[0] * backbone.grid[1],
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


MMADA = (
    ("models", "training"),
    ("models.configuration_llada", "LLaDAConfig"),
    ("models.modeling_mmada", "MMadaModelLM"),
    mmada,
)
TRAINER = ("grpo.mask_grpo_trainer", "MaskGRPOTrainer")
CHECKOUTS = (
    Checkout("MaskGRPO", "grpo/mask_grpo_trainer.py", *MMADA, "maskgit", trainer=TRAINER),
    Checkout("MMaDA", "models/modeling_mmada.py", *MMADA, "maskgit"),
    Checkout(
        "Lumina-DiMOO",
        "model/modeling_xllmx_dimoo.py",
        ("utils", "generators"),
        ("model.configuration_llada", "LLaDAConfig"),
        ("model", "LLaDAForMultiModalGeneration"),
        lumina,
        "lumina",
        (("image_open", (126088, 126080)), ("row_close", (126091,)), ("image_close", (126081, 126089))),
    ),
)


def known(folder: Path) -> Checkout:
    """The repository that `folder` is a checkout of. Raises UserError for another."""
    for one in CHECKOUTS:
        if (folder / one.sign).is_file():
            return one
    signs = ", ".join(f"{one.name} ({one.sign})" for one in CHECKOUTS)
    raise UserError(f"--upstream is {str(folder)!r}, which is no checkout of {signs}: give the folder of one")


@contextmanager
def imported(folder: Path, checkout: Checkout) -> Iterator[tuple[Any, Any]]:
    """Its classes of configuration and network, as long as the context lasts: afterwards none of its modules is left."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        for name in checkout.packages:
            package = ModuleType(name)
            package.__path__ = [str(folder / name)]
            sys.modules[name] = package
        found = [getattr(importlib.import_module(module), name) for module, name in (checkout.config, checkout.network)]
        yield found[0], found[1]
    except ImportError as error:
        raise UserError(
            f"{checkout.name} in {str(folder)!r} needs {error.name or error}, which is not here: install it, or leave "
            "--upstream out"
        ) from None
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            places = [getattr(sys.modules[name], "__file__", None), *getattr(sys.modules[name], "__path__", ())]
            if any(str(place).startswith(str(folder)) for place in places):
                del sys.modules[name]


def network(config: Any, model: Any, policy: "Policy") -> Any:
    """Their network with the very weights of `policy`."""
    size = policy.net.size
    given = config(
        d_model=size.d_model,
        n_layers=size.n_layers,
        n_heads=size.n_heads,
        n_kv_heads=size.n_heads,
        mlp_hidden_size=size.mlp_hidden_size,
        embedding_size=size.embedding_size,
        vocab_size=size.embedding_size,
        rope=True,
        rope_theta=size.rope_theta,
        rms_norm_eps=size.rms_norm_eps,
        block_type="llama",
        activation_type="silu",
        layer_norm_type="rms",
        weight_tying=False,
        bias_for_layer_norm=False,
        attention_dropout=0.0,
        residual_dropout=0.0,
        embedding_dropout=0.0,
        max_sequence_length=4096,
        mask_token_id=policy.backbone.mask,
    )
    given.use_cache = False  # later transformers drop it from what a configuration is given
    with redirect_stdout(StringIO()):  # it prints its configuration
        net = model(given)
    net.load_state_dict(policy.net.state_dict(), assign=True)
    return net.to(policy.device).eval()


def apart(theirs: Any, side: Side) -> float:
    """The largest difference of logits on one sequence, as a part of the largest logit. Raises UserError where the
    networks do not answer alike."""
    import torch

    from htgrpo.policies.llada import Packed

    ids = torch.tensor([side.owners[0]], device=side.policy.device)
    with torch.no_grad():
        shown = torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device)
        other = theirs.model(ids, attention_bias=shown).logits[0].float()
        own = side.policy.net(Packed(ids[0], (ids.shape[1],))).float()
    gap = float((other - own).abs().max() / own.abs().max())
    if gap > AGREE:
        raise UserError(
            f"--upstream: its network answers otherwise than ours on the same weights, by {gap:.1%} of the largest logit, "
            "so that times of the two say nothing: use a checkout whose network is LLaDA as published"
        )
    return gap


def beside(folder: Path, size: str, prompts: int | None, repeats: int, device: str) -> dict[str, Any]:
    """{"upstream", "sampler", "pictures", "steps", "logits_apart", "rounds", "ratio", "training"}: seconds of both sides
    in every round, of the wall's clock and of the CPU's, and how many times theirs ours is in the fastest of each (of CPU
    time on a CPU). A round of two steps that is not counted goes before. training: see `training_beside`; None where it
    is not run, as at 8b, where it would hold four networks."""
    folder = folder.resolve()
    checkout, setup = known(folder), SIZES[size]
    policy, texts = policy_of(size, prompts or setup.prompts, device)
    policy = replace(policy, backbone=replace(policy.backbone, **dict(checkout.image)))
    side = Side(policy, [text for text in texts for _ in range(setup.group)], setup.steps, setup.guidance)
    clock = "seconds" if device == "cuda" else "cpu_seconds"
    with imported(folder, checkout) as (config, model):
        net = network(config, model, policy)
        gap = apart(net, side)
        _round(checkout, net, replace(side, steps=2))
        rounds = [_round(checkout, net, side) for _ in range(repeats)]
        training = None
        if checkout.trainer and size != "8b":
            with trainer_of(*checkout.trainer) as kind:
                training = training_beside(kind, net, policy, texts[0], setup.group, repeats, clock)
    best = {name: min(one[name][clock] for one in rounds) for name in ("ours", "theirs")}
    return {
        "upstream": checkout.name,
        "sampler": checkout.sampler,
        "pictures": len(side.owners),
        "steps": side.steps,
        "logits_apart": gap,
        "rounds": rounds,
        "clock": clock,
        "ratio": round(best["theirs"] / best["ours"], 2),
        "training": training,
    }


def _round(checkout: Checkout, net: Any, side: Side) -> dict[str, dict[str, float]]:
    """Both sides' seconds, one after the other."""
    from htgrpo.base.registry import SAMPLERS
    from htgrpo.rollout import generate

    keys = [("upstream", i) for i in range(len(side.owners))]
    sampler = SAMPLERS.get(checkout.sampler)(steps=side.steps)
    ours = partial(generate, side.policy, side.owners, keys, sampler, side.guidance)
    theirs = checkout.loop(net, side)
    return {"ours": _timed(lambda: ours().codes, side), "theirs": _timed(theirs, side)}


def _timed(work: "Callable[[], Tensor]", side: Side) -> dict[str, float]:
    codes, taken = clocked(work, side.policy)
    columns, slots = side.policy.backbone.codebook_size, side.policy.backbone.grid[0] * side.policy.backbone.grid[1]
    if codes.shape != (len(side.owners), slots) or not bool(((codes >= 0) & (codes < columns)).all()):
        raise UserError(f"--upstream: it did not sample {len(side.owners)} whole pictures of {slots} slots")
    return taken
