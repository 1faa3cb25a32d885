"""GenEval's detector and colours as a scorer, for training: reward-servers' partial credit, which is not the
benchmark's rule.

Its prompts are GenEval specifications as JSON: {"tag", "include": [{"class", "count"[, "color"][, "position"]}]}.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.geneval import colours, network
from bench.scorers.geneval.colours import CLIP, FOLDER, Colours
from bench.scorers.geneval.detector import LIBRARIES, Detection, Detector, class_names
from bench.scorers.geneval.network import locate_detector
from bench.scorers.geneval.pixels import as_array
from bench.scorers.geneval.reward import reward
from bench.scorers.geneval.rule import COLOURS, TASKS
from bench.scorers.geneval.self_test import DRAWN, self_test
from bench.scorers.weights import locate
from htgrpo.base.versions import libraries

RELATIONS = ("left of", "right of", "above", "below")


class GenEvalScorer(Scorer):
    """Partial credit, and as evidence "strict", 1 where exactly what was asked for is there, else 0, and "parts"."""

    name, title, version = "geneval", "GenEval reward", "1"
    assets, libraries = ("geneval_classes", "scorer_prompts"), LIBRARIES
    needs_prompt, reads_spec, published_range = True, True, "partial credit, at most 1"

    def __init__(self, detector: Detector, colours: Colours):
        self.detector, self.colours = detector, colours

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu", dtype: Any = None) -> Self:
        """See Scorer.load; the dtype is always the official one."""
        return cls(Detector.load(weights, device), Colours.load(None, device))

    @classmethod
    def folders(cls, weights: Path | None = None) -> list[Path]:
        """The detector and the folder of the colours' CLIP. Raises UserError."""
        return [locate_detector(weights), *locate(FOLDER, (CLIP,), None)]

    def identity(self) -> dict[str, Any]:
        return identity_of(self.version, self.detector.identity | self.colours.identity)

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        return identity_of(cls.version, parts_at(None, "cuda" if torch.cuda.is_available() else "cpu"))

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        read_spec(prompt)

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        ready: dict[int, tuple[np.ndarray, dict]] = {}
        judged: dict[int, Judged] = {}
        for index, (image, prompt) in enumerate(zip(images, prompts)):
            try:
                ready[index] = (as_array(image), read_spec(prompt))
            except Unscorable as error:
                judged[index] = Judged.failed(str(error))
            except Exception as error:  # a lazily opened file turns out to be damaged here, in its decoder's manner
                judged[index] = Judged.failed(f"the picture cannot be decoded ({error or type(error).__name__})")
        found = self.detector.detect([pixels for pixels, _ in ready.values()])
        for (index, (pixels, spec)), detections in zip(ready.items(), found, strict=True):
            judged[index] = self._judge(pixels, spec, detections)
        return [judged[index] for index in range(len(images))]

    def _judge(self, pixels: np.ndarray, spec: dict, detections: list[Detection]) -> Judged:
        try:
            one = reward(detections, spec, lambda item: self.colours.of(pixels, item))
        except ValueError as error:  # a detection without a pixel has no colour
            return Judged.failed(str(error))
        return Judged.of(one.partial, {"strict": float(one.strict), "parts": list(one.parts)})

    def tested_on(self) -> int:
        return len(DRAWN)

    def self_test(self) -> list[str]:
        return self_test(self.detector, self.colours)


def parts_at(weights: Path | None, device: str) -> dict[str, Any]:
    """What detector and colours would say of themselves, without loading them. Raises UserError where they are not
    here."""
    place, folder = GenEvalScorer.folders(weights)
    return network.identity_of(place) | colours.identity_of(folder, device)


def identity_of(version: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The identity of who judges by detector and colours, and by a rule of this version."""
    return {
        "name": "geneval",
        "version": version,
        "weights_revision": f"{parts['detector_revision']} {parts['colours_revision']}",
        "dtype": "float32",
        "libraries": libraries(LIBRARIES),
        **parts,
    }


def read_spec(text: str) -> dict:
    """The specification in a prompt. Raises Unscorable where it is none, or names what GenEval does not know."""
    try:
        spec = json.loads(text)
        tag, clauses = spec["tag"], spec["include"]
        for number, clause in enumerate(clauses):
            _check_clause(clause, number)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unscorable('it has no GenEval specification {"tag", "include": [{"class", "count"}]}') from error
    if tag not in TASKS:
        raise Unscorable(f"its tag is {tag!r}, but GenEval knows {', '.join(TASKS)}")
    if not clauses:
        raise Unscorable("it includes nothing")
    return spec


def _check_clause(clause: dict, number: int) -> None:
    if clause["class"] not in _classes():
        raise Unscorable(f"it asks for {clause['class']!r}, which is none of GenEval's 80 classes")
    if not isinstance(clause["count"], int) or clause["count"] < 1:
        raise Unscorable(
            f"it asks for {clause['count']!r} of {clause['class']!r}, but a count is a whole number of at least 1"
        )
    if "color" in clause and clause["color"] not in COLOURS:
        raise Unscorable(f"it asks for the colour {clause['color']!r}, but GenEval knows {', '.join(COLOURS)}")
    if "position" in clause:
        relation, target = clause["position"]
        if relation not in RELATIONS or not 0 <= target < number:
            raise Unscorable(
                f"it asks for the position {clause['position']!r}, but a position is one of {', '.join(RELATIONS)} "
                "and the number of an earlier clause"
            )


@cache
def _classes() -> frozenset[str]:
    return frozenset(class_names())
