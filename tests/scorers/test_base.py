"""What every scorer promises, and self-tests that catch what is wired wrongly; shown on scorers of a few lines."""

import pytest
from PIL import ImageFilter, ImageStat

from bench.scorers.base import Judged, Scorer
from bench.scorers.drawings import SHAPES, drawing, matching, quality
from bench.scorers.instructions import instruction
from htgrpo.base.errors import UserError
from tests.scorers.ports import broken, use_stand_ins


class Colours(Scorer):
    """How much of a picture has the colour that the prompt names."""

    name, title, version, needs_prompt, published_range = "colours", "Colours", "1", True, "0..1"
    channels = {"red": 0, "green": 1, "blue": 2}

    @classmethod
    def load(cls, weights=None, device="cpu", dtype=None):
        return cls()

    def identity(self):
        return {"name": self.name, "version": self.version, "weights_revision": None, "dtype": "float32"}

    def score(self, images, prompts):
        self.check_pairs(images, prompts)
        return [Judged.of(self.one(image, prompt)) for image, prompt in zip(images, prompts)]

    def one(self, image, prompt):
        wanted = next(number for colour, number in self.channels.items() if colour in prompt)
        means = ImageStat.Stat(image.convert("RGB")).mean
        return means[wanted] / sum(means)

    def expectations(self):
        return matching()


def test_a_right_scorer_is_trusted():
    assert Colours.load().self_test() == []


@pytest.mark.parametrize("wrong", ["other prompts", "other pictures", "no prompt", "no picture", "sign", "constant"])
def test_wrong_wiring_is_caught(wrong):
    class Wrong(Colours):
        def score(self, images, prompts):
            if wrong == "other prompts":
                prompts = [*prompts[1:], prompts[0]]
            if wrong == "other pictures":
                images = [*images[1:], images[0]]
            if wrong == "no prompt":
                prompts = ["a red thing"] * len(prompts)
            if wrong == "no picture":
                images = [images[0]] * len(images)
            factor = {"sign": -1, "constant": 0}.get(wrong, 1)
            return [Judged.of(factor * one.score) for one in super().score(images, prompts)]

    failures = Wrong.load().self_test()
    assert failures and all("does not find that" in one and "\n" not in one for one in failures)


def test_lower_can_be_better():
    class Distance(Colours):
        higher_is_better = False

    assert len(Distance.load().self_test()) == len(matching())


def test_a_failed_picture_fails_the_test():
    class Failing(Colours):
        def score(self, images, prompts):
            return [Judged.failed("no memory")] + super().score(images[1:], prompts[1:])

    assert Failing.load().self_test() == ["colours could not judge a drawn picture (no memory)"]


@pytest.mark.parametrize("sign,failures", [(1, 0), (-1, 1)])
def test_sharpness(sign, failures):
    class Sharpness(Colours):
        def one(self, image, prompt):
            edges = image.convert("L").filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
            return sign * ImageStat.Stat(edges).mean[0]

        def expectations(self):
            return quality()[:1]

    assert len(Sharpness.load().self_test()) == failures


def test_drawings_are_what_they_are_called():
    for caption, (_, colour) in SHAPES.items():
        image = drawing(caption)
        assert (image.mode, image.size) == ("RGB", (512, 512))
        assert (image.getpixel((256, 256)), image.getpixel((5, 5))) == (colour, (255, 255, 255))
    for one in quality():
        assert one.better[0].size == one.worse[0].size and one.better[0].tobytes() != one.worse[0].tobytes()


def test_judgements_have_a_score_or_an_error():
    assert Judged.of(0.5, {"a": 1}) == Judged(0.5, {"a": 1}, None)
    for value in (float("nan"), float("inf")):
        assert Judged.of(value).score is None and "not a number" in Judged.of(value).error
        with pytest.raises(ValueError):
            Judged(value)
    for wrong in ((None, {}, None), (1.0, {}, "why")):
        with pytest.raises(ValueError):
            Judged(*wrong)


def test_the_broken_picture_is_broken():
    with pytest.raises(OSError):
        broken().load()


def test_instructions(monkeypatch, tmp_path):
    use_stand_ins(monkeypatch, tmp_path)
    assert instruction("unipercept.desc")["iqa"] == "quality"
    with pytest.raises(UserError, match="no instruction 'deqa.prompt'.*bench.fetch scorer_prompts"):
        instruction("deqa.prompt")


def test_instructions_come_from_the_assets(assets):
    text = instruction("hpsv3.INSTRUCTION")
    assert text.startswith("\n") and text.endswith("\n\n\n") and "{text_prompt}" in text
