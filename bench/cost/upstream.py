"""A published generation loop beside ours on the same random weights (bench.speed --upstream DIR).

DIR is a checkout that the user has made; its modules are imported from there, nothing of it is part of this project. Both
sides sample the same number of pictures of the same prompts in the same number of guided steps, in turn, and both
networks have answered alike before a clock starts. Of MaskGRPO's trainer the emerge sampler (bench.cost.upstream_emerge)
and the training step (bench.cost.upstream_training) run as well.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.cost.sizes import SIZES, policy_of
from bench.cost.upstream_emerge import decisions_alike
from bench.cost.upstream_loops import Loop, Side, emerge, lumina, mmada, ours
from bench.cost.upstream_training import clocked, trainer_of, training_beside
from htgrpo.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from htgrpo.policies.policy import Policy

AGREE = 0.01
"""Largest difference between the two networks' logits, as a part of the largest logit."""


@dataclass(frozen=True)
class Checkout:
    """A repository that is known. sign: a file that only it has. packages: its folders that are imported, without what
    else they would import. config, network: module and name of its classes. loop: runs it. sampler: ours of the same
    kind. image: ids around a picture's slots, as fields of Backbone. trainer: module and name of its trainer, where its
    emerge sampler and its training step are run too."""

    name: str
    sign: str
    packages: tuple[str, ...]
    config: tuple[str, str]
    network: tuple[str, str]
    loop: Loop
    sampler: str
    image: tuple[tuple[str, Any], ...] = ()
    trainer: tuple[str, str] | None = None


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
    """{"upstream", "pictures", "steps", "logits_apart", "clock", "samplers", "decisions", "training"}. samplers: by the
    name of ours, as `_turns` says. decisions: how many of emerge's were the same under the same draws; None where it is
    not run, and of half-precision weights, in which theirs draws in half precision. training: see `training_beside`;
    None where it is not run, as at 8b, where it would hold four networks."""
    folder = folder.resolve()
    checkout, setup = known(folder), SIZES[size]
    policy, texts = policy_of(size, prompts or setup.prompts, device)
    policy = replace(policy, backbone=replace(policy.backbone, **dict(checkout.image)))
    side = Side(policy, [text for text in texts for _ in range(setup.group)], setup.steps, setup.guidance)
    clock = "seconds" if device == "cuda" else "cpu_seconds"
    with imported(folder, checkout) as (config, model):
        net = network(config, model, policy)
        gap = apart(net, side)
        samplers = {checkout.sampler: _turns(checkout.loop, checkout.sampler, net, side, repeats, clock)}
        decisions = training = None
        if checkout.trainer:
            with trainer_of(*checkout.trainer) as kind:
                if next(policy.net.parameters()).element_size() == 4:
                    decisions = decisions_alike(kind, net, side.attending())
                samplers["emerge"] = _turns(partial(emerge, kind), "emerge", net, side.attending(), repeats, clock)
                if size != "8b":
                    training = training_beside(kind, net, policy, texts[0], setup.group, repeats, clock)
    return {
        "upstream": checkout.name,
        "pictures": len(side.owners),
        "steps": side.steps,
        "logits_apart": gap,
        "clock": clock,
        "samplers": samplers,
        "decisions": decisions,
        "training": training,
    }


def _turns(loop: Loop, sampler: str, net: Any, side: Side, repeats: int, clock: str) -> dict[str, Any]:
    """{"rounds", "ratio"}: seconds of both sides in every round, of the wall's clock and of the CPU's, and how many times
    theirs ours is in the fastest of each by `clock`. A round of two steps that is not counted goes before."""

    def both(steps: int) -> dict[str, dict[str, float]]:
        now = replace(side, steps=steps)
        own = ours(sampler, now)
        return {"ours": _timed(lambda: own().codes, now), "theirs": _timed(loop(net, now), now)}

    both(2)
    rounds = [both(side.steps) for _ in range(repeats)]
    best = {name: min(one[name][clock] for one in rounds) for name in ("ours", "theirs")}
    return {"rounds": rounds, "ratio": round(best["theirs"] / best["ours"], 2)}


def _timed(work: "Callable[[], Tensor]", side: Side) -> dict[str, float]:
    codes, taken = clocked(work, side.policy)
    columns = side.policy.backbone.codebook_size
    if codes.shape != (len(side.owners), side.slots) or not bool(((codes >= 0) & (codes < columns)).all()):
        raise UserError(f"--upstream: it did not sample {len(side.owners)} whole pictures of {side.slots} slots")
    return taken
