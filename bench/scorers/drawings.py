"""Drawn pictures with a known order, on which a scorer shows that its weights, its configuration and its arguments are
right."""

from PIL import Image, ImageDraw, ImageFilter

from bench.scorers.base import Expectation

SIDE = 512
SHAPES = {
    "a red square": ("square", (220, 30, 30)),
    "a blue circle": ("circle", (30, 60, 220)),
    "a green triangle": ("triangle", (30, 160, 60)),
}


def drawing(caption: str) -> Image.Image:
    """The picture of one of the captions of SHAPES: RGB, 512 x 512, on white."""
    shape, colour = SHAPES[caption]
    image = Image.new("RGB", (SIDE, SIDE), (255, 255, 255))
    pen, low, high = ImageDraw.Draw(image), SIDE // 4, SIDE * 3 // 4
    if shape == "square":
        pen.rectangle((low, low, high, high), fill=colour)
    elif shape == "circle":
        pen.ellipse((low, low, high, high), fill=colour)
    else:
        pen.polygon(((SIDE // 2, low), (low, high), (high, high)), fill=colour)
    return image


def landscape() -> Image.Image:
    """A drawn landscape with fine detail: sky, sun, hills, a lake, trees. RGB, 512 x 512."""
    image = Image.new("RGB", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    for row in range(SIDE):
        share = row / SIDE
        pen.line((0, row, SIDE, row), fill=(int(90 + 140 * share), int(150 + 60 * share), int(235 - 60 * share)))
    pen.ellipse((370, 50, 450, 130), fill=(255, 240, 170))
    for shade, base, step in (((110, 130, 160), 300, 90), ((70, 105, 90), 340, 70)):
        peaks = [(x, base - (x * 37 % 110)) for x in range(0, SIDE + step, step)]
        pen.polygon([(0, SIDE), *peaks, (SIDE, SIDE)], fill=shade)
    pen.polygon([(0, 400), (SIDE, 380), (SIDE, SIDE), (0, SIDE)], fill=(60, 120, 60))
    pen.ellipse((150, 410, 380, 480), fill=(70, 130, 190))
    for x in range(10, SIDE, 34):
        foot = 405 + x * 13 % 90
        pen.line((x, foot, x, foot - 30), fill=(80, 55, 35), width=4)
        for level in range(3):
            top = foot - 70 + 16 * level
            pen.polygon(
                ((x, top), (x - 9 - 4 * level, top + 24), (x + 9 + 4 * level, top + 24)), fill=(20, 80 + 10 * level, 40)
            )
    return image


def matching() -> list[Expectation]:
    """For scorers that read the prompt: each drawing fits its own caption better than another one's. Judged in both
    directions, so that a scorer that mixes up its arguments, or ignores one of them, cannot pass."""
    captions = list(SHAPES)
    pairs = [(one, other) for one, other in zip(captions, captions[1:] + captions[:1])]
    by_prompt = [
        Expectation(
            f"the drawing of {one} fits its caption better than {other!r}", (drawing(one), one), (drawing(one), other)
        )
        for one, other in pairs
    ]
    by_picture = [
        Expectation(
            f"{one!r} fits its own drawing better than that of {other}", (drawing(one), one), (drawing(other), one)
        )
        for one, other in pairs
    ]
    return by_prompt + by_picture


def quality(prompt: str = "") -> list[Expectation]:
    """For scorers of quality: a sharp landscape is better than the same one blurred, or shrunk to a few pixels and
    enlarged."""
    sharp = landscape()
    blurred = sharp.filter(ImageFilter.GaussianBlur(12))
    coarse = sharp.resize((24, 24), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return [
        Expectation("a sharp picture is better than the same one blurred", (sharp, prompt), (blurred, prompt)),
        Expectation(
            "a sharp picture is better than the same one in blocks of pixels", (sharp, prompt), (coarse, prompt)
        ),
    ]
