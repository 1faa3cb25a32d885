"""Soft-TIFA, GenEval 2's judge (arXiv 2512.16853), and VQAScore asked of the same network: Qwen3-VL-8B-Instruct is shown a
picture and asked for one word, and the probability of the right one is the score of the question.

Upstream lets the model generate one token, greedily, and reads the softmax over the whole vocabulary; that is a plain
forward pass. Here the picture is read once and its keys and values are shared by all of its questions, which changes
nothing but rounding.
"""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from bench.scorers.base import Expectation, Judged
from bench.scorers.drawings import SIDE, matching
from bench.scorers.instructions import instruction
from bench.scorers.native import padded
from bench.scorers.qwenvl import FILES, QwenVL
from bench.scorers.soft_tifa_rule import SPACE, TABLE, YES, Question, check_tokens, read_spec, scores, strings, tokens
from bench.scorers.weights import Repository
from htgrpo.base.errors import UserError
from htgrpo.policies.model_files import read_json

ASSET = "geneval2_strings"


@dataclass(frozen=True)
class Prepared:
    """A picture with its questions. start: the ids that all of them begin with, up to the picture's last; rest: those of
    every question after it. pixels: float32 [patches, channels]; grid: int64 [1, 3]."""

    start: list[int]
    rest: list[list[int]]
    pixels: Tensor
    grid: Tensor
    questions: list[Question]


class Qwen3VLAnswers(QwenVL[Prepared]):
    """What both share. asked: the key of the text that a question is put into. Raises UserError where the tokenizer is
    not Qwen3-VL's, or where a penalty would change what `generate` gives."""

    version = "1"
    needs_prompt, published_range = True, "0..1"
    assets = (ASSET,)
    advice = "use Qwen/Qwen3-VL-8B-Instruct"
    repositories = (
        Repository(
            "Qwen/Qwen3-VL-8B-Instruct",
            FILES,
            ("model.safetensors",),
            sharded=True,
            revision="0c351dd01ed87e9c1b53cbc748cba10e6187ff3b",
        ),
    )
    asked: ClassVar[str]

    def __init__(self, net: Any, tokenizer: Any, images: Any, folders: list[Path], device: str, dtype: torch.dtype):
        super().__init__(net, tokenizer, images, folders, device, dtype)
        where = repr(str(folders[0]))
        check_tokens(lambda text: tokenizer(text)["input_ids"], where)
        file = folders[0] / "generation_config.json"
        penalty = read_json(file).get("repetition_penalty", 1.0) if file.is_file() else 1.0
        if penalty != 1.0:
            raise UserError(
                f"generation_config.json in {where} has the repetition penalty {penalty}, but {self.title} is read "
                f"without one: {self.advice}"
            )
        self.text: str = instruction(self.asked, ASSET)

    @classmethod
    def _identity_with(cls, revisions: list[str], dtype: torch.dtype) -> dict[str, Any]:
        """Beside the common keys "question", the digest of what is asked, and "path", how."""
        digest = sha256(instruction(cls.asked, ASSET).encode()).hexdigest()[:16]
        return super()._identity_with(revisions, dtype) | {"question": digest, "path": "the picture once"}

    def ready(self, image: Image.Image, texts: Sequence[str], questions: list[Question]) -> Prepared:
        """A picture and what is asked about it. Raises Unscorable for a picture that the model takes in no size, and
        for texts with the model's own control tokens."""
        pixels, grid, count = self.look(image)
        rows = [self.conversation(text, count) for text in texts]
        end = rows[0].index(self.image) + count
        return Prepared(rows[0][:end], [row[end:] for row in rows], pixels, grid, questions)

    def first_words(self, item: Prepared) -> Tensor:
        """Probabilities float32 [questions, vocabulary] of the first token of every answer."""
        start = torch.tensor([item.start], device=self.device)
        cache = self.net.model(
            input_ids=start,
            pixel_values=item.pixels.to(self.device, self.dtype),
            image_grid_thw=item.grid.to(self.device),
            use_cache=True,
            **self.told(start),
        ).past_key_values
        cache.batch_repeat_interleave(len(item.rest))
        ids, mask = padded(item.rest, 0, self.device)  # on the right, where no token before sees it
        first = len(item.start) + self.net.model.rope_deltas
        positions = (torch.arange(ids.shape[1], device=self.device) + first).expand(3, *ids.shape)
        hidden = self.net.model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)[0]
        last = hidden[torch.arange(len(ids), device=self.device), mask.sum(1) - 1]
        return self.net.lm_head(last).float().softmax(-1)

    def judge(self, items: list[Prepared]) -> list[Judged]:
        return [self.read(item.questions, self.first_words(item)) for item in items]

    @abstractmethod
    def read(self, questions: list[Question], found: Tensor) -> Judged:
        """The judgement of a picture by the probabilities of first tokens [questions, vocabulary]."""


class SoftTifa(Qwen3VLAnswers):
    """The geometric mean of the probabilities that every question is answered rightly. Its prompts are GenEval 2's lines
    as JSON (soft_tifa_rule.read_spec).

    Evidence: soft_tifa_rule.scores; "hard", the part of questions whose likeliest token is right; "space", the greatest
    probability of a bare space among counting questions; "questions": of each "category" (the skill), "question",
    "score" (its probability), "said" (the likeliest token) and "space". clean: whether the bare space is left out, which
    upstream counts as any number; the identity names it, "counting".
    """

    name, title = "soft_tifa", "Soft-TIFA"
    reads_spec = True
    asked = "geneval2.question"
    clean: ClassVar[bool] = False

    @classmethod
    def _identity_with(cls, revisions: list[str], dtype: torch.dtype) -> dict[str, Any]:
        return super()._identity_with(revisions, dtype) | {"counting": "clean" if cls.clean else "upstream"}

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        read_spec(prompt)

    @classmethod
    def about(cls, caption: str) -> str:
        objects = [f"Are there any objects as in {caption!r} in the image?", YES]
        counted = ["How many objects are in the image?", "one"]
        return json.dumps({"vqa_list": [objects, counted], "skills": ["object", "count"]})

    def prepare(self, image: Image.Image, prompt: str) -> Prepared:
        """See `ready`. Raises Unscorable for a prompt without questions, too."""
        questions = read_spec(prompt)
        return self.ready(image, [self.text.format(one.text) for one in questions], questions)

    def read(self, questions: list[Question], found: Tensor) -> Judged:
        told = [self._answered(one, row) for one, row in zip(questions, found, strict=True)]
        right = [one["said"].lower() in strings(asked.answer) for one, asked in zip(told, questions)]
        values = scores([one["score"] for one in told])
        blank = max((one["space"] for one, asked in zip(told, questions) if asked.counts), default=0.0)
        return Judged.of(values["gm"], values | {"hard": sum(right) / len(right), "space": blank, "questions": told})

    def _answered(self, question: Question, found: Tensor) -> dict[str, Any]:
        # at most 1, beyond which float32 may round
        value = min(1.0, sum(found[token].item() for token in tokens(question.answer, self.clean)))
        said = self.tokenizer.decode([int(found.argmax())])
        told = {"category": question.skill, "question": question.text, "score": value, "said": said}
        return told | {"space": found[SPACE].item()}

    def expectations(self) -> list[Expectation]:
        return [
            Expectation(f"a drawing shows {claim}", (better, prompt), (worse, prompt))
            for claim, better, worse, prompt in drawn()
        ]


class SoftTifaClean(SoftTifa):
    """Soft-TIFA that does not take a bare space for a number."""

    name, title = "soft_tifa_clean", "Soft-TIFA (a space is no number)"
    clean = True


class VQAScore(Qwen3VLAnswers):
    """The probability of "Yes" when the network is asked whether the picture shows its prompt (arXiv 2404.01291, with
    GenEval 2's network and wording: other networks and wordings have other scales)."""

    name, title = "vqascore_qwen3vl", "VQAScore (Qwen3-VL-8B)"
    asked = "geneval2.vqascore"

    def prepare(self, image: Image.Image, prompt: str) -> Prepared:
        """See `ready`."""
        return self.ready(image, [self.text.format(prompt)], [])

    def read(self, questions: list[Question], found: Tensor) -> Judged:
        return Judged.of(min(1.0, sum(found[0, token].item() for token in TABLE[YES])))

    def expectations(self) -> list[Expectation]:
        return matching()


def drawn() -> list[tuple[str, Image.Image, Image.Image, str]]:
    """(what is there, a drawing of that, one of something else, the question about it as a prompt)."""
    left, right = _squares((220, 30, 30), (30, 60, 220)), _squares((30, 60, 220), (220, 30, 30))
    empty = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    return [
        ("three discs", _discs(3), _discs(5), _one("How many discs are in the image?", "three", "count")),
        ("five discs", _discs(5), _discs(3), _one("How many discs are in the image?", "five", "count")),
        (
            "a red square to the left of a blue one",
            left,
            right,
            _one("Is the red square to the left of the blue square?", YES, "position"),
        ),
        ("squares", left, empty, _one("Are there any squares in the image?", YES, "object")),
    ]


def _one(question: str, answer: str, skill: str) -> str:
    return json.dumps({"vqa_list": [[question, answer]], "skills": [skill]})


def _discs(count: int) -> Image.Image:
    """Red discs in a row on white, RGB."""
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen, step = ImageDraw.Draw(picture), SIDE // count
    for number in range(count):
        middle = step * number + step // 2
        pen.ellipse((middle - 35, SIDE // 2 - 35, middle + 35, SIDE // 2 + 35), fill=(220, 30, 30))
    return picture


def _squares(left: tuple[int, int, int], right: tuple[int, int, int]) -> Image.Image:
    """Two squares beside each other on white, RGB."""
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen = ImageDraw.Draw(picture)
    for place, colour in ((90, left), (310, right)):
        pen.rectangle((place, 200, place + 110, 310), fill=colour)
    return picture
