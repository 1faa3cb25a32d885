"""GenEval's detector and colours as a scorer, for training: reward-servers' partial credit, which is not the
benchmark's rule.

Its prompts are GenEval specifications as JSON: {"tag", "include": [{"class", "count"[, "color"][, "position"]}]}.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from bench.scorers.base import Judged, Scorer, Unscorable
from bench.scorers.geneval import colours as clip
from bench.scorers.geneval.colours import CLIP, FOLDER, Colours
from bench.scorers.geneval.detector import LIBRARIES, Detection, Detector, class_names
from bench.scorers.geneval.network import identity_of, locate_detector
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
        return self._identity_of({**self.detector.identity, **self.colours.identity})

    @classmethod
    def planned_identity(cls) -> dict[str, Any]:
        place, folder = cls.folders()
        return cls._identity_of(
            {**identity_of(place), **clip.identity_of(folder, "cuda" if torch.cuda.is_available() else "cpu")}
        )

    @classmethod
    def _identity_of(cls, parts: dict[str, Any]) -> dict[str, Any]:
        revision = f"{parts['detector_revision']} {parts['colours_revision']}"
        return {
            "name": cls.name,
            "version": cls.version,
            "dtype": "float32",
            "weights_revision": revision,
            "libraries": libraries(cls.libraries),
            **parts,
        }

    @classmethod
    def check_prompt(cls, prompt: str) -> None:
        read_spec(prompt)

    def score(self, images: list[Image.Image], prompts: list[str]) -> list[Judged]:
        self.check_pairs(images, prompts)
        ready: dict[int, tuple[np.ndarray, dict]] = {}
        judged: dict[int, Judged] = {}
        for index, (image, prompt) in enumerate(zip(images, prompts)):
            try:
                ready[index] = (as_array(image), read_spec(prompt))
            except Unscorable as error:
                judged[index] = Judged.failed(str(error))
            except (
                Exception
            ) as error:  # a lazily opened file turns out to be damaged here, in the manner of its decoder
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
