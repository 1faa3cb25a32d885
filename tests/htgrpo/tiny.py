"""Policies and groups small enough for brute force: fp64, vocabulary of about 40, 4 to 9 image slots."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from htgrpo.base.rng import generator
from htgrpo.interface import HIDDEN, Method, RolloutGroup, Update
from htgrpo.policies.backbone import Backbone
from htgrpo.policies.llada import LLaDA, Size, initialise
from htgrpo.policies.policy import Policy
from htgrpo.policies.tokenizer import WordTokenizer
from htgrpo.rollout import reveal_order
from htgrpo.training.engine import Engine, Totals
from htgrpo.training.train_config import TrainConfig
from htgrpo.world.codec import PatchCodec

WORDS = "a photo of red blue square circle two left right above".split()
LONG, SHORT = "a photo of two red circle left of a blue square", "blue square"


def mmada_layout(vocabulary: dict[str, int], codebook: int, grid: tuple[int, int], max_text: int) -> Backbone:
    """The MMaDA record over `vocabulary`, with two unused ids between text and codes."""
    names = ("<|startoftext|>", "<|endoftext|>", "[iPAD]", "<|t2i|>", "<|soi|>", "<|eoi|>", "<|mdm_mask|>")
    bos, eos, pad, task, start, end, mask = (vocabulary[name] for name in names)
    return Backbone(
        "tiny", (task, bos), (eos,), (start,), (), (end,), mask, len(vocabulary) + 2, codebook, max_text, 8, grid, pad
    )


def lumina_layout(vocabulary: dict[str, int], codebook: int, grid: tuple[int, int], max_text: int) -> Backbone:
    """A record of Lumina-DiMOO's kind: a template around the prompt, two ids before and after the picture, a newline
    after every row; the prompt that stands for none is a word of its own."""
    names = ("<|startoftext|>", "<|soi|>", "<|t2i|>", "<|eoi|>", "<|endoftext|>", "<|mdm_mask|>")
    answer, start, newline, end, close, mask = (vocabulary[name] for name in names)
    return Backbone(
        "tiny", (), (), (answer, start), (newline,), (end, close), mask, len(vocabulary) + 2, codebook, max_text, 8,
        grid, template="two {} right above", unconditional="a",
    )  # fmt: skip


LAYOUTS = {"mmada": mmada_layout, "lumina": lumina_layout}
"""Backbone records under test; a later backbone is one more entry."""


def tiny_policy(
    seed: int = 0,
    layout: str = "mmada",
    grid: tuple[int, int] = (2, 3),
    codebook: int = 6,
    d_model: int = 8,
    layers: int = 1,
    max_text: int = 16,
    dtype: torch.dtype = torch.float64,
) -> Policy:
    """A random policy whose head has three columns beyond the codes."""
    g = generator("tiny", seed)
    tokenizer = WordTokenizer.of(WORDS)
    backbone = LAYOUTS[layout](tokenizer.vocabulary, codebook, grid, max_text)
    net = LLaDA(Size(d_model, layers, 2, 12, backbone.image_columns.stop + 3))
    initialise(net, g)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim == 1:
                weight.copy_(1.0 + 0.3 * torch.randn(weight.shape, generator=g))
    codec = PatchCodec(torch.rand(codebook, 8, 8, 3, generator=g))
    return Policy(net.to(dtype), backbone, tokenizer, codec)


def moved(net: LLaDA, seed: int, scale: float = 0.1) -> LLaDA:
    """A frozen copy of `net` with noise on its weights: a reference or an old policy that differs from it."""
    copy = LLaDA(net.size).to(next(net.parameters()).dtype)
    copy.load_state_dict(net.state_dict())
    g = generator("moved", seed)
    with torch.no_grad():
        for weight in copy.parameters():
            weight += scale * torch.randn(weight.shape, generator=g, dtype=torch.float64).to(weight.dtype)
    return copy.requires_grad_(False)


def make_group(
    policy: Policy,
    text: str = LONG,
    grid: tuple[int, int] = (2, 3),
    size: int = 3,
    steps: int = 4,
    seed: int = 0,
    failed: tuple[int, ...] = (),
) -> RolloutGroup:
    """Random rollouts in which every denoising step reveals something; images in `failed` have the reward NaN."""
    g = generator("group", text, seed)
    slots = grid[0] * grid[1]
    codes = torch.randint(policy.backbone.codebook_size, (size, slots), generator=g)
    reveal_step = torch.randint(steps, (size, slots), generator=g)
    for image in reveal_step:
        image[torch.randperm(slots, generator=g)[: min(steps, slots)]] = torch.arange(min(steps, slots))
    rank = reveal_order(reveal_step, torch.rand(size, slots, generator=g, dtype=torch.float64))
    reward = torch.rand(size, generator=g, dtype=torch.float64)
    reward[list(failed)] = math.nan
    return RolloutGroup(policy.prompt(text), grid, codes, reveal_step, rank, reward)


def two_groups(policy: Policy, size: int = 3, steps: int = 4, failed: tuple[int, ...] = ()) -> list[RolloutGroup]:
    """Two prompts of different length and grid; the second has the `failed` images."""
    return [
        make_group(policy, LONG, (2, 3), size, steps, seed=1),
        make_group(policy, SHORT, (2, 2), size, steps, seed=2, failed=failed),
    ]


class Scripted(Method):
    """A method with no rule: K random updates with shared and repeated contexts, holes in the support, free weights and
    KL shares, with `units` ratios shared across contexts. views: contexts a token has at once. fields: of "coef",
    "power", "advantage" and "clip", those that are free too."""

    def __init__(
        self,
        count: int = 3,
        units: bool = False,
        kl_ref: str = "ref",
        views: int = 0,
        fields: tuple[str, ...] = (),
        objective: str = "ratio",
    ):
        self.count, self.units, self.kl_ref, self.views = count, units, kl_ref, views
        self.fields, self.objective = fields, objective

    def updates(self, group: RolloutGroup, generator: torch.Generator) -> list[Update]:
        slots = group.codes.shape[1]
        size = (self.views, *group.codes.shape) if self.views else group.codes.shape

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, dtype=torch.float64)

        shown = torch.where(rand(4, slots) < 0.5, group.codes[0], HIDDEN)
        contexts = torch.cat([shown, shown[1:3], torch.full((1, slots), HIDDEN)])
        updates = []
        for _ in range(self.count):
            row = torch.randint(len(contexts), size, generator=generator)
            share = torch.where(rand(*size) < 0.6, rand(*size), 0.0)
            share[..., 0] = 0.1
            kl_share = torch.where(rand(*size) < 0.6, rand(*size), 0.0)
            unit = torch.randint(3, size, generator=generator) if self.units else None
            update = Update(contexts, row, share, 0.5 + rand(*size), kl_share, unit, objective=self.objective)
            free = {
                "coef": lambda u: torch.where(u.share > 0, 0.1 + rand(*size), 0.0),
                "power": lambda u: torch.zeros_like(u.share) if u.unit is None else 0.7 * u.unit.double(),
                "advantage": lambda u: 4.0 * rand(len(group.codes), 1) - 2.0,
                "clip": lambda u: (0.99, 1.02),
            }
            updates.append(replace(update, **{name: free[name](update) for name in self.fields}))
        return updates


class Recorder:
    """An optimiser step that keeps every gradient and then moves the weights by plain descent."""

    def __init__(self, net: LLaDA, lr: float):
        self.net, self.lr, self.gradients = net, lr, []

    def __call__(self) -> float:
        self.gradients.append(flat_gradient(self.net))
        with torch.no_grad():
            for weight in self.net.parameters():
                weight -= self.lr * weight.grad
        self.net.zero_grad()
        return float(self.gradients[-1].norm())


def flat_gradient(net: LLaDA) -> Tensor:
    """All gradients of `net` as one vector."""
    return torch.cat(
        [w.grad.flatten() if w.grad is not None else torch.zeros_like(w).flatten() for w in net.parameters()]
    )


def method_generator(group: RolloutGroup) -> torch.Generator:
    """The generator a method gets for `group` in these tests; keyed by the prompt, so that the order of groups is
    free."""
    return generator("method", *group.prompt)


def run_engine(
    policy: Policy,
    groups: list[RolloutGroup],
    method: Method,
    reference: LLaDA | None = None,
    lr: float = 0.1,
    engine: type[Engine] = Engine,
    total_groups: int | None = None,
    **config,
) -> tuple[list[Tensor], Totals]:
    """The gradient of every update, on a copy of `policy`, and the totals. Failed images are dropped as the learner
    does."""
    net = moved(policy.net, 0, scale=0.0).requires_grad_(True)
    recorder = Recorder(net, lr)
    runner = engine(policy.with_net(net), reference, TrainConfig(**config))
    kept = [group.kept() for group in groups]
    totals = runner.run(kept, method, [method_generator(g) for g in kept], recorder, total_groups)
    return recorder.gradients, totals


def only(group: RolloutGroup, images: list[int]) -> RolloutGroup:
    """The group with some of its images."""
    return replace(
        group,
        codes=group.codes[images],
        reveal_step=group.reveal_step[images],
        rank=group.rank[images],
        reward=group.reward[images],
        entropy=None if group.entropy is None else group.entropy[images],
        predicted=None if group.predicted is None else group.predicted[images],
    )
