"""GenEval's pieces made for tests: objects in a picture, requirements, a detector and colours that say what they are
told."""

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from bench.benchmarks.geneval import GenEval
from bench.scorers.geneval.detector import Detection
from bench.scorers.geneval.rule import COLOURS, TASKS
from htgrpo.base.prompts import Prompt

EMPTY = np.zeros((4, 4), bool)


def box(cls, x, y, score=0.95, side=20.0):
    """A square box with its centre at (x, y)."""
    return Detection(cls, score, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), EMPTY)


class Sees:
    """A detector that sees these objects in every picture."""

    identity = {"detector": "made", "detector_revision": "1", "official": True}

    def __init__(self, *found):
        self.found = list(found)

    def detect(self, images, floor=0.3):
        return [list(self.found) for _ in images]


class Names:
    """Colours by the centre of a box; an object that is not listed must not be asked about."""

    identity = {"colours": "made", "colours_revision": "1", "colours_dtype": "float32"}

    def __init__(self, **by_place):
        self.by_place, self.asked = by_place, []

    def of(self, image, found):
        self.asked.append(found)
        return self.by_place[f"x{round((found.box[0] + found.box[2]) / 2)}"]


def spec(tag, *include, exclude=()):
    return {"tag": tag, "include": list(include), "exclude": list(exclude), "prompt": "a prompt"}


def want(cls, count=1, **more):
    return {"class": cls, "count": count, **more}


def judged(found, requirements, names=None):
    """The record of one picture."""
    benchmark = GenEval(Sees(*found), names or Names())
    prompt = Prompt("00000", requirements["prompt"], requirements["tag"], requirements)
    return benchmark.judge([Image.new("RGB", (4, 4))], [prompt])[0]


CUP, DOG = box("cup", 50, 50), box("dog", 150, 50)
ONE, TWO = spec("single_object", want("cup")), spec("two_object", want("cup"), want("dog"))
THREE = spec("counting", want("cup", 3), exclude=[want("cup", 4)])
LEFT = spec("position", want("dog"), want("cup", position=["left of", 0]))
RED = spec("colors", want("cup", color="red"))
BOTH = spec("color_attr", want("cup", color="red"), want("dog", color="blue"))
CHAIN = spec("position", want("dog", color="blue"), want("cup", position=["left of", 0]))
PAIRS = spec("position", want("dog", 2), want("cup", 2, position=["left of", 0]))


def row(count, score=0.95, cls="cup"):
    return [box(cls, 30 * i, 0, score - 1e-4 * i) for i in range(count)]


CLASSES = ("cup", "dog")
objects = st.builds(
    lambda cls, score, x, y, w, h: Detection(cls, score, (x, y, x + w, y + h), EMPTY),
    st.sampled_from(CLASSES),
    st.sampled_from([0.2, 0.3, 0.31, 0.5, 0.89, 0.9, 0.91, 0.97, 1.0]),
    *[st.integers(0, 60)] * 2,
    *[st.integers(0, 40)] * 2,
)
clauses = st.fixed_dictionaries(
    {"class": st.sampled_from(CLASSES), "count": st.integers(1, 3)},
    optional={"color": st.sampled_from(["red", "blue"])},
)


@st.composite
def requirements(draw):
    include = draw(st.lists(clauses, min_size=1, max_size=3))
    for index in range(1, len(include)):
        if draw(st.booleans()):
            relation = draw(st.sampled_from(["left of", "right of", "above", "below"]))
            include[index]["position"] = [relation, draw(st.integers(0, index - 1))]
    exclude = draw(
        st.lists(st.fixed_dictionaries({"class": st.sampled_from(CLASSES), "count": st.integers(1, 4)}), max_size=1)
    )
    return spec(draw(st.sampled_from(TASKS)), *include, exclude=exclude)


class ByBox:
    """A colour that only the box decides."""

    identity = Names.identity

    def of(self, image, found):
        return COLOURS[int(sum(found.box)) % 5]


def unique(found):
    """Objects with scores that no two share, so that the order is the same for everyone."""
    return [Detection(one.cls, one.score - 1e-9 * index, one.box, one.mask) for index, one in enumerate(found)]
