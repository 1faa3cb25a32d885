"""The prompts that came with pictures as a set of their own, and the benchmarks that can judge pictures of a layout."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from bench.benchmarks.base import PictureBenchmark
from bench.benchmarks.model_scores import ModelScore, OwnPrompts
from bench.benchmarks.registry import make
from bench.given.pairing import Picture, own_prompts
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt

SET = "given"
OFFICIAL = {"geneval": "geneval", "dpg-grid": "dpg", "dpg-single": "dpg", "dpg": "dpg"}
"""The picture set that a layout belongs to; the others may hold any."""


class GivenPrompts(PictureBenchmark):
    """The prompts that came with pictures; without a rule, so that only scorers can judge them."""

    name, title, world, version, categories, aggregate = SET, "given", "natural", "1", (), "item_mean"

    def __init__(self, prompts: Sequence[Prompt]):
        self._prompts = list(prompts)

    def prompts(self, split: str) -> list[Prompt]:
        return list(self._prompts)

    def judge(self, pictures: Sequence[Any], prompts: Sequence[Prompt]) -> list[dict]:
        raise UserError(
            "given pictures have no rule of their own: score them with imagereward, hpsv3, deqa, unipercept or clip"
        )

    def scorer_identity(self) -> dict[str, Any]:
        return {"name": SET, "version": self.version, "weights_revision": None}


def benchmarks_for(names: Sequence[str], layout: str, pictures: Sequence[Picture]) -> dict[str, PictureBenchmark]:
    """The benchmarks that judge pictures of a layout, by name. Scorers judge what is given, under SCORER@SET where that
    is not their own set. Raises UserError for a benchmark whose prompts these pictures are not of."""
    own = OFFICIAL.get(layout) or _set_of_rules(names)
    found: dict[str, PictureBenchmark] = {}
    for name in names:
        benchmark = _made(name)
        if _takes_others(benchmark):
            if own is None:
                _check_texts(benchmark, pictures)
                benchmark = type(benchmark)(GivenPrompts(own_prompts(pictures)))
            elif own != benchmark.picture_set:
                benchmark = type(benchmark)(_made(own))
        elif own is not None and benchmark.picture_set != own:
            raise UserError(
                f"benchmark {name!r} judges the {benchmark.picture_set} pictures, but those given are {own} pictures: "
                "leave it out, or score it in a run of its own"
            )
        found[benchmark.name] = benchmark
    return found


def _made(name: str) -> PictureBenchmark:
    """The benchmark of that name. Raises UserError for one that needs more than pictures."""
    benchmark = make(name)
    if not isinstance(benchmark, PictureBenchmark):
        raise UserError(f"benchmark {name!r} asks a policy itself and judges no pictures: leave it out")
    return benchmark


def _takes_others(benchmark: PictureBenchmark) -> TypeGuard[ModelScore]:
    """Whether a benchmark is a scorer that judges whatever it is given, and not on a set that was named."""
    return isinstance(benchmark, ModelScore) and not isinstance(benchmark, OwnPrompts) and "@" not in benchmark.name


def _check_texts(benchmark: ModelScore, pictures: Sequence[Picture]) -> None:
    """Raises UserError where a scorer that reads prompts would be asked without one."""
    silent = [picture for picture in pictures if picture.text is None]
    if silent and benchmark.kind.needs_prompt:
        raise UserError(
            f"{benchmark.name} judges how well a picture fits its prompt, but {str(silent[0].file)!r} came without "
            "one: give --prompts FILE, or a .txt beside each picture"
        )


def _set_of_rules(names: Sequence[str]) -> str | None:
    """The picture set of the benchmarks with a rule, None without one. Raises UserError for several."""
    sets = dict.fromkeys(one.picture_set for one in map(_made, names) if not _takes_others(one))
    if len(sets) > 1:
        raise UserError(
            f"benchmarks of several picture sets ({', '.join(sets)}) are asked for of one folder: score them one by one"
        )
    return next(iter(sets), None)
