"""HPSv3's prompts as they lie on disk."""

import json

import pytest

from bench.benchmarks.hpsv3_categories import ASSET, CATEGORIES, hpsv3_prompts
from bench.benchmarks.registry import make
from bench.sources import assets
from htgrpo.base.errors import UserError
from tests.scorers.made_assets import entry, use

LINES = [
    {"caption": f"a picture of {category}", "image_file": "/1.jpg", "category": category, "prompt_id": f"{category}-7"}
    for category in CATEGORIES
]


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Writes records as the asset of the user's folder."""
    monkeypatch.setenv(assets.FOLDER, str(tmp_path))

    def write(records):
        data = "".join(json.dumps(one) + "\n" for one in records).encode()
        (tmp_path / "prompts.jsonl").write_bytes(data)
        use(monkeypatch, entry(ASSET, "prompts.jsonl", "", reason="nobody pins it"))

    return write


def test_prompts_with_their_categories(put):
    put(LINES)
    found = hpsv3_prompts()
    assert [prompt.category for prompt in found] == list(CATEGORIES)
    assert (found[5].id, found[5].text) == ("Natural Scenery-7", "a picture of Natural Scenery")


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (LINES[:-1], "no prompt of the category 'Science'"),
        ([*LINES, {"prompt": "a", "category": "Cars"}], "category 'Cars'"),
        ([*LINES, LINES[0]], "id 'Characters-7' twice"),
        ([*LINES, {"category": "Food"}], 'line 13 .* has no "prompt"'),
        (
            [*LINES, {"prompt": "a", "category": "Food", "id": "../../x"}],
            "id '../../x': an id becomes part of file names",
        ),
    ],
)
def test_sets_that_are_none(put, records, why):
    put(records)
    with pytest.raises(UserError, match=why) as caught:
        hpsv3_prompts()
    assert "\n" not in caught.value.message


def test_without_a_copy_the_sentence_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv(assets.FOLDER, str(tmp_path))
    with pytest.raises(UserError, match="no public copy with a known digest.*hpsv3/prompts.jsonl into a folder"):
        hpsv3_prompts()


def test_the_benchmark_makes_one_picture_a_prompt_and_means_categories(put):
    one = make("hpsv3_categories")
    put(LINES)
    prompts = one.prompts("heldout")
    assert {prompt.category for prompt in prompts} == set(CATEGORIES) == set(one.categories)
    assert (one.samples, one.aggregate, one.picture_set, one.drawn("heldout")) == (
        1, "category_mean", "hpsv3_categories", prompts,
    )  # fmt: skip
    with pytest.raises(UserError, match="write hpsv3@dpg"):
        make("hpsv3_categories@dpg")
