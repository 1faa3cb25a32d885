"""Which prompts of a benchmark are used: all, the first N, or a drawn subset; always spread evenly over the categories."""

from dataclasses import dataclass
from hashlib import sha256

from htgrpo.errors import UserError
from htgrpo.prompts import Prompt, prompt_set_sha256


@dataclass(frozen=True)
class Selection:
    """The prompts of one benchmark in the benchmark's order, and the hash that identifies them."""

    benchmark: str
    prompts: tuple[Prompt, ...]
    sha256: str


def select(benchmark: str, prompts: list[Prompt], limit: int | None, subset: int | None) -> Selection:
    """The first `limit` prompts, or `subset` drawn by the hash of their ids (so nobody picked them), categories taking turns.

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
    return Selection(benchmark, tuple(chosen), prompt_set_sha256(chosen))


def _spread(candidates: list[Prompt], order: list[Prompt], count: int) -> list[Prompt]:
    """`count` of the candidates, one of each category in turn (categories as in `order`), returned in `order`."""
    queues: dict[str, list[Prompt]] = {prompt.category: [] for prompt in order}
    for prompt in candidates:
        queues[prompt.category].append(prompt)
    turns = [prompt for turn in range(len(candidates)) for queue in queues.values() for prompt in queue[turn : turn + 1]]
    kept = {prompt.id for prompt in turns[:count]}
    return [prompt for prompt in order if prompt.id in kept]
