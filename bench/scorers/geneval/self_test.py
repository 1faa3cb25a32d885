"""Drawn pictures on which GenEval's detector and colours show that their weights and configuration are right.

Only orders are asked for, not thresholds: a drawn stop sign is found as one more surely than a drawn clock is, and the
other way round, and the colour of a drawn object is named. A network with other weights, shuffled classes or swapped
channels fails them.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from bench.scorers.geneval.detector import Detection

if TYPE_CHECKING:
    from bench.scorers.geneval.colours import Colours
    from bench.scorers.geneval.detector import Detector

SIDE = 512
PAINTS = {"red": (215, 25, 25), "green": (20, 150, 50), "blue": (30, 60, 215), "yellow": (250, 220, 30)}


def self_test(detector: "Detector", colours: "Colours") -> list[str]:
    """One sentence for every expectation that failed; [] means that both can be trusted."""
    drawn = {name: draw() for name, draw in DRAWN.items()}
    found = dict(zip(drawn, detector.detect([np.array(picture) for picture in drawn.values()], floor=0.0), strict=True))
    failures = []
    for own, other in (("stop sign", "clock"), ("clock", "stop sign")):
        right, wrong = (_surest(found[picture], own) for picture in (own, other))
        if right <= wrong:
            failures.append(
                f"it is no surer of a {own} in the drawing of one ({right:.3f}) than in that of a {other} ({wrong:.3f})"
            )
    for name, paint in PAINTS.items():
        picture, item = _ball(paint)
        named = colours.of(picture, item)
        if named != name:
            failures.append(f"it calls a {name} drawn ball {named}")
    return failures


def _surest(found: list[Detection], cls: str) -> float:
    return max((one.score for one in found if one.cls == cls), default=0.0)


def stop_sign() -> Image.Image:
    """A red octagon with the word STOP on a post, before sky and grass. RGB, 512 x 512."""
    picture, pen = _outdoors()
    pen.rectangle((248, 330, 264, 500), fill=(120, 120, 125))
    for radius, colour in ((150, (245, 245, 245)), (138, (190, 20, 30))):
        corners = [
            (
                256 + radius * math.cos(math.pi / 8 + i * math.pi / 4),
                200 + radius * math.sin(math.pi / 8 + i * math.pi / 4),
            )
            for i in range(8)
        ]
        pen.polygon(corners, fill=colour)
    pen.text((256, 200), "STOP", fill=(250, 250, 250), anchor="mm", font_size=92)
    return picture


def clock() -> Image.Image:
    """A round wall clock with numerals and hands. RGB, 512 x 512."""
    picture = Image.new("RGB", (SIDE, SIDE), (205, 190, 165))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((86, 86, 426, 426), fill=(40, 40, 45))
    pen.ellipse((102, 102, 410, 410), fill=(250, 250, 245))
    for hour in range(1, 13):
        angle = math.pi * (hour / 6 - 0.5)
        place = 256 + 125 * math.cos(angle), 256 + 125 * math.sin(angle)
        pen.text(place, str(hour), fill=(20, 20, 20), anchor="mm", font_size=32)
    for angle, length, width in ((-0.3 * math.pi, 70, 11), (0.15 * math.pi, 108, 7)):
        pen.line(
            (256, 256, 256 + length * math.cos(angle), 256 + length * math.sin(angle)), fill=(20, 20, 20), width=width
        )
    return picture


def _outdoors() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (SIDE, SIDE), (150, 190, 230))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 400, SIDE, SIDE), fill=(95, 135, 70))
    return picture, pen


def _ball(paint: tuple[int, int, int]) -> tuple[np.ndarray, Detection]:
    """A painted ball on white, and the detection that fits it."""
    picture = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    ImageDraw.Draw(picture).ellipse((128, 128, 383, 383), fill=paint)
    pixels = np.array(picture)
    mask = (pixels != 255).any(-1)
    return pixels, Detection("sports ball", 1.0, (128.0, 128.0, 384.0, 384.0), mask)


DRAWN = {"stop sign": stop_sign, "clock": clock}
"""Objects that the detector looks for, and what draws them."""
