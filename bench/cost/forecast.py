"""What a run on published weights costs, before any of them is loaded: forwards, operations, memory, and time on a
named card.

Forwards and operations are counted by bench.cost.meter, memory is asked of network and tuning by bench.cost.memory;
only the card's rate and the share of it that is reached (bench/ask/presets/gpus.json) are taken on trust.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean
from typing import Any, cast

import torch

from bench.ask.presets import Setting, gpus
from bench.benchmarks.evaluation import Evaluation
from bench.cost.memory import LOGIT_BYTES_SAMPLE, LOGIT_BYTES_TRAIN, Held, held_by
from bench.cost.meter import LOOK, REF, ROLLOUT, TRAIN, Meter, Spent, Standin, count_iteration, count_pictures, standin
from bench.cost.outline import Outline
from htgrpo.base.cpu import sampling_dtype
from htgrpo.base.errors import suggest
from htgrpo.base.prompts import Prompt
from htgrpo.interface import Method
from htgrpo.training.train_config import TrainConfig, make_method, parse_budgets


@dataclass(frozen=True)
class Card:
    """A graphics card: peak rate of dense bf16 products in FLOP/s, memory in bytes, the share of the rate that is
    assumed."""

    title: str
    rate: float
    memory: float
    utilisation: float

    @staticmethod
    def find(name: str | None) -> "Card":
        """The named card, or the one in this machine, or the default. Raises UserError for an unknown name."""
        data = gpus()
        if name is not None and name not in data["gpus"]:
            raise suggest(name, data["gpus"], "card in --gpu")
        here = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        known = [key for key, card in data["gpus"].items() if all(word in here for word in card["called"])]
        card = data["gpus"][name or (known[0] if known else data["default"])]
        return Card(card["title"], 1e12 * card["tflops"], 1e9 * card["memory_gb"], data["utilisation"])

    def seconds(self, flop: float) -> float:
        """Expected seconds for so many operations."""
        return flop / (self.rate * self.utilisation)


@dataclass(frozen=True)
class TrainingCost:
    """One iteration of a method on all its prompts. forwards: by phase, as budgets count them (a training forward
    thrice). looks: those of training forwards that are first passes over units larger than a batch. flop: of everything,
    backward passes and recomputation included; sampling: of rollouts alone. steps: of the optimiser. Bytes at the peak:
    activations, what they would be if all were kept, and logits."""

    forwards: dict[str, int]
    looks: int
    flop: float
    sampling: float
    steps: int
    held: Held
    activations: float
    activations_kept: float
    logits: float

    @property
    def bytes(self) -> float:
        """At the peak."""
        return self.held.weights + self.held.extra + self.held.optimiser + self.activations + self.logits


class Forecast:
    """Costs of a request's trainings and pictures on one card. prompts: of training. device: what "auto" dtypes go
    by."""

    def __init__(self, outline: Outline, card: Card, prompts: list[Prompt], device: str = "cuda"):
        self.outline, self.card, self.prompts, self.device = outline, card, prompts, device
        self._trainings: dict[str, TrainingCost | None] = {}
        self._pictures: dict[str, Spent] = {}

    def basis(self) -> str:
        """What expected times rest on."""
        return (
            f"operations at an assumed {self.card.utilisation:.0%} of the {self.card.rate / 1e12:.0f} TFLOP/s of one "
            f"{self.card.title}"
        )

    @cached_property
    def text(self) -> str:
        """The training prompt whose length is nearest to the mean."""
        lengths = {prompt.text: len(self.outline.encode(prompt.text)) for prompt in self.prompts}
        middle = mean(lengths.values())
        return min(lengths, key=lambda text: abs(lengths[text] - middle))

    @property
    def prompt_tokens(self) -> int:
        """Ids before the image block of that prompt."""
        return len(self.outline.backbone.prompt(self.text, self.outline.encode))

    def training(self, config: TrainConfig) -> TrainingCost | None:
        """One iteration under `config`; None for a method that does not go through the engine."""
        key = repr(replace(config, seed=0, budget="iterations:1"))
        if key not in self._trainings:
            method = make_method(config)
            through_engine = type(method).learner is Method.learner
            self._trainings[key] = self._training(config, method) if through_engine else None
        return self._trainings[key]

    def _training(self, config: TrainConfig, method: Method) -> TrainingCost:
        size, backbone = self.outline.size, self.outline.backbone
        held = held_by(size, config, sampling_dtype(config.weights_dtype, self.device))
        policy = self._standin()
        spent = count_iteration(policy, method, config, self.text, backbone.grid_of(config.resolution))
        train, count = spent[TRAIN], config.prompts_per_iteration
        adapters = {phase: 0.0 if phase == REF else 2.0 * held.adapters * one.length for phase, one in spent.items()}
        # A backward pass computes the gradient of every product's input, and of its weights where these learn.
        weights = adapters[TRAIN] if held.adapters else train.flop
        extra = train.flop + adapters[TRAIN] + weights + config.recompute * (train.flop + adapters[TRAIN])
        flop = sum(one.flop + adapters[phase] for phase, one in spent.items()) + extra
        # Contexts of several prompts fill a batch where those of one do not.
        fill = max(1.0, min(config.tokens_per_forward / train.tokens, count))
        logits = (
            max(fill * train.heads * LOGIT_BYTES_TRAIN, spent[ROLLOUT].heads * LOGIT_BYTES_SAMPLE)
            * backbone.codebook_size
        )
        whole = replace(held, kept=held.block or held.kept, block=0.0)
        kept, uncut = (one.activations(fill * train.tokens, size.n_layers) for one in (held, whole))
        forwards = {phase: one.forwards * count * (3 if phase == TRAIN else 1) for phase, one in spent.items()}
        looks = forwards.pop(LOOK)
        forwards[TRAIN] += looks
        sampling = (spent[ROLLOUT].flop + adapters[ROLLOUT]) * count
        steps = cast(Meter, policy.net).steps
        return TrainingCost(forwards, looks, flop * count, sampling, steps, held, kept, uncut, logits)

    def sequence(self) -> float:
        """Operations of one forward of the middle training prompt's sequence (`text`) with the head on every slot."""
        backbone = self.outline.backbone
        length = self.prompt_tokens + len(backbone.image_block(backbone.grid))
        return self.outline.size.forward_flops(length, backbone.grid[0] * backbone.grid[1], backbone.codebook_size)

    def picture(self, values: dict[str, Any]) -> Spent:
        """One picture under a generation setting."""
        key = repr(values)
        if key not in self._pictures:
            policy, count = self._standin(), values["samples"]
            grid = self.outline.backbone.grid_of(values["resolution"])
            setting = Setting(**values)
            count_pictures(
                policy, self.text, count, setting.sampler, setting.steps, setting.guidance, grid, pads=setting.pads
            )
            spent = cast(Meter, policy.net).spent[ROLLOUT]
            cache = setting.ml_cache()
            computed = cache.computed(setting.steps) if cache else 1.0
            self._pictures[key] = replace(
                spent, forwards=round(spent.forwards / count), flop=computed * spent.flop / count
            )
        return self._pictures[key]

    def _standin(self) -> Standin:
        return standin(Meter(self.outline.size), self.outline.backbone, self.outline.encode)

    def train_seconds(self, config: TrainConfig, spent: int = 0) -> float:
        """Expected seconds of what is left of one training; 0 where its cost is not known. spent: forwards so far."""
        cost = self.training(config)
        if cost is None:
            return 0.0
        budgets, each = parse_budgets(config.budget), sum(cost.forwards.values())
        wanted = max(budget.amount if budget.kind == "forwards" else budget.amount * each for budget in budgets)
        return max(0.0, wanted - spent) / each * self.card.seconds(cost.flop)

    def evaluate_seconds(self, evaluation: Evaluation, generated: bool = False) -> float:
        """Expected seconds to make (unless `generated`) the pictures of one policy; judging and asking it are not
        counted."""
        if generated or evaluation.of_policy:
            return 0.0
        return len(evaluation.items) * self.card.seconds(self.picture(evaluation.values).flop)
