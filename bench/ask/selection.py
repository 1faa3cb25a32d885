"""Which prompts of a benchmark are used: all, the first N, or a drawn subset; always spread evenly over the
categories."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from bench.benchmarks.evaluation import PictureSet
from htgrpo.base.errors import UserError
from htgrpo.base.prompts import Prompt, prompt_set_sha256

if TYPE_CHECKING:
    from bench.benchmarks.base import Benchmark


@dataclass(frozen=True)
class Selection:
    """The prompts of one benchmark in the benchmark's order, the hash that identifies them, and the pictures it judges.
    whole: how many prompts the benchmark has."""

    benchmark: str
    prompts: tuple[Prompt, ...]
    sha256: str
    drawn: PictureSet
    whole: int


def stand_ins(benchmark: "Benchmark") -> list[Prompt]:
    """As many prompts as are published, for a plan that is made before they are on this machine."""
    category = benchmark.categories[0] if benchmark.categories else ""
    return [Prompt(str(number), "", category, {}) for number in range(benchmark.published)]


def select_all(
    benchmarks: "Mapping[str, Benchmark]",
    split: str,
    limit: int | None,
    subset: dict[str, int],
    absent: list[str] | None = None,
) -> dict[str, Selection]:
    """The selection of every benchmark. Those that share pictures share the prompts that are selected; each judges the
    ones it has.

    subset: prompts by benchmark. absent: takes the sentences about prompts that are not on this machine, in whose place
    stand_ins are then selected. Raises UserError where benchmarks that share pictures ask for different subsets, or
    prompts are absent.
    """
    asked: dict[str, int] = {}
    for name, count in subset.items():
        pictures = benchmarks[name].picture_set if name in benchmarks else name
        if asked.setdefault(pictures, count) != count:
            raise UserError(
                f"--subset {name}:{count} and another --subset disagree about the {pictures} pictures, which both "
                "judge: give the same number for both"
            )
    found = {}
    for name, one in benchmarks.items():
        try:
            prompts = one.drawn(split), one.prompts(split)
        except UserError as error:
            if absent is None or not one.published:
                raise
            absent.append(error.message)
            prompts = stand_ins(one), stand_ins(one)
        found[name] = _selected(name, one, *prompts, limit, asked.get(one.picture_set))
    return found


def _selected(
    name: str, benchmark: "Benchmark", drawn: list[Prompt], own: list[Prompt], limit: int | None, subset: int | None
) -> Selection:
    pictures, whole = benchmark.picture_set, len(own)
    drawn = select(pictures, drawn, limit, subset)
    ids = {prompt.id for prompt in drawn}
    own = [prompt for prompt in own if prompt.id in ids]
    made = PictureSet(pictures, benchmark.noise or pictures, tuple(drawn), prompt_set_sha256(drawn))
    return Selection(name, tuple(own), prompt_set_sha256(own), made, whole)


def select(benchmark: str, prompts: list[Prompt], limit: int | None, subset: int | None) -> list[Prompt]:
    """The first `limit` prompts, or `subset` drawn by the hash of their ids (so nobody picked them), categories taking
    turns.

    Raises UserError when there are fewer prompts than a subset asks for; a limit beyond the end keeps all.
    """
    chosen = prompts
    if subset is not None:
        if subset > len(prompts):
            raise UserError(
                f"--subset {benchmark}:{subset} asks for more prompts than the {len(prompts)} there are: use "
                f"{benchmark}:{len(prompts)} or fewer"
            )
        chosen = _spread(sorted(prompts, key=lambda prompt: sha256(prompt.id.encode()).digest()), prompts, subset)
    if limit is not None:
        chosen = _spread(chosen, prompts, limit)
    return list(chosen)


def _spread(candidates: list[Prompt], order: list[Prompt], count: int) -> list[Prompt]:
    """`count` of the candidates, one of each category in turn (categories as in `order`), returned in `order`."""
    queues: dict[str, list[Prompt]] = {prompt.category: [] for prompt in order}
    for prompt in candidates:
        queues[prompt.category].append(prompt)
    turns = [
        prompt for turn in range(len(candidates)) for queue in queues.values() for prompt in queue[turn : turn + 1]
    ]
    kept = {prompt.id for prompt in turns[:count]}
    return [prompt for prompt in order if prompt.id in kept]
