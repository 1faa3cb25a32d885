"""How a policy is asked for text. Imports no torch."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from htgrpo.options import require

Remasking = Literal["low_confidence", "random"]
Head = Literal["full", "text"]


@dataclass(frozen=True)
class Decoding:
    """Semi-autoregressive decoding, with the names of LLaDA's `generate`: `gen_length` masks after the prompt are revealed block by
    block, from left to right, in `steps` forwards in all; which of a block's slots stay revealed is `remasking`'s to say.

    temperature: tokens are drawn from softmax(logits / temperature), 0 being the likeliest token. Raises UserError unless blocks
    divide the answer, steps divide over the blocks, and every step reveals something.
    """

    gen_length: int = 256
    block_length: int = 32
    steps: int = 256
    temperature: float = 0.0
    remasking: Remasking = "low_confidence"

    def __post_init__(self):
        for name in ("gen_length", "block_length", "steps"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        require(self.gen_length % self.block_length == 0, "gen_length", self.gen_length,
                f"it must be a multiple of block_length, {self.block_length}")
        require(self.steps % self.blocks == 0 and self.steps <= self.gen_length, "steps", self.steps,
                f"it must be a multiple of the number of blocks, {self.blocks}, and at most gen_length, {self.gen_length}")
        require(0.0 <= self.temperature < math.inf, "temperature", self.temperature, "it must be a number from 0")

    @property
    def blocks(self) -> int:
        """How many blocks an answer has."""
        return self.gen_length // self.block_length

    def reveals(self) -> list[int]:
        """Slots that each step of a block reveals; the first steps take what does not divide evenly."""
        steps = self.steps // self.blocks
        base, more = divmod(self.block_length, steps)
        return [base + (step < more) for step in range(steps)]

    def shortened(self, tokens: int) -> Self:
        """For answers of at most `tokens`: as few of the same blocks as hold them, each with as many steps as before."""
        blocks = min(self.blocks, math.ceil(tokens / self.block_length))
        return replace(self, gen_length=blocks * self.block_length, steps=blocks * (self.steps // self.blocks))


@dataclass(frozen=True)
class TextSettings:
    """How a policy is asked for text.

    samples: masks drawn for the likelihood of an answer; answers with no more masks than that are summed over all of them.
    batch: sequences in one forward; it changes no result beyond the rounding of the network's dtype. seed: of masks and tokens.
    head: "full" normalises over all rows of the head, image codes included, as LLaDA's and MMaDA's own code does, so that
    probability lost to image codes counts as lost; "text" over the rows below the image codes. chat: contexts are chats in MMaDA's
    layout. max_length: of context and answer; longer contexts lose their beginning. cfg_scale: logits = (1 + s) conditional - s
    those with the prompt masked, in likelihoods too. temperature: None is what a task asks for (0 where it asks for nothing).
    Raises UserError for values out of range.
    """

    samples: int = 128
    batch: int = 16
    seed: int = 0
    head: Head = "full"
    chat: bool = False
    max_length: int = 4096
    cfg_scale: float = 0.0
    temperature: float | None = None
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self):
        for name in ("samples", "batch"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "it must be at least 1")
        require(self.max_length > self.decoding.gen_length, "max_length", self.max_length,
                f"it must be above gen_length, {self.decoding.gen_length}")
        require(0.0 <= self.cfg_scale < math.inf, "cfg_scale", self.cfg_scale, "it must be a number from 0")
        require(self.temperature is None or 0.0 <= self.temperature < math.inf, "temperature", self.temperature,
                "it must be a number from 0")
