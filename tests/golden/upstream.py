"""Recorded numbers of upstream's networks and samplers (README.md says how they were made), and our side under the same
inputs."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Size
from htgrpo.policies.policy import Policy
from htgrpo.rollout import Rollouts, generate
from htgrpo.samplers import Draws, Emerge, Lumina, MaskGIT, Sampler

FOLDER = Path(__file__).parent
SIZE = Size(d_model=64, n_layers=2, n_heads=4, mlp_hidden_size=192, embedding_size=640)
PAD, MASK, OFFSET, CODES = 500, 520, 540, 64
BLOCKS = {"mmada": ((504,), (), (505,)), "lumina": ((509, 507), (506,), (508, 510))}
"""Ids that open the image block, close a row and close the block."""


def network(dtype: torch.dtype = torch.float32, size: Size = SIZE) -> LLaDA:
    """Our network with the recorded weights."""
    net = LLaDA(size).to(dtype)
    net.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return net.requires_grad_(False)


def numbers(name: str, part: str = "samplers") -> dict[str, Tensor]:
    """The tensors recorded under `name`: of a sampling run, or with part="network" of a network's inputs and logits."""
    stored = load_file(FOLDER / f"{part}.safetensors")
    return {key.removeprefix(name + "."): value for key, value in stored.items() if key.startswith(name + ".")}


RUNS = json.loads((FOLDER / "samplers.json").read_text("utf-8"))


def runs(kind: str, cached: bool = False) -> list[str]:
    """Names of the recorded sampling runs of a kind."""
    return [name for name, run in RUNS.items() if run["kind"] == kind and ("cache" in run) == cached]


@dataclass(frozen=True)
class RecordedPolicy(Policy):
    """A policy whose unconditional prompt is given as ids."""

    nothing: tuple[int, ...] = field(default=())

    def unconditional(self, pads: str = "strip") -> tuple[int, ...]:
        return self.nothing


def recorded_policy(
    layout: str, grid: tuple[int, int], nothing: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> RecordedPolicy:
    """The recorded weights in one of BLOCKS' layouts; `nothing`: the unconditional prompt."""
    backbone = Backbone("recorded", (), (), *BLOCKS[layout], MASK, OFFSET, CODES, 64, 8, grid)
    return RecordedPolicy(network(dtype), backbone, None, None, nothing=nothing)


def recorded_sampler(name: str) -> Sampler:
    """Our sampler under the settings of the recorded run."""
    run = RUNS[name]
    kinds = {
        "maskgit": lambda: MaskGIT(run["steps"], run["temperature"]),
        "emerge": lambda: Emerge(run["steps"]),
        "lumina": lambda: Lumina(run["steps"], run["temperature"]),
    }
    return kinds[run["kind"]]()


def replay(
    name: str,
    monkeypatch,
    sampler: Sampler | None = None,
    dtype: torch.dtype = torch.float32,
    images: list[int] | None = None,
    guidance: float | None = None,
    **options,
) -> Rollouts:
    """Our rollout of the recorded run with its draws: same prompts, network, guidance and, unless given otherwise,
    sampler.

    MMaDA's prompts come without their pads, which upstream masks; MaskGRPO's keep them, as upstream attends to them.
    """
    run, stored = RUNS[name], numbers(name)
    prompts, nothing = run["prompts"], run["unconditional"]
    if run["kind"] == "maskgit":
        prompts, nothing = [[i for i in p if i != PAD] for p in prompts], [i for i in nothing if i != PAD]
    images = list(range(len(prompts))) if images is None else images
    layout = "lumina" if run["kind"] == "lumina" else "mmada"
    policy = recorded_policy(layout, tuple(run["grid"]), tuple(nothing), dtype)
    ties = torch.linspace(0, 0.9, stored["codes"].shape[1], dtype=torch.float64).expand(len(images), -1)
    draws = Draws(stored["code"][images], stored["order"][images], ties)
    monkeypatch.setattr("htgrpo.rollout.Draws.make", staticmethod(lambda generators, steps, slots: draws))
    return generate(
        policy,
        [tuple(prompts[i]) for i in images],
        [(i,) for i in images],
        sampler or recorded_sampler(name),
        run["guidance"] if guidance is None else guidance,
        **options,
    )


def decisions_differ(name: str, found: Rollouts, images: list[int] | None = None) -> int:
    """Slots whose code or reveal step is not the recorded one."""
    stored = numbers(name)
    codes, steps = (stored[key] if images is None else stored[key][images] for key in ("codes", "reveal_step"))
    return int(((found.codes != codes) | (found.reveal_step != steps)).sum())
