"""What a benchmark is asked in a run: its prompts under one generation setting, and the pictures it judges."""

from dataclasses import dataclass

from htgrpo.base.files import sha256_json
from htgrpo.base.prompts import Prompt


@dataclass(frozen=True)
class PictureSet:
    """The prompts that pictures are made for, which several benchmarks may judge. name: of their folder; noise: keys
    their noise; sha256: of the prompts."""

    name: str
    noise: str
    prompts: tuple[Prompt, ...]
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """One benchmark under one generation setting. values: the fields of presets.Setting. prompts: those it judges.
    shared: the pictures it judges where that is not a set of its own. of_policy: the policy itself is asked, once for each
    prompt, and no pictures are made; then values are the benchmark's own. whole: how many prompts the benchmark has, 0
    where nobody needs to know."""

    benchmark: str
    setting: str
    values: dict
    prompts: tuple[Prompt, ...]
    prompts_sha256: str
    shared: PictureSet | None = None
    of_policy: bool = False
    whole: int = 0

    @property
    def drawn(self) -> PictureSet:
        """The pictures it judges."""
        return self.shared or PictureSet(self.benchmark, self.benchmark, self.prompts, self.prompts_sha256)

    @property
    def items(self) -> list[tuple[Prompt, int]]:
        """(prompt, sample) of everything that is judged, in order."""
        return self._of(self.prompts)

    @property
    def drawn_items(self) -> list[tuple[Prompt, int]]:
        """(prompt, sample) of every picture that is made, in order."""
        return self._of(self.drawn.prompts)

    def _of(self, prompts: tuple[Prompt, ...]) -> list[tuple[Prompt, int]]:
        samples = 1 if self.of_policy else self.values["samples"]
        return [(prompt, sample) for prompt in prompts for sample in range(samples)]

    @property
    def noun(self) -> str:
        """What is judged."""
        return "documents" if self.of_policy else "pictures"

    def generation_identity(self, policy_sha256: str) -> str:
        """Hex identity of what a policy makes here."""
        return sha256_json([policy_sha256, self.drawn.name, self.values, self.drawn.sha256])
