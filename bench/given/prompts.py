"""Which prompt each given picture belongs to, and the benchmarks that can judge it."""

from collections.abc import Sequence
from typing import Any

from bench.benchmarks.base import Benchmark
from bench.benchmarks.model_scores import ModelScore
from bench.benchmarks.registry import make
from bench.given.layouts import Picture
from htgrpo.errors import UserError
from htgrpo.prompts import Prompt

SET = "given"
OFFICIAL = {"geneval": "geneval", "dpg-grid": "dpg", "dpg": "dpg"}
"""The picture set that a layout belongs to; a flat folder may hold any."""


class GivenPrompts(Benchmark):
    """The prompts that came with pictures; without a rule, so that only scorers can judge them."""

    name, title, world, version, categories, aggregate = SET, "given", "natural", "1", (), "item_mean"

    def __init__(self, prompts: Sequence[Prompt]):
        self._prompts = list(prompts)

    def prompts(self, split: str) -> list[Prompt]:
        return list(self._prompts)

    def judge(self, pictures: Sequence[Any], prompts: Sequence[Prompt]) -> list[dict]:
        raise UserError("given pictures have no rule of their own: score them with imagereward, hpsv3, deqa, unipercept or clip")

    def scorer_identity(self) -> dict[str, Any]:
        return {"name": SET, "version": self.version, "weights_revision": None}


def benchmarks_for(names: Sequence[str], layout: str, pictures: Sequence[Picture]) -> dict[str, Benchmark]:
    """The benchmarks that judge pictures of a layout, by name. Scorers judge what is given, under SCORER@SET where that is not
    their own set. Raises UserError for a benchmark whose prompts these pictures are not of."""
    own = OFFICIAL.get(layout) or _set_of_rules(names)
    found: dict[str, Benchmark] = {}
    for name in names:
        benchmark = _made(name)
        if isinstance(benchmark, ModelScore) and "@" not in name:
            wanted = benchmark.prompt_set.picture_set
            if own is None:
                benchmark = type(benchmark)(GivenPrompts(own_prompts(pictures)))
            elif own != wanted:
                benchmark = type(benchmark)(make(own))
        elif own is not None and benchmark.picture_set != own:
            raise UserError(f"benchmark {name!r} judges the {benchmark.picture_set} pictures, but those given are {own} pictures: "
                            f"leave it "
                            "out, or score it in a run of its own")
        found[benchmark.name] = benchmark
    return found


def _made(name: str) -> Benchmark:
    """The benchmark of that name. Raises UserError for one that needs more than pictures."""
    benchmark = make(name)
    if not isinstance(benchmark, Benchmark):
        raise UserError(f"benchmark {name!r} asks a policy itself and judges no pictures: leave it out")
    return benchmark


def _set_of_rules(names: Sequence[str]) -> str | None:
    """The picture set of the benchmarks with a rule, None without one. Raises UserError for several."""
    sets = dict.fromkeys(one.picture_set for one in map(_made, names) if not isinstance(one, ModelScore) or "@" in one.name)
    if len(sets) > 1:
        raise UserError(f"benchmarks of several picture sets ({', '.join(sets)}) are asked for of one folder: score them one by "
                        f"one")
    return next(iter(sets), None)


def own_prompts(pictures: Sequence[Picture]) -> list[Prompt]:
    """The prompts of a flat folder, each once: ids as given, else numbered in order. Raises UserError for one id with two texts."""
    found: dict[str, Prompt] = {}
    for picture in pictures:
        key = key_of(picture)
        category = str((picture.spec or {}).get("category", ""))
        prompt = Prompt(picture.prompt or f"{len(found):05d}", picture.text or "", category, {})
        if found.setdefault(key, prompt).text != prompt.text:
            raise UserError(f"the id {picture.prompt!r} stands for two prompts, {found[key].text!r} and {prompt.text!r}: give "
                            f"each its own")
    return list(found.values())


def key_of(picture: Picture) -> str:
    """What pictures of one prompt have in common."""
    return picture.prompt or picture.text or str(picture.file)


def assigned(pictures: Sequence[Picture], prompts: Sequence[Prompt], where: str) -> dict[tuple[str, int], Picture]:
    """Pictures by (prompt id, sample). Flat ones find their prompt by its id or its text. Raises UserError for a picture of no
    prompt here, and for one whose metadata name another text than the benchmark's."""
    by_id, by_text = {p.id: p for p in prompts}, {p.text: p for p in prompts}
    own = {key_of(p): prompt for p, prompt in _keyed(pictures, prompts)}
    found: dict[tuple[str, int], Picture] = {}
    for picture in pictures:
        prompt = by_id.get(picture.prompt) or by_text.get(picture.text or "") or own.get(key_of(picture))
        if prompt is None:
            raise UserError(f"{str(picture.file)!r} belongs to no prompt of {where} ({picture.prompt or picture.text!r}): remove "
                            f"it, or "
                            "score it with scorers only")
        if picture.text is not None and picture.text.strip() != prompt.text.strip():
            raise UserError(f"{str(picture.file)!r} was made for {picture.text!r}, but prompt {prompt.id} of {where} is "
                            f"{prompt.text!r}: "
                            "the folder was made from another version of the prompts")
        if (prompt.id, picture.sample) in found:
            raise UserError(f"{str(picture.file)!r} and {str(found[prompt.id, picture.sample].file)!r} are both picture "
                            f"{picture.sample} of "
                            f"prompt {prompt.id}: keep one")
        found[prompt.id, picture.sample] = picture
    return found


def _keyed(pictures: Sequence[Picture], prompts: Sequence[Prompt]) -> list[tuple[Picture, Prompt]]:
    """The first picture of every prompt with that prompt, where the prompts are the pictures' own."""
    first = {key_of(picture): picture for picture in reversed(pictures)}
    ordered = [first[key] for key in dict.fromkeys(map(key_of, pictures))]
    mine = own_prompts(pictures)
    return list(zip(ordered, mine, strict=True)) if list(prompts) == mine else []
