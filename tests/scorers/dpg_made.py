"""A question graph of DPG-Bench's form, made by hand, and one who says "yes" to everything."""

import csv
import io
import json

from PIL import Image

from bench.benchmarks.dpg import DPG
from tests.scorers import made_assets

COLUMNS = [
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed", "tuple",
    "question_natural_language",
]  # fmt: skip
GRAPH = [
    # the row that the published loader loses, and the item that it therefore loses
    ("partiprompts9", 1, "0", "entity - whole (bear)", "Is there a bear?"),
    ("partiprompts9", 2, "1", "attribute - color (bear, brown)", "Is the bear brown?"),
    ("partiprompts9", 3, "1,2", "relation - spatial (bear, log, on)", "Is the bear on a log?"),
    ("10", 1, "0", "entity - whole (car)", "Is there a car?"),
    ("10", 2, "1", "attribute - color (car, red)", "Is the car red?"),
    ("10", 3, "1, 2", "attribute - size (car, big)", 'Is the red car big, "really"?'),
    ("10", 4, "0", "global - (photo)", "Is it a photo?"),
    # a child before its parent: a zero does not reach it
    ("2", 3, "2", "other - count (cups, ==2)", "Are there two cups?"),
    ("2", 2, "1", "entity - part (cup, handle)", "Has the cup a handle?"),
    ("2", 1, "0", "entity - whole (cup)", "Is there a cup?"),
]
TEXTS = {"10": "A big red car.", "2": "Two cups.", "partiprompts9": "A bear\non a log."}


def table(rows=GRAPH) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for item, number, parents, label, question in rows:
        writer.writerow([item, TEXTS.get(item, ""), "", number, parents, "", "", label, question])
    return stream.getvalue().encode()


def place_assets(monkeypatch, tmp_path):
    """Makes the graph and its prompts the assets; returns what does it again with another table."""

    def place(csv_bytes=None, texts=TEXTS):
        lines = "".join(json.dumps({"id": name, "prompt": text}) + "\n" for name, text in texts.items())
        questions = table() if csv_bytes is None else csv_bytes
        made_assets.put(monkeypatch, tmp_path, dpg_questions=questions, dpg_prompts=lines.encode())

    place()
    return place


class Says:
    """Says "yes" to everything and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, images, questions):
        self.asked += zip(images, questions, strict=True)
        return ["yes"] * len(questions)


def black(count):
    """So many black pictures."""
    return [Image.new("RGB", (8, 8)) for _ in range(count)]


IDENTITY = {"name": "made", "version": "1", "weights_revision": None}


def benchmark(kind=DPG):
    return kind(Says(), IDENTITY)
