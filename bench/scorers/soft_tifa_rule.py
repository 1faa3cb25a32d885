"""Soft-TIFA's rule, apart from the network: which words answer a question, which tokens they begin with, and how the
probabilities of a picture's questions become its score.

Restated from github facebookresearch/GenEval2 @ a6e82d2289e8, evaluation.py and soft_tifa_analysis.py (CC BY-NC 4.0;
arXiv 2512.16853). Pure functions.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.scorers.base import Unscorable
from htgrpo.base.errors import UserError

YES = "Yes"
COUNTING = "How many"
"""How questions begin that are answered by a number; all others are answered by Yes."""
SKILLS = ("object", "attribute", "count", "position", "verb")
SPACE = 220
"""The token of a bare space."""
TABLE = {
    YES: (9454, 9693, 9834, 7414),
    "one": (603, 3966, 825, 3776, 16, SPACE),
    "two": (19789, 11613, 1378, 9043, 17, SPACE),
    "three": (27856, 19641, 2326, 14513, 18, SPACE),
    "four": (34024, 26972, 3040, 13322, 19, SPACE),
    "five": (52670, 37020, 4236, 20924, 20, SPACE),
    "six": (50364, 41460, 4743, 18680, 21, SPACE),
    "seven": (80185, 59528, 8094, 29948, 22, SPACE),
}
"""The first token of every accepted string (`strings`) of an answer, in Qwen3-VL's vocabulary. Of a blank and a digit
that is the blank alone, so that as published a counting question is also answered by a bare space."""
NUMBERS = tuple(answer for answer in TABLE if answer != YES)


@dataclass(frozen=True)
class Question:
    """One question, the answer it must have, and the skill it asks for."""

    text: str
    answer: str
    skill: str

    @property
    def counts(self) -> bool:
        """Whether it is answered by a number."""
        return self.text.startswith(COUNTING)


def strings(answer: str) -> tuple[str, ...]:
    """What is accepted as this answer."""
    if answer == YES:
        return "Yes", "yes", " yes", " Yes"
    word, digit = answer.capitalize(), str(NUMBERS.index(answer) + 1)
    return answer, word, f" {answer}", f" {word}", digit, f" {digit}"


def check_tokens(encode: Callable[[str], list[int]], where: str) -> None:
    """Raises UserError unless every accepted string begins with the token of TABLE. encode: from a text to its ids."""
    for answer, wanted in TABLE.items():
        for text, token in zip(strings(answer), wanted, strict=True):
            if (found := encode(text)[0]) != token:
                raise UserError(
                    f"the tokenizer in {where} begins {text!r} with token {found}, but Soft-TIFA reads {token}: use the "
                    "published files of Qwen/Qwen3-VL-8B-Instruct, with the versions in constraints.txt"
                )


def tokens(answer: str, clean: bool) -> tuple[int, ...]:
    """The tokens whose probabilities are added up; clean: without the bare space."""
    return tuple(token for token in TABLE[answer] if not (clean and token == SPACE))


def read_spec(text: str) -> list[Question]:
    """The questions of a prompt given as GenEval 2's JSON line. Raises Unscorable where there are none, or none that
    Soft-TIFA knows how to answer: a text alone is never judged in their place."""
    try:
        spec = json.loads(text)
        lists = list(zip(spec["vqa_list"], spec["skills"], strict=True))
        found = [Question(str(question), str(answer), str(skill)) for (question, answer), skill in lists]
    except (ValueError, KeyError, TypeError) as error:
        raise Unscorable(
            'it has no questions, which Soft-TIFA needs as GenEval 2 has them: {"vqa_list": [[question, answer]], "skills": [one '
            "for each question]}"
        ) from error
    if not found:
        raise Unscorable("it asks nothing")
    for one in found:
        known = NUMBERS if one.counts else (YES,)
        if one.answer not in known:
            raise Unscorable(
                f"{one.text!r} is to be answered by {one.answer!r}, but Soft-TIFA knows {', '.join(known)}"
            )
        if one.skill not in SKILLS:
            raise Unscorable(f"{one.text!r} asks for {one.skill!r}, but GenEval 2's skills are {', '.join(SKILLS)}")
    return found


def am(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def gm(values: Sequence[float]) -> float:
    """The geometric mean; 0 where any value is."""
    return math.exp(sum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0


WHOLE = 0.05
"""A picture below this geometric mean has lost an atom."""


def scores(values: Sequence[float]) -> dict[str, Any]:
    """What a picture is told by: "gm", which is its score, "am", and "whole", 1 where gm reaches WHOLE."""
    mean = gm(values)
    return {"gm": mean, "am": am(values), "whole": float(mean >= WHOLE)}
