"""How a policy is asked for text. Imports no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, Self, get_type_hints

from htgrpo.base.errors import UserError
from htgrpo.base.options import check, convert, require
from htgrpo.base.values import SEED, Number, Whole

Remasking = Literal["low_confidence", "random"]
Head = Literal["full", "text"]
CHATS = ("mmada",)
"""Backbones whose chats have MMaDA's layout (the one that its own code sets; Lumina-DiMOO's is not published)."""
KNOWN = ("until", "max_gen_toks", "do_sample", "temperature")
Tokens = Annotated[int, Whole(1, 1_000_000)]
Scale = Annotated[float, Number(0, 1000)]
NEUTRAL = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "num_beams": 1}
"""Values with which another option of a task changes nothing."""


@dataclass(frozen=True)
class Decoding:
    """Semi-autoregressive decoding, with the names of LLaDA's `generate`: `gen_length` masks after the prompt are
    revealed block by block, from left to right, in `steps` forwards in all; which of a block's slots stay revealed is
    `remasking`'s to say.

    temperature: tokens are drawn from softmax(logits / temperature), 0 being the likeliest token. Raises UserError
    unless blocks divide the answer, steps divide over the blocks, and every step reveals something.
    """

    gen_length: Tokens = 256
    block_length: Tokens = 32
    steps: Tokens = 256
    temperature: Scale = 0.0
    remasking: Remasking = "low_confidence"

    def __post_init__(self):
        check(self)
        require(
            self.gen_length % self.block_length == 0,
            "gen_length",
            self.gen_length,
            f"it must be a multiple of block_length, {self.block_length}",
        )
        require(
            self.steps % self.blocks == 0 and self.steps <= self.gen_length,
            "steps",
            self.steps,
            f"it must be a multiple of the number of blocks, {self.blocks}, and at most gen_length, {self.gen_length}",
        )

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
        """For answers of at most `tokens`: as few of the same blocks as hold them, each with as many steps as
        before."""
        blocks = min(self.blocks, math.ceil(tokens / self.block_length))
        return replace(self, gen_length=blocks * self.block_length, steps=blocks * (self.steps // self.blocks))


@dataclass(frozen=True)
class TextSettings:
    """How a policy is asked for text.

    samples: masks drawn for the likelihood of an answer; answers with no more masks than that are summed over all of
    them. batch: sequences in one forward; it changes no result beyond the rounding of the network's dtype. seed: of
    masks and tokens. head: "full" normalises over all rows of the head, image codes included, as LLaDA's and MMaDA's
    own code does, so that probability lost to image codes counts as lost; "text" over the rows below the image codes.
    chat: contexts are chats in MMaDA's layout. max_length: of context and answer; longer contexts lose their beginning.
    cfg_scale: logits = (1 + s) conditional - s those with the prompt masked, in likelihoods too. temperature: None is
    what a task asks for (0 where it asks for nothing). Raises UserError for values out of range.
    """

    samples: Annotated[int, Whole(1, 1_000_000)] = 128
    batch: Annotated[int, Whole(1, 65536)] = 16
    seed: Annotated[int, Whole(0, SEED)] = 0
    head: Head = "full"
    chat: bool = False
    max_length: Tokens = 4096
    cfg_scale: Scale = 0.0
    temperature: Scale | None = None
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self):
        check(self)
        require(
            self.max_length > self.decoding.gen_length,
            "max_length",
            self.max_length,
            f"it must be above gen_length, {self.decoding.gen_length}",
        )

    def asked(self, options: Mapping[str, Any]) -> tuple[tuple[str, ...], int, Decoding]:
        """(strings that end it, its most tokens, decoding) of an answer that a task asks for with `options`, lm-eval's
        generation_kwargs. Raises UserError for options that this decoder has no part for."""
        until = options.get("until") or ()
        until = (until,) if isinstance(until, str) else until
        most = int(options.get("max_gen_toks", 0)) or self.decoding.gen_length
        temperature = self.temperature
        if temperature is None:
            drawn = options.get("do_sample", options.get("temperature", 0.0) > 0.0)
            temperature = float(options.get("temperature", 1.0)) if drawn else 0.0
        unknown = {
            name: value
            for name, value in options.items()
            if name not in KNOWN
            and (temperature > 0.0 or name not in ("top_p", "top_k", "min_p"))
            and value != NEUTRAL.get(name, ...)
        }
        if unknown:
            raise UserError(
                f"a task asks to generate with {unknown}, but this decoder knows {', '.join(KNOWN)} only: leave the "
                "task out, or, for an option of sampling, set the temperature to 0"
            )
        return (
            tuple(text for text in until if text),
            most,
            replace(self.decoding, temperature=temperature).shortened(most),
        )

    @staticmethod
    def read(record: Mapping[str, Any]) -> "TextSettings":
        """The settings whose `asdict` is `record`."""
        return TextSettings(**{**record, "decoding": Decoding(**record["decoding"])})


SHAPE = ("gen_length", "block_length", "steps", "remasking")
"""Options that are fields of Decoding."""
OPTIONS = (*(f.name for f in fields(TextSettings) if f.name != "decoding"), *SHAPE)
"""What from_options takes."""


def from_options(given: Mapping[str, Any], prefix: str = "") -> TextSettings:
    """Settings from values or texts by names of OPTIONS; block_length and steps follow a gen_length that is given
    alone.

    Raises UserError for values that cannot be, under `prefix` + name."""
    kinds = {**get_type_hints(Decoding, include_extras=True), **get_type_hints(TextSettings, include_extras=True)}
    values = {name: convert(value, kinds[name], prefix + name) for name, value in given.items()}
    shape = {name: values.pop(name) for name in SHAPE if name in values}
    length = shape.get("gen_length", Decoding().gen_length)
    shape = {"block_length": min(Decoding().block_length, max(length, 1)), "steps": length, **shape}
    return TextSettings(**values, decoding=Decoding(**shape))


def check_chats(backbone: str, lacks: str = "") -> None:
    """Raises UserError unless policies of `backbone` can chat, or because of what one of them `lacks`."""
    why = lacks if backbone in CHATS else "the layout of its chats is not known here"
    if why:
        raise UserError(
            f"the policy is of backbone {backbone!r} and cannot chat ({why}): leave chat out, or use one of "
            f"{', '.join(CHATS)}"
        )
