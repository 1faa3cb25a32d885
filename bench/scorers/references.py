"""The official packages, each in an environment of its own: what our ports are checked against by `python -m
bench.verify_scorer`.

They are no registered scorers: nothing is scored with them but the pictures of that check.
"""

from pathlib import Path

from bench.scorers.instructions import instruction
from bench.scorers.soft_tifa import ASSET, SoftTifa, VQAScore
from bench.scorers.worker import WorkerScorer


class ImageRewardReference(WorkerScorer):
    """image-reward 1.5."""

    name, title, version = "imagereward-reference", "image-reward 1.5", "1"
    needs_prompt, published_range, script = True, "as imagereward", "reference_imagereward.py"

    @classmethod
    def arguments(cls, folders: list[Path]) -> dict[str, str]:
        return {"tokenizer": str(folders[1])}


class HPSv3Reference(WorkerScorer):
    """hpsv3 1.0.0."""

    name, title, version = "hpsv3-reference", "hpsv3 1.0.0", "1"
    needs_prompt, published_range, script = True, "as hpsv3", "reference_hpsv3.py"
    batch_size = 8

    @classmethod
    def arguments(cls, folders: list[Path]) -> dict[str, str]:
        return {"base": str(folders[1])}


class UniPerceptReference(WorkerScorer):
    """unipercept-reward 1.0.3."""

    name, title, version = "unipercept-reference", "unipercept-reward 1.0.3", "1"
    needs_prompt, published_range, script = False, "as unipercept", "reference_unipercept.py"
    batch_size = 8


class PickScoreReference(WorkerScorer):
    """PickScore's README."""

    name, title, version = "pickscore-reference", "PickScore's README", "1"
    needs_prompt, published_range, script = True, "as pickscore", "reference_pickscore.py"

    @classmethod
    def arguments(cls, folders: list[Path]) -> dict[str, str]:
        return {"processor": str(folders[1])}


class HPSv2Reference(WorkerScorer):
    """hpsv2 1.2.0."""

    name, title, version = "hpsv2-reference", "hpsv2 1.2.0", "1"
    needs_prompt, published_range, script = True, "as hpsv2", "reference_hpsv2.py"


class SoftTifaReference(WorkerScorer):
    """transformers' `generate`, asked as GenEval 2's evaluation asks."""

    name, title, version = "soft_tifa-reference", "transformers' generate", "1"
    needs_prompt, published_range, script = True, "as soft_tifa", "reference_soft_tifa.py"
    batch_size = 8
    asked = SoftTifa.asked

    @classmethod
    def arguments(cls, folders: list[Path]) -> dict[str, str]:
        return {"question": instruction(cls.asked, ASSET)}


class VQAScoreReference(SoftTifaReference):
    """The same about whole prompts."""

    asked = VQAScore.asked


REFERENCES: dict[str, type[WorkerScorer]] = {
    "imagereward": ImageRewardReference,
    "hpsv3": HPSv3Reference,
    "unipercept": UniPerceptReference,
    "pickscore": PickScoreReference,
    "hpsv2": HPSv2Reference,
    "soft_tifa": SoftTifaReference,
    "vqascore_qwen3vl": VQAScoreReference,
}
"""By the name of the port."""
